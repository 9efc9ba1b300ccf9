// Package fsys holds what readers of damaged file systems have in common: what a
// sweep over a volume leaves behind (Trace), and what becomes of it (File, Entry).
//
// A damaged file system is not walked from its root. One sweep over the whole
// volume notes everything that has the shape of an inode, of a directory's block
// or of a block map, whether or not anything still points to it, and the file
// system's log is read for older copies. Only then are files and names put
// together from the traces. Traces are kept in a file on disk by who calls: a
// System holds no more of them than fits into a fixed amount of memory.
//
// Everything here comes from a damaged disk. Sizes, counts, offsets and names are
// somebody's claim until they are proved; an implementation bounds its work and
// its memory for each object, and answers nonsense with an error that costs this
// one object.
package fsys

import (
	"context"
	"time"

	"salvor/salvage/volume"
)

// Kind is what a trace is a trace of.
type Kind string

// The kinds of traces.
const (
	Inode Kind = "inode" // an inode's record, of whatever type of file
	Names Kind = "names" // a block of a directory
	Map   Kind = "map"   // a leaf of a file's block map, which names the places of its bytes
)

// Origin tells how a trace came to stand where it stands.
type Origin string

// The origins of traces, best first.
const (
	Table Origin = "table" // where the file system keeps such things
	Log   Origin = "log"   // in the journal or log: a copy, maybe an older one
	Loose Origin = "loose" // anywhere: recognised by its shape alone
)

// A Trace is a place on a volume that has the shape of a part of a file system.
type Trace struct {
	Kind   Kind
	Off    int64 // where it begins, in bytes from the volume's beginning
	Origin Origin
	// Seq orders copies of the same thing: a greater one is newer; 0: unknown.
	Seq uint64
	// Number is the inode's, of Names and Map the inode's that they belong to; 0:
	// nobody knows.
	Number uint64
	// Raw is the record's bytes, for Inode only: at most 4096.
	Raw []byte
}

// A System reads one kind of file system on one volume.
type System interface {
	// Name is "ext4" or "xfs".
	Name() string
	// Root is the inode number of the root directory.
	Root() uint64
	// BlockSize is the file system's, in bytes: files begin at multiples of it,
	// counted from Base.
	BlockSize() int64
	// Known reads what stands at known places, above all the log, and puts the
	// traces for which it takes more than a look at one block.
	Known(ctx context.Context, put func(Trace) error) error
	// Look puts the traces that stand in a window. Windows come in the order of the
	// volume, each once, but a sweep may have begun in its middle. The same place
	// may be put by Known as well.
	Look(w volume.Window, put func(Trace) error) error
	// File tells what an Inode's or Map's trace says about a file; it reads the
	// volume where the block map lies outside of the record. What is unreadable or
	// nonsense in the map is missing in Extents, and counted in Lost.
	File(ctx context.Context, t Trace) (*File, error)
	// Entries yields the names in a directory: the directory that an Inode's trace
	// stands for, or the single block of a Names trace.
	Entries(ctx context.Context, t Trace, yield func(Entry) error) error
}

// A Learner is a System that finds out more about itself from what a sweep has
// found: where its superblock is gone, or is a newer file system's. Learn is called
// with every Inode's trace, then Known once more, and only then File and Entries.
type Learner interface {
	Learn(ctx context.Context, t Trace) error
}

// A Keyed system seeds the checksums of blocks with the inode that they belong to:
// a block that nothing points to any more still says whose it is.
type Keyed interface {
	// Keys are what Owner may answer for the blocks of an inode.
	Keys(number uint64, generation uint32) []uint32
	// Owner is the key of the inode that a Names or Map trace's block belongs to. An
	// error says that the block does not tell.
	Owner(t Trace) (uint32, error)
}

// Type is a file's type.
type Type string

// The types of files that matter.
const (
	Regular   Type = "file"
	Directory Type = "directory"
	OtherType Type = "other"
)

// A File is a file as some trace describes it.
type File struct {
	Trace Trace // without Raw
	Type  Type
	// Inode and Generation name it in its file system; 0: unknown.
	Inode      uint64
	Generation uint32
	// Size is what the record claims, in bytes; -1: nobody knows it (a block map
	// alone; a freed inode).
	Size    int64
	Links   uint32
	Deleted bool // its record says that it was removed
	ModTime time.Time
	// Extents are the places of its bytes, by Logical, without overlaps.
	Extents []Extent
	// Inline is the content where it stands in the record itself; Extents is empty
	// then.
	Inline []byte
	// Lost is how many parts of its block map could not be read or made no sense.
	Lost int
	// Sure: a checksum vouches for the record and for its number.
	Sure bool
}

// An Extent is a run of bytes of a file that stand together on the volume.
type Extent struct {
	Logical   int64 `json:"at"`  // where in the file, in bytes
	Off       int64 `json:"off"` // where on the volume, in bytes
	Len       int64 `json:"len"`
	Unwritten bool  `json:"unwritten,omitempty"` // allocated, and reads as zeros
}

// An Entry is a name in a directory.
type Entry struct {
	Parent uint64 // inode of the directory; 0: nobody knows
	Name   string // bytes as they stand there, hostile; never "." or ".."
	Child  uint64
	// Low: only the lower 32 bits of Child are known.
	Low     bool
	Type    Type // "": the entry does not tell
	Deleted bool // it stands in space that the directory has given up
	Off     int64
	// Up is the directory's own parent, where its ".." is in the same block; else 0.
	Up uint64
}
