package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

//go:generate go test . -run TestManPages -update

var update = flag.Bool("update", false, "write docs/man anew")

// TestManPages keeps docs/man what the definitions of the commands say.
func TestManPages(t *testing.T) {
	dir := "../../docs/man"
	pages := manPages((&app{}).definitions())
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range pages {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil || string(have) != text {
			t.Errorf("%s is not what the commands say (%v): run go generate ./cmd/salvor", path, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) != len(pages) {
		t.Errorf("docs/man has %d pages, want %d: remove those of commands that are gone (%v)", len(files), len(pages), err)
	}
}

// manPages writes one page for salvor and one for each command.
func manPages(root *cli.App) map[string]string {
	pages := map[string]string{"salvor.1": manRoot(root)}
	for _, c := range root.Commands {
		pages["salvor-"+c.Name+".1"] = manCommand(root, c)
	}
	return pages
}

func manRoot(root *cli.App) string {
	var b bytes.Buffer
	manHead(&b, "salvor", root.Usage)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B salvor\n[FLAGS] COMMAND [ARGUMENTS]\n.SH DESCRIPTION\n%s.SH COMMANDS\n", manText(root.Description))
	for _, c := range root.Commands {
		fmt.Fprintf(&b, ".TP\n.BR salvor-%s (1)\n%s\n", roff(c.Name), roff(c.Usage))
	}
	fmt.Fprint(&b, ".SH FLAGS OF EVERY COMMAND\nFlags may stand before or after arguments; \\-\\- ends them.\n")
	manFlags(&b, root.Flags)
	fmt.Fprint(&b, ".SH EXIT STATUS\n")
	for _, e := range exitWords {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", e.code, roff(e.words))
	}
	fmt.Fprintf(&b, ".SH EXAMPLE\n%s", manExample(root.UsageText))
	return b.String()
}

var exitWords = []struct {
	code  int
	words string
}{
	{0, "all well"}, {exitFailed, "failed"}, {exitUsage, "usage or configuration"},
	{exitIncomplete, "done, but some users or messages were not"}, {exitNoVault, "no vault there"},
	{exitLocked, "vault is locked"}, {exitNoIdentity, "no identity opens it"}, {exitInterrupted, "interrupted"},
}

func manCommand(root *cli.App, c *cli.Command) string {
	var b bytes.Buffer
	manHead(&b, "salvor-"+c.Name, c.Usage)
	fmt.Fprint(&b, ".SH SYNOPSIS\n")
	for _, each := range append([]*cli.Command{c}, c.Subcommands...) {
		path := []*cli.Command{c}
		if each != c {
			path = append(path, each)
		}
		fmt.Fprintf(&b, ".B %s\n.br\n", roff(synopsis(commandName(path), each)))
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", manText(capital(c.Usage)+".\n\n"+c.Description))
	if len(c.Flags) > 0 {
		fmt.Fprint(&b, ".SH FLAGS\n")
		manFlags(&b, c.Flags)
	}
	for _, s := range c.Subcommands {
		fmt.Fprintf(&b, ".SH %s\n%s", strings.ToUpper(roff(c.Name+" "+s.Name)), manText(capital(s.Usage)+".\n\n"+s.Description))
		manFlags(&b, s.Flags)
		fmt.Fprint(&b, manExample(s.UsageText))
	}
	if len(c.Subcommands) == 0 {
		fmt.Fprintf(&b, ".SH EXAMPLE\n%s", manExample(c.UsageText))
	}
	fmt.Fprint(&b, ".SH SEE ALSO\n.BR salvor (1)\n")
	return b.String()
}

func manHead(b *bytes.Buffer, name, usage string) {
	fmt.Fprintf(b, ".\\\" Written by go generate ./cmd/salvor; do not edit.\n.TH %s 1 \"\" salvor \"User Commands\"\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(roff(name)), roff(name), roff(usage))
}

func manFlags(b *bytes.Buffer, flags []cli.Flag) {
	for _, f := range flags {
		head, text := flagWords(f)
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(head), roff(text))
	}
}

// manText writes paragraphs; what is indented stays as it is.
func manText(s string) string {
	var b strings.Builder
	for _, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			b.WriteString(manExample(paragraph))
			continue
		}
		fmt.Fprintf(&b, ".PP\n%s\n", roff(strings.TrimSpace(paragraph)))
	}
	return b.String()
}

func manExample(s string) string {
	return fmt.Sprintf(".PP\n.nf\n.RS\n%s\n.RE\n.fi\n", roff(strings.TrimSpace(s)))
}

// roff escapes what roff would take for itself.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
