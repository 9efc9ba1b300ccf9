package restore

import "encoding/binary"

// An addition is what is remembered of one message that was added.
type addition struct {
	bytes        int64
	maybeDeleted bool
	tag          int64 // of its Wish
	uid          UID   // at the destination
}

// receipts are what was added to one folder, in that order, until the account is
// closed: only then is it known what lasts. They are packed, so that a message
// takes about six bytes.
type receipts struct {
	n      int
	packed []byte
	last   addition
}

func (r *receipts) add(a addition) {
	size := a.bytes << 1
	if a.maybeDeleted {
		size |= 1
	}
	for _, v := range []int64{size, a.tag - r.last.tag, int64(a.uid) - int64(r.last.uid)} {
		r.packed = binary.AppendVarint(r.packed, v)
	}
	r.n, r.last = r.n+1, a
}

// each yields all of them and stops at yield's first error.
func (r *receipts) each(yield func(addition) error) error {
	var a addition
	rest := r.packed
	next := func() int64 {
		v, n := binary.Varint(rest)
		rest = rest[n:]
		return v
	}
	for len(rest) > 0 {
		size := next()
		a.bytes, a.maybeDeleted = size>>1, size&1 != 0
		a.tag += next()
		a.uid = UID(int64(a.uid) + next())
		if err := yield(a); err != nil {
			return err
		}
	}
	return nil
}
