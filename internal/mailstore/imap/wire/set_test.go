package wire

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSet(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"1":                     "1",
		"1:5":                   "1:5",
		"5:1":                   "1:5",
		"3,1,2":                 "1:3",
		"1:5,4:9,20":            "1:9,20",
		"4294967295":            "4294967295",
		"4294967294,4294967295": "4294967294:4294967295",
		"1:4294967295,7":        "1:4294967295",
		"10,8:9,1:2,4:4":        "1:2,4,8:10",
	} {
		s, err := ParseSet(text)
		if err != nil || s.String() != want {
			t.Errorf("ParseSet(%q) = %q, %v, want %q", text, s, err, want)
		}
	}
	for _, text := range []string{"0", "*", "1:*", "1:", ":1", ",", "1,", "a", "4294967296", "-1", "1 2", "1:2:3"} {
		if s, err := ParseSet(text); err == nil {
			t.Errorf("ParseSet(%q) = %q, want an error", text, s)
		}
	}
}

func TestSetOf(t *testing.T) {
	if s := SetOf(9, 1, 3, 2, 9, math.MaxUint32); s.String() != "1:3,9,4294967295" || s.Len() != 5 {
		t.Errorf("SetOf = %q of %d", s, s.Len())
	}
}

// A set is what its UIDs say, however it came about.
func TestSetIsItsUIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uids := rapid.SliceOfN(rapid.Uint32Range(1, 60), 0, 40).Draw(t, "uids")
		s := SetOf(uids...)
		slices.Sort(uids)
		uids = slices.Compact(uids)
		if got := slices.Collect(s.All()); !slices.Equal(got, uids) && len(uids) > 0 {
			t.Fatalf("All = %v, want %v", got, uids)
		}
		for u := uint32(1); u < 62; u++ {
			if s.Contains(u) != slices.Contains(uids, u) {
				t.Fatalf("Contains(%d) is wrong in %q", u, s)
			}
		}
		n := rapid.Int64Range(1, 7).Draw(t, "n")
		var again []uint32
		for c := range s.Chunks(n, 12) {
			if c.Len() > n || len(c) > 1 && len(c.String()) > 12 {
				t.Fatalf("chunk %q of %q", c, s)
			}
			again = append(again, slices.Collect(c.All())...)
		}
		if !slices.Equal(again, uids) && len(uids) > 0 {
			t.Fatalf("chunks hold %v, want %v", again, uids)
		}
	})
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"1:5,9,20:11", "4294967295:1", "1,1,1", "0", "1:*", ",", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSet(text)
		if err != nil {
			return
		}
		back, err := ParseSet(s.String())
		if err != nil || !slices.Equal(back, s) {
			t.Fatalf("%q is %q is %q, %v", text, s, back, err)
		}
		for i, r := range s {
			if r.First == 0 || r.First > r.Last || i > 0 && uint64(r.First) <= uint64(s[i-1].Last)+1 {
				t.Fatalf("%q is %q", text, s)
			}
		}
	})
}
