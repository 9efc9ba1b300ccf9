// Package cyrusdb reads the database files of Cyrus IMAP without Cyrus:
// mailboxes.db, annotations.db, seen.db, sub.db and the like, in the formats
// twoskip (2.5 and later), skiplist (2.x) and flat. It works on bytes, writes
// nothing and takes no locks; package cyrus calls it, and so may whoever finds
// such a file on a disk image.
//
// A whole file is read as Cyrus itself reads it, by its pointers. Where these
// are broken, the file is searched for records from its beginning to its end:
// what stands whole in it is found, and DB.Damage says what was wrong.
package cyrusdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrFormat says that a file is in no format that this package reads.
var ErrFormat = errors.New("database format is not supported")

// A Format is one of Cyrus's database formats.
type Format string

// The formats that Decode reads.
const (
	Twoskip  Format = "twoskip"
	Skiplist Format = "skiplist"
	Flat     Format = "flat"
)

// A Record is a key with its value, both parts of the bytes that were decoded
// (copies where the format escapes them).
type Record struct{ Key, Value []byte }

// A DB is what a file holds.
type DB struct {
	Format Format
	// Records are in the file's order of keys, each key once. Of a damaged file
	// they are sorted by bytes, and may hold some that had been removed.
	Records []Record
	// Damage names what is wrong with the file, nothing for a whole one, and not
	// all that is wrong with a bad one.
	Damage []string
}

// maxDamage bounds what is said of one file.
const maxDamage = 20

func (d *DB) damaged(format string, a ...any) {
	if len(d.Damage) == maxDamage {
		return
	}
	d.Damage = append(d.Damage, fmt.Sprintf(format, a...))
}

// Get gives the value under a key of a file that is not damaged, or the first
// one of that key; nil where there is none.
func (d *DB) Get(key string) []byte {
	for _, r := range d.Records {
		if string(r.Key) == key {
			return r.Value
		}
	}
	return nil
}

// Decode reads a database file. Its error wraps ErrFormat and names the format
// where it knows it.
func Decode(b []byte) (*DB, error) {
	switch {
	case bytes.HasPrefix(b, []byte(twoskipMagic)):
		return decodeTwoskip(b), nil
	case bytes.HasPrefix(b, []byte(skiplistMagic)):
		return decodeSkiplist(b), nil
	}
	if name := foreign(b); name != "" {
		return nil, fmt.Errorf("%w: %s", ErrFormat, name)
	}
	d, ok := decodeFlat(b)
	if !ok {
		return nil, fmt.Errorf("%w: neither twoskip, skiplist nor flat", ErrFormat)
	}
	return d, nil
}

// foreign recognises formats that Cyrus has used and this package does not read.
func foreign(b []byte) string {
	if bytes.HasPrefix(b, []byte("SQLite format 3\x00")) {
		return "SQLite"
	}
	if len(b) < 16 { // Berkeley DB, file(1): magic at 12, in either byte order
		return ""
	}
	for _, n := range []uint32{binary.BigEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[12:])} {
		if n == 0x053162 || n == 0x061561 || n == 0x042253 {
			return "Berkeley DB; cvt_cyrusdb converts it"
		}
	}
	return ""
}

// found collects records of a search: the last one under a key counts.
type found map[string]Record

func (f found) sorted() []Record {
	out := make([]Record, 0, len(f))
	for _, r := range f {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
	return out
}
