package ext4

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// A disk is an image in a file, parts of which may be unknown.
type disk struct {
	file *os.File
	size int64
	bad  []volume.Range
}

func openDisk(t testing.TB, path string) *disk {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return &disk{file: file, size: info.Size()}
}

func (d *disk) Name() string { return d.file.Name() }
func (d *disk) Size() int64  { return d.size }
func (d *disk) Close() error { return nil }
func (d *disk) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	return readPart(p, off, d.size, d.bad, func(p []byte, off int64) error {
		_, err := d.file.ReadAt(p, off)
		return err
	})
}

// memory is a volume of bytes.
type memory []byte

func (m memory) Name() string { return "memory" }
func (m memory) Size() int64  { return int64(len(m)) }
func (m memory) Close() error { return nil }
func (m memory) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	return readPart(p, off, m.Size(), nil, func(p []byte, off int64) error { copy(p, m[off:]); return nil })
}

func readPart(p []byte, off, size int64, bad []volume.Range, read func([]byte, int64) error) ([]volume.Range, error) {
	clear(p)
	if off < 0 {
		return nil, fmt.Errorf("read at %d", off)
	}
	var unknown []volume.Range
	n := max(0, min(int64(len(p)), size-off))
	if n > 0 {
		if err := read(p[:n], off); err != nil {
			return nil, err
		}
	}
	for _, b := range bad {
		from, to := max(b.Off, off), min(b.End(), off+n)
		if from < to {
			clear(p[from-off : to-off])
			unknown = append(unknown, volume.Range{Off: from, Len: to - from})
		}
	}
	if n < int64(len(p)) {
		unknown = append(unknown, volume.Range{Off: off + n, Len: int64(len(p)) - n})
	}
	return unknown, nil
}

// run runs a command that has to work.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// truth is what was on an image: content and inode of each file by its path.
type truth map[string]original

type original struct {
	sum   [20]byte
	size  int64
	inode uint64
}

// newImage makes an image of some MiB.
func newImage(t testing.TB, mib int64, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	run(t, "mke2fs", append(append([]string{"-q", "-F", "-E", "nodiscard"}, args...), path)...)
	return path
}

// mounted runs a function on the mounted image.
func mounted(t testing.TB, image string, use func(root string)) {
	t.Helper()
	root := t.TempDir()
	run(t, "mount", "-o", "loop", image, root)
	up := true
	down := func() {
		if up {
			up = false
			// A process that another test is about to start may hold a file for a moment.
			out, err := exec.Command("umount", root).CombinedOutput()
			for range 100 {
				if err == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
				out, err = exec.Command("umount", root).CombinedOutput()
			}
			t.Errorf("umount: %v: %s", err, out)
		}
	}
	t.Cleanup(down)
	use(root)
	down()
}

// mail is text that looks like mail and tells which file it is of.
func mail(r *rand.Rand, name string, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <a@example.org>\r\nSubject: %s\r\nMessage-ID: <%d@example.org>\r\n\r\n", name, r.Int63())
	for b.Len() < size {
		fmt.Fprintf(&b, "line %d of %s, and %x more\r\n", b.Len(), name, r.Int63())
	}
	return b.Bytes()[:size]
}

// fill writes users' folders of messages, and lets large ones fall into pieces.
func fill(t testing.TB, root string, users, each int) {
	t.Helper()
	r := rand.New(rand.NewSource(int64(users*1000 + each)))
	write := func(path string, size int) {
		if err := os.WriteFile(filepath.Join(root, path), mail(r, path, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for u := range users {
		dir := fmt.Sprintf("spool/user%d/Maildir/cur", u)
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range each {
			write(fmt.Sprintf("%s/1188600%03d.M%dP20.host,S=%d:2,S", dir, i, i*7919, i), 300+r.Intn(1+i*150))
		}
	}
	run(t, "sync", "-f", root)
}

// fragment fills what is free, frees every second piece, and writes files into it.
func fragment(t testing.TB, root string, files, size int) {
	t.Helper()
	r := rand.New(rand.NewSource(7))
	dir := filepath.Join(root, "filler")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	piece, n := make([]byte, 48<<10), 0
	for ; ; n++ {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, n), piece, 0o600); err != nil {
			break
		}
	}
	run(t, "sync", "-f", root)
	for i := 0; i < n; i += 2 {
		os.Remove(fmt.Sprintf("%s/%d", dir, i))
	}
	run(t, "sync", "-f", root)
	for i := range files {
		path := fmt.Sprintf("spool/user0/Maildir/cur/large%d", i)
		if err := os.WriteFile(filepath.Join(root, path), mail(r, path, size+i*5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "sync", "-f", root)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	run(t, "sync", "-f", root)
}

// remember notes what is in a mounted image.
func remember(t testing.TB, root string) truth {
	t.Helper()
	all := truth{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all[rel] = original{sha1.Sum(p), int64(len(p)), info.Sys().(*syscall.Stat_t).Ino}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("nothing was written")
	}
	return all
}

// overwrite writes zeros, or noise, over a part of an image.
func overwrite(t testing.TB, image string, off, length int64, noise bool) {
	t.Helper()
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := make([]byte, length)
	if noise {
		rand.New(rand.NewSource(off)).Read(p)
	}
	if _, err := file.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

// A harvest is what a sweep over an image brought.
type harvest struct {
	fs     *FS
	traces []fsys.Trace
	files  map[[20]byte][]*fsys.File
	names  []fsys.Entry
	errors map[string]int
}

// sweep does what package salvage does with a file system, in memory.
func sweep(t testing.TB, f *FS) *harvest {
	t.Helper()
	ctx := context.Background()
	h := &harvest{fs: f, files: map[[20]byte][]*fsys.File{}, errors: map[string]int{}}
	put := func(tr fsys.Trace) error {
		tr.Raw = append([]byte(nil), tr.Raw...)
		h.traces = append(h.traces, tr)
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Known(ctx, put))
	known := len(h.traces)
	p := make([]byte, 1<<20)
	for off := int64(0); off < f.v.Size(); off += int64(len(p)) {
		n := min(int64(len(p)), f.v.Size()-off)
		unknown, err := f.v.ReadAt(p[:n], off)
		must(err)
		must(f.Look(volume.Window{Off: off, Data: p[:n], Unknown: unknown}, put))
	}
	for _, tr := range h.traces {
		must(f.Learn(ctx, tr))
	}
	if known == 0 {
		must(f.Known(ctx, put))
	}
	for _, tr := range h.traces {
		h.take(ctx, tr)
	}
	return h
}

func (h *harvest) take(ctx context.Context, tr fsys.Trace) {
	keep := func(e fsys.Entry) error { h.names = append(h.names, e); return nil }
	if tr.Kind == fsys.Names {
		if err := h.fs.Entries(ctx, tr, keep); err != nil {
			h.errors[err.Error()]++
		}
		return
	}
	file, err := h.fs.File(ctx, tr)
	if err != nil {
		h.errors[err.Error()]++
		return
	}
	if file.Type == fsys.Directory {
		if err := h.fs.Entries(ctx, tr, keep); err != nil {
			h.errors[err.Error()]++
		}
	}
	if file.Type == fsys.Regular && file.Size <= 64<<20 {
		sum := sha1.Sum(h.content(file))
		h.files[sum] = append(h.files[sum], file)
	}
}

// content reads a file; of one without a size all that is mapped.
func (h *harvest) content(file *fsys.File) []byte {
	size := file.Size
	if file.Inline != nil {
		return file.Inline
	}
	if size < 0 {
		for _, e := range file.Extents {
			size = min(e.Logical+e.Len, 64<<20)
		}
	}
	p := make([]byte, size)
	for _, e := range file.Extents {
		if e.Logical < size && !e.Unwritten {
			h.fs.v.ReadAt(p[e.Logical:min(size, e.Logical+e.Len)], e.Off)
		}
	}
	return p
}

// paths gives every path that leads to an inode, live names and removed ones.
func (h *harvest) paths() map[uint64]map[string]bool {
	type parent struct {
		dir  uint64
		name string
	}
	parents := map[uint64]map[parent]bool{}
	for _, e := range h.names {
		if parents[e.Child] == nil {
			parents[e.Child] = map[parent]bool{}
		}
		parents[e.Child][parent{e.Parent, e.Name}] = true
	}
	var walk func(inode uint64, depth int) []string
	walk = func(inode uint64, depth int) []string {
		if inode == rootInode {
			return []string{""}
		}
		if len(parents[inode]) == 0 {
			return []string{"?"}
		}
		var all []string
		for p := range parents[inode] {
			if depth > 0 {
				for _, up := range walk(p.dir, depth-1) {
					all = append(all, strings.TrimPrefix(up+"/"+p.name, "/"))
				}
			}
		}
		return all
	}
	all := map[uint64]map[string]bool{}
	for inode := range parents {
		all[inode] = map[string]bool{}
		for _, p := range walk(inode, 16) {
			all[inode][p] = true
		}
	}
	return all
}

// score tells how many of the files were found with the right content, and how
// many of these by their path too, or by all of it but the first name where the
// root directory is gone.
func (h *harvest) score(want truth) (found, named int, missing []string) {
	paths := h.paths()
	for path, o := range want {
		files := h.files[o.sum]
		if len(files) == 0 {
			missing = append(missing, path)
			continue
		}
		found++
		for _, f := range files {
			_, below, _ := strings.Cut(path, "/")
			if f.Inode == o.inode && (paths[f.Inode][path] || paths[f.Inode]["?/"+below]) {
				named++
				break
			}
		}
	}
	return found, named, missing
}

// limit tells how many files still have on a volume a record that led to them
// before, with all that it led to.
func (h *harvest) limit(want truth, v volume.Volume) int {
	raw := map[int64][]byte{}
	for _, t := range h.traces {
		raw[t.Off] = t.Raw
	}
	now := &harvest{fs: &FS{v: v}}
	n := 0
	for _, o := range want {
		for _, f := range h.files[o.sum] {
			there := make([]byte, len(raw[f.Trace.Off]))
			if _, err := v.ReadAt(there, f.Trace.Off); err == nil && bytes.Equal(there, raw[f.Trace.Off]) && sha1.Sum(now.content(f)) == o.sum {
				n++
				break
			}
		}
	}
	return n
}

// census counts traces by kind and origin.
func (h *harvest) census() map[string]int {
	n := map[string]int{}
	for _, t := range h.traces {
		n[string(t.Kind)+" "+string(t.Origin)]++
	}
	return n
}

func mustOpen(t testing.TB, v volume.Volume) *FS {
	t.Helper()
	f, err := Open(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
