package salvage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
)

// TestBeheaded salvages an XFS whose front was cut off, in the midst of a block: the
// superblock that is left and stands first is the second group's.
func TestBeheaded(t *testing.T) {
	image := diskimage.Build(t, diskimage.Options{FS: diskimage.XFS, Seed: 3, Size: 300 << 20, Fill: .05})
	disk := filepath.Join(t.TempDir(), "disk.img")
	command(t, nil, "dd", "if="+image.Path, "of="+disk, "bs=1M", "iflag=skip_bytes", "skip=29184", "conv=sparse", "status=none")
	d := image.Harm(t, diskimage.None, 1)
	d.Path = disk
	out := filepath.Join(t.TempDir(), "found")
	r := run(t, d, out, false)
	list, err := os.ReadFile(filepath.Join(out, "found.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	consistent := strings.Count(string(list), `"grade":"consistent"`)
	if consistent < len(d.Targets)*3/4 {
		t.Errorf("of %d messages %d are known by name and size", len(d.Targets), consistent)
	}
	if notes := strings.Join(r.Notes, "\n"); strings.Contains(notes, "cut off") {
		t.Errorf("a superblock's copy was taken for the first one: %s", notes)
	}
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: []string{disk}})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if !strings.Contains(strings.Join(sources.Notes, "\n"), "29184 bytes behind the beginning of its file system") {
		t.Errorf("%q", sources.Notes)
	}
}
