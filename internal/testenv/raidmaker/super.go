package raidmaker

import (
	"encoding/binary"
	"fmt"
)

// Roles of members that serve no slot.
const (
	Spare   = 0xffff
	Faulty  = 0xfffe
	Journal = 0xfffd
)

// A Super is what is written into a member's superblock. Sizes are bytes.
type Super struct {
	Version string // "0.90", "0.90be" (by a big-endian machine), "1.0", "1.1", "1.2"
	Spec    Spec
	UUID    [16]byte
	Name    string // version 1 only
	Created int64  // seconds
	Updated int64
	Events  uint64
	Room    int64 // of every member that the array uses
	Own     int64 // of this member; Room if 0
	Number  int   // of this member among all that ever were
	Roles   []int // by number: slot, Spare, Faulty, Journal
	Device  [16]byte
	Dirty   bool
	// Version 1 only: features to claim beside those that follow from the rest,
	// how far a rebuild has come (with feature 2), and sectors known to be bad as
	// pairs of place and length.
	Features  uint32
	Recovered int64
	Bad       [][2]int64
}

// Place is where the superblock goes in a member of so many bytes.
func (s Super) Place(size int64) int64 {
	switch s.Version {
	case "1.1":
		return 0
	case "1.2":
		return 4096
	case "1.0":
		return (size/512 - 16) / 8 * 8 * 512
	}
	return size/65536*65536 - 65536
}

// Write puts the superblock into a member.
func (s Super) Write(member []byte) {
	at := s.Place(int64(len(member)))
	switch s.Version {
	case "0.90":
		s.old(member[at:at+4096], binary.LittleEndian)
	case "0.90be":
		s.old(member[at:at+4096], binary.BigEndian)
	case "1.0", "1.1", "1.2":
		s.new(member, at)
	default:
		panic(fmt.Sprintf("superblock version %q cannot be made", s.Version))
	}
}

// old writes version 0.90, 1024 words of which this sets the meaningful ones.
func (s Super) old(p []byte, order binary.ByteOrder) {
	clear(p)
	set := func(word int, v uint32) { order.PutUint32(p[word*4:], v) }
	minor := uint32(90)
	if s.Features&4 != 0 {
		minor = 91
	}
	for word, v := range map[int]uint32{
		0: 0xa92b4efc, 2: minor, 6: uint32(s.Created), 7: uint32(int32(s.Spec.Level)),
		8: uint32(s.Room / 1024), 9: uint32(len(s.Roles)), 10: uint32(s.Spec.Disks),
		32: uint32(s.Updated), 64: uint32(s.Spec.Layout), 65: uint32(s.Spec.Chunk),
	} {
		set(word, v)
	}
	for i, word := range []int{5, 13, 14, 15} {
		set(word, binary.BigEndian.Uint32(s.UUID[4*i:]))
	}
	if !s.Dirty {
		set(33, 1)
	}
	low, high := 39, 40
	if order == binary.BigEndian {
		low, high = 40, 39
	}
	set(low, uint32(s.Events))
	set(high, uint32(s.Events>>32))
	active := uint32(0)
	for number, role := range s.Roles {
		s.descriptor(p[(128+32*number)*4:], order, number, role)
		if role < Journal {
			active++
		}
	}
	set(34, active)
	set(35, active)
	set(36, uint32(len(s.Roles))-active)
	s.descriptor(p[992*4:], order, s.Number, s.Roles[s.Number])
	sum := uint64(0)
	for i := 0; i < 4096; i += 4 {
		sum += uint64(order.Uint32(p[i:]))
	}
	set(38, uint32(sum)+uint32(sum>>32))
}

func (s Super) descriptor(p []byte, order binary.ByteOrder, number, role int) {
	state, slot := uint32(6), uint32(role) // active, in sync
	switch role {
	case Spare:
		state, slot = 0, uint32(number)
	case Faulty:
		state, slot = 1, uint32(number)
	}
	for i, v := range []uint32{uint32(number), 8, uint32(16 * number), slot, state} {
		order.PutUint32(p[4*i:], v)
	}
}

// new writes version 1.
func (s Super) new(member []byte, at int64) {
	const badLog = 16 // sectors behind the superblock
	p := member[at : at+4096]
	clear(p)
	le := binary.LittleEndian
	features := s.Features
	own := s.Own
	if own == 0 {
		own = s.Room
	}
	resync := uint64(1<<64 - 1)
	if s.Dirty {
		resync = 0
	}
	if len(s.Bad) > 0 {
		features |= 8
		le.PutUint16(p[186:], 8)
		le.PutUint32(p[188:], badLog)
		s.badBlocks(member[at+badLog*512:][:8*512])
	}
	if s.Spec.Level == 0 {
		features |= 4096
	}
	for off, v := range map[int]uint32{
		0: 0xa92b4efc, 4: 1, 8: features, 72: uint32(int32(s.Spec.Level)), 76: uint32(s.Spec.Layout),
		88: uint32(s.Spec.Chunk / 512), 92: uint32(s.Spec.Disks), 160: uint32(s.Number), 220: uint32(len(s.Roles)),
	} {
		le.PutUint32(p[off:], v)
	}
	for off, v := range map[int]uint64{
		64: uint64(s.Created), 80: uint64(s.Room / 512), 128: uint64(s.Spec.DataOffset / 512), 136: uint64(own / 512),
		144: uint64(at / 512), 192: uint64(s.Updated), 200: s.Events, 208: resync,
	} {
		le.PutUint64(p[off:], v)
	}
	if features&2 != 0 {
		le.PutUint64(p[152:], uint64(s.Recovered/512))
	}
	copy(p[16:32], s.UUID[:])
	copy(p[32:64], s.Name)
	copy(p[168:184], s.Device[:])
	for i, role := range s.Roles {
		le.PutUint16(p[256+2*i:], uint16(role))
	}
	sum, size := uint64(0), 256+2*len(s.Roles)
	for i := 0; i+4 <= size; i += 4 {
		sum += uint64(le.Uint32(p[i:]))
	}
	if size%4 == 2 {
		sum += uint64(le.Uint16(p[size-2:]))
	}
	le.PutUint32(p[216:], uint32(sum)+uint32(sum>>32))
}

func (s Super) badBlocks(log []byte) {
	for i := range log {
		log[i] = 0xff
	}
	for i, b := range s.Bad {
		binary.LittleEndian.PutUint64(log[8*i:], uint64(b[0])<<10|uint64(b[1]))
	}
}
