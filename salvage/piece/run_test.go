package piece

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"salvor/chunk"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// body is a message of so many bytes in its wire form, stored with LF if lf.
// Those of different names are different from their first line on.
func body(name string, size int, lf bool) []byte {
	b := []byte("Subject: " + name + "\r\nFrom: a@b.example\r\n\r\n")
	for i := 0; len(b) < size; i++ {
		b = append(b, fmt.Sprintf("line %d of a text that nobody has to read\r\n", i)...)
	}
	b = append(b[:size-2], '\r', '\n')
	b[size-3] = '.'
	if lf {
		b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	}
	return b
}

func TestRun(t *testing.T) {
	random := bytes.Repeat([]byte{1, 2, 3, 250, 251, 6, 7, 8}, testBlock/8)
	tests := []struct {
		name   string
		stored []byte
		behind []byte // directly behind, without NULs
		stop   Stop
		found  bool
		text   bool // the end of the text is where the message ends
	}{
		{"one block", body("1", 1000, false), nil, Proved, true, true},
		{"one block, LF", body("2", 1000, true), nil, Proved, true, true},
		{"short", []byte("A: b\r\n\r\n"), nil, Proved, true, true},
		{"many blocks", body("3", 300_000, false), nil, Proved, true, true},
		{"many blocks, LF", body("4", 300_000, true), nil, Proved, true, true},
		{"whole blocks, then NULs", body("5", 8*testBlock, false), nil, Proved, true, false},
		{"whole blocks, then mail", body("6", 8*testBlock, false), body("7", 5000, false), Proved, true, false},
		{"whole blocks, then noise", body("8", 8*testBlock, false), random, Proved, true, false},
		{"another message behind it", body("9", 9000, false), body("10", 5000, false), Proved, true, false},
		{"another message behind it, LF", body("11", 9000, true), body("12", 5000, true), Proved, true, false},
		{"no line end", append(body("13", 9000, false), "end"...), nil, Proved, true, true},
		{"NULs at its end", append(body("14", 9000, false), 0, 0, 0), nil, Proved, true, false},
		{"a NUL within", append([]byte("B: b\r\n\r\na\x00b\r\n"), body("15", 9000, false)...), nil, Proved, true, true},
		{"CR at a block's end", bytes.ReplaceAll(body("16", 9000, false), []byte("line"), []byte("l\r\nne")), nil, Proved, true, true},
		{"not wanted", body("17", 20_000, false), nil, Ended, false, true},
		{"larger than all that is wanted", body("18", 900_000, false), nil, TooLarge, false, false},
		{"noise", random, random, Foreign, false, false},
	}
	var wants list
	for i, test := range tests {
		if test.found {
			wants = append(wants, wantOf(i, test.stored))
		}
	}
	o := open(t, wants)
	for i, test := range tests {
		for _, shift := range []int64{0, 3} {
			t.Run(fmt.Sprintf("%s, %d blocks in", test.name, shift), func(t *testing.T) {
				data := make([]byte, shift*testBlock)
				data = append(append(data, test.stored...), test.behind...)
				data = append(data, make([]byte, 2*testBlock-len(data)%testBlock)...)
				v := &memory{data: data}
				run, err := o.Run(t.Context(), v, shift*testBlock, testBlock, 0)
				if err != nil {
					t.Fatal(err)
				}
				if run.Stop != test.stop || (len(run.Matches) > 0) != test.found {
					t.Errorf("stop %q, %d matches", run.Stop, len(run.Matches))
				}
				for _, m := range run.Matches {
					check(t, v, &m)
					if m.Want.ID != int64(i) || m.Extents[0].Off != shift*testBlock {
						t.Errorf("want %d, extents %v", m.Want.ID, m.Extents)
					}
				}
				_, sum, size := chunk.WireSums(test.stored)
				if got := run.Text == int64(len(test.stored)) && run.Wire == size && run.SHA1 == sum; got != test.text {
					t.Errorf("text %d, wire %d, %s", run.Text, run.Wire, run.SHA1)
				}
			})
		}
	}
}

func TestRunStopsAtWhatIsUnreadable(t *testing.T) {
	stored := body("19", 50_000, false)
	v := &memory{data: append(append([]byte(nil), stored...), make([]byte, testBlock)...), unknown: []volume.Range{{Off: 5*testBlock + 512, Len: 512}}}
	o := open(t, list{wantOf(1, stored)})
	run, err := o.Run(t.Context(), v, 0, testBlock, 0)
	if err != nil || run.Stop != Unread || len(run.Matches) > 0 || run.Read != 5*testBlock {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestExtents: a block map in pieces, longer than the file, and one with a hole.
func TestExtents(t *testing.T) {
	stored := body("20", 50_000, true)
	v := &memory{data: make([]byte, 64*testBlock)}
	copy(v.data[40*testBlock:], stored[:5*testBlock])
	copy(v.data[10*testBlock:], stored[5*testBlock:])
	o := open(t, list{wantOf(1, stored), wantOf(2, body("21", 200_000, false))})
	list := []fsys.Extent{{Off: 40 * testBlock, Len: 5 * testBlock}, {Logical: 5 * testBlock, Off: 10 * testBlock, Len: 20 * testBlock}}
	run, err := o.Extents(t.Context(), v, testBlock, list)
	if err != nil || len(run.Matches) != 1 || len(run.Matches[0].Extents) != 2 {
		t.Fatalf("%+v, %v", run, err)
	}
	check(t, v, &run.Matches[0])
	list[1].Logical += testBlock
	run, err = o.Extents(t.Context(), v, testBlock, list)
	if err != nil || len(run.Matches) > 0 || run.Read != 5*testBlock {
		t.Errorf("with a hole: %+v, %v", run, err)
	}
}

// TestSeveralWantTheSame: hard links and copies are several wants.
func TestSeveralWantTheSame(t *testing.T) {
	stored := body("22", 5000, false)
	a, b := wantOf(1, stored), wantOf(2, stored)
	run, err := open(t, list{a, b}).Run(t.Context(), &memory{data: append(stored, make([]byte, 4096)...)}, 0, testBlock, 0)
	if err != nil || len(run.Matches) != 2 {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestWireAgrees: however bytes are cut into pieces, with marks in between, the
// hash is that of package chunk.
func TestWireAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringMatching(`[a\r\n]{0,9}`)).Draw(t, "pieces")
		w := newWire()
		for i, p := range pieces {
			m, err := w.mark(mark{})
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				w.write([]byte("astray\n"))
				if err := w.back(m); err != nil {
					t.Fatal(err)
				}
			}
			w.write([]byte(p))
		}
		_, sum, size := chunk.WireSums([]byte(strings.Join(pieces, "")))
		if w.size != size || w.now() != sum {
			t.Fatalf("size %d, want %d", w.size, size)
		}
	})
}

// TestEveryEnd: whatever surrounds a message and wherever it ends, it is found
// when few sizes are wanted in that block, and what is found is right.
func TestEveryEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(rapid.StringMatching(`(a|\r|\n|\r\n|\x00){1,9}`).Draw(t, "unit"))
		data = bytes.Repeat(data, 700/len(data)+2)
		copy(data, "From")
		data = append(data, bytes.Repeat([]byte("z"), 1100)...)
		size := rapid.IntRange(4, 1500).Draw(t, "size")
		want := wantOf(1, data[:size])
		o, err := Open(t.Context(), list{want})
		if err != nil {
			t.Fatal(err)
		}
		run, err := o.Extents(t.Context(), &memory{data: data[:len(data)/512*512]}, 512, []fsys.Extent{{Len: int64(len(data) / 512 * 512)}})
		if err != nil {
			t.Fatal(err)
		}
		if size > len(data)/512*512 {
			return
		}
		if len(run.Matches) == 0 {
			t.Fatalf("not found: %q", data[:size])
		}
		for _, m := range run.Matches {
			_, sum, wire := chunk.WireSums(data[:m.Stored])
			if sum != want.SHA1 || wire != want.Size {
				t.Fatalf("%d stored bytes are not what was wanted", m.Stored)
			}
		}
	})
}
