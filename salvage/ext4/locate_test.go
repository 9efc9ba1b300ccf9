package ext4

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// aside gives an image's bytes from a place of a larger volume on.
func aside(t *testing.T, image string, from int64) memory {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return append(make(memory, from), b...)
}

// TestLocate finds a file system by its superblocks, and by those that are left.
func TestLocate(t *testing.T) {
	image := newImage(t, 32, "-t", "ext4", "-b", "1024")
	v := aside(t, image, 512*12345)
	want := Place{Base: 512 * 12345, End: 512*12345 + 32<<20, Block: 1024}
	for _, wiped := range []string{"nothing", "the primary superblock", "all but one"} {
		switch wiped {
		case "the primary superblock":
			clear(v[512*12345:][:4096])
		case "all but one":
			clear(v[512*12345+8193<<10:][:1024])
		}
		places, err := Locate(context.Background(), v)
		if err != nil || len(places) != 1 || places[0] != want {
			t.Errorf("without %s: %+v, %v", wiped, places, err)
		}
	}
}

// TestLocateSeveral finds two file systems on one disk, and takes the superblocks in a
// journal and in a file for no further ones.
func TestLocateSeveral(t *testing.T) {
	one, two := newImage(t, 16, "-t", "ext4", "-b", "1024"), newImage(t, 16, "-t", "ext2", "-b", "2048")
	v := append(aside(t, one, 63*512), aside(t, two, 512)...)
	second := int64(63*512 + 16<<20 + 512)
	copy(v[63*512+9<<20:], v[63*512:][:4096]) // as a file, or a journal, has it
	places, err := Locate(context.Background(), v)
	if err != nil || len(places) != 2 || places[0].Base != 63*512 || places[1].Base != second || places[1].Block != 2048 {
		t.Errorf("%+v, %v", places, err)
	}
}

// TestLocateNothing: what has no file system has no place, whatever looks like parts of
// one.
func TestLocateNothing(t *testing.T) {
	image := newImage(t, 16, "-t", "ext4", "-b", "1024")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]memory{
		"zeros": make(memory, 1<<20), "text": bytes.Repeat([]byte("Subject: x\n"), 1<<16), "empty": {},
		"a primary superblock": append(make(memory, 5<<20+512), b[:4096]...),
	} {
		if places, err := Locate(context.Background(), v); err != nil || len(places) != 0 {
			t.Errorf("%s: %+v, %v", name, places, err)
		}
	}
}

// FuzzLocate: nothing on a volume makes Locate fail, or give a place that lies outside.
func FuzzLocate(f *testing.F) {
	for _, kind := range []string{"ext4", "ext2"} {
		image := newImage(f, 1, "-t", kind, "-b", "1024", "-N", "16")
		b, err := os.ReadFile(image)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:32<<10], uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, sectors uint16) {
		v := append(make(memory, 512*int(sectors%64)), b...)
		places, err := Locate(context.Background(), v)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			if p.Base < 0 || p.Base >= v.Size() || p.Base%surveySector != 0 || p.End != 0 && p.End <= p.Base {
				t.Errorf("%+v", p)
			}
		}
	})
}
