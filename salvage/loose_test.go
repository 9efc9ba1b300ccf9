package salvage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/found"
)

// TestLooseMembers salvages two of four members of a RAID 5: what a member says of the
// array's file system is no damage of its own, and nothing is known by a file.
func TestLooseMembers(t *testing.T) {
	s := newShelf(t)
	image, err := os.ReadFile(s.image.Path)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for i, m := range raidmaker.InMemory(image, raid5) {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("disk%d.img", i))
		if err := os.WriteFile(path, m, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	r := newDig(t, paths[0], paths[3]).run(t)
	if r.report.UnreadableBytes > 0 {
		t.Errorf("%d bytes are unreadable of two disks that are whole", r.report.UnreadableBytes)
	}
	if notes := strings.Join(r.report.Notes, "\n"); strings.Contains(notes, "cut off") {
		t.Errorf("a member is called cut off: %s", notes)
	}
	if notes := strings.Join(r.notes, "\n"); !strings.Contains(notes, "taken for members of an array") {
		t.Errorf("nothing says how they were read: %s", notes)
	}
	if len(r.finds) == 0 {
		t.Error("nothing was found")
	}
	for _, f := range r.finds {
		if f.Path != "" || f.Grade == found.Consistent {
			t.Errorf("%s is %s by %q", f.ID, f.Grade, f.Path)
		}
	}
}
