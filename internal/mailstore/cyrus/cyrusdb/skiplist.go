package cyrusdb

import "encoding/binary"

// The skiplist format of Cyrus 2.x, all numbers big-endian and of 4 bytes
// (Cyrus, lib/cyrusdb_skiplist.c). It has no checksums.
//
//	header: magic 20, version, minor version, highest level, current level,
//	        records, start of the log, time of the last recovery
//	record: type, key length, key, padding to 4, value length, value, padding
//	        to 4, pointers, all ones
//	delete: type, offset of the removed record
//	commit: type
const (
	skiplistMagic  = "\xa1\x02\x8b\x0dskiplist file\x00\x00\x00"
	skiplistHeader = 48
	skiplistLevels = 20
)

// The types of skiplist's records.
const (
	listInOrder = 1
	listAdd     = 2
	listDelete  = 4
	listCommit  = 255
	listDummy   = 257
)

// listRecord is one record of a skiplist file.
type listRecord struct {
	kind     uint32
	next     uint64 // level 0; of a delete record the offset of what was removed
	key, val []byte
	end      uint64
}

// decodeSkiplist walks the pointers of level 0, and reads the file from its
// beginning when that cannot be done.
func decodeSkiplist(b []byte) *DB {
	d := &DB{Format: Skiplist}
	d.walkSkiplist(b)
	if len(d.Damage) > 0 {
		d.Records = replaySkiplist(b)
	}
	return d
}

func (d *DB) walkSkiplist(b []byte) {
	at, seen := uint64(skiplistHeader), map[uint64]bool{}
	for {
		r, ok := readSkiplist(b, at)
		dummy := at == skiplistHeader
		switch {
		case !ok || dummy != (r.kind == listDummy) || !dummy && r.kind != listAdd && r.kind != listInOrder:
			d.damaged("the record at %d cannot be read", at)
			return
		case seen[at]:
			d.damaged("the records are linked in a ring")
			return
		}
		seen[at] = true
		if !dummy {
			d.Records = append(d.Records, Record{r.key, r.val})
		}
		if at = r.next; at == 0 {
			return
		}
	}
}

// replaySkiplist applies all records one after the other, as Cyrus's recovery
// does, and stops at the first that cannot be read.
func replaySkiplist(b []byte) []Record {
	f := found{}
	for at := uint64(skiplistHeader); ; {
		r, ok := readSkiplist(b, at)
		if !ok {
			return f.sorted()
		}
		switch r.kind {
		case listAdd, listInOrder:
			f[string(r.key)] = Record{r.key, r.val}
		case listDelete:
			if gone, ok := readSkiplist(b, r.next); ok && gone.key != nil {
				delete(f, string(gone.key))
			}
		}
		at = r.end
	}
}

func readSkiplist(b []byte, at uint64) (r listRecord, ok bool) {
	size := uint64(len(b))
	word := func() uint64 {
		if ok = ok && at <= size && size-at >= 4; !ok {
			return 0
		}
		n := binary.BigEndian.Uint32(b[at:])
		at += 4
		return uint64(n)
	}
	text := func() []byte {
		n := word()
		if padded := (n + 3) &^ 3; ok && size-at >= padded {
			at += padded
			return b[at-padded:][:n]
		}
		ok = false
		return nil
	}
	ok = true
	switch r.kind = uint32(word()); r.kind {
	case listCommit:
	case listDelete:
		r.next = word()
	case listAdd, listInOrder, listDummy:
		r.key, r.val = text(), text()
		r.next = word()
		for level, n := 1, r.next; ok && n != 0xffffffff; level++ {
			if level > skiplistLevels+1 {
				return r, false
			}
			n = word()
		}
	default:
		return r, false
	}
	r.end = at
	return r, ok
}
