package found

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"salvor/internal/durable"
)

// The names in a result directory.
const (
	HeadFile   = "salvage.json"
	ListFile   = "found.jsonl"
	ReportFile = "report.json"
	SurveyFile = "survey.db"
	mailDir    = "mail"
)

// Version is the version of result directories that this package reads and writes.
const Version = 1

var (
	// ErrNotEmpty: a directory has something in it, and is no result directory.
	ErrNotEmpty = errors.New("the directory is not empty, and nothing was salvaged into it")
	// ErrOther: a result directory is one of other sources or another incident.
	ErrOther = errors.New("the directory holds what was salvaged from something else")
	// ErrBusy: another process writes into the result directory.
	ErrBusy = errors.New("another salvage writes into the directory")
	// ErrFull: a result directory holds as much as it may.
	ErrFull = errors.New("no more is kept")
	// ErrChanged: bytes are not those that were found before.
	ErrChanged = errors.New("it reads differently than before")
)

// Options bound what a Writer writes. The zero value is usable.
type Options struct {
	// MaxBytes is how many bytes of mail the directory may hold; 0: no bound.
	MaxBytes int64
	// MinFree is how many bytes stay free on its disk; 0 means 1 GiB, below zero
	// means none.
	MinFree int64
}

const defaultFree = 1 << 30

// A Writer writes a result directory. Its methods are not safe for concurrent use.
type Writer struct {
	o    Options
	dir  string
	root *os.Root
	disk *durable.Root
	lock *os.File
	head Head

	held   int64           // bytes of mail that are there, with what waits
	unseen int64           // bytes written since the disk was asked for its free space
	made   map[string]bool // directories that are there
	dirty  bool            // something was kept that is not durable yet
}

// Create makes a result directory, or goes on with one of the same sources and
// incident. ErrNotEmpty, ErrOther, ErrBusy.
func Create(dir string, h Head, o Options) (*Writer, error) {
	h.Version = Version
	if o.MinFree == 0 {
		o.MinFree = defaultFree
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the result directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the result directory: %w", err)
	}
	w := &Writer{o: o, dir: dir, root: root, disk: durable.NewRoot(root), made: map[string]bool{}}
	if err := w.begin(h); err != nil {
		return nil, errors.Join(fmt.Errorf("result directory %s: %w", dir, err), w.Close())
	}
	return w, nil
}

// begin writes the head, or compares it with the one that is there.
func (w *Writer) begin(h Head) error {
	there, err := readHead(w.root)
	if errors.Is(err, ErrNone) {
		if there, err = h, w.found(h); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if !slices.Equal(there.Sources, h.Sources) || there.Incident != h.Incident {
		return fmt.Errorf("%w: %s (hint: name an empty directory, or the same sources and incident as then)", ErrOther, there.origin())
	}
	w.head = there
	if w.lock, err = w.root.Open(HeadFile); err != nil {
		return err
	}
	if err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return ErrBusy
	}
	return w.count()
}

// origin says for people what a result directory comes from.
func (h *Head) origin() string {
	s := strings.Join(h.Sources, ", ")
	if h.Incident != "" {
		s += " for incident " + h.Incident
	}
	return fmt.Sprintf("%.300q", s)
}

// found makes a directory a result directory.
func (w *Writer) found(h Head) error {
	d, err := w.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// What a run that was killed has left of its first file is nothing.
	if slices.ContainsFunc(names, func(n string) bool { return n != mailDir && !stale(n) }) {
		return fmt.Errorf("%w (hint: name a new one, or an empty one)", ErrNotEmpty)
	}
	if err := d.Chmod(0o700); err != nil {
		return err
	}
	if err := w.mkdir(mailDir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return w.replace(HeadFile, func(f io.Writer) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
}

func (w *Writer) mkdir(name string) error {
	if w.made[name] {
		return nil
	}
	err := w.disk.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	w.made[name] = err == nil
	return err
}

// count adds up what is there, and removes what a run that was killed has left
// half written.
func (w *Writer) count() error {
	for _, dir := range []string{".", mailDir} {
		err := w.each(dir, func(name string, _ fs.DirEntry) error {
			if stale(path.Base(name)) {
				return w.root.Remove(name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.each(mailDir, func(sub string, e fs.DirEntry) error {
		if !e.IsDir() {
			return nil
		}
		return w.each(sub, func(_ string, e fs.DirEntry) error {
			info, err := e.Info()
			if err == nil && info.Mode().IsRegular() {
				w.held += info.Size()
			}
			return err
		})
	})
}

// each calls yield for everything in a directory.
func (w *Writer) each(dir string, yield func(name string, e fs.DirEntry) error) error {
	d, err := w.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			if err := yield(path.Join(dir, e.Name()), e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Head says what the directory is.
func (w *Writer) Head() Head { return w.head }

// Survey is the path of the file in which traces are kept between runs.
func (w *Writer) Survey() string { return filepath.Join(w.dir, SurveyFile) }

// Held is how many bytes of mail the directory holds.
func (w *Writer) Held() int64 { return w.held }

// Close makes durable what was kept, and leaves the directory to others.
func (w *Writer) Close() error {
	var err error
	if w.lock != nil {
		err = errors.Join(w.flush(), w.lock.Close())
	}
	return errors.Join(err, w.root.Close())
}
