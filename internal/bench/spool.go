package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"salvor/internal/mailgen"
)

// Steps of the Cyrus spool.
const (
	spoolFirst = "salvor, first backup"
	spoolAgain = "salvor, nothing changed"
	spoolStat  = "find, every file's size and times"
	spoolNames = "find, names only"
)

// spoolFolders are every user's.
var spoolFolders = []string{"INBOX", "Sent", "Trash", "Junk", "Drafts", "Archive/2024", "Archive/2025", "Lists/Announce"}

// compareSpool measures the pass over the disk of a Cyrus on which nothing has
// changed, beside a walk that only looks at each file.
func (s *settings) compareSpool(ctx context.Context, report *strings.Builder) error {
	dir := filepath.Join(s.dir, "cyrus")
	messages, err := s.makeSpool(ctx, dir)
	if err != nil {
		return err
	}
	say("%d messages in the spool", messages)
	home := filepath.Join(s.dir, "spool")
	t := salvor(s.program)
	j := job{home: home, mail: filepath.Join(dir, "data")}
	if err := errors.Join(os.MkdirAll(home, 0o700), t.prepare(j)); err != nil {
		return err
	}
	again := []string{s.program, "backup", "cyrus:" + filepath.Join(dir, "etc/imapd.conf"), "--include-junk", "--vault", j.repository(), "--quiet"}
	lines := map[string][]string{
		spoolFirst: again, spoolAgain: again,
		spoolStat:  {"find", j.mail, "-printf", "%s %T@ %p\n"},
		spoolNames: {"find", j.mail},
	}
	env := map[string][]string{spoolFirst: t.env(j), spoolAgain: t.env(j)}
	if _, err := run(ctx, home, t.env(j), t.init(j)); err != nil {
		return err
	}
	order := []string{spoolAgain, spoolStat, spoolNames}
	figures := map[string][]figure{}
	measure := func(step string) error {
		if err := s.settle(); err != nil {
			return err
		}
		f, err := run(ctx, home, env[step], lines[step])
		if err != nil {
			return err
		}
		figures[step] = append(figures[step], f)
		say("%-36s %7.3f s  %7.3f CPU s  %5d MB  %8d reads  %9d bytes", step, f.wall, f.cpu, f.peak/1e6, f.reads, f.read)
		return nil
	}
	if err := measure(spoolFirst); err != nil {
		return err
	}
	for n := range 2*s.rounds + 1 {
		for i := range order {
			if err := measure(order[(i+n)%len(order)]); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(report, "**A Cyrus's disk**, %d users with %d folders each, %d messages. Medians of %d; the first backup once. Bytes are those of read calls, system calls counted by strace.\n\n", s.spoolUsers, len(spoolFolders), messages, 2*s.rounds+1)
	report.WriteString("| | wall, ms | CPU, ms | peak memory, MB | system calls | MB read |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, step := range append([]string{spoolFirst}, order...) {
		of := func(value func(figure) float64) float64 {
			var x []float64
			for _, f := range figures[step] {
				x = append(x, value(f))
			}
			return median(x)
		}
		calls := "-"
		if step != spoolFirst {
			calls = s.systemCalls(ctx, home, env[step], lines[step])
		}
		fmt.Fprintf(report, "| %s | %.0f | %.0f | %.0f | %s | %.1f |\n", step, 1000*of(func(f figure) float64 { return f.wall }),
			1000*of(func(f figure) float64 { return f.cpu }), of(func(f figure) float64 { return float64(f.peak) / 1e6 }), calls,
			of(func(f figure) float64 { return float64(f.read) / 1e6 }))
	}
	report.WriteString("\n")
	return nil
}

// makeSpool lets a Cyrus take the mail of many users, stops it and puts its
// files into dir, which is on the disk to be measured.
func (s *settings) makeSpool(ctx context.Context, dir string) (messages int, err error) {
	say("making the mail of %d users", s.spoolUsers)
	mail := filepath.Join(s.dir, "mail")
	letters, c, err := s.mail(ctx, mailgen.Options{Root: mail, Users: s.spoolUsers, Messages: s.spoolMessages, Seed: s.seed, Shape: mailgen.Tiny})
	if err != nil {
		return 0, err
	}
	err = withServers(func(t testing.TB) error {
		at := startCyrus(t)
		say("filling %s", at.name)
		for _, user := range c.Users {
			if err := ctx.Err(); err != nil {
				return err
			}
			at.add(user)
			for i := range letters[user] { // mail of this shape is all in INBOX
				letters[user][i].folder = spoolFolders[i%len(spoolFolders)]
			}
			if err := at.fill(user, letters[user]); err != nil {
				return err
			}
			messages += len(letters[user])
		}
		at.stop()
		return moved(at, dir)
	})
	return messages, errors.Join(err, os.RemoveAll(mail))
}

// moved copies a stopped Cyrus and makes its configuration name the new place.
func moved(from *server, dir string) error {
	if out, err := exec.Command("cp", "-a", from.dir, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from.dir, err, out)
	}
	file := filepath.Join(dir, "etc/imapd.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.ReplaceAll(string(text), from.dir, dir)), 0o600)
}

var traced = regexp.MustCompile(`(?m)^100\.00\s+\S+\s+\d+\s+(\d+)\s.*total$`)

// systemCalls counts them, "-" where there is no strace.
func (s *settings) systemCalls(ctx context.Context, dir string, env, line []string) string {
	file := filepath.Join(s.dir, "strace")
	if _, err := run(ctx, dir, env, append([]string{"strace", "-f", "-c", "-o", file}, line...)); err != nil {
		return "-"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "-"
	}
	m := traced.FindStringSubmatch(string(text))
	if m == nil {
		return "-"
	}
	n, _ := strconv.Atoi(m[1])
	return strconv.Itoa(n)
}
