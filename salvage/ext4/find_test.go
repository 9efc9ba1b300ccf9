package ext4

import (
	"context"
	"errors"
	"os"
	"testing"
)

func find(t *testing.T, image string) []Super {
	t.Helper()
	found, err := Find(context.Background(), openDisk(t, image))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFindAgrees(t *testing.T) {
	image := newImage(t, 64, "-t", "ext4", "-b", "1024")
	found := find(t, image)
	if len(found) != 1 || found[0].Off != superSize || !found[0].Sure || found[0].Copies != 5 || found[0].ClaimedSize() != 64<<20 {
		t.Errorf("%+v", found)
	}
	overwrite(t, image, 0, 4096, false)
	found = find(t, image)
	if len(found) != 1 || found[0].Group != 1 || found[0].Off != 8193<<10 || found[0].Copies != 4 {
		t.Errorf("without the first one: %+v", found)
	}
}

// A file system that was made over another one comes first; the old one is told.
func TestFindConflicts(t *testing.T) {
	image := newImage(t, 64, "-t", "ext4", "-b", "1024", "-U", "11111111-2222-4333-8444-555555555555")
	run(t, "mke2fs", "-q", "-F", "-E", "nodiscard", "-t", "ext4", "-b", "4096", image)
	found := find(t, image)
	if len(found) != 2 || found[0].BlockSize != 4096 || found[1].BlockSize != 1024 || found[1].UUID[0] != 0x11 || found[1].Copies < 2 {
		t.Fatalf("%+v", found)
	}
	if _, err := OpenAt(context.Background(), openDisk(t, image), found[1]); err != nil {
		t.Error(err)
	}
}

// One wrong byte of the primary superblock does not outweigh its copies.
func TestFindDamagedPrimary(t *testing.T) {
	for _, kind := range []string{"ext4", "ext3"} {
		image := newImage(t, 64, "-t", kind, "-b", "1024", "-N", "4096")
		overwrite(t, image, superSize+0x58, 2, false) // the inodes' size
		overwrite(t, image, superSize+0x59, 1, true)
		found := find(t, image)
		if found[0].Off == superSize || found[0].InodeSize != 256 {
			t.Errorf("%s: %+v", kind, found)
		}
	}
}

func TestCutOff(t *testing.T) {
	image := newImage(t, 64, "-t", "ext4", "-b", "4096")
	if err := os.Truncate(image, 40<<20); err != nil {
		t.Fatal(err)
	}
	if f := mustOpen(t, openDisk(t, image)); f.ClaimedSize() != 64<<20 || f.limit != 64<<20 {
		t.Errorf("%d bytes claimed, want 64 MiB", f.ClaimedSize())
	}
}

func TestNoSuper(t *testing.T) {
	if _, err := Open(context.Background(), memory(make([]byte, 1<<20))); !errors.Is(err, ErrNoSuper) {
		t.Errorf("open: %v", err)
	}
}

// A superblock that makes no sense is none.
func TestInsaneSupers(t *testing.T) {
	image := newImage(t, 8, "-t", "ext4", "-b", "1024", "-O", "^metadata_csum")
	p, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for at, name := range map[int]string{0: "inodes", 4: "blocks", 0x18: "block size", 0x20: "blocks in a group", 0x28: "inodes in a group", 0x38: "magic", 0x58: "inode size"} {
		for _, value := range []byte{0, 0xFF} {
			s := append([]byte(nil), p[superSize:2*superSize]...)
			s[at], s[at+1] = value, value
			if _, err := parseSuper(s, superSize); err == nil && !(at == 0x18 && value == 0) {
				t.Errorf("%s of %x bytes was believed", name, value)
			}
		}
	}
}
