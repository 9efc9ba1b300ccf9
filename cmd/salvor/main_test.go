package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// cleaner removes the binary that tests have built.
type cleaner struct{ *testing.M }

func (c cleaner) Run() int {
	code := c.M.Run()
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(cleaner{m}, map[string]func(){
		"salvor": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the real main over the scripts of testdata/script. $DEMO is
// the demonstration's mail of three users, copied to $WORK/mail on request.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"jsonis":   cmdJSON,
			"samemail": cmdSameMail,
			"demo":     cmdDemo,
			"lines":    cmdLines,
			"put":      cmdPut,
		},
	})
}

func setupScript(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	demo, err := filepath.Abs("../../testdata/demo")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_DATA_HOME": filepath.Join(home, "data"), "XDG_CONFIG_HOME": filepath.Join(home, "config"),
		"DATA": filepath.Join(home, "data", "salvor"), "CONF": filepath.Join(home, "config", "salvor"), "DEMO": demo, "TZ": "UTC",
		"IDENTITY": filepath.Join(home, "config", "salvor", "identity.txt"), "VAULT": filepath.Join(home, "data", "salvor", "vault"),
	} {
		env.Setenv(name, value)
	}
	return os.MkdirAll(home, 0o700)
}

// cmdExits is "exits CODE PROGRAM ARGS...": the program must end with just
// this code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdJSON is "jsonis KEY.KEY VALUE": looks into the JSON object that stdout (or
// its last line) is. VALUE is JSON, or a bare string.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] jsonis KEY.KEY VALUE")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var value any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &value))
	for _, key := range strings.Split(args[0], ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s: no element %s of %d", args[0], key, len(v))
			}
			value = v[i]
		default:
			ts.Fatalf("%s: nothing at %q", args[0], key)
		}
	}
	got, err := json.Marshal(value)
	ts.Check(err)
	same := string(got) == args[1] || value == args[1]
	if same == neg {
		ts.Fatalf("%s is %s, want %s (not: %v)", args[0], got, args[1], neg)
	}
}

// cmdLines is "lines N": standard output has so many lines.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := strings.Count(ts.ReadFile("stdout"), "\n"); (got == want) == neg {
		ts.Fatalf("%d lines, want %d (not: %v)", got, want, neg)
	}
}

// cmdDemo is "demo DIR": copies the demonstration's mail, without the files
// that have git keep its empty directories.
func cmdDemo(ts *testscript.TestScript, neg bool, args []string) {
	to := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(to, os.DirFS(ts.Getenv("DEMO"))))
	ts.Check(filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".gitkeep" {
			return os.Remove(path)
		}
		if err != nil || !d.IsDir() || d.Name() != "cur" {
			return err
		}
		for _, name := range []string{"new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(filepath.Dir(path), name), 0o700); err != nil {
				return err
			}
		}
		return nil
	}))
}

// cmdPut is "put FOLDER-DIR NAME SUBJECT": a new message in a Maildir folder.
func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: put DIR NAME SUBJECT")
	}
	dir := ts.MkAbs(args[0])
	for _, sub := range []string{"cur", "new", "tmp"} {
		ts.Check(os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	text := fmt.Sprintf("From: Anna <anna@example.org>\nTo: bert@example.org\nSubject: %s\nMessage-ID: <%s@example.org>\n"+
		"Date: Thu, 26 Oct 2006 18:30:00 +0000\n\nThe text of %s.\n", args[2], args[1], args[1])
	ts.Check(os.WriteFile(filepath.Join(dir, "cur", args[1]+":2,S"), []byte(text), 0o600))
}

// cmdSameMail is "samemail A B [EXCEPT...]": two Maildir++ trees hold the same
// messages with the same flags and dates in the same folders, byte for byte.
// Folders whose directory name is one of EXCEPT are left out on both sides.
func cmdSameMail(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] samemail A B [EXCEPT...]")
	}
	a, err := listMaildir(ts.MkAbs(args[0]), args[2:])
	ts.Check(err)
	b, err := listMaildir(ts.MkAbs(args[1]), args[2:])
	ts.Check(err)
	if len(a) == 0 {
		ts.Fatalf("%s holds no mail", args[0])
	}
	diff := difference(a, b)
	if (diff == "") == neg {
		ts.Fatalf("%s and %s: %s", args[0], args[1], first(diff, "are the same"))
	}
}

// listMaildir gives one line for each message of a tree: folder, hash of the
// bytes, system flags, date.
func listMaildir(root string, except []string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dir := filepath.Dir(path)
		folder, err := filepath.Rel(root, filepath.Dir(dir))
		if err != nil || filepath.Base(dir) != "cur" && filepath.Base(dir) != "new" {
			return err
		}
		for _, e := range except {
			if filepath.Base(folder) == e || strings.HasPrefix(filepath.Base(folder), e+".") {
				return nil
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		_, flags, _ := strings.Cut(d.Name(), ":2,")
		// Keywords may come back under another letter, and P, which Dovecot does
		// not know, as the keyword $Forwarded.
		flags = strings.ReplaceAll(strings.TrimRight(flags, "abcdefghijklmnopqrstuvwxyz"), "P", "")
		out = append(out, fmt.Sprintf("%s %x %s %d", folder, sha256.Sum256(b), flags, info.ModTime().Unix()))
		return nil
	})
	sort.Strings(out)
	return out, err
}

// difference names the first line that one list has and the other has not.
func difference(a, b []string) string {
	for i := 0; i < len(a) || i < len(b); i++ {
		switch {
		case i >= len(a):
			return "only the second has " + b[i]
		case i >= len(b):
			return "only the first has " + a[i]
		case a[i] != b[i]:
			return fmt.Sprintf("%s / %s", a[i], b[i])
		}
	}
	return ""
}
