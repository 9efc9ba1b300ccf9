package xfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"salvor/internal/testenv/daemon"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// An image is a volume in a file, of which some ranges cannot be read.
type image struct {
	*os.File
	size    int64
	unknown []volume.Range
}

func (v *image) Size() int64 { return v.size }

func (v *image) ReadAt(p []byte, off int64) (unknown []volume.Range, err error) {
	n, err := v.File.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return nil, err
	}
	clear(p[n:])
	for _, r := range append(v.unknown[:len(v.unknown):len(v.unknown)], volume.Range{Off: v.size, Len: 1 << 61}) {
		from, to := max(r.Off, off), min(r.End(), off+int64(len(p)))
		if from < to {
			clear(p[from-off : to-off])
			unknown = append(unknown, volume.Range{Off: from, Len: to - from})
		}
	}
	return unknown, nil
}

// open opens an image as a volume of its size, or of another.
func openImage(t testing.TB, path string) *image {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return &image{File: f, size: st.Size()}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mkfs makes a file system of size MiB; --unsupported lets it be small.
func mkfs(t testing.TB, mib int64, options ...string) string {
	t.Helper()
	path := filepath.Join(daemon.Dir(t, "salvor-xfs-"), "image")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, mib<<20))
	command(t, "mkfs.xfs", append([]string{"-q", "-f", "--unsupported", path}, options...)...)
	return path
}

// mounted mounts an image, calls do with the place, and unmounts it whatever
// happens.
func mounted(t testing.TB, path string, do func(dir string)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt")
	must(t, os.MkdirAll(dir, 0o700))
	command(t, "mount", "-o", "loop,nouuid", path, dir)
	on := true
	defer func() {
		if on {
			_ = exec.Command("umount", dir).Run()
		}
	}()
	do(dir)
	command(t, "umount", dir)
	on = false
}

// A real is a file as it really is.
type real struct {
	path  string
	inode uint64
	size  int64
	sum   [32]byte
	dir   bool
}

// truth reads what a mounted tree holds.
func truth(t testing.TB, dir string) map[string]real {
	t.Helper()
	all := map[string]real{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		r := real{path: rel, inode: st.Sys().(*syscall.Stat_t).Ino, size: st.Size(), dir: d.IsDir()}
		if st.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			r.sum = sha256.Sum256(b)
		} else if !r.dir {
			return nil
		}
		all[rel] = r
		return nil
	})
	must(t, err)
	return all
}

// text is n bytes of something like mail, different for each seed.
func text(seed, n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(seed), 7))
	b := bytes.NewBuffer(make([]byte, 0, n+80))
	fmt.Fprintf(b, "Return-Path: <sender%d@example.org>\nMessage-ID: <%d@example.org>\n\n", seed, seed)
	for b.Len() < n {
		fmt.Fprintf(b, "%016x%016x%016x%016x\n", rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64())
	}
	return b.Bytes()[:n]
}

// populate fills a mounted tree: directories of every form, small and large
// files, files in many pieces.
func populate(t testing.TB, dir string) {
	t.Helper()
	for user := range 4 {
		n := []int{3, 40, 400, 25}[user]
		cur := filepath.Join(dir, fmt.Sprintf("user%d", user), "cur")
		must(t, os.MkdirAll(cur, 0o700))
		for i := range n {
			seed := user*1000 + i
			size := 200 + seed*37%9000
			if i%97 == 5 {
				size += 300_000
			}
			name := fmt.Sprintf("%d.M%dP%d.host,S=%d:2,S", 1700000000+seed, seed, i, size)
			must(t, os.WriteFile(filepath.Join(cur, name), text(seed, size), 0o600))
		}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "user0/empty"), 0o700))
	must(t, os.Symlink("user0/cur", filepath.Join(dir, "link")))
	must(t, os.WriteFile(filepath.Join(dir, "user0/nothing"), nil, 0o600))
	interleave(t, filepath.Join(dir, "user0/big"), 3, 60)
	punch(t, filepath.Join(dir, "user0/holes"), 50)
	prealloc(t, filepath.Join(dir, "user0/prealloc"))
	interleave(t, filepath.Join(dir, "user1/huge"), 2, 700)
}

// interleave writes files in turns, block by block, so that none stays together.
func interleave(t testing.TB, base string, files, blocks int) {
	t.Helper()
	var open []*os.File
	for i := range files {
		f, err := os.Create(fmt.Sprintf("%s%d", base, i))
		must(t, err)
		defer f.Close()
		open = append(open, f)
	}
	for b := range blocks {
		for _, f := range open {
			must(t, syscall.Fallocate(int(f.Fd()), 0, int64(b)*4096, 4096))
		}
	}
	for i, f := range open {
		_, err := f.Write(text(len(base)*100+i, blocks*4096-100))
		must(t, err)
	}
}

const fallocPunch = 3 // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

// punch writes a file and takes every other block out.
func punch(t testing.TB, path string, blocks int) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	_, err = f.Write(text(blocks, blocks*4096-7))
	must(t, err)
	must(t, f.Sync())
	for b := 1; b < blocks; b += 2 {
		must(t, syscall.Fallocate(int(f.Fd()), fallocPunch, int64(b)*4096, 4096))
	}
}

// prealloc writes a file with blocks that are unwritten, and blocks behind its end.
func prealloc(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, syscall.Fallocate(int(f.Fd()), 1, 0, 200_000)) // keeps the size
	_, err = f.WriteAt(text(9, 30_000), 50_000)
	must(t, err)
}

// A survey is what a sweep brought.
type survey struct {
	f      *FS
	v      *image
	traces []fsys.Trace
	files  map[uint64][]*fsys.File
	names  map[uint64][]fsys.Entry // by child
	low    map[uint32][]fsys.Entry
}

// sweep does what the engine does, with everything in memory.
func sweep(t testing.TB, v *image) *survey {
	t.Helper()
	f, err := Open(t.Context(), v)
	must(t, err)
	return sweepWith(t, f, v)
}

func sweepWith(t testing.TB, f *FS, v *image) *survey {
	t.Helper()
	s := &survey{f: f, v: v, files: map[uint64][]*fsys.File{}, names: map[uint64][]fsys.Entry{}, low: map[uint32][]fsys.Entry{}}
	put := func(tr fsys.Trace) error {
		tr.Raw = bytes.Clone(tr.Raw)
		s.traces = append(s.traces, tr)
		return nil
	}
	must(t, f.Known(t.Context(), put))
	b := make([]byte, 1<<20)
	for off := int64(0); off < v.size; off += int64(len(b)) {
		part := b[:min(int64(len(b)), v.size-off)]
		unknown, err := v.ReadAt(part, off)
		must(t, err)
		must(t, f.Look(volume.Window{Off: off, Data: part, Unknown: unknown}, put))
	}
	for _, tr := range s.traces {
		must(t, f.Learn(t.Context(), tr))
	}
	must(t, f.Known(t.Context(), put))
	for _, tr := range s.traces {
		s.add(t, tr)
	}
	return s
}

func (s *survey) add(t testing.TB, tr fsys.Trace) {
	t.Helper()
	entry := func(e fsys.Entry) error {
		if e.Low {
			s.low[uint32(e.Child)] = append(s.low[uint32(e.Child)], e)
		} else {
			s.names[e.Child] = append(s.names[e.Child], e)
		}
		return nil
	}
	if tr.Kind == fsys.Names {
		must(t, s.f.Entries(t.Context(), tr, entry))
		return
	}
	file, err := s.f.File(t.Context(), tr)
	must(t, err)
	s.files[file.Inode] = append(s.files[file.Inode], file)
	if file.Type == fsys.Directory {
		must(t, s.f.Entries(t.Context(), tr, entry))
	}
}

// content reads a file of a size as its extents say.
func (s *survey) content(t testing.TB, f *fsys.File, size int64) []byte {
	t.Helper()
	b := make([]byte, size)
	for _, e := range f.Extents {
		if e.Logical >= size || e.Unwritten {
			continue
		}
		_, err := s.v.ReadAt(b[e.Logical:min(e.Logical+e.Len, size)], e.Off)
		must(t, err)
	}
	return b
}

// has tells whether some trace of a file has its content; sized: and its size.
func (s *survey) has(t testing.TB, r real, sized bool) bool {
	t.Helper()
	for _, f := range s.files[r.inode] {
		if f.Type == fsys.Regular && (f.Size == r.size || f.Size < 0 && !sized) &&
			sha256.Sum256(s.content(t, f, r.size)) == r.sum {
			return true
		}
	}
	return false
}

// named tells whether names lead to a file along its whole path.
func (s *survey) named(r real) bool {
	return s.leads(r.inode, strings.Split(r.path, "/"))
}

// called tells whether a file's name in its directory is known.
func (s *survey) called(r, dir real) bool {
	return slices.ContainsFunc(slices.Concat(s.names[r.inode], s.low[uint32(r.inode)]), func(e fsys.Entry) bool {
		return e.Name == filepath.Base(r.path) && e.Parent == dir.inode
	})
}

func (s *survey) leads(inode uint64, levels []string) bool {
	if len(levels) == 0 {
		return inode == s.f.Root()
	}
	last := len(levels) - 1
	for _, e := range slices.Concat(s.names[inode], s.low[uint32(inode)]) {
		if e.Name == levels[last] && e.Parent != 0 && s.leads(e.Parent, levels[:last]) {
			return true
		}
	}
	return false
}
