package raid

import (
	"encoding/binary"
	"fmt"

	"salvor/salvage/volume"
)

// Where a partition may begin whose table is gone: behind 63 sectors, or at a multiple
// of hiddenStep up to hiddenReach, in bytes.
const (
	oldStart    = 63 * 512
	hiddenStep  = 1 << 20
	hiddenReach = 512 << 20
)

// Hidden gives the parts of a disk that bear superblocks of md at their beginning (1.1
// and 1.2), where partitions usually begin. It is for disks of which neither a table nor
// a superblock of their own is left, and reads some MiB. A part reaches to the next one,
// or to the disk's end. Superblocks at the end of a partition (0.90, 1.0) do not tell
// where it began and are not looked for.
func Hidden(v volume.Volume) (parts []volume.Volume) {
	var starts []int64
	p := make([]byte, 2*mdBytes)
	look := func(start int64) {
		if start+int64(len(p)) > v.Size() {
			return
		}
		if _, err := v.ReadAt(p, start); err != nil {
			return // who reads on will meet the error again
		}
		for _, at := range []int{0, mdBytes} {
			b := p[at : at+mdBytes]
			s := decode1(b, int64(at), "")
			if s == nil || binary.LittleEndian.Uint64(b[144:]) != uint64(at)/512 || s.own == 0 || s.start > v.Size()-start {
				continue // it says that it stands elsewhere (super_offset)
			}
			starts = append(starts, start)
			return
		}
	}
	look(oldStart)
	for start := int64(hiddenStep); start <= min(hiddenReach, v.Size()); start += hiddenStep {
		look(start)
	}
	for i, start := range starts {
		end := v.Size()
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		parts = append(parts, volume.Section(v, start, end-start, fmt.Sprintf("%s from byte %d", v.Name(), start)))
	}
	return parts
}
