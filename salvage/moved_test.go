package salvage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
)

// TestMoved salvages a disk whose partition table is gone: its file system begins
// 1 MiB into it.
func TestMoved(t *testing.T) {
	image := diskimage.Build(t, diskimage.Options{Seed: 3, Size: 64 << 20})
	data, err := os.ReadFile(image.Path)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, append(make([]byte, 1<<20), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	d := image.Harm(t, diskimage.None, 1)
	d.Path = disk
	out := filepath.Join(t.TempDir(), "found")
	r := run(t, d, out, true)
	if r.OwedFound != int64(len(d.Targets)) || len(r.Sources) != 2 || r.Sources[0].System != "ext4" {
		t.Errorf("%d of %d found on %+v", r.OwedFound, len(d.Targets), r.Sources[0])
	}
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: []string{disk}})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if !strings.Contains(strings.Join(sources.Notes, "\n"), "begins at byte 1048576") {
		t.Errorf("%q", sources.Notes)
	}
}
