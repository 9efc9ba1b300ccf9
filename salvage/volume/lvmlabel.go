package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// A physical volume of LVM, as its label tells it (lib/format_text/layout.h and
// lib/label/label.h of LVM2).
type physical struct {
	volume Volume
	index  int // of the volume among those that were given
	id     string
	areas  []Range // of metadata
	lost   bool    // its label is, and so is its id
	top    *lvmSection
}

const (
	lvmSector     = 512 // whatever the disk's are
	lvmLabels     = 4   // sectors that may hold the label
	mostLVMAreas  = 8
	mostLVMText   = 8 << 20
	lvmIDLen      = 32
	lvmFirstSum   = 0xf597a6cf // what LVM's checksums begin with
	lvmAreaMagic  = " LVM2 x[5A%r0N*>"
	lvmAreaHeader = 512
)

// lvmSum is LVM's checksum: a CRC-32 without the last inversion, begun differently.
func lvmSum(b []byte) uint32 {
	return ^crc32.Update(^uint32(lvmFirstSum), crc32.IEEETable, b)
}

// readPhysical reads the label; nil where the volume has none.
func readPhysical(v Volume) (*physical, error) {
	var head [lvmLabels * lvmSector]byte
	if _, err := v.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	for i := range int64(lvmLabels) {
		b := head[i*lvmSector:][:lvmSector]
		if string(b[:8]) == "LABELONE" && string(b[24:32]) == "LVM2 001" &&
			binary.LittleEndian.Uint32(b[16:]) == lvmSum(b[20:]) {
			return parseLabel(v, b), nil
		}
	}
	return nil, nil
}

// parseLabel reads the header of the physical volume behind the label: its id, its
// size, then two lists of areas, of data and of metadata, each closed by an empty one.
func parseLabel(v Volume, b []byte) *physical {
	le := binary.LittleEndian
	at := int(le.Uint32(b[20:]))
	if at < 32 || at > lvmSector-lvmIDLen-8 {
		return nil
	}
	p := &physical{volume: v, id: string(b[at : at+lvmIDLen])}
	list := 0
	for at += lvmIDLen + 8; at+16 <= len(b) && list < 2; at += 16 {
		off, size := le.Uint64(b[at:]), le.Uint64(b[at+8:])
		if off == 0 {
			list++
		} else if list == 1 && off < uint64(v.Size()) && size > lvmAreaHeader && size < largestPartition && len(p.areas) < mostLVMAreas {
			p.areas = append(p.areas, Range{int64(off), int64(size)})
		}
	}
	return p
}

// metadata gives the newest text that one of the areas holds; one that was found
// elsewhere, and may be older, where they are damaged. A volume that belongs to no
// group has none, and no error.
func (p *physical) metadata() (best *lvmSection, old bool, trouble error) {
	if p.lost {
		return p.top, true, nil
	}
	for _, area := range p.areas {
		text, err := p.text(area)
		if err != nil {
			trouble = err
			continue
		}
		if text == nil {
			continue
		}
		top, err := parseLVM(text)
		if err == nil && lvmGroup(top).text("id") == "" {
			err = errors.New("it names no group")
		}
		if err != nil {
			trouble = err
		} else if best == nil || newer(top, best) {
			best = top
		}
	}
	if best == nil && trouble != nil {
		if top, err := olderText(p.volume); top != nil && err == nil {
			return top, true, nil
		}
	}
	return best, false, trouble
}

// newer compares the sequence numbers of two metadata.
func newer(a, b *lvmSection) bool { return lvmGroup(a).number("seqno") > lvmGroup(b).number("seqno") }

// lvmGroup is the section of the volume group, which is named by its name.
func lvmGroup(top *lvmSection) *lvmSection {
	if len(top.sections) == 0 {
		return &lvmSection{}
	}
	return top.sections[0]
}

// text reads the metadata of one area; nil where it never held any. An area is a
// ring behind its header of one sector, so the text may go on at the beginning.
func (p *physical) text(area Range) ([]byte, error) {
	b, known, err := readExact(p.volume, area.Off, lvmAreaHeader)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if !known || string(b[4:20]) != lvmAreaMagic || le.Uint32(b) != lvmSum(b[4:]) {
		return nil, fmt.Errorf("the header of the metadata at %d is damaged", area.Off)
	}
	off, size, sum, flags := le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint32(b[56:]), le.Uint32(b[60:])
	if off == 0 || flags&1 != 0 { // RAW_LOCN_IGNORED
		return nil, nil
	}
	if off < lvmAreaHeader || off >= uint64(area.Len) || size > mostLVMText || size > uint64(area.Len-lvmAreaHeader) {
		return nil, fmt.Errorf("the metadata at %d claims %d bytes at %d of them", area.Off, size, off)
	}
	first := min(int64(size), area.Len-int64(off))
	text, known, err := readExact(p.volume, area.Off+int64(off), first)
	if err == nil && first < int64(size) {
		rest, restKnown, restErr := readExact(p.volume, area.Off+lvmAreaHeader, int64(size)-first)
		text, known, err = append(text, rest...), known && restKnown, restErr
	}
	if err != nil {
		return nil, err
	}
	if !known || lvmSum(text) != sum {
		return nil, fmt.Errorf("the metadata at %d is damaged", area.Off+int64(off))
	}
	return bytes.TrimRight(text, "\x00"), nil
}

// plainID is an id as the label has it: without the dashes of the text.
func plainID(id string) string { return strings.ReplaceAll(id, "-", "") }
