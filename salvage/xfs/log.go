package xfs

import (
	"context"
	"encoding/binary"
	"hash/crc32"

	"salvor/salvage/fsys"
)

// The log is a ring of records, each at a multiple of 512 bytes. A record is a head
// (xlog_rec_header), further heads where it is long, and operations, which carry
// the parts of transactions. The first word of each sector of it on disk is the
// number of the ring's round; what belongs there stands in the heads.
const (
	magicLog   = 0xfeedbabe
	sectorLen  = 512
	cyclesAt   = 44      // h_cycle_data
	cycles     = 64      // words of it in each head
	headLen    = 328     // of the head that its checksum covers
	extraLen   = 260     // the same of a further head
	maxRecord  = 1 << 18 // bytes of operations
	maxLogSize = 2 << 30
)

// A logArea is where the log is. A size of 0: nobody knows, and records are read
// wherever they turn up.
type logArea struct {
	start, size int64
}

// area is where the geometry puts the log.
func (g *geometry) area() (logArea, bool) {
	if g.logStart == 0 || g.logBlocks <= 0 || !g.mapped() {
		return logArea{}, false
	}
	off, ok := g.here(g.logStart, 1)
	size := g.logBlocks * g.block
	if !ok || g.logBlocks > maxLogSize/g.block || off+size > g.end() {
		return logArea{}, false
	}
	return logArea{off, size}, true
}

// A logRecord is a record with its words put back.
type logRecord struct {
	area  logArea
	off   int64 // of its head, on the volume
	heads int64 // how many, in sectors
	lsn   uint64
	body  []byte
	order binary.ByteOrder // of the host that wrote it
	sure  bool             // its checksum is right
}

// place is where a byte of the body stands on the volume.
func (r *logRecord) place(at int) int64 {
	off := r.off + r.heads*sectorLen + int64(at)
	if r.area.size > 0 && off >= r.area.start+r.area.size {
		off -= r.area.size
	}
	return off
}

// next is where the next record should begin.
func (r *logRecord) next() int64 {
	return r.place((len(r.body) + sectorLen - 1) / sectorLen * sectorLen)
}

// readAround reads from the log, which is a ring.
func (f *FS) readAround(a logArea, b []byte, off int64) error {
	n := int64(len(b))
	if a.size > 0 {
		n = min(n, a.start+a.size-off)
	}
	if _, err := f.v.ReadAt(b[:n], off); err != nil {
		return f.readError(off, err)
	}
	if rest := b[n:]; len(rest) > 0 {
		rest = rest[:min(int64(len(rest)), a.size)]
		if _, err := f.v.ReadAt(rest, a.start); err != nil {
			return f.readError(a.start, err)
		}
	}
	return nil
}

// record reads the record whose head stands at off; nil where there is none. What
// a younger round has overwritten is cut off.
func (f *FS) record(a logArea, off int64) (*logRecord, error) {
	head := make([]byte, sectorLen)
	if err := f.readAround(a, head, off); err != nil {
		return nil, err
	}
	length := int64(be.Uint32(head[12:]))
	if be.Uint32(head) != magicLog || length == 0 || length > maxRecord || a.size > 0 && length > a.size {
		return nil, nil
	}
	r := &logRecord{area: a, off: off, heads: 1, lsn: be.Uint64(head[16:]), order: binary.LittleEndian}
	switch be.Uint32(head[300:]) {
	case 1:
	case 2, 3:
		r.order = binary.BigEndian
	default:
		return nil, nil
	}
	if full := int64(be.Uint32(head[320:])); be.Uint32(head[8:])&2 != 0 && full > cycles*sectorLen && full <= maxRecord {
		r.heads = (full + cycles*sectorLen - 1) / (cycles * sectorLen)
	}
	return r, f.body(r, head, length)
}

// body reads a record's further heads and its operations, and puts the words back
// that the round's number stands for. It reads no further than that number goes:
// heads are cheap to forge.
func (f *FS) body(r *logRecord, head []byte, length int64) error {
	sectors := (length + sectorLen - 1) / sectorLen
	all := make([]byte, (r.heads+sectors)*sectorLen)
	heads, body := all[:r.heads*sectorLen], all[r.heads*sectorLen:]
	if err := f.readAround(r.area, heads, r.off); err != nil {
		return err
	}
	whole := int64(len(body))
	for at, step := int64(0), int64(8*sectorLen); at < whole; at, step = at+step, step*2 {
		part := body[at:min(at+step, whole)]
		if err := f.readAround(r.area, part, r.place(int(at))); err != nil {
			return err
		}
		for i := int64(0); i < int64(len(part)); i += sectorLen {
			if be.Uint32(part[i:]) != be.Uint32(head[4:]) {
				whole = at + i
				break
			}
		}
	}
	if whole == int64(len(body)) {
		r.sure = binary.LittleEndian.Uint32(all[32:]) == r.checksum(heads, body[:length])
	}
	r.body = body[:min(length, whole)]
	for i := 0; i*sectorLen < len(r.body); i++ {
		at := cyclesAt + i*4
		if i >= cycles { // in a further head, behind its xh_cycle
			at = i/cycles*sectorLen + 4 + i%cycles*4
		}
		if at+4 > len(heads) {
			r.body = r.body[:i*sectorLen]
			break
		}
		copy(r.body[i*sectorLen:][:4], heads[at:])
	}
	return nil
}

func (r *logRecord) checksum(heads, body []byte) uint32 {
	crc := crc32.Update(0, castagnoli, heads[:32])
	crc = crc32.Update(crc, castagnoli, zeros[:])
	crc = crc32.Update(crc, castagnoli, heads[36:headLen])
	for i := int64(1); i < r.heads; i++ {
		crc = crc32.Update(crc, castagnoli, heads[i*sectorLen:][:extraLen])
	}
	return crc32.Update(crc, castagnoli, body)
}

// eachRecord reads the records of the log as they stand, so that a transaction
// that goes on in the next record is read in one go, but for that at the ring's seam.
func (f *FS) eachRecord(ctx context.Context, a logArea, do func(*logRecord) error) error {
	const step = 256 << 10
	b := make([]byte, step)
	next := a.start // nothing begins before
	for at := a.start; at < min(a.start+a.size, f.v.Size()); at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := b[:min(step, a.start+a.size-at)]
		if _, err := f.v.ReadAt(part, at); err != nil {
			return f.readError(at, err)
		}
		for i := 0; i+sectorLen <= len(part); i += sectorLen {
			if be.Uint32(part[i:]) != magicLog || at+int64(i) < next {
				continue
			}
			r, err := f.record(a, at+int64(i))
			if err != nil {
				return err
			}
			if r == nil {
				continue
			}
			if n := r.next(); n > r.off {
				next = n
			}
			if err := do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Known reads the log, once.
func (f *FS) Known(ctx context.Context, put func(fsys.Trace) error) error {
	if err := f.reconsider(); err != nil {
		return err
	}
	g := f.main()
	a, ok := g.area()
	if !ok || f.logged.Load() {
		return ctx.Err()
	}
	l := newLogReader(f, g, put)
	err := f.eachRecord(ctx, a, func(r *logRecord) error { return l.items.feed(r, l.item) })
	f.logged.Store(err == nil)
	return err
}

// looseRecord puts what a log record holds that was come upon where nobody knows
// of a log.
func (f *FS) looseRecord(off int64, put func(fsys.Trace) error) error {
	r, err := f.record(logArea{}, off)
	if err != nil || r == nil {
		return err
	}
	l := newLogReader(f, f.main(), put)
	return l.items.feed(r, l.item)
}

// loggedBlock puts a logged block together again: what was not logged of it is
// zero. off is where its item begins. Who asks for one asks for the others of the
// same record next: they are kept, a few MiB at most.
func (f *FS) loggedBlock(ctx context.Context, off int64) ([]byte, error) {
	if last := f.items.Load(); last != nil && (*last)[off] != nil {
		block, _ := (*last)[off].block()
		return block, nil
	}
	a, _ := f.main().area()
	if off < a.start || off >= a.start+a.size {
		a = logArea{}
	}
	r, err := f.recordBefore(ctx, a, off)
	if err != nil {
		return nil, err
	}
	whole := map[int64]*item{}
	var items assembler
	for range 16 { // an item may go on in the next records
		if r == nil {
			break
		}
		if err := items.feed(r, func(it *item) error { whole[it.off] = it; return nil }); err != nil {
			return nil, err
		}
		if it := whole[off]; it != nil {
			f.items.Store(&whole)
			block, _ := it.block()
			return block, nil
		}
		if r, err = f.record(a, r.next()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// recordBefore finds the record in which off lies.
func (f *FS) recordBefore(ctx context.Context, a logArea, off int64) (*logRecord, error) {
	const step = 32 << 10
	b := make([]byte, step)
	low := off - maxRecord - maxRecord/64
	if a.size > 0 {
		low = max(low, a.start)
	}
	for end := off / sectorLen * sectorLen; end > max(low, 0); end -= step {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		from := max(end-step, 0)
		part := b[:end-from]
		if _, err := f.v.ReadAt(part, from); err != nil {
			return nil, f.readError(from, err)
		}
		for i := len(part) - sectorLen; i >= 0; i -= sectorLen {
			if be.Uint32(part[i:]) != magicLog {
				continue
			}
			if r, err := f.record(a, from+int64(i)); err != nil || r != nil {
				return r, err
			}
		}
	}
	return nil, nil
}

// strayRecord tells whether a log record's head stands in a window at a place
// that no known log explains.
func (f *FS) strayRecord(b []byte, off int64) bool {
	if len(b) < sectorLen || be.Uint32(b) != magicLog || off%sectorLen != 0 {
		return false
	}
	a, ok := f.main().area()
	return !ok || off < a.start || off >= a.start+a.size
}
