package cyrusdb

import (
	"encoding/binary"
	"hash/crc32"
)

// The twoskip format, all numbers big-endian (Cyrus, lib/cyrusdb_twoskip.c,
// "FORMAT"): a header of 64 bytes, then records.
//
//	header: magic 20, version 4, generation 8, records 8, repack size 8,
//	        current size 8, flags 4, CRC-32 of what stands before 4
//	record: type 1, level 1, key length 2, value length 4,
//	        [key length 8 when all ones], [value length 8 when all ones],
//	        pointers 8 x (level+1), CRC-32 of what stands before 4,
//	        CRC-32 of what follows 4, key, value, padding to 8
const (
	twoskipMagic  = "\xa1\x02\x8b\x0dtwoskip file\x00\x00\x00\x00"
	twoskipHeader = 64
	twoskipLevels = 31
	minRecord     = 24
)

// blank fills up pages between transactions.
const blank = " BLANK\x07\xa0"

// twoskipRecord is the type of records that hold a key and a value. The others
// are '=' for the first of all, '-' and '$' for the end of a transaction.
const twoskipRecord = '+'

// skipRecord is one record of a twoskip file.
type skipRecord struct {
	kind     byte
	next     [2]uint64 // the pointers of level 0, of which one may be from an unfinished transaction
	key, val []byte
	end      uint64 // offset of what follows
	whole    bool   // the CRC over key and value is right
}

// decodeTwoskip walks the pointers of level 0, and searches the file when that
// cannot be done.
func decodeTwoskip(b []byte) *DB {
	d := &DB{Format: Twoskip}
	if len(b) < twoskipHeader {
		d.damaged("the file ends inside its header")
		return d
	}
	count, size := binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[48:])
	switch {
	case crc32.ChecksumIEEE(b[:60]) != binary.BigEndian.Uint32(b[60:]):
		d.damaged("the header's checksum is wrong")
	case size > uint64(len(b)):
		d.damaged("the file has %d bytes of %d", len(b), size)
	default:
		d.walkTwoskip(b[:size], count)
	}
	if len(d.Damage) > 0 {
		d.Records = searchTwoskip(b)
	}
	return d
}

// walkTwoskip follows the pointers through the first part of the file, which
// is all that was committed.
func (d *DB) walkTwoskip(b []byte, count uint64) {
	for at, walked := uint64(twoskipHeader), uint64(0); walked <= uint64(len(b)); {
		r, ok := readTwoskip(b, at)
		switch {
		case !ok:
			d.damaged("the record at %d cannot be read", at)
			return
		case !r.whole:
			d.damaged("the checksum of the record at %d is wrong", at)
			return
		}
		if r.kind == twoskipRecord {
			d.Records = append(d.Records, Record{r.key, r.val})
		}
		walked += r.end - at
		if at = following(r.next, uint64(len(b))); at == 0 {
			if uint64(len(d.Records)) != count {
				d.damaged("%d records are linked, the header says %d", len(d.Records), count)
			}
			return
		}
	}
	d.damaged("the records are linked in a ring or overlap")
}

// following chooses between the two pointers of level 0: the higher one that
// was committed (lib/cyrusdb_twoskip.c, _getloc).
func following(next [2]uint64, end uint64) uint64 {
	if next[0] >= end {
		return next[1]
	}
	if next[1] >= end {
		return next[0]
	}
	return max(next[0], next[1])
}

// searchTwoskip finds all records whose checksums are right, wherever they
// stand. What was removed cannot be told: a delete record names only what
// follows the removed one.
func searchTwoskip(b []byte) []Record {
	f := found{}
	for at := uint64(twoskipHeader); at+minRecord <= uint64(len(b)); {
		if string(b[at:at+8]) == blank {
			at += 8
			continue
		}
		r, ok := readTwoskip(b, at)
		if !ok {
			at += 8
			continue
		}
		if r.kind == twoskipRecord && r.whole {
			f[string(r.key)] = Record{r.key, r.val}
		}
		at = r.end
	}
	return f.sorted()
}

// readTwoskip reads the record at an offset; ok means that its head is right.
func readTwoskip(b []byte, at uint64) (r skipRecord, ok bool) {
	size := uint64(len(b))
	if at > size || size-at < minRecord {
		return r, false
	}
	r.kind = b[at]
	level := uint64(b[at+1])
	keyLen, valLen := uint64(binary.BigEndian.Uint16(b[at+2:])), uint64(binary.BigEndian.Uint32(b[at+4:]))
	p := at + 8
	long := func(n *uint64) {
		if size-p >= 8 {
			*n = binary.BigEndian.Uint64(b[p:])
			p += 8
		}
	}
	if keyLen == 0xffff {
		long(&keyLen)
	}
	if valLen == 0xffffffff {
		long(&valLen)
	}
	pointers := 8 * (level + 1)
	if level > twoskipLevels || size-p < pointers+8 || keyLen > size || valLen > size {
		return r, false
	}
	r.next[0] = binary.BigEndian.Uint64(b[p:])
	if level > 0 {
		r.next[1] = binary.BigEndian.Uint64(b[p+8:])
	}
	p += pointers
	head, tail := binary.BigEndian.Uint32(b[p:]), binary.BigEndian.Uint32(b[p+4:])
	if crc32.ChecksumIEEE(b[at:p]) != head {
		return r, false
	}
	p += 8
	body := (keyLen + valLen + 7) &^ 7
	if size-p < body {
		return r, false
	}
	r.key, r.val, r.end = b[p:p+keyLen], b[p+keyLen:p+keyLen+valLen], p+body
	r.whole = crc32.ChecksumIEEE(b[p:r.end]) == tail
	return r, true
}
