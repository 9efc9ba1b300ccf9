package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Files get their names together; one whose name is taken meanwhile stays away,
// and nothing that stands there is lost.
func TestBatch(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return "nothing"
		}
		must(t, err)
		return string(b)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	dead := exec.Command("true")
	must(t, dead.Run())
	stale := filepath.Join("a", fmt.Sprintf("%s%d-%s-7", tmpPrefix, dead.ProcessState.Pid(), Host))
	aside := filepath.Join("a", AsideName("old", time.Now()))
	for name, text := range map[string]string{stale: "left", aside: "put aside before", "a/2": "wrong", "a/other": "somebody's"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	when := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	var b Batch
	must(t, b.Add(root, "a", "1", Wrong{}, []byte("one"), when, ""))
	must(t, b.Add(root, "a", "2", Wrong{Dir: "a", Name: "2", Aside: ".aside"}, []byte("two"), when, ""))
	must(t, b.Add(root, "b/c/d", "3", Wrong{}, []byte("three"), when, ""))
	must(t, b.Add(root, "a", "4", Wrong{}, []byte("four"), when, ""))
	must(t, b.Add(root, "a", "5", Wrong{Dir: "a", Name: "gone", Aside: ".x"}, []byte("five"), when, ""))
	if read("a/1") != "nothing" || read("a/2") != "wrong" || read(stale) != "nothing" {
		t.Error("before Commit: a file has its name, or what was left is there")
	}
	must(t, os.WriteFile(filepath.Join(dir, "a/4"), []byte("come meanwhile"), 0o600))
	failed, err := b.Commit()
	must(t, err)
	if len(failed) != 1 || !errors.Is(failed[0].Err, fs.ErrExist) || failed[0].Path != filepath.Join(dir, "a/4") {
		t.Errorf("%+v", failed)
	}
	for name, want := range map[string]string{"a/1": "one", "a/2": "two", "a/.aside": "wrong", "b/c/d/3": "three", "a/4": "come meanwhile", "a/5": "five",
		"a/other": "somebody's", aside: "put aside before"} {
		if got := read(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "b/c/d/3"))
	must(t, err)
	if info.Mode().Perm() != 0o600 || !info.ModTime().Equal(when) {
		t.Errorf("mode %v, time %v", info.Mode(), info.ModTime())
	}
	must(t, b.Add(root, "a", "6", Wrong{}, []byte("six"), when, ""))
	b.Drop()
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), tmpPrefix) && !strings.Contains(d.Name(), "damaged") {
			t.Errorf("%s is left", p)
		}
		return err
	}))
	if failed, err := b.Commit(); err != nil || failed != nil || read("a/6") != "nothing" {
		t.Errorf("an empty batch: %v, %v", failed, err)
	}
}

// Files that are one become links to one, before and after Commit; where that
// cannot be, they are files of their own.
func TestBatchLinks(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	var b Batch
	add := func(name, same string) { must(t, b.Add(root, "d", name, Wrong{}, []byte("x"), time.Time{}, same)) }
	commit := func() {
		failed, err := b.Commit()
		must(t, err)
		if len(failed) > 0 {
			t.Errorf("%+v", failed)
		}
	}
	add("1", "a")
	add("2", "a")
	add("3", "b")
	add("4", "")
	add("5", "")
	commit()
	add("6", "a")
	commit()
	must(t, os.Remove(filepath.Join(dir, "d", "3")))
	add("7", "b")
	commit()
	add("8", "c")
	must(t, os.WriteFile(filepath.Join(dir, "d", "8"), []byte("another"), 0o600))
	if failed, err := b.Commit(); err != nil || len(failed) != 1 {
		t.Errorf("%+v, %v", failed, err)
	}
	add("9", "c")
	commit()
	if got, err := os.ReadFile(filepath.Join(dir, "d", "9")); err != nil || string(got) != "x" {
		t.Errorf("it became a link to what stood there: %q, %v", got, err)
	}
	inode := func(name string) any {
		info, err := os.Stat(filepath.Join(dir, "d", name))
		must(t, err)
		return info.Sys().(*syscall.Stat_t).Ino
	}
	if inode("1") != inode("2") || inode("1") != inode("6") || inode("4") == inode("5") || inode("1") == inode("7") {
		t.Error("wrong files are one")
	}
}

// A directory that a link leads to outside is not written into.
func TestBatchStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	var b Batch
	for _, to := range []string{"link", "../" + filepath.Base(outside), "link/deeper"} {
		if err := b.Add(root, to, "1", Wrong{}, []byte("x"), time.Time{}, ""); err == nil {
			t.Errorf("it wrote into %s", to)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
