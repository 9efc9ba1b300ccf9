package xfs

import "salvor/salvage/fsys"

// searchRoot bounds where a root directory's inode is looked for, in bytes from
// the beginning of the file system: mkfs.xfs puts it behind the heads of the first
// group.
const searchRoot = 4 << 20

// findRoot looks for the root directory, which is the one that is its own parent. Not
// every superblock's copy knows it.
func (f *FS) findRoot(g *geometry) (uint64, error) {
	if !g.mapped() {
		return 0, nil
	}
	from := max(0, -g.base) // what is before the volume's beginning is gone
	b := make([]byte, max(0, min(searchRoot, g.agBlocks*g.block)-from))
	if _, err := f.v.ReadAt(b, g.base+from); err != nil {
		return 0, f.readError(g.base+from, err)
	}
	for at := -from & (g.inode - 1); at+g.inode <= int64(len(b)); at += g.inode {
		in, ok := parseInode(b[at : at+g.inode])
		if !ok || in.fileType() != fsys.Directory {
			continue
		}
		number := g.number(g.base + from + at)
		if f.parentOf(g, &in) == number {
			return number, nil
		}
	}
	return 0, nil
}

// parentOf is a directory's parent, 0 where it cannot be seen.
func (f *FS) parentOf(g *geometry, in *inode) uint64 {
	switch in.format {
	case formatLocal:
		sd, _ := parseShort(in.fork, in.version == 3 || g.ftype, g)
		return sd.up
	case formatExtents:
		m := mapper{g: g}
		e, ok := m.extent(unpackRun(in.fork))
		b := make([]byte, minBlock)
		if !ok {
			return 0
		}
		if _, err := f.v.ReadAt(b, e.Off); err != nil {
			return 0
		}
		if h, ok := parseDirHead(b); ok {
			return h.up
		}
	}
	return 0
}
