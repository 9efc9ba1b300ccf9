package volume

import (
	"fmt"
	"slices"
)

const (
	// mostPartitions is how many a disk may have: eight times what GPT has room for
	// as it is made by all tools.
	mostPartitions = 1024
	// largestPartition in bytes is no disk's; a table that claims more is nonsense.
	largestPartition = 1 << 60
)

// A partition is an entry of a partition table.
type partition struct {
	number int
	Range
	raid bool // its type is that of Linux's software RAID
}

// An Entry is what a partition table says of a partition beside its place.
type Entry struct {
	Number int
	RAID   bool // its type is that of Linux's software RAID: fd, or A19D880F-05FC-4D3B-A006-743F0F84911E
}

// EntryOf gives what the table says of a volume that Partitions gave.
func EntryOf(v Volume) (e Entry, ok bool) {
	if s, is := v.(*section); is {
		e = s.entry
	}
	return e, e.Number > 0
}

// Content names what a volume begins with, as far as its first blocks say it; "":
// nobody knows.
func Content(v Volume) (string, error) { return contentAt(v, 0) }

// A table is a partition table that was read.
type table struct {
	kind  string // "GPT" or "MBR"
	parts []partition
	notes []string
	// protective: an MBR that is there for the sake of a GPT.
	protective bool
}

// Partitions gives the partitions of a disk, as its MBR or GPT tells them, in the
// order of their numbers, and what an operator should know about them. A disk
// without a table has none, and neither has one that holds a file system although an
// old table is left on it.
//
// A partition that runs past the end of the disk is as large as the table says; what
// is missing is unknown.
func Partitions(v Volume) ([]Volume, []string) {
	t, notes, err := readTable(v)
	if err != nil {
		return nil, []string{fmt.Sprintf("%s: its partition table cannot be read: %v", v.Name(), err)}
	}
	if t == nil {
		return nil, notes
	}
	var parts []Volume
	for _, p := range t.parts {
		if p.Off >= v.Size() {
			notes = append(notes, fmt.Sprintf("%s partition %d: all of its %d bytes lie behind the end of what there is; copy the disk whole", v.Name(), p.number, p.Len))
			continue
		}
		parts = append(parts, &section{v, p.Off, p.Len, fmt.Sprintf("%s partition %d", v.Name(), p.number), Entry{p.number, p.raid}})
		if p.End() > v.Size() {
			notes = append(notes, fmt.Sprintf("%s partition %d: its last %d bytes lie behind the end of what there is, and are unknown; copy the disk whole",
				v.Name(), p.number, p.End()-v.Size()))
		}
	}
	return parts, notes
}

// readTable finds the table that counts. It is nil where the volume has none.
func readTable(v Volume) (*table, []string, error) {
	sizes := []int64{512, 4096}
	if own := sectorOf(v); own > 0 {
		sizes = []int64{own}
	}
	gpt, err := readGPT(v, sizes)
	if err != nil {
		return nil, nil, err
	}
	mbr, err := readMBR(v, sizes)
	if err != nil {
		return nil, nil, err
	}
	tables := []*table{gpt, mbr}
	if mbr != nil && !mbr.protective {
		tables = []*table{mbr, gpt} // the GPT is a rest of former times
	}
	tables = slices.DeleteFunc(tables, func(t *table) bool { return t == nil })
	for _, t := range tables {
		if found, err := t.check(v); found || err != nil {
			return t, t.notes, err
		}
	}
	if len(tables) == 0 {
		return nil, nil, nil
	}
	// An old table below a new file system, or a new table with nothing in it yet?
	t := tables[0]
	straight, err := contentAt(v, 0)
	if straight != "" {
		return nil, []string{fmt.Sprintf("%s: it holds %s; an old %s partition table on it is left alone", v.Name(), straight, t.kind)}, err
	}
	return t, t.notes, err
}

// check takes out what makes no sense, and tells whether anything known begins where
// one of the partitions does.
func (t *table) check(v Volume) (bool, error) {
	t.parts, t.notes = apart(v, t, t.notes)
	return anyContent(v, t.parts)
}

// anyContent tells whether anything that is known begins where a partition does. A
// copy of the superblock with which the disk itself begins does not count.
func anyContent(v Volume, parts []partition) (bool, error) {
	var own, there [xfsIdentity]byte
	if _, err := v.ReadAt(own[:], 0); err != nil {
		return false, err
	}
	for _, p := range parts {
		content, err := contentAt(v, p.Off)
		if err == nil && content == contentXFS {
			_, err = v.ReadAt(there[:], p.Off)
		}
		if err != nil || content != "" && (content != contentXFS || own != there) {
			return err == nil, err
		}
	}
	return false, nil
}

// apart leaves out partitions that make no sense and those that overlap an earlier
// one: no byte is looked at twice.
func apart(v Volume, t *table, notes []string) ([]partition, []string) {
	var kept []partition
	var taken Ranges
	for _, p := range t.parts {
		switch {
		case p.Off <= 0 || p.Len <= 0 || p.Off > largestPartition || p.Len > largestPartition:
			notes = append(notes, fmt.Sprintf("%s partition %d: %d bytes at %d make no sense, it is left out", v.Name(), p.number, p.Len, p.Off))
		case len(taken.over(p.Range)) > 0:
			notes = append(notes, fmt.Sprintf("%s partition %d: it overlaps an earlier one and is left out; cut it out of the image to look at it", v.Name(), p.number))
		default:
			taken = taken.insert(p.Range)
			kept = append(kept, p)
		}
	}
	return kept, notes
}

// readExact reads bytes of a table. ok tells whether all of them are known.
func readExact(v Volume, off int64, n int64) (b []byte, ok bool, err error) {
	if off < 0 || off > v.Size()-n {
		return nil, false, nil
	}
	b = make([]byte, n)
	unknown, err := v.ReadAt(b, off)
	return b, len(unknown) == 0, err
}
