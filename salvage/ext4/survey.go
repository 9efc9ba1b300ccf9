package ext4

import (
	"bytes"
	"context"
	"encoding/binary"

	"salvor/salvage/volume"
)

// Bounds of what a survey keeps. Of each kind of thing it keeps some of each stretch
// of the volume, so that every file system on a disk has its say.
const (
	surveyStep    = 1 << 20 // bytes that are read at once
	surveySector  = 512     // file systems begin at multiples of it
	surveyStretch = 16 << 20
	perStretch    = 64
	mostSightings = 1 << 15 // of each kind
	mostRoots     = 1 << 10 // places where superblocks say that their file system begins
	mostBytes     = 1 << 60 // of a file system that is believed
)

// A survey is what one pass over a volume has seen of ext file systems, wherever
// they begin.
type survey struct {
	roots    []root
	dirs     sightings // inodes of directories
	files    sightings // inodes of files
	dots     sightings // first blocks of directories
	journals []journalAt
	plain    *FS // for the shape of inodes
}

// A root is a place where superblocks say that their file system begins.
type root struct {
	base  int64 // bytes from the volume's beginning
	super Super // Off and Group are those of the first that says so
}

// A journalAt is the first block of a journal.
type journalAt struct {
	off, block, size int64 // bytes
}

// A sighting is something that was seen, with the bytes of its record.
type sighting struct {
	off int64
	raw record
}

// sightings are by place. room is how many more the present stretch may have.
type sightings struct {
	all     []sighting
	stretch int64
	room    int
}

func (s *sightings) add(off int64, raw []byte) {
	if at := off / surveyStretch; at != s.stretch || len(s.all) == 0 {
		s.stretch, s.room = at, perStretch
	}
	if s.room > 0 && len(s.all) < mostSightings {
		s.room--
		s.all = append(s.all, sighting{off, bytes.Clone(raw)})
	}
}

// surveyAll reads a volume once, and keeps what may tell where file systems begin.
func surveyAll(ctx context.Context, v volume.Volume) (*survey, error) {
	s := &survey{plain: Guess(v, minBlock)}
	buf := make([]byte, surveyStep+maxBlock)
	for off := int64(0); off < v.Size(); off += surveyStep {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		off = max(volume.NextData(v, off), volume.NextKnown(v, off)) &^ (surveySector - 1)
		if off >= v.Size() {
			break
		}
		b := buf[:min(int64(len(buf)), v.Size()-off)]
		if _, err := v.ReadAt(b, off); err != nil {
			return nil, err
		}
		for at := 0; at < min(surveyStep, len(b)); at += surveySector {
			s.look(b[at:], off+int64(at))
		}
	}
	return s, nil
}

// look looks at one sector; b goes on behind it. Nearly all sectors have to leave
// it after a handful of comparisons.
func (s *survey) look(b []byte, off int64) {
	if len(b) < surveySector {
		return
	}
	switch first := binary.LittleEndian.Uint64(b); {
	case binary.LittleEndian.Uint16(b[0x38:]) == superMagic:
		if p, err := parseSuper(b, off); err == nil {
			s.super(p)
		}
	case uint32(first) == journalMark:
		s.journal(b, off)
	case first>>32 == 0x0001000C && b[8] == '.' || first>>32 == 0x0201000C && b[8] == '.':
		if self, up := (&walker{f: s.plain, block: b[:surveySector]}).dots(); self != 0 && up != 0 {
			s.dots.add(off, nil)
			return
		}
	}
	for at := 0; at < surveySector; at += oldInode {
		if flags := binary.LittleEndian.Uint32(b[at+0x20:]); flags&flagsNever == 0 && b[at+0x1A]|b[at+0x1B] != 0 {
			s.inode(b[at:min(at+2*oldInode, len(b))], off+int64(at))
		}
	}
}

// inode keeps a record of a file or a directory that is there, and says where its
// first block is.
func (s *survey) inode(b []byte, off int64) {
	r := record(b)
	if k := r.kind(); k != modeDirectory && k != modeRegular || !maybe(r) || r.deletedAt() != 0 || r.size() == 0 {
		return
	}
	if r.links() > 65000 || r.u32(0x10) < 1<<28 || r.u32(0x0C) < 1<<28 {
		return
	}
	shape := unlike
	switch {
	case r.flags()&(flagInline|flagEncrypted|flagCompressed) != 0:
	case r.extents():
		shape = s.plain.likeExtents(r)
	default:
		shape = s.plain.likePlain(r)
	}
	if _, ok := r.blockAt(0); !ok || shape != surely {
		return
	}
	if r.kind() == modeDirectory {
		s.dirs.add(off, r)
	} else {
		s.files.add(off, r)
	}
}

// blockAt is the number of the block that holds a part of a file, counted in blocks,
// if its record itself says so.
func (r record) blockAt(part uint64) (uint64, bool) {
	m := r.blockMap()
	if !r.extents() {
		if part >= directBlocks {
			return 0, false
		}
		place := uint64(binary.LittleEndian.Uint32(m[4*part:]))
		return place, place != 0
	}
	h := header(m)
	if h.depth() != 0 {
		return 0, false
	}
	for i := range min(int(h.entries()), 4) {
		logical, length, place, unwritten := piece(h.entry(i))
		if at := int64(part) - logical; at >= 0 && at < length && place != 0 && !unwritten {
			return place + uint64(at), true
		}
	}
	return 0, false
}

// super keeps where a superblock says that its file system begins.
func (s *survey) super(p *Super) {
	if p.Blocks > mostBytes/uint64(p.BlockSize) {
		return
	}
	base := p.Off - superSize
	if p.Group > 0 {
		start := p.start(uint32(p.Group))
		if start > uint64(p.Off/p.BlockSize) {
			return
		}
		base = p.Off - int64(start)*p.BlockSize
	}
	if base < 0 {
		return
	}
	for i := range s.roots {
		if r := &s.roots[i]; r.base == base && r.super.sameLayout(p) {
			r.super.Copies++
			r.super.Sure = r.super.Sure || p.Sure
			return
		}
	}
	if len(s.roots) < mostRoots {
		s.roots = append(s.roots, root{base, *p})
	}
}

// journal keeps where a journal begins.
func (s *survey) journal(b []byte, off int64) {
	size := int64(binary.BigEndian.Uint32(b[0x0C:]))
	if size < minBlock || size > int64(len(b)) || len(s.journals) >= maxJournals {
		return
	}
	if j, err := parseJournal(b[:size]); err == nil {
		s.journals = append(s.journals, journalAt{off, size, int64(j.blocks) * size})
	}
}
