package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

// ext4 takes CRC-32C without the inversions at both ends, so that the checksum of
// one thing can seed the next: file system, then inode number, then generation,
// then the block.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// back maps the upper byte of a table's entry to its index: what is needed to take
// a step of the CRC back. The upper bytes of the 256 entries are all different.
var back = func() (t [256]byte) {
	for i, v := range castagnoli {
		t[v>>24] = byte(i)
	}
	return t
}()

// crc goes on from state over p.
func crc(state uint32, p []byte) uint32 {
	return ^crc32.Update(^state, castagnoli, p)
}

// crc32le goes on from state over a number as it stands on disk.
func crc32le(state, n uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], n)
	return crc(state, b[:])
}

// uncrc is the state from which crc came to the given one over n zero bytes.
func uncrc(state uint32, n int) uint32 {
	for range n {
		i := back[state>>24]
		state = (state^castagnoli[i])<<8 | uint32(i)
	}
	return state
}

// before is the state from which crc comes to sum over p: the sum is linear in the
// state, so that p can be taken out of it first.
func before(sum uint32, p []byte) uint32 {
	return uncrc(sum^crc(0, p), len(p))
}

// missing is the number that stands between two states: crc32le(state, n) is sum.
func missing(state, sum uint32) uint32 {
	// A step over four bytes adds them to the state and goes over four zeros.
	return uncrc(sum, 4) ^ state
}

// crc16 is CRC-16/ARC, which group descriptors had before metadata_csum.
func crc16(state uint16, p []byte) uint16 {
	for _, b := range p {
		state ^= uint16(b)
		for range 8 {
			if state&1 != 0 {
				state = state>>1 ^ 0xA001
			} else {
				state >>= 1
			}
		}
	}
	return state
}
