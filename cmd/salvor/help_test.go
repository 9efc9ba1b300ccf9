package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// walk calls fn for every command with its path.
func walk(path []*cli.Command, commands []*cli.Command, fn func([]*cli.Command)) {
	for _, c := range commands {
		p := append(append([]*cli.Command{}, path...), c)
		fn(p)
		walk(p, c.Subcommands, fn)
	}
}

// Every command's --help has an example that this very command line accepts.
func TestHelpHasAnExample(t *testing.T) {
	root := (&app{}).definitions()
	walk(nil, root.Commands, func(path []*cli.Command) {
		c, name := path[len(path)-1], commandName(path)
		var out, errs bytes.Buffer
		if code := Main(append(strings.Fields(name)[1:], "--help"), nil, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%s --help: exit %d, %s", name, code, &errs)
		}
		_, example, found := strings.Cut(out.String(), "\nExample:\n")
		if !found || !strings.Contains(example, "salvor "+path[0].Name) {
			t.Errorf("%s --help has no example:\n%s", name, &out)
		}
		for _, line := range strings.Split(example, "\n") {
			checkExample(t, name, line)
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > 140 {
				t.Errorf("%s --help: line too long: %s", name, line)
			}
		}
		if c.Usage == "" || strings.HasSuffix(c.Usage, ".") {
			t.Errorf("%s: usage %q", name, c.Usage)
		}
	})
}

// checkExample parses what stands behind "salvor" in an example.
func checkExample(t *testing.T, name, line string) {
	_, rest, found := strings.Cut(line, "salvor ")
	if !found || strings.HasPrefix(rest, "cat") && strings.Contains(line, "ssh") {
		return
	}
	rest, _, _ = strings.Cut(rest, " | ")
	rest, _, _ = strings.Cut(rest, " > ")
	inv, err := permute((&app{}).definitions(), words(rest))
	if err != nil || len(inv.path) == 0 || len(inv.path[len(inv.path)-1].Subcommands) > 0 && inv.path[len(inv.path)-1].Action == nil {
		t.Errorf("%s: the example %q is no command: %v", name, line, err)
	}
}

// words splits as a shell does, as far as the examples need it.
func words(s string) []string {
	var out []string
	quoted := false
	word := ""
	for _, r := range s + " " {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word != "" {
				out = append(out, word)
			}
			word = ""
		default:
			word += string(r)
		}
	}
	return out
}

// A flag takes a value everywhere or nowhere, or permute could not tell a value
// from an argument before it knows the command.
func TestFlagsAgree(t *testing.T) {
	root := (&app{}).definitions()
	takes := map[string]bool{}
	check := func(where string, flags []cli.Flag) {
		for _, f := range flags {
			for _, name := range f.Names() {
				if old, seen := takes[name]; seen && old != takesValue(f) {
					t.Errorf("--%s of %s takes a value here and none elsewhere", name, where)
				}
				takes[name] = takesValue(f)
			}
			if _, text := flagWords(f); text == "" {
				t.Errorf("--%s of %s says nothing", f.Names()[0], where)
			}
		}
	}
	check("salvor", root.Flags)
	walk(nil, root.Commands, func(path []*cli.Command) { check(commandName(path), path[len(path)-1].Flags) })
}

// What comes with later work does not stand here as an empty promise.
func TestNoStubs(t *testing.T) {
	for _, name := range []string{"sync"} {
		var out, errs bytes.Buffer
		if code := Main([]string{name}, nil, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "unknown command") {
			t.Errorf("%s: exit %d: %s", name, code, &errs)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä 漢":         "plain ä 漢",
		"\x1b[2Jgone":       `\x1b[2Jgone`,
		"a\nb\rc\td":        `a\x0ab\x0dc\x09d`,
		"\u202etxt.exe":     `\u202etxt.exe`,
		"\u009b31m":         `\u009b31m`,
		"bad \xff byte":     `bad \xff byte`,
		"zero\u200bwidth":   `zero\u200bwidth`,
		"line\u2028 breaks": `line\u2028 breaks`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := cleanText("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("cleanText = %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"short", 10, "short"}, {"exactly10!", 10, "exactly10!"}, {"a bit longer", 6, "a bit…"}, {"漢字漢字", 5, "漢字…"}} {
		if got := cut(c.in, c.n); got != c.want || columns(got) > c.n {
			t.Errorf("cut(%q, %d) = %q", c.in, c.n, got)
		}
	}
}

// TestNamesMakeNoLines: what comes from mail, names and errors stays on its line.
func TestNamesMakeNoLines(t *testing.T) {
	got := sentence("%s: %d\nof %q: %v", []any{"eve\nroot", 3, "a\x1b", errors.Join(errors.New("one\r"), errors.New("two\u009b"))})
	if want := `eve\x0aroot: 3` + "\n" + `of "a\\x1b": one; two\u009b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCleanJSON: the value is the same, and shows nothing to a terminal.
func TestCleanJSON(t *testing.T) {
	want := "a\u009b2J\u202e\x7f\U000e0041ü😀\u2028\x1b\n"
	in, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	out := cleanJSON(append(in, '\n'))
	var got string
	if err := json.Unmarshal(out, &got); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if i := bytes.IndexFunc(out[:len(out)-1], hostile); i >= 0 {
		t.Errorf("%q", out[i:])
	}
}
