package main

import (
	"fmt"
	"strings"
)

// What salvor was built to reach with disks.
const (
	aimSpeed  = 0.5 // of the speed at which the disk can be read
	aimRecall = 1.0 // of the best other tool, without any index
)

// writeRescues prints the tables.
func writeRescues(b *strings.Builder, all []*wreck, tools []*rescuer) {
	b.WriteString("Limit: messages every block of which is still somewhere on the disk. Found: of that limit, byte for byte. Each tool began with nothing of the disk in the page cache (`posix_fadvise`), and without an index. \"No message\" are files that a tool gave out and that are no message of this disk, parts of messages and merged ones among them; \"deleted\" are messages that their users had deleted before.\n\n")
	b.WriteString("| disk | damage | limit, messages (bytes) | tool | found, messages (bytes) | no message | deleted | owners right | wall, s | MB/s | of the read speed | peak memory, MB |\n" + "|" + strings.Repeat(" --- |", 12) + "\n")
	for _, w := range all {
		for _, t := range tools {
			r := w.rescues[t.name]
			if r == nil {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %.2f %% (%.1f %%) | %s |", w.disk, w.damage, part(w.limit.Messages, w.limit.Targets), part(w.limit.Bytes, w.limit.TargetBytes), t.name)
			if r.words != "" {
				fmt.Fprintf(b, " %s | - | - | - | - | - | - | - |\n", r.words)
				continue
			}
			messages, bytes := r.Recall()
			fmt.Fprintf(b, " %.2f %% (%.1f %%) | %d | %d | %.1f %% | %.2f | %.0f | %.2f | %.0f |\n", 100*messages, 100*bytes, r.False, r.Old,
				part(r.UserRight, r.Found), r.wall, float64(w.size)/r.wall/1e6, float64(w.size)/r.wall/w.speed, float64(r.peak)/1e6)
		}
	}
	b.WriteString("\n| disk | damage | best other tool | salvor / best, messages | salvor / best, bytes | salvor / best, wall | salvor's speed / read speed | salvor's false wholes |\n" + "|" + strings.Repeat(" --- |", 8) + "\n")
	for _, w := range all {
		w.ratios(b, tools)
	}
	fmt.Fprintf(b, "| aim | | | %.2f | %.2f | | %.2f | 0 |\n", aimRecall, aimRecall, aimSpeed)
}

// ratios prints salvor beside the tool that found most messages.
func (w *wreck) ratios(b *strings.Builder, tools []*rescuer) {
	ours := w.rescues["salvor"]
	if ours == nil || ours.words != "" {
		return
	}
	var best *rescue
	name := ""
	for _, t := range tools {
		if r := w.rescues[t.name]; r != nil && r != ours && r.words == "" && (best == nil || r.Found > best.Found) {
			best, name = r, t.name
		}
	}
	fmt.Fprintf(b, "| %s | %s |", w.disk, w.damage)
	if best == nil {
		b.WriteString(" - | - | - | - |")
	} else {
		fmt.Fprintf(b, " %s | %s | %s | %s |", name, ratio(float64(ours.Found), float64(best.Found)),
			ratio(float64(ours.FoundBytes), float64(best.FoundBytes)), ratio(ours.wall, best.wall))
	}
	fmt.Fprintf(b, " %.2f | %d |\n", float64(w.size)/ours.wall/w.speed, ours.False)
}

// part is a share in percent.
func part[T int | int64](some, all T) float64 {
	if all == 0 {
		return 0
	}
	return 100 * float64(some) / float64(all)
}
