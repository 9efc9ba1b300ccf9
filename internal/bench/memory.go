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

// runMemory shows that salvor's memory does not grow with the number of
// messages: a first backup, one with nothing changed, a restore and a check of
// 40,000 and of 400,000 tiny messages (2,000 and 20,000 with -small).
func (s *settings) runMemory(ctx context.Context, b *strings.Builder) error {
	counts := []int{40000, 400000}
	if s.small {
		counts = []int{2000, 20000}
	}
	steps := []string{first, nothing, all, check}
	peaks := map[string][]figure{}
	for _, n := range counts {
		if err := s.memoryOf(ctx, n, steps, peaks); err != nil {
			return fmt.Errorf("%d messages: %w", n, err)
		}
	}
	fmt.Fprintf(b, "Machine: %s.\n\nPeak memory (resident) and seconds of salvor with tiny messages of %d users.\n\n", machine(s.dir), s.users)
	fmt.Fprintf(b, "| step | %d messages | %d messages | ratio of memory |\n| --- | --- | --- | --- |\n", counts[0], counts[1])
	for _, step := range steps {
		few, many := peaks[step][0], peaks[step][1]
		fmt.Fprintf(b, "| %s | %.0f MB, %.1f s | %.0f MB, %.1f s | %s |\n", step,
			float64(few.peak)/1e6, few.wall, float64(many.peak)/1e6, many.wall, ratio(float64(many.peak), float64(few.peak)))
	}
	return nil
}

func (s *settings) memoryOf(ctx context.Context, messages int, steps []string, peaks map[string][]figure) error {
	dir := filepath.Join(s.dir, fmt.Sprint(messages))
	mail := filepath.Join(dir, "mail")
	say("making %d messages", messages)
	if _, err := mailgen.Create(ctx, mailgen.Options{Root: mail, Users: s.users, Messages: messages, Seed: s.seed, Shape: mailgen.Tiny}); err != nil {
		return err
	}
	t := salvor(s.program)
	j := job{home: filepath.Join(dir, "salvor"), mail: mail, out: filepath.Join(dir, "restored")}
	if err := errors.Join(t.prepare(j), os.MkdirAll(j.out, 0o700)); err != nil {
		return err
	}
	if _, err := run(ctx, dir, t.env(j), t.init(j)); err != nil {
		return err
	}
	commands := map[string]func(job) []string{first: t.backup, nothing: t.backup, all: t.all, check: t.check}
	for _, step := range steps {
		if err := s.settle(); err != nil {
			return err
		}
		f, err := run(ctx, dir, t.env(j), commands[step](j))
		if err != nil {
			return err
		}
		peaks[step] = append(peaks[step], f)
		say("%-30s %7d messages %7.2f s  %5d MB", step, messages, f.wall, f.peak/1e6)
	}
	return os.RemoveAll(dir)
}
