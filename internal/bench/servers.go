package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailgen"
	"salvor/internal/testenv/daemon"
)

// empty is the restore of a user into an account without mail.
const empty = "restore into an empty account"

// imapSteps are the steps of a round, in order.
var imapSteps = []string{first, nothing, day, empty}

// imapResults are the figures of one server.
type imapResults struct {
	server   string
	clients  []*client
	figures  map[string]map[string][]figure // by step and client
	restored float64                        // messages, median
	messages []float64                      // of the account, when rounds began
}

func (r *imapResults) add(step string, c *client, f figure) {
	if r.figures[step] == nil {
		r.figures[step] = map[string][]figure{}
	}
	r.figures[step][c.name] = append(r.figures[step][c.name], f)
	say("%-8s %-30s %-18s %7.2f s  %7.2f CPU s  %7.2f CPU s of the server %5d MB", r.server, step, c.name, f.wall, f.cpu, f.server, f.peak/1e6)
}

// compareServers measures backups from running servers and from a Cyrus's disk.
func (s *settings) compareServers(ctx context.Context, report *strings.Builder) error {
	if err := reachable(s.dir); err != nil {
		return err
	}
	fmt.Fprintf(report, "Machine: %s; the servers' files are in memory.\n\n", machine(s.dir))
	if err := s.compareSpool(ctx, report); err != nil {
		return fmt.Errorf("a Cyrus's disk: %w", err)
	}
	return s.compareIMAP(ctx, report)
}

// compareIMAP takes one user's account through the rounds on each server.
func (s *settings) compareIMAP(ctx context.Context, report *strings.Builder) error {
	say("making the account's mail")
	fresh := int(dayNew*float64(s.account)) + 1
	letters, c, err := s.mail(ctx, mailgen.Options{Root: filepath.Join(s.dir, "account"), Users: 1, Messages: s.account + s.rounds*fresh, Seed: s.seed})
	if err != nil {
		return err
	}
	user := c.Users[0]
	all := letters[user]
	fmt.Fprintf(report, "Account: one user, %d messages, Junk included, and %d more each day (median %d bytes, largest %d; %d with attachments). Generated, seed %d.\n\n",
		len(all)-s.rounds*fresh, fresh, c.Stats.Median, c.Stats.Largest, c.Stats.Attached, s.seed)
	fmt.Fprintf(report, "Rounds: %d interleaved, medians. Seconds of wall clock, in parentheses the client's seconds of processor time.\n", s.rounds)
	for _, start := range []func(testing.TB) *server{startDovecot, startCyrus} {
		err := withServers(func(t testing.TB) error {
			r, err := s.measureServer(ctx, t, start, s.clients(daemon.MailOwner(t)), user, all, fresh)
			if err == nil {
				r.write(report)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measureServer measures clients on one server. Of all letters so many are fresh
// each day.
func (s *settings) measureServer(ctx context.Context, t testing.TB, start func(testing.TB) *server, clients []*client, user string, all []letter, fresh int) (*imapResults, error) {
	at := start(t)
	r := &imapResults{server: at.name, figures: map[string]map[string][]figure{}}
	for _, c := range clients {
		if c.only == "" || c.only == at.name {
			r.clients = append(r.clients, c)
		}
	}
	say("filling %s", at.name)
	at.add(user)
	begun := len(all) - s.rounds*fresh
	if err := at.fill(user, all[:begun]); err != nil {
		return nil, err
	}
	for n := range s.rounds {
		say("%s: round %d of %d", at.name, n+1, s.rounds)
		rng := rand.New(rand.NewPCG(s.seed, uint64(n)))
		today := all[begun+n*fresh : begun+(n+1)*fresh]
		if err := s.imapRound(ctx, t, r, at, start, user, n, func() error { return at.day(user, rng, today) }); err != nil {
			return nil, fmt.Errorf("%s, round %d: %w", at.name, n+1, err)
		}
	}
	return r, nil
}

// imapRound takes every client through every step.
func (s *settings) imapRound(ctx context.Context, t testing.TB, r *imapResults, at *server, start func(testing.TB) *server, user string, n int, pass func() error) error {
	n %= max(1, len(r.clients))
	order := append(r.clients[n:len(r.clients):len(r.clients)], r.clients[:n]...)
	homes := map[*client]string{}
	for _, c := range order {
		homes[c] = filepath.Join(s.dir, "clients", strings.NewReplacer(" ", "-", ",", "").Replace(c.name))
		if err := errors.Join(os.RemoveAll(homes[c]), os.MkdirAll(homes[c], 0o711), c.prepare(homes[c], at, user)); err != nil {
			return err
		}
	}
	r.messages = append(r.messages, float64(at.count(user)))
	for _, step := range imapSteps {
		if step == day {
			if err := pass(); err != nil {
				return err
			}
		}
		wanted := at.count(user)
		for _, c := range order {
			var err error
			switch {
			case step != empty:
				err = s.imapBackup(ctx, r, step, c, homes[c], at, user, wanted)
			case c.restorer != nil:
				err = s.imapRestore(ctx, t, r, c, homes[c], start(t), user)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// imapBackup measures a backup and makes sure that it is whole.
func (s *settings) imapBackup(ctx context.Context, r *imapResults, step string, c *client, home string, at *server, user string, wanted int) error {
	if err := s.settle(); err != nil {
		return err
	}
	before := at.cpu()
	f, err := run(ctx, home, c.env(home), c.backup(home, at, user))
	if err != nil {
		return err
	}
	f.server = at.cpu() - before
	r.add(step, c, f)
	held, err := c.held(home, c.env(home))
	if err != nil {
		return err
	}
	// mbsync keeps what was expunged.
	if held < wanted || step != day && held > wanted {
		return fmt.Errorf("%s: %s holds %d messages, the account %d", step, c.name, held, wanted)
	}
	return nil
}

// imapRestore measures a restore into a server that has seen no mail, and stops
// the server.
func (s *settings) imapRestore(ctx context.Context, t testing.TB, r *imapResults, c *client, home string, to *server, user string) error {
	defer to.stop()
	to.add(user)
	line, err := c.restorer(home, to, user)
	if err != nil {
		return err
	}
	held, err := c.held(home, c.env(home))
	if err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	before := to.cpu()
	f, err := run(ctx, home, c.env(home), line)
	if err != nil {
		return err
	}
	f.server, f.messages = to.cpu()-before, held
	r.add(empty, c, f)
	if got := to.count(user); got != held {
		return fmt.Errorf("%s: %s held %d messages, the account has %d", empty, c.name, held, got)
	}
	to.stop()
	return os.RemoveAll(to.dir)
}

// reachable tells whether everybody may enter a directory: doveadm writes into
// it as the user whom mail servers run as.
func reachable(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if os.Getuid() == 0 && info.Mode()&0o001 == 0 {
			return fmt.Errorf("doveadm, which does not work as root, cannot enter %s (hint: chmod o+x, or another -dir)", at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}
