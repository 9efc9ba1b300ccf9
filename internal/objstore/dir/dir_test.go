package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/durable"
	"salvor/internal/objstore/object"
	"salvor/internal/objstore/storetest"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "vault")
	s, err := Open(t.Context(), path, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return s, path
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) object.Store { s, _ := open(t); return s })
}

// TestConformanceSmallPages makes every listing go through several pages.
func TestConformanceSmallPages(t *testing.T) {
	storetest.Run(t, func(t *testing.T) object.Store {
		s, _ := open(t)
		s.page = 100
		return s
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path   string
		create bool
		want   error
	}{
		{filepath.Join(dir, "none"), false, object.ErrNotExist},
		{"", false, object.ErrURL},
		{"", true, object.ErrURL},
		{file, false, object.ErrURL},
	} {
		if _, err := Open(t.Context(), test.path, Options{Create: test.create}); !errors.Is(err, test.want) {
			t.Errorf("Open(%q, create %v): %v, want %v", test.path, test.create, err, test.want)
		}
	}
	if _, err := Open(t.Context(), file, Options{Create: true}); err == nil {
		t.Error("Open took a file for a directory")
	}
}

func TestPermissionsUnderAnyUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		old := syscall.Umask(mask)
		s, path := open(t)
		err := s.Put(t.Context(), "packs/ab/x", []byte("secret"))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(filePerm)
			if e.IsDir() {
				want = dirPerm
			}
			if info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s has permissions %v, want %v", mask, p, info.Mode().Perm(), want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftovers checks that what a crashed writer left is never seen, and goes
// when it is old.
func TestLeftovers(t *testing.T) {
	s, path := open(t)
	if err := s.Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(path, tmpDir, "OLD"), filepath.Join(path, tmpDir, "YOUNG")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-maxAge - time.Minute)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Put(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	wantListed(t, again, "a", "b")
	left, err := os.ReadDir(filepath.Join(path, tmpDir))
	if err != nil || len(left) != 1 || left[0].Name() != "YOUNG" {
		t.Errorf("%s holds %v (%v), want only YOUNG", tmpDir, left, err)
	}
}

func wantListed(t *testing.T, s *Store, want ...string) {
	t.Helper()
	var got []string
	if err := s.List(t.Context(), "", func(i object.Info) error { got = append(got, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// TestForeignFiles puts things into the directory that salvor would not.
func TestForeignFiles(t *testing.T) {
	s, path := open(t)
	if err := s.Put(t.Context(), "packs/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.WriteFile(outside, []byte("not ours"), 0o600),
		os.Symlink(outside, filepath.Join(path, "link")),
		os.Symlink(filepath.Dir(outside), filepath.Join(path, "dirlink")),
		os.Symlink("packs/x", filepath.Join(path, "inside")),
		syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600),
		os.Mkdir(filepath.Join(path, "lost+found"), 0),
		os.WriteFile(filepath.Join(path, "README.TXT"), nil, 0o600),
		os.MkdirAll(filepath.Join(path, strings.Repeat("d/", 140)), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantListed(t, s, "packs/x")
	for _, name := range []string{"link", "dirlink/outside", "pipe", "packs"} {
		if _, err := s.Get(t.Context(), name, 0, -1); err == nil {
			t.Errorf("Get %s read what is no object", name)
		}
		if err := s.Put(t.Context(), name, []byte("not ours")); err == nil {
			t.Errorf("Put %s wrote what is no object", name)
		}
	}
	if err := s.Put(t.Context(), "dirlink/new", []byte("x")); err == nil {
		t.Error("Put wrote through a link")
	}
	if got, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(got) != 1 {
		t.Errorf("outside are now %v (%v)", got, err)
	}
}

// TestErrors turns each error of the system into the one a caller decides by.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		cause, want error
	}{
		{syscall.ENOSPC, object.ErrFull},
		{syscall.EDQUOT, object.ErrFull},
		{syscall.EACCES, object.ErrDenied},
		{syscall.EPERM, object.ErrDenied},
		{syscall.EROFS, object.ErrDenied},
		{syscall.ESTALE, object.ErrUnavailable},
		{syscall.ENOTCONN, object.ErrUnavailable},
		{syscall.EIO, syscall.EIO},
		{syscall.ENOENT, object.ErrUnavailable},
	} {
		for step := range len(failAt) {
			name := fmt.Sprintf("%v at %s", test.cause, failAt[step])
			path := t.TempDir()
			root, err := os.OpenRoot(path)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			broken := &broken{FS: durable.NewRoot(root), at: failAt[step], err: test.cause}
			err = New(root, broken, path).Put(t.Context(), "packs/x", []byte("x"))
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			if test.want != object.ErrNotExist && errors.Is(err, object.ErrNotExist) {
				t.Errorf("%s: Put says that there is no such object: %v", name, err)
			}
			s, err := Open(t.Context(), path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Put(t.Context(), "packs/x", []byte("x")); err != nil {
				t.Errorf("%s: the next Put: %v", name, err)
			}
			wantListed(t, s, "packs/x")
			if left, _ := os.ReadDir(filepath.Join(path, tmpDir)); len(left) > 0 {
				t.Errorf("%s: %v is left over", name, left)
			}
		}
	}
}

var failAt = []string{"create", "write", "sync file", "mkdir", "publish", "sync"}

// broken is a file system that fails at one kind of step. It does not fail
// the clock's little file, whose errors do not matter to a Put.
type broken struct {
	durable.FS
	at  string
	err error
}

func (b *broken) fail(at, name string) error {
	if b.at == at {
		return &fs.PathError{Op: at, Path: name, Err: b.err}
	}
	return nil
}

func (b *broken) Create(name string, perm fs.FileMode) (durable.File, error) {
	if err := b.fail("create", name); err != nil {
		return nil, err
	}
	f, err := b.FS.Create(name, perm)
	return &brokenFile{f, b, name}, err
}

func (b *broken) Mkdir(name string, perm fs.FileMode) error {
	if err := b.fail("mkdir", name); err != nil {
		return err
	}
	return b.FS.Mkdir(name, perm)
}

func (b *broken) Publish(from, to string) error {
	if err := b.fail("publish", to); err != nil {
		return err
	}
	return b.FS.Publish(from, to)
}

func (b *broken) Sync(name string) error {
	if err := b.fail("sync", name); err != nil {
		return err
	}
	return b.FS.Sync(name)
}

type brokenFile struct {
	durable.File
	fs   *broken
	name string
}

func (f *brokenFile) Write(p []byte) (int, error) {
	if err := f.fs.fail("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *brokenFile) Sync() error {
	if err := f.fs.fail("sync file", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// TestOddSizes damages objects behind the store.
func TestOddSizes(t *testing.T) {
	s, path := open(t)
	if err := s.Put(t.Context(), "x", make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(path, "x"), 50); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "x", make([]byte, 100)); !errors.Is(err, object.ErrExists) {
		t.Errorf("Put over a truncated object: %v, want ErrExists", err)
	}
	big := filepath.Join(path, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, object.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "big", 0, -1); !errors.Is(err, object.ErrName) {
		t.Errorf("Get of an object over MaxSize: %v, want ErrName", err)
	}
}

// TestListIsSorted lists random trees and compares with sorting all names.
func TestListIsSorted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 10 {
		s, path := open(t)
		s.page = 1 + rnd.IntN(5)
		want := map[string]bool{}
		for range 60 {
			name := randomName(rnd)
			p := filepath.Join(path, name)
			if os.MkdirAll(filepath.Dir(p), 0o700) == nil && os.WriteFile(p, nil, 0o600) == nil {
				want[name] = true
			}
		}
		var sorted []string
		for name := range want {
			sorted = append(sorted, name)
		}
		slices.Sort(sorted)
		wantListed(t, s, sorted...)
	}
}

func randomName(rnd *rand.Rand) string {
	const letters = "ab-._0"
	var b strings.Builder
	for i := range 1 + rnd.IntN(4) {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteByte("ab0-_"[rnd.IntN(5)])
		for range rnd.IntN(3) {
			b.WriteByte(letters[rnd.IntN(len(letters))])
		}
	}
	return b.String()
}

// A moved object keeps its bytes, nobody's place is taken, and one that is not
// there is said to be missing.
func TestMove(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/b", "c"} {
		if err := s.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []struct {
		from, to string
		want     error
	}{
		{"a/b", "c", object.ErrExists}, {"a/b", "d/e/f", nil}, {"a/b", "g", object.ErrNotExist}, {"c", "../c", object.ErrName},
	} {
		if err := s.Move(t.Context(), m.from, m.to); !errors.Is(err, m.want) {
			t.Errorf("move %s to %s: %v, want %v", m.from, m.to, err, m.want)
		}
	}
	if b, err := s.Get(t.Context(), "d/e/f", 0, -1); err != nil || string(b) != "a/b" {
		t.Errorf("got %q, %v", b, err)
	}
}
