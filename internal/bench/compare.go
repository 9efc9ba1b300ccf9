package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"salvor/internal/mailgen"
)

// The steps of a round, in order.
const (
	first   = "first backup"
	nothing = "nothing changed"
	day     = "after one day of changes"
	one     = "restore of one user"
	all     = "restore of all users"
	check   = "full check of the data"
	alone   = "first backup, one user alone"
)

// results are all figures: by step and tool, one for each round.
type results struct {
	tools   []*tool
	figures map[string]map[string][]figure
	sizes   map[string]map[string][]float64 // bytes stored, files
	mail    map[string][]float64            // bytes and messages outside of Junk
}

func (r *results) add(step string, t *tool, f figure) {
	if r.figures[step] == nil {
		r.figures[step] = map[string][]figure{}
	}
	r.figures[step][t.name] = append(r.figures[step][t.name], f)
	say("%-30s %-12s %7.2f s  %7.2f CPU s  %5d MB", step, t.name, f.wall, f.cpu, f.peak/1e6)
}

func (r *results) addSize(what string, t *tool, n float64) {
	if r.sizes[what] == nil {
		r.sizes[what] = map[string][]float64{}
	}
	r.sizes[what][t.name] = append(r.sizes[what][t.name], n)
}

// compare runs all rounds.
func (s *settings) compare(ctx context.Context, report *strings.Builder) error {
	tools, err := s.chosen()
	if err != nil {
		return err
	}
	return s.compareTools(ctx, tools, report)
}

func (s *settings) compareTools(ctx context.Context, tools []*tool, report *strings.Builder) error {
	mail := filepath.Join(s.dir, "mail")
	c, err := s.corpus(ctx, mail)
	if err != nil {
		return err
	}
	r := &results{tools: tools, figures: map[string]map[string][]figure{}, sizes: map[string]map[string][]float64{}, mail: map[string][]float64{}}
	for n := range s.rounds {
		say("round %d of %d", n+1, s.rounds)
		if err := s.round(ctx, r, c, mail, n); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
	}
	s.write(report, r, c)
	return nil
}

// round takes every tool through every step.
func (s *settings) round(ctx context.Context, r *results, c *mailgen.Corpus, mail string, n int) error {
	middle, err := middleUser(mail, c.Users)
	if err != nil {
		return err
	}
	order := append(r.tools[n%len(r.tools):len(r.tools):len(r.tools)], r.tools[:n%len(r.tools)]...)
	jobs := map[*tool]job{}
	for _, t := range order {
		home := filepath.Join(s.dir, "tools", strings.NewReplacer(" ", "-", ",", "-").Replace(t.name))
		jobs[t] = job{home: home, mail: mail, out: filepath.Join(s.dir, "restored"), user: middle}
		if err := errors.Join(os.RemoveAll(home), t.prepare(jobs[t])); err != nil {
			return err
		}
		if _, err := run(ctx, home, t.env(jobs[t]), t.init(jobs[t])); err != nil {
			return err
		}
	}
	if err := s.countMail(r, mail, "first"); err != nil {
		return err
	}
	for _, step := range []string{first, nothing, day, one, all, check} {
		if step == day {
			if _, err := c.Day(ctx, mailgen.Changes{}); err != nil {
				return err
			}
			if err := s.countMail(r, mail, "day"); err != nil {
				return err
			}
		}
		for _, t := range order {
			if err := s.step(ctx, r, step, t, jobs[t]); err != nil {
				return err
			}
		}
	}
	return s.aloneStep(ctx, r, order, mail, middle)
}

// step measures one tool in one step.
func (s *settings) step(ctx context.Context, r *results, step string, t *tool, j job) error {
	j.name, j.last = strings.ReplaceAll(step, " ", "-"), strings.ReplaceAll(day, " ", "-")
	command := map[string]func(job) []string{first: t.backup, nothing: t.backup, day: t.backup, one: t.one, all: t.all, check: t.check}[step]
	if err := errors.Join(os.RemoveAll(j.out), os.MkdirAll(j.out, 0o700), s.settle()); err != nil {
		return err
	}
	f, err := run(ctx, j.out, t.env(j), command(j))
	if err != nil {
		return err
	}
	r.add(step, t, f)
	switch step {
	case first, day:
		files, bytes, err := size(j.repository(), nil)
		r.addSize("bytes "+step, t, float64(bytes))
		r.addSize("files "+step, t, float64(files))
		return err
	case one, all:
		return s.checkRestored(t, j, step)
	}
	return nil
}

// checkRestored makes sure that a fast restore was a whole one.
func (s *settings) checkRestored(t *tool, j job, step string) error {
	from, to := j.mail, t.restored(j)
	if step == one {
		from, to = filepath.Join(from, j.user), filepath.Join(to, j.user)
	}
	wantFiles, wantBytes, err := size(from, isMail)
	if err != nil {
		return err
	}
	files, bytes, err := size(to, isMail)
	if err != nil {
		return err
	}
	if files != wantFiles || bytes != wantBytes {
		return fmt.Errorf("%s restored %d messages with %d bytes, want %d with %d", t.name, files, bytes, wantFiles, wantBytes)
	}
	return os.RemoveAll(j.out)
}

// aloneStep backs up one user in a repository of his own, where little is
// shared.
func (s *settings) aloneStep(ctx context.Context, r *results, tools []*tool, mail, user string) error {
	root := filepath.Join(s.dir, "alone", "mail")
	if err := errors.Join(os.RemoveAll(filepath.Dir(root)), os.MkdirAll(root, 0o700)); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(root, user), os.DirFS(filepath.Join(mail, user))); err != nil {
		return err
	}
	_, bytes, err := size(root, isMail)
	if err != nil {
		return err
	}
	r.mail["alone bytes"] = append(r.mail["alone bytes"], float64(bytes))
	for _, t := range tools {
		j := job{home: filepath.Join(s.dir, "alone", strings.NewReplacer(" ", "-", ",", "-").Replace(t.name)), mail: root, user: user, name: "alone"}
		if err := errors.Join(t.prepare(j), s.settle()); err != nil {
			return err
		}
		if _, err := run(ctx, j.home, t.env(j), t.init(j)); err != nil {
			return err
		}
		f, err := run(ctx, j.home, t.env(j), t.backup(j))
		if err != nil {
			return err
		}
		r.add(alone, t, f)
		_, stored, err := size(j.repository(), nil)
		if err != nil {
			return err
		}
		r.addSize("bytes "+alone, t, float64(stored))
	}
	return nil
}

func (s *settings) countMail(r *results, mail, when string) error {
	files, bytes, err := size(mail, isMail)
	r.mail[when+" bytes"] = append(r.mail[when+" bytes"], float64(bytes))
	r.mail[when+" messages"] = append(r.mail[when+" messages"], float64(files))
	return err
}

// middleUser finds the user with the median number of messages.
func middleUser(mail string, users []string) (string, error) {
	counts := map[string]int{}
	var order []float64
	for _, u := range users {
		n, _, err := size(filepath.Join(mail, u), isMail)
		if err != nil {
			return "", err
		}
		counts[u] = n
		order = append(order, float64(n))
	}
	middle := median(order)
	best := users[0]
	for _, u := range users {
		if distance(float64(counts[u]), middle) < distance(float64(counts[best]), middle) {
			best = u
		}
	}
	return best, nil
}

func distance(a, b float64) float64 { return max(a-b, b-a) }
