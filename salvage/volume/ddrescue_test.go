package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mapHead = "# Mapfile. Created by GNU ddrescue version 1.27\n# Command line: ddrescue /dev/sda image map\n# current_pos  current_status  current_pass\n0x00000000     +               1\n#      pos        size  status\n"

func TestParseMap(t *testing.T) {
	for _, c := range []struct {
		name, text string
		finished   Ranges
		end, size  int64
	}{
		{"one bad sector", mapHead + "0x00000000  0x00001000  +\n0x00001000  0x00000200  -\n0x00001200  0x00000E00  +\n", Ranges{{0, 4096}, {4608, 3584}}, 8192, 8192},
		{"each status", "0 +\n0 10 ?\n10 10 *\n20 10 /\n30 10 -\n40 10 +\n", Ranges{{40, 10}}, 50, 50},
		{"1.21 has no pass", "0xAC023CF400     -\n0x00000000  0x200  +\n", Ranges{{0, 512}}, 512, 512},
		{"decimal and octal", "0 ? 1\n0 512 +\n01000 0x200 -\n", Ranges{{0, 512}}, 1024, 1024},
		{"CRLF", strings.ReplaceAll(mapHead+"0 0x400 +\n", "\n", "\r\n"), Ranges{{0, 1024}}, 1024, 1024},
		{"no line end at the end", "0 + 1\n0 512 +", Ranges{{0, 512}}, 512, 512},
		{"comments behind", "0 + 1 # now\n0 512 + # good\n", Ranges{{0, 512}}, 512, 512},
		{"overlapping: unknown wins", "0 + 1\n0 4096 +\n512 512 -\n768 1024 +\n", Ranges{{0, 512}, {1024, 3072}}, 4096, 4096},
		{"a gap is unknown", "0 + 1\n0 512 +\n1024 512 +\n", Ranges{{0, 512}, {1024, 512}}, 1536, 1536},
		{"out of order", "0 + 1\n1024 512 +\n0 512 +\n", Ranges{{0, 512}, {1024, 512}}, 1536, 1536},
		{"nothing finished", "0 ? 1\n0 0x100000 ?\n", nil, 1 << 20, 1 << 20},
		{"size not yet known", "0 ? 1\n0 512 +\n512 0x7FFFFFFFFFFFFDFF ?\n", Ranges{{0, 512}}, 1<<63 - 1, 512},
		{"empty blocks", "0 ? 1\n0 0 +\n0 512 +\n", Ranges{{0, 512}}, 512, 512},
	} {
		m, err := ParseMap(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !same(m.Finished, c.finished) || m.End != c.end || m.Size != c.size {
			t.Errorf("%s: %+v, not %v, %d, %d", c.name, m, c.finished, c.end, c.size)
		}
	}
}

func TestParseMapSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "it holds no block"},
		{"comments only", "# Mapfile\n", "it holds no block"},
		{"no block", mapHead, "it holds no block"},
		{"unknown status", mapHead + "0 512 X\n", `line 6: unknown status "X"; known are ? * / - and +; give the map`},
		{"two statuses", mapHead + "0 512 ++\n", `line 6: unknown status "++"`},
		{"no status", mapHead + "0 512\n", "line 6: 2 fields, and not position, size and status"},
		{"no number", mapHead + "zero 512 +\n", `line 6: "zero" is no position or size`},
		{"negative", mapHead + "-512 512 +\n", `line 6: "-512" is no position or size`},
		{"negative size", mapHead + "512 -512 +\n", `line 6: "-512" is no position or size`},
		{"Go's numbers", mapHead + "1_024 512 +\n", `line 6: "1_024" is no position or size`},
		{"too large", mapHead + "0x7FFFFFFFFFFFFE00 0x400 +\n", "line 6: a block at 0x7FFFFFFFFFFFFE00 of 0x400 bytes ends behind the largest offset"},
		{"no status line", "0x0 0x200 +\n", "line 1: the first line is no status line"},
		{"an image", strings.Repeat("\x00", 100<<10), "line 1: it is longer than 64 KiB"},
		{"mail", "Return-Path: <a@example.org>\n", "line 1: the first line is no status line"},
	} {
		_, err := ParseMap(strings.NewReader(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v, not %q", c.name, err, c.want)
		}
	}
}

func TestOpenWithMap(t *testing.T) {
	data := random(1, 8192)
	for _, c := range []struct {
		name, text string
		real       int // bytes of the image that are there
		claim      int64
		size       int64
		unknown    Ranges
		note       string
	}{
		{"whole", "0 + 1\n0 8192 +\n", 8192, 0, 8192, nil, ""},
		{"a bad sector", "0 + 1\n0 4096 +\n4096 512 -\n4608 3584 +\n", 8192, 0, 8192, Ranges{{4096, 512}}, ""},
		{"shorter than the image", "0 + 1\n0 4096 +\n", 8192, 0, 8192, Ranges{{4096, 4096}}, "it ends at 4096, and "},
		{"the image was cut off", "0 + 1\n0 8192 +\n", 6000, 0, 8192, Ranges{{6000, 2192}}, "it calls 2192 bytes finished that lie past the end of "},
		{"the end was never read", "0 + 1\n0 4096 +\n4096 4096 ?\n", 4096, 0, 8192, Ranges{{4096, 4096}}, ""},
		{"a claim beyond both", "0 + 1\n0 4096 +\n4096 2048 ?\n", 4096, 8192, 8192, Ranges{{4096, 4096}}, ""},
		{"the size was not known", "0 + 1\n0 4096 +\n4096 0x7FFFFFFFFFFFEFFF ?\n", 8192, 0, 8192, Ranges{{4096, 4096}}, ""},
	} {
		path := write(t, "image", data[:c.real])
		v := open(t, path, Options{Map: write(t, "map", []byte(c.text)), Size: c.claim})
		got, unknown := readAll(t, v, 0, 8192)
		if v.Size() != c.size || !same(unknown, c.unknown) {
			t.Errorf("%s: size %d, unknown %v", c.name, v.Size(), unknown)
		}
		for _, r := range (Ranges{{0, 8192}}).Subtract(c.unknown) {
			if string(got[r.Off:r.End()]) != string(data[r.Off:r.End()]) {
				t.Errorf("%s: wrong bytes in %v", c.name, r)
			}
		}
		if notes := strings.Join(Notes(v), "\n"); (c.note == "") != (notes == "") || !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %q", c.name, notes)
		}
	}
}

func TestOpenWithBadMap(t *testing.T) {
	image := write(t, "image", random(1, 4096))
	bad := write(t, "map", []byte("0 + 1\n0 512 Z\n"))
	_, err := Open(image, Options{Map: bad})
	if err == nil || !strings.HasPrefix(err.Error(), "map "+bad+": line 2: unknown status") {
		t.Errorf("bad map: %v", err)
	}
	if _, err = Open(image, Options{Map: image + ".map"}); !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no map: %v", err)
	}
}

// What GNU ddrescue itself writes, about a disk whose end cannot be read.
func TestMapOfDdrescue(t *testing.T) {
	const size, good = 2 << 20, 1<<20 + 1536
	data := random(1, size)
	backing := write(t, "disk", data)
	device := loop(t, backing)
	if err := os.Truncate(backing, good); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image, log := filepath.Join(dir, "image"), filepath.Join(dir, "map")
	run(t, "", "ddrescue", "--quiet", "--idirect", "--sector-size=512", device, image, log)
	v := open(t, image, Options{Map: log})
	got, unknown := readAll(t, v, 0, size)
	if want := (Ranges{{good, size - good}}); v.Size() != size || !same(unknown, want) {
		text, _ := os.ReadFile(log)
		t.Errorf("size %d, unknown %v, not %v\n%s", v.Size(), unknown, want, text)
	}
	if string(got[:good]) != string(data[:good]) {
		t.Error("wrong bytes")
	}
}

func FuzzParseMap(f *testing.F) {
	f.Add(mapHead + "0x00000000  0x00001000  +\n0x00001000  0x00000200  -\n")
	f.Add("0 ? 1\r\n0 0x7FFFFFFFFFFFFFFF ?\r\n")
	f.Add("0 +\n0 512 +\n256 512 /\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMap(strings.NewReader(text))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			return
		}
		if !same(Normalise(m.Finished), m.Finished) || m.Size > m.End || m.End < 0 {
			t.Errorf("%+v", m)
		}
		if n := len(m.Finished); n > 0 && (m.Finished[0].Off < 0 || m.Finished[n-1].End() > m.End) {
			t.Errorf("%+v", m)
		}
	})
}
