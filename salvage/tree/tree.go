// Package tree takes a directory as a source of a salvage: a damaged file system
// that somebody has mounted read-only, what fsck has left of one, what another
// program has recovered.
//
// A checked file system looks whole and is not: files whose blocks were gone are
// kept by e2fsck under their right names, with their right sizes, and holes. So a
// file is handed on with its holes (Open), and only its checksum or its structure
// can prove it. A hole that was filled with zeros, by ddrescue or by xfs_repair,
// cannot be told from the file system; that is for who reads the content.
//
// Nothing is written, no symbolic link is followed, no other file system is gone
// into unless that is asked for. Names are hostile: they are told, and only used
// below the directory's os.Root. Memory does not grow with the tree, but for the
// files with several names, up to a bound.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"salvor/internal/mailstore/deliver"
	"salvor/salvage/volume"
)

// Options say how a tree is walked through. The zero value is usable.
type Options struct {
	// Across goes into other file systems that are mounted below the directory,
	// too.
	Across bool
	// MaxDepth is how deep directories may lie in each other; 0 means 256.
	MaxDepth int
}

const (
	defaultDepth = 256
	batch        = 256     // names that are in memory for each directory that is open
	maxNames     = 1 << 20 // files with several names that are remembered
	maxHoles     = 4096    // that are told of a file
)

// An Item is a regular file, or something that could not be looked at.
type Item struct {
	// Path leads from the directory to the file, with slashes; bytes as they stand
	// there, hostile.
	Path string
	// Err says why it cannot be read, or was not gone into; what follows is not set
	// then. ErrOtherDevice, ErrTooDeep, or what the file system answered.
	Err error
	// Device and Inode name the file; a file with several Links is yielded once for
	// each, and with Again from the second time on: its content is known by then.
	Device, Inode uint64
	Links         uint64
	Again         bool
	Size          int64 // in bytes, as the file system says
	ModTime       time.Time
	// LostFound: it lies in a lost+found, so that the first name of its path there
	// says nothing but an inode's number; Number is that one, 0 where it is none.
	LostFound bool
	Number    uint64

	root *os.Root
}

var (
	// ErrOtherDevice: another file system is mounted there.
	ErrOtherDevice = errors.New("another file system is mounted there, and was not gone into")
	// ErrTooDeep: directories lie too deep in each other.
	ErrTooDeep = errors.New("directories lie too deep in each other")
)

// A twin is a file with several names.
type twin struct{ device, inode uint64 }

type walker struct {
	o      Options
	root   *os.Root
	device uint64
	twins  map[twin]bool
	yield  func(Item) error
}

// Walk calls yield for every regular file below a directory, and for what could not
// be looked at; it stops at yield's first error, which it returns. An Item can be
// opened as long as root is open.
func Walk(ctx context.Context, root *os.Root, o Options, yield func(Item) error) error {
	if o.MaxDepth == 0 {
		o.MaxDepth = defaultDepth
	}
	info, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("look at %s: %w", root.Name(), err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("look at %s: this system does not tell inodes", root.Name())
	}
	w := &walker{o: o, root: root, device: uint64(st.Dev), twins: map[twin]bool{}, yield: yield}
	return w.dir(ctx, root, place{path: ""}, 0)
}

// A place is where in the tree something lies.
type place struct {
	path   string
	lost   bool
	number uint64
}

// in is a name in the directory p.
func (p place) in(name string) place {
	out := place{path: path.Join(p.path, name), lost: p.lost, number: p.number}
	if p.path == "" {
		out.path = name
	}
	if path.Base(p.path) == "lost+found" {
		out.lost, out.number = true, number(name)
	}
	return out
}

// number reads the names that fsck (#123) and xfs_repair (123) give to what has
// lost its own.
func number(name string) uint64 {
	digits := strings.TrimPrefix(name, "#")
	var n uint64
	for i := range len(digits) {
		d := digits[i]
		if d < '0' || d > '9' || n > (1<<63)/10 {
			return 0
		}
		n = n*10 + uint64(d-'0')
	}
	return n
}

// dir walks through the directory that root has opened. Each level is opened from
// the one above by a single name, so that a path may be as long as it likes.
func (w *walker) dir(ctx context.Context, at *os.Root, p place, depth int) error {
	d, err := at.OpenFile(".", deliver.DirFlags, 0)
	if err != nil {
		return w.yield(Item{Path: p.path, Err: err})
	}
	defer d.Close()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := d.ReadDir(batch)
		for _, e := range entries {
			if err := w.entry(ctx, at, e, p.in(e.Name()), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil { // what it has more of, nobody knows
			return w.yield(Item{Path: p.path, Err: err})
		}
	}
}

func (w *walker) entry(ctx context.Context, at *os.Root, e fs.DirEntry, p place, depth int) error {
	info, err := at.Lstat(e.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was there a moment ago
	}
	if err != nil {
		return w.yield(Item{Path: p.path, Err: err})
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() && !info.Mode().IsRegular() {
		return nil
	}
	if uint64(st.Dev) != w.device && !w.o.Across {
		return w.yield(Item{Path: p.path, Err: ErrOtherDevice})
	}
	if info.IsDir() {
		return w.enter(ctx, at, e.Name(), p, depth+1)
	}
	it := Item{Path: p.path, Device: uint64(st.Dev), Inode: st.Ino, Links: uint64(st.Nlink), Size: info.Size(), ModTime: info.ModTime(),
		LostFound: p.lost, Number: p.number, root: w.root}
	it.Again = it.Links > 1 && w.again(twin{it.Device, it.Inode})
	return w.yield(it)
}

func (w *walker) enter(ctx context.Context, at *os.Root, name string, p place, depth int) error {
	if depth > w.o.MaxDepth {
		return w.yield(Item{Path: p.path, Err: ErrTooDeep})
	}
	sub, err := at.OpenRoot(name)
	if err != nil {
		return w.yield(Item{Path: p.path, Err: err})
	}
	defer sub.Close()
	return w.dir(ctx, sub, p, depth)
}

// again tells whether a file was yielded before. Where there are more than can be
// remembered, some are read twice.
func (w *walker) again(t twin) bool {
	if w.twins[t] {
		return true
	}
	if len(w.twins) < maxNames {
		w.twins[t] = true
	}
	return false
}

// Open opens the file for reading. It is the one that was listed, or an error.
func (it *Item) Open() (*os.File, error) {
	if it.Err != nil {
		return nil, it.Err
	}
	f, err := deliver.OpenRegular(it.root, it.Path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Ino == it.Inode && uint64(st.Dev) == it.Device {
			return f, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s is another file by now", it.Path), f.Close())
}

// lseek(2).
const (
	seekData = 3
	seekHole = 4
)

// Holes lists the stretches of a file of so many bytes for which its file system
// holds nothing: they read as zeros, and may once have been something else. Where
// there are very many, the last one reaches to the end of the file. The place at
// which the file is read is another one afterwards. A file system that knows no
// holes gives none.
func Holes(f *os.File, size int64) (holes []volume.Range, err error) {
	for off := int64(0); off < size; {
		hole, err := f.Seek(off, seekHole)
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
			return nil, nil
		}
		if errors.Is(err, syscall.ENXIO) { // it has become shorter
			return append(holes, volume.Range{Off: off, Len: size - off}), nil
		}
		if err != nil {
			return nil, err
		}
		if hole >= size {
			return holes, nil
		}
		data, err := f.Seek(hole, seekData)
		if errors.Is(err, syscall.ENXIO) || err == nil && (data > size || data <= hole) {
			data, err = size, nil
		}
		if err != nil {
			return nil, err
		}
		if len(holes) == maxHoles-1 {
			data = size
		}
		holes = append(holes, volume.Range{Off: hole, Len: data - hole})
		off = data
	}
	return holes, nil
}
