package xfs

import (
	"context"

	"salvor/salvage/volume"
)

// bounds of the search for a geometry, in bytes
const (
	searchStep   = 1 << 20
	searchFront  = 256 << 20 // read from the beginning on
	searchBeside = 256 << 10 // read before and behind each place where a group may begin
	searchGroups = 64        // numbers of groups that are tried
)

// primary reads the first superblock. It is believed if its checksum is right or
// the second group's copy says the same, unless the header behind it says that it is
// another group's: then the volume begins in the midst of the file system.
func (f *FS) primary() (*geometry, error) {
	b := make([]byte, 4096)
	if _, err := f.v.ReadAt(b, 0); err != nil {
		return nil, f.readError(0, err)
	}
	g, sure, ok := parseSuper(b)
	if !ok {
		return nil, nil
	}
	header := make([]byte, minBlock)
	if _, err := f.v.ReadAt(header, g.sector); err != nil {
		return nil, f.readError(g.sector, err)
	}
	if h, ok := parseAGF(header, g.sector); ok && h.number > 0 && h.number < g.groups {
		return nil, nil
	}
	if sure || g.groups == 1 {
		return &g, nil
	}
	second := g.agBlocks * g.block
	if _, err := f.v.ReadAt(b, second); err != nil {
		return nil, f.readError(second, err)
	}
	if copied, _, ok := parseSuper(b); ok && copied.same(&g) {
		return &g, nil
	}
	f.seen.super(g, 0, sure)
	return nil, nil
}

// search looks for superblocks, heads of groups and inodes: at the volume's
// beginning, and where mkfs.xfs puts the second, third and fourth group if it
// makes so or so many of them.
func (f *FS) search(ctx context.Context) error {
	size, first := f.v.Size(), volume.NextKnown(f.v, 0)&^(volume.WindowAlign-1)
	if err := f.searchRange(ctx, first, min(size, first+searchFront)); err != nil {
		return err
	}
	var groups []int64 // their possible sizes
	for n := int64(2); n <= searchGroups; n++ {
		groups = append(groups, size/n)
	}
	if size > maxGroup {
		groups = append(groups, maxGroup-minBlock)
	}
	for _, group := range groups {
		for nth := int64(1); nth <= 3; nth++ {
			at := nth * group
			if at >= size || at >= first && at < first+searchFront {
				continue
			}
			at &^= volume.WindowAlign - 1
			if err := f.searchRange(ctx, at-searchBeside, min(size, at+searchBeside)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *FS) searchRange(ctx context.Context, from, to int64) error {
	sparse, _ := f.v.(volume.Sparse)
	b := make([]byte, searchStep)
	for at := from; at < to; at += searchStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		if sparse != nil {
			if at = sparse.NextData(at) &^ (volume.WindowAlign - 1); at >= to {
				return nil
			}
		}
		part := b[:min(searchStep, to-at)]
		if _, err := f.v.ReadAt(part, at); err != nil {
			return f.readError(at, err)
		}
		f.seen.look(part, at)
	}
	return nil
}

// look notes what stands in b, which begins at off.
func (e *evidence) look(b []byte, off int64) {
	for at := 0; at+minBlock <= len(b); at += minBlock {
		switch word := be.Uint32(b[at:]); {
		case word == magicSuper:
			if g, sure, ok := parseSuper(b[at:]); ok {
				e.super(g, off+int64(at), sure)
			}
		case word == magicAGF:
			if h, ok := parseAGF(b[at:], off+int64(at)); ok {
				e.group(h)
			}
		case word>>16 == magicInode:
			if raw := vouchedInode(b[at:]); raw != nil {
				e.inode(raw, off+int64(at))
			}
		default:
			if t, ok := parseTree(b[at:], off+int64(at)); ok {
				e.tree(t)
			}
		}
	}
}

// vouchedInode is the record at the beginning of b if its checksum is right, which
// tells its length too.
func vouchedInode(b []byte) []byte {
	if b[4] != 3 {
		return nil
	}
	for n := 2 * minInode; n <= maxInode && n <= len(b); n *= 2 {
		if vouched(b[:n], inodeCRC) {
			return b[:n]
		}
	}
	return nil
}
