package cyrus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
)

// Files that are lost long after they were backed up are told by the messages'
// State, in whichever way they were lost, and no longer once they are back.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.Stop()
	src := openSource(t, s.ConfigFile())
	data := s.Directory("alice", "INBOX")
	file := func(uid int) string { return filepath.Join(data, fmt.Sprint(uid, ".")) }
	replaced := func(content []byte) func() {
		return func() {
			remove(t, file(2))
			if content != nil {
				write(t, file(2), content)
			}
		}
	}
	whole := body(2)
	flipped := strings.Replace(whole, "body", "ydob", 1)
	partition := s.Spool("default")
	for _, tt := range []struct {
		name   string
		damage func()
		want   map[mailstore.UID]string // what the State has behind it
		kept   bool                     // the mailbox's State
	}{
		{"nothing", func() {}, nil, true},
		{"removed", replaced(nil), map[mailstore.UID]string{2: " missing"}, false},
		{"cut short", replaced([]byte(whole[:10])), map[mailstore.UID]string{2: " size 10"}, false},
		{"empty", replaced([]byte{}), map[mailstore.UID]string{2: " size 0"}, false},
		{"longer", replaced([]byte(whole + "more")), map[mailstore.UID]string{2: fmt.Sprint(" size ", len(whole)+4)}, false},
		{"same size", replaced([]byte(flipped)), nil, false},
		{"cut short in place", func() {
			if err := os.Truncate(file(2), 3); err != nil {
				t.Fatal(err)
			}
		}, map[mailstore.UID]string{2: " size 3"}, true},
		{"a directory", func() {
			remove(t, file(2))
			if err := os.Mkdir(file(2), 0o700); err != nil {
				t.Fatal(err)
			}
		}, map[mailstore.UID]string{2: " unreadable"}, false},
		{"a link that leads out", func() {
			remove(t, file(2))
			if err := os.Symlink("/etc/passwd", file(2)); err != nil {
				t.Fatal(err)
			}
		}, map[mailstore.UID]string{2: " unreadable"}, false},
		{"a link to another file", func() {
			remove(t, file(2))
			write(t, filepath.Join(data, "elsewhere"), []byte(whole))
			if err := os.Symlink("elsewhere", file(2)); err != nil {
				t.Fatal(err)
			}
		}, nil, false},
		{"expunged ones are gone", func() { remove(t, file(5)) }, nil, false},
		{"all files", func() {
			for i := range 7 {
				remove(t, file(i+1))
			}
		}, allMissing, false},
		{"their directory", func() { remove(t, data) }, allMissing, false},
		{"an empty partition", func() {
			remove(t, partition)
			if err := os.Mkdir(partition, 0o700); err != nil {
				t.Fatal(err)
			}
		}, allMissing, false},
	} {
		before := list1(t, src, "alice")["INBOX"]
		away := partition + ".away"
		if err := os.CopyFS(away, os.DirFS(partition)); err != nil {
			t.Fatal(err)
		}
		tt.damage()
		compareLost(t, s, tt.name, before, tt.want, tt.kept)
		remove(t, partition)
		if err := os.Rename(away, partition); err != nil {
			t.Fatal(err)
		}
		src = openSource(t, s.ConfigFile()) // as each night does
		after := list1(t, src, "alice")["INBOX"]
		for i, m := range after.messages {
			if m.State != before.messages[i].State || m.ObjectID == "" {
				t.Errorf("after the repair of %s: %+v, was %+v", tt.name, m, before.messages[i])
			}
		}
	}
}

var allMissing = map[mailstore.UID]string{1: " missing", 2: " missing", 3: " missing", 4: " missing", 7: " missing"}

// compareLost looks at what a fresh source tells of alice's INBOX.
func compareLost(t *testing.T, s *cyrus.Server, name string, before *listed, want map[mailstore.UID]string, kept bool) {
	t.Helper()
	src := openSource(t, s.ConfigFile())
	now := list1(t, src, "alice")["INBOX"]
	if now.err != nil || now.Lost != "" || (now.State == before.State) != kept || len(now.messages) != len(before.messages) || len(now.expunged) != 2 {
		t.Errorf("%s: %+v", name, now)
		return
	}
	for i, m := range now.messages {
		old, suffix := before.messages[i], want[m.UID]
		if m.Key != old.Key || m.State != old.State+suffix || (m.ObjectID == "") != (suffix != "") || m.SHA1 != old.SHA1 || m.Promised != old.Promised {
			t.Errorf("%s: %+v, was %+v, want %q", name, m, old, suffix)
		}
		got, err := read1(src, now.Mailbox, m)
		switch {
		case suffix == " missing":
			if !errors.Is(err, mailstore.ErrDamaged) || len(err.Error()) > 1000 {
				t.Errorf("%s: UID %d reads %q, %v", name, m.UID, got, err)
			}
		case suffix == " unreadable":
			if err == nil || errors.Is(err, mailstore.ErrVanished) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: UID %d reads %q, %v", name, m.UID, got, err)
			}
		case err != nil || (int64(len(got)) == m.Promised) != (suffix == ""):
			t.Errorf("%s: UID %d reads %q, %v", name, m.UID, got, err)
		}
	}
}
