package volume

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	lvmDisk  = 24 << 20
	lvmStart = 4 << 20 // where the partition of the first disk begins
)

// A realGroup is what LVM itself made: a physical volume in a partition, and one on a
// whole disk.
type realGroup struct {
	one, two []byte
	before   []byte            // the first MiB of the first physical volume, before the last change
	logical  map[string][]byte // what LVM says that the volumes hold
}

// made makes it once for all tests.
var made = struct {
	sync.Once
	realGroup
}{}

func real(t *testing.T) *realGroup {
	t.Helper()
	made.Do(func() { made.realGroup = makeGroup(t) })
	if made.logical == nil {
		t.Fatal("LVM made no group")
	}
	return &made.realGroup
}

// makeGroup lets LVM write its labels and metadata, without a device mapper, and asks it
// what lies where.
func makeGroup(t *testing.T) (g realGroup) {
	one, two := write(t, "one.img", random(11, lvmDisk)), write(t, "two.img", random(12, lvmDisk))
	run(t, fmt.Sprintf("label: gpt\nsize=2MiB\nstart=%d, type=linux-lvm\n", lvmStart/512), "sfdisk", "--quiet", "--wipe=never", "--wipe-partitions=never", one)
	size := asked(t, one)[2].Len
	pvs := []string{loop(t, one, "--offset", fmt.Sprint(lvmStart), "--sizelimit", fmt.Sprint(size)), loop(t, two)}
	lvm := lvmTool(t, pvs)
	lvm("pvcreate", append([]string{"-ff", "-y"}, pvs...)...)
	lvm("vgcreate", append([]string{"-s", "1m", "mail"}, pvs...)...)
	create := []string{"--driverloaded", "n", "-an", "-Zn", "-Wn", "-y", "-l"}
	lvm("lvcreate", append(create, "10", "-n", "spool", "mail", pvs[0])...)
	lvm("lvcreate", append(create, "3", "-n", "root", "mail", pvs[1])...)
	lvm("lvcreate", append(create, "4", "-i", "2", "-n", "fast", "mail")...)
	run(t, "", "sync", one)
	g.before = bytes.Clone(readFile(t, one)[lvmStart:][:1<<20])
	lvm("lvextend", "--driverloaded", "n", "-l", "+12", "mail/spool", pvs[0], pvs[1])
	run(t, "", "sync", one, two)
	g.one, g.two = readFile(t, one), readFile(t, two)
	copy(g.one[lvmStart+1<<20:], "XFSB") // a file system begins in spool
	first := map[string]int64{}
	for _, line := range strings.Split(lvm("pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pv_name,pe_start"), "\n") {
		f := strings.Fields(line)
		first[f[0]] = number(t, f[1])
	}
	g.logical = map[string][]byte{}
	bytesOf := map[string][]byte{pvs[0]: g.one[lvmStart:], pvs[1]: g.two}
	for _, line := range strings.Split(lvm("lvs", "--noheadings", "--segments", "-o", "lv_name,seg_start_pe,seg_size_pe,seg_pe_ranges,stripes"), "\n") {
		f := strings.Fields(line)
		if f[len(f)-1] != "1" {
			continue
		}
		device, extents, _ := strings.Cut(f[3], ":")
		from, _, _ := strings.Cut(extents, "-")
		if int64(len(g.logical[f[0]])) != number(t, f[1])<<20 {
			t.Fatalf("segments out of order: %q", line)
		}
		at := first[device] + number(t, from)<<20
		g.logical[f[0]] = append(g.logical[f[0]], bytesOf[device][at:at+number(t, f[2])<<20]...)
	}
	return g
}

// lvmTool runs LVM so that it sees only the given devices, and leaves the machine's own
// configuration alone.
func lvmTool(t *testing.T, devices []string) func(command string, args ...string) string {
	dir := t.TempDir()
	conf := fmt.Sprintf(`devices { filter=["a|^%s$|", "a|^%s$|", "r|.*|"]
 use_devicesfile=0
 obtain_device_list_from_udev=0 }
global { use_lvmpolld=0
 locking_dir="%s/lock" }
activation { udev_sync=0
 udev_rules=0
 monitoring=0 }
backup { backup=0
 archive=0 }
`, devices[0], devices[1], dir)
	if err := os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(command string, args ...string) string {
		t.Helper()
		cmd := exec.Command("lvm", append([]string{command}, args...)...)
		cmd.Env = append(os.Environ(), "LVM_SYSTEM_DIR="+dir, "LVM_SUPPRESS_FD_WARNINGS=1")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("lvm %s %q: %v\n%s", command, args, err, errs.Bytes())
		}
		return strings.TrimSpace(string(out))
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// disks makes volumes of bytes; nil is left out.
func disks(t *testing.T, all map[string][]byte) (vs []Volume) {
	for _, name := range []string{"one.img", "two.img", "copy.img"} {
		if all[name] != nil {
			vs = append(vs, memory(t, name, all[name]))
		}
	}
	return vs
}

func partNames(vs []Volume) (names []string) {
	for _, v := range vs {
		names = append(names, v.Name())
	}
	return names
}

func TestLVM(t *testing.T) {
	g := real(t)
	parts, notes := Parts(disks(t, map[string][]byte{"one.img": g.one, "two.img": g.two}))
	if got, want := fmt.Sprint(partNames(parts)), "[one.img partition 1 LVM mail/spool LVM mail/root]"; got != want {
		t.Fatalf("parts are %s, not %s; notes %q", got, want, notes)
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], `LVM group mail: "fast" is striped over several disks; only linear parts are supported`) {
		t.Errorf("notes are %q", notes)
	}
	for _, v := range parts[1:] {
		_, name, _ := strings.Cut(v.Name(), "/")
		want := g.logical[name]
		if len(want) < 3<<20 {
			t.Fatalf("LVM says that %s holds %d bytes", name, len(want))
		}
		got, unknown := readAll(t, v, 0, int(v.Size()))
		if !bytes.Equal(got, want) || len(unknown) > 0 {
			t.Errorf("%s: %d bytes, not %d, or wrong ones; unknown %v", name, len(got), len(want), unknown)
		}
	}
}

func TestLVMWithLosses(t *testing.T) {
	g := real(t)
	changed := func(b []byte, at int64, to []byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	area := bytes.Index(g.two, []byte(lvmAreaMagic)) - 4
	text := bytes.LastIndex(g.two[:2<<20], []byte("mail {\nid"))
	label := bytes.Index(g.one[lvmStart:], []byte("LABELONE"))
	if area < 0 || text < 0 || label < 0 {
		t.Fatal("the metadata is not where the test looks for it")
	}
	spool := int64(len(g.logical["spool"]))
	for _, c := range []struct {
		name  string
		disks map[string][]byte
		parts string
		known int64 // bytes of spool
		note  string
	}{
		{"the second disk is missing", map[string][]byte{"one.img": g.one}, "[one.img partition 1 LVM mail/spool]", -1, "is not among the disks; what lies on it is unknown: give it, too"},
		{"the first disk is missing", map[string][]byte{"two.img": g.two}, "[LVM mail/spool LVM mail/root]", -1, "is not among the disks"},
		{"one's metadata is old", map[string][]byte{"one.img": changed(g.one, lvmStart, g.before), "two.img": g.two},
			"[one.img partition 1 LVM mail/spool LVM mail/root]", spool, ""},
		{"two's metadata is damaged", map[string][]byte{"one.img": g.one, "two.img": changed(g.two, int64(text), []byte("fail"))},
			"[one.img partition 1 LVM mail/spool LVM mail/root]", spool, ""},
		{"two's area is damaged", map[string][]byte{"one.img": g.one, "two.img": changed(g.two, int64(area), []byte("fail"))},
			"[one.img partition 1 LVM mail/spool LVM mail/root]", spool, ""},
		{"nobody's metadata is left", map[string][]byte{"two.img": changed(g.two, int64(text), []byte("fail"))},
			"[two.img]", 0, "nothing known begins in any of its volumes; its disks are looked at as they are"},
		{"nobody's metadata is whole", map[string][]byte{"one.img": changed(g.one, lvmStart+int64(area), []byte("fail")), "two.img": changed(g.two, int64(area), []byte("fail"))},
			"[one.img partition 1 LVM mail/spool LVM mail/root]", spool, "its metadata is damaged, and number 5 is taken"},
		{"no metadata at all", map[string][]byte{"two.img": changed(g.two, int64(area), make([]byte, 1<<20-8192))},
			"[two.img]", 0, "two.img: an LVM physical volume whose metadata is lost (the header of the metadata at "},
		{"the first MiB of one is gone", map[string][]byte{"one.img": changed(g.one, lvmStart, make([]byte, 1<<20)), "two.img": g.two},
			"[one.img partition 1 one.img partition 2 LVM mail/spool LVM mail/root]", -1, "is not among the disks"},
		{"the label is damaged", map[string][]byte{"one.img": changed(g.one, lvmStart+int64(label)+40, []byte("fail")), "two.img": g.two},
			"[one.img partition 1 LVM mail/spool LVM mail/root]", spool, `one.img partition 2 has lost its label, and is taken for physical volume "pv0"`},
		{"the label is damaged, and nothing known begins", map[string][]byte{"one.img": changed(changed(g.one, lvmStart+1<<20, make([]byte, 4)), lvmStart+int64(label)+40, []byte("fail")), "two.img": g.two},
			"[one.img partition 1 one.img partition 2 LVM mail/spool LVM mail/root]", -1, "is not among the disks"},
		{"the label of the only one is damaged", map[string][]byte{"one.img": changed(g.one, lvmStart+int64(label)+40, []byte("fail"))},
			"[one.img partition 1 LVM mail/spool]", -1, "has lost its label"},
		{"the same disk twice", map[string][]byte{"one.img": g.one, "two.img": g.two, "copy.img": g.two},
			"[one.img partition 1 copy.img LVM mail/spool LVM mail/root]", spool, "copy.img: it is the same LVM physical volume as two.img"},
	} {
		parts, notes := Parts(disks(t, c.disks))
		if got := fmt.Sprint(partNames(parts)); got != c.parts {
			t.Errorf("%s: parts are %s, not %s; notes %q", c.name, got, c.parts, notes)
			continue
		}
		if c.note != "" {
			wantNote(t, c.name, notes, c.note)
		}
		for _, v := range parts {
			if v.Name() != "LVM mail/spool" {
				continue
			}
			got, unknown := readAll(t, v, 0, int(v.Size()))
			for _, r := range (Ranges{{0, v.Size()}}).Subtract(unknown) {
				if !bytes.Equal(got[r.Off:r.End()], g.logical["spool"][r.Off:r.End()]) {
					t.Errorf("%s: wrong bytes in %v", c.name, r)
				}
			}
			if n := Ranges(unknown).Total(); v.Size() != spool || c.known == spool && n > 0 || c.known < 0 && (n == 0 || n == spool) {
				t.Errorf("%s: %d of %d bytes are unknown", c.name, n, v.Size())
			}
		}
	}
}

// The disk of a virtual machine: partitions in a logical volume.
func TestPartitionsInLVM(t *testing.T) {
	g := real(t)
	two := bytes.Clone(g.two)
	at := int64(bytes.Index(two, g.logical["root"][:64]))
	table := make([]byte, 512)
	entry(table, 0, 0x83, 2048, 2048)
	copy(two[at:], table)
	parts, notes := Parts(disks(t, map[string][]byte{"one.img": g.one, "two.img": two}))
	last := parts[len(parts)-1]
	if last.Name() != "LVM mail/root partition 1" {
		t.Fatalf("parts are %v, notes %q", partNames(parts), notes)
	}
	if got, _ := readAll(t, last, 0, 4096); !bytes.Equal(got, g.logical["root"][1<<20:1<<20+4096]) {
		t.Error("wrong bytes")
	}
}

const lvmText = `# Generated by LVM2
contents = "Text Format Volume Group"
vg0 {
	id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
	seqno = 7
	flags = []
	extent_size = 8192 # 4 Megabytes
	description = "say \"a\\b\""
	physical_volumes { pv0 { id = "x" device = "/dev/sda" pe_start = 2048 pe_count = 20 } }
	logical_volumes {
		root { status = ["READ", "VISIBLE"] segment_count = 1
			segment1 { start_extent = 0 extent_count = 3 type = "striped" stripe_count = 1 stripes = [ "pv0", 2 ] } }
	}
}
`

func TestParseLVM(t *testing.T) {
	top, err := parseLVM([]byte(lvmText + "\x00 rubbish {{{"))
	if err != nil {
		t.Fatal(err)
	}
	g := lvmGroup(top)
	root := g.sub("logical_volumes").sub("root")
	for _, c := range []struct{ name, got, want string }{
		{"name", g.name, "vg0"},
		{"number", fmt.Sprint(g.number("seqno")), "7"},
		{"no number", fmt.Sprint(g.number("id")), "-1"},
		{"string with escapes", g.text("description"), `say "a\b"`},
		{"list", fmt.Sprint(root.values["status"]), "[READ VISIBLE]"},
		{"mixed list", fmt.Sprint(root.sub("segment1").values["stripes"]), "[pv0 2]"},
		{"empty list", fmt.Sprint(len(g.values["flags"])), "0"},
		{"missing", g.sub("none").sub("none").text("none"), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, not %q", c.name, c.got, c.want)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"cut off", lvmText[:len(lvmText)-40], "it ends too early"},
		{"deep", strings.Repeat("a {", 20), "nested too deeply"},
		{"no name", "= 5", `line 1 of the metadata: "=" where a name should be`},
		{"no value", "a = \nb {", `line 2 of the metadata: "{" where a name should be`},
		{"no value, but a mark", "a = }", `"}" where a value should be`},
		{"no mark", "a b", `"b" after the name "a"`},
		{"open string", "\na = \"b", "line 2 of the metadata: it ends too early"},
		{"binary", "a \xff", "byte 0xff, which nothing begins with"},
		{"long", strings.Repeat("a=1 ", 1<<19), "it is too long"},
	} {
		if _, err := parseLVM([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, not %q", c.name, err, c.want)
		}
	}
}
