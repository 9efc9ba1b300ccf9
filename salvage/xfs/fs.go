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
	logged  atomic.Bool                     // Known has read the log
	items   atomic.Pointer[map[int64]*item] // of the log record that was read last, by place

	mu      sync.Mutex
	seen    evidence // by Open, and by a sweep where that had to infer the geometry
	foreign evidence // inodes whose numbers do not go with the geometry
	heard   evidence // inodes that Learn was told of
}

var (
	_ fsys.System  = (*FS)(nil)
	_ fsys.Learner = (*FS)(nil)
)

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
		if g, f.certain = f.settle(&f.seen); g == nil {
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

// Learn takes an inode that a sweep has found. Where no superblock tells the
// geometry, all inodes of the volume tell it better than those that Open came upon:
// the next call of Known goes by them.
func (f *FS) Learn(ctx context.Context, t fsys.Trace) error {
	if f.certain || t.Kind != fsys.Inode || t.Origin == fsys.Log || len(t.Raw) < minInode || be.Uint16(t.Raw) != magicInode {
		return ctx.Err()
	}
	if raw := vouchedInode(t.Raw); raw != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.heard.inode(raw, t.Off)
	}
	return ctx.Err()
}

// reconsider infers the geometry once more, from what a sweep and Learn have added.
func (f *FS) reconsider() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.certain || len(f.heard.inodes.all) == 0 || len(f.seen.supers) > 0 {
		return nil
	}
	e := evidence{headers: f.seen.headers, trees: f.seen.trees, inodes: f.heard.inodes, leaders: f.heard.leaders}
	f.heard = evidence{}
	g, _ := f.settle(&e)
	if g == nil || g.same(f.main()) {
		return nil
	}
	var err error
	if g.root, err = f.findRoot(g); err != nil {
		return err
	}
	gs := []*geometry{g}
	for _, other := range f.geometries()[1:] {
		if !other.same(g) {
			gs = append(gs, other)
		}
	}
	f.geos.Store(&gs)
	return nil
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
// volume is a disk whose partition table is gone, and negative where the front of the
// file system was cut off.
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
