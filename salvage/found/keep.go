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
	"strings"
	"syscall"
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
	if isHex(f.SHA256Stored, 2*sha256.Size) {
		if has, err := w.has(f); err != nil || has {
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

// has tells whether a finding's bytes are there, and says where. They are read and
// compared: a power cut may have left their header without them.
func (w *Writer) has(f *Finding) (bool, error) {
	number, at, ok, err := w.index.get(f.SHA256Stored)
	if err != nil || !ok {
		return false, err
	}
	if number == w.pack.number {
		if err := w.pack.flush(); err != nil {
			return false, err
		}
	}
	name := packName(number)
	r, err := openContent(w.root, name, frame{sum: f.SHA256Stored, at: at, size: f.Size})
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	if errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	if err == nil {
		f.File, f.At = name, at
	}
	return err == nil, err
}

// keep appends a frame, or leaves nothing of it.
func (w *Writer) keep(ctx context.Context, f *Finding, content io.Reader) error {
	p, err := w.current()
	if err != nil {
		return err
	}
	begin, held := p.size, w.held
	has, err := w.frame(ctx, p, f, content)
	if err != nil || has {
		w.held = held
		return errors.Join(err, p.cut(begin))
	}
	return nil
}

// frame appends a frame, unless its bytes turn out to be there.
func (w *Writer) frame(ctx context.Context, p *pack, f *Finding, content io.Reader) (has bool, err error) {
	begin := p.size
	if _, err := io.WriteString(p, unfinished); err != nil {
		return false, err
	}
	s := &sink{w: w, ctx: ctx, to: p, sum: sha256.New()}
	_, hashed := content.(Hashed)
	if hashed = hashed && f.SHA256Stored != ""; hashed {
		s.sum = nil
	}
	if _, err := io.CopyBuffer(s, content, w.copying); err != nil {
		return false, err
	}
	stored := f.SHA256Stored
	if !hashed {
		stored = hex.EncodeToString(s.sum.Sum(nil))
	}
	if f.SHA256Stored == "" {
		f.SHA256Stored, f.Size = stored, s.size
		if has, err := w.has(f); err != nil || has {
			return has, err
		}
	} else if f.SHA256Stored != stored || f.Size != s.size {
		return false, fmt.Errorf("%s at %d of %s: %w", f.How, f.Offset, f.Source, ErrChanged)
	}
	if _, err := io.WriteString(p, "\n"); err != nil {
		return false, err
	}
	if err := p.patch(header(stored, s.size), begin); err != nil {
		return false, err
	}
	w.dirty = true
	f.File, f.At = packName(p.number), begin+int64(headerLen)
	return false, w.index.put(stored, p.number, f.At)
}

// A sink writes a content, within the bounds.
type sink struct {
	w    *Writer
	ctx  context.Context
	to   *pack
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
	if s.sum != nil {
		s.sum.Write(b)
	}
	s.size += int64(len(b))
	return s.to.Write(b)
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

// flush makes durable what was kept.
func (w *Writer) flush() error {
	if w.pack == nil || !w.dirty && w.pack.err == nil {
		return nil
	}
	if err := w.pack.sync(); err != nil {
		return err
	}
	if w.unnamed {
		if err := w.disk.Sync(mailDir); err != nil {
			return w.pack.note(err)
		}
	}
	w.dirty, w.unnamed = false, false
	return nil
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
