package chunk

import (
	"encoding/binary"
	"fmt"
	"math"
)

const recipeVersion = 1

// MaxRecipe is an upper bound in bytes of every recipe that Cut makes and that
// ParseRecipe takes: maxSkeleton, and at most six segments an entity.
const MaxRecipe = 2 << 20

// maxMessage keeps sums of declared sizes far from overflowing.
const maxMessage = 1 << 40

// segment is a stretch of the LF form, in the order of the message.
type segment struct {
	kind  segmentKind
	size  int64 // bytes: of the skeleton, or of the part
	width int64 // of a base64 part: digits a line, 0 = one line
	id    ID    // of the part
}

type segmentKind byte

// The numbers are those of the recipe's bytes.
const (
	segmentSkeleton segmentKind = 0 // the next bytes of the skeleton
	segmentRaw      segmentKind = 1 // a part's bytes as they are
	segmentBase64   segmentKind = 2 // a part's bytes as base64
)

// length is how long the segment is in the LF form.
func (s *segment) length() int64 {
	if s.kind == segmentBase64 {
		return base64Size(s.size, s.width)
	}
	return s.size
}

func (s *segment) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.size)<<2|uint64(s.kind))
	if s.kind == segmentBase64 {
		b = binary.AppendUvarint(b, uint64(s.width))
	}
	if s.kind != segmentSkeleton {
		b = append(b, s.id[:]...)
	}
	return b
}

// appendRecipe writes everything of a recipe but the skeleton, which follows.
func appendRecipe(b []byte, size int64, segments []segment) []byte {
	b = append(b, recipeVersion)
	b = binary.AppendUvarint(b, uint64(size))
	b = binary.AppendUvarint(b, uint64(len(segments)))
	for i := range segments {
		b = segments[i].append(b)
	}
	return b
}

// Recipe says how the LF form of a message is made of a skeleton and parts.
type Recipe struct {
	size     int64
	segments []segment
	skeleton []byte
}

// PartRef names a part; Size is its length in bytes.
type PartRef struct {
	ID   ID
	Size int64
}

// ParseRecipe reads the bytes of a message chunk. They may come from anybody:
// what it returns is consistent in itself, so that Size is what Rebuild makes
// if every part is what it should be. The Recipe refers to b.
func ParseRecipe(b []byte) (*Recipe, error) {
	r := new(Recipe)
	if err := r.parse(b); err != nil {
		return nil, err
	}
	return r, nil
}

// parse is ParseRecipe into an old Recipe, whose memory it uses again.
func (r *Recipe) parse(b []byte) error {
	if len(b) > MaxRecipe {
		return fmt.Errorf("recipe of %d bytes: want at most %d", len(b), MaxRecipe)
	}
	if len(b) == 0 || b[0] != recipeVersion {
		return fmt.Errorf("recipe: want version %d", recipeVersion)
	}
	d := decoder{rest: b[1:]}
	r.size = d.length()
	count := d.uvarint()
	// A segment of the skeleton takes two bytes, with the one it stands for.
	if d.failed || count > uint64(len(d.rest)/2) {
		return fmt.Errorf("recipe: %d segments in %d bytes", count, len(d.rest))
	}
	r.segments = r.segments[:0]
	for range count {
		r.segments = append(r.segments, d.segment())
		if d.failed {
			return fmt.Errorf("recipe: broken segment %d of %d", len(r.segments), count)
		}
	}
	r.skeleton = d.rest
	return r.checkSizes()
}

// checkSizes compares what is declared with the sum of what is there.
func (r *Recipe) checkSizes() error {
	var size, skeleton int64
	for i := range r.segments {
		s := &r.segments[i]
		if s.kind == segmentSkeleton {
			skeleton += s.size
		}
		if size += s.length(); size > maxMessage {
			return fmt.Errorf("recipe: a message of more than %d bytes", int64(maxMessage))
		}
	}
	if skeleton != int64(len(r.skeleton)) {
		return fmt.Errorf("recipe: skeleton of %d bytes, want %d", len(r.skeleton), skeleton)
	}
	if size != r.size {
		return fmt.Errorf("recipe: segments of %d bytes, want %d", size, r.size)
	}
	return nil
}

// Size is the length of the message's LF form in bytes, as the recipe
// declares it.
func (r *Recipe) Size() int64 { return r.size }

// Parts gives the parts that the recipe names, each once, in order of first use.
func (r *Recipe) Parts() []PartRef {
	var refs []PartRef
	seen := map[PartRef]bool{}
	for i := range r.segments {
		s := &r.segments[i]
		ref := PartRef{s.id, s.size}
		if s.kind != segmentSkeleton && !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs
}

// decoder reads a recipe; after the first thing that is wrong it has failed.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := uvarint(d.rest)
	if n == 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// length reads one that a message can have.
func (d *decoder) length() int64 {
	v := d.uvarint()
	if v > maxMessage {
		d.failed = true
		return 0
	}
	return int64(v)
}

func (d *decoder) segment() segment {
	head := d.uvarint()
	s := segment{kind: segmentKind(head & 3), size: int64(head >> 2)}
	if s.kind > segmentBase64 || s.size == 0 || s.size > maxMessage {
		d.failed = true
		return s
	}
	if s.kind == segmentBase64 {
		if s.width = d.length(); s.width > math.MaxInt32 {
			d.failed = true
		}
	}
	if s.kind != segmentSkeleton {
		if len(d.rest) < len(s.id) {
			d.failed = true
			return s
		}
		d.rest = d.rest[copy(s.id[:], d.rest):]
	}
	return s
}
