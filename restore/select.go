package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/catalog"
)

var errNoMessage = errors.New("no such message in the backup")

const inbox = "INBOX"

// A selection is what of one user is to be restored.
type selection struct {
	query catalog.Query
	// boxes holds for each folder name the mailbox whose properties count: one
	// that existed at the time asked for, else the last one of that name.
	boxes map[string]*catalog.Mailbox
	rows  map[int64]*catalog.Mailbox // all of them, by id
	order []string                   // names of boxes, INBOX first, else as the catalog lists them
	unmet map[uint32]bool            // UIDs asked for and not met yet
}

// choose makes names and patterns of the query definite.
func (r *run) choose(ctx context.Context) (*selection, error) {
	query := r.Query
	if r.Choose != nil {
		query = catalog.Query{}
	}
	s := &selection{query: query, boxes: map[string]*catalog.Mailbox{}, rows: map[int64]*catalog.Mailbox{}, unmet: map[uint32]bool{}}
	s.query.User = r.name
	// Few messages need no order, which costs a look at all of the user's.
	s.query.Order = catalog.ByLocation
	if r.NewestFirst {
		s.query.Order = catalog.NewestFirst
	}
	if len(s.query.UIDs) > 0 {
		s.query.Order = catalog.ByFolder
	}
	_, found, err := r.Catalog.User(r.name)
	if err == nil && !found && r.Choose == nil {
		err = ErrNoUser
	}
	if err != nil {
		return nil, err
	}
	if err := r.Catalog.Mailboxes(ctx, r.name, s.consider); err != nil {
		return nil, err
	}
	if err := s.resolve(); err != nil {
		return nil, err
	}
	// A server makes a user's account by making INBOX.
	slices.SortStableFunc(s.order, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == inbox:
			return -1
		case b == inbox:
			return 1
		}
		return 0
	})
	for _, uid := range s.query.UIDs {
		s.unmet[uid] = true
	}
	return s, nil
}

// consider takes one mailbox of the user. Two may have the same name, when one
// was deleted and made again.
func (s *selection) consider(m *catalog.Mailbox) error {
	s.rows[m.ID] = m
	old := s.boxes[m.Name]
	if old == nil {
		s.order = append(s.order, m.Name)
	}
	if old == nil || s.existed(m) && !s.existed(old) || s.existed(m) == s.existed(old) && m.ID > old.ID {
		s.boxes[m.Name] = m
	}
	return nil
}

// existed tells whether the mailbox was there at the time asked for.
func (s *selection) existed(m *catalog.Mailbox) bool {
	t := s.query.AsOf
	if t.IsZero() {
		return m.GoneRun == 0
	}
	return !m.FirstSeen.After(t) && (m.GoneRun == 0 || m.GoneAt != nil && m.GoneAt.After(t))
}

// resolve replaces the folders asked for by names that there are.
func (s *selection) resolve() error {
	if len(s.query.Folders) == 0 {
		return nil
	}
	chosen := map[string]bool{}
	for _, asked := range s.query.Folders {
		names := s.matching(asked)
		if len(names) == 0 {
			return fmt.Errorf("folder %q: %w", asked, ErrNoFolder)
		}
		for _, name := range names {
			chosen[name] = true
		}
	}
	s.order = slices.DeleteFunc(s.order, func(name string) bool { return !chosen[name] })
	s.query.Folders = s.order
	return nil
}

// matching gives the folders that one --folder means.
func (s *selection) matching(asked string) []string {
	parent, tree := strings.CutSuffix(asked, "/*")
	var names []string
	for _, name := range s.order {
		if sameFolder(name, asked) || tree && (sameFolder(name, parent) || below(name, parent)) {
			names = append(names, name)
		}
	}
	return names
}

// sameFolder compares as IMAP does: INBOX is written in any case (RFC 9051,
// section 5.1).
func sameFolder(name, asked string) bool {
	return name == asked || name == inbox && strings.EqualFold(asked, inbox)
}

func below(name, parent string) bool {
	return len(name) > len(parent) && name[len(parent)] == '/' && sameFolder(name[:len(parent)], parent)
}

// list streams the entries in the order of the vault's packs. What the brake
// holds back is restored too, after the rest: nobody has said that its user
// deleted it, and mail too much does less harm than mail too little.
func (s *selection) list(ctx context.Context, c *catalog.Catalog, yield func(*catalog.Entry) error) error {
	if err := c.Entries(ctx, s.query, yield); err != nil {
		return err
	}
	q := s.query
	if q.Deleted || !q.DeletedSince.IsZero() || !q.AsOf.IsZero() {
		return nil
	}
	var holds bool
	err := c.Holds(ctx, func(h *catalog.Hold) error {
		holds = holds || h.User == q.User
		return nil
	})
	if err != nil || !holds {
		return err
	}
	q.Deleted = true
	return c.Entries(ctx, q, func(e *catalog.Entry) error {
		if !undecided(e) {
			return nil
		}
		return yield(e)
	})
}

// undecided tells whether a record is gone without anybody having said that it
// was deleted.
func undecided(e *catalog.Entry) bool { return e.GoneRun != 0 && e.Hold != 0 && e.GoneAt == nil }

// whole tells whether folders are restored as such and not only messages, so
// that empty ones belong to it.
func (s *selection) whole() bool { return whole(s.query) }

func whole(q catalog.Query) bool {
	texts := q.From + q.To + q.Subject + q.MessageID
	return len(q.UIDs) == 0 && len(q.InPacks) == 0 && texts == "" &&
		q.Since.IsZero() && q.Before.IsZero() && !q.Deleted && q.DeletedSince.IsZero()
}

// met notes that a UID was found.
func (s *selection) met(e *catalog.Entry) { delete(s.unmet, e.UID) }

// missing gives the UIDs that were asked for and not found, in order.
func (s *selection) missing() []uint32 {
	var uids []uint32
	for uid := range s.unmet {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}

// folders names what was asked for, for a message about all of it.
func (s *selection) folders() string { return strings.Join(s.query.Folders, ", ") }
