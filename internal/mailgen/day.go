package mailgen

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Changes says how much happens in a day, as shares of all messages. Its zero
// value is an ordinary day.
type Changes struct {
	New, Flags, Moves, Copies, Deletes float64
}

// ordinary is a day of the corpus that salvor's aims are measured with.
var ordinary = Changes{New: 0.015, Flags: 0.02, Moves: 0.005, Copies: 0.0005, Deletes: 0.005}

// Day lets a day pass: mail arrives, is read, filed, copied and deleted.
func (c *Corpus) Day(ctx context.Context, ch Changes) (Stats, error) {
	if ch == (Changes{}) {
		ch = ordinary
	}
	w := c.world
	for _, u := range w.users {
		for _, name := range u.account.names() {
			if name == "Junk" {
				continue
			}
			if err := ctx.Err(); err != nil {
				return Stats{}, err
			}
			if err := w.change(u.account, name, ch); err != nil {
				return Stats{}, fmt.Errorf("change %s of %s: %w", name, u.address, err)
			}
		}
	}
	if err := w.morning(ctx, c, ch.New); err != nil {
		return Stats{}, fmt.Errorf("deliver a day's mail: %w", err)
	}
	c.End = w.now
	err := w.close()
	return w.take(), err
}

// morning lets the day's new mail arrive.
func (w *world) morning(ctx context.Context, c *Corpus, share float64) error {
	n := int(float64(w.alive()) * share)
	if c.fresh != nil {
		n = min(n, len(c.fresh))
		err := w.deliverReal(ctx, c.fresh[:n])
		c.fresh = c.fresh[n:]
		return err
	}
	w.tick = 24 * time.Hour / time.Duration(max(1, n))
	return w.live(ctx, n)
}

// alive counts the messages that there are.
func (w *world) alive() int {
	n := 0
	for _, u := range w.users {
		for _, f := range u.account.folders {
			n += len(f.entries)
		}
	}
	return n
}

// change lets a folder's messages be flagged, moved, copied and deleted.
func (w *world) change(a *account, name string, ch Changes) error {
	f := a.folders[name]
	kept := f.entries[:0]
	for _, e := range f.entries {
		x := w.rng.Float64()
		stays, err := true, error(nil)
		switch {
		case x < ch.Flags:
			err = w.flag(f, &e)
		case x < ch.Flags+ch.Deletes:
			stays = false
			w.stats.Deleted++
			err = os.Remove(filepath.Join(f.dir, e.file()))
		case x < ch.Flags+ch.Deletes+ch.Moves && name != "Trash":
			var passed int
			passed, err = w.pass(a, f, e, os.Rename)
			w.stats.Moved += passed
			stays = passed == 0
		case x < ch.Flags+ch.Deletes+ch.Moves+ch.Copies && name != "Trash":
			var passed int
			passed, err = w.pass(a, f, e, os.Link)
			w.stats.Copied += passed
		}
		if err != nil {
			return err
		}
		if stays {
			kept = append(kept, e)
		}
	}
	f.changed = f.changed || len(kept) < len(f.entries)
	f.entries = kept
	return nil
}

// flag sets or takes away \Flagged, by renaming.
func (w *world) flag(f *folder, e *entry) error {
	old := filepath.Join(f.dir, e.file())
	letters := strings.TrimPrefix(e.info, ":2,")
	if strings.Contains(letters, "F") {
		letters = strings.Replace(letters, "F", "", 1)
	} else {
		letters = "F" + letters // sorts before P, R, S and before keywords
		if strings.HasPrefix(letters, "FD") {
			letters = "DF" + letters[2:]
		}
	}
	e.info = ":2," + letters
	w.stats.Flagged++
	return os.Rename(old, filepath.Join(f.dir, e.file()))
}

// pass moves or copies a message to another folder as Dovecot does: the file
// keeps its base name, the copy is a hard link. Keywords stay behind, since
// their letters mean something else there. It gives 0 when the message stands
// there already, else 1.
func (w *world) pass(a *account, from *folder, e entry, how func(string, string) error) (int, error) {
	to, err := a.folder(fmt.Sprintf("Archive/%d", w.now.Year()), w.rng)
	if err == nil && to == from {
		to, err = a.folder("Trash", w.rng)
	}
	if err != nil {
		return 0, err
	}
	for _, there := range to.entries {
		if there.base == e.base {
			return 0, nil
		}
	}
	moved := entry{uid: to.next, base: e.base, info: ":2," + upper(e.info)}
	if err := how(filepath.Join(from.dir, e.file()), filepath.Join(to.dir, moved.file())); err != nil {
		return 0, err
	}
	to.next++
	to.entries = append(to.entries, moved)
	to.changed = true
	return 1, nil
}

// upper gives the flags without keywords.
func upper(info string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, info)
}
