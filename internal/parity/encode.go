package parity

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// coder makes the shares of objects, and knows one layout.
type coder struct {
	Layout
	rs      reedsolomon.Encoder
	buffers sync.Pool // of *[]byte, for shares
}

func newCoder(l Layout) (*coder, error) {
	// Blocks are coded row by row, each too small to be worth a goroutine.
	rs, err := reedsolomon.New(l.Data, l.Parity, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, err
	}
	return &coder{Layout: l, rs: rs}, nil
}

// encode gives the shares of an object with meta m, by target; nil for a target that gets
// none. They take the object's size times total/Data, and nothing else does:
// parity is computed where it will lie.
func (c *coder) encode(name string, m meta, body []byte) ([][]byte, error) {
	turn := c.turn(name)
	shares := make([][]byte, c.Targets)
	at := make([][]byte, c.total()) // where each shard lies
	for slot := range shares {
		own := c.shards(turn, slot)
		if len(own) == 0 {
			continue
		}
		b := c.buffer(m.shareSize(own))
		copy(b, header{meta: m, first: own[0], targets: c.Targets}.marshal())
		for _, i := range own {
			end := len(b) + int(onTarget(m.length(i)))
			at[i] = b[len(b):end:end]
			b = b[:end]
		}
		shares[slot] = b
	}
	return shares, c.fill(m, body, at)
}

// buffer gives memory for a share: packs come one after another and are all
// of a size, so it is used again.
func (c *coder) buffer(size int64) []byte {
	if b, ok := c.buffers.Get().(*[]byte); ok && int64(cap(*b)) >= size {
		return (*b)[:headerSize]
	}
	return make([]byte, headerSize, size)
}

// recycle takes shares back that nobody reads any more.
func (c *coder) recycle(shares [][]byte) {
	for _, b := range shares {
		if b != nil {
			c.buffers.Put(&b)
		}
	}
}

// fill computes all rows, on as many processors as there are.
func (c *coder) fill(m meta, body []byte, at [][]byte) error {
	workers := int64(min(runtime.GOMAXPROCS(0), 4))
	rows := m.rows()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs[w] = c.fillRows(m, body, at, rows*w/workers, rows*(w+1)/workers) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *coder) fillRows(m meta, body []byte, at [][]byte, from, to int64) error {
	shards := make([][]byte, c.total())
	pad := make([]byte, c.Data*BlockSize)
	sums := m.seeds()
	for row := from; row < to; row++ {
		width := min(BlockSize, m.shardSize()-row*BlockSize)
		for i := range shards {
			n := min(max(m.length(i)-row*BlockSize, 0), BlockSize) // of this block
			switch {
			case i >= c.Data:
				shards[i] = at[i][row*(BlockSize+sumSize):][:width]
			case n == width:
				off := int64(i)*m.shardSize() + row*BlockSize
				shards[i] = body[off : off+width]
			default: // the end of the object, made up with zeros
				p := pad[i*BlockSize:][:width]
				clear(p)
				if n > 0 {
					copy(p, body[int64(i)*m.shardSize()+row*BlockSize:][:n])
				}
				shards[i] = p
			}
		}
		if err := c.rs.Encode(shards); err != nil {
			return err
		}
		for i, b := range shards {
			n := min(max(m.length(i)-row*BlockSize, 0), BlockSize)
			if n == 0 {
				continue
			}
			to := at[i][row*(BlockSize+sumSize):]
			if i < c.Data {
				copy(to, b[:n])
			}
			binary.BigEndian.PutUint32(to[n:], sums.sum(i, row, b[:n]))
		}
	}
	return nil
}
