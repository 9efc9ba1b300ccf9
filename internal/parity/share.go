package parity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"salvor/internal/objstore"
)

// A share is what one target holds of an object: a header, and then either the
// whole object, or the shards that are this target's, one after another, each
// in blocks that are followed by their checksum (docs/format.md, "Shares").
//
// The checksum is CRC-32: it finds rot, wherever it is, at memory speed, and is
// in every language's library for who has to read a share by hand. It is no
// protection against a target that lies; the SHA-256 of the object is.
const (
	// BlockSize is the bytes of a shard between two checksums: what a rotten
	// sector costs, and the least that is read.
	BlockSize = 4096

	headerSize = 128
	sumSize    = 4
	shareText  = "salvor share 1"
)

// meta is what all shares of an object say of it.
type meta struct {
	data, parity int // 1 and 0 for a whole copy
	size         int64
	block        int64 // 0 for a whole copy
	sum          [sha256.Size]byte
}

// header is the first line of a share.
type header struct {
	meta
	first, targets int // shards first, first+targets, ... lie in it
}

func (h header) marshal() []byte {
	line := fmt.Sprintf("%s %03d+%03d %03d/%03d %013d %08d %x ", shareText, h.data, h.parity, h.first, h.targets, h.size, h.block, h.sum)
	return fmt.Appendf(nil, "%s%08x\n", line, crc32.ChecksumIEEE([]byte(line)))
}

// parseHeader is ok for a header that is whole and sound.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || b[headerSize-1] != '\n' {
		return h, false
	}
	f := strings.Split(strings.TrimPrefix(string(b[:headerSize-1]), shareText+" "), " ")
	if len(f) != 6 {
		return h, false
	}
	k, m, _ := strings.Cut(f[0], "+")
	first, targets, _ := strings.Cut(f[1], "/")
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	h.data, h.parity = int(number(k)), int(number(m))
	h.first, h.targets = int(number(first)), int(number(targets))
	h.size, h.block = number(f[2]), number(f[3])
	sum, err := hex.DecodeString(f[4])
	if err != nil || copy(h.sum[:], sum) != len(h.sum) {
		return h, false
	}
	// One spelling only, so that a header that parses is one that was written.
	if string(h.marshal()) != string(b[:headerSize]) {
		return h, false
	}
	return h, h.size >= 0 && h.size <= objstore.MaxSize && h.data > 0 && h.parity >= 0 && h.data+h.parity <= maxShards
}

// wrap makes a whole copy.
func wrap(body []byte) []byte {
	h := header{meta: meta{data: 1, size: int64(len(body)), sum: sha256.Sum256(body)}, targets: 1}
	return append(h.marshal(), body...)
}

// unwrap gives the object of a whole copy; not ok when it is damaged.
func unwrap(b []byte) (body []byte, ok bool) {
	h, ok := parseHeader(b)
	if !ok || h.block != 0 || h.size != int64(len(b))-headerSize || sha256.Sum256(b[headerSize:]) != h.sum {
		return nil, false
	}
	return b[headerSize:], true
}

// Unwrap gives the object of a share that is a whole copy, so that a vault's
// first object can be read before its layout is known; not ok for anything
// else.
func Unwrap(b []byte) (body []byte, ok bool) { return unwrap(b) }

// shardSize is the bytes of the first data shard and of the parity shards:
// shard i is bytes [i*size, (i+1)*size) of the object, so that a range of it
// touches few of them. The last ones may be shorter, or empty.
func (m meta) shardSize() int64 {
	return (m.size + int64(m.data) - 1) / int64(m.data)
}

// length is the bytes of a shard.
func (m meta) length(shard int) int64 {
	s := m.shardSize()
	if shard >= m.data {
		return s
	}
	return min(max(m.size-int64(shard)*s, 0), s)
}

// rows is how many blocks the longest shard has.
func (m meta) rows() int64 { return blocks(m.shardSize()) }

func blocks(n int64) int64 { return (n + BlockSize - 1) / BlockSize }

// onTarget is the bytes that n bytes of a shard take in a share.
func onTarget(n int64) int64 { return n + sumSize*blocks(n) }

// shareSize is the bytes of the share that holds these shards.
func (m meta) shareSize(shards []int) int64 {
	n := int64(headerSize)
	for _, i := range shards {
		n += onTarget(m.length(i))
	}
	return n
}

// place is where in its share a shard begins.
func (m meta) place(shards []int, shard int) int64 {
	n := int64(headerSize)
	for _, i := range shards {
		if i == shard {
			break
		}
		n += onTarget(m.length(i))
	}
	return n
}

// seeds makes the checksum of a block depend on the object, the shard and the
// place in it: a block that was written elsewhere is as wrong as a rotten one.
type seeds struct{ object uint32 }

func (m meta) seeds() seeds { return seeds{crc32.ChecksumIEEE(m.sum[:])} }

func (s seeds) sum(shard int, row int64, block []byte) uint32 {
	var place [8]byte
	binary.BigEndian.PutUint32(place[:4], uint32(shard))
	binary.BigEndian.PutUint32(place[4:], uint32(row))
	seed := crc32.Update(s.object, crc32.IEEETable, place[:])
	return crc32.Update(seed, crc32.IEEETable, block)
}
