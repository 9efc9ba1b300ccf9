package dbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/dovecot"
)

// bodies gives the mail of a folder, sorted, with the line ends of IMAP.
func bodies(t *testing.T, s *Source, name string) (out []string, problems []*mailstore.Problem) {
	t.Helper()
	list, problems := messages(t, s, name)
	for _, m := range list {
		text, err := readMessage(s, name, m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out = append(out, strings.ReplaceAll(text, "\n", "\r\n"))
	}
	sort.Strings(out)
	return out, problems
}

func bodiesOf(v view) (out []string) {
	for _, r := range v.Records {
		out = append(out, r.Body)
	}
	sort.Strings(out)
	return out
}

// remove removes the files that match a pattern below a user's mail.
func remove(t *testing.T, s *dovecot.Server, pattern string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Home("alice"), "mail", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	for _, n := range names {
		if err := os.RemoveAll(n); err != nil {
			t.Fatal(err)
		}
	}
}

// Without its index a folder has its mail, and no flags; other folders are as
// they were. In an mdbox this is also the mail that was moved there, and none
// that was expunged.
func TestLostIndex(t *testing.T) {
	for _, location := range []string{"sdbox:~/mail", "mdbox:~/mail"} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, location, "")
			fill(s)
			want, _ := imapView(s)
			s.Stop()
			remove(t, s, "mailboxes/Work/dbox-Mails/dovecot.index*")
			src := openSource(t, o)
			boxes, problems := mailboxes(t, src)
			if len(boxes) != len(want) || problems != nil {
				t.Fatalf("%d folders, problems %v", len(boxes), problems)
			}
			for _, b := range boxes {
				if (b.Lost != "") != (b.Name == "Work") {
					t.Errorf("%s: lost %q", b.Name, b.Lost)
				}
				got, problems := bodies(t, src, b.Name)
				if w := bodiesOf(want[wire(b.Name)]); !reflect.DeepEqual(got, w) || problems != nil {
					t.Errorf("%s: %d messages, want %d, problems %v", b.Name, len(got), len(w), problems)
				}
			}
			list, _ := messages(t, src, "Work")
			for i, m := range list {
				r := want["Work"].Records[i]
				if !m.NoFlags || m.Flags != nil || o.Kind == Single && uint32(m.UID) != r.UID || m.ObjectID == "" || m.InternalDate.IsZero() {
					t.Errorf("message %+v of %+v", m, r)
				}
			}
			if err := os.WriteFile(filepath.Join(s.Home("alice"), "mail/mailboxes/Work/dbox-Mails/dovecot.index.log"), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, problems := mailboxes(t, src); len(problems) != 1 || problems[0].Mailbox != "Work" || !strings.Contains(problems[0].Path, "dovecot.index") {
				t.Errorf("a damaged log: problems %v", problems)
			}
			if got, problems := bodies(t, src, "Work"); len(got) != len(list) || len(problems) != 1 {
				t.Errorf("a damaged log: %d messages, problems %v", len(got), problems)
			}
		})
	}
}

// Without its map an mdbox is as it was, but for a problem that is reported.
func TestLostMap(t *testing.T) {
	s, o := start(t, "mdbox:~/mail", "zstd")
	fill(s)
	want, _ := imapView(s)
	s.Stop()
	remove(t, s, "storage/dovecot.map.index*")
	src := openSource(t, o)
	boxes, problems := mailboxes(t, src)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, b := range boxes {
		w := want[wire(b.Name)]
		got, problems := bodies(t, src, b.Name)
		if !reflect.DeepEqual(got, bodiesOf(w)) || (len(problems) == 1) != (len(got) > 0) {
			t.Errorf("%s: %d messages, want %d, problems %v", b.Name, len(got), len(w.Records), problems)
		}
		list, _ := messages(t, src, b.Name)
		for i, m := range list {
			if r := w.Records[i]; m.NoFlags || uint32(m.UID) != r.UID || strings.Join(m.Flags, " ") != r.Flags || m.ObjectID != r.GUID {
				t.Errorf("%s: message %+v of %+v", b.Name, m, r)
			}
		}
	}
}

// Of an mdbox nothing but its storage is left: every message that there ever was
// is in its first folder.
func TestOnlyStorage(t *testing.T) {
	s, o := start(t, "mdbox:~/mail", "")
	fill(s)
	s.Stop()
	remove(t, s, "mailboxes")
	remove(t, s, "storage/dovecot*")
	src := openSource(t, o)
	boxes, problems := mailboxes(t, src)
	var names []string
	for _, b := range boxes {
		names = append(names, b.Name)
		if b.Lost == "" {
			t.Errorf("%s is not lost", b.Name)
		}
		if got, problems := bodies(t, src, b.Name); len(got) != 6 || problems != nil {
			t.Errorf("%s: %d messages, %v", b.Name, len(got), problems)
		}
	}
	if want := []string{"INBOX", "Entwürfe", "Gone", "INBOX/Sub", "Work", "Work/2024", "a.b", "台北/x y"}; !reflect.DeepEqual(names, want) || len(problems) != 1 {
		t.Errorf("folders %q, want %q, problems %v", names, want, problems)
	}
}

// Messages that are lost or broken are listed, so that they do not count as
// deleted, and each is damaged by name. Those beside them are read.
func TestDamagedMessages(t *testing.T) {
	for _, location := range []string{"sdbox:~/mail", "mdbox:~/mail:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u:ALT=@DIR@/alt/%u:UTF-8"} {
		t.Run(location[:5], func(t *testing.T) {
			t.Parallel()
			s, o := start(t, location, "")
			c := s.Login("alice")
			for n := range 6 {
				c.Append("INBOX", body(n), when)
			}
			c.Close()
			s.Stop()
			mail := filepath.Join(s.Home("alice"), "mail")
			if o.Kind == Single {
				at := func(n int) string { return filepath.Join(mail, fmt.Sprintf("mailboxes/INBOX/dbox-Mails/u.%d", n)) }
				edit(t, at(1), func([]byte) []byte { return nil })
				edit(t, at(2), func(b []byte) []byte { return b[:len(b)/2] })
				edit(t, at(3), func(b []byte) []byte { return bytes.Replace(b, []byte("\x01\x02N"), []byte("\x01\x02Q"), 1) })
				if err := os.Remove(at(4)); err != nil {
					t.Fatal(err)
				}
			} else {
				edit(t, filepath.Join(mail, "storage/m.1"), func(b []byte) []byte {
					parts := bytes.SplitAfter(b, []byte("BINBOX\n\n"))
					return bytes.Join([][]byte{
						bytes.Replace(parts[0], []byte("\x01\x02N"), []byte("\x00\x00\x00"), 1),
						bytes.Replace(parts[1], []byte("\n\x01\x03\n"), []byte("\n\x01\x04\n"), 1),
						bytes.Replace(parts[2], []byte("0000000"), []byte("0000FFF"), 1),
						bytes.Replace(parts[3], []byte("\nG"), []byte("\nH"), 1),
						parts[4], parts[5],
					}, nil)
				})
			}
			src := openSource(t, o)
			list, problems := messages(t, src, "INBOX")
			if len(list) != 6 || problems != nil {
				t.Fatalf("%d messages, problems %v", len(list), problems)
			}
			for i, m := range list {
				text, err := readMessage(src, "INBOX", m)
				if i >= 4 {
					if want := strings.ReplaceAll(body(i), "\r\n", "\n"); text != want || err != nil {
						t.Errorf("message %d: %q, %v", i+1, text, err)
					}
					continue
				}
				var p *mailstore.Problem
				if !errors.Is(err, mailstore.ErrDamaged) || !errors.As(err, &p) || p.Mailbox != "INBOX" || !strings.HasPrefix(p.Path, mail) || m.UID == 0 || m.Key == "" {
					t.Errorf("message %d: %q, %v", i+1, text, err)
				}
			}
			if o.Kind == Multi { // and what a search finds goes on behind the damage
				if err := os.RemoveAll(filepath.Join(s.Dir, "index/alice/storage")); err != nil {
					t.Fatal(err)
				}
				src := openSource(t, o)
				list, problems := messages(t, src, "INBOX")
				text, err := readMessage(src, "INBOX", list[5])
				if len(list) != 6 || len(problems) != 1 || err != nil || !strings.HasPrefix(text, "Subject: message 5") {
					t.Errorf("without a map: %d messages, problems %v, %q, %v", len(list), problems, text, err)
				}
			}
		})
	}
}

func edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A message without its attachments is not the message.
func TestAttachmentsOutside(t *testing.T) {
	for _, kind := range []string{"sdbox", "mdbox"} {
		s := dovecot.Start(t, dovecot.Options{Location: kind + ":~/mail", Config: "mail_attachment_dir = ~/attachments\nmail_attachment_min_size = 1k\nmail_attachment_fs = posix\n"})
		c := s.Login("alice")
		part := strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n", 100)
		c.Append("INBOX", "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=x\r\n\r\n"+part+"--b--\r\n", when)
		c.Append("INBOX", body(1), when)
		c.Close()
		o := Options{Root: template(t, filepath.Join(s.Dir, "home/%u/mail"))}
		if kind == "mdbox" {
			o.Kind = Multi
		}
		src := openSource(t, o)
		list, problems := messages(t, src, "INBOX")
		if len(list) != 2 || problems != nil {
			t.Fatalf("%s: %d messages, %v", kind, len(list), problems)
		}
		if text, err := readMessage(src, "INBOX", list[0]); !errors.Is(err, mailstore.ErrDamaged) || !strings.Contains(err.Error(), "mail_attachment_dir") {
			t.Errorf("%s: read %d bytes, %v", kind, len(text), err)
		}
		if _, err := readMessage(src, "INBOX", list[1]); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// While a client adds, moves, copies and expunges mail, and purges what it has
// expunged, what stays is read whole, and what goes has vanished.
func TestLivingServer(t *testing.T) {
	for _, location := range []string{"sdbox:~/mail", "mdbox:~/mail"} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, location, "")
			c := s.Login("alice")
			c.Create("Other")
			for n := range 30 {
				c.Append("INBOX", fmt.Sprintf("Subject: stays %d\r\n\r\nbody\r\n", n), when)
			}
			done, stopped := make(chan bool), make(chan bool)
			go func() {
				defer close(stopped)
				c := s.Login("alice")
				c.Do("SELECT INBOX")
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					c.Append("INBOX", fmt.Sprintf("Subject: goes %d\r\n\r\nbody\r\n", i), when, "work")
					c.Do("UID COPY * Other")
					c.Do("UID STORE 1:* +FLAGS (keyword%d)", i%20)
					c.Do("UID STORE * +FLAGS (\\Deleted)")
					c.Do("EXPUNGE")
					if i%10 == 9 && o.Kind == Multi {
						s.Doveadm("purge", "-u", "alice")
					}
				}
			}()
			o.Now = later
			src := openSource(t, o)
			for range 30 {
				stays := map[string]bool{}
				list, problems := messages(t, src, "INBOX")
				if problems != nil {
					t.Error(problems)
				}
				for _, m := range list {
					text, err := readMessage(src, "INBOX", m)
					switch {
					case errors.Is(err, mailstore.ErrVanished):
					case err != nil:
						t.Error(err)
					case strings.HasPrefix(text, "Subject: stays"):
						stays[text] = true
					}
				}
				if len(stays) != 30 {
					t.Errorf("%d of 30 messages were read", len(stays))
				}
				boxes, problems := mailboxes(t, src)
				if problems != nil {
					t.Error(problems)
				}
				for _, b := range boxes {
					if b.Lost != "" {
						t.Errorf("%s: %s", b.Name, b.Lost)
					}
				}
			}
			close(done)
			<-stopped
			want, _ := imapView(s)
			got, _ := diskView(t, src)
			compare(t, got, want)
		})
	}
}

// A folder's state stays while nothing happens to it, and changes with its mail,
// its flags, and files that go missing.
func TestState(t *testing.T) {
	for _, location := range []string{"sdbox:~/mail", "mdbox:~/mail"} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, location, "")
			o.Now = func() time.Time { return time.Now().Add(time.Minute) }
			src := openSource(t, o)
			states := func() map[string]string {
				out := map[string]string{}
				boxes, _ := mailboxes(t, src)
				for _, b := range boxes {
					if out[b.Name] = b.State; b.State == "" {
						t.Errorf("%s has no state", b.Name)
					}
				}
				return out
			}
			c := s.Login("alice")
			c.Create("Work")
			for n := range 4 {
				c.Append("INBOX", body(n), when)
				c.Append("Work", body(n), when)
			}
			c.Do("SELECT INBOX")
			last := states()
			check := func(what string, changed ...string) {
				t.Helper()
				now := states()
				for name := range now {
					if (now[name] != last[name]) != slices.Contains(changed, name) {
						t.Errorf("%s: the state of %s was %q, is %q", what, name, last[name], now[name])
					}
				}
				last = now
			}
			c.Do("NOOP")
			check("nothing")
			c.Append("INBOX", body(9), when)
			check("a message", "INBOX")
			c.Do("UID STORE 1 +FLAGS (work)")
			check("a flag", "INBOX")
			c.Close()
			s.Stop()
			last = states()
			if o.Kind == Single {
				remove(t, s, "mailboxes/INBOX/dbox-Mails/u.2")
				check("a lost file", "INBOX")
			} else {
				remove(t, s, "storage/m.1")
				check("a lost file", "INBOX", "Work")
			}
			for _, name := range []string{"INBOX", "Work"} {
				list, _ := messages(t, src, name)
				for _, m := range list {
					_, err := readMessage(src, name, m)
					if lost := o.Kind == Multi || name == "INBOX" && m.UID == 2; (m.State == "") != lost || lost != errors.Is(err, mailstore.ErrDamaged) {
						t.Errorf("%s: %+v, %v", name, m, err)
					}
				}
			}
		})
	}
}

// What Dovecot never wrote costs no more than itself.
func TestHostileTree(t *testing.T) {
	dir := t.TempDir()
	mails := filepath.Join(dir, "mailboxes/INBOX/dbox-Mails")
	for _, d := range []string{mails, filepath.Join(dir, "mailboxes/Pipe/dbox-Mails"), filepath.Join(dir, "mailboxes/\xff&bad/dbox-Mails")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "secret")
	for name, text := range map[string]string{outside: "secret", filepath.Join(mails, "u.7"): "2 M1e C1\n\x01\x02N          0000000000000002\na\n\n\x01\x03\nGx\n\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{filepath.Join(mails, "u.1"), filepath.Join(mails, "dovecot.index")} {
		if err := os.Symlink(outside, link); err != nil {
			t.Fatal(err)
		}
	}
	src := openSource(t, Options{Root: template(t, dir), User: "alice"})
	boxes, _ := mailboxes(t, src)
	if len(boxes) != 3 {
		t.Errorf("%d folders", len(boxes))
	}
	list, _ := messages(t, src, "INBOX")
	if len(list) != 2 {
		t.Fatalf("%d messages", len(list))
	}
	for _, m := range list {
		text, err := readMessage(src, "INBOX", m)
		if m.UID == 7 && (text != "a\n" || err != nil || m.ObjectID != "") || m.UID == 1 && err == nil {
			t.Errorf("message %+v: %q, %v", m, text, err)
		}
	}
}

// FuzzFile checks that a file which is no dbox costs no more than itself, and
// that what is found in it stands where it is said to.
func FuzzFile(f *testing.F) {
	whole := "2 M1e C6b03387f\n\x01\x02N          0000000000000019\nSubject: 1 INBOX\n\nbody 1\n\n\x01\x03\nR4540fea8\nV1c\nG3dd9302b7f38036be56f000083ecc375\nBINBOX\n\n"
	f.Add([]byte(whole))
	f.Add([]byte(whole + whole[16:]))
	f.Add([]byte(whole + "garbage" + whole[16:] + "\x01\x02N "))
	f.Add([]byte("2 M20 C1\n\x01\x02N          7fffffffffffffff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openFile(bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, mailstore.ErrDamaged) {
			t.Fatal(err)
		}
		last, n := int64(0), 0
		err = d.scan(func(e entry) error {
			if e.offset < last || e.body+e.size > int64(len(b)) || e.end <= e.body+e.size || e.end > int64(len(b)) {
				t.Fatalf("entry %+v in %d bytes, after %d", e, len(b), last)
			}
			if _, err := io.Copy(io.Discard, io.NewSectionReader(d, e.body, e.size)); err != nil {
				t.Fatal(err)
			}
			last, n = e.end, n+1
			return nil
		}, func(error) { n++ })
		if err != nil || n > len(b)+1 {
			t.Fatalf("%d steps in %d bytes, %v", n, len(b), err)
		}
	})
}
