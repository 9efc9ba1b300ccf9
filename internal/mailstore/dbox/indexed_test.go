package dbox

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
)

// An indexed is a folder with its messages.
type indexed struct {
	mailstore.Mailbox
	messages []mailstore.Message
	err      error
}

func listAll(t *testing.T, s mailstore.Source) map[string]*indexed {
	t.Helper()
	out := map[string]*indexed{}
	err := s.Mailboxes(ctx, mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		f := &indexed{Mailbox: b}
		f.err = s.Messages(ctx, b, func(m mailstore.Message) error { f.messages = append(f.messages, m); return nil })
		out[b.Name] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The indexes of dboxes whose files are all gone tell each message that was there
// under the key that it had, and none that was expunged.
func TestIndexOutlivesMessages(t *testing.T) {
	for _, l := range locations {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s, o := start(t, l.location, l.compress)
			fill(s)
			more(s)
			imap, subscribed := imapView(s)
			src := openSource(t, o)
			before := listAll(t, src)
			s.Stop()
			src.Close()
			lose(t, s.Dir, o)
			x, err := OpenIndex(o)
			if err != nil {
				t.Fatal(err)
			}
			var users []string
			if err := x.Users(ctx, func(u mailstore.User) error { users = append(users, u.Name); return nil }); err != nil || !slices.Equal(users, []string{"alice"}) {
				t.Errorf("users %q, %v", users, err)
			}
			after := listAll(t, x)
			if len(after) != len(before) || len(after) < 7 {
				t.Errorf("%d folders, were %d", len(after), len(before))
			}
			for name, was := range before {
				is := after[name]
				if is == nil || is.err != nil || is.Lost != "" || is.UIDValidity != was.UIDValidity || is.UIDNext != was.UIDNext || is.ObjectID != was.ObjectID ||
					is.Subscribed != slices.Contains(subscribed, wire(name)) || len(is.messages) != len(was.messages) || time.Since(is.Written) > time.Minute {
					t.Errorf("%s: %+v, was %+v", name, is, was)
					continue
				}
				for i, m := range is.messages {
					b := was.messages[i]
					if m.Key != b.Key || m.UID != b.UID || !reflect.DeepEqual(m.Flags, b.Flags) && len(m.Flags)+len(b.Flags) > 0 || m.NoFlags || m.Size != -1 ||
						!m.InternalDate.Equal(b.InternalDate) || imap[wire(name)].Records[i].UID != uint32(m.UID) {
						t.Errorf("%s: %+v, was %+v", name, m, b)
					}
					if _, err := x.Open(ctx, is.Mailbox, m); err == nil {
						t.Error("it opened a message")
					}
				}
			}
		})
	}
}

// lose removes all messages: their whole directory where the indexes lie apart.
func lose(t *testing.T, dir string, o Options) {
	t.Helper()
	if o.Index != nil {
		for _, d := range []string{"home", "alt"} {
			if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	lost := 0
	err := filepath.WalkDir(filepath.Join(dir, "home"), func(p string, d os.DirEntry, err error) error {
		if name := d.Name(); err == nil && (strings.HasPrefix(name, "u.") || strings.HasPrefix(name, "m.")) {
			lost++
			return os.Remove(p)
		}
		return err
	})
	if err != nil || lost == 0 {
		t.Fatalf("%d files, %v", lost, err)
	}
}

// What is damaged of an index is no evidence, and said.
func TestDamagedSurvivor(t *testing.T) {
	s, o := start(t, "mdbox:~/mail:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u:ALT=@DIR@/alt/%u:UTF-8", "")
	fill(s)
	s.Stop()
	lose(t, s.Dir, o)
	work := filepath.Join(s.Dir, "index/alice/mailboxes/Work")
	edit(t, filepath.Join(work, "dovecot.index.log"), func(b []byte) []byte { return b[:len(b)-3] })
	if err := os.RemoveAll(filepath.Join(s.Dir, "control")); err != nil {
		t.Fatal(err)
	}
	x, err := OpenIndex(o)
	if err != nil {
		t.Fatal(err)
	}
	f := listAll(t, x)["Work"]
	var inc *mailstore.Incomplete
	if f == nil || !strings.Contains(f.Lost, "its log ends") || !errors.As(f.err, &inc) || len(f.messages) == 0 {
		t.Errorf("a cut log: %+v", f)
	}
	edit(t, filepath.Join(work, "dovecot.index.log"), func(b []byte) []byte { return b[:10] })
	if f = listAll(t, x)["Work"]; f.Lost == "" || !errors.As(f.err, &inc) || len(f.messages) != 0 {
		t.Errorf("no log: %+v", f)
	}
	if err := os.RemoveAll(filepath.Join(s.Dir, "index")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIndex(o); err == nil {
		t.Error("it opened nothing")
	}
}
