package diskimage

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A row of a ddrescue map: so many bytes from here on have this status. The
// format is that of ddrescue's manual, "Mapfile structure".
type row struct {
	at, length int64
	status     byte // '?' '*' '/' '-' '+'
}

// rows tells a disk of so many bytes apart into what was read and what was not.
func rows(size int64, bad []Extent) (all []row) {
	bad = slices.Clone(bad)
	slices.SortFunc(bad, func(a, b Extent) int { return cmp.Compare(a.Off, b.Off) })
	at := int64(0)
	for _, b := range bad {
		end := min(b.Off+b.Len, size)
		if n := len(all); n > 0 && all[n-1].status == '-' && b.Off <= all[n-1].at+all[n-1].length {
			all[n-1].length = max(all[n-1].length, end-all[n-1].at)
			at = end
			continue
		}
		if b.Off > at {
			all = append(all, row{at, b.Off - at, '+'})
		}
		all = append(all, row{b.Off, end - b.Off, '-'})
		at = end
	}
	if at < size {
		all = append(all, row{at, size - at, '+'})
	}
	return all
}

const mapHead = "# Mapfile. Created by GNU ddrescue version 1.27\n# Command line: ddrescue /dev/sdb image.img image.map\n# Start time:   2007-09-01 10:00:00\n# Current time: 2007-09-01 12:00:00\n# Finished\n# current_pos  current_status  current_pass\n0x00000000     +               1\n#      pos        size  status\n"

// mapText writes a map as ddrescue does.
func mapText(all []row) string {
	var b strings.Builder
	b.WriteString(mapHead)
	for _, r := range all {
		fmt.Fprintf(&b, "0x%08X  0x%08X  %c\n", r.at, r.length, r.status)
	}
	return b.String()
}

func writeMap(path string, size int64, bad []Extent) error {
	return os.WriteFile(path, []byte(mapText(rows(size, bad))), 0o600)
}

// A MapVariant is another way to write a map, or a way to get one wrong.
type MapVariant struct {
	Name string
	Path string
	// Wrong: it contradicts itself, and who reads it must say so.
	Wrong bool
	// More is unreadable by this map in addition to what was unreadable before.
	More []Extent
}

// MapVariants writes the map of a damage in other ways into a directory.
func (d *Damaged) MapVariants(dir string) (all []MapVariant, err error) {
	size := d.Base.Options.Size
	own := rows(size, d.Unreadable)
	text := mapText(own)
	var decimal, words strings.Builder
	for _, r := range own {
		fmt.Fprintf(&decimal, "%d %d %c\n", r.at, r.length, r.status)
	}
	states := "-/*?"
	for i, r := range own {
		if r.status == '-' {
			r.status = states[i/2%len(states)]
		}
		fmt.Fprintf(&words, "0x%X 0x%X %c\n", r.at, r.length, r.status)
	}
	last := own[len(own)-1]
	half := last.length / 2 / blockSize * blockSize
	short := mapText(append(slices.Clone(own[:len(own)-1]), row{last.at, half, last.status}))
	variants := []struct {
		name, text string
		wrong      bool
		more       []Extent
	}{
		{"old", strings.Replace(text, "0x00000000     +               1\n", "0x00000000     +\n", 1), false, nil},
		{"decimal", "0 + 1\n" + decimal.String(), false, nil},
		{"dos", strings.ReplaceAll(text, "\n", "\r\n"), false, nil},
		{"unfinished", "0x00000000 ? 1\n" + words.String(), false, nil},
		{"short", short, false, []Extent{{Off: last.at + half, Len: last.length - half}}},
		{"uncommented", "0x0 + 1\n" + strings.Join(strings.Split(text, "\n")[8:], "\n"), false, nil},
		{"empty", "", true, nil},
		{"overlapping", mapHead + fmt.Sprintf("0x0 0x%X +\n0x1000 0x%X -\n", size, size), true, nil},
		{"gap", mapHead + fmt.Sprintf("0x0 0x1000 +\n0x3000 0x%X -\n", size-0x3000), true, nil},
		{"unknown", mapHead + fmt.Sprintf("0x0 0x%X !\n", size), true, nil},
		{"negative", mapHead + "0x0 -4096 +\n", true, nil},
		{"huge", mapHead + "0xFFFFFFFFFFFFFFFF 0xFFFFFFFFFFFFFFFF +\n", true, nil},
	}
	for _, v := range variants {
		m := MapVariant{Name: v.name, Path: filepath.Join(dir, v.name+".map"), Wrong: v.wrong, More: v.more}
		if err := os.WriteFile(m.Path, []byte(v.text), 0o600); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
