package ext4

import (
	"testing"
)

// Every kind of file system that mke2fs makes is read whole.
func TestKinds(t *testing.T) {
	for name, args := range map[string][]string{
		"ext2":              {"-t", "ext2", "-b", "1024"},
		"ext2 4k":           {"-t", "ext2", "-b", "4096", "-I", "128"},
		"ext3":              {"-t", "ext3", "-b", "1024", "-I", "128"},
		"ext3 4k":           {"-t", "ext3", "-b", "4096", "-I", "256"},
		"ext4":              {"-t", "ext4", "-b", "4096"},
		"ext4 1k":           {"-t", "ext4", "-b", "1024"},
		"ext4 legacy":       {"-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^64bit"},
		"ext4 no flex":      {"-t", "ext4", "-b", "1024", "-O", "^flex_bg"},
		"ext4 meta_bg":      {"-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"},
		"ext4 inline":       {"-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "512"},
		"ext4 bigalloc":     {"-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"},
		"ext4 sparse2":      {"-t", "ext4", "-b", "1024", "-O", "sparse_super2"},
		"ext4 seed":         {"-t", "ext4", "-b", "4096", "-O", "metadata_csum_seed"},
		"ext4 128":          {"-t", "ext4", "-b", "4096", "-I", "128"},
		"ext4 small groups": {"-t", "ext4", "-b", "4096", "-g", "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, 64, args...)
			var want truth
			mounted(t, image, func(root string) {
				fill(t, root, 3, 60)
				want = remember(t, root)
			})
			h := sweep(t, mustOpen(t, openDisk(t, image)))
			found, named, missing := h.score(want)
			if found != len(want) || named != len(want) {
				t.Errorf("%d of %d files, %d with paths; missing %.200q", found, len(want), named, missing)
			}
			t.Log(h.census())
			for e, n := range h.errors {
				t.Log(n, e)
			}
		})
	}
}
