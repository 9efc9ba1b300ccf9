package mailgen

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Import makes a corpus of real messages: the files below a directory, one
// message each, dealt to the users in runs and filed by the name of the folder
// they were in. Of Options only Root, Users, Names, Seed, Start and Span
// count. A twentieth is held back, to arrive when Day is called.
func Import(ctx context.Context, o Options, from string) (*Corpus, error) {
	o.defaults()
	paths, err := messagesBelow(from)
	if err != nil {
		return nil, fmt.Errorf("find messages: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no messages below %s", from)
	}
	w, err := newWorld(o)
	if err == nil {
		err = w.furnish()
	}
	if err != nil {
		return nil, fmt.Errorf("make mail in %s: %w", o.Root, err)
	}
	var now, later []string
	for i, p := range paths {
		if i%20 == 19 {
			later = append(later, p)
		} else {
			now = append(now, p)
		}
	}
	w.tick = o.Span / time.Duration(len(paths))
	if err := w.deliverReal(ctx, now); err != nil {
		return nil, fmt.Errorf("deliver real mail: %w", err)
	}
	c, err := w.corpus(o.Names)
	if err == nil {
		c.fresh = append([]string{}, later...)
	}
	return c, err
}

// messagesBelow lists files that can be messages, in order of their paths.
func messagesBelow(dir string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "dovecot") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 && info.Size() < 64<<20 {
			all = append(all, path)
		}
		return err
	})
	return all, err
}

// deliverReal files real messages. Which user gets one depends on where the
// message stood in its directory, so threads mostly stay together.
func (w *world) deliverReal(ctx context.Context, paths []string) error {
	const run = 40
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.now = w.now.Add(time.Duration(w.rng.ExpFloat64() * float64(w.tick)))
		u := w.users[w.number/run%len(w.users)]
		w.number++
		name := "Lists/" + filepath.Base(filepath.Dir(path))
		f, err := u.account.folder(name, w.rng)
		if err != nil {
			return err
		}
		size, err := f.copyInto(path, delivery{when: w.now, flags: randomFlags(w.rng)}, w.rng)
		if err != nil {
			return err
		}
		w.count(name, size)
	}
	return nil
}
