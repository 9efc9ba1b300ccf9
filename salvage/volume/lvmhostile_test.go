package volume

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// labelled makes a physical volume with an id of 32 x and any text for metadata.
func labelled(text string) []byte {
	d := make([]byte, 256<<10)
	le := binary.LittleEndian
	l := d[512:1024]
	copy(l, "LABELONE")
	le.PutUint64(l[8:], 1)
	le.PutUint32(l[20:], 32)
	copy(l[24:], "LVM2 001")
	copy(l[32:64], strings.Repeat("x", 32))
	le.PutUint64(l[72:], 200<<10)    // data
	le.PutUint64(l[72+32:], 4096)    // metadata
	le.PutUint64(l[72+40:], 128<<10) // its size
	le.PutUint32(l[16:], lvmSum(l[20:]))
	m := d[4096:4608]
	copy(m[4:], lvmAreaMagic)
	le.PutUint32(m[20:], 1)
	le.PutUint64(m[24:], 4096)
	le.PutUint64(m[32:], 128<<10)
	// So that it goes on at the beginning of the ring.
	at := min(128<<10-100, 128<<10-len(text)/2)
	n := copy(d[4096+at:4096+128<<10], text)
	copy(d[4608:4096+at], text[n:])
	le.PutUint64(m[40:], uint64(at))
	le.PutUint64(m[48:], uint64(len(text)))
	le.PutUint32(m[56:], lvmSum([]byte(text)))
	le.PutUint32(m, lvmSum(m[4:]))
	return d
}

// groupOf is metadata of a group whose one physical volume has 32 extents of 1 KiB from
// 200 KiB on.
func groupOf(lvs string) string {
	return `vg0 { id="g" seqno=1 extent_size=2 physical_volumes { pv0 { id="` + strings.Repeat("x", 32) + `" pe_start=400 pe_count=32 } } logical_volumes {` + lvs + `} }`
}

func lvOf(name, segments string) string {
	return name + ` { id="` + name + `" status=["VISIBLE"] ` + segments + `} `
}

func segment(n, start, count int64, rest string) string {
	return fmt.Sprintf(`segment%d { start_extent=%d extent_count=%d %s } `, n, start, count, rest)
}

func TestHostileLVM(t *testing.T) {
	linear := func(first int) string { return fmt.Sprintf(`type="striped" stripes=["pv0", %d]`, first) }
	for _, c := range []struct {
		name, text string
		sizes      string // of the logical volumes, with the bytes unknown in them
		note       string
	}{
		{"well", groupOf(lvOf("a", segment(1, 0, 4, linear(0))+segment(2, 4, 2, linear(8)))), "a 6144-0", ""},
		{"invisible", groupOf(`a { status=["READ"] ` + segment(1, 0, 4, linear(0)) + `}`), "", ""},
		{"a gap", groupOf(lvOf("a", segment(1, 0, 1, linear(0))+segment(2, 4, 1, linear(8)))), "a 5120-3072", ""},
		{"segments that overlap", groupOf(lvOf("a", segment(1, 0, 4, linear(0))+segment(2, 2, 4, linear(8)))), "a 4096-0", ""},
		{"two volumes in one place", groupOf(lvOf("a", segment(1, 0, 4, linear(0))) + lvOf("b", segment(1, 0, 4, linear(2)))), "a 4096-0", `"b" is damaged; only linear`},
		{"one volume twice in a place", groupOf(lvOf("a", segment(1, 0, 4, linear(0))+segment(2, 4, 4, linear(0)))), "a 8192-4096", `"a" is damaged`},
		{"extents that are not there", groupOf(lvOf("a", segment(1, 0, 4, linear(30)))), "", `"a" is damaged`},
		{"no such disk", groupOf(lvOf("a", segment(1, 0, 4, `type="striped" stripes=["pv7", 0]`))), "", `"a" is damaged`},
		{"partly a mirror", groupOf(lvOf("a", segment(1, 0, 1, linear(0))+segment(2, 1, 1, `type="mirror"`))), "a 2048-1024", `"a" is of the type "mirror"`},
		{"2^48 extents", groupOf(lvOf("a", segment(1, 0, 1, linear(0))+segment(2, 1<<48, 1<<48, linear(8)))), "a 1024-0", `"a" is damaged`},
		{"an unknown piece of 2^40 bytes", groupOf(lvOf("a", segment(1, 0, 1, linear(0))+segment(2, 1, 1<<30, `type="thin"`))), "a 1099511628800-1099511627776", `"a" is of the type "thin"`},
		{"the same name twice", groupOf(lvOf("a", segment(1, 0, 1, linear(0))) + lvOf("a", segment(1, 0, 1, linear(1)))), "a 1024-0 a a 1024-0", ""},
		{"extents of nothing", `vg0 { id="g" extent_size=0 physical_volumes { pv0 { id="` + strings.Repeat("x", 32) + `" } } }`, "", "its extents of 0 sectors make no sense"},
		{"no group", "contents=5", "", "whose metadata is lost (it names no group)"},
		{"no sense", "{{{", "", "whose metadata is lost (line 1 of the metadata"},
	} {
		d := labelled(c.text)
		parts, notes := Parts([]Volume{memory(t, "disk", d)})
		var sizes []string
		for _, p := range parts {
			name, ok := strings.CutPrefix(p.Name(), "LVM vg0/")
			if !ok {
				continue
			}
			unknown := max(0, p.Size()-1<<20)
			unknown += func() int64 { _, u := readAll(t, p, 0, int(min(p.Size(), 1<<20))); return u.Total() }()
			sizes = append(sizes, fmt.Sprintf("%s %d-%d", name, p.Size(), unknown))
		}
		if got := strings.Join(sizes, " "); got != c.sizes {
			t.Errorf("%s: %q, not %q; notes %q", c.name, got, c.sizes, notes)
		}
		if c.sizes == "" && (len(parts) != 1 || parts[0].Name() != "disk") {
			t.Errorf("%s: parts are %v", c.name, partNames(parts))
		}
		wantNote(t, c.name, notes, c.note)
	}
}

func TestLUKSIsNamed(t *testing.T) {
	d := make([]byte, 64<<10)
	copy(d, "LUKS\xBA\xBE")
	parts, notes := Parts([]Volume{memory(t, "disk", d)})
	if len(parts) != 1 {
		t.Errorf("parts are %v", partNames(parts))
	}
	wantNote(t, "LUKS", notes, "disk: it is encrypted (LUKS); open it with `cryptsetup open --readonly`")
}

func TestPartsTellsNotesOfVolumes(t *testing.T) {
	image := write(t, "image", random(1, 8192))
	v := open(t, image, Options{Map: write(t, "map", []byte("0 + 1\n0 4096 +\n"))})
	_, notes := Parts([]Volume{Extend(v, 1<<20)})
	wantNote(t, "a short map", notes, "it ends at 4096, and "+image+" at 8192")
}

func FuzzParseLVM(f *testing.F) {
	f.Add([]byte(lvmText))
	f.Add([]byte("a { b = [ \"c\", 1 ] }"))
	f.Add([]byte("a {{{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		top, err := parseLVM(text)
		if err == nil {
			lvmGroup(top).sub("logical_volumes").number("a")
		} else if len(err.Error()) > 300 {
			t.Errorf("a long error: %v", err)
		}
	})
}

func FuzzLVM(f *testing.F) {
	f.Add(groupOf(lvOf("a", segment(1, 0, 4, `type="striped" stripes=["pv0", 0]`))), []byte{}, true)
	f.Add(groupOf(lvOf("a", segment(1, 0, 1<<40, `type="striped" stripes=["pv0", 31]`))), []byte{32, 0, 0, 0}, true)
	f.Add("vg0 {\nid = \""+strings.Repeat("g", 38)+"\"\nseqno = 3\n"+
		strings.TrimPrefix(groupOf(lvOf("a", segment(1, 0, 4, `type="striped" stripes=["pv0", 0]`))), `vg0 { id="g" seqno=1`), []byte{}, false)
	f.Fuzz(func(t *testing.T, text string, label []byte, whole bool) {
		if len(text) > 48<<10 || len(label) > 400 {
			return
		}
		d := labelled(text)
		copy(d[144<<10:], text) // where a copy without a label is found
		copy(d[200<<10:], "XFSB")
		l := d[512:1024]
		copy(l[104:], label) // the list of areas
		binary.LittleEndian.PutUint32(l[16:], lvmSum(l[20:]))
		if !whole {
			clear(l)
		}
		v := memory(t, "disk", d)
		parts, notes := Parts([]Volume{v})
		if len(parts) == 0 {
			t.Errorf("nothing is left of the disk; notes %q", notes)
		}
		total := int64(0)
		for _, p := range parts {
			if p.Size() < 0 || p.Size() > largestPartition {
				t.Errorf("%s: %d bytes", p.Name(), p.Size())
			}
			if j, ok := p.(*joined); ok {
				for _, x := range j.pieces {
					if x.from == v {
						total += Ranges{{0, v.Size()}}.Within(Range{x.off, x.size}).Total()
					}
				}
			}
			readAll(t, p, 0, 4096)
			NextData(p, 100)
			NextKnown(p, 100)
		}
		if total > int64(len(d)) {
			t.Errorf("%d bytes are looked at on a disk of %d", total, len(d))
		}
	})
}

func TestOlderTextIsFound(t *testing.T) {
	d := make([]byte, 256<<10)
	text := func(seqno int, lvs string) string {
		return fmt.Sprintf("vg0 {\nid = \"%s\"\nseqno = %d\n", strings.Repeat("g", 38), seqno) + strings.TrimPrefix(groupOf(lvs), `vg0 { id="g" seqno=1`)
	}
	one := `type="striped" stripes=["pv0", 0]`
	copy(d[8192:], text(2, lvOf("old", segment(1, 0, 1, one))))
	copy(d[16384:], text(5, lvOf("new", segment(1, 0, 2, one))))
	copy(d[24576:], text(7, lvOf("cut", segment(1, 0, 2, one)))[:200])
	copy(d[200<<10:], "XFSB")
	parts, notes := Parts([]Volume{memory(t, "disk", d)})
	if got := fmt.Sprint(partNames(parts)); got != "[LVM vg0/new]" {
		t.Errorf("parts are %s; notes %q", got, notes)
	}
	wantNote(t, "lost", notes, "and number 5 is taken")
	wantNote(t, "lost", notes, "disk has lost its label")
}
