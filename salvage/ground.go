package salvage

import (
	"errors"
	"math/bits"
	"os"
	"sync"

	"salvor/salvage/piece"
	"salvor/salvage/volume"
)

// A ground is a bitmap of a volume's blocks: which of them something explains. It
// lies in a sparse file; some pages of it are in memory.
type ground struct {
	f     *os.File
	block int64 // bytes
	count int64 // blocks

	mu    sync.Mutex
	pages map[int64]*page
	clock int64
	err   error // the first of Next, which cannot tell
}

// A page is a stretch of the bitmap.
type page struct {
	bits  [pageBytes]byte
	dirty bool
	used  int64
}

const (
	pageBytes = 16 << 10
	pagesKept = 512 // 8 MiB
)

// newGround makes a bitmap for a volume of size bytes, with nothing explained. It
// lies in a file without a name in dir: it is made again from the notes.
func newGround(dir string, size, block int64) (*ground, error) {
	f, err := os.CreateTemp(dir, "ground-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &ground{f: f, block: block, count: (size + block - 1) / block, pages: map[int64]*page{}}, nil
}

func (g *ground) close() error { return g.f.Close() }

// page gives the page that holds the bit of a block.
func (g *ground) page(block int64) (*page, error) {
	at := block / (8 * pageBytes)
	g.clock++
	if p := g.pages[at]; p != nil {
		p.used = g.clock
		return p, nil
	}
	if len(g.pages) >= pagesKept {
		if err := g.evict(); err != nil {
			return nil, err
		}
	}
	p := &page{used: g.clock}
	if n, err := g.f.ReadAt(p.bits[:], at*pageBytes); n < pageBytes {
		clear(p.bits[n:]) // the file ends with the last page that was written
		if err != nil && !isEOF(err) {
			return nil, err
		}
	}
	g.pages[at] = p
	return p, nil
}

func (g *ground) evict() error {
	oldest := int64(-1)
	for at, p := range g.pages {
		if oldest < 0 || p.used < g.pages[oldest].used {
			oldest = at
		}
	}
	p := g.pages[oldest]
	delete(g.pages, oldest)
	if !p.dirty {
		return nil
	}
	_, err := g.f.WriteAt(p.bits[:], oldest*pageBytes)
	return err
}

// explain notes that the blocks under [off, off+n) are explained.
func (g *ground) explain(off, n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for b := off / g.block; b < min(g.count, (off+n+g.block-1)/g.block); b++ {
		p, err := g.page(b)
		if err != nil {
			return err
		}
		i := b % (8 * pageBytes)
		p.bits[i/8] |= 1 << (i % 8)
		p.dirty = true
	}
	return nil
}

// explained tells whether the block that holds the byte at off is explained.
func (g *ground) explained(off int64) (bool, error) {
	b := off / g.block
	if off < 0 || b >= g.count {
		return true, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := g.page(b)
	if err != nil {
		return false, err
	}
	i := b % (8 * pageBytes)
	return p.bits[i/8]&(1<<(i%8)) != 0, nil
}

// Next implements piece.Ground: the first run of unexplained blocks that ends
// behind off.
func (g *ground) Next(off int64) (volume.Range, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := g.seek(max(0, off)/g.block, 0)
	if from >= g.count {
		return volume.Range{}, false
	}
	to := min(g.seek(from, 1), from+longestRun)
	return volume.Range{Off: from * g.block, Len: (to - from) * g.block}, true
}

// A coarse ground has larger blocks than the one below: explained in part is
// explained.
type coarse struct {
	*ground
	block int64 // bytes
}

// Next implements piece.Ground.
func (c coarse) Next(off int64) (volume.Range, bool) {
	for {
		run, ok := c.ground.Next(off)
		if !ok {
			return run, false
		}
		off = run.End()
		from, to := (run.Off+c.block-1)/c.block*c.block, off/c.block*c.block
		if from < to {
			return volume.Range{Off: from, Len: to - from}, true
		}
	}
}

// free is the ground on which fragments are looked for, in the system's blocks.
func (s *scan) free() piece.Ground {
	if s.step() == s.block() {
		return s.ground
	}
	return coarse{s.ground, s.block()}
}

// longestRun bounds, in blocks, how far Next looks for the end of a run.
const longestRun = 1 << 20

// seek gives the first block at or behind b whose bit is this; count where there is
// none.
func (g *ground) seek(b int64, bit byte) int64 {
	for b < g.count {
		p, err := g.page(b)
		if err != nil {
			g.err = errors.Join(g.err, err)
			return g.count
		}
		i := b % (8 * pageBytes)
		v := p.bits[i/8]
		if bit == 0 {
			v = ^v
		}
		if v >>= i % 8; v != 0 {
			return min(g.count, b+int64(bits.TrailingZeros8(v)))
		}
		b += 8 - i%8
	}
	return g.count
}
