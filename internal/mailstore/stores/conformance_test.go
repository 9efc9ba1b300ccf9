package stores

import (
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// Every kind of store keeps to one suite, beside the server that owns it.
func TestSources(t *testing.T) {
	for _, kind := range []struct {
		name  string
		start func(testing.TB) conformance.Store
	}{
		{"maildir", onDovecot("maildir:~/Maildir", "maildir:@DIR@/home/%u/Maildir", conformance.Lacks{SpecialUse: true, Moves: true})},
		{"maildir fs", onDovecot("maildir:~/Maildir:LAYOUT=fs", "maildir:@DIR@/home/%u/Maildir:LAYOUT=fs", conformance.Lacks{SpecialUse: true, Moves: true})},
		{"maildir elsewhere", onDovecot("maildir:~/Maildir:INDEX=@DIR@/home/%u/index:CONTROL=@DIR@/home/%u/control",
			"maildir:@DIR@/home/%u/Maildir:INDEX=@DIR@/home/%u/index:CONTROL=@DIR@/home/%u/control", conformance.Lacks{SpecialUse: true, Moves: true})},
		{"mbox", onDovecot("mbox:~/mail:INBOX=~/mail/inbox", "mbox:@DIR@/home/%u/mail", conformance.Lacks{UIDs: true, SpecialUse: true, Moves: true, Subscriptions: true, Steady: true})},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			conformance.Source(t, kind.start)
		})
	}
}

// onDovecot gives alice's mail on a Dovecot of her own; @DIR@ is its directory.
func onDovecot(location, url string, lacks conformance.Lacks) func(testing.TB) conformance.Store {
	return func(t testing.TB) conformance.Store {
		s := dovecot.Start(t, dovecot.Options{Location: location})
		return conformance.Store{
			Login: func() *imaptest.Client { return s.Login("alice") },
			User:  "alice", Lacks: lacks,
			Open: func(t testing.TB) mailstore.Source { return open(t, inDir(url, s.Dir), Options{}) },
		}
	}
}

func inDir(url, dir string) string { return strings.ReplaceAll(url, "@DIR@", dir) }

func open(t testing.TB, url string, o Options) mailstore.Source {
	t.Helper()
	s, err := OpenSource(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
