package piece

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// attached is a message with an attachment of random bytes, CRLF form.
func attached(r *rand.Rand, boundary string, size int) []byte {
	b := []byte("From: a@b.example\r\nSubject: " + boundary + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + boundary +
		"\r\n\r\n--" + boundary + "\r\n\r\ntext\r\n--" + boundary + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	text := base64.StdEncoding.EncodeToString(raw)
	for len(text) > 0 {
		n := min(76, len(text))
		b = append(append(b, text[:n]...), '\r', '\n')
		text = text[n:]
	}
	return append(b, "--"+boundary+"--\r\n"...)
}

// halves lays messages down in two pieces each, all unexplained, and gives where
// they begin.
func halves(r *rand.Rand, messages ...[]byte) (*memory, runs, []int64) {
	l := &layout{r: r}
	for i, m := range messages {
		l.add(i, m, 2, true)
	}
	for i := range l.spots { // all second pieces stand before all first ones
		l.spots[i].at = float64(i - l.spots[i].part*1000)
	}
	v, ground := l.lay()
	var heads []int64
	for i := range messages {
		heads = append(heads, l.where[i][0].off)
	}
	return v, ground, heads
}

func puzzle(t *testing.T, v volume.Volume, g Ground, l Wanted, limits Limits) *Puzzle {
	t.Helper()
	s, err := NewSurvey(t.Context(), v, g, testBlock, 0)
	if err != nil {
		t.Fatal(err)
	}
	return NewPuzzle(open(t, l), s, limits)
}

// TestAnyWant: nobody knows which message a head is of.
func TestAnyWant(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var messages [][]byte
	var wants list
	for i := range 12 {
		m := attached(r, "b"+string(rune('a'+i)), 200_000+r.IntN(300_000))
		if i%4 == 3 {
			m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
		}
		messages = append(messages, m)
		if i > 0 {
			wants = append(wants, wantOf(i, m))
		}
	}
	v, ground, heads := halves(r, messages...)
	p := puzzle(t, v, ground, wants, Limits{})
	for i, head := range heads {
		m, err := p.Piece(t.Context(), Task{Head: head})
		if err != nil || (m != nil) != (i > 0) {
			t.Fatalf("message %d: found %v, %v", i, m != nil, err)
		}
		if m != nil {
			check(t, v, m)
			if m.Want.ID != int64(i) {
				t.Errorf("message %d was found as %d", i, m.Want.ID)
			}
		}
	}
	if p.Stats.Tasks != 12 || p.Stats.Found != 11 {
		t.Errorf("%+v", p.Stats)
	}
}

// TestSeveralWants: the right one is not the first; the piece is not used twice.
func TestSeveralWants(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	a, b := attached(r, "aa", 300_000), attached(r, "bb", 300_000)
	v, ground, heads := halves(r, a, b)
	wants := list{wantOf(1, a), wantOf(2, b)}
	p := puzzle(t, v, ground, wants, Limits{})
	m, err := p.Piece(t.Context(), Task{Head: heads[1], Wants: wants})
	if err != nil || m == nil || m.Want.ID != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	check(t, v, m)
	if again, err := p.Piece(t.Context(), Task{Head: heads[1], Wants: wants}); err != nil || again != nil {
		t.Errorf("found twice: %+v, %v", again, err)
	}
}

// TestLost: a piece that is gone, unreadable or explained by something else.
func TestLost(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	a := attached(r, "aa", 300_000)
	v, ground, heads := halves(r, a, attached(r, "bb", 100_000))
	o := list{wantOf(1, a)}
	task := Task{Head: heads[0], Wants: o}
	p := puzzle(t, v, ground, o, Limits{})
	m, err := p.Piece(t.Context(), task)
	if err != nil || m == nil || len(m.Extents) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	second := m.Extents[1]
	unread := &memory{data: v.data, unknown: []volume.Range{{Off: second.Off + 2*testBlock, Len: 512}}}
	if m, err := puzzle(t, unread, ground, o, Limits{}).Piece(t.Context(), task); err != nil || m != nil {
		t.Errorf("unreadable: %+v, %v", m, err)
	}
	p = puzzle(t, v, ground, o, Limits{})
	p.ground = runs{{Off: heads[0], Len: m.Extents[0].Len}} // explained since the survey
	if m, err := p.Piece(t.Context(), task); err != nil || m != nil {
		t.Errorf("explained: %+v, %v", m, err)
	}
	v.data[second.Off+second.Len/2] ^= 1
	if m, err := puzzle(t, v, ground, o, Limits{}).Piece(t.Context(), task); err != nil || m != nil {
		t.Errorf("one bit is wrong: %+v, %v", m, err)
	}
}

func TestLimits(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	a := attached(r, "aa", 300_000)
	v, ground, heads := halves(r, a, attached(r, "aa", 100_000), attached(r, "aa", 100_000))
	o := list{wantOf(1, a)}
	v.data[5000] ^= 1 // so that it has to try everything
	for _, limits := range []Limits{{HashBytes: 1000}, {Steps: 1}} {
		p := puzzle(t, v, ground, o, limits)
		m, err := p.Piece(t.Context(), Task{Head: heads[0], Wants: o})
		if err != nil || m != nil || p.Stats.Spent != 1 || p.Stats.HashBytes > limits.HashBytes+512<<10 {
			t.Errorf("%+v: %+v, %v, %+v", limits, m, err, p.Stats)
		}
	}
	p := puzzle(t, v, ground, o, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Piece(ctx, Task{Head: heads[0], Wants: o}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := NewSurvey(ctx, v, ground, testBlock, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled survey: %v", err)
	}
	s, err := NewSurvey(t.Context(), v, runs{{Len: testBlock}, {Off: 3 * testBlock, Len: 4 * testBlock}, {Off: 9 * testBlock, Len: testBlock}}, testBlock, 1)
	if err != nil || s.Strands != 1 || s.Full == 0 {
		t.Errorf("a full survey: %+v, %v", s, err)
	}
	for _, size := range []int64{0, 100, 3000, 1 << 40} {
		if _, err := NewSurvey(t.Context(), v, ground, size, 0); err == nil {
			t.Errorf("a block size of %d was taken", size)
		}
	}
}

// FuzzPiece: whatever stands on a volume and whatever is known, nothing is found
// that is not wanted, and nothing breaks.
func FuzzPiece(f *testing.F) {
	f.Add([]byte("From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n"), []byte{0, 1, 2, 3, 4, 5, 6, 7}, uint32(60))
	f.Add(attached(rand.New(rand.NewPCG(1, 1)), "b", 3000), bytes.Repeat([]byte{255}, 48), uint32(4200))
	f.Add(body("b", 4000, true), []byte{}, uint32(4000))
	shared := open(f, list{}) // its filters are large
	f.Fuzz(func(t *testing.T, data, known []byte, size uint32) {
		const blockSize = 512
		data = append(data, make([]byte, blockSize-len(data)%blockSize)...)
		v := &memory{data: data}
		s, err := NewSurvey(t.Context(), v, runs{{Len: v.Size()}}, blockSize, 0)
		if err != nil {
			t.Fatal(err)
		}
		task := Task{Wants: []Want{{Size: int64(size), SHA1: [20]byte{1}}, wantOf(2, data[:min(len(data), int(size))])}}
		for len(known) >= 24 && len(task.Known) < 8 {
			task.Known = append(task.Known, fsys.Extent{Logical: int64(binary.LittleEndian.Uint64(known)), Off: int64(binary.LittleEndian.Uint64(known[8:])), Len: int64(binary.LittleEndian.Uint64(known[16:]))})
			known = known[24:]
		}
		o := *shared
		o.wanted, o.largest = list(task.Wants), int64(size)
		for _, w := range task.Wants {
			o.put(w)
			defer func() { o.sizes[w.Size%exactSizes/64], o.sums[prefix(w.SHA1)/64] = 0, 0 }()
		}
		p := NewPuzzle(&o, s, Limits{HashBytes: 1 << 20, Steps: 2000})
		for _, task := range []Task{task, {Head: int64(size) % v.Size()}, {Head: -1, Wants: task.Wants}} {
			m, err := p.Piece(t.Context(), task)
			if err != nil {
				t.Fatal(err)
			}
			if m != nil {
				check(t, v, m)
			}
		}
		if _, err := p.owed.Extents(t.Context(), v, blockSize, task.Known); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNothingFalse: messages that differ in a byte, in line ends, in how they were
// cut; whatever is found is what was wanted, and two pieces are always found.
func TestNothingFalse(t *testing.T) {
	shared := open(t, list{})
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		l := &layout{r: r}
		var wants list
		pieces := map[int]int{}
		for id := range rapid.IntRange(1, 6).Draw(t, "messages") {
			m := attached(r, "b"+string(rune('a'+id)), 20_000+r.IntN(100_000))
			other := bytes.Clone(m)
			other[len(m)/3+r.IntN(len(m)/3)] ^= 2
			if rapid.Bool().Draw(t, "LF") {
				m = bytes.ReplaceAll(m, []byte("\r\n"), []byte("\n"))
			}
			pieces[id] = rapid.IntRange(2, 6).Draw(t, "pieces")
			l.add(id, m, pieces[id], true)
			l.add(100+id, other, rapid.IntRange(1, 3).Draw(t, "pieces of the other"), true)
			wants = append(wants, wantOf(id, m))
		}
		v, ground := l.lay()
		s, err := NewSurvey(context.Background(), v, ground, testBlock, 0)
		if err != nil {
			t.Fatal(err)
		}
		o := *shared
		o.wanted = wants
		p := NewPuzzle(&o, s, Limits{HashBytes: 32 << 20, Steps: 50_000})
		for _, w := range wants {
			m, err := p.Piece(context.Background(), Task{Head: l.where[int(w.ID)][0].off, Wants: []Want{w}})
			switch {
			case err != nil:
				t.Fatal(err)
			case m != nil:
				check(t, v, m)
			case pieces[int(w.ID)] == 2:
				t.Fatalf("message %d in two pieces was not found", w.ID)
			}
		}
	})
}
