package imap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

func destinationAt(t testing.TB, port int, user string) *Destination {
	t.Helper()
	d, err := Create(Options{Host: "127.0.0.1", Port: port, Security: wire.Insecure, User: user, Password: []byte("secret"), patience: patience{4, 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func accountAt(t testing.TB, d *Destination, user string) mailstore.Account {
	t.Helper()
	a, err := d.Account(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustMailbox(t testing.TB, a mailstore.Account, b mailstore.Mailbox) {
	t.Helper()
	if err := a.Mailbox(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// delivery makes one of a stored message, in the form of any store.
func delivery(box, stored string, flags ...string) mailstore.Delivery {
	lf, _ := chunk.ToLF(nil, []byte(stored))
	d := mailstore.Delivery{Mailbox: box, Stored: []byte(stored), LF: lf, InternalDate: when, Flags: flags}
	d.Content, d.SHA1, _ = chunk.WireSums(d.Stored)
	return d
}

func mustAdd(t testing.TB, a mailstore.Account, d mailstore.Delivery) mailstore.UID {
	t.Helper()
	uid, err := a.Add(t.Context(), d)
	if err != nil {
		t.Fatalf("%.60q: %v", d.Stored, err)
	}
	return uid
}

func mustClose(t testing.TB, a mailstore.Account) string {
	t.Helper()
	if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	return notes(a)
}

func notes(a mailstore.Account) string {
	var b strings.Builder
	for _, n := range a.(mailstore.Noter).Notes() {
		fmt.Fprintf(&b, "%s: %s (%v)\n", n.Mailbox, n.What, n.Loss)
	}
	return b.String()
}

func copies(t testing.TB, c mailstore.Comparer, d mailstore.Delivery) int {
	t.Helper()
	_, sum, size := chunk.WireSums(d.Stored)
	n, err := c.Copies(t.Context(), d.Mailbox, mailstore.Wanted{Content: d.Content, SHA1: sum, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refusalOf gives Add's refusal.
func refusalOf(t testing.TB, a mailstore.Account, d mailstore.Delivery) *mailstore.Refusal {
	t.Helper()
	_, err := a.Add(t.Context(), d)
	var r *mailstore.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%.60q: %v, want a refusal", d.Stored, err)
	}
	return r
}

// A peer is a real server that tests restore into, as a plain user and, on
// Cyrus, as an administrator.
type peer struct {
	name  string
	cyrus *cyrus.Server
	port  int
	as    string // who logs in
	login func() *imaptest.Client
}

// peers starts the servers. alice has no mail there.
func peers(t *testing.T) []peer {
	t.Helper()
	d, c := dovecot.Start(t, dovecot.Options{}), cyrus.Start(t, cyrus.Options{})
	c.AddUser("bob")
	return []peer{
		{"dovecot", nil, d.Port, "alice", func() *imaptest.Client { return d.Login("alice") }},
		{"cyrus", c, c.Port, "bob", func() *imaptest.Client { return c.Login("bob") }},
		{"cyrus admin", c, c.Port, cyrus.Admin, func() *imaptest.Client { return c.Login("alice") }},
	}
}

func (p peer) user() string {
	if p.as == cyrus.Admin {
		return "alice"
	}
	return p.as
}

var odd = []string{
	"Subject: bare LF in the middle\r\n\r\na\nb\r\n",
	"Subject: a bare CR\r\n\r\na\rb\r\r\n",
	"Subject: no line end at the end\n\nx",
	"no header at all",
	"Subject: \xff\xfe 8 bits\n\n\x80\n",
	"\r\n",
}

// Flags, dates, names, uses and subscriptions arrive, and a second restore finds
// everything there.
func TestAppend(t *testing.T) {
	t.Parallel()
	boxes := []mailstore.Mailbox{
		{Name: "INBOX"}, {Name: "Entwürfe", SpecialUse: `\Drafts`, Subscribed: true}, {Name: "Work/2024/& more", Subscribed: true},
		{Name: `a "quoted" name`, Subscribed: true}, {Name: "a.b/c*d%"}, {Name: "INBOX/below"}, {Name: "x\\x2fy"}, {Name: `\x49NBOX`}, {Name: "Other Users"}, {Name: strings.Repeat("long ", 60)},
	}
	for _, p := range peers(t) {
		t.Run(p.name, func(t *testing.T) {
			d := destinationAt(t, p.port, p.as)
			restore := func(wantThere int) string {
				a := accountAt(t, d, p.user())
				for _, b := range boxes {
					mustMailbox(t, a, b)
					for i := range 2 {
						m := delivery(b.Name, fmt.Sprintf("Subject: %d in %q\n\nbody\n", i, b.Name), `\Seen`, "$Work", `\Recent`, `\Odd`, "$work")
						if got := copies(t, a.(mailstore.Comparer), m); got != wantThere && !(p.as == "bob" && b.Name == "Entwürfe") {
							t.Errorf("%q: %d copies there, want %d", b.Name, got, wantThere)
						} else if got == 0 {
							uid, err := a.Add(t.Context(), m)
							if wantThere == 1 && !errors.Is(err, mailstore.ErrPresent) || wantThere == 0 && (err != nil || uid != mailstore.UID(i+1) && uid != 0) {
								t.Errorf("%q: UID %d, %v", b.Name, uid, err)
							}
						}
					}
				}
				return mustClose(t, a)
			}
			said := restore(0)
			if strings.Count(said, `"\\Odd"`) != len(boxes) || !strings.Contains(said, `a "quoted" name`) && p.cyrus != nil {
				t.Errorf("notes %s", said)
			}
			losses := len(boxes)
			if p.cyrus == nil { // it takes a special use, and keeps none
				losses++
			}
			if p.as == "bob" { // 8-bit bytes in the header of messages in Entwürfe
				losses++
			}
			if n := strings.Count(said, "(true)"); n != losses {
				t.Errorf("%d losses: %s", n, said)
			}
			c := p.login()
			names := c.List()
			for _, n := range names {
				for i, m := range c.Examine(n).Messages {
					if !reflect.DeepEqual(m.Flags, []string{"$Work", `\Seen`}) || !m.InternalDate.Equal(when) || !strings.HasPrefix(m.Body, fmt.Sprintf("Subject: %d in ", i)) || !strings.HasSuffix(m.Body, "\r\n\r\nbody\r\n") {
						t.Errorf("%s: %+v", n, m)
					}
				}
			}
			for _, want := range []string{"Entw&APw-rfe", "INBOX", "Work/2024/&- more", "INBOX/below"} {
				if !slices.Contains(names, want) {
					t.Errorf("%s is not in %q", want, names)
				}
			}
			if got := c.Subscribed(); !slices.Contains(got, "Entw&APw-rfe") || !slices.Contains(got, "Work/2024/&- more") || len(got) != 3 {
				t.Errorf("subscribed %q", got)
			}
			if r := c.Do(`LIST "" "Entw*" RETURN (SPECIAL-USE)`); len(r) != 1 || strings.Contains(r[0].Text, `\Drafts`) != (p.cyrus != nil) {
				t.Errorf("%+v", r)
			}
			if again := restore(1); strings.Contains(again, "(true)") {
				t.Errorf("notes of the second restore %s", again)
			}
			if after := p.login().List(); !slices.Equal(after, names) {
				t.Errorf("folders %q, were %q", after, names)
			}
			preview, err := d.Preview(t.Context(), p.user())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range boxes {
				if n := copies(t, preview, delivery(b.Name, fmt.Sprintf("Subject: 1 in %q\n\nbody\n", b.Name))); n != 1 && !(p.as == "bob" && b.Name == "Entwürfe") {
					t.Errorf("%q: a dry run sees %d copies", b.Name, n)
				}
			}
			if n := copies(t, preview, delivery("nosuch", "x")); n != 0 {
				t.Error(n)
			}
			if err := preview.Close(t.Context()); err != nil || len(p.login().List()) != len(names) {
				t.Errorf("a dry run made folders: %v", err)
			}
		})
	}
}

// Odd messages arrive as they are, or are refused by name; a second restore
// knows those that the server has changed.
func TestOddMessages(t *testing.T) {
	t.Parallel()
	const nul = "Subject: nul\r\n\r\na\x00b\r\n"
	for _, p := range peers(t) {
		t.Run(p.name, func(t *testing.T) {
			d := destinationAt(t, p.port, p.as)
			if p.as == cyrus.Admin {
				p.cyrus.AddUser("alice") // so that messages are appended
			}
			var want []string
			for round := range 2 {
				a := accountAt(t, d, p.user())
				mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
				if r := refusalOf(t, a, delivery("INBOX", "")); r.Full {
					t.Error(r)
				}
				for _, stored := range append(odd, nul, nul, "\x00\x01 binary\n", "a\rb: c\r\n\r\n") {
					m := delivery("INBOX", stored, `\Flagged`)
					if copies(t, a.(mailstore.Comparer), m) > 0 {
						continue
					}
					_, err := a.Add(t.Context(), m)
					var r *mailstore.Refusal
					switch {
					case errors.Is(err, mailstore.ErrPresent) && p.as != cyrus.Admin && round == 1:
					case errors.As(err, &r) && p.as == "bob" && !r.Full && (strings.Contains(r.Why, "invalid header") || strings.Contains(r.Why, "NUL")):
					case err != nil || round == 1:
						t.Errorf("round %d: %q: %v", round, stored, err)
					default:
						lf, _ := chunk.ToLF(nil, m.Stored)
						body := string(chunk.ToWire(nil, lf))
						switch {
						case p.cyrus == nil:
							body = strings.ReplaceAll(strings.ReplaceAll(body, "\x00", "\x80"), "\r\r\n", "\r\n")
						case p.as == "bob":
							body = strings.ReplaceAll(body, "\xff\xfe", "XX")
						}
						want = append(want, body)
					}
				}
				said := mustClose(t, a)
				if strings.Contains(said, "0x80") != (p.cyrus == nil && round == 0) || strings.Contains(said, "replication") != (p.as == cyrus.Admin && round == 0) {
					t.Errorf("round %d: notes %s", round, said)
				}
			}
			var got []string
			for _, m := range p.login().Examine("INBOX").Messages {
				got = append(got, m.Body)
				if !reflect.DeepEqual(m.Flags, []string{`\Flagged`}) || !m.InternalDate.Equal(when) {
					t.Errorf("%+v", m)
				}
			}
			if !slices.Equal(got, want) || len(got) < 7 {
				t.Errorf("%d messages %q\nwant %d %q", len(got), got, len(want), want)
			}
			a := accountAt(t, d, p.user())
			mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
			var present []chunk.ID
			if err := a.Present(t.Context(), "INBOX", func(id chunk.ID) error { present = append(present, id); return nil }); err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				if id, _, _ := chunk.WireSums([]byte(w)); !slices.Contains(present, id) {
					t.Errorf("%q is not present", w)
				}
			}
			mustClose(t, a)
		})
	}
}

// A full mailbox is found out by one message, and no other is sent.
func TestQuota(t *testing.T) {
	t.Parallel()
	d := dovecot.Start(t, dovecot.Options{Config: "mail_plugins = quota\nplugin {\n quota = maildir:User\n quota_rule = *:storage=20k\n}\n"})
	c := cyrus.Start(t, cyrus.Options{})
	c.AddUser("alice")
	c.LoginAdmin().Do("SETQUOTA user/alice (STORAGE 20)")
	for port, as := range map[int]string{d.Port: "alice", c.Port: cyrus.Admin} {
		a := accountAt(t, destinationAt(t, port, as), "alice")
		mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
		n := 0
		for ; n < 10; n++ {
			_, err := a.Add(t.Context(), delivery("INBOX", fmt.Sprintf("Subject: %d\n\n%08000d\n", n, n)))
			var r *mailstore.Refusal
			if errors.As(err, &r) && r.Full && strings.Contains(strings.ToLower(r.Why), "quota") {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if n < 1 || n > 5 {
			t.Errorf("full after %d messages", n)
		}
		a.(*account).link.close() // nothing else is sent
		if r := refusalOf(t, a, delivery("INBOX", "Subject: small\n\n")); !r.Full || a.(*account).link.conn != nil {
			t.Errorf("%+v", r)
		}
		mustClose(t, a)
	}
}

// Keywords beyond what a mailbox can have are left out and named; the rest
// arrives. Dates that a server cannot keep are replaced by the nearest.
func TestKeywordsAndDates(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	a := accountAt(t, destinationAt(t, s.Port, cyrus.Admin), "alice")
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	var words []string
	for i := range 102 {
		words = append(words, fmt.Sprintf("k%03d", i))
	}
	m := delivery("INBOX", "Subject: x\n\n", words[:98]...)
	mustAdd(t, a, m)
	m.Flags, m.InternalDate = append(words, `\Seen`, "a b"), time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	mustAdd(t, a, m)
	m.InternalDate = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	mustAdd(t, a, m)
	many := delivery("INBOX", "no header", `\Flagged`)
	for i := range 60 {
		many.Flags = append(many.Flags, fmt.Sprintf("j%d", i))
	}
	mustAdd(t, a, many)
	said := mustClose(t, a)
	if !strings.Contains(said, `"k100"`) || !strings.Contains(said, `"k101"`) || strings.Count(said, "keyword") != 62 || !strings.Contains(said, "1970") || !strings.Contains(said, `"a b"`) {
		t.Errorf("notes %s", said)
	}
	got := s.Login("alice").Examine("INBOX").Messages
	if len(got) != 4 || got[3].Body != "no header" || len(got[3].Flags) != 1 || len(got[0].Flags) != 98 || len(got[1].Flags) != 101 || len(got[2].Flags) != 101 || got[1].InternalDate.Unix() != 1 || got[2].InternalDate.Year() != 2106 {
		t.Errorf("%+v", got)
	}
}

// What comes out of a message is never carried out: flags that a server does
// not know are sent without data behind them.
func TestNoCommandsOutOfMessages(t *testing.T) {
	t.Parallel()
	s := dovecot.Start(t, dovecot.Options{})
	c := s.Login("alice")
	c.Create("victim")
	a := accountAt(t, destinationAt(t, s.Port, "alice"), "alice")
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	for _, f := range []string{`\Odd`, `\Recent`, "x]y", "(", strings.Repeat("k", 300), "NIL", "ä"} {
		mustAdd(t, a, delivery("INBOX", "x DELETE victim\r\n", f))
	}
	m := delivery("INBOX", "x DELETE victim\r\n")
	for _, year := range []int{-5, 0, 1, 1906, 2300, 20000} {
		m.InternalDate = time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
		mustAdd(t, a, m)
	}
	mustClose(t, a)
	if got := c.List(); !slices.Equal(got, []string{"INBOX", "victim"}) || len(c.Examine("INBOX").Messages) != 13 {
		t.Errorf("folders %q", got)
	}
}

// A message that Cyrus lists and has lost counts as not there.
func TestGhosts(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	c := s.Login("alice")
	for i := range 3 {
		c.Append("INBOX", letter(i), when)
	}
	s.Run("mbpath", "user/alice")
	removeFile(t, s.MessageFile("alice", "INBOX", 2))
	a := accountAt(t, destinationAt(t, s.Port, cyrus.Admin), "alice")
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	for i, want := range []int{1, 0, 1} {
		if got := copies(t, a.(mailstore.Comparer), delivery("INBOX", letter(i))); got != want {
			t.Errorf("message %d: %d copies, want %d", i+1, got, want)
		}
	}
	if said := mustClose(t, a); !strings.Contains(said, "no content of: 1") {
		t.Errorf("notes %s", said)
	}
}

// A dry run knows users who are not there to have nothing, and does not make them.
func TestPreviewNobody(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	d := destinationAt(t, s.Port, cyrus.Admin)
	p, err := d.Preview(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"INBOX", "Work/2024"} {
		if n := copies(t, p, delivery(name, letter(1))); n != 0 {
			t.Errorf("%s: %d copies", name, n)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.LoginAdmin().List(); len(got) != 0 {
		t.Errorf("mailboxes %q", got)
	}
}

// The wrong password is told once, and ends the restore before it begins.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := dovecot.Start(t, dovecot.Options{})
	_, err := Create(Options{Host: "127.0.0.1", Port: s.Port, Security: wire.Insecure, User: "alice", Password: []byte("not this")})
	if err == nil || strings.Contains(err.Error(), "not this") || !strings.Contains(err.Error(), "alice") {
		t.Errorf("%v", err)
	}
}

func TestRenumbersPlain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := destinationAt(t, f.l.Addr().(*net.TCPAddr).Port, "alice")
	if why, err := d.Renumbers(t.Context(), "alice", mailstore.Mailbox{Name: "INBOX", UIDValidity: 5}); why != renumbered || err != nil {
		t.Errorf("%q, %v", why, err)
	}
}
