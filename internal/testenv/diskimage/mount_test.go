package diskimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A directory becomes a disk, a server writes to it, and the truth is read off it.
func TestFillMountAdopt(t *testing.T) {
	for _, fs := range []string{Ext4, XFS} {
		t.Run(fs, func(t *testing.T) {
			from := t.TempDir()
			box := filepath.Join(from, "data", "uuid", "0")
			if err := os.MkdirAll(box, 0o750); err != nil {
				t.Fatal(err)
			}
			write := func(dir, name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(box, "1.", "Subject: one\r\n\r\n1\r\n")
			im := Fill(t, from, Options{FS: fs, Size: small})
			m := Mount(t, im.Path)
			at := filepath.Join(m.Dir, "data", "uuid", "0")
			if b, err := os.ReadFile(filepath.Join(at, "1.")); err != nil || len(b) != 19 {
				t.Fatalf("%q, %v", b, err)
			}
			write(at, "2.", strings.Repeat("Subject: two\r\n", 1000)+"\r\n2\r\n")
			write(at, "cyrus.index", "no mail")
			m.Unmount(t)
			if _, err := os.Stat(m.Dir); err == nil {
				t.Error("still mounted")
			}
			im, err := Adopt(im.Path, im.Options, func(path string) (Message, bool) {
				return Message{Store: Cyrus, User: "alice", Folder: "INBOX", Name: filepath.Base(path)}, isNumbered(path)
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(im.Messages) != 2 || im.Messages[1].Size != 14005 || im.Messages[1].Path != "data/uuid/0/2." || im.Messages[0].SHA1 != digest1([]byte("Subject: one\r\n\r\n1\r\n")) {
				t.Fatalf("%+v", im.Messages)
			}
			d := im.Harm(t, Headers, 1)
			if l, err := d.Limit(); err != nil || l.Messages != 2 {
				t.Errorf("%v, %v", l, err)
			}
		})
	}
}

// A test that fails leaves nothing mounted behind.
func TestCleanupUnmounts(t *testing.T) {
	im := Fill(t, t.TempDir(), Options{Size: small})
	var dir string
	t.Run("a test", func(t *testing.T) {
		dir = Mount(t, im.Path).Dir
		b, err := os.ReadFile("/proc/mounts")
		if err != nil || !strings.Contains(string(b), dir) {
			t.Error("not mounted")
		}
	})
	b, err := os.ReadFile("/proc/mounts")
	if err != nil || strings.Contains(string(b), dir) {
		t.Error("still mounted")
	}
}

// What an index knows depends on whose it is.
func TestIndex(t *testing.T) {
	all := Index([]Message{{Store: Cyrus, User: "a", SHA1: "1", MessageID: "<x>", UID: 3, Name: "3.", Size: 7}, {Store: Maildir, User: "b", SHA1: "2", MessageID: "<y>", Name: "1.M2.h,S=5,W=6", Size: 5}})
	if all[0].SHA1 != "1" || all[0].MessageID != "<x>" || all[0].UID != 3 || all[0].Name != "" || all[0].Size != 7 {
		t.Errorf("Cyrus: %+v", all[0])
	}
	if all[1].SHA1 != "" || all[1].MessageID != "" || all[1].Name != "1.M2.h,S=5,W=6" {
		t.Errorf("Maildir: %+v", all[1])
	}
}
