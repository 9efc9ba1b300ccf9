package volume

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel says how the file was opened, and that nothing in it changed.
func TestSourceIsOnlyRead(t *testing.T) {
	data := random(1, 1<<20)
	path := write(t, "image", data)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	for _, source := range []string{path, loop(t, path, "--read-only")} {
		v := open(t, source, Options{})
		if n := checkFlags(t, source); n == 0 {
			t.Errorf("%s: no open descriptor was found", source)
		}
		readAll(t, v, 0, 1<<20)
		Parts([]Volume{v})
		if err := Sweep(t.Context(), v, SweepOptions{}, func(Window) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	after, _ := os.Stat(path)
	now, err := os.ReadFile(path)
	if err != nil || sha256.Sum256(now) != sha256.Sum256(data) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the image is not as it was: %v, %v, %v", before.ModTime(), after.ModTime(), err)
	}
}

// checkFlags looks at all descriptors of the path: proc(5), /proc/pid/fdinfo.
func checkFlags(t *testing.T, path string) (found int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); target != path {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + fd.Name())
		if err != nil {
			t.Fatal(err)
		}
		var pos, flags int
		if _, err := fmt.Sscanf(string(info), "pos:\t%d\nflags:\t0%o", &pos, &flags); err != nil {
			t.Fatalf("%q: %v", info, err)
		}
		if found++; flags&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("%s is open with the flags %#o", path, flags)
		}
	}
	return found
}

// On a read-only mount even root cannot open for writing.
func TestReadOnlyMount(t *testing.T) {
	data := random(1, 8192)
	path := write(t, "image", data)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		f.Close()
		t.Fatal("the mount lets root write")
	}
	v, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, unknown := readAll(t, v, 0, 8192); !bytes.Equal(got, data) || len(unknown) > 0 {
		t.Errorf("unknown %v, or wrong bytes", unknown)
	}
}

// What the package may use of the packages with which files can be changed.
var harmless = map[string][]string{
	"os":   {"ErrClosed", "File", "Open", "OpenFile", "O_RDONLY", "SameFile", "Stat"},
	"unix": {"BLKSSZGET", "ENODEV", "ENOMEDIUM", "ENXIO", "FADV_DONTNEED", "Fadvise", "Fstat", "IoctlGetInt", "O_DIRECT", "SEEK_DATA", "Stat_t"},
}

// writers are the methods with which an open file can be changed.
var writers = []string{"Chmod", "Chown", "ReadFrom", "Sync", "Truncate", "Write", "WriteAt", "WriteString", "WriteTo"}

// No code of the package can open anything for writing, or write.
func TestNothingHereCanWrite(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range breaches(file, &opened) {
			t.Errorf("%s: %s", name, bad)
		}
	}
	if opened == 0 {
		t.Error("the test sees no os.OpenFile, and so does not look where it should")
	}
}

func TestTheTestSeesWriting(t *testing.T) {
	for _, code := range []string{
		`import "os"; func f() { os.OpenFile("x", os.O_RDWR, 0) }`,
		`import "os"; func f(flags int) { os.OpenFile("x", flags, 0) }`,
		`import "os"; func f() { os.OpenFile("x", os.O_RDONLY|0x1, 0) }`,
		`import o "os"; func f() { o.Create("x") }`,
		`import "os"; func f() { os.WriteFile("x", nil, 0) }`,
		`import "syscall"; func f() { syscall.Open("x", 2, 0) }`,
		`import "golang.org/x/sys/unix"; func f() { unix.Pwrite(3, nil, 0) }`,
		`func f(x interface{ WriteAt([]byte, int64) }) { x.WriteAt(nil, 0) }`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+code, 0)
		if err != nil {
			t.Fatal(err)
		}
		if opened := 0; len(breaches(file, &opened)) == 0 {
			t.Errorf("not seen: %s", code)
		}
	}
}

// breaches lists what a file uses and must not. opened counts its calls of os.OpenFile.
func breaches(file *ast.File, opened *int) (found []string) {
	used := map[string]string{} // local name to package
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		local := filepath.Base(path)
		if slices.Contains([]string{"syscall", "os/exec", "io/ioutil", "plugin"}, path) || spec.Name != nil {
			found = append(found, "imports "+path)
		}
		used[local] = local
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.CallExpr:
			if s, ok := x.Fun.(*ast.SelectorExpr); ok && slices.Contains(writers, s.Sel.Name) {
				found = append(found, "calls "+s.Sel.Name)
			} else if ok && s.Sel.Name == "OpenFile" {
				*opened++
				if len(x.Args) != 3 || !onlyReads(x.Args[1]) {
					found = append(found, "OpenFile with other flags than O_RDONLY and O_DIRECT")
				}
			}
		case *ast.SelectorExpr:
			pkg, ok := x.X.(*ast.Ident)
			if !ok || used[pkg.Name] == "" {
				break
			}
			if allowed, known := harmless[pkg.Name]; known && !slices.Contains(allowed, x.Sel.Name) {
				found = append(found, pkg.Name+"."+x.Sel.Name)
			}
		}
		return true
	})
	return found
}

// onlyReads knows os.O_RDONLY, alone or with unix.O_DIRECT.
func onlyReads(flags ast.Expr) bool {
	switch x := flags.(type) {
	case *ast.BinaryExpr:
		return x.Op == token.OR && onlyReads(x.X) && onlyReads(x.Y)
	case *ast.SelectorExpr:
		return x.Sel.Name == "O_RDONLY" || x.Sel.Name == "O_DIRECT"
	}
	return false
}
