package ext4

import (
	"bytes"
	"context"
	"crypto/sha1"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// With inode tables and journal gone, or all files removed, the leaves of extent
// trees still hold the pieces of large files, in order: the kernel clears a removed
// file's inode, and gives the leaves up as they are. Their checksums say whose they
// are.
func TestMapsAlone(t *testing.T) {
	for name, hurt := range map[string]func(t *testing.T, image string, f *FS){
		"inode tables": func(t *testing.T, image string, f *FS) {
			for _, s := range f.tables {
				overwrite(t, image, s.off, s.end-s.off, true)
			}
		},
		"removed": func(t *testing.T, image string, f *FS) {
			mounted(t, image, func(root string) {
				if err := os.RemoveAll(filepath.Join(root, "spool")); err != nil {
					t.Fatal(err)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, want := aged(t, flavours["ext4"]...)
			intact := mustOpen(t, openDisk(t, image))
			keys := map[uint32]uint64{}
			for _, files := range sweep(t, intact).files {
				for _, f := range files {
					for _, k := range intact.Keys(f.Inode, f.Generation) {
						keys[k] = f.Inode
					}
				}
			}
			maps, err := intact.journalMaps(context.Background())
			if err != nil || len(maps) == 0 {
				t.Fatalf("journal: %v, %v", maps, err)
			}
			hurt(t, image, intact)
			for _, e := range maps[0] {
				overwrite(t, image, e.Off, e.Len, false)
			}
			h := sweep(t, mustOpen(t, openDisk(t, image)))
			if whole := wholeByMap(t, h, want, keys); whole != 3 {
				t.Errorf("%d of 3 large files from their maps alone, %v", whole, h.census())
			}
		})
	}
}

// wholeByMap counts the files that block maps alone lead to, and checks whose these
// say they are.
func wholeByMap(t *testing.T, h *harvest, want truth, keys map[uint32]uint64) int {
	t.Helper()
	whole := 0
	for _, tr := range h.traces {
		if tr.Kind != fsys.Map {
			continue
		}
		file, err := h.fs.File(context.Background(), tr)
		if err != nil {
			t.Fatal(err)
		}
		content := h.content(file)
		if file.Size != -1 {
			t.Errorf("a block map of size %d", file.Size)
		}
		for path, o := range want {
			if int64(len(content)) < o.size || len(file.Extents) < 5 || sha1.Sum(content[:o.size]) != o.sum {
				continue
			}
			whole++
			if owner, err := h.fs.Owner(tr); err != nil || keys[owner] != o.inode {
				t.Errorf("%s: its map belongs to inode %d (%v), want %d", path, keys[owner], err, o.inode)
			}
		}
	}
	return whole
}

// Without a superblock the seed of the checksums follows from directories, and with
// it the number of every inode; after mke2fs, the old file system's.
func TestLearn(t *testing.T) {
	image, want := aged(t, flavours["ext4"]...)
	seed := mustOpen(t, openDisk(t, image)).super.seed
	run(t, "mke2fs", append(append([]string{"-q", "-F", "-E", "nodiscard"}, flavours["ext4"]...), image)...)
	for name, f := range map[string]*FS{"guessed": Guess(openDisk(t, image), 0), "made anew": mustOpen(t, openDisk(t, image))} {
		h := sweep(t, f)
		if !slices.Contains(f.seeds(), seed) {
			t.Errorf("%s: seeds %x, want %x too", name, f.seeds(), seed)
		}
		sure := 0
		for _, o := range want {
			for _, file := range h.files[o.sum] {
				if file.Sure && file.Inode == o.inode {
					sure++
					break
				}
			}
		}
		if sure < len(want)*9/10 {
			t.Errorf("%s: the numbers of %d of %d files are sure", name, sure, len(want))
		}
	}
}

// Every block of a directory says whose it is, but those of its index.
func TestOwnerOfNames(t *testing.T) {
	image := newImage(t, 32, "-t", "ext4", "-b", "1024")
	mounted(t, image, func(root string) { fill(t, root, 1, 200) })
	f := mustOpen(t, openDisk(t, image))
	h := sweep(t, f)
	later := 0
	for _, tr := range h.traces {
		if tr.Kind != fsys.Inode || tr.Origin != fsys.Table || record(tr.Raw).kind() != modeDirectory {
			continue
		}
		dir, err := f.File(context.Background(), tr)
		if err != nil || !dir.Sure {
			t.Fatalf("inode %d: %+v, %v", tr.Number, dir, err)
		}
		for _, e := range dir.Extents {
			for at := int64(0); at < e.Len; at += f.bs {
				owner, err := f.Owner(fsys.Trace{Kind: fsys.Names, Off: e.Off + at})
				if err == ErrNoSum {
					continue
				}
				if err != nil || !slices.Contains(f.Keys(dir.Inode, dir.Generation), owner) {
					t.Errorf("block %d of directory %d is another's: %v", (e.Logical+at)/f.bs, dir.Inode, err)
				}
				if e.Logical+at > 0 {
					later++
				}
			}
		}
	}
	if later < 5 {
		t.Errorf("only %d blocks behind a directory's first", later)
	}
}

// A number follows from a checksum, a seed from a number.
func TestChecksumsBackwards(t *testing.T) {
	r := make(record, 256)
	for i := range r {
		r[i] = byte(i * 7)
	}
	r[oldInode], r[oldInode+1] = 32, 0
	const seed, number = 0x12345678, 4711
	blank := slices.Clone(r)
	copy(blank[0x7C:], []byte{0, 0})
	copy(blank[0x82:], []byte{0, 0})
	sum := crc(key(seed, number, r.generation()), blank)
	r[0x7C], r[0x7D], r[0x82], r[0x83] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	if !r.vouches(seed, number) || r.vouches(seed, number+1) {
		t.Error("a record vouches for another number than its own")
	}
	if n, ok := r.numberBy(seed); !ok || n != number {
		t.Errorf("number %d, want %d", n, number)
	}
	if s, ok := r.seedBy(number); !ok || s != seed {
		t.Errorf("seed %x, want %x", s, seed)
	}
	p := bytes.Repeat([]byte("what a block may hold, "), maxBlock/20)
	for _, n := range []int{0, 1, 4, 128, 255, 256, 1012, 4084, 32768, maxBlock - 1} {
		if state := before(crc(seed, p[:n]), p[:n]); state != seed {
			t.Errorf("%x before %d bytes, want %x", state, n, seed)
		}
	}
}

// written is an entry for dirBlock.
type written struct {
	inode  uint32
	length uint16
	name   string
}

// dirBlock makes a directory's block of entries.
func dirBlock(size int, entries ...written) []byte {
	p := make([]byte, size)
	at := 0
	for _, e := range entries {
		p[at], p[at+1], p[at+2], p[at+3] = byte(e.inode), byte(e.inode>>8), byte(e.inode>>16), byte(e.inode>>24)
		p[at+4], p[at+5], p[at+6], p[at+7] = byte(e.length), byte(e.length>>8), byte(len(e.name)), 1
		copy(p[at+8:], e.name)
		at += int(e.length)
	}
	return p
}

func TestNames(t *testing.T) {
	// "b" was removed: its space belongs to "a" now, and holds "c" removed before.
	p := dirBlock(1024, written{12, 12, "."}, written{2, 12, ".."}, written{13, 1000, "a"})
	copy(p[36:], dirBlock(988, written{14, 988, "b"}))
	copy(p[48:], dirBlock(976, written{15, 976, "c/d"}))
	copy(p[60:], dirBlock(964, written{16, 964, "\xff\"\n"}))
	f := Guess(memory(append(make([]byte, 1024), p...)), 1024)
	if !f.likeNames(p) {
		t.Error("not taken for a directory's block")
	}
	var got []fsys.Entry
	err := f.Entries(context.Background(), fsys.Trace{Kind: fsys.Names, Off: 1024}, func(e fsys.Entry) error {
		got = append(got, e)
		return nil
	})
	want := []fsys.Entry{
		{Parent: 12, Name: "a", Child: 13, Type: fsys.Regular, Off: 1048, Up: 2},
		{Parent: 12, Name: "b", Child: 14, Type: fsys.Regular, Deleted: true, Off: 1060, Up: 2},
		{Parent: 12, Name: "\xff\"\n", Child: 16, Type: fsys.Regular, Deleted: true, Off: 1084, Up: 2},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

func TestNotNames(t *testing.T) {
	for name, p := range map[string][]byte{
		"zeros":          make([]byte, 4096),
		"text":           bytes.Repeat([]byte("Received: from mx.example.org by mail\r\n"), 110)[:4096],
		"short chain":    dirBlock(4096, written{12, 12, "x"}),
		"slash":          dirBlock(4096, written{12, 4096, "a/b"}),
		"name too long":  dirBlock(4096, written{12, 12, "abcdef"}, written{13, 4084, "g"}),
		"odd length":     dirBlock(4096, written{12, 13, "x"}, written{13, 4083, "g"}),
		"past the block": dirBlock(4096, written{12, 12, "x"}, written{13, 4088, "g"}),
	} {
		if Guess(memory(p), 4096).likeNames(p) {
			t.Errorf("%s: taken for a directory's block", name)
		}
	}
}

// What cannot be read is not taken for zeros: of inodes the journal's copies serve,
// and a leaf of an extent tree that is gone is counted.
func TestUnknown(t *testing.T) {
	image, want := aged(t, flavours["ext4"]...)
	v := openDisk(t, image)
	intact := mustOpen(t, v)
	leaves := 0
	for _, tr := range sweep(t, intact).traces {
		if tr.Kind == fsys.Map {
			v.bad = append(v.bad, volume.Range{Off: tr.Off, Len: 512})
			leaves++
		}
	}
	for _, s := range intact.tables {
		v.bad = append(v.bad, volume.Range{Off: s.off, Len: s.end - s.off})
	}
	h := sweep(t, mustOpen(t, v))
	lost := map[uint64]bool{}
	for _, files := range h.files {
		for _, f := range files {
			if f.Lost > 0 && f.Size >= 600<<10 {
				lost[f.Inode] = true
			}
		}
	}
	if found, _, missing := h.score(want); leaves == 0 || found != len(want)-3 || len(lost) != 3 {
		t.Errorf("%d of %d files, %d leaves gone, %d files that tell; missing %q", found, len(want), leaves, len(lost), missing)
	}
}
