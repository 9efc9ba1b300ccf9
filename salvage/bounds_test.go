package salvage_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/salvage"
	"salvor/salvage/found"
)

// What a salvage of a small disk may need, whatever is on it. Memory is that of the
// whole process; the sweep's windows, SQLite's cache and Go's own are most of it.
const (
	mostMemory = 300 << 20
	mostTime   = 30 * time.Second
	mostWork   = 64 << 20 // in the result directory, beside the mail
)

// TestDigAlone is the process that measured starts.
func TestDigAlone(t *testing.T) {
	image := os.Getenv("SALVOR_DIG")
	if image == "" {
		return
	}
	d := newDig(t, image)
	d.out = os.Getenv("SALVOR_OUT")
	if path := os.Getenv("SALVOR_BOOKS"); path != "" {
		c, err := catalog.Open(path, catalog.Options{MustExist: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		d.catalog = c
	}
	text, err := json.Marshal(d.run(t).report)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d.out+".json", string(text))
}

// measured salvages an image in a process of its own, and holds what it needs
// against the bounds.
func measured(t *testing.T, image string, claims ...catalog.Row) (r salvage.Report, out string) {
	t.Helper()
	out = filepath.Join(room(t), "found")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDigAlone$")
	cmd.Env = append(os.Environ(), "SALVOR_DIG="+image, "SALVOR_OUT="+out)
	if len(claims) > 0 {
		c := books(t, claims...)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, "SALVOR_BOOKS="+c.Path())
	}
	before, began := digestOrHoles(t, image), time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	took := time.Since(began)
	memory := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	text, err := os.ReadFile(out + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if digestOrHoles(t, image) != before {
		t.Error("the image is not what it was")
	}
	work := int64(0)
	inside(t, out, func(path string, size int64) {
		if !strings.HasPrefix(path, "mail/") {
			work += size
		}
	})
	t.Logf("%v, %d MiB of memory, %d KiB of notes: %d found", took, memory>>20, work>>10, r.Candidates)
	if took > mostTime || memory > mostMemory || work > mostWork {
		t.Error("that is too much")
	}
	return r, out
}

// digestOrHoles is a small image's digest; of a large one, when and where it was
// written tells as much.
func digestOrHoles(t *testing.T, image string) string {
	t.Helper()
	info, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < 1<<30 {
		return digestOf(t, image)
	}
	return fmt.Sprint(info.Size(), info.ModTime(), info.Sys().(*syscall.Stat_t).Blocks)
}

var keptName = regexp.MustCompile(`^(salvage\.json|found\.jsonl|survey\.db|mail/[0-9a-f]{2}/[0-9a-f]{64})$`)

// inside lists a result directory, and checks that nothing has a name that was found
// on a disk, and nothing lies beside it.
func inside(t *testing.T, out string, each func(path string, size int64)) {
	t.Helper()
	beside, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range beside {
		if e.Name() != filepath.Base(out) && e.Name() != filepath.Base(out)+".json" {
			t.Errorf("%s lies beside the result directory", e.Name())
		}
	}
	err = filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(out, path)
		if err != nil {
			return err
		}
		if !keptName.MatchString(name) || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
			t.Errorf("in the result directory: %s, %v", name, info.Mode())
		}
		each(name, info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// blank makes a sparse image.
func blank(t *testing.T, size int64) *disk {
	t.Helper()
	d := &disk{path: filepath.Join(room(t), "disk.img")}
	write(t, d.path, "")
	if err := os.Truncate(d.path, size); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTerabyte salvages disks of 1 TB that are nearly empty.
func TestTerabyte(t *testing.T) {
	const tera = 1 << 40
	one, two := parts("one", 6000), letter("two", 9000)
	t.Run("nothing but two messages", func(t *testing.T) {
		d := blank(t, tera)
		d.patch(t, tera/2, []byte(one))
		d.patch(t, tera-64<<10, []byte(two))
		r, _ := measured(t, d.path, two.wire().owe("alice", "INBOX", 5), letter("lost", 70000).wire().owe("alice", "INBOX", 6))
		if r.Unknown != 1 || r.OwedFound != 1 || r.OwedMissing != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a small file system at its beginning", func(t *testing.T) {
		d := makeDisk(t, smallDisk, map[string]string{"vmail/user/alice/5.": string(one)})
		if err := os.Truncate(d.path, tera); err != nil {
			t.Fatal(err)
		}
		d.patch(t, tera/2, []byte(two))
		r, _ := measured(t, d.path, two.wire().owe("alice", "INBOX", 6))
		if r.Unknown != 1 || r.OwedFound != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a large file system", func(t *testing.T) {
		d := blank(t, tera)
		if out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-J", "size=4", "-T", "largefile4", d.path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		d.patch(t, tera-64<<10, []byte(two))
		r, _ := measured(t, d.path, two.wire().owe("alice", "INBOX", 6))
		if r.OwedFound != 1 || r.Sources[0].System != "ext4" {
			t.Errorf("%+v", r)
		}
	})
}

// TestFullOf salvages disks that are full of what looks like something.
func TestFullOf(t *testing.T) {
	const size = 2 << 20
	fill := func(block func(n int) []byte) *disk {
		d := blank(t, size)
		all := make([]byte, 0, size)
		for n := 0; len(all) < size; n++ {
			all = append(all, block(n)[:4096]...)
		}
		d.patch(t, 0, all)
		return d
	}
	long := letter("long", 8<<20)
	text := strings.Repeat("a line of text that could stand in any message\n", 100)
	for _, test := range []struct {
		name  string
		block func(n int) []byte
	}{
		{"beginnings of mail", func(n int) []byte {
			return []byte(fmt.Sprintf("Received: from mx%d.example.net\nSubject: %d\n\n", n, n) + text)
		}},
		{"beginnings of parts", func(n int) []byte {
			return []byte(fmt.Sprintf("Received: from mx.example.net\nMessage-ID: %s\nSubject: %d\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\nContent-Type: text/plain\n\n",
				long.messageID(), n, n, n) + text)
		}},
		{"beginnings of mboxes", func(n int) []byte {
			return []byte(fmt.Sprintf("From a@example.net Mon Jan  1 10:00:00 2024\nSubject: %d\n\n", n) + text)
		}},
		{"beginnings of compressed files", func(n int) []byte {
			return append([][]byte{{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}, []byte("BZh91AY&SY"), {0x28, 0xb5, 0x2f, 0xfd, 4, 0x58}}[n%3], text...)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, out := measured(t, fill(test.block).path, long.wire().owe("alice", "INBOX", 5))
			kept := int64(0)
			inside(t, out, func(path string, size int64) {
				if strings.HasPrefix(path, "mail/") {
					kept += size
				}
			})
			if kept > 3*size {
				t.Errorf("%d MiB were kept of a disk of %d MiB", kept>>20, size>>20)
			}
		})
	}
}

// TestInodesInMail salvages a disk on which a file holds what looks like inodes of
// huge files, each of which begins where a message stands.
func TestInodesInMail(t *testing.T) {
	const mail, blocks = "vmail/user/alice/5.", 16
	one := parts("one", 5000)
	files := map[string]string{mail: string(one), "zz/forged": strings.Repeat("x", blocks*4096)}
	d := makeDisk(t, smallDisk, files)
	var forged []byte
	for n := range uint64(blocks * 4096 / 256) {
		forged = append(forged, inode([]uint64{1 << 60, 1<<30 - n, 4<<20 - n}[n%3], uint32(d.place(t, mail, 0)/4096))...)
	}
	d.patch(t, d.place(t, "zz/forged", 0), forged)
	r, out := measured(t, d.path)
	if r.Unknown != 1 || r.Damaged != 0 || r.Sources[0].Nonsense == 0 {
		t.Errorf("%+v, %+v", r, r.Sources[0])
	}
	inside(t, out, func(string, int64) {})
}

// TestSizesThatLie lets an inode's record claim sizes that its file cannot have: the
// message is found all the same, by what stands there.
func TestSizesThatLie(t *testing.T) {
	const path = "vmail/user/alice/5."
	one := parts("one", 5000)
	for _, size := range []string{"0", "0x1000000000000000", "0x7fffffffffffffff", "0xffffffffffffffff", "1073741824", "67108863", "4000000", "20000000", "6000", "2000"} {
		t.Run(size, func(t *testing.T) {
			d := makeDisk(t, smallDisk, map[string]string{path: string(one)})
			if out, err := exec.Command("debugfs", "-w", "-R", "sif /"+path+" size "+size, d.path).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			g := newDig(t, d.path)
			g.catalog = books(t, one.wire().owe("alice", "INBOX", 5))
			r := g.run(t)
			if f := r.finds[one.stored()]; f.Class != found.Matched || r.report.OwedFound != 1 || len(r.finds) != 1 {
				t.Errorf("%+v, %+v", f, r.report)
			}
		})
	}
}

// inode makes an ext4 inode's record of a file in one extent.
func inode(size uint64, block uint32) []byte {
	b := make([]byte, 256)
	le := binary.LittleEndian
	le.PutUint16(b, 0x8180)
	le.PutUint32(b[4:], uint32(size))
	le.PutUint32(b[0x6c:], uint32(size>>32))
	for _, at := range []int{8, 12, 16} {
		le.PutUint32(b[at:], 1700000000)
	}
	le.PutUint16(b[0x1a:], 1)
	le.PutUint32(b[0x1c:], 8)
	le.PutUint32(b[0x20:], 0x80000)
	le.PutUint16(b[0x28:], 0xf30a)
	le.PutUint16(b[0x2a:], 1)
	le.PutUint16(b[0x2c:], 4)
	le.PutUint16(b[0x38:], 1)
	le.PutUint32(b[0x3c:], block)
	le.PutUint16(b[0x80:], 32)
	return b
}

// TestHostileNames patches names into a directory that would lead out of the result
// directory if anybody used them, and a directory that is its own grandchild.
func TestHostileNames(t *testing.T) {
	// In the order in which they replace AAAA..., BBBB..., of equal length.
	names := []string{"../../../../../../etc/cron.d/x", "/etc/cron.d/salvor", "a\x00b", "..", ".", "\xff\xfe\x01\x1b[31m", "a/../../b", "<script>alert(1)</script>", "\n\r\n{\"id\":1}"}
	files := map[string]string{"loop/a/b/7.": string(letter("in the loop", 5000)), "user/alice/" + strings.Repeat("n", 255): string(letter("long name", 5000))}
	for i, n := range names {
		files["user/"+strings.Repeat(string(rune('A'+i)), max(len(n), 3)+10)] = string(letter(fmt.Sprint("hostile ", i), 5000))
	}
	d := makeDisk(t, smallDisk, files)
	image, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		old := bytes.Repeat([]byte{byte('A' + i)}, max(len(n), 3)+10)
		at := bytes.Index(image, append([]byte{byte(len(old)), 1}, old...))
		if at < 0 {
			t.Fatalf("no entry for %q", n)
		}
		d.patch(t, int64(at), append([]byte{byte(len(n)), 1}, n...))
	}
	if out, err := exec.Command("debugfs", "-w", "-R", "ln /loop /loop/a/b/loop", d.path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g := newDig(t, d.path)
	r := g.run(t)
	inside(t, g.out, func(string, int64) {})
	if len(r.finds) != len(names)+2 {
		t.Errorf("%d found of %d", len(r.finds), len(names)+2)
	}
	for _, f := range r.finds {
		if f.Class != found.Unknown || strings.ContainsAny(f.Path, "\x00") || strings.Contains(f.Path, "/../") || strings.Contains(f.Path, "cron") {
			t.Errorf("%+v", f)
		}
		if filepath.Base(f.File) != f.SHA256Stored || !filepath.IsLocal(f.File) {
			t.Errorf("kept as %q", f.File)
		}
	}
}
