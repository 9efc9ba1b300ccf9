package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDamageVectors does each damage of testdata/damage/vectors.txt to a copy
// of a vault that an earlier salvor has made, on a host that knows nothing but
// the identity.
func TestDamageVectors(t *testing.T) {
	base, err := filepath.Abs("../../testdata/damage")
	must(t, err)
	f, err := os.Open(filepath.Join(base, "vectors.txt"))
	must(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "|")
		if len(fields) != 3 {
			t.Fatalf("line %d: %q", n, line)
		}
		damage := strings.TrimSpace(fields[1])
		t.Run(fmt.Sprintf("line %d: %s", n, damage), func(t *testing.T) {
			t.Parallel()
			v := &vector{world: newWorld(t), base: base}
			v.copy(strings.TrimSpace(fields[0]))
			for _, d := range strings.Split(damage, ",") {
				v.damage(strings.Fields(d))
			}
			got := []string{v.check(), v.lost("before"), v.check("--repair"), v.lost("after")}
			want := strings.Fields(fields[2])
			if !slices.Equal(got, want) {
				t.Errorf("check, lost, repair, then: %v, want %v\n%s", got, want, v.said.String())
			}
		})
	}
	must(t, lines.Err())
}

// vector is one line of vectors.txt.
type vector struct {
	*world
	base string
	root string // of the paths in the line
	said bytes.Buffer
}

// copy puts the vault into place and says where it is.
func (v *vector) copy(kind string) {
	v.t.Helper()
	must(v.t, os.MkdirAll(v.path("config", "salvor"), 0o700))
	identity, err := os.ReadFile(filepath.Join(v.base, "identity.txt"))
	must(v.t, err)
	must(v.t, os.WriteFile(v.identity(), identity, 0o600))
	dirs, config := []string{"plain"}, ""
	if kind == "parity" {
		dirs = []string{"a", "b", "c"}
	}
	for _, d := range dirs {
		must(v.t, os.CopyFS(v.path(d), os.DirFS(filepath.Join(v.base, d))))
		if kind == "parity" {
			config += fmt.Sprintf("[targets.\"/srv/mail-%s\"]\nurl = %q\n", d, v.path(d))
		}
	}
	must(v.t, os.WriteFile(v.path("config", "salvor", "salvor.toml"), []byte(config), 0o600))
	v.env = append(v.env, "SALVOR_VAULT="+v.path(dirs[0]))
	if v.root = v.dir; kind == "plain" {
		v.root = v.path("plain")
	}
}

// file finds "DIR/#2", the second file of a directory.
func (v *vector) file(name string) string {
	v.t.Helper()
	dir, n, ok := strings.Cut(name, "#")
	if !ok {
		return filepath.Join(v.root, name)
	}
	var files []string
	must(v.t, filepath.WalkDir(filepath.Join(v.root, dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	i, err := strconv.Atoi(n)
	if err != nil || i < 1 || i > len(files) {
		v.t.Fatalf("%s: there are %d files", name, len(files))
	}
	return files[i-1]
}

func (v *vector) damage(words []string) {
	v.t.Helper()
	if len(words) == 0 {
		return
	}
	file := v.file(words[1])
	switch words[0] {
	case "remove":
		must(v.t, os.Remove(file))
		return
	case "empty":
		must(v.t, os.RemoveAll(file))
		must(v.t, os.Mkdir(file, 0o700))
		return
	case "swap":
		other := v.file(words[2])
		must(v.t, os.Rename(file, file+"~"))
		must(v.t, os.Rename(other, file))
		must(v.t, os.Rename(file+"~", other))
		return
	}
	b, err := os.ReadFile(file)
	must(v.t, err)
	at := 0
	if len(words) > 2 {
		percent, err := strconv.Atoi(words[2])
		must(v.t, err)
		at = percent * len(b) / 100
	}
	switch words[0] {
	case "flip":
		b[at] ^= 4
	case "cut":
		b = b[:at]
	case "zero":
		clear(b[at:min(at+4096, len(b))])
	case "other":
		for i := range b {
			b[i] = byte(i*i>>3 ^ i)
		}
	default:
		v.t.Fatalf("no such damage: %q", words)
	}
	must(v.t, os.Chmod(file, 0o600))
	must(v.t, os.WriteFile(file, b, 0o600))
}

// check gives the exit code of a check of everything.
func (v *vector) check(flags ...string) string {
	out, err := v.command(append([]string{"check", "--read-data"}, flags...)...).CombinedOutput()
	fmt.Fprintf(&v.said, "check %v: %s", flags, out)
	if bytes.Contains(out, []byte("panic")) {
		v.t.Errorf("panic: %s", out)
	}
	return strconv.Itoa(exitOf(err))
}

// lost restores everybody, and gives how many of the messages of mail.txt are
// not there then. What is there must be one of them.
func (v *vector) lost(to string) string {
	v.t.Helper()
	out, err := v.command("restore", "--all", "--to", "maildir:"+v.path(to, "%u")).CombinedOutput()
	fmt.Fprintf(&v.said, "restore: %s", out)
	list, rerr := os.ReadFile(filepath.Join(v.base, "mail.txt"))
	must(v.t, rerr)
	missing := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		missing[line] = true
	}
	werr := filepath.WalkDir(v.path(to), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		b, err := os.ReadFile(path)
		must(v.t, err)
		rel, _ := filepath.Rel(v.path(to), filepath.Dir(filepath.Dir(path)))
		user, folder, _ := strings.Cut(rel, "/.")
		if folder == "" {
			folder = "INBOX"
		}
		sum := sha256.Sum256(b)
		line := user + " " + folder + " " + hex.EncodeToString(sum[:])
		if !missing[line] {
			v.t.Errorf("%s is no message of mail.txt, or there twice", path)
		}
		delete(missing, line)
		return nil
	})
	if werr != nil && !os.IsNotExist(werr) {
		v.t.Fatal(werr)
	}
	lost := strconv.Itoa(len(missing))
	if len(missing) > 0 && err == nil {
		lost += "*"
	}
	if len(missing) == 0 && err != nil {
		v.t.Errorf("nothing is lost, and restore ends with %d", exitOf(err))
	}
	return lost
}
