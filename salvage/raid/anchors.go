package raid

import (
	"encoding/binary"

	"salvor/salvage/volume"
)

// usualStarts are where data begins behind superblocks of md that are gone: not at
// all (0.90, 1.0, hardware), behind 264 and 272 sectors (1.1 and 1.2 of old
// mdadm), behind 1 MiB, and behind the gap that new mdadm leaves for a reshape.
var usualStarts = []int64{0, 1 << 20, 128 << 20, 129 << 20, 264 * 512, 272 * 512, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20, 130 << 20, 132 << 20, 256 << 20}

// startsScanned is how much of the beginning of a member is looked at for the
// beginning of a volume at other places, bytes.
const startsScanned = 8 << 20

// A start is a place in a member that looks like the beginning of a volume.
type start struct {
	member int
	at     int64 // bytes
	kind   string
}

// findStarts looks for what volumes begin with: file systems, partition tables.
func findStarts(members []volume.Volume) (found []start) {
	p := make([]byte, block)
	for i, m := range members {
		look := func(at int64) {
			if at+block > m.Size() {
				return
			}
			if unknown, err := m.ReadAt(p, at); err != nil || len(unknown) > 0 {
				return
			}
			if kind := beginning(p); kind != "" {
				found = append(found, start{i, at, kind})
			}
		}
		for at := int64(0); at < startsScanned; at += block {
			look(at)
		}
		for _, at := range usualStarts {
			if at >= startsScanned {
				look(at)
			}
		}
	}
	return found
}

// beginning says what begins with these bytes, "" for nothing known.
func beginning(p []byte) string {
	switch e := extAt(p[1024:]); {
	case e != nil && e.group == 0:
		return "ext"
	case xfsAt(p).begins(p):
		return "xfs"
	case string(p[512:520]) == "EFI PART":
		return "gpt"
	case string(p[512:520]) == "LABELONE":
		return "lvm"
	}
	return ""
}

// An ext is what inference wants of a superblock of ext2, 3 or 4.
type ext struct {
	group  int64 // whose copy it is
	first  int64 // the first block of group 0, bytes
	stride int64 // from group to group, bytes
	groups int64
	size   int64 // of the file system, bytes
}

func extAt(p []byte) *ext {
	le := binary.LittleEndian
	if le.Uint16(p[56:]) != 0xef53 || le.Uint32(p[24:]) > 6 {
		return nil
	}
	size := int64(1024) << le.Uint32(p[24:])
	blocks, per := int64(le.Uint32(p[4:])), int64(le.Uint32(p[32:]))
	if blocks == 0 || per == 0 || per > size*8 {
		return nil
	}
	return &ext{
		group: int64(le.Uint16(p[90:])), first: int64(le.Uint32(p[20:])&1) * size,
		stride: per * size, groups: (blocks + per - 1) / per, size: blocks * size,
	}
}

// An xfs is what inference wants of a superblock of XFS.
type xfs struct {
	stride int64 // from allocation group to allocation group, bytes
	groups int64
	sector int64 // bytes
	size   int64 // of the file system, bytes
}

// begins tells whether this is the first superblock of a volume and no copy of it at
// the head of another allocation group. The copies are alike, but the next sector
// says which group it is (agf_seqno).
func (x *xfs) begins(p []byte) bool {
	if x == nil {
		return false
	}
	if x.sector+12 > int64(len(p)) || string(p[x.sector:x.sector+4]) != "XAGF" {
		return true // nothing says that it is another
	}
	return binary.BigEndian.Uint32(p[x.sector+8:]) == 0
}

func xfsAt(p []byte) *xfs {
	be := binary.BigEndian
	size, sector := int64(be.Uint32(p[4:])), int64(be.Uint16(p[102:]))
	blocks, groups := int64(be.Uint32(p[84:])), int64(be.Uint32(p[88:]))
	if string(p[:4]) != "XFSB" || size < 512 || size > 64<<10 || sector < 512 || sector > 32<<10 || blocks == 0 || groups == 0 {
		return nil
	}
	return &xfs{stride: blocks * size, groups: groups, sector: sector, size: int64(min(be.Uint64(p[8:]), maxSize/uint64(size))) * size}
}

// maxAnchors is how many copies of superblocks are looked up to judge a candidate.
const maxAnchors = 24

// fits tells whether an array is as large as the file system that begins there, but for
// a row of chunks that copies of its members may lack.
func fits(v *Array) bool {
	p := make([]byte, block)
	if unknown, err := v.ReadAt(p, 0); err != nil || len(unknown) > 0 {
		return true
	}
	size := int64(0)
	if e, x := extAt(p[1024:]), xfsAt(p); e != nil && e.group == 0 {
		size = e.size
	} else if x.begins(p) {
		size = x.size
	}
	return size <= v.Size()+v.place.chunkSize()*int64(len(v.slots))
}

// anchors looks at the beginning of a volume, and where the file system that begins
// there has copies of its superblock. It gives how many are in their places, and
// how many are not though the place can be read.
func anchors(v volume.Volume) (right, wrong int) {
	p := make([]byte, block)
	read := func(at int64) bool {
		if at < 0 || at+block > v.Size() {
			return false
		}
		unknown, err := v.ReadAt(p, at)
		return err == nil && len(unknown) == 0
	}
	if !read(0) {
		return 0, 0
	}
	e, x, kind := extAt(p[1024:]), xfsAt(p), beginning(p)
	if kind == "" {
		return 0, 1
	}
	right = 1
	tally := func(ok bool) {
		if ok {
			right++
		} else {
			wrong++
		}
	}
	switch kind {
	case "ext":
		for _, g := range []int64{1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343} {
			if g < e.groups && read(e.first+g*e.stride) {
				c := extAt(p)
				tally(c != nil && c.group == g && c.stride == e.stride)
			}
		}
	case "xfs":
		for g := int64(1); g < min(x.groups, maxAnchors); g++ {
			if read(g * x.stride) {
				c := xfsAt(p)
				at := x.sector
				tally(c != nil && c.stride == x.stride && at+12 <= block &&
					string(p[at:at+4]) == "XAGF" && int64(binary.BigEndian.Uint32(p[at+8:])) == g)
			}
		}
	}
	return right, wrong
}
