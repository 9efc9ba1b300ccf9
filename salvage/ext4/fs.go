package ext4

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// An FS reads one ext2, ext3 or ext4 file system. Its methods may be called from
// several goroutines at once, but for Look, whose windows come in order.
type FS struct {
	v     volume.Volume
	super *Super // nil where none was found
	bs    int64
	isize int
	// limit is the end of what blocks may lie in: the volume, or what the
	// superblock claims where the volume is shorter.
	limit  int64
	tables tables

	mu       sync.RWMutex
	learned  learned
	journals []int64 // where beginnings of journals were seen, at most maxJournals
	covered  covered // blocks of the journal that Known has read

	numbered atomic.Pointer[numbered] // the last one
}

var _ fsys.System = (*FS)(nil)

// Open opens the file system on v by the best superblock that Find finds. The
// error is ErrNoSuper, or the volume's.
func Open(ctx context.Context, v volume.Volume) (*FS, error) {
	found, err := Find(ctx, v)
	if err != nil {
		return nil, err
	}
	return OpenAt(ctx, v, found[0])
}

// OpenAt opens the file system that one superblock describes, which is how an
// older file system under a newer one is read. Group descriptors that cannot be
// read, or make no sense, cost the places of their inode tables only.
func OpenAt(ctx context.Context, v volume.Volume, s Super) (*FS, error) {
	if s.BlockSize < minBlock {
		return nil, errors.New("open ext4: an empty superblock; use Find or Guess")
	}
	f := Guess(v, s.BlockSize)
	f.super, f.isize = &s, s.InodeSize
	if s.Blocks < uint64(1<<62)/uint64(s.BlockSize) {
		f.limit = max(f.limit, s.ClaimedSize())
	}
	if s.sums() {
		f.learned.seeds = []uint32{s.seed}
	}
	var err error
	if f.tables, err = readTables(ctx, v, &s); err != nil {
		return nil, fmt.Errorf("open ext4 on %s: %w", v.Name(), err)
	}
	return f, nil
}

// Guess makes a file system of a volume without any superblock. It knows nothing
// but the size of its blocks (0: 4096 bytes, which mke2fs takes for all but small
// volumes), and finds things by their shape. Numbers of inodes come from Learn.
func Guess(v volume.Volume, blockSize int64) *FS {
	if blockSize < minBlock || blockSize > maxBlock || blockSize&(blockSize-1) != 0 {
		blockSize = 4096
	}
	return &FS{v: v, bs: blockSize, limit: v.Size()}
}

// Name is "ext4", for ext2 and ext3 too.
func (f *FS) Name() string { return "ext4" }

// Root is the number of the root directory.
func (f *FS) Root() uint64 { return rootInode }

// BlockSize is the size of a block, in bytes.
func (f *FS) BlockSize() int64 { return f.bs }

// ClaimedSize is how large the file system says it is, in bytes; 0 where no
// superblock was found. Where it is more than the volume's size, the volume has
// been cut off.
func (f *FS) ClaimedSize() int64 {
	if f.super == nil {
		return 0
	}
	return f.super.ClaimedSize()
}

// Super is the superblock that is used; nil after Guess.
func (f *FS) Super() *Super { return f.super }

// UUID is the file system's; zero after Guess.
func (f *FS) UUID() [16]byte {
	if f.super == nil {
		return [16]byte{}
	}
	return f.super.UUID
}

// inodes is the greatest number that an inode may have.
func (f *FS) inodes() uint64 {
	if f.super == nil {
		return 1<<32 - 1
	}
	return uint64(f.super.Inodes)
}

// inodeSize is the size of a record, known or most likely.
func (f *FS) inodeSize() int {
	if f.isize == 0 {
		return 256 // what mke2fs has made for fifteen years
	}
	return f.isize
}

// block reads one whole block. It answers nil where a part of it is unknown, or
// where it does not lie in the file system.
func (f *FS) block(number uint64) ([]byte, error) {
	if number == 0 || number >= uint64(f.limit/f.bs) {
		return nil, nil
	}
	p := make([]byte, f.bs)
	unknown, err := f.v.ReadAt(p, int64(number)*f.bs)
	if err != nil || len(unknown) > 0 {
		return nil, err
	}
	return p, nil
}
