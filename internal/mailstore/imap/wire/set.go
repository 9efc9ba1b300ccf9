package wire

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// A Range is the UIDs from First to Last, both included.
type Range struct{ First, Last uint32 }

// A Set is a set of UIDs: ascending ranges that neither touch nor overlap.
type Set []Range

// SetOf makes a set of UIDs in any order.
func SetOf(uids ...uint32) Set {
	sorted := slices.Clone(uids)
	slices.Sort(sorted)
	var s Set
	for _, u := range sorted {
		s = s.join(Range{u, u})
	}
	return s
}

// join adds a range that begins no earlier than the set's last one.
func (s Set) join(r Range) Set {
	if n := len(s); n > 0 && uint64(r.First) <= uint64(s[n-1].Last)+1 {
		s[n-1].Last = max(s[n-1].Last, r.Last)
		return s
	}
	return append(s, r)
}

// Bounds of what a server may call a set.
const maxRanges = 1 << 23

// ParseSet reads a set as servers write it: "1:5,9,20:11". A star is refused,
// since it means nothing in an answer.
func ParseSet(text string) (Set, error) {
	var all []Range
	for text != "" {
		var one string
		var more bool
		one, text, more = strings.Cut(text, ",")
		if more && text == "" {
			return nil, errors.New("a UID set ends in a comma")
		}
		r, err := parseRange(one)
		if err != nil {
			return nil, err
		}
		if len(all) == maxRanges {
			return nil, errors.New("a UID set of too many ranges")
		}
		all = append(all, r)
	}
	return normal(all), nil
}

func parseRange(one string) (Range, error) {
	first, last, isRange := strings.Cut(one, ":")
	a, err := parseUID(first)
	if err != nil {
		return Range{}, err
	}
	b := a
	if isRange {
		if b, err = parseUID(last); err != nil {
			return Range{}, err
		}
	}
	return Range{min(a, b), max(a, b)}, nil
}

func parseUID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no UID", shorten(s, 20))
	}
	return uint32(n), nil
}

// normal sorts and joins ranges.
func normal(all []Range) Set {
	slices.SortFunc(all, func(a, b Range) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	var s Set
	for _, r := range all {
		s = s.join(r)
	}
	return s
}

// String writes the set as commands take it; "" for the empty one.
func (s Set) String() string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(r.String())
	}
	return b.String()
}

// String writes the range.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.FormatUint(uint64(r.First), 10)
	}
	return fmt.Sprintf("%d:%d", r.First, r.Last)
}

// Len is how many UIDs the set holds.
func (s Set) Len() int64 {
	var n int64
	for _, r := range s {
		n += int64(r.Last) - int64(r.First) + 1
	}
	return n
}

// Contains tells whether the UID is in the set.
func (s Set) Contains(uid uint32) bool {
	i, ok := slices.BinarySearchFunc(s, uid, func(r Range, uid uint32) int {
		switch {
		case r.Last < uid:
			return -1
		case r.First > uid:
			return 1
		}
		return 0
	})
	return ok && s[i].First <= uid
}

// All gives the UIDs in ascending order.
func (s Set) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, r := range s {
			for u := uint64(r.First); u <= uint64(r.Last); u++ {
				if !yield(uint32(u)) {
					return
				}
			}
		}
	}
}

// Chunks splits the set into sets of at most n UIDs whose text has at most
// length bytes, since servers bound their command lines (RFC 7162, section 4:
// 8192 bytes).
func (s Set) Chunks(n int64, length int) iter.Seq[Set] {
	return func(yield func(Set) bool) {
		var chunk Set
		var count int64
		text := 0
		for _, r := range s {
			for {
				size := len(r.String()) + 1
				if len(chunk) > 0 && (count == n || text+size > length) {
					if !yield(chunk) {
						return
					}
					chunk, count, text = nil, 0, 0
				}
				take := min(n-count, int64(r.Last)-int64(r.First)+1)
				part := Range{r.First, r.First + uint32(take-1)}
				chunk, count, text = append(chunk, part), count+take, text+size
				if part.Last == r.Last {
					break
				}
				r.First = part.Last + 1
			}
		}
		if len(chunk) > 0 {
			yield(chunk)
		}
	}
}
