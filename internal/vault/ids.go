package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"salvor/chunk"
)

const rootPrefix = "salvor-root-"

// RootPublic is the public half of a vault's root key (Ed25519). It signs the
// config, the certificates of writers and their revocations.
type RootPublic [ed25519.PublicKeySize]byte

// ParseRootPublic reads what String writes.
func ParseRootPublic(s string) (RootPublic, error) {
	var r RootPublic
	digits, ok := strings.CutPrefix(s, rootPrefix)
	if !ok {
		return r, fmt.Errorf("root key %q: want %s and 64 hexadecimal digits", s, rootPrefix)
	}
	return r, parseHex(r[:], digits)
}

// String gives "salvor-root-" and 64 hexadecimal digits.
func (r RootPublic) String() string { return rootPrefix + hex.EncodeToString(r[:]) }

// IsZero tells whether the key was never set.
func (r RootPublic) IsZero() bool { return r == RootPublic{} }

// MarshalText gives the same as String.
func (r RootPublic) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *RootPublic) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRootPublic(string(b))
	return err
}

// WriterID names a writer key: the SHA-256 of its public half.
type WriterID [sha256.Size]byte

// ParseWriterID reads 64 hexadecimal digits.
func ParseWriterID(s string) (WriterID, error) {
	var w WriterID
	return w, parseHex(w[:], s)
}

// String gives 64 lower-case hexadecimal digits.
func (w WriterID) String() string { return hex.EncodeToString(w[:]) }

// MarshalText gives the same as String.
func (w WriterID) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *WriterID) UnmarshalText(b []byte) error { return parseHex(w[:], string(b)) }

func writerID(public ed25519.PublicKey) WriterID { return sha256.Sum256(public) }

// A Head is a point in a vault's chain of commits: the last one somebody knows
// of. Number 0 is the point before the first.
type Head struct {
	Vault  string   `json:"vault"`
	Number uint64   `json:"number"`
	Hash   chunk.ID `json:"hash"`
}

// parseHex accepts exactly the lower-case digits that fill dst, so that every
// value has one spelling.
func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) || strings.ToLower(s) != s {
		return fmt.Errorf("want %d lower-case hexadecimal digits, not %d characters", 2*len(dst), len(s))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		// The digits may be a secret: the cause would quote one of them.
		return fmt.Errorf("want %d lower-case hexadecimal digits", 2*len(dst))
	}
	return nil
}

// randomHex gives 2n digits from the system's random source.
func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}
