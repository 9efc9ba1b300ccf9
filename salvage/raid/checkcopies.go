package raid

import (
	"bytes"

	"salvor/salvage/volume"
)

// checkCopies compares the copies of a stretch of the volume.
func (a *Array) checkCopies(r volume.Range, c *Checked) {
	n := a.place.copies()
	copies, holes := make([][]byte, n), make([][]volume.Range, n)
	for k := range n {
		copies[k] = make([]byte, r.Len)
		holes[k] = a.readCopy(copies[k], r.Off, []volume.Range{r}, k, 0)
	}
	for at := r.Off; at < r.End(); {
		end := min(r.End(), at-at%sector+sector)
		a.checkSector(volume.Range{Off: at, Len: end - at}, r.Off, copies, holes, c)
		at = end
	}
}

// checkSector compares the copies of one sector that are known.
func (a *Array) checkSector(r volume.Range, off int64, copies [][]byte, holes [][]volume.Range, c *Checked) {
	var have []int
	for k := range copies {
		if len(within(holes[k], r.Off, r.End())) == 0 {
			have = append(have, k)
		}
	}
	if len(have) < 2 {
		c.Unable += r.Len
		return
	}
	c.Bytes += r.Len
	at := func(k int) []byte { return copies[k][r.Off-off : r.End()-off] }
	equal := true
	for _, k := range have[1:] {
		equal = equal && bytes.Equal(at(have[0]), at(k))
	}
	if equal {
		if isZero(at(have[0])) {
			c.Empty += r.Len
		}
		return
	}
	odd, others := -1, 0
	for _, k := range have {
		same := 0
		for _, j := range have {
			if bytes.Equal(at(k), at(j)) {
				same++
			}
		}
		if same == 1 {
			odd = k
		} else {
			others = max(others, same)
		}
	}
	slot := -1
	if odd >= 0 && others == len(have)-1 {
		slot = a.place.locate(r.Off, odd).slot
	}
	c.found(r, 0, slot)
}
