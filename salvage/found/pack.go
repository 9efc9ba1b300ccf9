package found

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"salvor/internal/mailstore/deliver"
)

// packLimit is how large a pack grows, in bytes, before the next one is begun: few
// enough files for millions of messages, small enough to be copied one by one.
const packLimit = 256 << 20

// packBuffer is how much is written at once.
const packBuffer = 1 << 20

// A packFile is where a pack's bytes go; an *os.File.
type packFile interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// A pack is written at its end. After an error of its file nothing more is: a disk
// that has refused a sync once may call durable what it has dropped.
type pack struct {
	file   packFile
	number int
	size   int64  // with what is in buf
	buf    []byte // its last bytes, which are not written yet
	err    error  // the first of its file
}

func (p *pack) note(err error) error {
	if err = full(err); p.err == nil {
		p.err = err
	}
	return err
}

// full says which errors of a disk mean that there is no more room.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// written is how much of a pack is in its file.
func (p *pack) written() int64 { return p.size - int64(len(p.buf)) }

// Write appends b.
func (p *pack) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	if p.size += int64(len(b)); len(p.buf) < packBuffer {
		return len(b), p.err
	}
	return len(b), p.flush()
}

func (p *pack) flush() error {
	if p.err != nil || len(p.buf) == 0 {
		return p.err
	}
	n, err := p.file.WriteAt(p.buf, p.written())
	p.buf = append(p.buf[:0], p.buf[n:]...)
	return p.note(err)
}

// patch writes b over what was appended at off.
func (p *pack) patch(b string, off int64) error {
	if off >= p.written() {
		copy(p.buf[off-p.written():], b)
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	_, err := p.file.WriteAt([]byte(b), off)
	return p.note(err)
}

// cut takes back what was appended from off on.
func (p *pack) cut(off int64) error {
	if written := p.written(); off >= written {
		p.buf, p.size = p.buf[:off-written], off
		return nil
	}
	p.buf, p.size = p.buf[:0], off
	return p.note(p.file.Truncate(off))
}

// sync makes durable what was appended.
func (p *pack) sync() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.note(p.file.Sync())
}

// current is the pack to append to. Before a new one is begun the one before it is
// durable, so that only the last one can be torn.
func (w *Writer) current() (*pack, error) {
	number := 1
	if w.pack != nil {
		if w.pack.err != nil || w.pack.size < w.limit {
			return w.pack, w.pack.err
		}
		if number = w.pack.number + 1; number > maxPacks {
			return nil, fmt.Errorf("%w: there are %d packs", ErrFull, maxPacks)
		}
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	file, err := w.openPack(number, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, full(err)
	}
	old := w.pack
	w.pack, w.unnamed = &pack{file: file, number: number}, true
	if old != nil {
		err = old.file.Close()
	}
	return w.pack, w.pack.note(err)
}

func (w *Writer) openPack(number, flags int) (packFile, error) {
	f, err := w.root.OpenFile(packName(number), os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil { // because of the umask
		return nil, errors.Join(err, f.Close())
	}
	if w.wrap != nil {
		return w.wrap(f), nil
	}
	return f, nil
}

// adopt takes in the packs that are there. What stands behind the last whole frame
// of the last one was never relied on: a run was killed there, or its power cut.
func (w *Writer) adopt() error {
	var numbers []int
	err := w.each(mailDir, func(name string, _ os.DirEntry) error {
		if n := packNumber(name); n != 0 {
			numbers = append(numbers, n)
		}
		return nil
	})
	slices.Sort(numbers)
	end := int64(0)
	for i := 0; i < len(numbers) && err == nil; i++ {
		end, err = w.learn(numbers[i])
	}
	if err != nil || len(numbers) == 0 {
		return err
	}
	last := numbers[len(numbers)-1]
	file, err := w.openPack(last, 0)
	if err != nil {
		return err
	}
	// Whoever has written it may have died before it was durable.
	w.pack, w.dirty, w.unnamed = &pack{file: file, number: last, size: end}, true, true
	return file.Truncate(end)
}

// learn puts the frames of a pack into the index, and gives where the last one ends.
func (w *Writer) learn(number int) (end int64, err error) {
	name := packName(number)
	file, err := deliver.OpenRegular(w.root, name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return frames(file, info.Size(), func(f frame) error {
		w.held += f.size
		return w.index.put(f.sum, number, f.at)
	})
}
