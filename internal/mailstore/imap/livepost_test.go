package imap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// posters are real servers that accounts are appended to: as a master user, as
// the user, and as an administrator.
func posters(t *testing.T) map[string]peer {
	t.Helper()
	d, c, admins := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}}), cyrus.Start(t, cyrus.Options{}), cyrus.Start(t, cyrus.Options{})
	c.AddUser("alice")
	admins.AddUser("alice")
	return map[string]peer{
		"dovecot":     {"dovecot", nil, d.Port, "backup", func() *imaptest.Client { return d.Login("alice") }},
		"cyrus":       {"cyrus", c, c.Port, "alice", func() *imaptest.Client { return c.Login("alice") }},
		"cyrus admin": {"cyrus admin", admins, admins.Port, cyrus.Admin, func() *imaptest.Client { return admins.Login("alice") }},
	}
}

func mustStand(t testing.TB, l *live, mailbox string) mailstore.Stand {
	t.Helper()
	st, err := l.Stand(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

type hit struct {
	uid  mailstore.UID
	same bool
	body string
}

func look(t testing.TB, l *live, mailbox string, s mailstore.Sought) (out []hit) {
	t.Helper()
	err := l.Find(t.Context(), mailbox, s, func(f mailstore.Found) error {
		out = append(out, hit{f.UID, f.Same, string(f.Wire)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every message that is appended is found again under one of its forms, once, with
// its flags and date; what the server refuses is not there.
func TestPost(t *testing.T) {
	t.Parallel()
	const folder = "Work/Größe"
	messages := append(slices.Clone(odd), missive(3), missive(3), "Subject: nul\r\n\r\na\x00b\r\n", "\x00\x01 binary\n", "a\rb: c\r\n\r\n", "Subject: many\r\n\r\na\r\r\r\nb\r\r\n\r\r\n")
	for name, p := range posters(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := liveAt(t, p.port, p.as, "alice")
			if _, err := l.Stand(t.Context(), folder); !errors.Is(err, mailstore.ErrNoMailbox) {
				t.Errorf("Stand of no folder: %v", err)
			}
			if _, err := l.Append(t.Context(), delivery(folder, missive(1))); !errors.Is(err, mailstore.ErrNoMailbox) {
				t.Errorf("Append to no folder: %v", err)
			}
			for range 2 {
				if err := l.Make(t.Context(), mailstore.Mailbox{Name: folder, SpecialUse: `\Archive`, Subscribed: true}); err != nil {
					t.Fatal(err)
				}
			}
			flags := []string{`\Flagged`, `\Seen`, "$Work"}
			refused := 0
			for i, stored := range messages {
				before := mustStand(t, l, folder)
				d := delivery(folder, stored, append([]string{`\Recent`, `\Odd`}, flags...)...)
				forms := l.Forms(chunk.ToWire(nil, d.LF))
				uid, err := l.Append(t.Context(), d)
				after, got := mustStand(t, l, folder), look(t, l, folder, mailstore.Sought{From: before.UIDNext, Forms: forms})
				if r := (*mailstore.Refusal)(nil); errors.As(err, &r) && name == "cyrus" && !r.Full {
					if refused++; len(got) > 0 || after != before {
						t.Errorf("%.40q: refused (%v), and there: %v", stored, err, got)
					}
					continue
				}
				replicated := name == "cyrus admin" && uid == 0
				if err != nil || !replicated && uid != before.UIDNext || after.UIDNext != before.UIDNext+1 || after.Messages != before.Messages+1 || after.UIDValidity != before.UIDValidity {
					t.Errorf("%.40q: UID %d, %v; %+v, then %+v", stored, uid, err, before, after)
				}
				if len(got) != 1 || got[0].uid != before.UIDNext || !got[0].same || name == "cyrus admin" && got[0].body != string(forms[0]) {
					t.Errorf("%.40q: found %+v", stored, got)
				}
				if all := look(t, l, folder, mailstore.Sought{Forms: forms}); i > 7 && len(all) != 1 || stored == missive(3) && len(all) != 1 && len(all) != 2 {
					t.Errorf("%.40q: found in all %+v", stored, all)
				}
			}
			if want := map[string]int{"cyrus": 3}[name]; refused != want {
				t.Errorf("%d refused, want %d", refused, want)
			}
			c := p.login()
			f := c.Examine("Work/Gr&APYA3w-e")
			if len(f.Messages) != len(messages)-refused || !slices.Contains(c.Subscribed(), "Work/Gr&APYA3w-e") {
				t.Errorf("%d messages, subscribed %q", len(f.Messages), c.Subscribed())
			}
			for _, m := range f.Messages {
				if want := []string{"$Work", `\Flagged`, `\Seen`}; !reflect.DeepEqual(m.Flags, want) || !m.InternalDate.Equal(when) {
					t.Errorf("%+v", m)
				}
			}
			if got := look(t, l, folder, mailstore.Sought{}); len(got) != len(f.Messages) || got[0].same {
				t.Errorf("%d of all", len(got))
			}
			said := notesOf(l)
			if !strings.Contains(said, `"\\Odd"`) || strings.Contains(said, "0x80") != (p.cyrus == nil) || strings.Contains(said, "replication") != (name == "cyrus admin") {
				t.Errorf("notes %s", said)
			}
		})
	}
}

func notesOf(l *live) string {
	var b strings.Builder
	for _, n := range l.Notes() {
		fmt.Fprintf(&b, "%s %s: %s (%v)\n", n.User, n.Mailbox, n.What, n.Loss)
	}
	return b.String()
}

// Messages are found by their Message-ID, however it is written, and by no other
// header, from the UID on that was asked for; those that have lost their content
// are passed over.
func TestFindMessageID(t *testing.T) {
	t.Parallel()
	withID := func(header string) string { return "Subject: <decoy@x>\r\n" + header + "\r\n\r\n<decoy@x>\r\n" }
	for name, p := range posters(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := p.login()
			c.Append("INBOX", withID("message-id: <one@x>"), when)                // 1
			c.Append("INBOX", withID("Message-ID:\r\n <folded@x>\r\nX: y"), when) // 2
			c.Append("INBOX", withID(`Message-ID: <"quoted \\ one"@x>`), when)    // 3
			c.Append("INBOX", withID("Message-ID: <one@x> (with a comment)"), when)
			c.Append("INBOX", withID("Message-ID: bare"), when)   // 5
			c.Append("INBOX", withID("Message-ID: bare-1"), when) // 6
			c.Append("INBOX", withID("References: <one@x>"), when)
			c.Append("INBOX", withID("Message-ID: <ONE@x>"), when)
			c.Append("INBOX", withID("Message-ID: <lost@x>"), when) // 9
			c.Append("INBOX", withID("Message-ID: <last@x>"), when) // 10
			if p.cyrus != nil {
				removeFile(t, p.cyrus.MessageFile("alice", "INBOX", 9))
			}
			l := liveAt(t, p.port, p.as, "alice")
			size := [][]byte{bytes.Repeat([]byte("x"), len(withID("Message-ID: <last@x>")))}
			for _, tt := range []struct {
				s    mailstore.Sought
				want []mailstore.UID
			}{
				{mailstore.Sought{MessageID: "<one@x>"}, []mailstore.UID{1, 4}},
				{mailstore.Sought{MessageID: "<one@x>", From: 2}, []mailstore.UID{4}},
				{mailstore.Sought{MessageID: "<one@x>", From: 11}, nil},
				{mailstore.Sought{MessageID: "<folded@x>"}, []mailstore.UID{2}},
				{mailstore.Sought{MessageID: `<"quoted \\ one"@x>`}, []mailstore.UID{3}},
				{mailstore.Sought{MessageID: "bare"}, []mailstore.UID{5}},
				{mailstore.Sought{MessageID: "<decoy@x>"}, nil},
				{mailstore.Sought{MessageID: "<none@x>"}, nil},
				{mailstore.Sought{MessageID: "<\xff\xfeone@x>\r\nx LOGOUT"}, nil},
				{mailstore.Sought{MessageID: "<gr\u00fc\u00dfe@x>"}, nil},
				{mailstore.Sought{MessageID: "\x00"}, nil},
				{mailstore.Sought{MessageID: "<lost@x>"}, map[bool][]mailstore.UID{false: {9}}[p.cyrus != nil]},
				{mailstore.Sought{MessageID: "<one@x>", Forms: size}, map[bool][]mailstore.UID{true: {1, 4, 10}, false: {1, 4, 9, 10}}[p.cyrus != nil]},
			} {
				var got []mailstore.UID
				for _, h := range look(t, l, "INBOX", tt.s) {
					if got = append(got, h.uid); h.same || !strings.HasSuffix(h.body, "<decoy@x>\r\n") {
						t.Errorf("%+v: %+v", tt.s.MessageID, h)
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%q from %d: %v, want %v", tt.s.MessageID, tt.s.From, got, tt.want)
				}
			}
			stop := errors.New("stop")
			if err := l.Find(t.Context(), "INBOX", mailstore.Sought{}, func(mailstore.Found) error { return stop }); err != stop {
				t.Errorf("%v, want yield's error", err)
			}
		})
	}
}

// Folders whose names the server does not take are found under their own names,
// and under those that it lists.
func TestLiveNames(t *testing.T) {
	t.Parallel()
	names := []string{`a "quoted" name`, "a.b/c*d%", "INBOX/below", "Other Users", strings.Repeat("long ", 60), "x\\x2fy", "Entwürfe"}
	for name, p := range posters(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := liveAt(t, p.port, p.as, "alice")
			for i, n := range names {
				if err := l.Make(t.Context(), mailstore.Mailbox{Name: n}); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Append(t.Context(), delivery(n, missive(i))); err != nil {
					t.Errorf("%q: %v", n, err)
				}
			}
			again := liveAt(t, p.port, p.as, "alice")
			for i, n := range names {
				if _, got := inspect(t, again, n); len(got) != 1 || got[0].Size != int64(len(missive(i))) {
					t.Errorf("%q: %+v", n, got)
				}
			}
			shown := 0
			err := again.Mailboxes(t.Context(), func(m mailstore.Mailbox) error {
				if m.Name != "INBOX" {
					shown += mustStand(t, again, m.Name).Messages
				}
				return nil
			})
			if err != nil || shown != len(names) {
				t.Errorf("%d messages in the folders that are listed, %v", shown, err)
			}
		})
	}
}

// A state is that of now, whoever has changed it, and however the mailbox is open.
func TestStandIsNow(t *testing.T) {
	t.Parallel()
	for name, p := range posters(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := liveAt(t, p.port, p.as, "alice"), p.login()
			c.Create("Work")
			st := mustStand(t, l, "Work")
			for n := range 20 {
				c.Append("Work", missive(n), when)
				now := mustStand(t, l, "Work")
				if st.UIDNext++; now.UIDNext != st.UIDNext || now.Messages != n+1 || now.UIDValidity != st.UIDValidity || now.ReadOnly {
					t.Fatalf("%+v after %d messages", now, n+1)
				}
				if got := look(t, l, "Work", mailstore.Sought{From: st.UIDNext - 1, Forms: l.Forms([]byte(missive(n)))}); len(got) != 1 || !got[0].same {
					t.Fatalf("%+v", got)
				}
			}
			c.Do("DELETE Work")
			if st, err := l.Stand(t.Context(), "Work"); !errors.Is(err, mailstore.ErrNoMailbox) {
				t.Errorf("after it was removed: %+v, %v", st, err)
			}
			if _, err := l.Append(t.Context(), delivery("Work", missive(1))); !errors.Is(err, mailstore.ErrNoMailbox) {
				t.Errorf("Append: %v", err)
			}
			if p.cyrus == nil {
				c.Create("Work") // a newer UIDVALIDITY
				if now := mustStand(t, l, "Work"); now.UIDValidity == st.UIDValidity || now.UIDNext != 1 {
					t.Errorf("made anew: %+v, was %+v", now, st)
				}
			}
		})
	}
}

// A full account, and a folder that nothing may be put into, are refusals; what
// an administrator may make is made for a user who may not.
func TestPostRefused(t *testing.T) {
	t.Parallel()
	d := dovecot.Start(t, dovecot.Options{Config: "mail_plugins = quota\nplugin {\n quota = maildir:User\n quota_rule = *:storage=20k\n}\n"})
	s := cyrus.Start(t, cyrus.Options{Config: "implicit_owner_rights: l"})
	s.AddUser("alice")
	s.LoginAdmin().Do("SETQUOTA user/alice (STORAGE 20)")
	for port, as := range map[int]string{d.Port: "alice", s.Port: cyrus.Admin} {
		l := liveAt(t, port, as, "alice")
		var r *mailstore.Refusal
		n := 0
		for ; n < 6 && r == nil; n++ {
			_, err := l.Append(t.Context(), delivery("INBOX", fmt.Sprintf("Subject: %d\n\n%08000d\n", n, n)))
			if err != nil && !errors.As(err, &r) {
				t.Fatal(err)
			}
		}
		if r == nil || !r.Full || !strings.Contains(strings.ToLower(r.Why), "quota") || mustStand(t, l, "INBOX").Messages != n-1 {
			t.Errorf("after %d messages: %v", n, r)
		}
	}
	s.LoginAdmin().Do("SETQUOTA user/alice ()")
	s.LoginAdmin().Do("SETACL user/alice alice lrs")
	l := liveAt(t, s.Port, cyrus.Admin, "alice")
	var r *mailstore.Refusal
	if _, err := l.Append(t.Context(), delivery("INBOX", missive(1))); !errors.As(err, &r) || r.Full || !strings.Contains(r.Why, "Permission denied") {
		t.Errorf("%v", err)
	}
	if err := l.Make(t.Context(), mailstore.Mailbox{Name: "New", ACL: "alice\tlrswipkxtecdan\t"}); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(t.Context(), delivery("New", missive(1))); err != nil {
		t.Error(err)
	}
	if err := liveAt(t, s.Port, "alice", "alice").Make(t.Context(), mailstore.Mailbox{Name: "Other"}); !errors.As(err, &r) || !strings.Contains(r.Why, "Permission denied") {
		t.Errorf("a folder without the right to it: %v", err)
	}
}

// A mailbox of Cyrus has 128 keywords at most: a message comes without those that
// are too many, once, and they are named.
func TestPostKeywords(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	l := liveAt(t, s.Port, "alice", "alice")
	var words []string
	for i := range 140 {
		words = append(words, fmt.Sprintf("k%03d", i))
	}
	for i, some := range [][]string{words[:90], words[80:], words[:3]} {
		if uid, err := l.Append(t.Context(), delivery("INBOX", missive(i), some...)); err != nil || uid != mailstore.UID(i+1) {
			t.Errorf("UID %d, %v", uid, err)
		}
	}
	got := s.Login("alice").Examine("INBOX").Messages
	if len(got) != 3 || len(got[0].Flags) != 90 || len(got[1].Flags) < 10 || len(got[2].Flags) != 3 {
		t.Errorf("%+v", got)
	}
	if said := notesOf(l); strings.Count(said, "was left out") != 60-len(got[1].Flags) {
		t.Errorf("%d keywords, notes %s", len(got[1].Flags), said)
	}
}

// What stands at the store is told as it is, be it damaged: only the caller knows
// what it looks for.
func TestFindDamaged(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	s.Login("alice").Append("INBOX", missive(5), when)
	if err := os.Truncate(s.MessageFile("alice", "INBOX", 1), 60); err != nil {
		t.Fatal(err)
	}
	l := liveAt(t, s.Port, cyrus.Admin, "alice")
	if got := look(t, l, "INBOX", mailstore.Sought{Forms: l.Forms([]byte(missive(5)))}); len(got) != 1 || got[0].same {
		t.Errorf("%+v", got)
	}
}
