// Package raidmaker makes the members of RAID arrays for tests, slowly and as
// plainly as their documentation describes them: the placement of md's levels
// block by block, Q by Horner's rule bit by bit, superblocks field by field. It
// shares nothing with package salvage/raid, which reads what is made here; what
// mdadm's own restriper makes of the same bytes is compared in its tests.
package raidmaker

import (
	"fmt"
	"io"
)

// A Spec describes an array as md counts.
type Spec struct {
	Level  int   // 0, 1, 4, 5, 6, 10, or -1 for linear
	Layout int   // md's number; for RAID 10 near | far<<8 | offset<<16 | sets<<17
	Disks  int   // in the array, present or not
	Chunk  int64 // bytes
	// DataOffset is where the data begins in every member, bytes.
	DataOffset int64
}

// Members is how many bytes of data every member needs for a volume of size bytes.
func (s Spec) Members(size int64) int64 {
	up := func(n, by int64) int64 { return (n + by - 1) / by }
	switch s.Level {
	case 1:
		return size
	case -1:
		return up(size, int64(s.Disks))
	case 10:
		near, far := int64(s.Layout&255), int64(s.Layout>>8&255)
		rows := up(up(size, s.Chunk)*near, int64(s.Disks))
		return rows * far * s.Chunk
	}
	return up(size, s.Chunk*int64(s.data())) * s.Chunk
}

// data is how many chunks of a row are data.
func (s Spec) data() int {
	switch s.Level {
	case 4, 5:
		return s.Disks - 1
	case 6:
		return s.Disks - 2
	}
	return s.Disks
}

// InMemory stripes data and gives the members with their data offsets.
func InMemory(data []byte, s Spec) [][]byte {
	members := make([][]byte, s.Disks)
	out := make([]io.WriterAt, s.Disks)
	for i := range members {
		members[i] = make([]byte, s.DataOffset+s.Members(int64(len(data))))
		out[i] = memory(members[i])
	}
	if err := Stripe(reader(data), int64(len(data)), s, out); err != nil {
		panic(err) // memory takes everything
	}
	return members
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

type reader []byte

func (r reader) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(r)) {
		return 0, io.EOF
	}
	n := copy(p, r[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stripe writes a volume of size bytes to the members of an array; the rest of the
// last row is zeros. Only a row is held in memory.
func Stripe(volume io.ReaderAt, size int64, s Spec, members []io.WriterAt) error {
	switch s.Level {
	case 1:
		return s.copyAll(volume, size, members)
	case -1:
		return s.concat(volume, size, members)
	case 10:
		return s.tens(volume, size, members)
	case 0, 4, 5, 6:
	default:
		return fmt.Errorf("level %d cannot be made", s.Level)
	}
	row := int64(s.data()) * s.Chunk
	for stripe := int64(0); stripe*row < size; stripe++ {
		chunks := make([][]byte, s.Disks)
		for b := range s.data() {
			c := make([]byte, s.Chunk)
			at := stripe*row + int64(b)*s.Chunk
			if _, err := volume.ReadAt(c[:max(0, min(s.Chunk, size-at))], at); err != nil && err != io.EOF {
				return err
			}
			chunks[s.disk(b, stripe)] = c
		}
		s.parity(chunks, stripe)
		for d, c := range chunks {
			if _, err := members[d].WriteAt(c, s.DataOffset+stripe*s.Chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Spec) copyAll(volume io.ReaderAt, size int64, members []io.WriterAt) error {
	for _, m := range members {
		if _, err := io.Copy(io.NewOffsetWriter(m, s.DataOffset), io.NewSectionReader(volume, 0, size)); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) concat(volume io.ReaderAt, size int64, members []io.WriterAt) error {
	each := s.Members(size)
	for i, m := range members {
		part := io.NewSectionReader(volume, int64(i)*each, max(0, min(each, size-int64(i)*each)))
		if _, err := io.Copy(io.NewOffsetWriter(m, s.DataOffset), part); err != nil {
			return err
		}
	}
	return nil
}

// tens writes RAID 10 as md(4) tells it: near copies of a chunk follow each other
// over the disks; far copies repeat the whole picture in the next part of the
// disks, or, with the offset layout, row by row, moved on by one disk each time.
func (s Spec) tens(volume io.ReaderAt, size int64, members []io.WriterAt) error {
	near, far, offset := int64(s.Layout&255), int64(s.Layout>>8&255), s.Layout>>16&1 == 1
	disks := int64(s.Disks)
	part := s.Members(size) / far
	c := make([]byte, s.Chunk)
	for i := int64(0); i*s.Chunk < size; i++ {
		clear(c)
		if _, err := volume.ReadAt(c[:min(s.Chunk, size-i*s.Chunk)], i*s.Chunk); err != nil && err != io.EOF {
			return err
		}
		for copyOf := range near * far {
			n, f := copyOf%near, copyOf/near
			place := i*near + n
			disk, row := place%disks, place/disks
			at := row*s.Chunk + f*part
			if offset {
				firstRow := i * near / disks
				at = (firstRow*far + (row - firstRow) + f) * s.Chunk
			}
			if _, err := members[(disk+f*near)%disks].WriteAt(c, s.DataOffset+at); err != nil {
				return err
			}
		}
	}
	return nil
}
