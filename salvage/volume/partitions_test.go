package volume

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const disk64 = 64 << 20

// A want is what sfdisk says of a partition, in bytes.
type want map[int]Range

// asked asks sfdisk what it has written.
func asked(t *testing.T, path string) want {
	t.Helper()
	var answer struct {
		Table struct {
			SectorSize int64
			Partitions []struct {
				Node        string
				Start, Size int64
				Type        string
			}
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal([]byte(run(t, "", "sfdisk", "--json", path)), &answer); err != nil {
		t.Fatal(err)
	}
	w := want{}
	for _, p := range answer.Table.Partitions {
		var n int
		if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(p.Node, path), "p"), "%d", &n); err != nil {
			t.Fatalf("%s: %v", p.Node, err)
		}
		if p.Type != "5" && p.Type != "f" {
			w[n] = Range{p.Start * answer.Table.SectorSize, p.Size * answer.Table.SectorSize}
		}
	}
	return w
}

// check compares the partitions of a volume with what they should be.
func (w want) check(t *testing.T, name string, v Volume) (notes []string) {
	t.Helper()
	parts, notes := Partitions(v)
	got := want{}
	for _, p := range parts {
		s := p.(*section)
		var n int
		if _, err := fmt.Sscanf(strings.TrimPrefix(s.Name(), v.Name()+" partition "), "%d", &n); err != nil {
			t.Fatalf("%s: %q: %v", name, s.Name(), err)
		}
		got[n] = Range{s.off, s.size}
	}
	if fmt.Sprint(got) != fmt.Sprint(w) {
		t.Errorf("%s: partitions are %v, not %v; notes %q", name, got, w, notes)
	}
	for _, n := range notes {
		if strings.Contains(n, "\n") || !strings.HasPrefix(n, v.Name()) {
			t.Errorf("%s: note %q", name, n)
		}
	}
	return notes
}

func wantNote(t *testing.T, name string, notes []string, text string) {
	t.Helper()
	if text == "" && len(notes) > 0 || text != "" && !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, text) }) {
		t.Errorf("%s: notes are %q, without %q", name, notes, text)
	}
}

// partitioned gives what sfdisk makes of a script, on disks with small and large sectors.
func partitioned(t *testing.T, script string, sector string) (path string, w want) {
	t.Helper()
	path = sparse(t, "disk.img", disk64)
	if sector == "512" {
		run(t, script, "sfdisk", "--quiet", path)
		return path, asked(t, path)
	}
	device := loop(t, path, "--sector-size", sector)
	run(t, script, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", device)
	w = asked(t, device)
	w.check(t, "device with sectors of "+sector, open(t, device, Options{}))
	return path, w
}

const (
	scriptGPT = "label: gpt\nsize=8MiB\nsize=16MiB, type=linux-lvm\nstart=40MiB, size=4MiB\n"
	scriptMBR = "label: dos\nsize=8MiB, type=83\nsize=4MiB, type=82\nsize=40MiB, type=f\nsize=8MiB, type=83\nsize=8MiB, type=83\nsize=8MiB, type=83\n"
)

func TestTablesOfSfdisk(t *testing.T) {
	for _, script := range []string{scriptGPT, scriptMBR} {
		for _, sector := range []string{"512", "4096"} {
			name := script[7:10] + " " + sector
			path, w := partitioned(t, script, sector)
			if len(w) < 3 {
				t.Fatalf("%s: sfdisk made %v", name, w)
			}
			if script == scriptMBR && sector == "4096" {
				// Nothing but a file system says how large the sectors of an MBR are.
				put(t, path, w[1].Off+1080, []byte{0x53, 0xEF})
			}
			wantNote(t, name, w.check(t, name, open(t, path, Options{})), "")
		}
	}
}

func TestDamagedGPT(t *testing.T) {
	wreck := random(3, 16<<10)
	disk, whole := partitioned(t, scriptGPT, "512")
	b, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	head, tail := b[:64<<10], b[disk64-64<<10:]
	for _, c := range []struct {
		name   string
		damage func(path string, w want) want
		note   string
	}{
		{"the first sector", func(path string, w want) want { put(t, path, 0, wreck[:512]); return w }, ""},
		{"the first header", func(path string, w want) want { put(t, path, 512, wreck[:512]); return w }, "the GPT at its beginning is damaged; the copy at 67108352"},
		{"the first entries", func(path string, w want) want { put(t, path, 1024, wreck[:100]); return w }, "the GPT at its beginning is damaged"},
		{"the first MiB", func(path string, w want) want { put(t, path, 0, wreck); return w }, "the GPT at its beginning is damaged"},
		{"the last MiB", func(path string, w want) want { put(t, path, disk64-16<<10, wreck); return w }, ""},
		{"both entries, behind the third", func(path string, w want) want {
			put(t, path, 1024+3*128+56, wreck[:8]) // a name
			put(t, path, disk64-33*512+3*128+56, wreck[:8])
			return w
		}, "both copies of its GPT are damaged"},
		{"both headers", func(path string, w want) want {
			put(t, path, 512, wreck[:512])
			put(t, path, disk64-512, wreck[:512])
			return want{}
		}, "it had a GPT, of which neither copy is left"},
		{"cut off", func(path string, w want) want {
			if err := os.Truncate(path, 20<<20); err != nil {
				t.Fatal(err)
			}
			return want{1: w[1], 2: w[2]}
		}, "partition 2: its last 5242880 bytes lie behind the end of what there is"},
		{"cut off, the third", func(path string, w want) want {
			if err := os.Truncate(path, 20<<20); err != nil {
				t.Fatal(err)
			}
			return want{1: w[1], 2: w[2]}
		}, "partition 3: all of its 4194304 bytes lie behind the end"},
	} {
		path := sparse(t, "disk.img", disk64)
		put(t, path, 0, head)
		put(t, path, disk64-64<<10, tail)
		w := c.damage(path, maps.Clone(whole))
		wantNote(t, c.name, w.check(t, c.name, open(t, path, Options{})), c.note)
	}
}

func TestUnreadableGPT(t *testing.T) {
	path, w := partitioned(t, scriptGPT, "512")
	mapOf := func(bad ...Range) Options {
		text := fmt.Sprintf("0 + 1\n0 %d +\n", disk64)
		for _, r := range bad {
			text += fmt.Sprintf("%d %d -\n", r.Off, r.Len)
		}
		return Options{Map: write(t, "map", []byte(text))}
	}
	name := "the first header"
	wantNote(t, name, w.check(t, name, open(t, path, mapOf(Range{512, 512}))), "the GPT at its beginning is damaged")
	name = "both entries, behind the third"
	notes := w.check(t, name, open(t, path, mapOf(Range{1024 + 512, 512}, Range{disk64 - 33*512 + 512, 512})))
	wantNote(t, name, notes, "a part of its partition table at 1024 is unreadable")
	name = "the first partition's entries"
	delete(w, 1)
	delete(w, 2)
	delete(w, 3)
	w.check(t, name, open(t, path, mapOf(Range{1024, 512}, Range{disk64 - 33*512, 512})))
}

// entry writes an entry of an MBR.
func entry(b []byte, i int, kind byte, start, count uint32) {
	e := b[446+16*i:]
	e[4] = kind
	binary.LittleEndian.PutUint32(e[8:], start)
	binary.LittleEndian.PutUint32(e[12:], count)
	b[510], b[511] = 0x55, 0xAA
}

func TestMBR(t *testing.T) {
	const sector = 512
	at := func(start, count int64) Range { return Range{start * sector, count * sector} }
	for _, c := range []struct {
		name string
		make func(d []byte)
		want want
		note string
	}{
		{"nothing", func(d []byte) {}, want{}, ""},
		{"a mark and no entry", func(d []byte) { d[510], d[511] = 0x55, 0xAA }, want{}, ""},
		{"one", func(d []byte) { entry(d, 1, 0x83, 8, 100) }, want{2: at(8, 100)}, ""},
		{"past the end", func(d []byte) { entry(d, 0, 0x83, 8, 1<<31) }, want{1: at(8, 1<<31)}, "partition 1: its last 1099510583296 bytes lie behind"},
		{"behind the end only", func(d []byte) { entry(d, 0, 0x83, 1<<30, 8) }, want{}, ""},
		{"overlapping", func(d []byte) { entry(d, 0, 0x83, 8, 100); entry(d, 1, 0x83, 50, 100) }, want{}, ""},
		{"from 0", func(d []byte) { entry(d, 0, 0x83, 0, 100) }, want{}, ""},
		{"no boot flag", func(d []byte) { entry(d, 0, 0x83, 8, 100); d[446] = 0x12 }, want{}, ""},
		{"a chain", func(d []byte) {
			entry(d, 0, 0x05, 100, 900)
			entry(d[100*sector:], 0, 0x83, 8, 50)
			entry(d[100*sector:], 1, 0x05, 200, 100)
			entry(d[300*sector:], 0, 0x83, 8, 50)
		}, want{5: at(108, 50), 6: at(308, 50)}, ""},
		{"a chain with an empty link", func(d []byte) {
			entry(d, 0, 0x05, 100, 900)
			entry(d[100*sector:], 1, 0x05, 200, 100)
			entry(d[300*sector:], 0, 0x83, 8, 50)
		}, want{6: at(308, 50)}, ""},
		{"a circle", func(d []byte) {
			entry(d, 0, 0x0F, 100, 900)
			entry(d[100*sector:], 0, 0x83, 8, 50)
			entry(d[100*sector:], 1, 0x05, 200, 100)
			entry(d[300*sector:], 0, 0x83, 8, 50)
			entry(d[300*sector:], 1, 0x05, 0, 100)
		}, want{5: at(108, 50), 6: at(308, 50)}, "runs in a circle after partition 6"},
		{"a broken chain", func(d []byte) {
			entry(d, 0, 0x85, 100, 900)
			entry(d[100*sector:], 0, 0x83, 8, 50)
			entry(d[100*sector:], 1, 0x05, 200, 100)
		}, want{5: at(108, 50)}, "is broken at 153600, after partition 5"},
		{"a chain that leaves", func(d []byte) {
			entry(d, 0, 0x05, 100, 400)
			entry(d[100*sector:], 0, 0x83, 8, 50)
			entry(d[100*sector:], 1, 0x05, 400, 100)
		}, want{5: at(108, 50)}, "leaves the extended one after partition 5"},
		{"logical ones that overlap", func(d []byte) {
			entry(d, 0, 0x83, 8, 92)
			entry(d, 1, 0x05, 100, 900)
			entry(d[100*sector:], 0, 0x83, 8, 250)
			entry(d[100*sector:], 1, 0x05, 200, 100)
			entry(d[300*sector:], 0, 0x83, 8, 50)
		}, want{1: at(8, 92), 5: at(108, 250)}, "partition 6: it overlaps an earlier one"},
	} {
		d := make([]byte, 1<<20)
		c.make(d)
		notes := c.want.check(t, c.name, memory(t, "disk", d))
		if c.note != "" || len(c.want) > 0 {
			wantNote(t, c.name, notes, c.note)
		}
	}
}

// A file system straight on the disk is no partition table, whatever its first
// sector looks like.
func TestFileSystemOnTheWholeDisk(t *testing.T) {
	table := make([]byte, 512)
	entry(table, 0, 0x83, 2048, 20000)
	for _, c := range []struct {
		name  string
		make  func(path string)
		parts int
		note  string
	}{
		{"FAT", func(path string) { run(t, "", "mkfs.vfat", path) }, 0, ""},
		{"FAT32", func(path string) { run(t, "", "mkfs.vfat", "-F", "32", path) }, 0, ""},
		{"ext4", func(path string) { run(t, "", "mke2fs", "-q", "-F", "-t", "ext4", path) }, 0, ""},
		{"ext4 with an old table", func(path string) {
			run(t, "", "mke2fs", "-q", "-F", "-t", "ext4", path)
			put(t, path, 446, table[446:])
		}, 0, "it holds an ext2, ext3 or ext4 file system; an old MBR partition table on it is left alone"},
		{"XFS with an old GPT at the end", func(path string) {
			run(t, scriptGPT, "sfdisk", "--quiet", path)
			put(t, path, 0, make([]byte, 1<<20))
			put(t, path, 0, []byte("XFSB")) // mkfs.xfs wants 300 MB
		}, 0, "it holds an XFS file system; an old GPT partition table on it is left alone"},
		{"XFS with an old table that points at one of its groups", func(path string) {
			put(t, path, 0, slices.Concat([]byte("XFSB"), make([]byte, 442), table[446:]))
			put(t, path, 2048*512, append([]byte("XFSB"), make([]byte, 508)...))
		}, 0, "it holds an XFS file system; an old MBR partition table"},
		{"a table, and an old ext4 below it", func(path string) {
			run(t, "", "mke2fs", "-q", "-F", "-t", "ext4", path)
			put(t, path, 446, table[446:])
			put(t, path, 2048*512, []byte("XFSB"))
		}, 1, ""},
		{"a new MBR, and an old GPT at the end", func(path string) {
			run(t, scriptGPT, "sfdisk", "--quiet", path)
			put(t, path, 0, make([]byte, 16<<10))
			put(t, path, 0, table)
		}, 1, ""},
	} {
		path := sparse(t, "disk.img", disk64)
		c.make(path)
		v := open(t, path, Options{})
		parts, notes := Partitions(v)
		if len(parts) != c.parts {
			t.Errorf("%s: %d partitions", c.name, len(parts))
		}
		wantNote(t, c.name, notes, c.note)
	}
}

// sumGPT makes the checksums of a header right, and that of its entries.
func sumGPT(d []byte, at int) {
	if at < 0 || at+512 > len(d) || string(d[at:at+8]) != "EFI PART" {
		return
	}
	h := d[at:][:512]
	le := binary.LittleEndian
	first, n := le.Uint64(h[72:])*512, uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:]))
	if first < uint64(len(d)) && n <= uint64(len(d))-first {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(d[first:first+n]))
	}
	le.PutUint64(h[24:], uint64(at/512))
	le.PutUint32(h[12:], 92)
	clear(h[16:20])
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

func FuzzPartitions(f *testing.F) {
	d := make([]byte, 2048)
	entry(d, 0, 0x83, 2, 1)
	entry(d, 1, 0x05, 1, 3)
	entry(d[512:], 1, 0x05, 0, 3)
	f.Add(d, []byte(nil))
	gpt := make([]byte, 2048)
	entry(gpt, 0, 0xEE, 1, 100)
	copy(gpt[512:], "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
	gpt[512+72], gpt[512+80], gpt[512+84] = 2, 4, 128
	f.Add(gpt, gpt[512:1024])
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		if len(head)+len(tail) > 64<<10 {
			return
		}
		// The checksums are made right, so that what stands behind them is reached.
		d := append(append(slices.Clone(head), make([]byte, 8192)...), tail...)
		for _, at := range []int{512, 4096, len(d)/512*512 - 512} {
			sumGPT(d, at)
		}
		v := memory(t, "disk", d)
		parts, notes := Partitions(v)
		if len(parts) > mostPartitions || len(notes) > 3*mostPartitions {
			t.Errorf("%d parts and %d notes of %d bytes", len(parts), len(notes), len(d))
		}
		var taken Ranges
		for _, p := range parts {
			s, ok := p.(*section)
			if !ok {
				continue
			}
			if s.off < 0 || s.size <= 0 || s.off >= v.Size() || len(taken.over(Range{s.off, s.size})) > 0 {
				t.Errorf("%s: %d bytes at %d", s.name, s.size, s.off)
			}
			taken = taken.insert(Range{s.off, s.size})
			readAll(t, p, 0, 512)
		}
	})
}

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		script string
		want   []Entry
	}{
		{"label: gpt\nsize=2MiB, type=A19D880F-05FC-4D3B-A006-743F0F84911E\nsize=2MiB\n", []Entry{{1, true}, {2, false}}},
		{"label: dos\nsize=2MiB, type=83\nsize=2MiB, type=fd\nsize=10MiB, type=5\nsize=2MiB, type=8e\nsize=2MiB, type=fd\n",
			[]Entry{{1, false}, {2, true}, {4, false}, {5, true}}},
	} {
		path := sparse(t, "disk.img", 32<<20)
		run(t, c.script, "sfdisk", "--quiet", path)
		parts, _ := Partitions(open(t, path, Options{}))
		var got []Entry
		for _, p := range parts {
			e, ok := EntryOf(p)
			if !ok {
				t.Errorf("%s has no entry", p.Name())
			}
			got = append(got, e)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, not %v", c.script, got, c.want)
		}
	}
	if e, ok := EntryOf(memory(t, "disk", make([]byte, 4096))); ok {
		t.Errorf("a disk has the entry %v", e)
	}
}
