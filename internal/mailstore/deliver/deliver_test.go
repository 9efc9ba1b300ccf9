package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func openDir(t *testing.T, r *os.Root, name string) *os.File {
	t.Helper()
	d, err := r.OpenFile(name, DirFlags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestWriteAndPublish(t *testing.T) {
	r := openRoot(t)
	var o Owner
	for _, dir := range []string{"tmp", "a/b/cur"} {
		if made, err := o.Mkdir(r, dir); !made || err != nil {
			t.Fatalf("%s: %v, %v", dir, made, err)
		}
		if made, err := o.Mkdir(r, dir); made || err != nil {
			t.Fatalf("%s again: %v, %v", dir, made, err)
		}
	}
	tmp, cur := openDir(t, r, "tmp"), openDir(t, r, "a/b/cur")
	when := time.Unix(1161887400, 123456789)
	for i, body := range []string{"first", "second"} {
		name := TmpName()
		if err := o.Write(tmp, name, []byte(body), when); err != nil {
			t.Fatal(err)
		}
		if err := o.Write(tmp, name, nil, when); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a file was written twice: %v", err)
		}
		if err := Publish(tmp, name, cur, "message"); (i == 0) != (err == nil) || err != nil && !errors.Is(err, fs.ErrExist) {
			t.Errorf("publish %s: %v", body, err)
		}
	}
	if err := Sync(r, r); err != nil {
		t.Error(err)
	}
	b, err := r.ReadFile("a/b/cur/message")
	info, _ := r.Stat("a/b/cur/message")
	if string(b) != "first" || err != nil || info.Mode().Perm() != 0o600 || !info.ModTime().Equal(when) {
		t.Errorf("message %q, %v, %v", b, info, err)
	}
}

func TestReplace(t *testing.T) {
	r := openRoot(t)
	for _, body := range []string{"one", "two"} {
		commit, err := Owner{}.Replace(r, "list", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if old, _ := r.ReadFile("list"); string(old) == body {
			t.Error("replaced before commit")
		}
		if err := commit(); err != nil {
			t.Fatal(err)
		}
		if now, _ := r.ReadFile("list"); string(now) != body {
			t.Errorf("list holds %q", now)
		}
	}
}

// Root gives what it writes to the owner of the mail.
func TestOwner(t *testing.T) {
	r := openRoot(t)
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 65534
		if err := os.Chown(r.Name(), int(want), int(want)); err != nil {
			t.Fatal(err)
		}
	}
	o := OwnerOf(r)
	if _, err := o.Mkdir(r, "dir/below"); err != nil {
		t.Fatal(err)
	}
	if err := o.Write(openDir(t, r, "dir"), "file", nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	commit, err := o.Replace(r, "dir/list", nil)
	if err = errors.Join(err, commit()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir", "dir/below", "dir/file", "dir/list"} {
		info, err := r.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
}

func TestLock(t *testing.T) {
	r := openRoot(t)
	unlock, err := Lock(context.Background(), r, "list")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := Lock(short, r, "list"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock was taken twice: %v", err)
	}
	unlock()
	for name, prepare := range map[string]func(path string) error{
		"free":         func(string) error { return nil },
		"dead process": func(p string) error { return os.WriteFile(p, fmt.Appendf(nil, "999999999:%s", Host), 0o600) },
		"old": func(p string) error {
			old := time.Now().Add(-2 * lockStale)
			return errors.Join(os.WriteFile(p, []byte("1:elsewhere"), 0o600), os.Chtimes(p, old, old))
		},
	} {
		if err := prepare(filepath.Join(r.Name(), "list.lock")); err != nil {
			t.Fatal(err)
		}
		within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		unlock, err := Lock(within, r, "list")
		cancel()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unlock()
	}
	for _, held := range []string{"1:elsewhere", fmt.Sprintf("%d:%s", os.Getpid(), Host), "nonsense", ""} {
		if err := os.WriteFile(filepath.Join(r.Name(), "list.lock"), []byte(held), 0o600); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
		if _, err := Lock(short, r, "list"); err == nil {
			t.Errorf("a lock held by %q was taken", held)
		}
		cancel()
	}
}

func TestStale(t *testing.T) {
	for name, want := range map[string]bool{
		TmpName():                          false,
		".salvor-999999999-" + Host + "-1": true,
		".salvor-999999999-elsewhere.x-1":  false,
		".salvor-x-" + Host + "-1":         false,
		"salvor-999999999-" + Host + "-1":  false,
		".salvor-append-5-box":             false,
		"message":                          false,
	} {
		if got := Stale(name); got != want {
			t.Errorf("Stale(%q) = %v", name, got)
		}
	}
}
