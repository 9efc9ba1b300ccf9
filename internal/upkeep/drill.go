package upkeep

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/mailstore"
	"salvor/internal/progress"
	"salvor/internal/vault"
)

// ErrNobody says that the backup has no user to restore.
var ErrNobody = errors.New("the backup has no user with mail to restore")

// ErrMoved says that what was compared is not what was restored.
var ErrMoved = errors.New("the backup went on while the drill ran, so its differences mean nothing: run it again")

// DrillOptions say who is restored for practice, and how. Restore and Open are
// needed.
type DrillOptions struct {
	Users  []string // these; none: a sample
	Sample int      // of how many; 0: 3
	Store  string   // where to, for the record, without anybody's name
	// Restore puts users into the store and calls each with what came of every
	// one of them, one at a time. An error ends the drill without a record.
	Restore func(ctx context.Context, users []string, each func(Drilled)) error
	// Open opens the store to read it.
	Open  func(users []string) (mailstore.Source, error)
	Host  string
	Meter progress.Meter
	Now   func() time.Time
}

// Drilled is what restoring one user came to.
type Drilled struct {
	User     string
	Messages int64 // restored, or there already
	Bytes    int64
	Err      error // the user as a whole could not be restored
}

// DrillReport is what a drill has found.
type DrillReport struct {
	DrillStatus
	// Differences are what is not as in the backup, with names: the first 1000.
	Differences []string `json:"differences"`
	More        int      `json:"more"` // differences beyond these
}

// An Estimate is a range of seconds.
type Estimate struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

const (
	defaultSample  = 3
	maxDifferences = 1000
)

// Drill restores some users for practice, reads back what came out, compares it
// with the catalog, message by message, and records how long it took and how old
// the data was. ErrNobody, ErrMoved; that something differs is no error.
func Drill(ctx context.Context, h *history.History, o DrillOptions) (*DrillReport, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &drill{o: o, c: h.Catalog, report: &DrillReport{Differences: []string{}}, counts: map[string]int64{}}
	err := d.run(ctx, h)
	if err == nil {
		err = d.record(ctx, h)
	}
	if err != nil {
		return d.report, fmt.Errorf("restore drill: %w", err)
	}
	return d.report, nil
}

// A drill is one of them.
type drill struct {
	o      DrillOptions
	c      *catalog.Catalog
	row    catalog.Drill
	report *DrillReport
	counts map[string]int64 // differences by kind, without names
}

func (d *drill) run(ctx context.Context, h *history.History) error {
	if h.Host == nil {
		return history.ErrNoWriter
	}
	if _, err := h.Follow(ctx); err != nil {
		return err
	}
	before, err := d.c.Head()
	if err != nil {
		return err
	}
	// Better now than when all is done.
	base := vault.Head(before)
	base.Vault = h.Vault.ID()
	if err := h.Vault.MayCommit(ctx, h.Host, base, vault.CommitDecision); err != nil {
		return err
	}
	users, err := d.choose(ctx, before.Vault)
	if err != nil {
		return err
	}
	d.row.At, d.row.Users, d.row.Store = d.o.Now(), int64(len(users)), d.o.Store
	if err := d.restore(ctx, users); err != nil {
		return err
	}
	if err := d.compare(ctx, users); err != nil {
		return err
	}
	after, err := d.c.Head()
	if err == nil && len(d.counts) > 0 && after.Number != before.Number {
		err = ErrMoved
	}
	return err
}

// choose gives the users to be restored, and notes how old their data is.
func (d *drill) choose(ctx context.Context, vaultID string) ([]string, error) {
	users := slices.Compact(slices.Sorted(slices.Values(d.o.Users)))
	if len(users) == 0 {
		var err error
		if users, err = d.sample(ctx, vaultID); err != nil {
			return nil, err
		}
	}
	for _, name := range users {
		u, ok, err := d.c.User(name)
		if err == nil && !ok {
			err = fmt.Errorf("%q: %w", name, ErrNoUser)
		}
		if err != nil {
			return nil, err
		}
		if at := u.LastGoodAt; !at.IsZero() && (d.row.DataAt.IsZero() || at.Before(d.row.DataAt)) {
			d.row.DataAt = at
		}
	}
	return users, nil
}

// sample chooses users in turn, so that in the end everybody was: all stand in a
// ring in the order of a hash, and each drill goes on where the last one stopped.
// No record says who it was.
func (d *drill) sample(ctx context.Context, vaultID string) ([]string, error) {
	type seat struct {
		user string
		sum  [sha256.Size]byte
	}
	var ring []seat
	err := d.c.Users(ctx, func(u *catalog.User) error {
		if u.GoneRun == 0 && u.LastGood != 0 {
			ring = append(ring, seat{u.Name, sha256.Sum256([]byte("drill " + vaultID + " " + u.Name))})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ring, func(a, b seat) int { return cmp.Or(bytes.Compare(a.sum[:], b.sum[:]), cmp.Compare(a.user, b.user)) })
	var drilled int64
	err = d.c.Drills(ctx, func(old *catalog.Drill) error {
		drilled += old.Users
		return nil
	})
	if err != nil || len(ring) == 0 {
		return nil, errors.Join(err, ErrNobody)
	}
	want := d.o.Sample
	if want <= 0 {
		want = defaultSample
	}
	var users []string
	start := int(drilled % int64(len(ring)))
	for i := 0; i < len(ring) && len(users) < want; i++ {
		user := ring[(start+i)%len(ring)].user
		if has, err := d.hasMail(ctx, user); err != nil {
			return nil, err
		} else if has {
			users = append(users, user)
		}
	}
	if len(users) == 0 {
		return nil, ErrNobody
	}
	return users, nil
}

func (d *drill) hasMail(ctx context.Context, user string) (bool, error) {
	has := false
	err := d.c.Counts(ctx, catalog.CountQuery{User: user}, func(n *catalog.MailboxCount) error {
		if has = n.Live > 0; has {
			return catalog.ErrStop
		}
		return nil
	})
	return has, err
}

func (d *drill) restore(ctx context.Context, users []string) error {
	begun := time.Now()
	err := d.o.Restore(ctx, users, func(u Drilled) {
		d.row.Messages += u.Messages
		d.row.Bytes += u.Bytes
		if u.Err != nil {
			d.differs("users could not be restored", "user %q: %v", u.User, u.Err)
		}
	})
	d.row.Seconds = time.Since(begun).Seconds()
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// differs notes a difference: its kind without names, and the line.
func (d *drill) differs(kind, format string, args ...any) {
	d.counts[kind]++
	if len(d.report.Differences) == maxDifferences {
		d.report.More++
		return
	}
	d.report.Differences = append(d.report.Differences, fmt.Sprintf(format, args...))
}

// record writes the drill into the vault.
func (d *drill) record(ctx context.Context, h *history.History) error {
	for _, kind := range slices.Sorted(keysOf(d.counts)) {
		d.row.Problems = append(d.row.Problems, fmt.Sprintf("%s: %d", kind, d.counts[kind]))
	}
	stats, err := d.c.Stats(ctx)
	if err != nil {
		return err
	}
	d.report.DrillStatus = *statusOfDrill(&d.row, stats.Live, stats.ContentBytes)
	return h.Exclusive(ctx, "drill", func(ctx context.Context) error {
		change, err := h.Begin(ctx, vault.CommitDecision)
		if err != nil {
			return err
		}
		now := d.o.Now()
		row := catalog.Run{Number: change.Number(), Kind: string(vault.CommitDecision), Started: d.row.At, Finished: now, Host: d.o.Host}
		if err := change.Tx.Put(row, d.row); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, now)
		return err
	})
}

// wholeVault is how long so many messages and bytes would take at a drill's
// rate: counted by messages and by bytes, which give the range.
func wholeVault(d *catalog.Drill, messages, bytes int64) *Estimate {
	if d.Messages == 0 || d.Bytes == 0 {
		return nil
	}
	a, b := d.Seconds*float64(messages)/float64(d.Messages), d.Seconds*float64(bytes)/float64(d.Bytes)
	return &Estimate{From: min(a, b), To: max(a, b)}
}
