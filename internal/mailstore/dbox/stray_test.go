package dbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dovecot/index"
	"salvor/internal/testenv/dovecot"
)

// between gives where a log can be cut between two records so that messages are
// lost and the rest looks whole.
func between(t *testing.T, log []byte) int {
	t.Helper()
	whole, err := index.Decode(nil, append([]byte(nil), log...), nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(log) - 4; n > 0; n -= 4 {
		ix, err := index.Decode(nil, append([]byte(nil), log[:n]...), nil)
		if err == nil && ix.Torn == "" && ix.UIDNext() < whole.UIDNext()-1 {
			return n
		}
	}
	t.Fatal("the log cannot be cut between two records")
	return 0
}

// Messages that the end of a log has told of are not deleted when that end is
// lost: not when the cut shows, and not when it does not.
func TestCutLog(t *testing.T) {
	const many = 12
	for _, kind := range []string{"sdbox", "mdbox"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := dovecot.Start(t, dovecot.Options{Location: kind + ":~/mail"})
			o := Options{Root: template(t, filepath.Join(s.Dir, "home/%u/mail")), Now: later}
			if kind == "mdbox" {
				o.Kind = Multi
			}
			c := s.Login("alice")
			c.Create("Work")
			for n := range many {
				c.Append("INBOX", body(n), when)
				c.Append("Work", body(n+many), when)
			}
			c.Do("SELECT INBOX")
			c.Do("UID STORE 2 +FLAGS (\\Deleted)")
			c.Do("EXPUNGE")
			c.Append("INBOX", body(many), when)
			c.Close()
			s.Stop()
			name := filepath.Join(s.Home("alice"), "mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log")
			log, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{len(log) * 60 / 100, len(log) * 90 / 100, len(log) * 99 / 100, len(log) - 1, between(t, log), len(log)} {
				if err := os.WriteFile(name, log[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				src := openSource(t, o)
				boxes, problems := mailboxes(t, src)
				ix, err := index.Decode(nil, append([]byte(nil), log[:n]...), nil)
				torn := err != nil || ix.Torn != ""
				what := fmt.Sprintf("%d of %d bytes", n, len(log))
				cut := torn || ix.UIDNext() < uint32(many+2) // else no message was lost
				if (len(problems) == 1) != cut || cut && !strings.Contains(problems[0].Error(), "lost") {
					t.Errorf("%s: problems %v", what, problems)
				}
				for _, b := range boxes {
					// Which folder of an mdbox has lost something shows only where the cut does.
					want := cut && (b.Name == "INBOX" || o.Kind == Multi && !torn)
					if (b.Lost != "") != want {
						t.Errorf("%s: %s is lost %q", what, b.Name, b.Lost)
					}
					list, problems := messages(t, src, b.Name)
					if problems != nil {
						t.Errorf("%s: %s: %v", what, b.Name, problems)
					}
					if complete := o.Kind == Single || torn || !cut || b.Name == "Work"; complete && len(list) < many {
						t.Errorf("%s: %s has %d messages of %d", what, b.Name, len(list), many)
					}
					readAll(t, src, b.Name, list)
				}
			}
		})
	}
}

// readAll reads all messages of a folder, none of which may be listed twice.
func readAll(t *testing.T, src *Source, name string, list []mailstore.Message) {
	t.Helper()
	keys := map[string]bool{}
	for _, m := range list {
		_, err := readMessage(src, name, m)
		if m.Key == "u.2" && errors.Is(err, mailstore.ErrDamaged) {
			err = nil // that it was expunged stands in what the log has lost
		}
		if err != nil || keys[m.Key] {
			t.Errorf("%s: %+v: %v", name, m, err)
		}
		keys[m.Key] = true
	}
}

// A folder of an mdbox that went away without its server's doing is missed; one
// that lies elsewhere in the same storage is not.
func TestFolderAway(t *testing.T) {
	t.Parallel()
	s, o := start(t, "mdbox:~/mail", "")
	o.Now = later
	fill(s)
	s.Stop()
	mail := filepath.Join(s.Home("alice"), "mail")
	lost := func() (n int) {
		boxes, problems := mailboxes(t, openSource(t, o))
		for _, b := range boxes {
			if b.Lost != "" {
				n++
			}
		}
		if (n == len(boxes)) != (len(problems) == 1) {
			t.Errorf("%d of %d folders are lost, problems %v", n, len(boxes), problems)
		}
		return n
	}
	if n := lost(); n != 0 {
		t.Errorf("%d are lost, and nothing is", n)
	}
	if err := os.Mkdir(filepath.Join(mail, "expunged"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(mail, "mailboxes/Work"), filepath.Join(mail, "expunged/Work")); err != nil {
		t.Fatal(err)
	}
	if n := lost(); n != 0 {
		t.Errorf("%d are lost, and a folder lies elsewhere", n)
	}
	remove(t, s, "expunged")
	if n := lost(); n == 0 {
		t.Error("a folder is away and nobody misses it")
	}
}

// What a server has left for a moment only, between a folder's index and the
// files or the map, is nothing that was lost.
func TestSecondLook(t *testing.T) {
	for _, kind := range []string{"sdbox", "mdbox"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, kind+":~/mail", "")
			o.Now = later
			fill(s)
			s.Stop()
			work := filepath.Join(s.Home("alice"), "mail/mailboxes/Work/dbox-Mails")
			aside := filepath.Join(s.Dir, "aside")
			var begin, end func() error
			if o.Kind == Single { // a file that is about to be removed
				begin = func() error { return os.Link(filepath.Join(work, "u.1"), filepath.Join(work, "u.99")) }
				end = func() error { return os.Remove(filepath.Join(work, "u.99")) }
			} else { // messages that no folder has yet
				begin = func() error { return os.Rename(work, aside) }
				end = func() error { return os.Rename(aside, work) }
			}
			if err := begin(); err != nil {
				t.Fatal(err)
			}
			settled := make(chan error, 1)
			go func() {
				time.Sleep(lookAgain * 3 / 2)
				settled <- end()
			}()
			boxes, problems := mailboxes(t, openSource(t, o))
			if err := <-settled; err != nil || problems != nil {
				t.Errorf("%v, problems %v", err, problems)
			}
			for _, b := range boxes {
				if b.Lost != "" {
					t.Errorf("%s: %s", b.Name, b.Lost)
				}
			}
		})
	}
}
