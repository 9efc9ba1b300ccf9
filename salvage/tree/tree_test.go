package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"salvor/salvage/volume"
)

func walk(t *testing.T, dir string, o Options) map[string]Item {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	items := map[string]Item{}
	err = Walk(context.Background(), root, o, func(it Item) error {
		if _, ok := items[it.Path]; ok {
			t.Errorf("%q was yielded twice", it.Path)
		}
		items[it.Path] = it
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func paths(items map[string]Item) (out []string) {
	for p := range items {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, body string) {
	t.Helper()
	file := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(body), 0o600))
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "u01/cur/1.M1:2,S", "one")
	write(t, dir, "lost+found/#123", "nameless")
	write(t, dir, "lost+found/#77/Sent/cur/a", "tree")
	write(t, dir, "lost+found/letter", "named")
	write(t, dir, "home/lost+found/88", "xfs_repair")
	write(t, dir, "bad\n\xff\x1b[2J", "hostile")
	write(t, filepath.Dir(dir), "outside", "secret")
	must(t, os.Link(filepath.Join(dir, "u01/cur/1.M1:2,S"), filepath.Join(dir, "u01/cur/2")),
		os.Symlink("../outside", filepath.Join(dir, "link")), os.Symlink(".", filepath.Join(dir, "cycle")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	items := walk(t, dir, Options{})
	want := []string{"bad\n\xff\x1b[2J", "home/lost+found/88", "lost+found/#123", "lost+found/#77/Sent/cur/a", "lost+found/letter", "u01/cur/1.M1:2,S", "u01/cur/2"}
	if got := paths(items); !slices.Equal(got, want) {
		t.Fatalf("found %q", got)
	}
	for p, number := range map[string]uint64{"lost+found/#123": 123, "lost+found/#77/Sent/cur/a": 77, "lost+found/letter": 0, "home/lost+found/88": 88} {
		if it := items[p]; !it.LostFound || it.Number != number {
			t.Errorf("%s: %v %d", p, it.LostFound, it.Number)
		}
	}
	a, b := items["u01/cur/1.M1:2,S"], items["u01/cur/2"]
	if a.LostFound || a.Inode != b.Inode || a.Links != 2 || a.Again == b.Again || a.Size != 3 || a.ModTime.IsZero() {
		t.Errorf("two names of one file: %+v and %+v", a, b)
	}
	for p, it := range items {
		f, err := it.Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(f)
		f.Close()
		if err != nil || int64(len(body)) != it.Size {
			t.Errorf("%q holds %q, %v", p, body, err)
		}
	}
	write(t, dir, "new", "other")
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "lost+found/#123")))
	if it := items["lost+found/#123"]; true {
		if f, err := it.Open(); err == nil {
			f.Close()
			t.Error("another file was opened in its place")
		}
	}
}

func TestDeepTree(t *testing.T) {
	dir := t.TempDir()
	// Longer than any path that the kernel takes.
	at, err := os.OpenRoot(dir)
	must(t, err)
	for range 30 {
		name := strings.Repeat("d", 200)
		must(t, at.Mkdir(name, 0o700))
		next, err := at.OpenRoot(name)
		must(t, err, at.Close())
		at = next
	}
	must(t, at.WriteFile("deep", []byte("x"), 0o600), at.Close())
	items := walk(t, dir, Options{})
	if len(items) != 1 {
		t.Fatalf("found %q", paths(items))
	}
	for _, it := range items {
		f, err := it.Open()
		must(t, err, f.Close())
	}
	for p, it := range walk(t, dir, Options{MaxDepth: 3}) {
		if !errors.Is(it.Err, ErrTooDeep) || strings.Count(p, "/") != 3 {
			t.Errorf("%q: %v", p, it.Err)
		}
	}
}

func TestHoles(t *testing.T) {
	dir := t.TempDir()
	const block = 64 << 10
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	_, err = f.WriteAt(make([]byte, block), block) // zeros that were written are data
	must(t, err, f.Truncate(4*block), f.Sync())
	holes, err := Holes(f, 4*block)
	must(t, err)
	if want := []volume.Range{{Off: 0, Len: block}, {Off: 2 * block, Len: 2 * block}}; !slices.Equal(holes, want) {
		t.Errorf("holes are %v", holes)
	}
	if holes, err := Holes(f, 5*block); err != nil || holes[len(holes)-1].End() != 5*block {
		t.Errorf("of a file that is shorter than it was they are %v, %v", holes, err)
	}
	must(t, f.Close())
	write(t, dir, "full", strings.Repeat("x", 3*block+1))
	f, err = os.Open(filepath.Join(dir, "full"))
	must(t, err)
	defer f.Close()
	if holes, err := Holes(f, 3*block+1); err != nil || len(holes) != 0 {
		t.Errorf("a whole file has %v, %v", holes, err)
	}
	many, err := os.Create(filepath.Join(dir, "many"))
	must(t, err)
	defer many.Close()
	const pieces = maxHoles + 100
	for i := range int64(pieces) {
		if _, err := many.WriteAt([]byte("x"), i*8192); err != nil {
			t.Fatal(err)
		}
	}
	must(t, many.Sync())
	holes, err = Holes(many, (pieces-1)*8192+1)
	if err != nil || len(holes) != maxHoles || holes[maxHoles-1].End() != (pieces-1)*8192+1 {
		t.Errorf("%d holes, %v", len(holes), err)
	}
}

// What e2fsck leaves, mounted: names, lost+found with whole trees, and files whose
// blocks were lost, with holes and right sizes. Another file system is mounted
// inside.
func TestCheckedFileSystem(t *testing.T) {
	dir := t.TempDir()
	src, mnt, image := filepath.Join(dir, "src"), filepath.Join(dir, "mnt"), filepath.Join(dir, "image")
	for i := range 20 {
		write(t, src, fmt.Sprintf("u01/cur/%d", i), strings.Repeat(fmt.Sprintf("Subject: %d\n\n", i), 4000))
	}
	must(t, os.Mkdir(mnt, 0o700))
	run(t, 0, "mke2fs", "-q", "-t", "ext4", "-d", src, image, "32M")
	// The directory u01 loses its name, a file the place of its bytes.
	run(t, 0, "debugfs", "-w", "-R", "punch /u01/cur/3 2 4", image)
	run(t, 0, "debugfs", "-w", "-R", "unlink /u01", image)
	run(t, 1, "e2fsck", "-fy", image)
	run(t, 0, "mount", "-o", "loop,ro", image, mnt)
	t.Cleanup(func() { run(t, 0, "umount", mnt) })
	items := walk(t, mnt, Options{})
	if len(items) != 20 {
		t.Fatalf("found %q", paths(items))
	}
	for p, it := range items {
		if !it.LostFound || it.Number == 0 || !strings.HasPrefix(p, "lost+found/#") || it.Err != nil {
			t.Errorf("%s: %+v", p, it)
		}
		f, err := it.Open()
		must(t, err)
		holes, err := Holes(f, it.Size)
		must(t, err, f.Close())
		if punched := filepath.Base(p) == "3"; punched != (len(holes) == 1 && holes[0].Len > 0) || !punched && len(holes) > 0 {
			t.Errorf("%s has the holes %v", p, holes)
		}
	}
	other := walk(t, dir, Options{})
	if it, ok := other["mnt"]; !ok || !errors.Is(it.Err, ErrOtherDevice) {
		t.Errorf("the mount is %+v", it)
	}
	if across := walk(t, dir, Options{Across: true}); len(across) != len(other)-1+20 {
		t.Errorf("across file systems there are %d files, without %d", len(across), len(other))
	}
}

// run runs a program that must end with this code.
func run(t *testing.T, code int, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == code {
		return
	}
	if err != nil || code != 0 {
		t.Fatalf("%s %s: %v, not %d\n%s", name, strings.Join(args, " "), err, code, out)
	}
}
