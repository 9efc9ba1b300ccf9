package parity

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sort"
	"strconv"
	"strings"
)

// ErrLayout says that a layout is no good.
var ErrLayout = errors.New("unusable layout")

const (
	// maxShards is what one byte can number: the field of the code is GF(2^8).
	maxShards = 255
	// maxTargets bounds what every small object is copied to.
	maxTargets = 64
)

// Layout says how objects are spread: each becomes Data + Parity shards, of
// which any Data suffice, over so many targets.
type Layout struct {
	Data, Parity, Targets int
}

// ParseLayout reads "K+M", as in "4+2", for so many targets.
func ParseLayout(text string, targets int) (Layout, error) {
	k, m, ok := strings.Cut(text, "+")
	l := Layout{Targets: targets}
	var err error
	if l.Data, err = strconv.Atoi(k); err == nil {
		l.Parity, err = strconv.Atoi(m)
	}
	if !ok || err != nil || l.String() != text {
		return Layout{}, fmt.Errorf("%w: %.20q is not of the form K+M, as in 4+2", ErrLayout, text)
	}
	return l, l.Validate()
}

// String gives "K+M".
func (l Layout) String() string { return strconv.Itoa(l.Data) + "+" + strconv.Itoa(l.Parity) }

// Validate is ErrLayout for what cannot be.
func (l Layout) Validate() error {
	switch {
	case l.Data < 1 || l.Parity < 1 || l.Data+l.Parity > maxShards:
		return fmt.Errorf("%w: %s: want at least 1+1 and at most %d shards", ErrLayout, l, maxShards)
	case l.Targets < 1 || l.Targets > maxTargets:
		return fmt.Errorf("%w: %d targets: want 1 to %d", ErrLayout, l.Targets, maxTargets)
	}
	return nil
}

// MayLose says how many targets may be away, whichever they are, so that
// everything that was stored on all of them can still be read, and so that
// writing goes on. For reading, the shards that are left must suffice, and the
// copies that are left must include one of every majority. For writing there
// must also be a majority of the targets.
func (l Layout) MayLose() (read, write int) {
	counts := make([]int, l.Targets)
	for slot := range counts {
		counts[slot] = len(l.shards(0, slot))
	}
	sort.Sort(sort.Reverse(sort.IntSlice(counts)))
	lost := 0
	for _, n := range counts {
		if lost += n; lost > l.Parity {
			break
		}
		read++
	}
	read = min(read, l.Targets-l.quorum())
	return read, min(read, l.Targets-l.majority())
}

// total is how many shards an object has.
func (l Layout) total() int { return l.Data + l.Parity }

// majority is how many equal copies decide.
func (l Layout) majority() int { return l.Targets/2 + 1 }

// quorum is the least number of targets that has one in common with every
// majority.
func (l Layout) quorum() int { return l.Targets - l.majority() + 1 }

// turn is where the shards of an object begin: the target of its shard 0.
// Without it the data shards of all objects would lie on the same targets, and
// these would do all the reading.
func (l Layout) turn(name string) int {
	return int(crc32.ChecksumIEEE([]byte(name)) % uint32(l.Targets))
}

// slot is the target of a shard.
func (l Layout) slot(turn, shard int) int { return (turn + shard) % l.Targets }

// shards are the shards that a target holds, in the order in which they lie
// there.
func (l Layout) shards(turn, slot int) []int {
	var all []int
	for i := (slot - turn + l.Targets) % l.Targets; i < l.total(); i += l.Targets {
		all = append(all, i)
	}
	return all
}
