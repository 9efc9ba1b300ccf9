package ext4

import (
	"hash/crc32"
	"sync"
)

// ext4 takes CRC-32C without the inversions at both ends, so that the checksum of
// one thing can seed the next: file system, then inode number, then generation,
// then the block.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc goes on from state over p.
func crc(state uint32, p []byte) uint32 {
	return ^crc32.Update(^state, castagnoli, p)
}

// crc32le goes on from state over a number as it stands on disk.
func crc32le(state, n uint32) uint32 {
	state ^= n
	for range 4 {
		state = castagnoli[byte(state)] ^ state>>8
	}
	return state
}

// A leap takes the CRC over a run of zero bytes at once. It is linear in the state: the
// sum of what each of its four bytes comes to.
type leap [4][256]uint32

func (l *leap) over(state uint32) uint32 {
	return l[0][byte(state)] ^ l[1][byte(state>>8)] ^ l[2][byte(state>>16)] ^ l[3][state>>24]
}

// backwards are leaps over 1, 2, 4, ... 32768 zero bytes, back to the state from
// which crc came: a longer run than maxBlock-1 is not asked for.
var backwards = sync.OnceValue(func() *[16]leap {
	// The upper bytes of the 256 entries of the CRC's table are all different, so
	// that a step over one byte can be taken back.
	var index [256]uint32
	for i, v := range castagnoli {
		index[v>>24] = uint32(i)
	}
	var all [16]leap
	for k := range all {
		for b := range 4 {
			for v := range uint32(256) {
				state := v << (8 * b)
				if k == 0 {
					i := index[state>>24]
					state = (state^castagnoli[i])<<8 | i
				} else {
					state = all[k-1].over(all[k-1].over(state))
				}
				all[k][b][v] = state
			}
		}
	}
	return &all
})

// uncrc is the state from which crc came to the given one over n zero bytes; n is
// less than maxBlock.
func uncrc(state uint32, n int) uint32 {
	all := backwards()
	for k := range all {
		if n>>k&1 != 0 {
			state = all[k].over(state)
		}
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
