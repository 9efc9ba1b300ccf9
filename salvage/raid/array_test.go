package raid

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

// everything is an array of every level and layout.
var everything = func() (all []raidmaker.Spec) {
	add := func(level, disks int, layouts ...int) {
		for _, l := range layouts {
			all = append(all, raidmaker.Spec{Level: level, Layout: l, Disks: disks, Chunk: 4096, DataOffset: 8192})
		}
	}
	add(0, 1, zonesOriginal)
	add(0, 3, zonesOriginal)
	add(1, 2, 0)
	add(1, 3, 0)
	add(4, 3, 0)
	add(-1, 3, 0)
	for _, n := range []int{2, 3, 5, 8} {
		add(5, n, 0, 1, 2, 3, 4, 5)
	}
	for _, n := range []int{4, 5, 7} {
		add(6, n, 0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20)
	}
	for _, n := range []int{2, 3, 4, 5} {
		add(10, n, 0x102, 0x201, 0x10201)
		if n > 2 {
			add(10, n, 0x103, 0x301, 0x10301)
		}
		if n > 3 {
			add(10, n, 0x202)
		}
		if n == 4 {
			// With five disks md would put two chunks in one place.
			add(10, n, 0x10202)
		}
	}
	return all
}()

func title(s raidmaker.Spec) string {
	l := levels[s.Level]
	return fmt.Sprintf("%s %s of %d", l, layoutName(l, s.Layout), s.Disks)
}

// readAll reads the whole volume in steps, and gives what is unknown.
func readAll(t testing.TB, v volume.Volume, step int) ([]byte, []volume.Range) {
	t.Helper()
	b := make([]byte, v.Size())
	var unknown []volume.Range
	for at := 0; at < len(b); at += step {
		u, err := v.ReadAt(b[at:min(at+step, len(b))], int64(at))
		if err != nil {
			t.Fatal(err)
		}
		unknown = append(unknown, u...)
	}
	return b, tidy(unknown)
}

func TestHealthyArraysReadAsTheyWere(t *testing.T) {
	data := noise(777777, 1)
	for _, s := range everything {
		a, err := Open(volumes(memories(data, s)), optionsFor(s))
		if err != nil {
			t.Errorf("%s: %v", title(s), err)
			continue
		}
		for _, step := range []int{len(data) + 1<<20, 5000, 100000} {
			got, unknown := readAll(t, a, step)
			if len(got) < len(data) || !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
				t.Errorf("%s in steps of %d: %d bytes, equal: %v, unknown %v", title(s), step, len(got), bytes.Equal(got[:len(data)], data), unknown)
			}
		}
	}
}

func TestEveryLossThatParityCoversIsCovered(t *testing.T) {
	data := noise(300000, 2)
	for _, s := range everything {
		spare := map[int]int{4: 1, 5: 1, 6: 2, 1: s.Disks - 1, 10: s.Layout&255*(s.Layout>>8&255) - 1}[s.Level]
		var losses [][]int
		for i := range s.Disks {
			if spare >= 1 {
				losses = append(losses, []int{i})
			}
			for j := range i {
				if spare >= 2 {
					losses = append(losses, []int{j, i})
				}
			}
		}
		for _, lost := range losses {
			ms := memories(data, s)
			var left []*memory
			for i, m := range ms {
				if i != lost[0] && i != lost[len(lost)-1] {
					left = append(left, m)
				}
			}
			a, err := Open(volumes(left), optionsFor(s, lost...))
			if err != nil {
				t.Fatalf("%s without %v: %v", title(s), lost, err)
			}
			for _, step := range []int{1 << 20, 7000} {
				got, unknown := readAll(t, a, step)
				if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
					t.Errorf("%s without %v in steps of %d: wrong, unknown %v", title(s), lost, step, unknown)
				}
			}
		}
	}
}

func TestOneLossTooManyIsUnknownNotWrong(t *testing.T) {
	data := noise(200000, 3)
	for _, s := range everything {
		for lost := range s.Disks {
			ms := memories(data, s)
			for i, m := range ms {
				if i != lost {
					m.bad = []volume.Range{{Off: 0, Len: 1 << 40}}
				}
			}
			a, err := Open(volumes(ms), optionsFor(s))
			if err != nil {
				t.Fatal(err)
			}
			got, unknown := readAll(t, a, 50000)
			checkKnown(t, title(s), got, data, unknown)
		}
	}
}

// checkKnown wants zeros where bytes are unknown and the truth everywhere else.
func checkKnown(t testing.TB, what string, got, data []byte, unknown []volume.Range) {
	t.Helper()
	want := make([]byte, len(got))
	copy(want, data)
	blank(want, 0, unknown)
	if !bytes.Equal(got, want) {
		t.Errorf("%s: bytes that are said to be known are wrong", what)
	}
}

func TestThreeMembersWithDifferentBadSectorsLoseNothing(t *testing.T) {
	data := noise(4<<20, 4)
	s := raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 5, Chunk: 64 << 10, DataOffset: 1 << 20}
	ms := memories(data, s)
	rng := rand.New(rand.NewPCG(1, 1))
	for at := s.DataOffset; at < int64(len(ms[0].bytes)); at += 512 {
		if rng.IntN(20) == 0 {
			m := ms[rng.IntN(3)]
			m.bad = append(m.bad, volume.Range{Off: at, Len: 512})
		}
	}
	for _, m := range ms {
		m.bad = tidy(m.bad)
	}
	a, err := Open(volumes(ms), optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, a, 1<<20)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("unknown %v", unknown)
	}
	if r := a.Report(); r.Solved == 0 || r.Unknown != 0 {
		t.Errorf("report says %d bytes solved, %d unknown", r.Solved, r.Unknown)
	}
}

func TestReadsOutsideOfTheVolume(t *testing.T) {
	s := raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 3, Chunk: 4096}
	a, err := Open(volumes(memories(noise(8192, 5), s)), optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{1}, 100)
	unknown, err := a.ReadAt(p, 8192-40)
	if err != nil || len(unknown) != 1 || unknown[0] != (volume.Range{Off: 8192, Len: 60}) || !isZero(p[40:]) {
		t.Errorf("across the end: %v, %v", unknown, err)
	}
	unknown, err = a.ReadAt(p, 1<<50)
	if err != nil || len(unknown) != 1 || unknown[0] != (volume.Range{Off: 1 << 50, Len: 100}) {
		t.Errorf("behind the end: %v, %v", unknown, err)
	}
	if _, err = a.ReadAt(p, -1); err == nil {
		t.Error("a negative offset was read")
	}
}

func TestAMemberThatDiesIsAskedNoMore(t *testing.T) {
	data := noise(100000, 6)
	s := raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 3, Chunk: 4096}
	ms := memories(data, s)
	a, err := Open(volumes(ms), optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	ms[1].dead, ms[1].reads = true, 0
	got, unknown := readAll(t, a, 10000)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("with one dead member: unknown %v", unknown)
	}
	if ms[1].reads != 1 {
		t.Errorf("a dead member was asked %d times", ms[1].reads)
	}
	if r := a.Report(); r.Slots[1].Members[0].Dead == "" {
		t.Errorf("the report does not say that a member died: %+v", r.Slots[1])
	}
	ms[0].dead, ms[2].dead = true, true
	if _, err := a.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("an array without any living member reads without an error")
	}
}

// A healthy array is read as disks like it: one long read of each member.
func TestLongReadsAreFewReads(t *testing.T) {
	for _, c := range []struct {
		spec    raidmaker.Spec
		missing []int
	}{
		{raidmaker.Spec{Level: 5, Layout: 2, Disks: 4, Chunk: 64 << 10}, nil},
		{raidmaker.Spec{Level: 5, Layout: 2, Disks: 4, Chunk: 64 << 10}, []int{1}},
		{raidmaker.Spec{Level: 6, Layout: 2, Disks: 6, Chunk: 64 << 10}, []int{0, 3}},
		{raidmaker.Spec{Level: 0, Layout: 1, Disks: 4, Chunk: 64 << 10}, nil},
		{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 64 << 10}, nil},
		{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 4, Chunk: 64 << 10}, nil},
	} {
		data := noise(window, 7)
		ms := memories(data, c.spec)
		var left []*memory
		for i, m := range ms {
			if len(c.missing) == 0 || i != c.missing[0] && i != c.missing[len(c.missing)-1] {
				left = append(left, m)
			}
		}
		a, err := Open(volumes(left), optionsFor(c.spec, c.missing...))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range left {
			m.reads = 0
		}
		if _, err := a.ReadAt(make([]byte, window), 0); err != nil {
			t.Fatal(err)
		}
		for _, m := range left {
			if m.reads > 1 {
				t.Errorf("%s without %v: %s was read %d times for one window", title(c.spec), c.missing, m.name, m.reads)
			}
		}
	}
}
