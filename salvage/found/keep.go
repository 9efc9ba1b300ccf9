package found

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"salvor/internal/mailstore/deliver"
)

// A waiting file has all its bytes, and not yet its name.
type waiting struct{ tmp, name string }

// What is made durable together: a sync for each of hundreds of thousands of small
// files would take longer than finding them.
const (
	batchFiles = 512
	batchBytes = 64 << 20
)

// askDisk is how much is written until the disk is asked again for its free space.
const askDisk = 16 << 20

const tmpPrefix = ".salvor-"

func tmpName() string { return tmpPrefix + rand.Text() + ".tmp" }

// stale tells whether a name is a temporary one.
func stale(name string) bool {
	return strings.HasPrefix(name, tmpPrefix) && strings.HasSuffix(name, ".tmp")
}

// Keep implements Keeper.
func (w *Writer) Keep(ctx context.Context, f *Finding, content io.Reader) error {
	if !f.Class.Kept() {
		return fmt.Errorf("keep %s: what is %s is not kept", f.Path, f.Class)
	}
	if isHex(f.SHA256Stored, 64) {
		if has, err := w.has(fileOf(f.SHA256Stored), f.Size); err != nil || has {
			f.File = fileOf(f.SHA256Stored)
			return w.explain(err)
		}
	}
	return w.explain(w.keep(ctx, f, content))
}

func (w *Writer) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keep what was found in %s: %w", w.dir, err)
}

// has tells whether a file is there, or waits.
func (w *Writer) has(name string, size int64) (bool, error) {
	if w.names[name] {
		return true, nil
	}
	info, err := w.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == size, err
}

func (w *Writer) keep(ctx context.Context, f *Finding, content io.Reader) error {
	tmp := path.Join(mailDir, tmpName())
	file, err := w.disk.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	// A content whose checksum is not known yet may be there already: what is
	// counted for it is given back then.
	before := w.held
	s := &sink{w: w, ctx: ctx, file: file, sum: sha256.New()}
	_, err = io.Copy(s, content)
	err = errors.Join(err, file.Close())
	stored := hex.EncodeToString(s.sum.Sum(nil))
	if err == nil && f.SHA256Stored != "" && (f.SHA256Stored != stored || f.Size != s.size) {
		err = fmt.Errorf("%s at %d of %s: %w", f.How, f.Offset, f.Source, ErrChanged)
	}
	name := fileOf(stored)
	has := false
	if err == nil {
		has, err = w.has(name, s.size)
	}
	if err != nil || has {
		w.held = before
		err = errors.Join(err, w.root.Remove(tmp))
	}
	if err != nil {
		return err
	}
	f.SHA256Stored, f.Size, f.File = stored, s.size, name
	if has {
		return nil
	}
	w.waiting, w.names[name] = append(w.waiting, waiting{tmp, name}), true
	if w.weight += s.size; len(w.waiting) < batchFiles && w.weight < batchBytes {
		return nil
	}
	return w.flush()
}

// A sink writes a content, within the bounds.
type sink struct {
	w    *Writer
	ctx  context.Context
	file io.Writer
	sum  hash.Hash
	size int64
}

func (s *sink) Write(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	if err := s.w.room(int64(len(b))); err != nil {
		return 0, err
	}
	n, err := s.file.Write(b)
	s.sum.Write(b[:n])
	s.size += int64(n)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return n, err
}

// room counts n bytes more, where there is room for them.
func (w *Writer) room(n int64) error {
	if w.o.MaxBytes > 0 && w.held+n > w.o.MaxBytes {
		return fmt.Errorf("%w: it would hold more than the %d bytes that it may (hint: allow more, and run it again; it goes on from here)", ErrFull, w.o.MaxBytes)
	}
	if w.unseen -= n; w.unseen < 0 && w.o.MinFree > 0 {
		var st syscall.Statfs_t
		d, err := w.root.Open(".")
		if err != nil {
			return err
		}
		err = errors.Join(syscall.Fstatfs(int(d.Fd()), &st), d.Close())
		if err != nil {
			return err
		}
		if free := int64(st.Bavail) * st.Bsize; free-n < w.o.MinFree {
			return fmt.Errorf("%w: its disk has %d bytes left, and %d stay free (hint: make room, and run it again; it goes on from here)", ErrFull, free, w.o.MinFree)
		}
		w.unseen = askDisk
	}
	w.held += n
	return nil
}

// Sync implements Keeper.
func (w *Writer) Sync(context.Context) error { return w.explain(w.flush()) }

// flush makes what waits durable, gives it its names, and makes these durable.
func (w *Writer) flush() error {
	if len(w.waiting) == 0 {
		return nil
	}
	for _, f := range w.waiting {
		if err := w.mkdir(path.Dir(f.name)); err != nil {
			return err
		}
	}
	if err := deliver.Sync(w.root); err != nil {
		return err
	}
	for _, f := range w.waiting {
		if err := w.disk.Replace(f.tmp, f.name); err != nil {
			return err
		}
	}
	w.waiting, w.weight = w.waiting[:0], 0
	clear(w.names)
	return deliver.Sync(w.root)
}

// Finish implements Keeper: it writes the list of findings, in one step.
func (w *Writer) Finish(ctx context.Context, each func(yield func(*Finding) error) error) error {
	if err := w.flush(); err != nil {
		return w.explain(err)
	}
	err := w.replace(ListFile, func(file io.Writer) error {
		out := bufio.NewWriterSize(file, 1<<20)
		var line bytes.Buffer
		last := ""
		err := each(func(f *Finding) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if f.ID <= last {
				return fmt.Errorf("finding %s comes after %s", f.ID, last)
			}
			last = f.ID
			line.Reset()
			if err := appendLine(&line, f); err != nil {
				return err
			}
			_, err := out.Write(line.Bytes())
			return err
		})
		return errors.Join(err, out.Flush())
	})
	if err != nil {
		return fmt.Errorf("write the list of what was found to %s: %w", w.dir, err)
	}
	return nil
}

// Report writes the report of a run, in one step.
func (w *Writer) Report(report any) error {
	err := w.replace(ReportFile, func(f io.Writer) error {
		e := json.NewEncoder(f)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(report)
	})
	if err != nil {
		return fmt.Errorf("write the report to %s: %w", w.dir, err)
	}
	return nil
}

// replace makes name hold what fill writes: the old bytes or the new ones.
func (w *Writer) replace(name string, fill func(io.Writer) error) error {
	tmp := tmpName()
	f, err := w.disk.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = w.disk.Replace(tmp, name)
	}
	if err != nil {
		return errors.Join(err, w.root.Remove(tmp))
	}
	return w.disk.Sync(".")
}
