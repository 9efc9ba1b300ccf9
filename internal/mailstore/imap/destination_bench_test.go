package imap

import (
	"fmt"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
)

// BenchmarkRestore puts 3,000 messages of 4 KB into an empty mailbox.
func BenchmarkRestore(b *testing.B) {
	d, c := dovecot.Start(b, dovecot.Options{}), cyrus.Start(b, cyrus.Options{})
	const messages = 3000
	for _, bb := range []struct {
		name, as string
		port     int
		validity uint32
	}{{"dovecot", "", d.Port, 0}, {"cyrus", cyrus.Admin, c.Port, 0}, {"cyrus exact", cyrus.Admin, c.Port, 77}} {
		b.Run(bb.name, func(b *testing.B) {
			round := 0
			for b.Loop() {
				round++
				user := fmt.Sprintf("u%d-%d", bb.validity, round)
				as := bb.as
				if as == "" {
					as = user
				}
				a := accountAt(b, destinationAt(b, bb.port, as), user)
				mustMailbox(b, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: bb.validity})
				for i := range messages {
					m := delivery("INBOX", fmt.Sprintf("Subject: %d\n\n%04000d\n", i, i), `\Seen`)
					m.UID = mailstore.UID(i + 1)
					mustAdd(b, a, m)
				}
				mustClose(b, a)
			}
			b.ReportMetric(messages*float64(round)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
