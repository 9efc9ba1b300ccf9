package upkeep

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/vault"
)

// StatusOptions set the limits beyond which status wants attention. The zero
// value works.
type StatusOptions struct {
	Runs     int           // how many of the last runs to show; 0: 7
	Late     time.Duration // a user without a good run for so long is late; 0: 26 h
	EraseDue time.Duration // dead bytes may be this old; 0: 30 days
	// PruneDue is how long after its time a record may still be there; 0: 48 h.
	PruneDue time.Duration
	Policy   Policy
	Now      time.Time
	// Lock is the vault's rule for locks, Created when it was made, LocksMissing
	// whether its store cannot lock.
	Lock         vault.LockRule
	Created      time.Time
	LocksMissing bool
	// Extra are attentions that only the caller knows of.
	Extra []string
}

func (o StatusOptions) withDefaults() StatusOptions {
	if o.Runs == 0 {
		o.Runs = 7
	}
	if o.Late == 0 {
		o.Late = 26 * time.Hour
	}
	if o.EraseDue == 0 {
		o.EraseDue = EraseDue
	}
	// What is locked longer than that was accepted when the vault was made.
	o.EraseDue = max(o.EraseDue, DefaultRewriteAge+o.Lock.Time()+48*time.Hour)
	if o.PruneDue == 0 {
		o.PruneDue = 48 * time.Hour
	}
	return o
}

// Status is how a vault stands. As JSON it is what the command line promises.
type Status struct {
	Vault    string        `json:"vault"`
	Head     catalog.Head  `json:"head"`
	Runs     []catalog.Run `json:"runs"` // newest first
	Users    int           `json:"users"`
	Messages struct {
		Live        int64 `json:"live"`
		DeletedKept int64 `json:"deleted_kept"`
	} `json:"messages"`
	Bytes struct {
		Content int64 `json:"content"`
		Stored  int64 `json:"stored"`
		ToErase int64 `json:"to_erase"`
	} `json:"bytes"`
	// EraseSince is since when the oldest of the bytes to erase are dead.
	EraseSince *time.Time `json:"erase_since,omitempty"`
	// Lock says how the locks stand; nil in a vault without them.
	Lock     *LockStatus `json:"lock,omitempty"`
	Excluded []Folder    `json:"excluded,omitempty"`
	// Drill is the last restore that was made for practice; nil: there was none.
	Drill *DrillStatus `json:"drill,omitempty"`
	Late  []string     `json:"late,omitempty"`
	// Attention needs a person; Acknowledged too, but one knows of it.
	Attention    []string `json:"attention"`
	Acknowledged []string `json:"acknowledged,omitempty"`
}

// Folder is a folder left out of the backup.
type Folder struct {
	User     string `json:"user"`
	Folder   string `json:"folder"`
	Why      string `json:"why"`
	Messages int    `json:"messages"`
}

// ReadStatus asks the catalog how things stand.
func ReadStatus(ctx context.Context, c *catalog.Catalog, o StatusOptions) (*Status, error) {
	o = o.withDefaults()
	s := &Status{Runs: []catalog.Run{}, Attention: []string{}}
	for _, step := range []func(context.Context, *catalog.Catalog, StatusOptions) error{s.facts, s.packs, s.locks, s.incidents, s.overdue, s.users, s.folders, s.runs, s.holds, s.drills} {
		if err := step(ctx, c, o); err != nil {
			return nil, fmt.Errorf("status: %w", err)
		}
	}
	for _, a := range o.Extra {
		s.attend("%s", a)
	}
	return s, s.acknowledge(ctx, c)
}

func (s *Status) attend(format string, args ...any) {
	s.Attention = append(s.Attention, fmt.Sprintf(format, args...))
}

func (s *Status) facts(ctx context.Context, c *catalog.Catalog, _ StatusOptions) error {
	head, err := c.Head()
	if err != nil {
		return err
	}
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	s.Head, s.Vault = head, head.Vault
	s.Users = int(stats.Users)
	s.Messages.Live, s.Messages.DeletedKept = stats.Live, stats.Deleted
	s.Bytes.Content, s.Bytes.Stored = stats.ContentBytes, stats.StoredBytes
	return nil
}

func (s *Status) packs(ctx context.Context, c *catalog.Catalog, o StatusOptions) error {
	err := c.Packs(ctx, func(u *catalog.PackUse) error {
		s.Bytes.ToErase += u.Dead
		if u.Damaged != "" && u.Live > 0 {
			s.attend("pack %s is damaged, and mail that stands nowhere else in the vault lies in it: salvor check names it", u.ID.Short())
		}
		if since := u.DeadSince; since != nil && (s.EraseSince == nil || since.Before(*s.EraseSince)) {
			s.EraseSince = since
		}
		return nil
	})
	if err == nil && s.EraseSince != nil && o.Now.Sub(*s.EraseSince) > o.EraseDue {
		s.attend("expired mail has been waiting to be erased since %s: run salvor prune with the identity", s.EraseSince.Format(time.DateOnly))
	}
	return err
}

// overdue notices that nobody prunes.
func (s *Status) overdue(ctx context.Context, c *catalog.Catalog, o StatusOptions) error {
	withheld, err := newWithholder(ctx, c)
	if err != nil {
		return err
	}
	return c.Expiring(ctx, o.Now, func(e *catalog.Expiring) error {
		if held, err := withheld.record(e.User, e.Content); held || err != nil {
			return err
		}
		if !o.Policy.expired(e, o.Now.Add(-o.PruneDue)) {
			return nil
		}
		s.attend("deleted mail is kept beyond its time, the oldest since %s: salvor prune does not run", e.GoneAt.Format(time.DateOnly))
		return catalog.ErrStop
	})
}

func (s *Status) users(ctx context.Context, c *catalog.Catalog, o StatusOptions) error {
	return c.Users(ctx, func(u *catalog.User) error {
		switch {
		case u.GoneRun != 0:
		case u.LastGoodAt.IsZero():
			s.Late = append(s.Late, u.Name)
			s.attend("user %q never had a complete backup", u.Name)
		case o.Now.Sub(u.LastGoodAt) > o.Late:
			s.Late = append(s.Late, u.Name)
			s.attend("user %q had no complete backup since %s", u.Name, u.LastGoodAt.UTC().Format(time.RFC3339))
		}
		return nil
	})
}

func (s *Status) folders(ctx context.Context, c *catalog.Catalog, _ StatusOptions) error {
	return c.Excluded(ctx, func(b *catalog.Mailbox) error {
		s.Excluded = append(s.Excluded, Folder{User: b.User, Folder: b.Name, Why: b.Excluded, Messages: b.Messages})
		return nil
	})
}

func (s *Status) runs(ctx context.Context, c *catalog.Catalog, o StatusOptions) error {
	var runs []catalog.Run
	err := c.Runs(ctx, max(o.Runs, 50), func(r *catalog.Run) error {
		runs = append(runs, *r)
		return nil
	})
	if err != nil {
		return err
	}
	s.Runs = append(s.Runs, runs[:min(len(runs), o.Runs)]...)
	for _, r := range runs {
		if r.Kind != string(vault.CommitBackup) {
			continue
		}
		if r.Clock != "" {
			s.attend("run %d did not trust the clock: %s", r.Number, r.Clock)
		}
		if r.Partial {
			s.attend("run %d was interrupted", r.Number)
		}
		if r.Failed > 0 || len(r.Problems) > 0 {
			s.attend("run %d had problems: %d messages not read, first: %s", r.Number, r.Failed, first(r.Problems))
		}
		break // older runs are history once a newer one has gone through
	}
	return nil
}

func first(list []string) string {
	if len(list) == 0 {
		return "none listed"
	}
	return list[0]
}

func (s *Status) holds(ctx context.Context, c *catalog.Catalog, _ StatusOptions) error {
	return c.OpenHolds(ctx, func(hold *catalog.Hold) error {
		s.attend("the brake holds %d deletions of user %q (run %d: %s): salvor deletions confirm or reject", hold.Records, hold.User, hold.Run, hold.Reason)
		return nil
	})
}

// acknowledge sorts out what a person already knows of.
func (s *Status) acknowledge(ctx context.Context, c *catalog.Catalog) error {
	known := map[string]bool{}
	err := c.Acks(ctx, func(a *catalog.Ack) error {
		known[a.Attention] = true
		return nil
	})
	if err != nil {
		return err
	}
	fresh := s.Attention[:0]
	for _, a := range s.Attention {
		if known[a] {
			s.Acknowledged = append(s.Acknowledged, a)
		} else {
			fresh = append(fresh, a)
		}
	}
	s.Attention = fresh
	sort.Strings(s.Acknowledged)
	return nil
}

// ErrNoAttention says that there is no such attention to acknowledge.
var ErrNoAttention = errors.New("no such attention in the status")

// Ack records that a person knows of these attentions of the present status.
func Ack(ctx context.Context, h *history.History, attentions []string, by, host string, now time.Time) error {
	err := h.Exclusive(ctx, "ack", func(ctx context.Context) error {
		change, err := h.Begin(ctx, vault.CommitDecision)
		if err != nil {
			return err
		}
		for _, a := range attentions {
			if err := change.Tx.Put(catalog.Ack{Attention: a, At: now, By: by}); err != nil {
				return errors.Join(err, change.Abandon())
			}
		}
		row := catalog.Run{Number: change.Number(), Kind: string(vault.CommitDecision), Started: now, Finished: now, Host: host}
		if err := change.Tx.Put(row); err != nil {
			return errors.Join(err, change.Abandon())
		}
		_, err = change.Commit(ctx, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}
