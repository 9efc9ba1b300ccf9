package ext4

import (
	"errors"

	"salvor/salvage/fsys"
)

// The checksums of a file system with metadata_csum are seeded by the number and
// generation of the inode that a block belongs to. So a block of a directory or of
// an extent tree that nothing points to any more still says whose it is: its Owner
// is one of the Keys of that inode, and of one in four thousand million others.

// ErrNoSum says that a block carries no checksum.
var ErrNoSum = errors.New("no checksum in the block")

// Keys are what Owner answers for blocks of an inode: one for each seed that is
// known, usually one; none without metadata_csum.
func (f *FS) Keys(number uint64, generation uint32) []uint32 {
	seeds := f.seeds()
	keys := make([]uint32, len(seeds))
	for i, seed := range seeds {
		keys[i] = key(seed, number, generation)
	}
	return keys
}

// Owner is the key of the inode that the block of a Names or Map trace belongs to.
// For a block whose content and checksum do not belong together it is a number
// without meaning. Blocks of an index of names (htree) have no key. The error is
// ErrNoSum, or why the block cannot be read.
func (f *FS) Owner(t fsys.Trace) (uint32, error) {
	p, err := f.blockAt(t.Off)
	if err != nil {
		return 0, err
	}
	sum, covers, ok := blockSum(p)
	if !ok {
		return 0, ErrNoSum
	}
	return before(sum, p[:covers]), nil
}
