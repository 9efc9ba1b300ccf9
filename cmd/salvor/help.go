package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// printHelp shows the help of a command, or of salvor itself.
func printHelp(w io.Writer, root *cli.App, path []*cli.Command) {
	if len(path) == 0 {
		rootHelp(w, root)
		return
	}
	c := path[len(path)-1]
	name := commandName(path)
	fmt.Fprintf(w, "%s\n", synopsis(name, c))
	fmt.Fprintf(w, "\n%s.\n", capital(c.Usage))
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Description))
	}
	if len(c.Subcommands) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		for _, s := range c.Subcommands {
			fmt.Fprintf(w, "  %-28s %s\n", strings.TrimSpace(s.Name+" "+s.ArgsUsage), s.Usage)
		}
	}
	if len(c.Flags) > 0 {
		fmt.Fprint(w, "\nFlags:\n")
		flagHelp(w, c.Flags)
	}
	fmt.Fprint(w, "\nFlags of every command (`salvor --help` explains them):\n ")
	for _, f := range root.Flags {
		fmt.Fprintf(w, " --%s", f.Names()[0])
	}
	fmt.Fprintf(w, "\n\nExample:\n%s\n", indent(c.UsageText))
}

func rootHelp(w io.Writer, root *cli.App) {
	fmt.Fprintf(w, "salvor [FLAGS] COMMAND [ARGUMENTS]\n\n%s.\n\n%s\n", capital(root.Usage), strings.TrimSpace(root.Description))
	category := ""
	for _, c := range root.Commands {
		if c.Category != category {
			category = c.Category
			fmt.Fprintf(w, "\n%s:\n", category)
		}
		fmt.Fprintf(w, "  %-12s %s\n", c.Name, c.Usage)
	}
	fmt.Fprint(w, "\nFlags of every command:\n")
	flagHelp(w, root.Flags)
	fmt.Fprintf(w, "\nExample:\n%s\n", indent(root.UsageText))
}

func flagHelp(w io.Writer, flags []cli.Flag) {
	for _, f := range flags {
		head, text := flagWords(f)
		if len(head) > 26 {
			fmt.Fprintf(w, "  %s\n  %-26s %s\n", head, "", text)
			continue
		}
		fmt.Fprintf(w, "  %-26s %s\n", head, text)
	}
}

// flagWords gives "--user NAME" and what it is for.
func flagWords(f cli.Flag) (head, text string) {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "--" + f.Names()[0], ""
	}
	head, text = "--"+f.Names()[0], d.GetUsage()
	// The cli library's convention: the value's name stands in back quotes.
	if before, rest, found := strings.Cut(text, "`"); found && d.TakesValue() {
		name, after, _ := strings.Cut(rest, "`")
		head += " " + name
		text = before + name + after
	}
	if repeatable(f) {
		text += " (may be given again)"
	}
	if env := d.GetEnvVars(); len(env) > 0 {
		text += " [" + strings.Join(env, ", ") + "]"
	}
	return head, text
}

func commandName(path []*cli.Command) string {
	words := []string{"salvor"}
	for _, c := range path {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// synopsis is "salvor restore [FLAGS] USER --to STORE".
func synopsis(name string, c *cli.Command) string {
	s := name
	if len(c.Subcommands) > 0 {
		var names []string
		for _, sub := range c.Subcommands {
			names = append(names, sub.Name)
		}
		if c.ArgsUsage == "" {
			return s + " " + strings.Join(names, "|")
		}
	}
	if c.ArgsUsage != "" {
		s += " " + c.ArgsUsage
	}
	if len(c.Flags) > 0 {
		s += " [FLAGS]"
	}
	return s
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}
