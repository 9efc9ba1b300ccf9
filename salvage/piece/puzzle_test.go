package piece

import (
	"math/rand/v2"
	"testing"
	"time"
)

// a case of the fragmenting test.
type laid struct {
	want   Want
	pieces int
	lf     bool
}

// fragmented lays thousands of messages down: most of them whole and explained,
// some deleted long ago and partly written over, some in pieces and owed, each of
// those beside copies that differ in one byte and in their line ends.
func fragmented(t testing.TB, seed uint64) (*layout, *memory, runs, map[int]laid) {
	l := &layout{r: rand.New(rand.NewPCG(seed, 9))}
	cases := map[int]laid{}
	id := 0
	next := func() int { id++; return id }
	for i, lf := range mail() {
		wire := crlf(lf)
		pieces := 2 + l.r.IntN(5)
		large := len(lf) > 6*testBlock
		switch {
		case large && i%3 > 0 && l.r.IntN(100) < 70:
			stored, isLF := wire, l.r.IntN(4) == 0
			if isLF {
				stored = lf
			}
			n := next()
			l.add(n, stored, pieces, true)
			cases[n] = laid{want: wantOf(n, stored), pieces: pieces, lf: isLF}
			if l.r.IntN(3) == 0 { // one byte differs
				other := append([]byte(nil), stored...)
				other[len(other)/2+l.r.IntN(len(other)/4)] ^= 1
				l.add(next(), other, 1+l.r.IntN(4), true)
			}
			if l.r.IntN(3) == 0 { // the twin with other line ends
				twin := lf
				if isLF {
					twin = wire
				}
				l.add(next(), twin, 1+l.r.IntN(4), true)
			}
		case l.r.IntN(3) == 0: // deleted long ago
			from := len(l.spots)
			l.add(next(), wire, 1+l.r.IntN(5), true)
			l.spots[from+l.r.IntN(len(l.spots)-from)].gone = true
		default:
			l.add(next(), wire, 1+l.r.IntN(2), false)
		}
	}
	v, ground := l.lay()
	return l, v, ground, cases
}

func TestPieces(t *testing.T) {
	l, v, ground, cases := fragmented(t, 1)
	var wants list
	for _, c := range cases {
		wants = append(wants, c.want)
	}
	start := time.Now()
	s, err := NewSurvey(t.Context(), v, ground, testBlock, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB, %d blocks unexplained, %d strands, surveyed in %v, %d messages owed", v.Size()>>20, s.Blocks, s.Strands, time.Since(start), len(cases))
	p := NewPuzzle(open(t, wants), s, Limits{})
	all, got := map[int]int{}, map[int]int{}
	start = time.Now()
	worst := time.Duration(0)
	for id := range l.last + 1 {
		c, ok := cases[id]
		if !ok {
			continue
		}
		begin := time.Now()
		m, err := p.Piece(t.Context(), Task{Head: l.heads[id], Wants: []Want{c.want}})
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(begin))
		all[c.pieces]++
		if m != nil {
			check(t, v, m)
			got[c.pieces]++
		} else if c.pieces == 2 {
			t.Logf("missed: %d pieces, %d bytes, LF %v, head %d, took %v", c.pieces, c.want.Size, c.lf, l.heads[id], time.Since(begin))
		}
	}
	t.Logf("%v, worst %v, %+v", time.Since(start), worst, p.Stats)
	for n := 2; n <= 6; n++ {
		t.Logf("%d pieces: %d of %d, %.1f %%", n, got[n], all[n], 100*float64(got[n])/float64(max(1, all[n])))
	}
}
