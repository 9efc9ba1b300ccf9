package xfs

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"salvor/internal/testenv/daemon"
	"salvor/salvage/fsys"
)

// variants are the kinds of file systems that mkfs.xfs makes.
var variants = []struct {
	name    string
	options string
	oldOnly bool
}{
	{"v5", "", false},
	{"v5 plain", "-m finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0", false},
	{"v5 rmap", "-m rmapbt=1 -i nrext64=1", false},
	{"v5 1k", "-b size=1024 -n size=4096", false},
	{"v5 dir 8k", "-n size=8192", false},
	{"v4", "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0", true},
	{"v4 1k", "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0,size=256 -b size=1024 -n ftype=1", true},
	{"v4 512", "-m crc=0,finobt=0,reflink=0,bigtime=0 -i sparse=0,size=512 -n size=16384", true},
}

// memory is a file system in memory, where there is one: making images waits for
// the disk more than for anything else.
const memory = "/dev/shm"

// shelf holds the images that were made, by what they are: tests take copies.
var shelf = struct {
	dir    string
	images map[string]*before
}{images: map[string]*before{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp(memory, "salvor-xfs-")
	if err != nil {
		dir, err = os.MkdirTemp("", "salvor-xfs-")
	}
	if err != nil {
		panic(err)
	}
	shelf.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// fromShelf copies an image from the shelf, which make may have to put there.
func fromShelf(t testing.TB, what string, make func() *before) *before {
	t.Helper()
	b := shelf.images[what]
	if b == nil {
		b = make()
		kept := filepath.Join(shelf.dir, fmt.Sprint(len(shelf.images)))
		command(t, "cp", "--sparse=always", b.path, kept)
		b.path = kept
		shelf.images[what] = b
	}
	mine := *b
	mine.path = filepath.Join(daemon.Dir(t, "salvor-xfs-"), "image")
	command(t, "cp", "--sparse=always", b.path, mine.path)
	return &mine
}

// filled gives an image that has been filled, and tells what it holds.
func filled(t testing.TB, options string) (string, map[string]real) {
	t.Helper()
	b := fromShelf(t, options, func() *before {
		path, all := fill(t, options)
		return &before{path: path, all: all}
	})
	return b.path, b.all
}

// fill makes an image and fills it. Kernels of today need not know version 4:
// mkfs.xfs fills it by itself.
func fill(t testing.TB, options string) (string, map[string]real) {
	t.Helper()
	if strings.Contains(options, "crc=0") {
		return proto(t, strings.Fields(options))
	}
	path := mkfs(t, 96, strings.Fields(options)...)
	var all map[string]real
	mounted(t, path, func(dir string) {
		populate(t, dir)
		all = truth(t, dir)
	})
	return path, all
}

// recall asserts what was found of what is there, by files and by names.
func (s *survey) recall(t testing.TB, all map[string]real, sized bool) (found, named, of int) {
	t.Helper()
	for _, r := range all {
		if r.dir {
			continue
		}
		of++
		if s.has(t, r, sized) {
			found++
		} else if testing.Verbose() {
			t.Logf("lost: %s, inode %d, %d bytes: %+v", r.path, r.inode, r.size, s.files[r.inode])
		}
		if s.named(r) {
			named++
		}
	}
	return found, named, of
}

func TestVariants(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			path, all := filled(t, v.options)
			img := openImage(t, path)
			s := sweep(t, img)
			if got, named, of := s.recall(t, all, true); got != of || named != of {
				t.Errorf("of %d files %d found, %d named", of, got, named)
			}
			if s.f.Doubt() != "" || s.f.ClaimedSize() != img.size {
				t.Errorf("doubt %q, claimed size %d", s.f.Doubt(), s.f.ClaimedSize())
			}
			s.checkGeometry(t, path, v.oldOnly)
		})
	}
}

// checkGeometry compares with what xfs_db reads.
func (s *survey) checkGeometry(t *testing.T, path string, old bool) {
	t.Helper()
	out := command(t, "xfs_db", "-r", "-c", "sb 0", "-c", "p rootino", "-c", "p blocksize", "-c", "p logstart", path)
	var got []uint64
	for _, f := range strings.Fields(out) {
		if n, err := strconv.ParseUint(f, 10, 64); err == nil {
			got = append(got, n)
		}
	}
	if len(got) != 3 || got[0] != s.f.Root() || int64(got[1]) != s.f.BlockSize() || got[2] != s.f.main().logStart {
		t.Errorf("xfs_db says %q", out)
	}
	for _, tr := range s.traces {
		if tr.Kind != fsys.Inode || tr.Origin == fsys.Log {
			continue
		}
		f, err := s.f.File(t.Context(), tr)
		must(t, err)
		if f.Sure == old && tr.Origin == fsys.Table {
			t.Errorf("inode %d: sure %v", f.Inode, f.Sure)
		}
		if off, ok := s.f.main().place(f.Inode); !ok || off != tr.Off {
			t.Errorf("inode %d stands at %d, not %d", f.Inode, tr.Off, off)
		}
	}
}

// proto makes an image that mkfs.xfs fills from files.
func proto(t testing.TB, options []string) (string, map[string]real) {
	t.Helper()
	var lines strings.Builder
	lines.WriteString("boot\n0 0\nd--755 0 0\n")
	all := map[string]real{}
	from := t.TempDir()
	for user := range 3 {
		fmt.Fprintf(&lines, "user%d d--755 0 0\ncur d--755 0 0\n", user)
		for i := range []int{3, 40, 400}[user] {
			b := text(user*1000+i, 200+(user*1000+i)*37%9000)
			name := fmt.Sprintf("%d.M%dP%d.host,S=%d:2,S", 1700000000+i, i, user, len(b))
			at := filepath.Join(from, fmt.Sprintf("%d-%d", user, i))
			must(t, os.WriteFile(at, b, 0o600))
			fmt.Fprintf(&lines, "%s ---644 0 0 %s\n", name, at)
			path := fmt.Sprintf("user%d/cur/%s", user, name)
			all[path] = real{path: path, size: int64(len(b)), sum: sha256.Sum256(b)}
		}
		lines.WriteString("$\n$\n")
	}
	lines.WriteString("$\n")
	file := filepath.Join(from, "proto")
	must(t, os.WriteFile(file, []byte(lines.String()), 0o600))
	path := mkfs(t, 96, append(options, "-p", file)...)
	numbers(t, path, all)
	return path, all
}

// numbers fills in inode numbers as xfs_db reads them.
func numbers(t testing.TB, image string, all map[string]real) {
	t.Helper()
	args := []string{"-r"}
	for user := range 3 {
		args = append(args, "-c", fmt.Sprintf("path /user%d/cur", user), "-c", "ls")
	}
	user := -1
	for line := range strings.Lines(command(t, "xfs_db", append(args, image)...)) {
		fields := strings.Fields(line) // cookie, inode, type, hash, length, name
		if len(fields) < 6 {
			continue
		}
		name := fields[5]
		if name == "." {
			user++
		}
		path := fmt.Sprintf("user%d/cur/%s", user, name)
		if r, ok := all[path]; ok {
			n, err := strconv.ParseUint(fields[1], 10, 64)
			must(t, err)
			r.inode = n
			all[path] = r
		}
	}
	for p, r := range all {
		if r.inode == 0 {
			t.Fatalf("xfs_db lists no %s", p)
		}
	}
}
