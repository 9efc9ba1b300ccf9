package salvage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvor/internal/testenv/diskimage"
	"salvor/internal/testenv/raidmaker"
	"salvor/salvage"
)

// raid5 is four disks in the layout that md takes unasked, left-symmetric.
var raid5 = raidmaker.Spec{Level: 5, Layout: 2, Disks: 4, Chunk: 64 << 10}

// A shelf is a directory of disks.
type shelf struct {
	dir   string
	image *diskimage.Image
	want  []string // the checksums of all messages
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{dir: room(t), image: diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .2, Largest: 300e3, Seed: 9})}
	for _, m := range s.image.Messages {
		s.want = append(s.want, m.SHA256)
	}
	slices.Sort(s.want)
	s.want = slices.Compact(s.want)
	return s
}

// put writes a disk, and gives its path.
func (s *shelf) put(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	write(t, path, string(b))
	return path
}

// members stripes the image; with superblocks of a version, or none.
func (s *shelf) members(t *testing.T, prefix, version string) (paths []string) {
	t.Helper()
	image, err := os.ReadFile(s.image.Path)
	if err != nil {
		t.Fatal(err)
	}
	spec := raid5
	if version != "" {
		spec.DataOffset = 1 << 20
	}
	for i, b := range raidmaker.InMemory(image, spec) {
		if version != "" {
			sup := raidmaker.Super{Version: version, Spec: spec, UUID: [16]byte{1, 2, 3}, Name: "mail:0", Created: 1500000000, Updated: 1600000000, Events: 100,
				Room: spec.Members(int64(len(image))), Number: i, Roles: []int{0, 1, 2, 3}, Device: [16]byte{0xd0, byte(i)}}
			sup.Write(b)
		}
		paths = append(paths, s.put(t, fmt.Sprintf("%s%d.img", prefix, i), b))
	}
	return paths
}

// group makes a disk that is LVM's, with the image in its only logical volume.
func (s *shelf) group(t *testing.T, image []byte) string {
	t.Helper()
	path := s.put(t, "group.img", make([]byte, len(image)+8<<20))
	device := strings.TrimSpace(command(t, nil, "losetup", "--find", "--show", path))
	defer command(t, nil, "losetup", "--detach", device)
	conf := t.TempDir() // the machine's own is left alone
	write(t, filepath.Join(conf, "lvm.conf"), fmt.Sprintf("devices { filter=[\"a|^%s$|\", \"r|.*|\"]\n use_devicesfile=0\n obtain_device_list_from_udev=0 }\n"+
		"global { use_lvmpolld=0\n locking_dir=\"%s/lock\" }\nactivation { udev_sync=0\n udev_rules=0\n monitoring=0 }\nbackup { backup=0\n archive=0 }\n", device, conf))
	env := append(os.Environ(), "LVM_SYSTEM_DIR="+conf, "LVM_SUPPRESS_FD_WARNINGS=1")
	name := "salvor" + strings.ToLower(filepath.Base(device))
	command(t, env, "lvm", "pvcreate", "-ff", "-y", device)
	command(t, env, "lvm", "vgcreate", "-s", "1m", name, device)
	command(t, env, "lvm", "lvcreate", "--driverloaded", "n", "-an", "-Zn", "-Wn", "-y", "-l", fmt.Sprint(len(image)>>20), "-n", "spool", name)
	start := strings.TrimSpace(command(t, env, "lvm", "pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start", device))
	at, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	command(t, nil, "sync", path)
	(&disk{path: path}).patch(t, at, image)
	return path
}

// command runs a program, and gives what it says.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, &errs)
	}
	return string(out)
}

// found tells how many of the image's messages a salvage finds whole.
func (s *shelf) found(r *result) (n int) {
	whole := map[string]bool{}
	for _, f := range r.finds {
		whole[f.SHA256] = f.Offered()
	}
	for _, sum := range s.want {
		if whole[sum] {
			n++
		}
	}
	return n
}

// TestSources salvages the same mail from everything that it may stand on.
func TestSources(t *testing.T) {
	s := newShelf(t)
	image, err := os.ReadFile(s.image.Path)
	if err != nil {
		t.Fatal(err)
	}
	plain := s.put(t, "plain.img", image)
	labelled, bare := s.members(t, "labelled", "1.2"), s.members(t, "bare", "")
	table := s.put(t, "table.img", slices.Concat(make([]byte, 4<<20), image, make([]byte, 2<<20)))
	cmd := exec.Command("sfdisk", "--quiet", "--wipe=never", "--wipe-partitions=never", table)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("label: gpt\nstart=2048, size=2048\nstart=8192, size=%d\n", len(image)/512))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	group := s.group(t, image)
	mounted := diskimage.Mount(t, s.put(t, "mounted.img", image))
	before := map[string]string{}
	for _, path := range slices.Concat(labelled, bare, []string{plain, table, group}) {
		before[path] = digestOf(t, path)
	}
	all := len(s.want)
	for _, test := range []struct {
		name    string
		spec    salvage.Spec
		volumes int
		trees   int
		least   int // messages to be found
		notes   []string
		not     []string // what no note says
	}{
		{name: "an image", spec: salvage.Spec{Sources: []string{plain}}, volumes: 1, least: all, not: []string{"members"}},
		{name: "an image twice", spec: salvage.Spec{Sources: []string{plain, plain}}, volumes: 1, least: all, notes: []string{"twice"}, not: []string{"members"}},
		{name: "a directory", spec: salvage.Spec{Sources: []string{mounted.Dir}}, trees: 1, least: all},
		{name: "a directory twice, and its image", spec: salvage.Spec{Sources: []string{mounted.Dir, mounted.Dir, plain}}, trees: 1, volumes: 1, least: all, notes: []string{"twice"}},
		{name: "partitions", spec: salvage.Spec{Sources: []string{table}}, volumes: 2, least: all},
		{name: "a logical volume", spec: salvage.Spec{Sources: []string{group}}, volumes: 1, least: all},
		{name: "members that say so, in any order", spec: salvage.Spec{Sources: []string{labelled[2], labelled[0], labelled[3], labelled[1]}}, volumes: 1, least: all,
			notes: []string{"4 members, 0 missing"}},
		{name: "members that say so, one missing", spec: salvage.Spec{Sources: []string{labelled[3], labelled[1], labelled[0]}}, volumes: 1, least: all,
			notes: []string{"4 members, 1 missing"}},
		{name: "members that say so, one twice", spec: salvage.Spec{Sources: []string{labelled[3], labelled[1], labelled[0], labelled[1]}}, volumes: 1, least: all,
			notes: []string{"twice", "4 members, 1 missing"}},
		{name: "members that say so, and are not asked", spec: salvage.Spec{Sources: labelled, RAID: "none"}, volumes: 4, not: []string{"4 members"}},
		{name: "members that say so, and another disk", spec: salvage.Spec{Sources: append([]string{table}, labelled...)}, volumes: 3, least: all,
			notes: []string{"4 members, 0 missing"}},
		{name: "bare members, in any order", spec: salvage.Spec{Sources: []string{bare[1], bare[3], bare[0], bare[2]}}, volumes: 1, least: all,
			notes: []string{"4 members, 0 missing"}},
		{name: "bare members, and all about them", spec: salvage.Spec{Sources: []string{bare[1], bare[3], bare[0]}, RAID: "5", Chunk: 64 << 10, Layout: "left-symmetric",
			Order: []string{bare[0], bare[1], "missing", bare[3]}}, volumes: 1, least: all, notes: []string{"4 members, 1 missing"}},
		{name: "two disks of one size that have nothing to do with each other", spec: salvage.Spec{Sources: []string{plain, s.other(t)}}, volumes: 2, least: all, not: []string{"members"}},
		{name: "the same, and neither has a file system any more",
			spec:    salvage.Spec{Sources: []string{s.beheaded(t, "a.img", plain), s.beheaded(t, "b.img", s.other(t))}},
			volumes: 2, not: []string{"members, "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sources, err := salvage.Open(t.Context(), test.spec)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range sources.Volumes {
				names = append(names, v.Name())
			}
			if len(names) != test.volumes || len(sources.Trees) != test.trees {
				t.Errorf("volumes %q, trees %q; notes %q", names, sources.Trees, sources.Notes)
			}
			if err := sources.Close(); err != nil {
				t.Error(err)
			}
			notes := strings.Join(sources.Notes, "\n")
			for _, n := range test.notes {
				if !strings.Contains(notes, n) {
					t.Errorf("no note says %q: %q", n, sources.Notes)
				}
			}
			for _, n := range test.not {
				if strings.Contains(notes, n) {
					t.Errorf("a note says %q: %q", n, sources.Notes)
				}
			}
			if test.least == 0 {
				return
			}
			d := newDig(t)
			d.spec = test.spec
			if n := s.found(d.run(t)); n < test.least {
				t.Errorf("%d of %d messages found", n, test.least)
			}
		})
	}
	for path, sum := range before {
		if digestOf(t, path) != sum {
			t.Errorf("%s is not what it was", path)
		}
	}
}

// other is a disk as large as the image, with other mail on it.
func (s *shelf) other(t *testing.T) string {
	t.Helper()
	path := filepath.Join(s.dir, "other.img")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	im := diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .2, Largest: 300e3, Seed: 10})
	b, err := os.ReadFile(im.Path)
	if err != nil {
		t.Fatal(err)
	}
	return s.put(t, "other.img", b)
}

// beheaded is a copy of a disk whose superblocks are gone, all of them.
func (s *shelf) beheaded(t *testing.T, name, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += 4096 * 4096 { // a group's length
		clear(b[at:min(at+64<<10, len(b))])
	}
	return s.put(t, name, b)
}

// TestMaps opens an image with the map that is given, beside it, or refused.
func TestMaps(t *testing.T) {
	const path = "vmail/user/alice/5."
	two := letter("two", 9000)
	for _, test := range []struct {
		name    string
		beside  string // what the map is called: the image's name, and this; "": it is not beside
		text    func(string) string
		spec    func(image, file string) salvage.Spec
		unknown int64
		note    string
		fails   string
	}{
		{name: "beside", beside: ".map", unknown: 512, note: "is used as the map"},
		{name: "beside, as a mapfile", beside: ".mapfile", unknown: 512, note: "is used as the map"},
		{name: "beside, refused", beside: ".map", spec: func(image, _ string) salvage.Spec { return salvage.Spec{Sources: []string{image}, NoMaps: true} }},
		{name: "given", spec: func(image, file string) salvage.Spec {
			return salvage.Spec{Sources: []string{image}, Maps: map[string]string{image: file}}
		}, unknown: 512},
		{name: "given, of another image", spec: func(image, file string) salvage.Spec {
			return salvage.Spec{Sources: []string{image}, Maps: map[string]string{image + "2": file}}
		}, fails: "there is no such source"},
		{name: "given, and not there", spec: func(image, file string) salvage.Spec {
			return salvage.Spec{Sources: []string{image}, Maps: map[string]string{image: file + "2"}}
		}, fails: "no such file"},
		{name: "none"},
		{name: "beside, with no word of ddrescue's", beside: ".map", text: unsaid, unknown: 512, note: "is used as the map"},
		{name: "beside, and something else", beside: ".map", text: func(string) string { return "alice: /var/spool/alice\n" }, note: "is left alone, for it is no map of ddrescue's: line 1"},
		{name: "beside, and empty", beside: ".mapfile", text: func(string) string { return "" }, note: "left alone, for it is no map of ddrescue's: it holds no block"},
		{name: "beside, and cut off", beside: ".map", text: func(s string) string { return s[:strings.LastIndex(s, " ")] }, fails: "2 fields, and not position"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := makeDisk(t, smallDisk, map[string]string{path: string(two)})
			d.unread(t, d.place(t, path, 4096), 512)
			file := d.path + test.beside
			if test.beside == "" {
				file = filepath.Join(t.TempDir(), "rescue.log")
			}
			if err := os.Rename(d.path+".map", d.path+".tmp"); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(d.path + ".tmp")
			if err != nil {
				t.Fatal(err)
			}
			if test.text == nil {
				test.text = strings.Clone
			}
			write(t, file, test.text(string(text)))
			g := newDig(t, d.path)
			if test.spec != nil {
				g.spec = test.spec(d.path, file)
			}
			r, notes, err := g.try(t.Context())
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.UnreadableBytes != test.unknown || !strings.Contains(strings.Join(notes, "\n"), test.note) || test.note == "" && len(notes) > 0 {
				t.Errorf("%d bytes are unknown, and the notes are %q", r.UnreadableBytes, notes)
			}
			for _, f := range g.findings(t) {
				if f.Offered() {
					t.Errorf("offered: %+v", f)
				}
			}
		})
	}
}

// unsaid is a map without its comments, as other tools and hands write it.
func unsaid(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// TestMapsAmongSources leaves out what a shell's pattern gave too much.
func TestMapsAmongSources(t *testing.T) {
	d := makeDisk(t, smallDisk, map[string]string{"vmail/user/alice/5.": string(letter("two", 9000))})
	d.unread(t, 1<<20, 512)
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: []string{d.path, d.path + ".map"}})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if notes := strings.Join(sources.Notes, "\n"); len(sources.Volumes) != 1 || !strings.Contains(notes, ".map is a map of ddrescue's") || !strings.Contains(notes, "is used as the map") {
		t.Errorf("%d volumes, notes %q", len(sources.Volumes), sources.Notes)
	}
}

// TestHugeMaps reads nothing of what is too large to be a map, be it a disk or
// called a map.
func TestHugeMaps(t *testing.T) {
	one, two := blank(t, 1<<40), blank(t, 1<<40)
	write(t, one.path+".map", "")
	if err := os.Truncate(one.path+".map", 1<<40); err != nil {
		t.Fatal(err)
	}
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: []string{one.path, two.path}, RAID: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if notes := strings.Join(sources.Notes, "\n"); len(sources.Volumes) != 2 || !strings.Contains(notes, "it is larger than any map") {
		t.Errorf("%d volumes, notes %q", len(sources.Volumes), sources.Notes)
	}
}

// TestNoSources says what is wrong with sources that are none.
func TestNoSources(t *testing.T) {
	dir := room(t)
	empty := filepath.Join(dir, "empty.img")
	write(t, empty, "")
	for spec, want := range map[*salvage.Spec]string{
		{Sources: []string{filepath.Join(dir, "none.img")}}:                 "no such file",
		{Sources: []string{empty}}:                                          "it is empty",
		{Sources: []string{"/dev/null"}}:                                    "neither a file nor a block device",
		{Sources: []string{dir}, RAID: "5"}:                                 "0 members",
		{Sources: []string{dir}, RAID: "seven"}:                             "seven",
		{Sources: []string{dir}, RAID: "5", Order: []string{"x.img"}}:       "x.img",
		{Sources: []string{dir}, Maps: map[string]string{"y.img": "y.map"}}: "y.img",
		{Sources: []string{dir}, Maps: map[string]string{dir: "y.map"}}:     "this is a directory",
	} {
		_, err := salvage.Open(t.Context(), *spec)
		if err == nil || !strings.Contains(err.Error(), want) || bytes.Contains([]byte(err.Error()), []byte("\n")) {
			t.Errorf("%+v: error %v, want %q", *spec, err, want)
		}
		if said := spec.Order != nil || spec.Maps != nil || spec.RAID == "seven"; errors.Is(err, salvage.ErrSpec) != said {
			t.Errorf("%+v: whether the spec is wrong: %v", *spec, err)
		}
	}
}
