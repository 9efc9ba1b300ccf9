package incident_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/incident"
	"salvor/internal/testenv/world"
)

// copying is a world with one message and an index of odd files.
func copying(t *testing.T) (*world.World, incident.Options) {
	t.Helper()
	w, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	w.Backup()
	o := options(w, s.snapshot())
	dir := o.Index.Trees[0].Dir
	for name, text := range map[string]string{"a/cyrus.index": "one", "a/1.": "a message", `a/cyrus.back\slash`: "two", "a/cyrus.new\nline": "three", "b/cyrus.header": ""} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, syscall.Mkfifo(filepath.Join(dir, "a", "cyrus.pipe"), 0o600))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "a", "cyrus.link")))
	o.Index.Trees[0].Keep = func(p string) bool { return strings.HasPrefix(filepath.Base(p), "cyrus.") }
	return w, o
}

// The copy has what was asked for, private and durable, with checksums that
// everybody can verify; what could not be copied is named.
func TestCopy(t *testing.T) {
	w, o := copying(t)
	old := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	must(t, os.Chtimes(filepath.Join(o.Index.Trees[0].Dir, "a", "cyrus.index"), old, old))
	r := open(t, w, o)
	if r.Kept == nil || r.Kept.Files != 7 || r.Kept.Again || r.Unread != 1 || !strings.Contains(r.Problems[0], "cyrus.link was not copied: it is a symbolic link") {
		t.Fatalf("%+v, %q", r.Kept, r.Problems)
	}
	if out, err := exec.Command("sh", "-c", "cd "+o.Keep+" && sha256sum --strict -c SHA256SUMS && ! ls meta/a/1. 2>/dev/null && sha256sum SHA256SUMS").CombinedOutput(); err != nil ||
		!strings.Contains(string(out), r.Kept.Sum.String()) {
		t.Errorf("%v: %s", err, out)
	}
	must(t, filepath.WalkDir(o.Keep, func(path string, d os.DirEntry, err error) error {
		info, err := d.Info()
		must(t, err)
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	}))
	info, err := os.Stat(filepath.Join(o.Keep, "meta", "a", "cyrus.index"))
	must(t, err)
	if !info.ModTime().Equal(old) {
		t.Errorf("the copy's time is %v", info.ModTime())
	}
	i, _, err := w.H.Catalog.Incident("fire")
	must(t, err)
	if i.Kept != o.Keep || i.KeptSum != r.Kept.Sum || len(i.Problems) != 1 {
		t.Errorf("%+v", i)
	}
}

// A file with an I/O error costs itself, is named, and leaves no half behind.
func TestCopyUnreadable(t *testing.T) {
	w, o := copying(t)
	// Reading this one from its beginning is an I/O error, for root as well.
	o.Index.Trees = append(o.Index.Trees, incident.Tree{Name: "dying", Dir: "/proc/self", Keep: func(p string) bool { return p == "mem" },
		Skip: func(p string) bool { return p != "." }})
	r := open(t, w, o)
	if r.Unread != 2 || !strings.Contains(r.Problems[1], "/proc/self/mem was not copied: ") || !strings.Contains(r.Problems[1], "input/output error") {
		t.Errorf("%q", r.Problems)
	}
	if _, err := os.Stat(filepath.Join(o.Keep, "dying", "mem")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A second try takes the first copy as it is, however the metadata has fared
// since; what was left of a copy that was cut off is made anew.
func TestCopyAgain(t *testing.T) {
	w, o := copying(t)
	part := o.Keep + ".part"
	must(t, os.MkdirAll(filepath.Join(part, "meta"), 0o700))
	must(t, os.WriteFile(filepath.Join(part, "meta", "half"), []byte("hal"), 0o600))
	source := o.Source
	o.Index.Open = failing
	if _, err := incident.Open(t.Context(), w.H, o); err == nil {
		t.Fatal("it opened")
	}
	if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
		t.Error("the part is still there")
	}
	if _, err := os.Stat(filepath.Join(o.Keep, "meta", "half")); err == nil {
		t.Error("the part came in")
	}
	dir := o.Index.Trees[0].Dir
	must(t, os.WriteFile(filepath.Join(dir, "a", "cyrus.index"), []byte("ruined by reconstruct"), 0o600))
	_, s := serve(t)
	s.deliver("ann", "INBOX", body(1))
	o2 := options(w, s.snapshot())
	o2.Source, o2.Index.Trees = source, o.Index.Trees
	r := open(t, w, o2)
	if !r.Kept.Again || r.Kept.Files < 5 || r.Unread != 1 {
		t.Errorf("%+v, %q", r.Kept, r.Problems)
	}
	if got, err := os.ReadFile(filepath.Join(o.Keep, "meta", "a", "cyrus.index")); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
}

// Where the copy cannot be made, or is not what it was, nothing else happens.
func TestCopyFails(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, w *world.World, o *incident.Options)
		words   string
	}{
		"no directory can be made": {func(t *testing.T, w *world.World, o *incident.Options) {
			must(t, os.WriteFile(filepath.Dir(o.Keep), nil, 0o600))
		}, "is not a directory"},
		"something else is there": {func(t *testing.T, w *world.World, o *incident.Options) {
			must(t, os.MkdirAll(filepath.Join(o.Keep, "photos"), 0o700))
		}, "something else is there"},
		"another index's copy": {func(t *testing.T, w *world.World, o *incident.Options) {
			first(t, w, *o)
			o.Index.URL = "cyrus:/another"
		}, "copy of another index"},
		"a damaged copy": {func(t *testing.T, w *world.World, o *incident.Options) {
			first(t, w, *o)
			must(t, os.WriteFile(filepath.Join(o.Keep, "meta", "a", "cyrus.index"), []byte("onE"), 0o600))
		}, "is not what was copied"},
		"a file of the copy is gone": {func(t *testing.T, w *world.World, o *incident.Options) {
			first(t, w, *o)
			must(t, os.Remove(filepath.Join(o.Keep, "meta", "a", "cyrus.index")))
		}, "cyrus.index"},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := copying(t)
			c.prepare(t, w, &o)
			_, err := incident.Open(t.Context(), w.H, o)
			if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "copy the metadata to "+o.Keep) {
				t.Errorf("%v", err)
			}
			if _, err := incident.Count(t.Context(), w.H.Catalog, "fire"); !errors.Is(err, incident.ErrUnknown) {
				t.Errorf("%v", err)
			}
		})
	}
}

// first makes a copy, and fails afterwards.
func first(t *testing.T, w *world.World, o incident.Options) {
	t.Helper()
	index := *o.Index
	index.Open = failing
	o.Index = &index
	if _, err := incident.Open(t.Context(), w.H, o); err == nil {
		t.Fatal("it opened")
	}
}
