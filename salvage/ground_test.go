package salvage

import (
	"testing"

	"pgregory.net/rapid"
)

// A ground answers as a slice of bools does, whatever its pages are thrown out.
func TestGround(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		const block = 512
		count := rapid.Int64Range(1, 3*8*pageBytes).Draw(t, "blocks")
		g, err := newGround(dir, count*block-rapid.Int64Range(0, block-1).Draw(t, "odd"), block)
		if err != nil {
			t.Fatal(err)
		}
		defer g.close()
		truth := make([]bool, count)
		for range rapid.IntRange(0, 20).Draw(t, "explained") {
			off := rapid.Int64Range(0, count*block-1).Draw(t, "off")
			n := rapid.Int64Range(1, 100*block).Draw(t, "len")
			if err := g.explain(off, n); err != nil {
				t.Fatal(err)
			}
			for b := off / block; b <= (off+n-1)/block && b < count; b++ {
				truth[b] = true
			}
			if rapid.Bool().Draw(t, "evict") {
				if err := g.evict(); err != nil {
					t.Fatal(err)
				}
			}
		}
		off := int64(0)
		for b := int64(0); b < count; {
			run, ok := g.Next(off)
			for b < count && truth[b] {
				b++
			}
			if ok != (b < count) {
				t.Fatalf("Next(%d): %v, and block %d is free", off, ok, b)
			}
			if !ok {
				return
			}
			end := b
			for end < count && !truth[end] {
				end++
			}
			if run.Off != b*block || run.End() != end*block {
				t.Fatalf("Next(%d) = %+v, want %d to %d", off, run, b*block, end*block)
			}
			is, err := g.explained(run.Off)
			if err != nil || is {
				t.Fatalf("block %d is explained: %v", b, err)
			}
			b, off = end, end*block
		}
	})
}
