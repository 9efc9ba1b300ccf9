package piece

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
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

// TestPieces: most is found, nothing false, and everything that was found is taken
// from the survey.
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
	t.Logf("%d MiB, %d blocks unexplained, %d strands, surveyed in %v", v.Size()>>20, s.Blocks, s.Strands, time.Since(start))
	p := NewPuzzle(open(t, wants), s, Limits{HashBytes: 128 << 20, Steps: 1e6})
	all, got := map[int]int{}, map[int]int{}
	start = time.Now()
	worst := time.Duration(0)
	for id := range l.last + 1 {
		c, ok := cases[id]
		if !ok {
			continue
		}
		begin := time.Now()
		m, err := p.Piece(t.Context(), Task{Head: l.where[id][0].off, Wants: []Want{c.want}})
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(begin))
		all[c.pieces]++
		if m == nil {
			t.Logf("missed: %d pieces, %d bytes, LF %v", c.pieces, c.want.Size, c.lf)
			continue
		}
		check(t, v, m)
		got[c.pieces]++
	}
	t.Logf("%v, worst %v, %+v", time.Since(start), worst, p.Stats)
	for n := 2; n <= 6; n++ {
		t.Logf("%d pieces: %d of %d", n, got[n], all[n])
	}
	if got[2]*100 < all[2]*95 || (got[3]+got[4]+got[5])*100 < (all[3]+all[4]+all[5])*60 {
		t.Error("too few")
	}
}

// TestKnown: what is known of a message's extents need not be found, and makes
// findable what is not otherwise: plain text whose first pieces and whose last one
// lie amid other text.
func TestKnown(t *testing.T) {
	for _, lf := range []bool{false, true} {
		stored := body("known", 40*testBlock-1000, lf)
		other := body("other", 200*testBlock, lf)[testBlock:]
		v := &memory{data: make([]byte, 0, 400*testBlock)}
		var ground runs
		put := func(b []byte, gap int64) int64 {
			off := int64(len(v.data))
			v.data = append(v.data, b...)
			v.data = append(v.data, make([]byte, (testBlock-len(b)%testBlock)%testBlock)...)
			if n := len(ground); n > 0 && ground[n-1].End() == off {
				ground[n-1].Len = int64(len(v.data)) - ground[n-1].Off
			} else {
				ground = append(ground, volume.Range{Off: off, Len: int64(len(v.data)) - off})
			}
			v.data = append(v.data, make([]byte, gap*testBlock)...)
			return off
		}
		at := [...]int64{0, 4 * testBlock, 10 * testBlock, 30 * testBlock, int64(len(stored))}
		piece := func(i int) []byte { return stored[at[i]:at[i+1]] }
		var offs [4]int64
		put(other[:7*testBlock], 0)
		offs[1] = put(piece(1), 0)
		put(other[7*testBlock:9*testBlock], 2)
		offs[2] = put(piece(2), 3)
		put(other[20*testBlock:29*testBlock], 0)
		offs[3] = put(piece(3), 0)
		put(other[30*testBlock:39*testBlock], 1)
		offs[0] = put(piece(0), 0)
		put(other[40*testBlock:49*testBlock], 1)
		extent := func(i int) fsys.Extent {
			return fsys.Extent{Logical: at[i], Off: offs[i], Len: (at[i+1] - at[i] + testBlock - 1) / testBlock * testBlock}
		}
		longer := extent(3)
		longer.Len += 4 * testBlock
		huge := extent(3)
		huge.Len = 1 << 60
		for _, test := range []struct {
			name  string
			known []fsys.Extent
			found bool
		}{
			{"nothing", nil, false},
			{"the beginning", []fsys.Extent{extent(0), extent(1)}, false},
			{"the end", []fsys.Extent{extent(3)}, false},
			{"both", []fsys.Extent{extent(3), extent(0), extent(1)}, true},
			{"both, with blocks behind the end", []fsys.Extent{longer, extent(0), extent(1)}, true},
			{"both, and absurd sizes", []fsys.Extent{huge, extent(0), extent(1), {Logical: -5, Off: 7, Len: 9}, {Logical: 1 << 60, Len: 1 << 60}}, true},
			{"everything", []fsys.Extent{extent(3), extent(0), extent(1), extent(2)}, true},
			{"a lie", []fsys.Extent{extent(3), extent(0), {Logical: at[1], Off: offs[2], Len: 6 * testBlock}}, false},
			{"a contradiction", []fsys.Extent{extent(3), extent(0), extent(0)}, false},
		} {
			t.Run(fmt.Sprintf("%s, LF %v", test.name, lf), func(t *testing.T) {
				s, err := NewSurvey(t.Context(), v, ground, testBlock, 0)
				if err != nil {
					t.Fatal(err)
				}
				p := NewPuzzle(open(t, list{}), s, Limits{})
				m, err := p.Piece(t.Context(), Task{Head: offs[0], Wants: []Want{wantOf(1, stored)}, Known: test.known})
				if err != nil || (m != nil) != test.found {
					t.Fatalf("found %v, %v, %+v", m != nil, err, p.Stats)
				}
				if m != nil {
					check(t, v, m)
				}
			})
		}
	}
}
