package incident

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/mailstore"
)

// A comparison goes through index and catalog once.
type comparison struct {
	o        Options
	tx       *catalog.Tx
	number   uint64 // of the commit
	incident catalog.Incident
	report   *Report
	src      mailstore.Source // nil: nothing survived
	others   []string         // other open incidents
	// unlisted says why the list of users may lack some; "" when it is whole.
	unlisted string
	runs     map[uint64]time.Time // when they began

	// sums: messages that the index lists, those of the catalog at the time of
	// the loss, those that are both, and the claims made of them.
	sums struct{ listed, known, both, claims int64 }
	keys userKeys // see namesake
	// absent is what is not decided yet of the user under way.
	absent absences
	doubt  doubt
}

// walk compares all users: those of the index in its order, then those that it
// does not list.
func (c *comparison) walk(ctx context.Context) error {
	c.o.Meter.Stage("compare")
	seen := map[string]bool{}
	c.unlisted = "nothing survived of the index"
	if c.src != nil {
		c.unlisted = ""
		err := c.src.Users(ctx, func(u mailstore.User) error {
			if seen[u.Name] {
				c.report.problem(fmt.Sprintf("%q: the index lists the user twice", u.Name))
				return nil
			}
			seen[u.Name] = true
			return c.user(ctx, u)
		})
		if c.unlisted, err = c.damage(err); err != nil {
			return err
		}
	}
	var rest []string
	err := c.tx.Users(ctx, func(u *catalog.User) error {
		if u.Source == c.o.Source && !seen[u.Name] {
			rest = append(rest, u.Name)
		}
		return nil
	})
	for i := 0; err == nil && i < len(rest); i++ {
		err = c.unlistedUser(ctx, rest[i])
	}
	if err != nil {
		return err
	}
	return c.doubt.verdict(c)
}

// damage takes the problems out of a listing's error and gives the first one;
// other errors end the comparison.
func (c *comparison) damage(err error) (string, error) {
	var incomplete *mailstore.Incomplete
	var problem *mailstore.Problem
	var problems []*mailstore.Problem
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &incomplete):
		problems = incomplete.Problems
	case errors.As(err, &problem):
		problems = []*mailstore.Problem{problem}
	default:
		return "", err
	}
	for _, p := range problems {
		c.report.problem(p.Error())
	}
	if len(problems) == 0 {
		return "it could not be listed whole", nil
	}
	return problems[0].Err.Error(), nil
}

// user compares a user of the index.
func (c *comparison) user(ctx context.Context, u mailstore.User) error {
	if err := c.aloneWith(ctx, u.Name); err != nil {
		return err
	}
	var boxes []mailstore.Mailbox
	err := c.src.Mailboxes(ctx, u, func(b mailstore.Mailbox) error {
		if !b.Foreign {
			boxes = append(boxes, b)
		}
		return nil
	})
	damage, err := c.damage(err)
	if err != nil {
		return err
	}
	row, found, err := c.tx.User(u.Name)
	if err != nil {
		return err
	}
	var rows []catalog.Mailbox
	if found && row.Source == c.o.Source {
		if rows, err = c.rows(ctx, u.Name); err != nil {
			return err
		}
	}
	c.report.Users++
	c.absent = absences{arrived: map[chunk.ID]int{}}
	why := c.o.Scope.DecideAll(boxes)
	pairs, rest := pairUp(boxes, rows)
	for i := range pairs {
		pairs[i].why = why[i]
		if err := c.folder(ctx, pairs[i]); err != nil {
			return err
		}
	}
	reason := "the index does not list the folder: it was removed, or the list of folders is older than the backup"
	if damage != "" {
		reason = "the index's list of folders is damaged: " + damage
	}
	for _, row := range rest {
		if err := c.absentFolder(ctx, row, reason); err != nil {
			return err
		}
	}
	return c.absent.settle(ctx, c)
}

// aloneWith refuses a user who is part of another open incident.
func (c *comparison) aloneWith(ctx context.Context, user string) error {
	for _, other := range c.others {
		err := c.tx.Claims(ctx, catalog.ClaimQuery{Incident: other, User: user}, func(*catalog.Claim) error {
			return fmt.Errorf("%w: %q has user %q", ErrOverlap, other, user)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unlistedUser takes a user of the source whom the index does not list.
func (c *comparison) unlistedUser(ctx context.Context, user string) error {
	rows, err := c.rows(ctx, user)
	if err != nil {
		return err
	}
	reason := "the index does not list the user"
	if c.unlisted != "" {
		reason += ": " + c.unlisted
	}
	if c.src == nil {
		reason = c.unlisted
	}
	c.report.Users++
	for _, row := range rows {
		if err := c.absentFolder(ctx, row, reason); err != nil {
			return err
		}
	}
	return nil
}

// rows are a user's mailboxes in the catalog. Those that a run did not find any
// more are among them: it may have come after the loss.
func (c *comparison) rows(ctx context.Context, user string) (rows []catalog.Mailbox, err error) {
	err = c.tx.Mailboxes(ctx, user, func(m *catalog.Mailbox) error {
		rows = append(rows, *m)
		return nil
	})
	return rows, err
}

// absentFolder takes back what the catalog has of a folder that the index does
// not list.
func (c *comparison) absentFolder(ctx context.Context, row catalog.Mailbox, reason string) error {
	known, err := c.known(ctx, row)
	if err != nil {
		return err
	}
	if known.live > 0 {
		c.report.Folders++
	}
	return c.unnamed(ctx, known, place{row.User, row.Name, row.UIDValidity}, reason)
}

// A pair is a folder of the index with its row; ID 0 where it has none.
type pair struct {
	box mailstore.Mailbox
	row catalog.Mailbox
	why string // it is out of the backup's scope
}

// pairUp finds each folder's row: by name and identity, by the identity alone
// (it was renamed since), by the name alone. What is there goes before what a
// run did not find any more. rest are the rows without a folder.
func pairUp(boxes []mailstore.Mailbox, rows []catalog.Mailbox) (pairs []pair, rest []catalog.Mailbox) {
	pairs = make([]pair, len(boxes))
	for i, b := range boxes {
		pairs[i].box = b
	}
	rest = slices.Clone(rows)
	slices.SortStableFunc(rest, func(a, b catalog.Mailbox) int {
		if (a.GoneRun == 0) != (b.GoneRun == 0) {
			if a.GoneRun == 0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.GoneRun, a.GoneRun)
	})
	for _, same := range []func(mailstore.Mailbox, catalog.Mailbox) bool{
		func(b mailstore.Mailbox, r catalog.Mailbox) bool { return b.Name == r.Name && b.ObjectID == r.ObjectID },
		func(b mailstore.Mailbox, r catalog.Mailbox) bool {
			return b.ObjectID != "" && b.ObjectID == r.ObjectID && b.UIDValidity == r.UIDValidity
		},
		func(b mailstore.Mailbox, r catalog.Mailbox) bool { return b.Name == r.Name },
	} {
		for i := range pairs {
			if pairs[i].row.ID != 0 {
				continue
			}
			if at := slices.IndexFunc(rest, func(r catalog.Mailbox) bool { return same(pairs[i].box, r) }); at >= 0 {
				pairs[i].row = rest[at]
				rest = slices.Delete(rest, at, at+1)
			}
		}
	}
	slices.SortFunc(rest, func(a, b catalog.Mailbox) int { return strings.Compare(a.Name, b.Name) })
	return pairs, rest
}

// A listing is what the catalog knows of a folder.
type listing struct {
	row     catalog.Mailbox
	entries []entry
	byKey   map[string]int // in entries; of equal keys a live one
	live    int64
}

// An entry is what the comparison needs of a record.
type entry struct {
	id       int64
	was      standing
	compared bool // the index names it
}

// A standing is how a record stood at the time of the loss.
type standing int

const (
	notYet  standing = iota // it came later
	live                    // it was there
	doubted                 // a run did not find it, and nobody has believed that it was removed
	gone                    // its user had removed it
)

// there tells whether a record counts as having been there.
func (s standing) there() bool { return s == live || s == doubted }

// known loads what the catalog has of a folder. The largest folder is what
// bounds memory.
func (c *comparison) known(ctx context.Context, row catalog.Mailbox) (*listing, error) {
	l := &listing{row: row, byKey: map[string]int{}}
	if row.ID == 0 {
		return l, nil
	}
	err := c.tx.Records(ctx, row.ID, func(rec *catalog.Record) error {
		was, err := c.standing(rec)
		if err != nil {
			return err
		}
		if was.there() {
			l.live++
		}
		if at, twice := l.byKey[rec.Key]; !twice || !l.entries[at].was.there() {
			l.byKey[rec.Key] = len(l.entries)
		}
		l.entries = append(l.entries, entry{id: rec.ID, was: was})
		return nil
	})
	c.sums.known += l.live
	if !inTrash(row) {
		c.absent.known += int(l.live)
	}
	return l, err
}

// standing is how a record stood at the time of the loss. Where its week has
// not begun, nobody has believed in its deletion: the brake may hold it because
// of the very loss that this is about, or of an earlier one.
func (c *comparison) standing(rec *catalog.Record) (standing, error) {
	switch {
	case rec.FirstSeen.After(c.o.At):
		return notYet, nil
	case rec.GoneRun != 0 && rec.GoneRun == rec.FirstRun:
		return gone, nil // it came and went between two runs
	case rec.GoneRun == 0:
		return live, nil
	}
	began, known := c.runs[rec.GoneRun]
	if !known {
		r, ok, err := c.tx.Run(rec.GoneRun)
		if err != nil {
			return gone, err
		}
		if began = r.Started; !ok {
			began = c.o.Now()
		}
		c.runs[rec.GoneRun] = began
	}
	switch {
	case began.After(c.o.At):
		return live, nil
	case rec.GoneAt == nil && rec.MovedTo == 0:
		return doubted, nil
	}
	return gone, nil
}

// record reads a record that must be there.
func (c *comparison) record(id int64) (*catalog.Record, error) {
	rec, ok, err := c.tx.Record(id)
	if err == nil && !ok {
		err = fmt.Errorf("record %d is missing in the catalog", id)
	}
	return &rec, err
}

// A place is where messages are.
type place struct {
	user, folder string
	validity     uint32
}

// put writes a claim into the ledger.
func (c *comparison) put(claim catalog.Claim) error {
	var err error
	if claim.ID, err = c.tx.NextID(catalog.ClaimIDs); err != nil {
		return err
	}
	claim.Incident = c.o.Name
	c.sums.claims++
	c.o.Meter.Add(1, 0)
	return c.tx.Put(claim)
}
