package index

import (
	"encoding/binary"
	"slices"
	"time"
)

// A field is a number of some bytes, big-endian, and where it goes. A field
// without a place is skipped.
type field[T any] struct {
	width int
	put   func(*T, []byte)
}

// read reads fields that stand one behind the other.
func read[T any](b []byte, fields []field[T], to *T) {
	for _, f := range fields {
		if f.put != nil {
			f.put(to, b[:f.width])
		}
		b = b[f.width:]
	}
}

type (
	hf = field[Header]
	rf = field[Record]
)

func skip[T any](width int) field[T] { return field[T]{width: width} }

func u32[T any](at func(*T) *uint32) field[T] {
	return field[T]{4, func(t *T, b []byte) { *at(t) = binary.BigEndian.Uint32(b) }}
}

func u64[T any](at func(*T) *uint64) field[T] {
	return field[T]{8, func(t *T, b []byte) { *at(t) = binary.BigEndian.Uint64(b) }}
}

// wide is a number of 4 bytes that is one of 8 in other versions.
func wide[T any](at func(*T) *uint64) field[T] {
	return field[T]{4, func(t *T, b []byte) { *at(t) = uint64(binary.BigEndian.Uint32(b)) }}
}

// seconds is a time as seconds since 1970.
func seconds[T any](at func(*T) *time.Time) field[T] {
	return field[T]{4, func(t *T, b []byte) {
		if n := binary.BigEndian.Uint32(b); n != 0 {
			*at(t) = time.Unix(int64(n), 0).UTC()
		}
	}}
}

// nanos is a time as nanoseconds since 1970.
func nanos[T any](at func(*T) *time.Time) field[T] {
	return field[T]{8, func(t *T, b []byte) {
		if n := binary.BigEndian.Uint64(b); n != 0 && n < 1<<63 {
			*at(t) = time.Unix(0, int64(n)).UTC()
		}
	}}
}

// Fields of the header that stand in several layouts.
var (
	lastUID       = u32(func(h *Header) *uint32 { return &h.LastUID })
	uidValidity   = u32(func(h *Header) *uint32 { return &h.UIDValidity })
	deleted       = u32(func(h *Header) *uint32 { return &h.Deleted })
	answered      = u32(func(h *Header) *uint32 { return &h.Answered })
	flagged       = u32(func(h *Header) *uint32 { return &h.Flagged })
	exists        = u32(func(h *Header) *uint32 { return &h.Exists })
	options       = u32(func(h *Header) *uint32 { return &h.Options })
	leaked        = u32(func(h *Header) *uint32 { return &h.LeakedCache })
	headerCRC     = u32(func(h *Header) *uint32 { return &h.HeaderFileCRC })
	syncCRC       = u32(func(h *Header) *uint32 { return &h.SyncCRC })
	syncCRCAnnot  = u32(func(h *Header) *uint32 { return &h.SyncCRCAnnotations })
	recentUID     = u32(func(h *Header) *uint32 { return &h.RecentUID })
	unseen        = u32(func(h *Header) *uint32 { return &h.Unseen })
	quotaUsed     = u64(func(h *Header) *uint64 { return &h.QuotaUsed })
	highestModSeq = u64(func(h *Header) *uint64 { return &h.HighestModSeq })
	deletedModSeq = u64(func(h *Header) *uint64 { return &h.DeletedModSeq })
	createdModSeq = u64(func(h *Header) *uint64 { return &h.CreatedModSeq })
	quotaDeleted  = u64(func(h *Header) *uint64 { return &h.QuotaDeleted })
	quotaExpunged = u64(func(h *Header) *uint64 { return &h.QuotaExpunged })
)

// Places of times and of one number, of which the width differs.
func lastAppend(h *Header) *time.Time    { return &h.LastAppend }
func pop3Login(h *Header) *time.Time     { return &h.Pop3LastLogin }
func pop3After(h *Header) *time.Time     { return &h.Pop3ShowAfter }
func recentTime(h *Header) *time.Time    { return &h.RecentTime }
func firstExpunged(h *Header) *time.Time { return &h.FirstExpunged }
func lastRepack(h *Header) *time.Time    { return &h.LastRepack }
func changesEpoch(h *Header) *time.Time  { return &h.ChangesEpoch }
func quotaAnnot(h *Header) *uint64       { return &h.QuotaAnnotationUsed }

// The headers behind their first 24 bytes, which all versions share
// (generation, format, version, start offset, record size, records).
var (
	header6 = []hf{seconds(lastAppend), lastUID, quotaUsed, seconds(pop3Login), uidValidity, deleted, answered, flagged}
	// headerV6 to headerV18 each add to the one before.
	headerV6  = slices.Concat(header6, []hf{options, leaked})
	headerV8  = slices.Concat(headerV6, []hf{highestModSeq})
	headerV12 = slices.Concat(headerV8, []hf{deletedModSeq, exists, seconds(firstExpunged), seconds(lastRepack), headerCRC, syncCRC, recentUID, seconds(recentTime)})
	headerV13 = slices.Concat(headerV12, []hf{seconds(pop3After), wide(quotaAnnot), syncCRCAnnot})
	headerV14 = slices.Concat(headerV13, []hf{unseen})
	headerV16 = slices.Concat(headerV14, []hf{createdModSeq})
	headerV17 = slices.Concat(headerV16, []hf{seconds(changesEpoch)})
	headerV18 = slices.Concat(headerV17, []hf{quotaDeleted, quotaExpunged})
	headerV19 = slices.Concat(header6, []hf{
		exists, options, leaked, highestModSeq, deletedModSeq, seconds(firstExpunged), seconds(lastRepack), headerCRC, syncCRC,
		recentUID, seconds(recentTime), seconds(pop3After), wide(quotaAnnot), syncCRCAnnot, unseen, createdModSeq,
		quotaDeleted, quotaExpunged, seconds(changesEpoch),
	})
	headerV20 = []hf{
		nanos(lastAppend), quotaUsed, nanos(pop3Login), deleted, answered, flagged, exists, options, leaked,
		highestModSeq, deletedModSeq, lastUID, uidValidity, headerCRC, syncCRC, nanos(recentTime), nanos(pop3After),
		syncCRCAnnot, unseen, createdModSeq, quotaDeleted, quotaExpunged, u64(quotaAnnot), nanos(changesEpoch),
		nanos(firstExpunged), nanos(lastRepack), recentUID,
	}
)

// Fields of records that stand in several layouts.
var (
	uid         = u32(func(r *Record) *uint32 { return &r.UID })
	size4       = wide(func(r *Record) *uint64 { return &r.Size })
	headerSize  = u32(func(r *Record) *uint32 { return &r.HeaderSize })
	cacheOffset = wide(func(r *Record) *uint64 { return &r.CacheOffset })
	system      = u32(func(r *Record) *uint32 { return (*uint32)(&r.System) })
	userFlags   = rf{16, func(r *Record, b []byte) {
		for i := range r.User {
			r.User[i] = binary.BigEndian.Uint32(b[4*i:])
		}
	}}
	cacheVersion = u32(func(r *Record) *uint32 { return &r.CacheVersion })
	uuid         = rf{12, func(r *Record, b []byte) { copy(r.UUID[:], b) }}
	guid         = rf{20, func(r *Record, b []byte) { copy(r.GUID[:], b) }}
	modSeq       = u64(func(r *Record) *uint64 { return &r.ModSeq })
	thread       = u64(func(r *Record) *uint64 { return &r.ThreadID })
	created      = u64(func(r *Record) *uint64 { return &r.CreatedModSeq })
	cacheCRC     = u32(func(r *Record) *uint32 { return &r.CacheCRC })
)

func internalDate(r *Record) *time.Time { return &r.InternalDate }
func sentDate(r *Record) *time.Time     { return &r.SentDate }
func gmTime(r *Record) *time.Time       { return &r.GMTime }
func lastUpdated(r *Record) *time.Time  { return &r.LastUpdated }
func saveDate(r *Record) *time.Time     { return &r.SaveDate }

// early gives the first fields of records up to version 19. Two of them mean
// different things: the sixth is the place of the body before version 12, the
// eleventh a number of lines before version 15.
func early(sixth, eleventh rf) []rf {
	return []rf{uid, seconds(internalDate), seconds(sentDate), size4, headerSize, sixth, cacheOffset, seconds(lastUpdated), system, userFlags, eleventh, cacheVersion}
}

// The records, without the checksum at their end.
var (
	recordV6  = early(skip[Record](4), skip[Record](4))
	recordV7  = slices.Concat(recordV6, []rf{uuid})
	recordV8  = slices.Concat(recordV7, []rf{modSeq})
	recordV10 = slices.Concat(recordV6, []rf{guid, modSeq})
	with12    = slices.Concat(early(seconds(gmTime), skip[Record](4)), []rf{guid, modSeq})
	with15    = slices.Concat(early(seconds(gmTime), seconds(saveDate)), []rf{guid, modSeq})
	recordV12 = slices.Concat(with12, []rf{cacheCRC})
	recordV13 = slices.Concat(with12, []rf{thread, cacheCRC})
	recordV15 = slices.Concat(with15, []rf{thread, cacheCRC})
	recordV16 = slices.Concat(with15, []rf{thread, created, cacheCRC})
	recordV20 = []rf{
		uid, cacheOffset, nanos(internalDate), nanos(sentDate), u64(func(r *Record) *uint64 { return &r.Size }), headerSize, system, userFlags,
		cacheVersion, guid, modSeq, thread, created, nanos(gmTime), nanos(lastUpdated), nanos(saveDate),
		u64(func(r *Record) *uint64 { return &r.BaseThreadID }), cacheCRC,
	}
)

// A layout is the form of some versions' files.
type layout struct {
	version                uint32
	headerSize, recordSize int // bytes
	header                 []hf
	record                 []rf
	checksums, guid        bool
}

// layouts are all that are known. The one before the last was written by
// development versions only: a header of version 19 with records of version 20,
// which Cyrus still reads (imap/mailbox.c).
var layouts = []layout{
	{6, 76, 60, headerV6, recordV6, false, false},
	{7, 76, 72, headerV6, recordV7, false, false},
	{8, 92, 80, headerV8, recordV8, false, false},
	{9, 96, 80, headerV8, recordV8, false, false},
	{10, 96, 88, headerV8, recordV10, false, true},
	{12, 128, 96, headerV12, recordV12, true, true},
	{13, 128, 104, headerV13, recordV13, true, true},
	{14, 160, 104, headerV14, recordV13, true, true},
	{15, 160, 104, headerV14, recordV15, true, true},
	{16, 160, 112, headerV16, recordV16, true, true},
	{17, 160, 112, headerV17, recordV16, true, true},
	{18, 160, 112, headerV18, recordV16, true, true},
	{19, 160, 112, headerV19, recordV16, true, true},
	{19, 160, 144, headerV19, recordV20, true, true},
	{20, 192, 144, headerV20, recordV20, true, true},
}

// layoutOf finds the layout that a header claims; nil for one that does not
// exist.
func layoutOf(version, start, record uint32) *layout {
	for i := range layouts {
		l := &layouts[i]
		if l.version == version && int(start) == l.headerSize && int(record) == l.recordSize {
			return l
		}
	}
	return nil
}
