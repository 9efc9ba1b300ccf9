package main

import (
	"fmt"
	"strings"
)

func (r *imapResults) median(step string, c *client, of func(figure) float64) float64 {
	var x []float64
	for _, f := range r.figures[step][c.name] {
		x = append(x, of(f))
	}
	return median(x)
}

// write prints the table of one server.
func (r *imapResults) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n**%s**, %.0f messages when the first round began:\n\n", r.server, r.messages[0])
	for _, c := range r.clients {
		fmt.Fprintf(b, "- %s: %s\n", c.name, (&tool{name: c.name, version: c.version}).versionLine())
	}
	b.WriteString("\n| measure |")
	for _, c := range r.clients {
		fmt.Fprintf(b, " %s |", c.name)
	}
	b.WriteString(" salvor / best that syncs | salvor / best | aim |\n|" + strings.Repeat(" --- |", len(r.clients)+4) + "\n")
	wall := func(f figure) float64 { return f.wall }
	for _, step := range imapSteps {
		r.row(b, step, "below 1", func(c *client) (string, float64) {
			x := r.median(step, c, wall)
			return fmt.Sprintf("%.2f (%.2f)", x, r.median(step, c, func(f figure) float64 { return f.cpu })), x
		})
	}
	r.row(b, empty+", messages/s", "above 1", func(c *client) (string, float64) {
		x := r.median(empty, c, func(f figure) float64 { return float64(f.messages) / f.wall })
		return fmt.Sprintf("%.0f", x), x
	})
	for _, step := range imapSteps {
		r.row(b, "CPU of the server: "+step, "", func(c *client) (string, float64) {
			x := r.median(step, c, func(f figure) float64 { return f.server })
			return fmt.Sprintf("%.2f", x), x
		})
	}
	r.row(b, peakAll, "", func(c *client) (string, float64) {
		var most float64
		for _, step := range imapSteps {
			most = max(most, r.median(step, c, func(f figure) float64 { return float64(f.peak) / 1e6 }))
		}
		return fmt.Sprintf("%.0f", most), most
	})
}

// row prints what each client has, "-" for 0, and salvor against the best of the
// others, of those that sync what they write and of all: the highest where the
// aim is to be above it, else the lowest.
func (r *imapResults) row(b *strings.Builder, name, aim string, value func(*client) (string, float64)) {
	fmt.Fprintf(b, "| %s |", name)
	var ours, best, durable float64
	better := func(x, than float64) bool { return than == 0 || (x > than) == strings.HasPrefix(aim, "above") }
	for i, c := range r.clients {
		text, x := value(c)
		switch {
		case x == 0:
			text = "-"
		case i == 0:
			ours = x
		default:
			if better(x, best) {
				best = x
			}
			if !c.volatile && better(x, durable) {
				durable = x
			}
		}
		fmt.Fprintf(b, " %s |", text)
	}
	fmt.Fprintf(b, " %s | %s | %s |\n", ratio(ours, durable), ratio(ours, best), aim)
}
