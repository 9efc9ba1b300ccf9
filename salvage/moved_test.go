package salvage_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
)

// TestMoved salvages a disk whose partition table is gone: its file system begins
// 1 MiB into it.
func TestMoved(t *testing.T) {
	image := diskimage.Build(t, diskimage.Options{Seed: 3, Size: 64 << 20})
	data, err := os.ReadFile(image.Path)
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, append(make([]byte, 1<<20), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	d := image.Harm(t, diskimage.None, 1)
	d.Path = disk
	out := filepath.Join(t.TempDir(), "found")
	r := run(t, d, out, true)
	if r.OwedFound != int64(len(d.Targets)) || len(r.Sources) != 2 || r.Sources[0].System != "ext4" {
		t.Errorf("%d of %d found on %+v", r.OwedFound, len(d.Targets), r.Sources[0])
	}
	sources, err := salvage.Open(t.Context(), salvage.Spec{Sources: []string{disk}})
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	if !strings.Contains(strings.Join(sources.Notes, "\n"), "begins at byte 1048576") {
		t.Errorf("%q", sources.Notes)
	}
}

// TestExtAnywhere salvages disks on which an ext file system begins at any sector, and
// no table tells where; all of its superblocks may be gone too. All mail must have its
// file and its path, and nothing else may be taken for mail.
func TestExtAnywhere(t *testing.T) {
	for _, c := range []struct {
		make   string
		sector int64 // where it begins
		wiped  int   // superblocks, from the first one on; -1: all, and the descriptors with them
		mails  int
	}{
		{"-t ext4 -b 4096", 208845, 0, 60},
		{"-t ext4 -b 1024", 1, 0, 60},
		{"-t ext3 -b 1024", 12345, 1, 60},
		{"-t ext2 -b 2048 -g 4096", 63, 1, 60},
		{"-t ext4 -b 1024", 2048, 1, 60},
		{"-t ext4 -b 1024", 0, -1, 60},
		{"-t ext4 -b 2048", 0, -1, 60},
		{"-t ext4 -b 4096", 0, -1, 60},
		{"-t ext4 -b 1024 -I 128 -O ^metadata_csum", 0, -1, 60},
		{"-t ext4 -b 1024 -O ^metadata_csum", 63, -1, 60},
		{"-t ext3 -b 2048", 0, -1, 60},
		{"-t ext2 -b 1024", 12345, -1, 60},
		{"-t ext2 -b 4096 -I 128", 206848, -1, 60},
		{"-t ext3 -b 1024 -g 4096 -N 8192", 1, -1, 900}, // tables are small, and nothing but places gives numbers
	} {
		t.Run(fmt.Sprintf("%s at %d, %d wiped", c.make, c.sector, c.wiped), func(t *testing.T) {
			t.Parallel()
			dir, mails := filledDir(t, c.mails)
			image := filepath.Join(room(t), "disk.img")
			mkfs := append(append([]string{"-q", "-F"}, strings.Fields(c.make)...), "-E", "offset="+strconv.FormatInt(512*c.sector, 10), "-d", dir, image, "16M")
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, 512*c.sector+16<<20); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("mke2fs", mkfs...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			wipe(t, image, 512*c.sector, c.wiped)
			d := newDig(t, image)
			r := d.run(t)
			if r.report.Sources[0].System != "ext4" {
				t.Errorf("%+v %q", r.report.Sources[0], r.notes)
			}
			for sum, f := range r.finds {
				if path := mails[sum]; f.How != "file" || path == "" || path != f.Path {
					t.Errorf("%s %s at %q, which is that of %q: %s", f.How, f.Grade, f.Path, path, f.Why)
				}
			}
			if len(r.finds) != len(mails) {
				t.Errorf("%d of %d found", len(r.finds), len(mails))
			}
		})
	}
}

// filledDir makes a directory of mail, and tells the paths by the SHA-256 of what is there.
func filledDir(t *testing.T, n int) (dir string, mails map[string]string) {
	t.Helper()
	dir, mails = filepath.Join(room(t), "files"), map[string]string{}
	for i := range n {
		m := letter(fmt.Sprintf("letter %d", i), 300+(i%60)*(i%60)*7)
		path := fmt.Sprintf("/%s/Maildir/%scur/%d.M1P1.h,S=%d:2,S", []string{"alice", "bob"}[i%2], []string{"", ".Sent/", ".B/"}[i%3], 1700000000+i, len(m))
		write(t, filepath.Join(dir, path), string(m))
		mails[m.stored()] = path
	}
	return dir, mails
}

// wipe overwrites superblocks with zeros, and all descriptors where it is all of them.
func wipe(t *testing.T, image string, from int64, most int) {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	magic, n := []byte{0x53, 0xef}, 0
	shift := b[from+1024+0x18]
	block := int64(1024) << shift
	for at := from; at+block <= int64(len(b)) && n != most; at += 512 {
		if bytes.Equal(b[at+0x38:at+0x3a], magic) && b[at+0x18] == shift {
			n++
			end := at + 1024
			if most < 0 {
				end = (at-from)/block*block + 2*block + from
			}
			clear(b[at:end])
		}
	}
	if most != 0 && n == 0 {
		t.Fatal("no superblock")
	}
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDark: a source of which nothing is understood is told, with what to do.
func TestDark(t *testing.T) {
	image := filepath.Join(room(t), "member.img")
	b := make([]byte, 8<<20)
	for i := range b {
		b[i] = byte(i*i>>7 | 0x80)
	}
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newDig(t, image).run(t)
	if s := strings.Join(r.report.Further, "\n"); !strings.Contains(s, "member.img: nothing on it was understood") || !strings.Contains(s, "--order") {
		t.Errorf("%q", s)
	}
	if r.report.Sources[0].System != "" {
		t.Errorf("%+v", r.report.Sources[0])
	}
}

// TestBaseUnknown: inodes of whose file system neither the beginning nor anything that
// they name is left must not vouch for what happens to stand there; mail between
// blocks of any size is found by content.
func TestBaseUnknown(t *testing.T) {
	dir, _ := filledDir(t, 60)
	image := filepath.Join(room(t), "disk.img")
	if out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-d", dir, image, "16M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, 16<<20)
	copy(disk[1<<20+512:], b[64<<10:1<<20]) // inode tables, and nothing that they lead to
	var mails []mail
	for i := range 500 {
		m := letter(fmt.Sprintf("loose %d", i), 700)
		mails = append(mails, m)
		copy(disk[4<<20+512+i*1024:], m)
	}
	if err := os.WriteFile(image, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newDig(t, image).run(t)
	for _, f := range r.finds {
		if f.How != "carved" {
			t.Errorf("%+v", f)
		}
	}
	for _, m := range mails {
		if _, ok := r.finds[m.stored()]; !ok {
			t.Fatalf("%d of %d found", len(r.finds), len(mails))
		}
	}
}
