package imap

import (
	"context"
	"fmt"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
)

func destinationAt(t *testing.T, port int, user string) *Destination {
	t.Helper()
	d, err := Create(Options{Host: "127.0.0.1", Port: port, Security: wire.Insecure, User: user, Password: []byte("secret"), patience: patience{4, 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func accountAt(t *testing.T, d *Destination, user string) mailstore.Account {
	t.Helper()
	a, err := d.Account(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustMailbox(t *testing.T, a mailstore.Account, b mailstore.Mailbox) {
	t.Helper()
	if err := a.Mailbox(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// delivery makes one of a message with LF line ends.
func delivery(box, lf string) mailstore.Delivery {
	d := mailstore.Delivery{Mailbox: box, Stored: []byte(lf), LF: []byte(lf), InternalDate: time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)}
	d.Content, d.SHA1, _ = chunk.WireSums(d.Stored)
	return d
}

func mustAdd(t *testing.T, a mailstore.Account, d mailstore.Delivery) mailstore.UID {
	t.Helper()
	uid, err := a.Add(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func mustClose(t *testing.T, a mailstore.Account) []mailstore.Note {
	t.Helper()
	if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	return a.(mailstore.Noter).Notes()
}

func TestSpeed(t *testing.T) {
	dov, cyr := dovecot.Start(t, dovecot.Options{}), cyrus.Start(t, cyrus.Options{})
	cyr.AddUser("bob")
	const n = 3000
	for _, tt := range []struct {
		name, user string
		d          *Destination
		validity   uint32
	}{{"dovecot", "alice", destinationAt(t, dov.Port, "alice"), 0}, {"cyrus append", "bob", destinationAt(t, cyr.Port, cyrus.Admin), 0}, {"cyrus exact", "carol", destinationAt(t, cyr.Port, cyrus.Admin), 77}} {
		start := time.Now()
		a := accountAt(t, tt.d, tt.user)
		mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: tt.validity})
		for i := range n {
			d := delivery("INBOX", fmt.Sprintf("Subject: %d\n\n%04000d\n", i, i))
			d.UID = mailstore.UID(i + 1)
			mustAdd(t, a, d)
		}
		notes := mustClose(t, a)
		t.Logf("%s: %.0f messages/s %v", tt.name, n/time.Since(start).Seconds(), notes)
	}
}
