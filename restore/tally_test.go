package restore

import (
	"testing"

	"pgregory.net/rapid"

	"salvor/chunk"
)

// A tally must do what a map of counts does.
func TestTally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.ByteRange(0, 9))
		var tl tally
		model := map[chunk.ID]int{}
		for _, b := range ids.Draw(t, "present") {
			id := chunk.Sum([]byte{b})
			model[id]++
			if err := tl.add(id); err != nil {
				t.Fatal(err)
			}
		}
		tl.seal()
		for _, b := range ids.Draw(t, "wanted") {
			id := chunk.Sum([]byte{b})
			want := model[id] > 0
			if want {
				model[id]--
			}
			if got := tl.take(id); got != want {
				t.Fatalf("take %d: got %v, want %v", b, got, want)
			}
		}
	})
}

func TestTallyOfNothing(t *testing.T) {
	var tl tally
	tl.seal()
	if tl.take(chunk.ID{}) {
		t.Fatal("took from an empty tally")
	}
}
