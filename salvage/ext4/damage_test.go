package ext4

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"salvor/salvage/fsys"
)

// flavours are the file systems that each damage is tried on.
var flavours = map[string][]string{
	"ext4":        {"-t", "ext4", "-b", "4096", "-g", "2048", "-G", "2"},
	"ext4 1k":     {"-t", "ext4", "-b", "1024"},
	"ext4 legacy": {"-t", "ext4", "-b", "4096", "-g", "2048", "-O", "^metadata_csum,^64bit"},
	"ext3 128":    {"-t", "ext3", "-b", "4096", "-g", "2048", "-I", "128"},
}

// aged makes an image with users' mail and large messages in many pieces.
func aged(t testing.TB, args ...string) (string, truth) {
	t.Helper()
	image := newImage(t, 32, args...)
	var want truth
	mounted(t, image, func(root string) {
		fill(t, root, 4, 60)
		fragment(t, root, 3, 600<<10)
		want = remember(t, root)
	})
	return image, want
}

// copies lists where the superblock of an undamaged image and its copies stand,
// and how much each is followed by in descriptors.
func copies(s *Super) (places []int64, length int64) {
	length = s.BlockSize * (1 + (int64(s.groups())*int64(s.descSize)+s.BlockSize-1)/s.BlockSize)
	for g := range s.groups() {
		if s.hasSuper(g) {
			places = append(places, int64(s.start(g))*s.BlockSize)
		}
	}
	return places, length
}

func TestDamages(t *testing.T) {
	for name, args := range flavours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, want := aged(t, args...)
			intact := mustOpen(t, openDisk(t, base))
			before := sweep(t, intact)
			if limit := before.limit(want, intact.v); limit != len(want) {
				t.Fatalf("%d of %d files found before any damage", limit, len(want))
			}
			lazy := 0.0 // mke2fs clears inode tables at once where groups have no checksums
			if intact.super.sums() {
				lazy = .9 // but for the first block, which the new root needs
			}
			damages := map[string]struct {
				hurt  func(t *testing.T, image string)
				guess bool
				named float64 // share of all files that are found by their path too, at least
			}{
				"none": {func(t *testing.T, image string) {}, false, 1},
				"first superblock": {func(t *testing.T, image string) {
					places, length := copies(intact.super)
					overwrite(t, image, 0, places[0]+length, false)
				}, false, 1},
				"all superblocks": {func(t *testing.T, image string) {
					places, length := copies(intact.super)
					overwrite(t, image, 0, 2048, false)
					for _, at := range places {
						overwrite(t, image, at, length, true)
					}
				}, true, 1},
				"inode tables": {func(t *testing.T, image string) {
					for _, s := range intact.tables {
						overwrite(t, image, s.off, s.end-s.off, s.first%2 == 0)
					}
				}, false, .9},
				"cut off": {func(t *testing.T, image string) {
					if err := os.Truncate(image, 28<<20); err != nil {
						t.Fatal(err)
					}
				}, false, .9},
				"removed": {func(t *testing.T, image string) {
					mounted(t, image, func(root string) {
						if err := os.RemoveAll(filepath.Join(root, "spool")); err != nil {
							t.Fatal(err)
						}
					})
				}, false, .1},
				"directories": {func(t *testing.T, image string) {
					wipeDirectories(t, image, intact)
				}, false, 0},
				"made anew": {func(t *testing.T, image string) {
					run(t, "mke2fs", append(append([]string{"-q", "-F", "-E", "nodiscard"}, args...), image)...)
				}, false, lazy},
				"made anew in another way": {func(t *testing.T, image string) {
					run(t, "mke2fs", "-q", "-F", "-E", "nodiscard", "-t", "ext4", "-b", "4096", "-g", "8192", "-N", "4096", image)
				}, false, 0},
			}
			for what, d := range damages {
				t.Run(what, func(t *testing.T) {
					image := clone(t, base)
					d.hurt(t, image)
					v := openDisk(t, image)
					h := sweepAll(t, v, d.guess, intact.bs)
					found, named, missing := h.score(want)
					slices.Sort(missing)
					limit := before.limit(want, v)
					t.Logf("%d files, %d possible, %d found, %d with paths, missing %.200q, %v", len(want), limit, found, named, missing, h.census())
					if found < limit || float64(named) < d.named*float64(len(want)) {
						t.Errorf("%d of %d files found, where %d were possible; %d with their paths", found, len(want), limit, named)
					}
				})
			}
		})
	}
}

// sweepAll sweeps for each file system that a superblock tells of, or for what
// blocks of a size lead to where there is none.
func sweepAll(t *testing.T, v *disk, guess bool, blockSize int64) *harvest {
	t.Helper()
	supers, err := Find(context.Background(), v)
	if guess != errors.Is(err, ErrNoSuper) {
		t.Fatalf("find: %v", err)
	}
	if guess {
		return sweep(t, Guess(v, blockSize))
	}
	if err != nil {
		t.Fatal(err)
	}
	var all *harvest
	for _, s := range supers {
		f, err := OpenAt(context.Background(), v, s)
		if err != nil {
			t.Fatal(err)
		}
		h := sweep(t, f)
		if all == nil {
			all = h
			continue
		}
		all.names = append(all.names, h.names...)
		for sum, files := range h.files {
			all.files[sum] = append(all.files[sum], files...)
		}
	}
	return all
}

// wipeDirectories clears every directory's blocks in place; what the journal holds
// of them stays.
func wipeDirectories(t *testing.T, image string, f *FS) {
	logged := map[int64]bool{}
	for _, tr := range sweep(t, f).traces { // Known comes before Look
		logged[tr.Off] = logged[tr.Off] || tr.Origin == fsys.Log
		if tr.Kind == fsys.Names && !logged[tr.Off] {
			overwrite(t, image, tr.Off, f.bs, false)
		}
	}
}

// clone copies an image, leaving holes where it has zeros.
func clone(t testing.TB, image string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clone")
	run(t, "cp", "--sparse=always", image, path)
	return path
}
