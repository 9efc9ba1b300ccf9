package diskimage

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// An Array says how the members of a RAID were made of an image: md's
// left-symmetric layout, without superblocks, the data from the first byte on.
type Array struct {
	Level   int // 5 or 6
	Chunk   int64
	Members []Member // in their order
}

// A Member is one disk of an array.
type Member struct {
	Path string // "": it is missing
	Map  string // of its unreadable sectors, "" for none
	bad  map[int64]bool
}

// chunk is the arrays', in bytes.
const chunk = 64 << 10

// Bad rows of blocks, of a member.
const (
	badShare = .015 // of the rows of each of three members, in runs
	badRun   = 64   // blocks, at most
)

// array stripes the image over members and damages them.
func (d *Damaged) array(dir string, r *rand.Rand) error {
	a := &Array{Level: 5, Chunk: chunk, Members: make([]Member, 5)}
	if d.Kind == RAID6One || d.Kind == RAID6Two {
		a.Level, a.Members = 6, make([]Member, 6)
	}
	d.Array = a
	stripes := a.stripes(d.Base.Options.Size)
	missing := map[Kind][]int{RAID6One: {2}, RAID6Two: {1, 4}, RAID5One: {3}}[d.Kind]
	for i := range a.Members {
		a.Members[i].Path = filepath.Join(dir, fmt.Sprintf("%s-%d.img", d.Kind, i))
		a.Members[i].bad = map[int64]bool{}
	}
	if err := a.stripe(d.Base.Path, stripes); err != nil {
		return err
	}
	for _, i := range missing {
		if err := os.Remove(a.Members[i].Path); err != nil {
			return err
		}
		a.Members[i].Path = ""
	}
	a.spoil(d.Kind, stripes, r)
	for i := range a.Members {
		if err := a.Members[i].write(stripes * chunk); err != nil {
			return err
		}
	}
	d.Unreadable = a.lost(stripes, d.Base.Options.Size)
	return nil
}

func (a *Array) data() int64 { return int64(len(a.Members) - a.Level + 4) }

func (a *Array) stripes(size int64) int64 {
	row := a.data() * chunk
	return (size + row - 1) / row
}

// places gives the members that hold the data chunks of a stripe, and those that
// hold its parity, P first (drivers/md/raid5.c, ALGORITHM_LEFT_SYMMETRIC).
func (a *Array) places(stripe int64) (data, parity []int) {
	n := len(a.Members)
	at := n - 1 - int(stripe%int64(n))
	for i := range n {
		m := (at + i) % n
		if i < a.Level-4 {
			parity = append(parity, m)
		} else {
			data = append(data, m)
		}
	}
	return data, parity
}

// stripe writes all members.
func (a *Array) stripe(image string, stripes int64) (err error) {
	from, err := os.Open(image)
	if err != nil {
		return err
	}
	defer from.Close()
	files := make([]*os.File, len(a.Members))
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for i, m := range a.Members {
		if files[i], err = os.Create(m.Path); err != nil {
			return err
		}
		if err = files[i].Truncate(stripes * chunk); err != nil {
			return err
		}
	}
	row := make([]byte, a.data()*chunk)
	for s := range stripes {
		n, err := io.ReadFull(from, row)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		clear(row[n:])
		data, parity := a.places(s)
		for i, m := range data {
			if err := put(files[m], row[int64(i)*chunk:][:chunk], s); err != nil {
				return err
			}
		}
		for i, b := range sums(row)[:len(parity)] {
			if err := put(files[parity[i]], b, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// put writes a chunk, leaving zeros out.
func put(f *os.File, b []byte, stripe int64) error {
	for _, c := range b {
		if c != 0 {
			_, err := f.WriteAt(b, stripe*chunk)
			return err
		}
	}
	return nil
}

// sums gives P and Q of a row: the sum of the chunks, and that of the chunks times
// the powers of 2, in the field of lib/raid6 (polynomial 0x11d).
func sums(row []byte) [][]byte {
	p, q := make([]byte, chunk), make([]byte, chunk)
	for at := len(row) - chunk; at >= 0; at -= chunk {
		for i, c := range row[at : at+chunk] {
			p[i] ^= c
			double := q[i] << 1
			if q[i]&0x80 != 0 {
				double ^= 0x1d
			}
			q[i] = double ^ c
		}
	}
	return [][]byte{p, q}
}

// spoil chooses the bad blocks of members.
func (a *Array) spoil(kind Kind, stripes int64, r *rand.Rand) {
	blocks := stripes * chunk / blockSize
	var there []*Member
	for i := range a.Members {
		if a.Members[i].Path != "" {
			there = append(there, &a.Members[i])
		}
	}
	switch kind {
	case RAID5Bad, RAID6One:
		used := map[int64]bool{}
		for _, m := range there[:3] {
			for float64(len(m.bad)) < badShare*float64(blocks) {
				at := r.Int64N(blocks)
				for b, end := at, min(blocks, at+1+r.Int64N(badRun)); b < end; b++ {
					if !used[b] {
						used[b], m.bad[b] = true, true
					}
				}
			}
		}
	case RAID5One:
		for _, m := range there[:2] {
			for range max(1, stripes/200) {
				first := r.Int64N(stripes) * chunk / blockSize
				for b := range int64(chunk / blockSize) {
					m.bad[first+b] = true
				}
			}
		}
	}
}

// write makes the bad blocks zeros, and tells them in a map.
func (m *Member) write(size int64) error {
	if m.Path == "" || len(m.bad) == 0 {
		return nil
	}
	f, err := os.OpenFile(m.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var bad []Extent
	for b := range m.bad {
		bad = append(bad, Extent{Off: b * blockSize, Len: blockSize})
		if _, err := f.WriteAt(make([]byte, blockSize), b*blockSize); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	m.Map = m.Path + ".map"
	return errors.Join(f.Close(), writeMap(m.Map, size, bad))
}

// lost gives what no row gives back: where more members fail than there is parity
// for, the blocks of the failing ones.
func (a *Array) lost(stripes, size int64) (all []Extent) {
	const blocks = chunk / blockSize
	for s := range stripes {
		data, parity := a.places(s)
		for b := range int64(blocks) {
			failing := func(member int) bool {
				m := a.Members[member]
				return m.Path == "" || m.bad[s*blocks+b]
			}
			n := 0
			for m := range a.Members {
				if failing(m) {
					n++
				}
			}
			for i, m := range data {
				if at := (s*a.data()+int64(i))*chunk + b*blockSize; n > len(parity) && failing(m) && at < size {
					all = append(all, Extent{Off: at, Len: blockSize})
				}
			}
		}
	}
	return all
}
