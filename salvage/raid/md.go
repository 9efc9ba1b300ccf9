package raid

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"salvor/salvage/volume"
)

const (
	mdMagic = 0xa92b4efc
	mdBytes = 4096 // of a superblock, with room to spare in version 1

	// maxMembers is more than md takes (384), so that a nonsense number costs
	// nothing.
	maxMembers = 512
	maxChunk   = 1 << 30 // bytes
	maxSize    = 1 << 60 // bytes, of anything a superblock claims
)

// What a member is to its array, beside a number of its slot.
const (
	roleSpare   = -1
	roleFaulty  = -2
	roleJournal = -3
)

// A super is a superblock of md, all sizes in bytes.
type super struct {
	version string // "0.90", "1.0", "1.1", "1.2"
	at      int64  // where it is
	uuid    [16]byte
	name    string
	ctime   int64 // seconds
	utime   int64
	events  uint64

	level  Level // "" for one that is not supported; then levelNumber tells
	number int   // of the level, as md counts
	layout int
	chunk  int64
	room   int64 // that the array uses of every member; 0 where every member has its own
	disks  int   // slots

	role     int
	device   string // identifies the member, whatever its copies are called
	index    int    // of the member in roles
	roles    []int  // what this superblock thinks of all members, by index
	start    int64  // of the data
	own      int64  // room of this member
	rebuilt  int64  // from here on a rebuild had not come; -1 if it had, or there was none
	catchUp  bool   // it was being brought up to date by the bitmap
	dirty    bool   // the array was not shut down cleanly, or never synchronised
	reshape  bool
	bad      []volume.Range // in the data
	features uint32
}

// readSuper finds the superblock of a member: that of the youngest array, if it has
// several from several lives. It gives nil for a volume without.
func readSuper(v volume.Volume) (best *super, notes []string) {
	p := make([]byte, mdBytes)
	for _, place := range []struct {
		at     int64
		decode func(p []byte, at int64) *super
	}{
		{4096, func(p []byte, at int64) *super { return decode1(p, at, "1.2") }},
		{0, func(p []byte, at int64) *super { return decode1(p, at, "1.1") }},
		{(v.Size()/512 - 16) &^ 7 * 512, func(p []byte, at int64) *super { return decode1(p, at, "1.0") }},
		{v.Size()&^(64<<10-1) - 64<<10, decode0},
	} {
		if place.at < 0 || place.at+mdBytes > v.Size() {
			continue
		}
		unknown, err := v.ReadAt(p, place.at)
		if err != nil || len(unknown) > 0 {
			continue
		}
		s := place.decode(p, place.at)
		switch {
		case s == nil:
			continue
		case best == nil:
			best = s
		default:
			old := s
			if s.ctime > best.ctime {
				best, old = s, best
			}
			notes = append(notes, fmt.Sprintf("%s: the superblock %s of an older array %s is left over", v.Name(), old.version, old.id()))
		}
	}
	if best != nil && best.version != "0.90" {
		best.readBad(v, p)
	}
	return best, notes
}

// id writes the array's UUID as mdadm does.
func (s *super) id() string {
	h := hex.EncodeToString(s.uuid[:])
	return h[:8] + ":" + h[8:16] + ":" + h[16:24] + ":" + h[24:]
}

// sane refuses numbers that no array has; a checksum guards against accidents only.
func (s *super) sane() bool {
	return s.disks > 0 && s.disks <= maxMembers &&
		s.chunk >= 0 && s.chunk <= maxChunk && s.chunk%512 == 0 &&
		s.room >= 0 && s.room <= maxSize &&
		s.start >= 0 && s.start <= maxSize &&
		s.own >= 0 && s.own <= maxSize &&
		s.role < s.disks
}

// believes says whether this superblock counts another member as active.
func (s *super) believes(other *super) bool {
	return other.index >= 0 && other.index < len(s.roles) &&
		s.roles[other.index] >= 0 && s.roles[other.index] == other.role
}

// active says which slots this superblock counts as served.
func (s *super) active() map[int]bool {
	slots := map[int]bool{}
	for _, r := range s.roles {
		if r >= 0 && r < s.disks {
			slots[r] = true
		}
	}
	return slots
}

// newest is the superblock that knows last what happened: most events, then the
// latest change.
func newest(supers []*super) *super {
	return slices.MaxFunc(supers, func(a, b *super) int {
		switch {
		case a.events != b.events:
			return cmpUint(a.events, b.events)
		default:
			return cmpUint(uint64(a.utime), uint64(b.utime))
		}
	})
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// decode0 reads a superblock of version 0.90 (mdp_super_t of md_p.h), which is in
// the byte order of the machine that made it.
func decode0(p []byte, at int64) *super {
	if len(p) < mdBytes {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(p) != mdMagic {
		order = binary.BigEndian
	}
	word := func(i int) uint32 { return order.Uint32(p[4*i:]) }
	if word(0) != mdMagic || word(1) != 0 || word(38) != sum0(p, order) {
		return nil
	}
	minor := word(2)
	if minor != 90 && minor != 91 {
		return nil
	}
	s := &super{
		version: "0.90", at: at,
		ctime: int64(word(6)), utime: int64(word(32)),
		number: int(int32(word(7))), layout: int(word(64)), chunk: int64(word(65)),
		room: int64(word(8)) << 10, own: int64(word(8)) << 10,
		disks: int(min(word(10), maxMembers+1)), role: roleSpare, index: int(min(word(992), maxMembers)),
		rebuilt: -1,
		dirty:   word(33)&1 == 0,
		reshape: minor == 91,
	}
	s.level = levels[s.number]
	low, high := 39, 40
	if order == binary.BigEndian {
		low, high = high, low
	}
	s.events = uint64(word(high))<<32 | uint64(word(low))
	// mdadm prints the words as numbers.
	for i, w := range []int{5, 13, 14, 15} {
		binary.BigEndian.PutUint32(s.uuid[4*i:], word(w))
	}
	s.roles = make([]int, 27)
	for i := range s.roles {
		s.roles[i] = role0(word(128+32*i+3), word(128+32*i+4))
	}
	s.role = role0(word(992+3), word(992+4))
	if s.level == RAID0 || s.level == Linear {
		// Every member has its own size, which is what is before the superblock.
		s.room, s.own = 0, at
	}
	s.device = fmt.Sprint("number ", s.index)
	if !s.sane() {
		return nil
	}
	return s
}

// role0 gives a member's role of its descriptor.
func role0(slot, state uint32) int {
	const faulty, active, sync, removed = 1, 2, 4, 8
	switch {
	case state&(faulty|removed) != 0:
		return roleFaulty
	case state&(active|sync) == active|sync && slot < maxMembers:
		return int(slot)
	}
	return roleSpare
}

// sum0 is the sum of all words but the sum itself, folded once.
func sum0(p []byte, order binary.ByteOrder) uint32 {
	sum := uint64(0)
	for i := 0; i < mdBytes; i += 4 {
		if i != 38*4 {
			sum += uint64(order.Uint32(p[i:]))
		}
	}
	return uint32(sum) + uint32(sum>>32)
}
