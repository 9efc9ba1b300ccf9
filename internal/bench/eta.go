package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// etaSeconds is how long a restore is made to take by its pace.
const etaSeconds = 100

// A sight is what a restore said of its progress at one moment.
type sight struct {
	Seconds float64     `json:"seconds"`
	Left    *float64    `json:"seconds_left"`
	Range   *[2]float64 `json:"seconds_left_range"`
}

// runETA restores all users at paces that bind by messages, by bytes and by
// both, and compares what the program said of the time to come with how long it
// took.
func (s *settings) runETA(ctx context.Context, b *strings.Builder) error {
	mail := filepath.Join(s.dir, "mail")
	if _, err := s.corpus(ctx, mail); err != nil {
		return err
	}
	messages, bytes, err := size(mail, isMail)
	if err != nil {
		return err
	}
	t := salvor(s.program)
	j := job{home: filepath.Join(s.dir, "salvor"), mail: mail, out: filepath.Join(s.dir, "restored")}
	if err := t.prepare(j); err != nil {
		return err
	}
	for _, args := range [][]string{t.init(j), t.backup(j)} {
		if _, err := run(ctx, s.dir, t.env(j), args); err != nil {
			return err
		}
	}
	fmt.Fprintf(b, "Machine: %s.\n\nRestore of %d users, %d messages, %.0f MB into Maildirs at a steady pace: what it said of the time to come after a share of the time.\n\n",
		machine(s.dir), s.users, messages, float64(bytes)/1e6)
	fmt.Fprint(b, "| pace | took, s | after | said, s | truth, s | middle wrong by |\n| --- | --- | --- | --- | --- | --- |\n")
	perSecond := fmt.Sprintf("%.1fmsg/s", float64(messages)/etaSeconds)
	throughput := fmt.Sprintf("%.0fB/s", float64(bytes)/etaSeconds)
	for _, pace := range []string{perSecond, throughput, perSecond + "," + throughput} {
		said, err := s.watch(ctx, t, j, pace)
		if err != nil {
			return fmt.Errorf("restore at %s: %w", pace, err)
		}
		took := said[len(said)-1].Seconds
		for _, share := range []float64{0.1, 0.25, 0.5} {
			fmt.Fprintf(b, "| %s | %.0f | %s |\n", pace, took, etaWords(said, took*share, took))
		}
	}
	return nil
}

// etaWords compares the first sight after a time with the truth.
func etaWords(said []sight, after, took float64) string {
	for _, x := range said {
		if x.Seconds < after*0.95 {
			continue
		}
		truth := took - x.Seconds
		if x.Left == nil || x.Range == nil {
			return fmt.Sprintf("%.0f%% | nothing | %.0f | -", 100*x.Seconds/took, truth)
		}
		return fmt.Sprintf("%.0f%% | %.0f-%.0f | %.0f | %.1f%%", 100*x.Seconds/took, x.Range[0], x.Range[1], truth,
			100*math.Abs(*x.Left-truth)/truth)
	}
	return "| | |"
}

// watch restores all users at a pace and gives what was said meanwhile, the end
// last.
func (s *settings) watch(ctx context.Context, t *tool, j job, pace string) (said []sight, err error) {
	say("restore at %s", pace)
	if err := errors.Join(os.RemoveAll(j.out), os.MkdirAll(j.out, 0o700), s.settle()); err != nil {
		return nil, err
	}
	args := []string{"restore", "--all", "--to", "maildir:" + j.out + "/%u", "--vault", j.repository(), "--pace", pace, "--json", "--verbose"}
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(clean(os.Environ()), t.env(j)...)
	words, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var other strings.Builder
	for lines := bufio.NewScanner(words); lines.Scan(); {
		var x sight
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			fmt.Fprintln(&other, lines.Text())
			continue
		}
		said = append(said, x)
	}
	if err := cmd.Wait(); err != nil || len(said) == 0 {
		return nil, fmt.Errorf("%w: %s", errors.Join(err, errors.New("no progress was shown")), other.String())
	}
	return said, nil
}
