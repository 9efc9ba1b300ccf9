package xfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// ErrNone is what Open answers where nothing looks like XFS.
var ErrNone = errors.New("no trace of XFS")

// An FS is an XFS file system on a volume. Its methods may be called from several
// goroutines at once.
type FS struct {
	v volume.Volume

	// geos is the geometry to go by, first, and others that inodes speak of.
	geos atomic.Pointer[[]*geometry]
	// certain: the geometry is a superblock's.
	certain bool

	mu   sync.Mutex
	seen evidence
}

var _ fsys.System = (*FS)(nil)

// Open finds an XFS file system's geometry. Without any superblock it is inferred
// from what else there is; Doubt tells how well that went. The search reads no
// more than some hundred MiB. An error that is no ErrNone means that the volume
// cannot be read.
func Open(ctx context.Context, v volume.Volume) (*FS, error) {
	f := &FS{v: v}
	g, err := f.primary()
	if err != nil {
		return nil, err
	}
	f.certain = g != nil
	if g == nil {
		if err := f.search(ctx); err != nil {
			return nil, err
		}
		if g, f.certain = f.seen.settle(v, f.inferBlock); g == nil {
			return nil, fmt.Errorf("%s: %w", v.Name(), ErrNone)
		}
	}
	if !g.plausible(g.root) {
		if g.root, err = f.findRoot(g); err != nil {
			return nil, err
		}
	}
	f.geos.Store(&[]*geometry{g})
	return f, nil
}

func (f *FS) geometries() []*geometry { return *f.geos.Load() }

func (f *FS) main() *geometry { return f.geometries()[0] }

func (f *FS) readError(off int64, err error) error {
	return fmt.Errorf("read %s at %d: %w", f.v.Name(), off, err)
}

// Name is "xfs".
func (f *FS) Name() string { return "xfs" }

// Root is the inode number of the root directory; 0: nobody knows.
func (f *FS) Root() uint64 { return f.main().root }

// BlockSize is the file system's, in bytes.
func (f *FS) BlockSize() int64 { return f.main().block }

// Base is where on the volume the file system begins, in bytes: not 0 where the
// volume is a disk whose partition table is gone.
func (f *FS) Base() int64 { return f.main().base }

// ClaimedSize is how large the volume should be, in bytes. A volume that is
// smaller has been cut off.
func (f *FS) ClaimedSize() int64 { return f.main().end() }

// Doubt says what could not be found out, in words for people; "" where a
// superblock tells everything.
func (f *FS) Doubt() string {
	switch g := f.main(); {
	case f.certain:
		return ""
	case !g.mapped():
		return "no superblock is left, and nothing tells how large the allocation groups are: extents cannot be resolved"
	default:
		return fmt.Sprintf("no superblock is left; groups of %d blocks of %d bytes were inferred", g.agBlocks, g.block)
	}
}
