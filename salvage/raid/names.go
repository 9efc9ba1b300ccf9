package raid

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Level is how an array spreads its bytes, named as mdadm names it. The empty
// Level is one that is not known.
type Level string

// The levels.
const (
	Linear Level = "linear"
	RAID0  Level = "raid0"
	RAID1  Level = "raid1"
	RAID4  Level = "raid4"
	RAID5  Level = "raid5"
	RAID6  Level = "raid6"
	RAID10 Level = "raid10"
)

// levels gives md's numbers.
var levels = map[int]Level{-1: Linear, 0: RAID0, 1: RAID1, 4: RAID4, 5: RAID5, 6: RAID6, 10: RAID10}

// ParseLevel reads a level as people write it: "5", "raid5", "RAID5", "linear".
func ParseLevel(s string) (Level, error) {
	short := strings.TrimPrefix(strings.ToLower(s), "raid")
	for _, l := range levels {
		if strings.TrimPrefix(string(l), "raid") == short {
			return l, nil
		}
	}
	return "", fmt.Errorf("raid level %q is none of linear, 0, 1, 4, 5, 6, 10", s)
}

// Layout is the variant of a level, named as mdadm names it: "left-symmetric" and
// its like for RAID 5 and 6, "n2", "f2", "o3" (near, far or offset, and how many
// copies) for RAID 10, "original" or "alternate" for a RAID 0 of members of
// different sizes. The empty Layout is one that is not known, or not needed.
type Layout string

// parityLayouts gives the kernel's numbers (raid5.h).
var parityLayouts = map[Layout]int{
	"left-asymmetric":  leftAsymmetric,
	"right-asymmetric": rightAsymmetric,
	"left-symmetric":   leftSymmetric,
	"right-symmetric":  rightSymmetric,
	"parity-first":     parityFirst,
	"parity-last":      parityLast,

	"ddf-zero-restart":   ddfZeroRestart,
	"ddf-N-restart":      ddfNRestart,
	"ddf-N-continue":     ddfNContinue,
	"left-asymmetric-6":  leftAsymmetric + lastIsQ,
	"right-asymmetric-6": rightAsymmetric + lastIsQ,
	"left-symmetric-6":   leftSymmetric + lastIsQ,
	"right-symmetric-6":  rightSymmetric + lastIsQ,
	"parity-first-6":     parityFirst + lastIsQ,
}

// Layouts names the layouts that a level can have, the usual one first; none where
// there is nothing to choose.
func Layouts(l Level) []Layout {
	switch l {
	case RAID0:
		return []Layout{"original", "alternate"}
	case RAID5, RAID6:
		var all []Layout
		for name, number := range parityLayouts {
			if l == RAID6 || number < ddfZeroRestart {
				all = append(all, name)
			}
		}
		slices.SortFunc(all, func(a, b Layout) int {
			return layoutRank(parityLayouts[a]) - layoutRank(parityLayouts[b])
		})
		return all
	case RAID10:
		return []Layout{"n2", "f2", "o2", "n3", "f3", "o3"}
	}
	return nil
}

// layoutRank sorts md's default before everything else.
func layoutRank(number int) int {
	if number == leftSymmetric {
		return -1
	}
	return number
}

// number gives md's number of a layout of a level.
func (l Layout) number(level Level) (int, error) {
	switch level {
	case RAID5, RAID6:
		n, ok := parityLayouts[l]
		if ok && (level == RAID6 || n < ddfZeroRestart) {
			return n, nil
		}
	case RAID10:
		return l.raid10()
	case RAID0:
		switch l {
		case "", "original":
			return zonesOriginal, nil
		case "alternate":
			return zonesAlternate, nil
		}
	default:
		if l == "" {
			return 0, nil
		}
		return 0, fmt.Errorf("%s has no layout %q", level, l)
	}
	return 0, fmt.Errorf("%s has no layout %q, but %q", level, l, Layouts(level))
}

var raid10Name = regexp.MustCompile(`^(?:n([1-9]\d?))?(?:([fo])([1-9]\d?))?(?:\+sets([12]))?$`)

// raid10 reads "n2", "f3" or "o2"; "n2f2" keeps two near copies of everything in
// both halves, and "+sets1" or "+sets2" keeps far copies within sets of members.
func (l Layout) raid10() (int, error) {
	m := raid10Name.FindStringSubmatch(string(l))
	if m == nil || m[1] == "" && m[2] == "" {
		return 0, fmt.Errorf("raid10 has no layout %q, but n, f or o and the number of copies, like n2", l)
	}
	part := func(s string) int {
		n, _ := strconv.Atoi(s)
		return max(n, 1)
	}
	n := part(m[1]) | part(m[3])<<8
	if m[2] == "o" {
		n |= farOffset
	}
	if m[4] != "" {
		n |= part(m[4]) << farSetsShift
	}
	return n, nil
}

// layoutName is the reverse of number.
func layoutName(level Level, number int) Layout {
	switch level {
	case RAID5, RAID6:
		for name, n := range parityLayouts {
			if n == number {
				return name
			}
		}
	case RAID10:
		near, far := number&0xff, number>>8&0xff
		name := Layout(fmt.Sprintf("n%d", near))
		if far > 1 {
			name = Layout(fmt.Sprintf("f%d", far))
			if number&farOffset != 0 {
				name = Layout(fmt.Sprintf("o%d", far))
			}
			if near > 1 {
				name = Layout(fmt.Sprintf("n%d", near)) + name
			}
		}
		if sets := number >> farSetsShift; sets != 0 {
			name += Layout(fmt.Sprintf("+sets%d", sets))
		}
		return name
	case RAID0:
		if number == zonesAlternate {
			return "alternate"
		}
		return "original"
	default:
		return ""
	}
	return Layout(strconv.Itoa(number))
}
