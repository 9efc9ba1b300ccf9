package stores

import (
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
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
		{"sdbox", onDovecot("sdbox:~/sdbox", "sdbox:@DIR@/home/%u/sdbox", conformance.Lacks{SpecialUse: true})},
		{"mdbox", onDovecot("mdbox:~/mdbox", "mdbox:@DIR@/home/%u/mdbox", conformance.Lacks{SpecialUse: true})},
		{"imap dovecot", throughDovecot(dovecot.Options{Masters: []string{"backup"}, Config: conformance.SpecialUse}, conformance.Lacks{})},
		{"imap cyrus", onCyrus(cyrus.Options{}, "imap://admin@@ADDR@", conformance.Lacks{})},
		{"cyrus", onCyrus(cyrus.Options{}, "cyrus:@CONF@", conformance.Lacks{Moves: true})},
		{"cyrus meta", onCyrus(cyrus.Options{Metafiles: cyrus.Metafiles}, "cyrus:@CONF@", conformance.Lacks{Moves: true})},
		{"cyrus legacy", onCyrus(cyrus.Options{Layout: cyrus.Legacy, Metafiles: cyrus.Metafiles, VirtualDomains: true}, "cyrus:@CONF@", conformance.Lacks{Moves: true})},
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

// throughDovecot gives alice's mail on a Dovecot of her own, read by a master
// user over IMAP.
func throughDovecot(o dovecot.Options, lacks conformance.Lacks) func(testing.TB) conformance.Store {
	return func(t testing.TB) conformance.Store {
		s := dovecot.Start(t, o)
		return conformance.Store{
			Login: func() *imaptest.Client { return s.Login("alice") },
			User:  "alice", Lacks: lacks,
			Open: func(t testing.TB) mailstore.Source {
				return open(t, "imap://backup@"+s.Addr(), Options{Users: []string{"alice"}, Password: password(dovecot.Password)})
			},
		}
	}
}

// onCyrus gives alice's mail on a Cyrus of her own, read from its disk (@CONF@)
// or by an administrator over IMAP (@ADDR@).
func onCyrus(o cyrus.Options, url string, lacks conformance.Lacks) func(testing.TB) conformance.Store {
	return func(t testing.TB) conformance.Store {
		s := cyrus.Start(t, o)
		user := "alice"
		if o.VirtualDomains {
			user = "alice@example.org"
		}
		s.AddUser(user)
		where := strings.NewReplacer("@CONF@", s.ConfigFile(), "@ADDR@", s.Addr())
		return conformance.Store{
			Login: func() *imaptest.Client { return s.Login(user) },
			User:  user, Lacks: lacks,
			Open: func(t testing.TB) mailstore.Source {
				return open(t, where.Replace(url), Options{Password: password(cyrus.Password)})
			},
		}
	}
}

func password(word string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(word), nil }
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

// Every kind of destination keeps to one suite.
func TestDestinations(t *testing.T) {
	for _, kind := range []struct {
		name  string
		start func(testing.TB) conformance.Target
	}{
		{"maildir", toDovecot("maildir:~/Maildir", "maildir:@DIR@/home/%u/Maildir", conformance.Lacks{NULs: true})},
		{"maildir fs", toDovecot("maildir:~/Maildir:LAYOUT=fs", "maildir:@DIR@/home/%u/Maildir:LAYOUT=fs", conformance.Lacks{NULs: true})},
		{"imap dovecot", overIMAP(conformance.Lacks{}, false)},
		{"imap cyrus", overIMAP(conformance.Lacks{}, true)},
		{"mbox", toDovecot("mbox:~/mail:INBOX=~/mail/INBOX", "mbox:@DIR@/home/%u/mail", conformance.Lacks{Flags: true, Steady: true, Subscriptions: true})},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			conformance.Destination(t, kind.start)
		})
	}
}

// toDovecot gives alice's place on a Dovecot of her own, to be written by files.
func toDovecot(location, url string, lacks conformance.Lacks) func(testing.TB) conformance.Target {
	return func(t testing.TB) conformance.Target {
		s := dovecot.Start(t, dovecot.Options{Location: location})
		return conformance.Target{
			Login: func() *imaptest.Client { return s.Login("alice") },
			User:  "alice", Lacks: lacks,
			Open:    func(t testing.TB) mailstore.Destination { return create(t, inDir(url, s.Dir), Options{}) },
			Written: func() { s.Chown("home") },
		}
	}
}

// overIMAP gives alice's place on a server of her own, to be written by an
// administrator over IMAP.
func overIMAP(lacks conformance.Lacks, onCyrus bool) func(testing.TB) conformance.Target {
	return func(t testing.TB) conformance.Target {
		target := conformance.Target{User: "alice", Lacks: lacks}
		var url string
		if onCyrus {
			s := cyrus.Start(t, cyrus.Options{})
			url, target.Login = "imap://admin@"+s.Addr(), func() *imaptest.Client { return s.Login("alice") }
		} else {
			s := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Config: conformance.SpecialUse})
			url, target.Login = "imap://backup@"+s.Addr(), func() *imaptest.Client { return s.Login("alice") }
		}
		target.Open = func(t testing.TB) mailstore.Destination { return create(t, url, Options{Password: password("secret")}) }
		return target
	}
}

func create(t testing.TB, url string, o Options) mailstore.Destination {
	t.Helper()
	d, err := OpenDestination(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
