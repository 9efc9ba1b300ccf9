package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"salvor/internal/config"
	"salvor/internal/pace"
)

// pace gives the limit for a store: of the flag or the configuration file.
func (a *app) pace(c *cli.Context, store string) (*pace.Limiter, error) {
	rate, given, err := givenPace(c)
	if err == nil && !given {
		rate = a.settings.config.PaceFor(store)
	}
	return pace.NewLimiter(rate), err
}

// givenPace reads --pace.
func givenPace(c *cli.Context) (r pace.Rate, given bool, err error) {
	text := c.String("pace")
	if r, err = pace.ParseRate(text); err != nil {
		return r, false, usagef("--pace: %w", err)
	}
	return r, text != "", nil
}

// running is where this host's running commands are found by `salvor pace`.
func (a *app) running() string { return filepath.Join(a.settings.state, "running") }

// steer has the limit of a command that reads or writes a store obey `salvor
// pace`, and SIGHUP by reading the configuration file again, until the command
// ends. note says what else holds it back; nil for nothing.
func (a *app) steer(ctx context.Context, c *cli.Context, l *pace.Limiter, store string, note func() string) {
	a.enlist(l, store, note)
	if a.settings.config.File == "" || isTerminal(a.stdin) || isTerminal(a.stderr) {
		return // there SIGHUP says that the terminal is gone, and ends the command
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	ctx, stop := context.WithCancel(ctx)
	a.onClose(func() error {
		stop()
		signal.Stop(signals)
		return nil
	})
	go func() {
		for {
			select {
			case <-signals:
				a.reread(c, l, store)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// enlist is steer without SIGHUP. A host on which nothing can be written, as in a
// rescue system, restores all the same.
func (a *app) enlist(l *pace.Limiter, store string, note func() string) {
	if note != nil {
		note = a.telling(note)
	}
	listing, err := pace.Enlist(a.running(), a.command+" "+store, l, note, a.tellPace)
	if err != nil {
		a.warn("salvor: warning: %v", err)
		return
	}
	a.onClose(listing.Close)
}

// telling shows a note with the progress as well, and says when there begins or
// ceases to be one.
func (a *app) telling(note func() string) func() string {
	before := ""
	return func() string {
		now := note()
		a.showing.Lock()
		d := a.display
		a.showing.Unlock()
		d.Meter().Remark(now)
		switch {
		case before == "" && now != "":
			a.say("salvor: %s", now)
		case before != "" && now == "":
			a.say("salvor: no longer slowed down")
		}
		before = now
		return now
	}
}

// reread takes the pace of the configuration file as it is now; where it says
// none, that of the command line holds again.
func (a *app) reread(c *cli.Context, l *pace.Limiter, store string) {
	cfg, err := config.Load(a.settings.config.File)
	if err != nil {
		line, _ := explain(err)
		a.warn("salvor: warning: the pace stays as it is: %s", line)
		return
	}
	rate := cfg.PaceFor(store)
	if rate == (pace.Rate{}) {
		rate, _, _ = givenPace(c) // it was right when the command began
	}
	l.Set(rate)
	a.tellPace(rate)
}

// tellPace says that another pace holds. What was measured at the old one says
// nothing of when the work will be done.
func (a *app) tellPace(r pace.Rate) {
	a.showing.Lock()
	d := a.display
	a.showing.Unlock()
	d.Meter().Anew()
	a.say("salvor: the pace is %s now", r)
}
