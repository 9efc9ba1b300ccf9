package main

import (
	"fmt"
	"strings"

	"salvor/internal/mailgen"
)

// Rows that are no steps and have an aim.
const (
	cpuFirst   = "CPU of the first backup, s"
	cpuCheck   = "CPU of the full check, s"
	shareFirst = "bytes stored / mail, first backup"
	shareAlone = "bytes stored / mail, one user alone"
	peakAll    = "peak memory of all steps, MB"
)

// aims are what salvor was built to reach on mail of this kind.
var aims = map[string]string{
	first:      "0.5 of restic",
	nothing:    "0.25 of the fastest",
	day:        "0.5 of the fastest",
	one:        "0.7 of the fastest",
	all:        "0.7 of the fastest",
	cpuFirst:   "0.5 of restic",
	cpuCheck:   "0.35 of restic",
	shareFirst: "0.26, 0.48 of restic",
	shareAlone: "0.87 of restic",
	peakAll:    "300",
}

// write prints the tables.
func (s *settings) write(b *strings.Builder, r *results, c *mailgen.Corpus) {
	cache := "warm cache"
	if s.cold {
		cache = "cold cache"
	}
	fmt.Fprintf(b, "Machine: %s.\n\n", machine(s.dir))
	fmt.Fprintf(b, "Mail: %d users, %.0f messages outside of Junk, %.2f GB (median %d bytes, largest %d; %d with attachments). %s.\n\n",
		len(c.Users), median(r.mail["first messages"]), median(r.mail["first bytes"])/1e9, c.Stats.Median, c.Stats.Largest, c.Stats.Attached, s.origin())
	fmt.Fprintf(b, "Rounds: %d interleaved, medians; %s. Seconds of wall clock, in parentheses seconds of processor time.\n\n", s.rounds, cache)
	for _, t := range r.tools {
		fmt.Fprintf(b, "- %s: %s\n", t.name, t.versionLine())
	}
	b.WriteString("\n| measure |")
	for _, t := range r.tools {
		fmt.Fprintf(b, " %s |", t.name)
	}
	b.WriteString(" salvor / restic | salvor / fastest or smallest peer | aim |\n|" + strings.Repeat(" --- |", len(r.tools)+4) + "\n")
	for _, step := range []string{first, nothing, day, one, all, check} {
		r.timeRow(b, step)
	}
	r.row(b, cpuFirst, "%.1f", func(t *tool) float64 { return r.cpu(first, t) })
	r.row(b, cpuCheck, "%.1f", func(t *tool) float64 { return r.cpu(check, t) })
	r.share(b, shareFirst, "bytes "+first, "first bytes")
	r.share(b, "bytes stored / mail, after a day", "bytes "+day, "day bytes")
	r.share(b, shareAlone, "bytes "+alone, "alone bytes")
	r.row(b, "stored for the day, MB", "%.1f", func(t *tool) float64 {
		return (median(r.sizes["bytes "+day][t.name]) - median(r.sizes["bytes "+first][t.name])) / 1e6
	})
	r.row(b, "files in the vault", "%.0f", func(t *tool) float64 { return median(r.sizes["files "+day][t.name]) })
	r.row(b, peakAll, "%.0f", func(t *tool) float64 { return r.peak(t) / 1e6 })
}

func (s *settings) origin() string {
	if s.corpora != "" {
		return "Real messages"
	}
	origin := fmt.Sprintf("Generated, seed %d", s.seed)
	if s.texts != "" {
		origin += ", real text"
	}
	if s.files != "" {
		origin += ", real files attached"
	}
	return origin
}

func (r *results) wall(step string, t *tool) float64 {
	var x []float64
	for _, f := range r.figures[step][t.name] {
		x = append(x, f.wall)
	}
	return median(x)
}

func (r *results) cpu(step string, t *tool) float64 {
	var x []float64
	for _, f := range r.figures[step][t.name] {
		x = append(x, f.cpu)
	}
	return median(x)
}

// peak is the largest of all steps' medians.
func (r *results) peak(t *tool) float64 {
	var most float64
	for _, byTool := range r.figures {
		var x []float64
		for _, f := range byTool[t.name] {
			x = append(x, float64(f.peak))
		}
		most = max(most, median(x))
	}
	return most
}

func (r *results) timeRow(b *strings.Builder, step string) {
	fmt.Fprintf(b, "| %s |", step)
	for _, t := range r.tools {
		fmt.Fprintf(b, " %.2f (%.1f) |", r.wall(step, t), r.cpu(step, t))
	}
	r.ratios(b, step, func(t *tool) float64 { return r.wall(step, t) })
}

func (r *results) row(b *strings.Builder, name, format string, value func(*tool) float64) {
	fmt.Fprintf(b, "| %s |", name)
	for _, t := range r.tools {
		fmt.Fprintf(b, " "+format+" |", value(t))
	}
	r.ratios(b, name, value)
}

// share is a row of sizes in relation to the mail.
func (r *results) share(b *strings.Builder, name, sizes, mail string) {
	r.row(b, name, "%.3f", func(t *tool) float64 { return median(r.sizes[sizes][t.name]) / median(r.mail[mail]) })
}

// ratios ends a row: salvor against restic, and against the best of the peers.
func (r *results) ratios(b *strings.Builder, row string, value func(*tool) float64) {
	var ours, restic, best float64
	for _, t := range r.tools {
		x := value(t)
		switch {
		case t.name == "salvor":
			ours = x
			continue
		case t.name == "restic":
			restic = x
		}
		if best == 0 || x < best {
			best = x
		}
	}
	fmt.Fprintf(b, " %s | %s | %s |\n", ratio(ours, restic), ratio(ours, best), aims[row])
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}
