package volume

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestRanges(t *testing.T) {
	a := Ranges{{0, 10}, {20, 10}, {40, 10}}
	for _, c := range []struct {
		name      string
		got, want Ranges
	}{
		{"order and touch", Normalise([]Range{{20, 5}, {0, 10}, {10, 5}}), Ranges{{0, 15}, {20, 5}}},
		{"empty and negative", Normalise([]Range{{5, 0}, {7, -1}}), Ranges{}},
		{"one in another", Normalise([]Range{{0, 100}, {10, 5}, {100, 1}}), Ranges{{0, 101}}},
		{"past the largest offset", Normalise([]Range{{math.MaxInt64 - 5, math.MaxInt64}}), Ranges{{math.MaxInt64 - 5, 5}}},
		{"add bridges", a.Add(Ranges{{10, 10}}), Ranges{{0, 30}, {40, 10}}},
		{"add nothing", a.Add(nil), a},
		{"subtract the middle", a.Subtract(Ranges{{5, 40}}), Ranges{{0, 5}, {45, 5}}},
		{"subtract twice in one", Ranges{{0, 50}}.Subtract(a), Ranges{{10, 10}, {30, 10}}},
		{"intersect", a.Intersect(Ranges{{5, 20}, {45, 100}}), Ranges{{5, 5}, {20, 5}, {45, 5}}},
		{"within", a.Within(Range{9, 12}), Ranges{{9, 1}, {20, 1}}},
		{"within nothing", a.Within(Range{10, 10}), nil},
		{"coarse", Ranges{{0, 1}, {5000, 1}, {100000, 1}, {104097, 1}}.coarsen(3), Ranges{{0, 1}, {5000, 1}, {100000, 4098}}},
		{"coarser", Ranges{{0, 1}, {5000, 1}, {100000, 1}}.coarsen(2), Ranges{{0, 5001}, {100000, 1}}},
	} {
		if !same(c.got, c.want) {
			t.Errorf("%s: %v, not %v", c.name, c.got, c.want)
		}
	}
	if got := a.Total(); got != 30 {
		t.Errorf("total %d", got)
	}
	for off, want := range map[int64]int64{0: 10, 9: 10, 10: 10, 25: 30, 60: 60} {
		if got := a.After(off); got != want {
			t.Errorf("After(%d) = %d, not %d", off, got, want)
		}
	}
}

// A model of ranges: one bool a byte.
const modelSize = 64

func model(rs []Range) (bits [modelSize]bool) {
	for _, r := range rs {
		for i := range r.Len {
			bits[r.Off+i] = true
		}
	}
	return bits
}

func drawRanges(t *rapid.T, name string) []Range {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Range {
		off := rapid.Int64Range(0, modelSize-1).Draw(t, "off")
		return Range{off, rapid.Int64Range(0, min(8, modelSize-off)).Draw(t, "len")}
	}), 0, 12).Draw(t, name)
}

func TestRangesAreSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ra, rb := drawRanges(t, "a"), drawRanges(t, "b")
		a, b := Normalise(ra), Normalise(rb)
		ma, mb := model(ra), model(rb)
		inserted := Normalise(ra)
		for _, r := range b {
			inserted = inserted.insert(r)
		}
		for _, c := range []struct {
			name string
			got  Ranges
			want func(x, y bool) bool
		}{
			{"normalise", a, func(x, y bool) bool { return x }},
			{"add", a.Add(b), func(x, y bool) bool { return x || y }},
			{"insert", inserted, func(x, y bool) bool { return x || y }},
			{"subtract", a.Subtract(b), func(x, y bool) bool { return x && !y }},
			{"intersect", a.Intersect(b), func(x, y bool) bool { return x && y }},
		} {
			m, total := model(c.got), int64(0)
			for i := range m {
				if m[i] != c.want(ma[i], mb[i]) {
					t.Fatalf("%s of %v and %v: %v is wrong at %d", c.name, a, b, c.got, i)
				}
				if m[i] {
					total++
				}
			}
			if c.got.Total() != total || !same(Normalise(c.got), c.got) {
				t.Fatalf("%s of %v and %v: %v is not in order", c.name, a, b, c.got)
			}
		}
		if !same(a, Normalise(ra)) || model(ra) != ma {
			t.Fatal("the arguments were changed")
		}
	})
}
