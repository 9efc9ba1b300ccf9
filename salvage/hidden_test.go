package salvage_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestHiddenMembers salvages partitions that are members of an array and say so, on
// disks whose partition tables are gone; one disk is missing.
func TestHiddenMembers(t *testing.T) {
	s := newShelf(t)
	var disks []string
	for _, path := range s.members(t, "hidden", "1.2")[1:] {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		disks = append(disks, s.put(t, "disk-"+path[strings.LastIndex(path, "/")+1:], slices.Concat(make([]byte, 63*512), b)))
	}
	r := newDig(t, disks...).run(t)
	if n := s.found(r); n < len(s.want) {
		t.Errorf("%d of %d messages found", n, len(s.want))
	}
	notes := strings.Join(r.notes, "\n")
	for _, want := range []string{"from byte 32256: a member of an array begins there", "4 members, 1 missing"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q: %s", want, notes)
		}
	}
}
