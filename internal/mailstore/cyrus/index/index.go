// Package index reads cyrus.index, in which Cyrus IMAP keeps what it knows of
// each message of a mailbox: UID, dates, size, flags and, since 2.3.10, the
// SHA-1 of the message. It reads versions 6 to 10 and 12 to 20 (Cyrus 2.2 to
// 3.13), and cyrus.expunge, which is of the same form.
//
// It works on bytes. Nothing in a file is believed that its length or its
// checksums contradict: File.Damage and Record.Check tell. Package cyrus calls
// it, and whoever finds an index on a disk image may.
//
// The layouts are those of Cyrus, imap/index_file.c; layout.go holds them.
package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"salvor/chunk"
)

// ErrIndex says that a file is no cyrus.index that can be read.
var ErrIndex = errors.New("not a cyrus.index of a known version")

// MaxHeader is the length of the longest header of all versions.
const MaxHeader = 192

// A Check is the verdict of a checksum.
type Check int8

// The verdicts. Before version 12 there are no checksums.
const (
	Unchecked Check = iota
	Good
	Bad
)

// A Header is an index's header. Times are the zero time where the file holds
// none, numbers 0.
type Header struct {
	Generation, Version, StartOffset, RecordSize, NumRecords    uint32
	LastAppend, Pop3LastLogin, Pop3ShowAfter, RecentTime        time.Time
	FirstExpunged, LastRepack, ChangesEpoch                     time.Time
	LastUID, UIDValidity, RecentUID                             uint32
	Deleted, Answered, Flagged, Unseen, Options, LeakedCache    uint32
	Exists                                                      uint32 // live messages; NumRecords before version 12
	HighestModSeq, DeletedModSeq, CreatedModSeq                 uint64
	QuotaUsed, QuotaDeleted, QuotaExpunged, QuotaAnnotationUsed uint64 // bytes
	HeaderFileCRC                                               uint32 // CRC-32 of cyrus.header, from version 12 on
	SyncCRC, SyncCRCAnnotations                                 uint32
	Check                                                       Check
}

// A Flags is a set of system flags.
type Flags uint32

// The system flags that Cyrus stores by bit.
const (
	Answered     Flags = 1 << 0
	Flagged      Flags = 1 << 1
	Deleted      Flags = 1 << 2
	Draft        Flags = 1 << 3
	Seen         Flags = 1 << 4 // the owner's, from version 12 on
	Snoozed      Flags = 1 << 26
	SplitThread  Flags = 1 << 27
	NeedsCleanup Flags = 1 << 28
	Archived     Flags = 1 << 29 // its file is in the archive partition
	Unlinked     Flags = 1 << 30 // its file has been removed after it was expunged
	Expunged     Flags = 1 << 31 // removed by its user, from version 12 on
)

// A Record is what an index says of one message. Times are the zero time where
// it holds none.
type Record struct {
	UID                            uint32
	InternalDate, SentDate, GMTime time.Time // GMTime is the Date header's, from version 12 on
	LastUpdated, SaveDate          time.Time // SaveDate from version 15 on
	Size                           uint64    // of the message's file
	HeaderSize                     uint32
	CacheOffset                    uint64
	CacheVersion, CacheCRC         uint32
	System                         Flags
	User                           [4]uint32  // bit i%32 of word i/32 is the flag i of cyrus.header
	GUID                           chunk.SHA1 // SHA-1 of the message's file, from version 10 on
	UUID                           [12]byte   // replication's identity, versions 7 to 9
	ModSeq, CreatedModSeq          uint64     // from version 8 and 16 on
	ThreadID, BaseThreadID         uint64
	Check                          Check
}

// HasUserFlag tells whether the user flag of a bit is set.
func (r *Record) HasUserFlag(bit int) bool { return r.User[bit/32]>>(bit%32)&1 == 1 }

// A File is an index of which all is in memory.
type File struct {
	Header Header
	// Damage names what is wrong with the file as a whole, nothing for a file
	// that fits its header.
	Damage []string

	layout *layout
	b      []byte
	count  int
}

// Version12 tells whether the index is of the versions that have checksums and
// hold \Seen and what has been expunged themselves.
func (h *Header) Version12() bool { return h.Version >= 12 }

// DecodeHeader reads the header alone, of which b holds at least the
// beginning. It returns ErrIndex when the version is unknown, or what the
// header says of its own layout is not that of its version.
func DecodeHeader(b []byte) (Header, error) {
	h, _, err := decodeHeader(b)
	return h, err
}

func decodeHeader(b []byte) (h Header, l *layout, err error) {
	if len(b) < 24 {
		return h, nil, fmt.Errorf("%w: it has %d bytes", ErrIndex, len(b))
	}
	word := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	h.Generation, h.Version, h.StartOffset, h.RecordSize, h.NumRecords = word(0), word(8), word(12), word(16), word(20)
	h.Exists = h.NumRecords
	if l = layoutOf(h.Version, h.StartOffset, h.RecordSize); l == nil {
		return h, nil, fmt.Errorf("%w: version %d, header of %d bytes, records of %d bytes", ErrIndex, h.Version, h.StartOffset, h.RecordSize)
	}
	if len(b) < l.headerSize {
		return h, nil, fmt.Errorf("%w: its header ends after %d bytes of %d", ErrIndex, len(b), l.headerSize)
	}
	read(b[24:], l.header, &h)
	h.Check = l.check(b[:l.headerSize])
	return h, l, nil
}

// check compares the checksum at the end of a header or record.
func (l *layout) check(b []byte) Check {
	switch n := len(b) - 4; {
	case !l.checksums:
		return Unchecked
	case crc32.ChecksumIEEE(b[:n]) == binary.BigEndian.Uint32(b[n:]):
		return Good
	}
	return Bad
}

// Decode reads a file, which must not change while it is used. Of a damaged
// file the records that are there can be read; where the header is of no use
// at all, they are looked for by their checksums.
func Decode(b []byte) (*File, error) {
	f := &File{b: b}
	var err error
	f.Header, f.layout, err = decodeHeader(b)
	if err != nil {
		if f.layout = guess(b); f.layout == nil {
			return nil, err
		}
		f.damaged("its header is lost (%v); the records are of version %d or like it", err, f.layout.version)
		f.Header = Header{Version: f.layout.version, StartOffset: uint32(f.layout.headerSize), RecordSize: uint32(f.layout.recordSize), Check: Bad}
	} else if f.Header.Check == Bad {
		f.damaged("the checksum of its header is wrong")
	}
	there := max(0, len(b)-f.layout.headerSize) / f.layout.recordSize
	f.count = there
	if f.Header.Check != Bad {
		f.count = int(min(uint64(there), uint64(f.Header.NumRecords)))
		if f.count < int(f.Header.NumRecords) {
			f.damaged("it is cut off: %d records of %d are there", f.count, f.Header.NumRecords)
		}
	}
	return f, nil
}

func (f *File) damaged(format string, a ...any) {
	f.Damage = append(f.Damage, fmt.Sprintf(format, a...))
}

// guess finds the layout of which the first records are whole. Only versions
// with checksums can be told.
func guess(b []byte) *layout {
	for i := range layouts {
		l := &layouts[len(layouts)-1-i]
		for n := 0; l.checksums && n < 3; n++ {
			at := l.headerSize + n*l.recordSize
			if len(b) < at+l.recordSize {
				break
			}
			if r := b[at : at+l.recordSize]; binary.BigEndian.Uint32(r) != 0 && l.check(r) == Good {
				return l
			}
		}
	}
	return nil
}

// Len is how many records the file holds.
func (f *File) Len() int { return f.count }

// HasGUID tells whether the version has the SHA-1 of messages.
func (f *File) HasGUID() bool { return f.layout.guid }

// Record reads the record i, counted from 0.
func (f *File) Record(i int) Record {
	at := f.layout.headerSize + i*f.layout.recordSize
	return f.layout.decode(f.b[at : at+f.layout.recordSize])
}

// Intact tells whether the checksum of record i is right, or there is none.
func (f *File) Intact(i int) bool {
	at := f.layout.headerSize + i*f.layout.recordSize
	return f.layout.check(f.b[at:at+f.layout.recordSize]) != Bad
}

func (l *layout) decode(b []byte) Record {
	var r Record
	read(b, l.record, &r)
	// The cache's version shares its word with bits 32 to 47 of the offset.
	r.CacheOffset |= uint64(r.CacheVersion>>16) << 32
	r.CacheVersion &= 0xffff
	r.Check = l.check(b)
	return r
}

// Lookup finds a UID's record in an index without reading all of it. An error
// says that this cannot be told.
func Lookup(r io.ReaderAt, uid uint32) (rec Record, found bool, err error) {
	b := make([]byte, MaxHeader)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return rec, false, err
	}
	h, l, err := decodeHeader(b[:n])
	if err == nil && h.Check == Bad {
		err = fmt.Errorf("%w: the checksum of its header is wrong", ErrIndex)
	}
	if err != nil {
		return rec, false, err
	}
	b = b[:l.recordSize]
	lo, hi := uint32(0), h.NumRecords
	for lo < hi {
		mid := lo + (hi-lo)/2
		if _, err := r.ReadAt(b, int64(l.headerSize)+int64(mid)*int64(l.recordSize)); err != nil {
			return rec, false, err
		}
		if l.check(b) == Bad {
			return rec, false, fmt.Errorf("%w: the checksum of record %d is wrong", ErrIndex, mid+1)
		}
		switch at := binary.BigEndian.Uint32(b); {
		case at == uid:
			return l.decode(b), true, nil
		case at < uid:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return rec, false, nil
}
