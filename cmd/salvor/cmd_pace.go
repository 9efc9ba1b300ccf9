package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/pace"
)

func (a *app) paceCommand() *cli.Command {
	return &cli.Command{
		Name: "pace", Category: categoryRead, ArgsUsage: "[RATE|none]",
		Usage: "show or change how fast running commands of this host may go",
		Description: `Without RATE it lists the commands that run (restore, backup, copy) and their
pace. With RATE all of them, or that of --pid, keep it from now on, whatever their
--pace or the configuration file says; none takes every limit away.

Commands are found that have the same configuration file, or the same home where
it names no catalog. A command that no terminal watches (a service) also takes
the pace of the configuration file as it is then when it gets SIGHUP.

Exit code 3: a command has not obeyed within ten seconds.`,
		UsageText: "salvor pace\nsalvor pace 50msg/s,5MB/s\nsalvor pace none --pid 4711",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "pid", Usage: "only the command with process id `N`"}},
		Action:    a.action(0, 1, a.setPace),
	}
}

func (a *app) setPace(ctx context.Context, c *cli.Context) error {
	all, err := pace.Roster(a.running())
	if err != nil {
		return err
	}
	if text := c.String("pid"); text != "" {
		pid, err := strconv.Atoi(text)
		if err != nil || pid <= 0 {
			return usagef("--pid: %q is no process id", text)
		}
		all = slices.DeleteFunc(all, func(r pace.Running) bool { return r.PID != pid })
	}
	if c.NArg() == 0 {
		return a.printRunning(all)
	}
	rate, err := pace.ParseRate(c.Args().First())
	if err != nil {
		return &codeError{err: err, code: exitUsage}
	}
	if len(all) == 0 {
		return withHint(fmt.Errorf("no such command is running"), "they are looked for in "+a.running()+": is it the same user, and the same configuration file?")
	}
	return a.orderPace(ctx, all, rate)
}

// obedience is how long a command may take to keep another pace; it looks every
// second.
const obedience = 10 * time.Second

// orderPace has the commands keep a rate, and waits until they do.
func (a *app) orderPace(ctx context.Context, all []pace.Running, rate pace.Rate) error {
	for _, r := range all {
		if err := pace.Order(a.running(), r.PID, rate); err != nil {
			return err
		}
	}
	before := map[int]string{}
	for _, r := range all {
		before[r.PID] = r.Pace
	}
	for end := a.now().Add(obedience); len(before) > 0; {
		now, err := pace.Roster(a.running())
		if err != nil {
			return err
		}
		alive := map[int]bool{}
		for _, r := range now {
			alive[r.PID] = true
			if was, waiting := before[r.PID]; waiting && r.Pace == rate.String() {
				delete(before, r.PID)
				if err := a.printObeyed(r, was); err != nil {
					return err
				}
			}
		}
		for pid := range before {
			if !alive[pid] {
				delete(before, pid) // it has ended meanwhile
			}
		}
		if len(before) > 0 && a.now().After(end) {
			return incompletef("%s not taken it up yet; `salvor pace` shows what holds", has(len(before), "command"))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// has is "1 command has", "2 commands have".
func has(n int, what string) string {
	if n == 1 {
		return counted(n, what) + " has"
	}
	return counted(n, what) + " have"
}

func (a *app) printObeyed(r pace.Running, was string) error {
	if a.json {
		return a.printJSON(r)
	}
	a.print("%s (process %d): %s, was %s", r.Command, r.PID, r.Pace, was)
	return nil
}

func (a *app) printRunning(all []pace.Running) error {
	t := a.newTable(">PID", "SINCE", "PACE", "COMMAND", "REMARK")
	for _, r := range all {
		if a.json {
			if err := a.printJSON(r); err != nil {
				return err
			}
			continue
		}
		if err := t.row(strconv.Itoa(r.PID), moment(r.Since), r.Pace, r.Command, r.Note); err != nil {
			return err
		}
	}
	if a.json {
		return nil
	}
	if len(all) == 0 {
		a.print("nothing is running whose pace could be changed")
		return nil
	}
	return t.flush()
}
