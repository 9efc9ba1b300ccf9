package chunk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// ID is a SHA-256: of a message's wire form, of a part or of a chunk's bytes.
type ID [sha256.Size]byte

// Sum is the ID of b.
func Sum(b []byte) ID { return sha256.Sum256(b) }

// ParseID reads the 64 hexadecimal digits that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	return id, decodeHex(id[:], s)
}

// String gives 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short gives the first eight digits, for people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero tells whether the ID was never set.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText gives the same as String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error { return decodeHex(id[:], string(b)) }

// SHA1 is the SHA-1 of a message's wire form: Cyrus's GUID of the message.
type SHA1 [20]byte

// IsZero tells whether the SHA-1 was never set.
func (h SHA1) IsZero() bool { return h == SHA1{} }

// ParseSHA1 reads 40 hexadecimal digits.
func ParseSHA1(s string) (SHA1, error) {
	var h SHA1
	return h, decodeHex(h[:], s)
}

// String gives 40 lower-case hexadecimal digits.
func (h SHA1) String() string { return hex.EncodeToString(h[:]) }

// MarshalText gives the same as String.
func (h SHA1) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *SHA1) UnmarshalText(b []byte) error { return decodeHex(h[:], string(b)) }

func decodeHex(dst []byte, s string) error {
	if hex.DecodedLen(len(s)) != len(dst) || len(s)%2 != 0 {
		return fmt.Errorf("hash %q: want %d hexadecimal digits", s, 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("hash %q: %w", s, err)
	}
	return nil
}

// Kind says what a chunk's bytes are. A chunk is known by its Kind and ID
// together, so none can be taken for one of another kind.
type Kind byte

// The kinds of chunks.
const (
	KindMessage Kind = 'm' // a recipe and skeleton; ID of the message's wire form
	KindPart    Kind = 'p' // the list of a long part's data chunks; ID of the whole part
	KindData    Kind = 'd' // bytes; ID of these bytes
)

// String gives "message", "part" or "data".
func (k Kind) String() string {
	switch k {
	case KindMessage:
		return "message"
	case KindPart:
		return "part"
	case KindData:
		return "data"
	}
	return fmt.Sprintf("kind(%d)", byte(k))
}

// MarshalText gives the kind's letter.
func (k Kind) MarshalText() ([]byte, error) { return []byte{byte(k)}, nil }

// UnmarshalText reads a kind's letter.
func (k *Kind) UnmarshalText(b []byte) error {
	if len(b) != 1 || (Kind(b[0]) != KindMessage && Kind(b[0]) != KindPart && Kind(b[0]) != KindData) {
		return fmt.Errorf("chunk kind %q: want m, p or d", b)
	}
	*k = Kind(b[0])
	return nil
}

// Ref names a chunk.
type Ref struct {
	Kind Kind `json:"kind"`
	ID   ID   `json:"id"`
}

// String gives "kind id".
func (r Ref) String() string { return r.Kind.String() + " " + r.ID.String() }
