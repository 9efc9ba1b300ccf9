package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// withUmask runs f under a umask; the tests here do not run in parallel.
func withUmask(mask int, f func()) {
	old := syscall.Umask(mask)
	defer syscall.Umask(old)
	f()
}

func checkFile(t *testing.T, path string, want []byte, perm fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != perm {
		t.Errorf("%s has permissions %v, want %v", path, info.Mode().Perm(), perm)
	}
}

func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestWriteFileUnderAnyUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		for _, perm := range []fs.FileMode{0o600, 0o644, 0o400} {
			t.Run(fmt.Sprintf("umask %03o perm %03o", mask, perm), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "key")
				withUmask(mask, func() {
					for _, data := range []string{"first", "", "third"} {
						if err := WriteFile(path, []byte(data), perm); err != nil {
							t.Fatal(err)
						}
						checkFile(t, path, []byte(data), perm)
					}
				})
				checkNames(t, dir, "key")
			})
		}
	}
}

func TestCreateFileNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "identity.txt")
	if err := CreateFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second CreateFile: %v, want fs.ErrExist", err)
	}
	checkFile(t, path, []byte("one"), 0o600)
	checkNames(t, dir, "identity.txt")
}

func TestCreateFileRefusesDanglingLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), path); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("x"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CreateFile over a link: %v, want fs.ErrExist", err)
	}
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	checkNames(t, dir, "key")
}

func TestCreateFileRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := CreateFile(path, []byte{byte(i)}, 0o600)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 writers succeeded, want 1", won.Load())
	}
	checkNames(t, dir, "key")
}

func TestPublishByLink(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := NewRoot(root)
	for _, name := range []string{"a", "b"} {
		if err := Fill(context.Background(), r, name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.link("a", "c"); err != nil {
		t.Fatal(err)
	}
	if err := r.link("b", "c"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("link over a name: %v, want fs.ErrExist", err)
	}
	checkFile(t, filepath.Join(root.Name(), "c"), []byte("a"), 0o600)
	checkNames(t, root.Name(), "b", "c")
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "no", "key"), fs.ErrNotExist},
		{dir + "/", fs.ErrInvalid},
		{"", fs.ErrInvalid},
	} {
		if err := WriteFile(test.path, nil, 0o600); !errors.Is(err, test.want) {
			t.Errorf("WriteFile(%q): %v, want %v", test.path, err, test.want)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "sub"), nil, 0o600); err == nil {
		t.Error("WriteFile replaced a directory")
	}
	checkNames(t, dir, "sub")
}

func TestFillStopsWithContext(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Fill(ctx, NewRoot(root), "x", []byte("data"), 0o600); !errors.Is(err, context.Canceled) {
		t.Errorf("Fill: %v, want context.Canceled", err)
	}
	checkNames(t, root.Name())
}

func TestMkdirAll(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o777} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a", "b", "c")
		withUmask(mask, func() {
			for range 2 {
				if err := MkdirAll(path, 0o700); err != nil {
					t.Fatal(err)
				}
			}
		})
		for p := path; p != dir; p = filepath.Dir(p) {
			info, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o700 {
				t.Errorf("umask %03o: %s has permissions %v", mask, p, info.Mode().Perm())
			}
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(file, "sub"), 0o700); err == nil {
		t.Error("MkdirAll went through a file")
	}
}
