package raid

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"salvor/salvage/volume"
)

// Features of superblocks of version 1 that matter here (MD_FEATURE_*).
const (
	featureRecovery    = 2   // this member was being rebuilt
	featureReshape     = 4   // the array was changing its shape
	featureBadBlocks   = 8   // the list of bad blocks is not empty
	featureCatchUp     = 128 // this member was being brought up to date by the bitmap
	featureRAID0Layout = 4096
)

// clean is the place a resync has come to when there is none (MaxSector).
const clean = 1<<64 - 1

// decode1 reads a superblock of version 1 (struct mdp_superblock_1 of md_p.h).
func decode1(p []byte, at int64, version string) *super {
	if len(p) < mdBytes {
		return nil
	}
	le := binary.LittleEndian
	u32 := func(i int) uint32 { return le.Uint32(p[i:]) }
	// sectors gives a number of sectors in bytes, -1 for more than anybody has.
	sectors := func(i int) int64 {
		if n := le.Uint64(p[i:]); n <= maxSize/512 {
			return int64(n) * 512
		}
		return -1
	}
	members := int(min(u32(220), mdBytes))
	if u32(0) != mdMagic || u32(4) != 1 || 256+2*members > mdBytes || u32(216) != sum1(p[:256+2*members]) {
		return nil
	}
	s := &super{
		version: version, at: at,
		ctime: int64(le.Uint64(p[64:]) & (1<<40 - 1)), utime: int64(le.Uint64(p[192:]) & (1<<40 - 1)),
		events: le.Uint64(p[200:]),
		number: int(int32(u32(72))), layout: int(u32(76)), chunk: int64(u32(88)) * 512,
		room: sectors(80), disks: int(min(u32(92), maxMembers+1)),
		start: sectors(128), own: sectors(136),
		index: int(min(u32(160), mdBytes)), rebuilt: -1,
		features: u32(8),
		dirty:    le.Uint64(p[208:]) != clean,
	}
	copy(s.uuid[:], p[16:32])
	name, _, _ := bytes.Cut(p[32:64], []byte{0})
	s.name = string(bytes.ToValidUTF8(name, []byte("?")))
	s.level = levels[s.number]
	s.device = hex.EncodeToString(p[168:184])
	s.reshape = s.features&featureReshape != 0
	s.catchUp = s.features&featureCatchUp != 0
	if s.features&featureRecovery != 0 {
		s.rebuilt = max(0, sectors(152))
	}
	for i := range members {
		s.roles = append(s.roles, role1(le.Uint16(p[256+2*i:])))
	}
	s.role = roleSpare
	if s.index < members {
		s.role = s.roles[s.index]
	}
	switch {
	case s.level == RAID0:
		s.room = 0
		if s.features&featureRAID0Layout == 0 {
			s.layout = zonesOriginal
		}
	case s.level == Linear:
		s.room = 0
	}
	if !s.sane() {
		return nil
	}
	return s
}

func role1(r uint16) int {
	switch {
	case r == 0xffff:
		return roleSpare
	case r == 0xfffd:
		return roleJournal
	case r >= maxMembers:
		return roleFaulty
	}
	return int(r)
}

// sum1 is the sum of all words but the sum itself, and of a half word at the end,
// folded once.
func sum1(p []byte) uint32 {
	sum := uint64(0)
	for i := 0; i+4 <= len(p); i += 4 {
		if i != 216 {
			sum += uint64(binary.LittleEndian.Uint32(p[i:]))
		}
	}
	if len(p)%4 == 2 {
		sum += uint64(binary.LittleEndian.Uint16(p[len(p)-2:]))
	}
	return uint32(sum) + uint32(sum>>32)
}

// maxBadLog is how much of a list of bad blocks is read, bytes; md's own limit is
// one page.
const maxBadLog = 64 << 10

// readBad reads the member's list of bad blocks: what md could not write there, so
// that what can be read there is old. p is the superblock.
func (s *super) readBad(v volume.Volume, p []byte) {
	if s.features&featureBadBlocks == 0 {
		return
	}
	if _, err := v.ReadAt(p, s.at); err != nil {
		return
	}
	at := s.at + int64(int32(binary.LittleEndian.Uint32(p[188:])))*512
	log := make([]byte, min(int64(binary.LittleEndian.Uint16(p[186:]))*512, maxBadLog))
	if at < 0 || at+int64(len(log)) > v.Size() {
		return
	}
	if _, err := v.ReadAt(log, at); err != nil {
		return
	}
	s.bad = decodeBad(log, p[185])
}

// decodeBad reads a list of bad blocks: 54 bits of place, 10 bits of length, in
// units of 512 << shift bytes; all ones end it.
func decodeBad(log []byte, step byte) (bad []volume.Range) {
	if step > 20 {
		return nil
	}
	unit := int64(512) << step
	for ; len(log) >= 8; log = log[8:] {
		e := binary.LittleEndian.Uint64(log)
		if e == 1<<64-1 {
			break
		}
		if place := int64(e >> 10); place < maxSize/unit {
			bad = append(bad, volume.Range{Off: place * unit, Len: int64(e&0x3ff) * unit})
		}
	}
	return tidy(bad)
}
