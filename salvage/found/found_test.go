package found

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

var head = Head{Started: time.Date(2026, 10, 26, 18, 30, 0, 0, time.UTC), Sources: []string{"/dev/sdb"}, Incident: "server3"}

// noFloor takes the disk of the tests as it is.
var noFloor = Options{MinFree: -1}

func create(t *testing.T, dir string, o Options) *Writer {
	t.Helper()
	w, err := Create(dir, head, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func finding(body string, class Class) *Finding {
	sum := sha256.Sum256([]byte(body))
	f := &Finding{Class: class, Grade: Plausible, Source: "/dev/sdb", How: "carved", Size: int64(len(body)), SHA256Stored: hex.EncodeToString(sum[:])}
	if class == Damaged {
		f.Grade = Partial
	}
	f.ID = NewID(f.SHA256Stored, func(string) bool { return false })
	return f
}

func keep(t *testing.T, w *Writer, f *Finding, body string) {
	t.Helper()
	if err := w.Keep(context.Background(), f, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func finish(t *testing.T, w *Writer, list ...*Finding) {
	t.Helper()
	list = sorted(list)
	err := w.Finish(context.Background(), func(yield func(*Finding) error) error {
		for _, f := range list {
			if err := yield(f); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) (list []*Finding, wrong []error) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Findings(context.Background(), func(f *Finding, err error) error {
		if err != nil {
			wrong = append(wrong, err)
		} else {
			list = append(list, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, wrong
}

func TestWhatIsKeptComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "results")
	w := create(t, dir, noFloor)
	var list []*Finding
	bodies := map[string]string{}
	for i := range 700 { // more than one batch
		body := fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)
		f := finding(body, []Class{Matched, Unknown, Damaged}[i%3])
		f.Subject, f.Extents, f.Path = fmt.Sprint(i), []fsys.Extent{{Logical: 0, Off: 4096, Len: 20, Unwritten: true}}, "/u01/<cur>/\x00../x"
		if f.Class == Damaged {
			f.Missing = []volume.Range{{Off: 2, Len: 4}}
		}
		keep(t, w, f, body)
		list, bodies[f.ID] = append(list, f), body
	}
	held := finding("held", Held)
	list = sorted(append(list, held))
	finish(t, w, list...)

	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if h := d.Head(); h.Version != 1 || !reflect.DeepEqual(h.Sources, head.Sources) || !h.Started.Equal(head.Started) {
		t.Errorf("the head came back as %+v", h)
	}
	got, wrong := read(t, dir)
	if len(got) != 701 || len(wrong) > 0 {
		t.Fatalf("%d findings came back, and %v", len(got), wrong)
	}
	for i, f := range got {
		if !reflect.DeepEqual(f, list[i]) {
			t.Fatalf("finding %s came back as %+v", f.ID, f)
		}
		if f.Class == Held {
			if _, err := d.Content(f); !errors.Is(err, ErrNotKept) {
				t.Errorf("what was held has bytes: %v", err)
			}
			continue
		}
		r, err := d.Content(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(b) != bodies[f.ID] {
			t.Fatalf("%s holds %q: %v", f.ID, b, err)
		}
	}
	owned(t, dir)
}

func sorted(list []*Finding) []*Finding {
	all := slices.Clone(list)
	slices.SortFunc(all, func(a, b *Finding) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// owned makes sure that nobody else may read what is in a directory, and that
// nothing temporary is left there.
func owned(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		if stale(e.Name()) {
			t.Errorf("%s was left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheSameBytesAreWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	a, b := finding("one", Unknown), finding("one", Unknown)
	b.SHA256Stored, b.Size, b.ID = "", 0, "" // nobody knows yet
	keep(t, w, a, "one")
	keep(t, w, b, "one")
	if a.File == "" || b.File != a.File || b.SHA256Stored != a.SHA256Stored || b.Size != 3 {
		t.Errorf("kept as %+v and %+v", a, b)
	}
	if w.Held() != 3 {
		t.Errorf("%d bytes are held", w.Held())
	}
	finish(t, w, a)
	w = create(t, dir, noFloor)
	defer w.Close()
	if w.Held() != 3 {
		t.Errorf("%d bytes are held when it is opened again", w.Held())
	}
	// The reader fails when it is read: it must not be.
	c := finding("one", Matched)
	if err := w.Keep(context.Background(), c, io.MultiReader()); err != nil || c.File != a.File || w.Held() != 3 {
		t.Errorf("the second run keeps %+v: %v", c, err)
	}
}

func TestWhatIsNotKept(t *testing.T) {
	w := create(t, t.TempDir(), noFloor)
	defer w.Close()
	for _, class := range []Class{Held, Tombstoned} {
		if err := w.Keep(context.Background(), finding("x", class), strings.NewReader("x")); err == nil {
			t.Errorf("%s was kept", class)
		}
	}
	f := finding("as it was", Unknown)
	if err := w.Keep(context.Background(), f, strings.NewReader("as it is")); !errors.Is(err, ErrChanged) {
		t.Errorf("what reads differently gives %v", err)
	}
	broken := errors.New("I/O error")
	if err := w.Keep(context.Background(), finding("xy", Unknown), io.MultiReader(strings.NewReader("x"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("what cannot be read gives %v", err)
	}
	if w.Held() != 0 {
		t.Errorf("%d bytes are counted", w.Held())
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, Options{MaxBytes: 10, MinFree: -1})
	first := finding("12345678", Unknown)
	keep(t, w, first, "12345678")
	if err := w.Keep(context.Background(), finding("abc", Unknown), strings.NewReader("abc")); !errors.Is(err, ErrFull) {
		t.Errorf("the eleventh byte gives %v", err)
	}
	keep(t, w, finding("ab", Unknown), "ab")
	keep(t, w, finding("12345678", Unknown), "12345678")
	finish(t, w, first)
	owned(t, dir)

	w = create(t, dir, Options{MinFree: 1 << 60})
	defer w.Close()
	if err := w.Keep(context.Background(), finding("more", Unknown), strings.NewReader("more")); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "stay free") {
		t.Errorf("a full disk gives %v", err)
	}
}

func TestWhoseDirectory(t *testing.T) {
	base := t.TempDir()
	full := filepath.Join(base, "full")
	if err := os.MkdirAll(filepath.Join(full, "letters"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(full, head, noFloor); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a directory with something in it gives %v", err)
	}
	if info, err := os.Stat(full); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("it was changed: %v %v", info, err)
	}
	dir := filepath.Join(base, "mine")
	w := create(t, dir, noFloor)
	if _, err := Create(dir, head, noFloor); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer gets %v", err)
	}
	if _, err := Open(dir); err != nil {
		t.Errorf("a reader gets %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	other := head
	other.Sources = []string{"/dev/sdc"}
	if _, err := Create(dir, other, noFloor); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "/dev/sdb") {
		t.Errorf("other sources give %v", err)
	}
	other = head
	other.Incident = ""
	if _, err := Create(dir, other, noFloor); !errors.Is(err, ErrOther) {
		t.Errorf("no incident gives %v", err)
	}
	if _, err := Open(base); !errors.Is(err, ErrNone) {
		t.Errorf("a directory that is none gives %v", err)
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Findings(context.Background(), nil); !errors.Is(err, ErrUnfinished) {
		t.Errorf("a directory without a list gives %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, HeadFile), []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version gives %v", err)
	}
}

// What a killed run, or a power cut, leaves of a file is read before it is believed.
func TestAKilledRunIsGoneOnWith(t *testing.T) {
	for name, left := range map[string]string{"all": "waits", "nothing": "", "half": "wai", "zeros": "\x00\x00\x00\x00\x00", "more": "waits here"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := create(t, dir, noFloor)
			f := finding("waits", Unknown)
			keep(t, w, f, "waits")
			// No Close: the kernel drops the lock of the dead, here we do.
			w.lock.Close()
			w.root.Close()
			if err := os.WriteFile(filepath.Join(dir, f.File), []byte(left), 0o600); err != nil {
				t.Fatal(err)
			}
			w = create(t, dir, noFloor)
			f = finding("waits", Unknown)
			keep(t, w, f, "waits")
			if w.Held() != 5 {
				t.Errorf("%d bytes are counted", w.Held())
			}
			finish(t, w, f)
			owned(t, dir)
			d, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			r, err := d.Content(f)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != "waits" {
				t.Errorf("%q %v", got, err)
			}
			if list, wrong := read(t, dir); len(list) != 1 || wrong != nil {
				t.Errorf("%v %v", list, wrong)
			}
		})
	}
}

func TestCorruptContent(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	f := finding("Subject: x\n\nhello\n", Matched)
	keep(t, w, f, "Subject: x\n\nhello\n")
	finish(t, w, f)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, body := range []string{"Subject: x\n\nhallo\n", "Subject: x\n\nhell", "", strings.Repeat("x", 100000)} {
		if err := os.WriteFile(filepath.Join(dir, f.File), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := d.Content(f)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) || len(b) > 40000 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		r.Close()
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(outside, []byte("Subject: x\n\nhello\n"), 0o600), os.Remove(filepath.Join(dir, f.File)),
		os.Symlink(outside, filepath.Join(dir, f.File))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Content(f); err == nil {
		t.Error("a link out of the directory was followed")
	}
	for _, file := range []string{"../../etc/passwd", "/etc/passwd", "salvage.json", "mail/ab/../../salvage.json"} {
		bad := *f
		bad.File = file
		if _, err := d.Content(&bad); err == nil {
			t.Errorf("%s was opened", file)
		}
	}
}

func TestAListWithNonsense(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	a := finding("a", Unknown)
	keep(t, w, a, "a")
	finish(t, w, a)
	var line bytes.Buffer
	if err := appendLine(&line, a); err != nil {
		t.Fatal(err)
	}
	good := line.String()
	future := strings.Replace(good, "{", `{"from_the_future":[1,2],`, 1)
	list := good + "{\n" + "\n" + strings.Repeat("x", MaxLine+10) + "\n" + strings.Replace(good, `"size":1`, `"size":-1`, 1) + future + strings.TrimSuffix(good, "\n")
	if err := os.WriteFile(filepath.Join(dir, ListFile), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	got, wrong := read(t, dir)
	if len(got) != 2 || !reflect.DeepEqual(got[0], got[1]) {
		t.Errorf("%d findings came of it", len(got))
	}
	var lines []int
	for _, err := range wrong {
		var le *LineError
		if !errors.As(err, &le) {
			t.Fatal(err)
		}
		lines = append(lines, le.Line)
	}
	if !slices.Equal(lines, []int{2, 3, 4, 5, 7}) {
		t.Errorf("wrong are the lines %v", lines)
	}
}

func TestChecks(t *testing.T) {
	for what, spoil := range map[string]func(*Finding){
		"short id":         func(f *Finding) { f.ID = f.ID[:15] },
		"foreign id":       func(f *Finding) { f.ID = strings.Repeat("0", 16) },
		"id with nonsense": func(f *Finding) { f.ID += "-02" },
		"id 1":             func(f *Finding) { f.ID += "-1" },
		"no class":         func(f *Finding) { f.Class = "" },
		"no grade":         func(f *Finding) { f.Grade = "good" },
		"file elsewhere":   func(f *Finding) { f.File = "../x" },
		"sha1":             func(f *Finding) { f.SHA1 = "12" },
		"matched, partial": func(f *Finding) { f.Class, f.Grade = Matched, Partial },
		"unknown, missing": func(f *Finding) { f.Missing = []volume.Range{{Off: 0, Len: 1}} },
		"missing outside":  func(f *Finding) { f.Class, f.Grade, f.Missing = Damaged, Partial, []volume.Range{{Off: 0, Len: 99}} },
		"missing overflow": func(f *Finding) {
			f.Class, f.Grade, f.Missing = Damaged, Partial, []volume.Range{{Off: 1, Len: 1<<63 - 1}}
		},
		"missing twice": func(f *Finding) {
			f.Class, f.Grade, f.Missing = Damaged, Partial, []volume.Range{{Off: 1, Len: 1}, {Off: 1, Len: 1}}
		},
		"extent": func(f *Finding) { f.Extents = []fsys.Extent{{Off: -1}} },
	} {
		f := finding("abcdef", Unknown)
		spoil(f)
		if err := f.check(); err == nil {
			t.Errorf("%s passes", what)
		}
		if err := appendLine(&bytes.Buffer{}, f); err == nil {
			t.Errorf("%s is written", what)
		}
	}
}

// However much a disk claims, its line can be read again, and what is missing is
// never less than it was.
func TestLinesStayBounded(t *testing.T) {
	f := finding("", Damaged)
	f.Size = 1 << 40
	long := strings.Repeat("\xff\x01\"", 1<<20)
	f.Why, f.User, f.Folder, f.Name, f.MessageID, f.From, f.Subject, f.Source, f.Path = long, long, long, long, long, long, long, long, long
	f.Date = time.Unix(1<<50, 0)
	for i := range int64(1 << 18) {
		f.Missing = append(f.Missing, volume.Range{Off: i * 4194304, Len: 1 + rand.Int64N(4194303)})
		f.Extents = append(f.Extents, fsys.Extent{Logical: 1 << 62, Off: 1 << 62, Len: 1 << 62, Unwritten: true})
	}
	var line bytes.Buffer
	if err := appendLine(&line, f); err != nil {
		t.Fatal(err)
	}
	if line.Len() > MaxLine {
		t.Errorf("the line has %d bytes", line.Len())
	}
	got, err := decodeLine(line.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	last := got.Missing[len(got.Missing)-1]
	if last.End() != f.Missing[len(f.Missing)-1].End() || last.Off != f.Missing[len(got.Missing)-1].Off {
		t.Errorf("the last gap is %+v", last)
	}
}

func TestFindByTheBeginningOfAnID(t *testing.T) {
	a, b := finding("a", Unknown), finding("b", Unknown)
	c := *a
	c.ID = NewID(a.SHA256Stored, func(id string) bool { return id == a.ID })
	if c.ID != a.ID+"-2" {
		t.Errorf("the second of one name is %s", c.ID)
	}
	each := func(yield func(*Finding) error) error {
		for _, f := range []*Finding{b, a, &c} {
			if err := yield(f); err != nil {
				return err
			}
		}
		return nil
	}
	for id, want := range map[string]any{a.ID: a, b.ID: b, c.ID: &c, b.ID[:3]: b, a.ID[:8]: ErrAmbiguous, "": ErrNoFinding, "zz": ErrNoFinding} {
		f, err := Find(id, each)
		if wantErr, ok := want.(error); ok && !errors.Is(err, wantErr) || !ok && f != want {
			t.Errorf("%q gives %v, %v", id, f, err)
		}
	}
}
