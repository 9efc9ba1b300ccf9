package imap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

func serverAt(t testing.TB, port int, as string) *Server {
	t.Helper()
	s, err := Connect(Options{Host: "127.0.0.1", Port: port, Security: wire.Insecure, User: as, Password: []byte("secret"), ReadTimeout: 10 * time.Second, patience: patience{4, 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func liveAt(t testing.TB, port int, as, user string) *live {
	t.Helper()
	return openLive(t, serverAt(t, port, as), user)
}

func openLive(t testing.TB, s *Server, user string) *live {
	t.Helper()
	l, err := s.Live(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(t.Context()) })
	return l.(*live)
}

func inspect(t testing.TB, l *live, mailbox string) (mailstore.Stand, []mailstore.Inspected) {
	t.Helper()
	var out []mailstore.Inspected
	st, err := l.Inspect(t.Context(), mailbox, func(m mailstore.Inspected) error { out = append(out, m); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return st, out
}

// missive is a message with what an envelope tells.
func missive(n int) string {
	return fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \"%d\"\r\nFrom: B <b@example.org>\r\nTo: a@example.org, c@example.org\r\n\r\n%s", n, n, strings.Repeat("line\r\n", n))
}

// dangles gives the UIDs of messages without content.
func dangles(all []mailstore.Inspected) (out []mailstore.UID) {
	for _, m := range all {
		if m.Dangling {
			out = append(out, m.UID)
		}
	}
	return out
}

// Of a Cyrus that has lost files, the account tells every message, and which of
// them have no content, as an administrator and as the user, with the metadata
// beside the messages and apart; nothing is marked as seen. What dangles is then
// removed so that clients hear of it, and all that is left can be fetched.
func TestLiveCyrus(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		o  cyrus.Options
		as string
	}{
		"beside":               {cyrus.Options{}, cyrus.Admin},
		"apart":                {cyrus.Options{Metafiles: cyrus.Metafiles}, cyrus.Admin},
		"apart, without cache": {cyrus.Options{Metafiles: "header index"}, cyrus.Admin},
		"user":                 {cyrus.Options{Metafiles: cyrus.Metafiles}, "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cyrus.Start(t, tt.o)
			s.AddUser("alice")
			c := s.Login("alice")
			c.Create("Work")
			const all = 12
			for n := range all {
				c.Append("Work", missive(n), when.Add(time.Duration(n)*time.Hour), []string{`\Seen`, "$Work", `\Flagged`}[n%3])
			}
			before := c.Examine("Work")
			dir := s.Directory("alice", "Work")
			file := func(uid int) string { return filepath.Join(dir, fmt.Sprintf("%d.", uid)) }
			damage(t, file)
			if tt.o.Metafiles == "header index" {
				removeFile(t, filepath.Join(dir, "cyrus.cache"))
			}
			l := liveAt(t, s.Port, tt.as, "alice")
			st, got := inspect(t, l, "Work")
			if want := (mailstore.Stand{UIDValidity: before.UIDValidity, UIDNext: all + 1, Messages: all}); st != want {
				t.Errorf("%+v, want %+v", st, want)
			}
			if want := []mailstore.UID{2, 3, 6, all}; !slices.Equal(dangles(got), want) {
				t.Errorf("UIDs %v dangle, want %v", dangles(got), want)
			}
			for i, m := range got {
				was := before.Messages[i]
				_, sum, size := chunk.WireSums([]byte(was.Body))
				want := mailstore.Inspected{UID: mailstore.UID(was.UID), Flags: was.Flags, InternalDate: was.InternalDate.UTC(), Size: size, SHA1: sum, ModSeq: m.ModSeq, Dangling: m.Dangling}
				if m.Dangling && tt.o.Metafiles != "header index" {
					want.MessageID = fmt.Sprintf("<%d@example.org>", i)
					want.Envelope = fmt.Sprintf(`(NIL "=?utf-8?q?Gr=C3=BC=C3=9Fe?= \"%d\"" (("B" NIL "b" "example.org")) (("B" NIL "b" "example.org")) (("B" NIL "b" "example.org")) ((NIL NIL "a" "example.org")(NIL NIL "c" "example.org")) NIL NIL NIL "<%d@example.org>")`, i, i)
				}
				if !reflect.DeepEqual(m, want) || m.ModSeq == 0 {
					t.Errorf("%+v\nwant %+v", m, want)
				}
				body, err := l.Body(t.Context(), "Work", m.UID)
				var d *mailstore.Dangling
				switch damaged := m.UID == 4 || m.UID == 5; {
				case m.Dangling && (!errors.As(err, &d) || !d.Missing || d.UID != m.UID), damaged && (!errors.As(err, &d) || d.Missing || d.UID != m.UID || !strings.Contains(d.Why, "promises")):
					t.Errorf("UID %d: %q, %v", m.UID, body, err)
				case !m.Dangling && !damaged && (err != nil || string(body) != was.Body):
					t.Errorf("UID %d: %q, %v", m.UID, body, err)
				}
			}
			if _, err := l.Body(t.Context(), "Work", 2); !strings.Contains(err.Error(), "no longer exists") {
				t.Errorf("the lost message: %v", err)
			}
			for _, uid := range []mailstore.UID{all + 1, 4_000_000_000} {
				if _, err := l.Body(t.Context(), "Work", uid); !errors.Is(err, mailstore.ErrVanished) {
					t.Errorf("UID %d: %v", uid, err)
				}
			}
			flags := c.Do("UID FETCH 1:* (FLAGS)")
			for i, r := range flags[:all] {
				if strings.Contains(r.Text, `\Seen`) != (i%3 == 0) {
					t.Errorf("marked as seen: %s", r.Text)
				}
			}
			if tt.o.Metafiles == "header index" {
				err := l.Remove(t.Context(), "Work", st.UIDValidity, dangles(got))
				if _, left := inspect(t, l, "Work"); err == nil || !strings.Contains(err.Error(), "cyrus.cache") || len(left) != all {
					t.Errorf("removed without cache: %v, %d are left", err, len(left))
				}
				return
			}
			online := qresync(t, s.Login("alice"), "Work")
			if err := l.Remove(t.Context(), "Work", st.UIDValidity, append(dangles(got), 4, 5, 99, 0)); err != nil {
				t.Fatal(err)
			}
			if said := vanished(online); said != "2:6,12" {
				t.Errorf("the client hears that %q have vanished", said)
			}
			if _, left := inspect(t, l, "Work"); len(left) != 6 || len(dangles(left)) > 0 {
				t.Errorf("%+v", left)
			}
			for _, m := range s.Login("alice").Examine("Work").Messages {
				if m.Body != before.Messages[m.UID-1].Body {
					t.Errorf("UID %d: %q", m.UID, m.Body)
				}
			}
			if _, err := l.Body(t.Context(), "Work", 2); !errors.Is(err, mailstore.ErrVanished) {
				t.Errorf("after its removal: %v", err)
			}
		})
	}
}

// damage loses, empties, cuts and alters message files.
func damage(t *testing.T, file func(uid int) string) {
	t.Helper()
	altered, err := os.ReadFile(file(5))
	if err != nil {
		t.Fatal(err)
	}
	altered[len(altered)-5]++
	err = errors.Join(os.Remove(file(2)), os.Truncate(file(3), 0), os.Truncate(file(4), 60), os.Remove(file(6)), os.Remove(file(12)))
	if f, e := os.OpenFile(file(5), os.O_WRONLY, 0); e == nil {
		_, e = f.Write(altered)
		err = errors.Join(err, e, f.Close())
	} else {
		err = errors.Join(err, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// qresync has a client open a folder that is to hear of removals (RFC 7162).
func qresync(t *testing.T, c *imaptest.Client, folder string) *imaptest.Client {
	t.Helper()
	c.Do("ENABLE QRESYNC")
	c.Select(folder)
	return c
}

// vanished gives the UIDs that a client hears of.
func vanished(c *imaptest.Client) string {
	var out []string
	for _, r := range c.Do("NOOP") {
		if uids, ok := strings.CutPrefix(r.Text, "* VANISHED "); ok {
			out = append(out, uids)
		}
	}
	return strings.Join(out, ",")
}

// Accounts that are not there are told from those that the login may not open.
func TestLiveAccounts(t *testing.T) {
	t.Parallel()
	c := cyrus.Start(t, cyrus.Options{})
	c.AddUser("alice")
	c.AddUser("bob")
	d := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}})
	d.Login("bob").Append("INBOX", missive(1), when)
	for _, tt := range []struct {
		port     int
		as, user string
		is       error
		want     string
	}{
		{c.Port, cyrus.Admin, "alice", nil, ""},
		{c.Port, cyrus.Admin, "nobody", mailstore.ErrNoAccount, `open the account of "nobody": the server has no such account`},
		{c.Port, cyrus.Admin, cyrus.Admin, mailstore.ErrNoAccount, ""},
		{c.Port, "alice", "alice", nil, ""},
		{c.Port, "nobody", "nobody", mailstore.ErrNoAccount, ""},
		{c.Port, "alice", "bob", nil, "only an administrator of a Cyrus or a master user of a Dovecot"},
		{d.Port, "backup", "bob", nil, ""},
		{d.Port, "bob", "bob", nil, ""},
		{d.Port, "bob", "alice", nil, "only an administrator of a Cyrus or a master user of a Dovecot"},
	} {
		l, err := serverAt(t, tt.port, tt.as).Live(t.Context(), tt.user)
		if bad := tt.is != nil || tt.want != ""; bad != (err != nil) || tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && errors.Is(err, mailstore.ErrNoAccount) {
			t.Errorf("%s as %s: %v", tt.user, tt.as, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s as %s: %v", tt.user, tt.as, err)
			}
			continue
		}
		var names []string
		if err := l.Mailboxes(t.Context(), func(m mailstore.Mailbox) error { names = append(names, m.Name); return nil }); err != nil || !slices.Equal(names, []string{"INBOX"}) {
			t.Errorf("%s as %s: %q, %v", tt.user, tt.as, names, err)
		}
		l.Close(t.Context())
	}
	if got := c.LoginAdmin().List(); !slices.Equal(got, []string{"user/alice", "user/bob"}) {
		t.Errorf("mailboxes %q", got)
	}
}

// Dovecot drops the lost files of a Maildir by itself: that is no dangling
// message, also when it happens while the account is open. Over a file that is
// short, and over whatever is wrong in an sdbox, it hangs up: an error by name.
func TestLiveDovecot(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		location, files string
		harm            func(t *testing.T, file string)
		listed          int
		want            string // of the errors; "" for none
	}{
		"maildir, lost":  {"maildir:~/Maildir", "Maildir/*/*,S=*", removeFile, 5, ""},
		"maildir, short": {"maildir:~/Maildir", "Maildir/*/*,S=*", func(t *testing.T, file string) { cut(t, file) }, 6, "hung up"},
		"sdbox, lost":    {"sdbox:~/sdbox", "sdbox/mailboxes/INBOX/dbox-Mails/u.*", removeFile, 6, "FETCH failed"},
		"sdbox, emptied": {"sdbox:~/sdbox", "sdbox/mailboxes/INBOX/dbox-Mails/u.*", func(t *testing.T, file string) { cut(t, file) }, 6, "hung up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dovecot.Start(t, dovecot.Options{Location: tt.location})
			c := s.Login("alice")
			for n := range 6 {
				c.Append("INBOX", missive(n), when)
			}
			before := c.Examine("INBOX")
			l := liveAt(t, s.Port, "alice", "alice")
			if st, got := inspect(t, l, "INBOX"); len(got) != 6 || len(dangles(got)) > 0 || got[0].ModSeq == 0 || got[1].Size != int64(len(before.Messages[1].Body)) || st.UIDNext != 7 || st.ReadOnly {
				t.Errorf("%+v, %+v", st, got)
			}
			files, _ := filepath.Glob(filepath.Join(s.Home("alice"), tt.files))
			if len(files) != 6 {
				t.Fatalf("%q", files)
			}
			slices.Sort(files)
			tt.harm(t, files[2])
			body, err := l.Body(t.Context(), "INBOX", 3)
			var d *mailstore.Dangling
			if err == nil || errors.As(err, &d) || errors.Is(err, mailstore.ErrVanished) != (tt.want == "") {
				t.Errorf("the body that is lost: %q, %v", body, err)
			}
			if body, err := l.Body(t.Context(), "INBOX", 4); err != nil || string(body) != before.Messages[3].Body {
				t.Errorf("the one behind it: %q, %v", body, err)
			}
			if tt.want != "" {
				tt.harm(t, files[4])
			}
			var got []mailstore.Inspected
			_, err = l.Inspect(t.Context(), "INBOX", func(m mailstore.Inspected) error { got = append(got, m); return nil })
			if (err == nil) != (tt.want == "") || len(dangles(got)) > 0 || tt.want == "" && len(got) != 5 {
				t.Errorf("%d messages, %v", len(got), err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"alice": folder "INBOX"`) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v", err)
			}
		})
	}
}

func cut(t *testing.T, file string) {
	t.Helper()
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
}

// On a Dovecot, too, clients hear of what is removed, and of nothing else.
func TestLiveRemoveDovecot(t *testing.T) {
	t.Parallel()
	s := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}})
	c := s.Login("alice")
	for n := range 6 {
		c.Append("INBOX", missive(n), when)
	}
	c.Select("INBOX")
	c.Store("6", "+FLAGS", `\Deleted`) // by the user, who has not expunged it yet
	online := qresync(t, s.Login("alice"), "INBOX")
	l := liveAt(t, s.Port, "backup", "alice")
	st, err := l.Stand(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(t.Context(), "INBOX", st.UIDValidity+1, []mailstore.UID{1}); !errors.Is(err, mailstore.ErrRenumbered) {
		t.Errorf("another UIDVALIDITY: %v", err)
	}
	if err := l.Remove(t.Context(), "Nix", st.UIDValidity, []mailstore.UID{1}); !errors.Is(err, mailstore.ErrNoMailbox) {
		t.Errorf("no such folder: %v", err)
	}
	for range 2 {
		if err := l.Remove(t.Context(), "INBOX", st.UIDValidity, []mailstore.UID{4, 2}); err != nil {
			t.Error(err)
		}
	}
	if said := vanished(online); said != "2,4" {
		t.Errorf("the client hears that %q have vanished", said)
	}
	var left []uint32
	for _, m := range s.Login("alice").Examine("INBOX").Messages {
		left = append(left, m.UID)
	}
	if !slices.Equal(left, []uint32{1, 3, 5, 6}) {
		t.Errorf("UIDs %v are left", left)
	}
}

// What a user may not do, an administrator who acts for them may not either; the
// server's words say so, and the state says it before.
func TestLiveRights(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	s.AddUser("alice")
	s.Login("alice").Append("INBOX", missive(1), when)
	l := liveAt(t, s.Port, cyrus.Admin, "alice")
	s.LoginAdmin().Do("SETACL user/alice alice lrs")
	st, err := l.Stand(t.Context(), "INBOX")
	if err != nil || !st.ReadOnly {
		t.Errorf("%+v, %v", st, err)
	}
	if err := l.Remove(t.Context(), "INBOX", st.UIDValidity, []mailstore.UID{1}); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("%v", err)
	}
	s.LoginAdmin().Do("SETACL user/alice alice lrsi")
	if st, err := l.Stand(t.Context(), "INBOX"); err != nil || st.ReadOnly || st.Messages != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}
