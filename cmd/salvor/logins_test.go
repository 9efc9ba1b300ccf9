package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
)

// The ways to log in, and what an operator reads when one is wrong: one line
// that says what and where, and a vault as it was.
func TestMailServerLogins(t *testing.T) {
	authority, other := certs.New(t), certs.New(t)
	d := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, TLS: authority.Server()})
	expired := dovecot.Start(t, dovecot.Options{TLS: authority.Expired()})
	elsewhere := dovecot.Start(t, dovecot.Options{TLS: authority.OtherName()})
	c := cyrus.Start(t, cyrus.Options{TLS: authority.Server()})
	for _, u := range []string{"alice", "bob"} {
		d.Login(u).Append("INBOX", "Subject: x\r\n\r\n", time.Time{})
		c.AddUser(u)
		c.Login(u).Append("INBOX", "Subject: x\r\n\r\n", time.Time{})
	}
	w := newWorld(t).withPassword()
	ca, bad := w.path("ca.pem"), w.path("other.pem")
	must(t, os.WriteFile(ca, authority.PEM, 0o644))
	must(t, os.WriteFile(bad, other.PEM, 0o644))
	passwords, open := w.path("passwords"), w.path("readable")
	text := []byte("# users\nalice:secret\nbob:secret\neve:wrong\n")
	must(t, os.WriteFile(passwords, text, 0o600))
	must(t, os.WriteFile(open, text, 0o644))
	w.run("init")
	for _, tt := range []struct {
		url   string
		users []string // asked for
		code  int
		want  string // in what it says
	}{
		{fmt.Sprintf("imaps://alice@localhost:%d?ca=%s", d.TLSPort, ca), nil, 0, "1 user"},
		{fmt.Sprintf("imap://alice@localhost:%d?tls=starttls&ca=%s", d.Port, ca), nil, 0, "1 user"},
		{fmt.Sprintf("imaps://backup@localhost:%d?ca=%s", d.TLSPort, ca), []string{"alice", "bob"}, 0, "2 users"},
		{fmt.Sprintf("imap://backup@%s?auth=login&separator=*", d.Addr()), []string{"bob"}, 0, "1 user"},
		{fmt.Sprintf("imaps://admin@localhost:%d?ca=%s", c.TLSPort, ca), nil, 0, "2 users"},
		{fmt.Sprintf("imap://%s?passwords=%s", d.Addr(), passwords), []string{"alice", "bob"}, 0, "2 users"},
		{fmt.Sprintf("imap://%s?passwords=%s", d.Addr(), passwords), []string{"alice", "eve"}, 3, "eve"},
		{fmt.Sprintf("imap://%s?passwords=%s", d.Addr(), open), []string{"alice"}, 1, "chmod 600"},
		{fmt.Sprintf("imaps://alice@localhost:%d", d.TLSPort), nil, 1, "unknown authority"},
		{fmt.Sprintf("imaps://alice@localhost:%d?ca=%s", d.TLSPort, bad), nil, 1, "unknown authority"},
		{fmt.Sprintf("imaps://alice@localhost:%d?ca=%s", expired.TLSPort, ca), nil, 1, "not valid now"},
		{fmt.Sprintf("imaps://alice@localhost:%d?ca=%s", elsewhere.TLSPort, ca), nil, 1, "another name"},
		{fmt.Sprintf("imaps://alice@localhost:%d?ca=%s", d.Port, ca), nil, 1, "does not speak TLS"},
		{fmt.Sprintf("imap://alice@mail.invalid:%d", d.Port), nil, 1, "no address"},
		{fmt.Sprintf("imap://nobody@%s", c.Addr()), []string{"alice"}, 3, "as nobody for alice"},
	} {
		args := []string{"backup", "--vault", w.vault(), tt.url}
		for _, u := range tt.users {
			args = append(args, "--user", u)
		}
		out, err := w.command(args...).CombinedOutput()
		said := string(out)
		if exitOf(err) != tt.code || !strings.Contains(said, tt.want) || strings.Contains(said, "secret") {
			t.Errorf("%s %q: exit code %d, want %d and %q:\n%s", tt.url, tt.users, exitOf(err), tt.code, tt.want, said)
		}
		if errors := strings.Count(said, "salvor: "); tt.code == 1 && errors != 1 {
			t.Errorf("%s: %d lines:\n%s", tt.url, errors, said)
		}
	}
}
