package index

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
)

// Types of records in a log, enum mail_transaction_type, and the bits beside.
const (
	logAppend       = 0x00000002
	logFlags        = 0x00000004
	logHeader       = 0x00000020
	logExtIntro     = 0x00000040
	logExtReset     = 0x00000080
	logExtHeader    = 0x00000100
	logExtRecord    = 0x00000200
	logKeyword      = 0x00000400
	logKeywordReset = 0x00000800
	logExtInc       = 0x00001000
	logModSeq       = 0x00008000
	logExtHeader32  = 0x00010000
	logDeleted      = 0x00020000
	logUndeleted    = 0x00040000
	logBoundary     = 0x00080000
	logAttribute    = 0x00100000
	logExpunge      = 0x00000001 | protection
	logExpungeGUID  = 0x00002000 | protection
	typeMask        = 0x0fffffff
	protection      = 0x0000cd90 // so that no broken record expunges anything
	external        = 0x10000000 // has happened; without it, is only asked for
)

// position is a place in the series of logs.
type position struct {
	seq    uint32
	offset int64
}

// logFile is a log, struct mail_transaction_log_header and what follows.
type logFile struct {
	data     []byte
	head     int64
	id, seq  uint32
	previous position // where the log before ended; zero: the index begins here
}

// parseLog reads a log's header; nil for a log that is not there.
func parseLog(b []byte) (*logFile, error) {
	if b == nil {
		return nil, nil
	}
	if len(b) < 24 {
		return nil, broken("dovecot.index.log ends in its header")
	}
	l := &logFile{data: b, head: int64(le.Uint16(b[2:])), id: le.Uint32(b[4:]), seq: le.Uint32(b[8:])}
	l.previous = position{le.Uint32(b[12:]), int64(le.Uint32(b[16:]))}
	switch {
	case b[0] != 1:
		return nil, broken("dovecot.index.log has version %d, 1 is known", b[0])
	case l.head < 24 || l.head > int64(len(b)):
		return nil, broken("dovecot.index.log has a header of %d bytes", l.head)
	case l.id == 0:
		return nil, broken("Dovecot has marked dovecot.index.log as damaged")
	}
	return l, nil
}

// replay does to the index what the logs say. Where no index was read, the
// position is zero and a log must tell all from the beginning.
func (ix *Index) replay(current, older []byte, from position) error {
	log, err := parseLog(current)
	if err != nil {
		return err
	}
	if log == nil {
		return broken("dovecot.index.log is missing, and with it the latest changes")
	}
	begins := log.previous.seq == 0
	switch {
	case ix.id != 0 && log.id != ix.id && !begins:
		return broken("dovecot.index and dovecot.index.log belong to different indexes")
	case ix.id == log.id && log.seq < from.seq:
		return broken("dovecot.index.log is older than dovecot.index")
	case from.seq == log.seq && ix.id == log.id:
		return ix.apply(log, from.offset)
	case begins:
		*ix = Index{wanted: ix.wanted, nextUID: 1}
		return ix.apply(log, log.head)
	case from == log.previous:
		return ix.apply(log, log.head)
	}
	old, err := parseLog(older)
	if err != nil {
		return err
	}
	if old == nil || old.id != log.id || old.seq != log.previous.seq {
		return broken("the log before dovecot.index.log is missing")
	}
	switch {
	case from.seq == old.seq:
		err = ix.apply(old, from.offset)
	case old.previous.seq == 0 && from.seq == 0:
		err = ix.apply(old, old.head)
	default:
		err = broken("the logs do not go on where dovecot.index ends")
	}
	if err != nil {
		return err
	}
	return ix.apply(log, log.head)
}

// unpackSize reads a number whose bytes all have their highest bit set, once it
// has been written whole; 0 before that (mail_index_offset_to_uint32).
func unpackSize(b []byte) int64 {
	n := binary.BigEndian.Uint32(b)
	if n&0x80808080 != 0x80808080 {
		return 0
	}
	return int64(n&0x7f|(n>>8&0x7f)<<7|(n>>16&0x7f)<<14|(n>>24&0x7f)<<21) << 2
}

// apply does what stands in a log from an offset on. An end that is not whole is
// noted: it is just being written, or was lost.
func (ix *Index) apply(l *logFile, at int64) error {
	if at < l.head || at > int64(len(l.data)) {
		return broken("dovecot.index ends at byte %d of a log of %d", at, len(l.data))
	}
	ix.id = l.id
	r := replayer{Index: ix, current: -1}
	for at+8 <= int64(len(l.data)) {
		head := l.data[at:]
		size, kind := unpackSize(head), le.Uint32(head[4:])
		if size == 0 && le.Uint32(head) == 0 || at+size > int64(len(l.data)) {
			break
		}
		if size < 8 {
			return broken("a record of dovecot.index.log at byte %d has no size", at)
		}
		body := head[8:size:size]
		if kind&typeMask == logBoundary && (len(body) < 4 || at+int64(le.Uint32(body)) > int64(len(l.data))) {
			break // a transaction that goes on
		}
		if err := r.record(kind, body); err != nil {
			return err
		}
		at += size
	}
	if at < int64(len(l.data)) {
		ix.Torn = fmt.Sprintf("its log ends inside the record at byte %d, and what followed is lost", at)
	}
	return nil
}

// A replayer applies records; those on extensions follow an introduction that
// names the extension.
type replayer struct {
	*Index
	current    int // the extension that was introduced, -1 none
	recordSize int
	ignore     bool // it was reset since: only a further reset counts
	changes    int
}

func (r *replayer) record(kind uint32, b []byte) error {
	switch kind & typeMask {
	case logAppend:
		return r.append(b)
	case logFlags:
		return r.flags(b)
	case logHeader:
		return r.header(b)
	case logExpunge:
		if kind&external != 0 {
			return r.each(b, 8, func(e []byte) error { return r.expunge(le.Uint32(e), le.Uint32(e[4:])) })
		}
	case logExpungeGUID:
		if kind&external != 0 {
			return r.each(b, 20, func(e []byte) error { return r.expunge(le.Uint32(e), le.Uint32(e)) })
		}
	case logExtIntro:
		return r.intro(b)
	case logExtReset:
		return r.reset(b)
	case logExtHeader:
		return r.extHeader(b, 4, func(h []byte) (int, int) { return int(le.Uint16(h)), int(le.Uint16(h[2:])) })
	case logExtHeader32:
		return r.extHeader(b, 8, func(h []byte) (int, int) { return int(le.Uint32(h)), int(le.Uint32(h[4:])) })
	case logExtRecord:
		return r.extRecord(b)
	case logExtInc:
		return r.extInc(b)
	case logKeyword:
		return r.keyword(b)
	case logKeywordReset:
		return r.each(b, 8, func(e []byte) error {
			return r.between(le.Uint32(e), le.Uint32(e[4:]), func(rec *Record) { rec.data[0] = nil })
		})
	case logModSeq, logBoundary, logAttribute, logDeleted, logUndeleted:
		// A folder that is just being deleted is there until its files are gone.
	default:
		return broken("dovecot.index.log has a record of the unknown type %#x", kind)
	}
	return nil
}

// each calls f with every entry of a record.
func (r *replayer) each(b []byte, size int, f func([]byte) error) error {
	for ; len(b) >= size; b = b[size:] {
		if err := f(b[:size]); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return broken("a record of dovecot.index.log has an odd length")
	}
	return nil
}

// between calls f with every record of a range of UIDs.
func (r *replayer) between(first, last uint32, f func(*Record)) error {
	if first == 0 || first > last {
		return broken("dovecot.index.log speaks of the UIDs %d to %d", first, last)
	}
	i := sort.Search(len(r.Records), func(i int) bool { return r.Records[i].UID >= first })
	for ; i < len(r.Records) && r.Records[i].UID <= last; i++ {
		if r.changes++; r.changes > maxChanges {
			return broken("dovecot.index.log changes more than %d messages", maxChanges)
		}
		if !r.Records[i].gone {
			f(&r.Records[i])
		}
	}
	return nil
}

func (r *replayer) append(b []byte) error {
	return r.each(b, logAppendBytes, func(e []byte) error {
		uid := le.Uint32(e)
		if uid < r.nextUID || uid == 0 || uid+1 == 0 || len(r.Records) >= maxRecords {
			return broken("dovecot.index.log adds UID %d where %d comes next", uid, r.nextUID)
		}
		r.Records = append(r.Records, Record{UID: uid, Flags: Flags(e[4])})
		r.nextUID = uid + 1
		return nil
	})
}

// flags is struct mail_transaction_flag_update: two UIDs, flags to be added and
// to be removed.
func (r *replayer) flags(b []byte) error {
	return r.each(b, 12, func(e []byte) error {
		add, remove := Flags(e[8]), Flags(e[9])
		return r.between(le.Uint32(e), le.Uint32(e[4:]), func(rec *Record) { rec.Flags = rec.Flags&^remove | add })
	})
}

// header changes the base header.
func (r *replayer) header(b []byte) error {
	for len(b) >= 4 {
		at, size := int(le.Uint16(b)), int(le.Uint16(b[2:]))
		if 4+size > len(b) {
			return broken("dovecot.index.log changes %d bytes of the header, and has %d", size, len(b)-4)
		}
		if at < baseSize {
			copy(r.base[at:], b[4:4+size])
		}
		b = b[min(len(b), (4+size+3)&^3):]
	}
	r.nextUID = max(r.nextUID, le.Uint32(r.base[atNextUID:]))
	return nil
}

func (r *replayer) expunge(first, last uint32) error {
	return r.between(first, last, func(rec *Record) { rec.gone = true })
}

// intro is struct mail_transaction_ext_intro and a name for a new extension.
func (r *replayer) intro(b []byte) error {
	for len(b) >= 20 {
		id, resetID, headerSize := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
		recordSize, noShrink, nameSize := int(le.Uint16(b[12:])), le.Uint16(b[16:])&1 != 0, int(le.Uint16(b[18:]))
		if 20+nameSize > len(b) || headerSize > maxExtHead || recordSize >= maxRecord {
			return broken("dovecot.index.log introduces an extension that cannot be")
		}
		name := string(b[20 : 20+nameSize])
		b = b[min(len(b), (20+nameSize+3)&^3):]
		at := r.extNamed(name)
		if id != ^uint32(0) {
			at = int(min(id, maxExts))
		}
		if at >= len(r.exts) || at < 0 && nameSize == 0 {
			return broken("dovecot.index.log speaks of extension %d of %d", id, len(r.exts))
		}
		r.ignore, r.recordSize = false, recordSize
		if at < 0 {
			var err error
			if at, err = r.addExt(name, resetID, make([]byte, headerSize), recordSize); err != nil {
				return err
			}
		} else {
			e := &r.exts[at]
			if r.ignore = e.resetID != resetID; !r.ignore {
				e.resize(int(headerSize), recordSize, noShrink)
			}
		}
		r.current = at
	}
	return nil
}

// resize gives an extension the sizes that its introduction tells.
func (e *ext) resize(header, record int, noShrink bool) {
	if header > len(e.header) || !noShrink {
		grown := make([]byte, header)
		copy(grown, e.header)
		e.header = grown
	}
	if record > e.recordSize || !noShrink {
		e.recordSize = record
	}
}

// introduced is the extension that a record speaks of.
func (r *replayer) introduced() (*ext, error) {
	if r.current < 0 {
		return nil, broken("dovecot.index.log changes an extension without saying which")
	}
	return &r.exts[r.current], nil
}

func (r *replayer) reset(b []byte) error {
	e, err := r.introduced()
	if err != nil {
		return err
	}
	if len(b) < 4 {
		return broken("dovecot.index.log resets an extension to nothing")
	}
	e.resetID = le.Uint32(b)
	if preserve := len(b) > 4 && b[4] != 0; preserve {
		return nil
	}
	clear(e.header)
	for i := range r.Records {
		if e.slot >= 0 {
			r.Records[i].data[e.slot] = nil
		}
	}
	return nil
}

// extHeader changes an extension's part of the header.
func (r *replayer) extHeader(b []byte, head int, sizes func([]byte) (at, size int)) error {
	e, err := r.introduced()
	if err != nil || r.ignore {
		return err
	}
	for len(b) >= head {
		at, size := sizes(b)
		if size > len(b)-head || at > len(e.header) || size > len(e.header)-at {
			return broken("dovecot.index.log changes %q outside of its header", e.name)
		}
		copy(e.header[at:], b[head:head+size])
		b = b[min(len(b), (head+size+3)&^3):]
	}
	return nil
}

// extRecord changes an extension's part of records: UID and data, padded.
func (r *replayer) extRecord(b []byte) error {
	e, err := r.introduced()
	if err != nil || r.ignore {
		return err
	}
	return r.each(b, (4+r.recordSize+3)&^3, func(u []byte) error {
		uid := le.Uint32(u)
		if uid == 0 || uid >= r.nextUID {
			return broken("dovecot.index.log changes UID %d where %d comes next", uid, r.nextUID)
		}
		if e.slot < 0 {
			return nil
		}
		return r.between(uid, uid, func(rec *Record) { rec.data[e.slot] = u[4 : 4+r.recordSize : 4+r.recordSize] })
	})
}

// extInc adds to a number in an extension's part of records.
func (r *replayer) extInc(b []byte) error {
	e, err := r.introduced()
	if err != nil || r.ignore {
		return err
	}
	size := r.recordSize
	if size != 1 && size != 2 && size != 4 && size != 8 {
		return broken("dovecot.index.log counts in a number of %d bytes", size)
	}
	return r.each(b, 8, func(u []byte) error {
		uid, diff := le.Uint32(u), int64(int32(le.Uint32(u[4:])))
		if uid == 0 || uid >= r.nextUID || e.slot < 0 {
			return nil
		}
		var wrong error
		err := r.between(uid, uid, func(rec *Record) {
			var n [8]byte
			copy(n[:size], rec.data[e.slot])
			sum := int64(le.Uint64(n[:])) + diff
			if sum < 0 || size < 8 && sum>>(8*size) != 0 {
				wrong = broken("dovecot.index.log counts %q of UID %d to %d", e.name, uid, sum)
			}
			le.PutUint64(n[:], uint64(sum))
			rec.data[e.slot] = append([]byte(nil), n[:size]...)
		})
		if err == nil {
			err = wrong
		}
		return err
	})
}

// keyword is struct mail_transaction_keyword_update, a name and ranges of UIDs.
func (r *replayer) keyword(b []byte) error {
	if len(b) < 4 {
		return broken("dovecot.index.log has a keyword without a name")
	}
	add, size := b[0] == 0, int(le.Uint16(b[2:]))
	ranges := (4 + size + 3) &^ 3
	if size == 0 || ranges > len(b) || b[0] > 1 {
		return broken("dovecot.index.log has a keyword of %d bytes", size)
	}
	n, err := r.keywordNumber(string(b[4 : 4+size]))
	if err != nil {
		return err
	}
	return r.each(b[ranges:], 8, func(e []byte) error {
		return r.between(le.Uint32(e), le.Uint32(e[4:]), func(rec *Record) {
			bits := rec.data[0]
			if add && len(bits) <= n/8 {
				bits = append(make([]byte, 0, n/8+1), bits...)[:n/8+1]
			}
			switch {
			case add:
				bits[n/8] |= 1 << (n % 8)
			case len(bits) > n/8:
				bits[n/8] &^= 1 << (n % 8)
			}
			rec.data[0] = bits
		})
	})
}

// keywordNumber is the bit of a keyword. The first keyword of all makes an
// extension that no introduction names.
func (r *replayer) keywordNumber(name string) (int, error) {
	for i, k := range r.Keywords {
		if strings.EqualFold(k, name) {
			return i, nil
		}
	}
	if len(r.Keywords) >= maxKeywords {
		return 0, broken("there are more than %d keywords", maxKeywords)
	}
	if r.extNamed(keywordsExt) < 0 {
		if _, err := r.addExt(keywordsExt, 0, nil, 0); err != nil {
			return 0, err
		}
	}
	r.Keywords = append(r.Keywords, name)
	return len(r.Keywords) - 1, nil
}
