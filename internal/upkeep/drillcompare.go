package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// The kinds of differences that concern a message; each counts as failed.
const (
	isMissing    = "messages are missing"
	isExtra      = "messages are there that the backup does not have"
	isUnreadable = "messages could not be read back"
	hasFlags     = "messages have other flags"
	hasDate      = "messages have another date"
	hasOther     = "messages have other flags and another date"
)

// keysOf gives a map's keys.
func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// compare reads back what was restored.
func (d *drill) compare(ctx context.Context, users []string) error {
	src, err := d.o.Open(users)
	if err != nil {
		return err
	}
	if closer, ok := src.(io.Closer); ok {
		defer closer.Close()
	}
	d.o.Meter.Stage("compare")
	there := map[string]mailstore.User{}
	err = src.Users(ctx, func(u mailstore.User) error {
		if slices.Contains(users, u.Name) {
			there[u.Name] = u
		}
		return nil
	})
	if err := d.incomplete("", err); err != nil {
		return err
	}
	for _, user := range users {
		u, ok := there[user]
		if !ok {
			u = mailstore.User{Name: user}
		}
		c := &comparedUser{drill: d, src: src, user: u, absent: !ok}
		if err := c.compare(ctx); err != nil {
			return err
		}
	}
	for _, kind := range []string{isMissing, isExtra, isUnreadable, hasFlags, hasDate, hasOther} {
		d.row.Failed += d.counts[kind]
	}
	return nil
}

// incomplete takes the problems of a listing for differences; other errors are
// given back.
func (d *drill) incomplete(user string, err error) error {
	var part *mailstore.Incomplete
	if !errors.As(err, &part) {
		return err
	}
	for _, p := range part.Problems {
		d.differs("places could not be read back", "user %q: %v", user, p)
	}
	if len(part.Problems) == 0 {
		d.differs("places could not be read back", "user %q: %v", user, part)
	}
	return nil
}

// A comparedUser is one user's part of a drill.
type comparedUser struct {
	*drill
	src    mailstore.Source
	user   mailstore.User
	absent bool // the store does not list the user
	held   bool // the brake holds some of the user's mail
	hasher *chunk.WireHasher
}

// A letter is what is compared of a message beside its content.
type letter struct {
	flags string
	date  int64 // in seconds, as finer is not kept everywhere; 0: unknown
}

// letters are messages by content; one may be there several times.
type letters map[chunk.ID][]letter

func (c *comparedUser) compare(ctx context.Context) error {
	folders, err := c.expected(ctx)
	if err != nil {
		return err
	}
	boxes := map[string]mailstore.Mailbox{}
	if !c.absent {
		err = c.src.Mailboxes(ctx, c.user, func(b mailstore.Mailbox) error {
			if !b.Foreign {
				boxes[b.Name] = b
			}
			return nil
		})
		if err := c.incomplete(c.user.Name, err); err != nil {
			return err
		}
	}
	var unmet []string
	for _, name := range folders {
		box, ok := boxes[name]
		if !ok {
			unmet = append(unmet, name)
			continue
		}
		delete(boxes, name)
		if err := c.folder(ctx, name, box); err != nil {
			return err
		}
	}
	for _, name := range unmet {
		if err := c.renamed(ctx, name, boxes); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(keysOf(boxes)) { // servers make empty ones by themselves
		if err := c.match(ctx, name, letters{}, boxes[name]); err != nil {
			return err
		}
	}
	return nil
}

// expected lists the folders that have to be there: those of the last run, and
// those of messages that are restored to be safe.
func (c *comparedUser) expected(ctx context.Context) ([]string, error) {
	err := c.c.Holds(ctx, func(h *catalog.Hold) error {
		c.held = c.held || h.User == c.user.Name
		return nil
	})
	if err != nil {
		return nil, err
	}
	made := map[string]bool{}
	err = c.c.Mailboxes(ctx, c.user.Name, func(b *catalog.Mailbox) error {
		made[b.Name] = made[b.Name] || b.GoneRun == 0 && b.Excluded == ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range slices.Sorted(keysOf(made)) {
		if !made[name] {
			want, err := c.wanted(ctx, name)
			if err != nil {
				return nil, err
			}
			if len(want) == 0 {
				continue
			}
		}
		names = append(names, name)
	}
	return names, nil
}

// wanted gives what the backup has of a folder. The largest one bounds memory.
func (c *comparedUser) wanted(ctx context.Context, folder string) (letters, error) {
	want := letters{}
	add := func(e *catalog.Entry) error {
		want.add(e.Content, letterOf(e.Flags, e.InternalDate.Unix(), e.InternalDate.IsZero()))
		return nil
	}
	q := catalog.Query{User: c.user.Name, Folders: []string{folder}}
	if err := c.c.Entries(ctx, q, add); err != nil || !c.held {
		return want, err
	}
	// Nobody has said that the user deleted it: a restore takes it along.
	q.Deleted = true
	return want, c.c.Entries(ctx, q, func(e *catalog.Entry) error {
		if e.GoneRun == 0 || e.Hold == 0 || e.GoneAt != nil {
			return nil
		}
		return add(e)
	})
}

// folder compares one folder.
func (c *comparedUser) folder(ctx context.Context, name string, box mailstore.Mailbox) error {
	want, err := c.wanted(ctx, name)
	if err != nil {
		return err
	}
	return c.match(ctx, name, want, box)
}

// renamed looks for a folder that could not be made under its name: the one that
// holds just its mail. It is taken out of boxes.
func (c *comparedUser) renamed(ctx context.Context, name string, boxes map[string]mailstore.Mailbox) error {
	for _, other := range slices.Sorted(keysOf(boxes)) {
		quiet := &comparedUser{drill: &drill{o: c.o, c: c.c, report: &DrillReport{}, counts: map[string]int64{}}, src: c.src, user: c.user, held: c.held}
		if err := quiet.folder(ctx, name, boxes[other]); err != nil {
			return err
		}
		if len(quiet.counts) == 0 {
			delete(boxes, other)
			return nil
		}
	}
	want, err := c.wanted(ctx, name)
	if err != nil {
		return err
	}
	c.differs("folders are missing", "user %q: folder %q: it is missing", c.user.Name, name)
	c.rest(name, want)
	return nil
}

// match compares what the backup has of a folder with what a mailbox holds.
func (c *comparedUser) match(ctx context.Context, name string, want letters, box mailstore.Mailbox) error {
	odd := letters{}
	err := c.src.Messages(ctx, box, func(m mailstore.Message) error {
		if !m.Expunged.IsZero() {
			return nil
		}
		id, err := c.content(ctx, box, m)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.differs(isUnreadable, "user %q: folder %q: %q: %v", c.user.Name, name, m.Key, err)
			return nil
		}
		c.o.Meter.Add(1, max(m.Size, 0))
		if l := letterOf(m.Flags, m.InternalDate.Unix(), false); !want.take(id, l) {
			odd.add(id, l)
		}
		return nil
	})
	if err := c.incomplete(c.user.Name, err); err != nil {
		return err
	}
	for id, list := range odd {
		for _, l := range list {
			c.odd(name, id, l, want)
		}
	}
	c.rest(name, want)
	return nil
}

// odd says what is wrong with a message that is not as the backup has it.
func (c *comparedUser) odd(name string, id chunk.ID, l letter, want letters) {
	if len(want[id]) == 0 {
		c.differs(isExtra, "user %q: folder %q: message %s: the backup has no such message there", c.user.Name, name, id)
		return
	}
	w := want[id][0]
	want[id] = want[id][1:]
	var what []string
	if w.flags != l.flags {
		what = append(what, fmt.Sprintf("its flags are [%s], in the backup [%s]", l.flags, w.flags))
	}
	if w.date != 0 && w.date != l.date {
		what = append(what, fmt.Sprintf("its date is %d, in the backup %d", l.date, w.date))
	}
	kind := hasOther
	switch {
	case w.flags == l.flags:
		kind = hasDate
	case len(what) == 1:
		kind = hasFlags
	}
	c.differs(kind, "user %q: folder %q: message %s: %s", c.user.Name, name, id, strings.Join(what, ", "))
}

// rest names what has not come back.
func (c *comparedUser) rest(name string, want letters) {
	for id, list := range want {
		for range list {
			c.differs(isMissing, "user %q: folder %q: message %s: it is missing", c.user.Name, name, id)
		}
	}
}

// content reads a message back.
func (c *comparedUser) content(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (chunk.ID, error) {
	r, err := c.src.Open(ctx, box, m)
	if err != nil {
		return chunk.ID{}, err
	}
	defer r.Close()
	if c.hasher == nil {
		c.hasher = chunk.NewWireHasher()
	}
	c.hasher.Reset()
	if _, err := io.Copy(c.hasher, r); err != nil {
		return chunk.ID{}, err
	}
	id, _, _ := c.hasher.Sums()
	return id, nil
}

// letterOf makes flags comparable: their case and order do not count.
func letterOf(flags []string, date int64, undated bool) letter {
	lower := make([]string, len(flags))
	for i, f := range flags {
		lower[i] = strings.ToLower(f)
	}
	slices.Sort(lower)
	if undated {
		date = 0
	}
	return letter{flags: strings.Join(lower, " "), date: date}
}

func (l letters) add(id chunk.ID, x letter) { l[id] = append(l[id], x) }

// take takes a message that is just so.
func (l letters) take(id chunk.ID, x letter) bool {
	at := slices.IndexFunc(l[id], func(y letter) bool { return y.flags == x.flags && (y.date == 0 || y.date == x.date) })
	if at < 0 {
		return false
	}
	l[id] = slices.Delete(l[id], at, at+1)
	return true
}
