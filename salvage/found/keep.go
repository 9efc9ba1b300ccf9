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

	"salvor/internal/durable"
	"salvor/internal/mailstore/deliver"
)

// askDisk is how much is written until the disk is asked again for its free space.
const askDisk = 16 << 20

const tmpPrefix = ".salvor-"

func tmpName() string { return tmpPrefix + rand.Text() + ".tmp" }

// stale tells whether a name is a temporary one.
func stale(name string) bool {
	return strings.HasPrefix(name, tmpPrefix) && strings.HasSuffix(name, ".tmp")
}

// Keep implements Keeper. A file has its name from its beginning: nothing speaks of
// it before it is durable, and what a run that was killed has left is read and compared
// before it counts. To rename hundreds of thousands of files would cost as much as to
// make them.
func (w *Writer) Keep(ctx context.Context, f *Finding, content io.Reader) error {
	if !f.Class.Kept() {
		return fmt.Errorf("keep %s: what is %s is not kept", f.Path, f.Class)
	}
	if !isHex(f.SHA256Stored, 2*sha256.Size) {
		return w.explain(w.keepUnnamed(ctx, f, content))
	}
	return w.explain(w.keep(ctx, f, content))
}

func (w *Writer) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keep what was found in %s: %w", w.dir, err)
}

// has tells whether a file is there, with its bytes.
func (w *Writer) has(name, sum string, size int64) (bool, error) {
	file, err := deliver.OpenRegular(w.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h := sha256.New()
	n, err := io.Copy(h, file)
	return n == size && hex.EncodeToString(h.Sum(nil)) == sum, errors.Join(err, file.Close())
}

// keep keeps a content whose checksum is known.
func (w *Writer) keep(ctx context.Context, f *Finding, content io.Reader) error {
	name := fileOf(f.SHA256Stored)
	file, err := w.create(name)
	if errors.Is(err, fs.ErrExist) {
		has, err := w.has(name, f.SHA256Stored, f.Size)
		if err != nil {
			return err
		}
		if has {
			// Whoever has written it may have died before it was durable.
			f.File, w.dirty = name, true
			return nil
		}
		// Torn when a run was killed, or rotten since.
		if err := w.drop(name); err != nil {
			return err
		}
		if file, err = w.create(name); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	before := w.held
	stored, size, err := w.fill(ctx, f, file, content)
	if err == nil && (stored != f.SHA256Stored || size != f.Size) {
		err = fmt.Errorf("%s at %d of %s: %w", f.How, f.Offset, f.Source, ErrChanged)
	}
	if err != nil {
		w.held = before
		return errors.Join(err, w.root.Remove(name))
	}
	f.File = name
	return nil
}

// keepUnnamed keeps a content whose checksum is to be found out.
func (w *Writer) keepUnnamed(ctx context.Context, f *Finding, content io.Reader) error {
	tmp := path.Join(mailDir, tmpName())
	file, err := w.disk.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	before := w.held
	stored, size, err := w.fill(ctx, f, file, content)
	name, has := fileOf(stored), false
	if err == nil {
		has, err = w.has(name, stored, size)
	}
	if err == nil && !has {
		if err = w.mkdir(path.Dir(name)); err == nil {
			err = w.disk.Replace(tmp, name)
		}
	}
	if err != nil || has { // what was counted for it is given back
		w.held = before
		err = errors.Join(err, w.root.Remove(tmp))
	}
	if err == nil {
		f.SHA256Stored, f.Size, f.File = stored, size, name
	}
	return err
}

// drop removes a file that is not what its name says, and counts it no more.
func (w *Writer) drop(name string) error {
	info, err := w.root.Lstat(name)
	if err == nil {
		err = w.root.Remove(name)
	}
	if err == nil && info.Mode().IsRegular() {
		w.held -= info.Size()
	}
	return err
}

// create makes a new file for a content.
func (w *Writer) create(name string) (durable.File, error) {
	if err := w.mkdir(path.Dir(name)); err != nil {
		return nil, err
	}
	return w.disk.Create(name, 0o600)
}

// fill writes a content into its file, and closes it.
func (w *Writer) fill(ctx context.Context, f *Finding, file durable.File, content io.Reader) (sum string, size int64, err error) {
	w.dirty = true
	s := &sink{w: w, ctx: ctx, file: file, sum: sha256.New()}
	_, hashed := content.(Hashed)
	if hashed = hashed && f.SHA256Stored != ""; hashed {
		s.sum = nil
	}
	_, err = io.Copy(s, content)
	if err = errors.Join(err, file.Close()); hashed {
		return f.SHA256Stored, s.size, err
	}
	return hex.EncodeToString(s.sum.Sum(nil)), s.size, err
}

// A sink writes a content, within the bounds.
type sink struct {
	w    *Writer
	ctx  context.Context
	file io.Writer
	sum  hash.Hash // nil: nobody asks for it
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
	if s.sum != nil {
		s.sum.Write(b[:n])
	}
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

// flush makes durable what was kept, all at once: a sync for each of hundreds of
// thousands of small files would take longer than finding them.
func (w *Writer) flush() error {
	if !w.dirty {
		return nil
	}
	err := deliver.Sync(w.root)
	w.dirty = err != nil
	return err
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
