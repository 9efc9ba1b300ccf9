package diskimage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
)

// An Extent is a run of bytes of a file that stand together on the disk, in
// bytes.
type Extent struct {
	Logical, Off, Len int64
}

// A node is what an inode tells.
type node struct {
	number  uint64
	at      int64 // of its record, in bytes
	mode    uint16
	size    int64
	extents []Extent
	blocks  []int64 // of its block map outside of the record, in bytes
	inline  []byte  // XFS: a directory in the record itself
}

func (n *node) directory() bool { return n.mode&0xf000 == 0x4000 }

// A child is a name in a directory.
type child struct {
	name   string
	number uint64
}

// A reader reads an undamaged file system. It trusts what it reads.
type reader interface {
	root() uint64
	node(number uint64) (*node, error)
	children(n *node) ([]child, error)
	// headers are the places of the first superblock and of what stands with it, and
	// of all copies.
	headers() (first, all []Extent)
	// tables are the pieces of the inode tables in which these inodes stand: ext4's
	// groups, XFS's chunks.
	tables(nodes []uint64) ([]Extent, error)
}

// open recognises the file system of an image.
func open(f *os.File) (reader, error) {
	var start [2048]byte
	if _, err := f.ReadAt(start[:], 0); err != nil {
		return nil, err
	}
	switch {
	case string(start[:4]) == "XFSB":
		return newXFS(f, start[:512]), nil
	case binary.LittleEndian.Uint16(start[1024+56:]) == 0xef53:
		return newExt4(f, start[1024:])
	}
	return nil, fmt.Errorf("%s: neither ext4 nor XFS", f.Name())
}

// A directory is one of a disk's.
type directory struct {
	path    string
	node    *node
	entries int
}

// A tree is all that an image holds, by path.
type tree struct {
	files       map[string]*node
	directories []directory
}

// walk reads the whole tree.
func walk(r reader) (*tree, error) {
	t := &tree{files: map[string]*node{}}
	return t, t.add(r, r.root(), "")
}

func (t *tree) add(r reader, number uint64, at string) error {
	n, err := r.node(number)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if !n.directory() {
		t.files[at] = n
		return nil
	}
	all, err := r.children(n)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	t.directories = append(t.directories, directory{at, n, len(all)})
	slices.SortFunc(all, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	for _, c := range all {
		if err := t.add(r, c.number, path.Join(at, c.name)); err != nil {
			return err
		}
	}
	return nil
}

// join sorts extents and makes one of those that follow each other.
func join(all []Extent) []Extent {
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.Logical, b.Logical) })
	var joined []Extent
	for _, e := range all {
		if n := len(joined); n > 0 {
			l := &joined[n-1]
			if l.Logical+l.Len == e.Logical && l.Off+l.Len == e.Off {
				l.Len += e.Len
				continue
			}
		}
		joined = append(joined, e)
	}
	return joined
}

// readExtents gives the bytes of a file of so many bytes.
func readExtents(r io.ReaderAt, extents []Extent, size int64) ([]byte, error) {
	b := make([]byte, size)
	for _, e := range extents {
		n := min(e.Len, size-e.Logical)
		if n <= 0 {
			continue
		}
		if _, err := r.ReadAt(b[e.Logical:e.Logical+n], e.Off); err != nil {
			return nil, err
		}
	}
	return b, nil
}
