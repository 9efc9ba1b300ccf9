package volume

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// A Stamp tells a file from another one that took its name, and from itself before
// somebody wrote to it. Its device is left out: it may be another one after each
// mount.
type Stamp struct {
	Path     string `json:"path"`
	Inode    uint64 `json:"inode"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
}

// A Layered volume is made of others.
type Layered interface {
	Below() []Volume
}

// Stamps gives the stamps of all image files that a volume is made of, by path.
// Block devices have none.
func Stamps(v Volume) []Stamp {
	all := stamps(v, nil)
	slices.SortFunc(all, func(a, b Stamp) int { return cmp.Compare(a.Path, b.Path) })
	return slices.Compact(all)
}

func stamps(v Volume, all []Stamp) []Stamp {
	switch v := v.(type) {
	case interface{ stamp() (Stamp, bool) }:
		if s, ok := v.stamp(); ok {
			all = append(all, s)
		}
	case Layered:
		for _, below := range v.Below() {
			all = stamps(below, all)
		}
	}
	return all
}

// stamp is that of the file that is read, whatever has its name by now.
func (d *disk) stamp() (Stamp, bool) {
	if d.file == nil || d.device {
		return Stamp{}, false
	}
	var st unix.Stat_t
	read := false
	control(d.file, func(fd int) { read = unix.Fstat(fd, &st) == nil })
	return Stamp{Path: d.name, Inode: st.Ino, Modified: st.Mtim.Nano()}, read
}

// Below implements Layered.
func (s *section) Below() []Volume { return []Volume{s.below} }

// Below implements Layered.
func (j *joined) Below() (all []Volume) {
	for _, p := range j.pieces {
		if p.from != nil && !slices.Contains(all, p.from) {
			all = append(all, p.from)
		}
	}
	return all
}
