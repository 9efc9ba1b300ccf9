package volume

import (
	"encoding/binary"
	"fmt"
)

// Types of partitions in an MBR.
const (
	mbrEmpty      = 0x00
	mbrProtective = 0xEE // the disk has a GPT
	mbrRAID       = 0xFD // Linux's software RAID
	mbrEntries    = 446  // where the four entries begin
)

// An mbrEntry is one of the four of a table, in sectors.
type mbrEntry struct {
	kind         byte
	start, count uint32
}

func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0F || e.kind == 0x85 }

func (e mbrEntry) used() bool { return e.kind != mbrEmpty && e.count > 0 }

func (e mbrEntry) in(sector int64) Range {
	return Range{int64(e.start) * sector, int64(e.count) * sector}
}

// parseMBR reads the four entries of a sector that ends in 55 AA. ok tells whether
// they can be entries: other boot sectors end in 55 AA, too.
func parseMBR(b []byte) (entries [4]mbrEntry, ok bool) {
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xAA {
		return entries, false
	}
	for i := range entries {
		e := b[mbrEntries+16*i:]
		if e[0]&0x7F != 0 {
			return entries, false
		}
		entries[i] = mbrEntry{e[4], binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])}
		if entries[i].used() {
			ok = true
		}
	}
	return entries, ok
}

// readMBR reads the table in the first sector. The table counts in sectors and does
// not say how large they are: whatever makes partitions begin with something known
// is right.
func readMBR(v Volume, sizes []int64) (*table, error) {
	first, _, err := readExact(v, 0, 512)
	if err != nil {
		return nil, err
	}
	entries, ok := parseMBR(first)
	if !ok || !plausible(entries, sizes[0], v.Size()) {
		return nil, nil
	}
	var best *table
	for _, sector := range sizes {
		t, err := mbrTable(v, entries, sector)
		if err != nil {
			return nil, err
		}
		found, err := anyContent(v, t.parts)
		if err != nil {
			return nil, err
		}
		if best == nil || found {
			best = t
		}
		if found {
			break
		}
	}
	return best, nil
}

// plausible refuses entries that overlap, and those of which none begins on the disk.
func plausible(entries [4]mbrEntry, sector, size int64) bool {
	var taken Ranges
	begins := false
	for _, e := range entries {
		if !e.used() {
			continue
		}
		r := e.in(sector)
		if e.start == 0 && e.kind != mbrProtective || len(taken.over(r)) > 0 {
			return false
		}
		taken = taken.insert(r)
		begins = begins || r.Off < size
	}
	return begins
}

func mbrTable(v Volume, entries [4]mbrEntry, sector int64) (*table, error) {
	t := &table{kind: "MBR"}
	for i, e := range entries {
		switch {
		case !e.used():
		case e.kind == mbrProtective:
			t.protective = true
			t.notes = append(t.notes, fmt.Sprintf("%s: it had a GPT, of which neither copy is left; partition it by hand (losetup --offset) if nothing is found", v.Name()))
		case !e.extended():
			t.parts = append(t.parts, partition{i + 1, e.in(sector), e.kind == mbrRAID})
		}
	}
	for _, e := range entries {
		if e.used() && e.extended() {
			return t, t.logical(v, e.in(sector), sector)
		}
	}
	return t, nil
}

// logical follows the chain of tables in an extended partition. Each holds a
// logical partition, counted from the table itself, and the place of the next
// table, counted from the beginning of the extended partition. The chain only
// goes on to where it has not been.
func (t *table) logical(v Volume, extended Range, sector int64) error {
	seen := map[int64]bool{}
	at := extended.Off
	for number := 5; ; number++ {
		if seen[at] || len(seen) >= mostPartitions {
			t.notes = append(t.notes, fmt.Sprintf("%s: the chain of its logical partitions runs in a circle after partition %d", v.Name(), number-1))
			return nil
		}
		seen[at] = true
		b, known, err := readExact(v, at, 512)
		if err != nil {
			return err
		}
		entries, ok := parseMBR(b)
		if !known || !ok {
			t.notes = append(t.notes, fmt.Sprintf("%s: the chain of its logical partitions is broken at %d, after partition %d; what follows is not found by it", v.Name(), at, number-1))
			return nil
		}
		if e := entries[0]; e.used() {
			r := e.in(sector)
			t.parts = append(t.parts, partition{number, Range{at + r.Off, r.Len}, e.kind == mbrRAID})
		}
		next := entries[1]
		if !next.used() || !next.extended() {
			return nil
		}
		at = extended.Off + next.in(sector).Off
		if at >= extended.End() {
			t.notes = append(t.notes, fmt.Sprintf("%s: the chain of its logical partitions leaves the extended one after partition %d", v.Name(), number))
			return nil
		}
	}
}
