package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// invocation is a command line that has been put in order.
type invocation struct {
	path []*cli.Command // the command and its subcommand
	args []string       // as the cli library wants it: flags first
	help bool
	json bool // --json was asked for, wherever it stood
}

// permute sorts a command line: global flags, the command's words, its flags,
// "--", its arguments. The cli library stops looking for flags at the first
// argument, which would turn `prune vault --dry-run` into a real prune; here a
// flag counts wherever it stands, and what looks like one and is none is an
// error. "--" ends the flags.
func permute(root *cli.App, argv []string) (*invocation, error) {
	p := permuter{root: root, inv: &invocation{}, seen: map[string]bool{}}
	for i := range argv {
		if name, value, _ := strings.Cut(strings.TrimLeft(argv[i], "-"), "="); argv[i] == "--" {
			break
		} else if name == "json" && strings.HasPrefix(argv[i], "-") && value != "false" {
			p.inv.json = true
		}
	}
	for len(argv) > 0 {
		word := argv[0]
		argv = argv[1:]
		var err error
		switch {
		case word == "--":
			p.rest, argv = append(p.rest, argv...), nil
		case strings.HasPrefix(word, "-"):
			argv, err = p.flag(word, argv)
		default:
			err = p.word(word)
		}
		if err != nil {
			return p.inv, err
		}
	}
	return p.inv, p.finish()
}

type permuter struct {
	root  *cli.App
	inv   *invocation
	flags []foundFlag
	rest  []string
	seen  map[string]bool
}

type foundFlag struct {
	name, word string
}

// flag takes one flag, with its value, from the front of the command line.
func (p *permuter) flag(word string, argv []string) ([]string, error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if name == "help" || name == "h" {
		p.inv.help = true
		return argv, nil
	}
	f := p.lookup(name)
	if f == nil {
		return nil, p.unknownFlag(word, name)
	}
	if p.seen[name] && !repeatable(f) {
		return nil, usagef("--%s is given twice", name)
	}
	p.seen[name] = true
	if takesValue(f) && !hasValue {
		if len(argv) == 0 || strings.HasPrefix(argv[0], "--") {
			return nil, usagef("--%s needs a value", name)
		}
		value, argv = argv[0], argv[1:]
	}
	word = "--" + name
	if takesValue(f) || hasValue {
		word += "=" + value
	}
	p.flags = append(p.flags, foundFlag{name, word})
	return argv, nil
}

// word takes a command's name or an argument.
func (p *permuter) word(word string) error {
	commands := p.root.Commands
	if n := len(p.inv.path); n > 0 {
		commands = p.inv.path[n-1].Subcommands
	} else if word == "help" {
		p.inv.help = true
		return nil
	}
	if len(commands) == 0 || len(p.rest) > 0 {
		p.rest = append(p.rest, word)
		return nil
	}
	for _, c := range commands {
		if c.HasName(word) {
			p.inv.path = append(p.inv.path, c)
			return nil
		}
	}
	if n := len(p.inv.path); n > 0 && p.inv.path[n-1].ArgsUsage != "" {
		p.rest = append(p.rest, word) // it takes arguments as well
		return nil
	}
	return p.unknownCommand(word, commands)
}

// finish checks the flags against the command, which may have come after them.
func (p *permuter) finish() error {
	if p.inv.help {
		return nil
	}
	var global, own, words []string
	for _, c := range p.inv.path {
		words = append(words, c.Name)
	}
	for _, f := range p.flags {
		switch {
		case find(p.root.Flags, f.name) != nil:
			global = append(global, f.word)
		case find(p.own(), f.name) != nil:
			own = append(own, f.word)
		case len(p.inv.path) == 0:
			return usagef("--%s needs a command before or after it", f.name)
		default:
			return p.unknownFlag("--"+f.name, f.name)
		}
	}
	p.inv.args = append(append(append(append([]string{p.root.Name}, global...), words...), own...), "--")
	p.inv.args = append(p.inv.args, p.rest...)
	return nil
}

// own gives the flags of the command that was named.
func (p *permuter) own() []cli.Flag {
	if n := len(p.inv.path); n > 0 {
		return p.inv.path[n-1].Flags
	}
	return nil
}

// lookup finds a flag of the command, a global one, or any command's: a flag
// of one name takes a value everywhere or nowhere (a test sees to it), so the
// command may still follow.
func (p *permuter) lookup(name string) cli.Flag {
	if f := find(append(p.own(), p.root.Flags...), name); f != nil {
		return f
	}
	if len(p.inv.path) > 0 && len(p.inv.path[len(p.inv.path)-1].Subcommands) == 0 {
		return nil
	}
	for _, c := range allCommands(p.root.Commands) {
		if f := find(c.Flags, name); f != nil {
			return f
		}
	}
	return nil
}

func (p *permuter) unknownFlag(word, name string) error {
	known := flagNames(append(p.own(), p.root.Flags...))
	command := "salvor"
	for _, c := range p.inv.path {
		command += " " + c.Name
	}
	err := usagef("unknown flag %s", clean(word))
	err.hint = fmt.Sprintf("`%s --help` lists the flags", command)
	if near := nearest(name, known); near != "" {
		err.hint = fmt.Sprintf("did you mean --%s? %s", near, err.hint)
	}
	return err
}

func (p *permuter) unknownCommand(word string, among []*cli.Command) error {
	var names, path []string
	for _, c := range among {
		names = append(names, c.Name)
	}
	for _, c := range p.inv.path {
		path = append(path, c.Name+" ")
	}
	err := usagef("unknown command %q", clean(strings.Join(path, "")+word))
	err.hint = "commands: " + strings.Join(names, ", ")
	if near := nearest(word, names); near != "" {
		err.hint = fmt.Sprintf("did you mean `salvor %s%s`?", strings.Join(path, ""), near)
	}
	return err
}

// allCommands gives the commands and their subcommands.
func allCommands(top []*cli.Command) []*cli.Command {
	var all []*cli.Command
	for _, c := range top {
		all = append(append(all, c), allCommands(c.Subcommands)...)
	}
	return all
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()[0])
	}
	return names
}

func takesValue(f cli.Flag) bool {
	_, is := f.(*cli.BoolFlag)
	return !is
}

func repeatable(f cli.Flag) bool {
	_, is := f.(*cli.StringSliceFlag)
	return is
}
