package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/progress"
)

// app is one invocation of salvor.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	out    *output // stdout, buffered
	width  int     // columns of stdout, 0: no terminal
	getenv func(string) string
	now    func() time.Time

	json, quiet, verbose, noProgress bool

	settings settings
	showing  sync.Mutex // guards display: a store may warn from anywhere
	display  *progress.Display
	closers  []func() error

	command      string   // "deletions confirm", for messages
	toldIdentity bool     // this run has said already that a copy must be kept
	toldTroubles []string // what it has said already about targets that are away
}

// Main runs salvor with its arguments (without the program's name) and gives
// the exit code. Everything that a process has only once (umask, signals) is
// set here.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	syscall.Umask(0o077)
	ctx, stop := interruptible(stderr)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, out: newOutput(stdout), width: terminalWidth(stdout),
		getenv: os.Getenv, now: time.Now}
	command, err := a.run(ctx, args)
	a.closeDisplay()
	err = errors.Join(err, a.close(), a.out.flush())
	if err == nil {
		return 0
	}
	return a.fail(command, err)
}

// interruptible gives a context that ends with the first SIGINT or SIGTERM; the
// second one ends the process at once, which the vault survives as well.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(stderr, "salvor: stopping; once more to stop at once")
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// run parses the command line and runs the command. The name it gives is the
// command's, for error messages.
func (a *app) run(ctx context.Context, args []string) (string, error) {
	root := a.definitions()
	inv, err := permute(root, args)
	a.json = inv.json
	command := strings.TrimPrefix(strings.TrimPrefix(commandName(inv.path), "salvor"), " ")
	a.command = command
	if err != nil {
		return command, err
	}
	if inv.help || len(inv.path) == 0 {
		if !inv.help {
			printHelp(a.stderr, root, inv.path)
			return command, &codeError{err: errors.New("no command given"), code: exitUsage, hint: "`salvor --help` lists the commands"}
		}
		printHelp(a.out, root, inv.path)
		return command, nil
	}
	root.Reader, root.Writer, root.ErrWriter = a.stdin, a.out, a.stderr
	return command, root.RunContext(ctx, inv.args)
}

// definitions is the whole command line.
func (a *app) definitions() *cli.App {
	usage := func(_ *cli.Context, err error, _ bool) error { return &codeError{err: err, code: exitUsage} }
	root := &cli.App{
		Name:  "salvor",
		Usage: "back up the mail of a mail server and bring it back",
		Description: `Mail goes encrypted and deduplicated into a vault (a directory or an S3 bucket);
what was deleted is kept for a week. Start with

  salvor backup --create maildir:/home/%u/Maildir`,
		UsageText:                 "salvor backup --create maildir:/home/%u/Maildir\nsalvor ls alice INBOX\nsalvor restore alice --to maildir:/tmp/alice",
		Flags:                     globalFlags(),
		Commands:                  a.commands(),
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		OnUsageError:              usage,
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	for _, c := range allCommands(root.Commands) {
		c.HideHelp, c.OnUsageError = true, usage
		if c.Action == nil {
			c.Action = needsSubcommand(c)
		}
	}
	return root
}

// commands lists the commands in the order in which people need them.
func (a *app) commands() []*cli.Command {
	return []*cli.Command{
		a.initCommand(), a.backupCommand(), a.identityCommand(),
		a.statusCommand(), a.usersCommand(), a.lsCommand(), a.findCommand(), a.showCommand(), a.restoreCommand(), a.paceCommand(),
		a.deletionsCommand(), a.checkCommand(), a.copyCommand(), a.pruneCommand(), a.forgetCommand(), a.ackCommand(),
		a.incidentCommand(), a.salvageCommand(), a.redeliverCommand(),
		a.catalogCommand(), a.keyCommand(), a.configCommand(), a.versionCommand(),
	}
}

func needsSubcommand(c *cli.Command) cli.ActionFunc {
	var names []string
	for _, s := range c.Subcommands {
		names = append(names, s.Name)
	}
	return func(*cli.Context) error {
		err := usagef("%s needs one of: %v", c.Name, names)
		err.hint = fmt.Sprintf("`salvor %s --help`", c.Name)
		return err
	}
}

// action is what most commands do first: count their arguments, read the
// settings, and run.
func (a *app) action(least, most int, fn func(ctx context.Context, c *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		switch n := c.NArg(); {
		case n < least:
			return a.argumentError(c, "too few arguments")
		case n > most:
			return a.argumentError(c, "too many arguments")
		}
		if err := a.readSettings(c); err != nil {
			return err
		}
		return fn(c.Context, c)
	}
}

func (a *app) argumentError(c *cli.Context, what string) error {
	name := "salvor " + a.command
	err := usagef("%s, want: %s", what, synopsis(name, c.Command))
	err.hint = fmt.Sprintf("`%s --help`", name)
	return err
}

// onClose has fn called at the end, last come first.
func (a *app) onClose(fn func() error) { a.closers = append(a.closers, fn) }

func (a *app) close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// meter opens the display of progress.
func (a *app) meter() progress.Meter {
	o := progress.Options{Out: a.stderr, Getenv: a.getenv}
	switch {
	case a.quiet || a.noProgress || !(isTerminal(a.stderr) || a.verbose):
		o.Face = progress.None
	case a.json && !isTerminal(a.stderr):
		o.Face = progress.JSON
	}
	d := progress.Open(o)
	a.showing.Lock()
	defer a.showing.Unlock()
	a.display = d
	return d.Meter()
}

func (a *app) closeDisplay() {
	a.showing.Lock()
	d := a.display
	a.display = nil
	a.showing.Unlock()
	if d != nil {
		d.Close()
	}
}

// say writes words for people to standard error, above a bar that is drawn.
func (a *app) say(format string, args ...any) {
	if a.quiet {
		return
	}
	a.warn(format, args...)
}

// warn is say for what must be read also with --quiet.
func (a *app) warn(format string, args ...any) {
	text := sentence(format, args) + "\n"
	a.showing.Lock()
	defer a.showing.Unlock()
	var w io.Writer = a.stderr
	if a.display != nil {
		w = a.display
	}
	io.WriteString(w, text)
}

// print writes a line for people to standard output.
func (a *app) print(format string, args ...any) {
	fmt.Fprintln(a.out, sentence(format, args))
}
