package chunk

import (
	"encoding/binary"
	"fmt"
)

const partListVersion = 1

// EncodePartList gives the bytes of a part chunk: which data chunks, in this
// order, make up a part of size bytes.
func EncodePartList(ids []ID, size int64) []byte {
	b := make([]byte, 0, 2+2*binary.MaxVarintLen64+len(ids)*len(ID{}))
	b = append(b, partListVersion)
	b = binary.AppendUvarint(b, uint64(size))
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}

// DecodePartList reads what EncodePartList wrote. The size is known to be one
// that so many chunks can have; whether they do, the caller finds out.
func DecodePartList(b []byte) (ids []ID, size int64, err error) {
	if len(b) == 0 || b[0] != partListVersion {
		return nil, 0, fmt.Errorf("part list: want version %d", partListVersion)
	}
	b = b[1:]
	total, n := uvarint(b)
	if n == 0 {
		return nil, 0, fmt.Errorf("part list: broken size")
	}
	b = b[n:]
	count, n := uvarint(b)
	if n == 0 {
		return nil, 0, fmt.Errorf("part list: broken count")
	}
	b = b[n:]
	if len(b)%len(ID{}) != 0 || count != uint64(len(b)/len(ID{})) {
		return nil, 0, fmt.Errorf("part list: %d bytes for %d chunks", len(b), count)
	}
	if count == 0 || total < count || total > count*maxChunk {
		return nil, 0, fmt.Errorf("part list: %d bytes in %d chunks cannot be", total, count)
	}
	ids = make([]ID, count)
	for i := range ids {
		b = b[copy(ids[i][:], b):]
	}
	return ids, int64(total), nil
}

// uvarint reads a varint in its shortest form; n is 0 when there is none. One
// value has one encoding, so that equal recipes are equal bytes.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}
