package salvage

import (
	"encoding/binary"
	"encoding/hex"
)

// A sieve tells of most checksums that were never put into it that they were not, so
// that nobody has to be asked. It is as large however many there are: with millions it
// lets more of them through.
type sieve [1 << 18]uint64 // 2 MiB

// bit is the place of a checksum in hexadecimal digits, 16 or more.
func (s *sieve) bit(sum string) (word int, bit uint64) {
	var b [8]byte
	_, _ = hex.Decode(b[:], []byte(sum[:min(16, len(sum))&^1])) // whatever it is, it has a place
	n := binary.LittleEndian.Uint64(b[:])
	return int(n >> 6 % uint64(len(s))), 1 << (n % 64)
}

func (s *sieve) put(sum string) {
	word, bit := s.bit(sum)
	s[word] |= bit
}

// mayHave is false where a checksum was never put.
func (s *sieve) mayHave(sum string) bool {
	word, bit := s.bit(sum)
	return s[word]&bit != 0
}
