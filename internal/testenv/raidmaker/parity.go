package raidmaker

// p and q are the disks of the parities of a stripe, -1 for none.
func (s Spec) pq(stripe int64) (p, q int) {
	n := s.Disks
	turn := int(stripe % int64(n))
	switch s.Level {
	case 0:
		return -1, -1
	case 4:
		return n - 1, -1
	case 6:
		if s.Layout >= 16 {
			five := Spec{Level: 5, Layout: s.Layout - 16, Disks: n - 1}
			p, _ = five.pq(stripe)
			return p, n - 1
		}
		switch s.Layout {
		case 4:
			return 0, 1
		case 5:
			return n - 2, n - 1
		case 0, 2: // left
			p = n - 1 - turn
		case 1, 3, 8: // right, and DDF "RAID 6 rotating parity 0 restart"
			p = turn
		case 9: // DDF "rotating parity N restart": the first stripe is D D .. P Q
			p = (2*n - 2 - turn) % n
		case 10: // DDF "rotating parity N continue": Q before P
			p = n - 1 - turn
			return p, (p + n - 1) % n
		}
		return p, (p + 1) % n
	}
	switch s.Layout {
	case 0, 2:
		return n - 1 - turn, -1
	case 1, 3:
		return turn, -1
	case 4:
		return 0, -1
	}
	return n - 1, -1
}

// disk is where data block b of a stripe is.
func (s Spec) disk(b int, stripe int64) int {
	p, q := s.pq(stripe)
	at, round := 0, s.Disks
	continues := s.Level == 5 && (s.Layout == 2 || s.Layout == 3) || s.Level == 6 && (s.Layout == 2 || s.Layout == 3 || s.Layout == 10)
	if s.Level == 6 && (s.Layout == 18 || s.Layout == 19) {
		continues, round = true, s.Disks-1
	}
	if continues {
		at = (p + 1) % round
	}
	for {
		if at != p && at != q {
			if b == 0 {
				return at
			}
			b--
		}
		at = (at + 1) % round
	}
}

// parity fills the chunks that hold no data.
func (s Spec) parity(chunks [][]byte, stripe int64) {
	p, q := s.pq(stripe)
	if p < 0 {
		return
	}
	sum := make([]byte, s.Chunk)
	for d, c := range chunks {
		if d != p && d != q {
			for i := range sum {
				sum[i] ^= c[i]
			}
		}
	}
	chunks[p] = sum
	if q >= 0 {
		chunks[q] = s.syndrome(chunks, p, q)
	}
}

// syndrome is Q: ((... D_last) * 2 + D_next) * 2 ..., with the first disk behind Q
// last, whose factor is 1. DDF starts with disk 0 and counts P and Q as zeros.
func (s Spec) syndrome(chunks [][]byte, p, q int) []byte {
	first, ddf := (q+1)%s.Disks, s.Layout == 8 || s.Layout == 9 || s.Layout == 10
	if ddf {
		first = 0
	}
	sum := make([]byte, s.Chunk)
	for i := s.Disks - 1; i >= 0; i-- {
		d := (first + i) % s.Disks
		parity := d == p || d == q
		if parity && !ddf {
			continue
		}
		for j := range sum {
			sum[j] = twice(sum[j])
			if !parity {
				sum[j] ^= chunks[d][j]
			}
		}
	}
	return sum
}

// twice multiplies by x modulo x^8 + x^4 + x^3 + x^2 + 1.
func twice(b byte) byte {
	if b&0x80 != 0 {
		return b<<1 ^ 0x1d
	}
	return b << 1
}
