package xfs

import "encoding/binary"

const (
	opLen         = 12   // xlog_op_header
	opTransaction = 0x69 // oh_clientid
	opStart       = 1    // oh_flags
	opCommit      = 2
	opContinue    = 4 // goes on in the next record
	opContinued   = 8 // goes on from the record before
	opUnmount     = 32
)

// types of items
const (
	itemFirst  = 0x1236
	itemLast   = 0x125f
	itemInode  = 0x123b
	itemBuffer = 0x123c
)

// bounds of the work in a log
const (
	maxOpen    = 64      // transactions at once
	maxRegions = 512     // of an item
	maxItem    = 1 << 18 // bytes
)

// An item is one change in a transaction: a description and the bytes.
type item struct {
	off     int64 // where its description stands on the volume
	lsn     uint64
	kind    uint16
	want    int // regions; 0: its description is not whole yet
	regions [][]byte
	bytes   int
	order   binary.ByteOrder
	sure    bool
	partial bool // the last region goes on in the next record
}

// An assembler makes items of operations. Its zero value is ready.
type assembler struct {
	open map[uint32]*item // by transaction
}

// feed takes the next record and gives items as they get whole.
func (a *assembler) feed(r *logRecord, done func(*item) error) error {
	if a.open == nil || len(a.open) > maxOpen {
		a.open = map[uint32]*item{}
	}
	for at := 0; at+opLen <= len(r.body); {
		op := r.body[at:]
		tid, n, client, flags := be.Uint32(op), int64(be.Uint32(op[4:])), op[8], op[9]
		if n > int64(len(op)-opLen) {
			return nil // the rest was overwritten, or is nonsense
		}
		data := op[opLen : opLen+n]
		place := r.place(at + opLen)
		at += opLen + int(n)
		if client != opTransaction || flags&(opStart|opCommit|opUnmount) != 0 {
			if client == opTransaction {
				delete(a.open, tid)
			}
			continue
		}
		it := a.region(r, tid, data, place, flags)
		if it == nil || it.partial || len(it.regions) < it.want {
			continue
		}
		delete(a.open, tid)
		if err := done(it); err != nil {
			return err
		}
	}
	return nil
}

// region adds a region to a transaction's item, or begins one.
func (a *assembler) region(r *logRecord, tid uint32, data []byte, place int64, flags byte) *item {
	it := a.open[tid]
	if flags&opContinued != 0 {
		if it == nil || !it.partial || it.bytes+len(data) > maxItem {
			delete(a.open, tid)
			return nil
		}
		last := &it.regions[len(it.regions)-1]
		*last = append((*last)[:len(*last):len(*last)], data...)
		it.bytes += len(data)
		it.partial = flags&opContinue != 0
		it.sure = it.sure && r.sure
		return a.described(tid, it)
	}
	if it != nil && (it.partial || it.bytes+len(data) > maxItem) {
		delete(a.open, tid)
		it = nil
	}
	if it == nil {
		it = &item{off: place, lsn: r.lsn, order: r.order, sure: true}
		a.open[tid] = it
	}
	it.regions = append(it.regions, data)
	it.bytes += len(data)
	it.partial = flags&opContinue != 0
	it.sure = it.sure && r.sure
	return a.described(tid, it)
}

// described reads an item's description, which may itself go on in the next record,
// once it is whole; nil where it is none.
func (a *assembler) described(tid uint32, it *item) *item {
	if it.want > 0 || it.partial {
		return it
	}
	if desc := it.regions[0]; len(desc) >= 8 {
		it.kind, it.want = it.order.Uint16(desc), int(it.order.Uint16(desc[2:]))
	}
	if it.kind < itemFirst || it.kind > itemLast || it.want < 1 || it.want > maxRegions {
		delete(a.open, tid)
		return nil
	}
	return it
}

// block puts together what was logged of a block (xfs_buf_log_format: a map of
// which 128-byte pieces were). What was not logged is zero. place is where the
// block belongs, in 512-byte units.
func (it *item) block() (b []byte, place uint64) {
	const piece, head = 128, 20
	desc := it.regions[0]
	if len(desc) < head {
		return nil, 0
	}
	size, words := int(it.order.Uint16(desc[6:]))*sectorLen, int(it.order.Uint32(desc[16:]))
	if size == 0 || size > maxBlock || words < 0 || words > (len(desc)-head)/4 {
		return nil, 0
	}
	b = make([]byte, size)
	logged := func(i int) bool {
		return i < words*32 && i*piece < size && it.order.Uint32(desc[head+i/32*4:])>>(i%32)&1 != 0
	}
	i := 0
	for _, region := range it.regions[1:] {
		for ; i*piece < size && !logged(i); i++ {
		}
		n := 0
		for logged(i+n) && n*piece < len(region) {
			n++
		}
		copy(b[min(i*piece, size):min((i+n)*piece, size)], region)
		i += n
	}
	return b, it.order.Uint64(desc[8:])
}
