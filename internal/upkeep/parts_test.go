package upkeep

import (
	"testing"

	"salvor/chunk"
	"salvor/internal/vault"
)

// TestEveryPartIsRead goes through all parts of a vault: each object is due in
// just one of them.
func TestEveryPartIsRead(t *testing.T) {
	for percent, want := range map[int]int{0: 1, 1: 100, 3: 34, 5: 20, 33: 4, 50: 2, 99: 2, 100: 1} {
		if got := Parts(percent); got != want {
			t.Errorf("%d percent are %d parts, want %d", percent, got, want)
		}
		for i := range 500 {
			o := vault.Object{Kind: vault.ObjectPack, ID: chunk.Sum([]byte{byte(i), byte(i >> 8)})}
			due := 0
			for part := 7; part < 7+Parts(percent); part++ {
				c := &checker{o: CheckOptions{ReadData: true, Percent: percent, Part: part}}
				if c.due(o) {
					due++
				}
			}
			if due != 1 {
				t.Errorf("%d percent: an object is due %d times", percent, due)
			}
		}
	}
}
