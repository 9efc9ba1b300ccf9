package salvage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"salvor/salvage/found"

	"zombiezen.com/go/sqlite"
)

// A Report says what a salvage came to. Candidates is everything that was found
// and may be mail, without what was found twice: it is the sum of the counts up to
// Superseded.
type Report struct {
	Candidates  int64 `json:"candidates"`
	Matched     int64 `json:"matched"`
	AlreadyHeld int64 `json:"already_held"`
	Tombstoned  int64 `json:"tombstoned"`
	Unknown     int64 `json:"unknown"`
	Damaged     int64 `json:"damaged"`
	// Superseded are damaged copies of owed messages that were found whole elsewhere.
	Superseded int64 `json:"superseded"`
	// UnreadableBytes are bytes of all sources that nobody could read.
	UnreadableBytes int64 `json:"unreadable_bytes"`
	// UnreadFiles are files and directories of trees that nobody could read.
	UnreadFiles int64 `json:"unread_files"`

	// Owed is how many messages the incident owes; each is one of the others.
	Owed int64 `json:"owed"`
	// OwedFound were found and proved to be what is owed.
	OwedFound int64 `json:"owed_found"`
	// OwedUnreadable: their place is known, and parts of it cannot be read.
	OwedUnreadable int64 `json:"owed_unreadable"`
	// OwedOverwritten: their place is known, and something else stands there.
	OwedOverwritten int64 `json:"owed_overwritten"`
	// OwedMissing: nothing that was read says where they were.
	OwedMissing int64 `json:"owed_missing"`

	Sources []*Source `json:"sources"`
	Users   []User    `json:"users"`
	// Notes are what a person should know; Further what another look could bring.
	Notes   []string `json:"notes,omitempty"`
	Further []string `json:"further,omitempty"`
}

// A Source is what was found on one volume or in one tree of files.
type Source struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`             // bytes; of a tree: of its files
	System   string `json:"system,omitempty"` // "ext4", "xfs", "directory"; "": none that is known
	Unknown  int64  `json:"unreadable_bytes"`
	Files    int64  `json:"files"`    // that any record describes
	Carved   int64  `json:"carved"`   // messages, and parts of such, that no file explains
	Nonsense int64  `json:"nonsense"` // records that made no sense
	// UnreadFiles are files and directories of a tree that nobody could read.
	UnreadFiles int64  `json:"unread_files"`
	Found       Counts `json:"found"`

	// dark: no file system on it is known, and nothing in it begins as mail does.
	dark    bool
	content string // what it begins with; "": nobody knows
}

// A User is what was found of one user's mail: Name "" is nobody's.
type User struct {
	Name        string `json:"user"`
	Found       Counts `json:"found"`
	Owed        int64  `json:"owed"`
	OwedFound   int64  `json:"owed_found"`
	Unreadable  int64  `json:"owed_unreadable"`
	Overwritten int64  `json:"owed_overwritten"`
	Missing     int64  `json:"owed_missing"`
}

// Counts are findings by class.
type Counts struct {
	Matched     int64 `json:"matched"`
	AlreadyHeld int64 `json:"already_held"`
	Tombstoned  int64 `json:"tombstoned"`
	Unknown     int64 `json:"unknown"`
	Damaged     int64 `json:"damaged"`
	Superseded  int64 `json:"superseded"`
}

func (c *Counts) add(class string, n int64) {
	switch found.Class(class) {
	case found.Matched:
		c.Matched += n
	case found.Held:
		c.AlreadyHeld += n
	case found.Tombstoned:
		c.Tombstoned += n
	case found.Unknown:
		c.Unknown += n
	case found.Damaged:
		c.Damaged += n
	default:
		c.Superseded += n
	}
}

func (c *Counts) sum() int64 {
	return c.Matched + c.AlreadyHeld + c.Tombstoned + c.Unknown + c.Damaged + c.Superseded
}

func (r *Report) source(name string, size int64) *Source {
	s := &Source{Name: name, Size: size}
	r.Sources = append(r.Sources, s)
	return s
}

// superseded is the condition under which a finding is a damaged copy of what was
// found whole.
const superseded = `(class = 'damaged' AND claim <> 0 AND EXISTS (SELECT 1 FROM want WHERE want.id = finding.claim AND want.finding <> ''))`

// listed is the condition under which a finding is told one by one.
const listed = `class IN ('matched', 'unknown', 'damaged') AND NOT ` + superseded

// finish writes the list of findings and adds everything up.
func (e *engine) finish(ctx context.Context) error {
	if err := e.nameUsers(); err != nil {
		return err
	}
	if err := e.notes.commit(); err != nil {
		return err
	}
	if err := e.o.Keeper.Finish(ctx, func(yield func(*found.Finding) error) error { return e.findings(ctx, yield) }); err != nil {
		return err
	}
	if err := e.count(); err != nil {
		return err
	}
	return e.countOwed()
}

func (e *engine) count() error {
	r := e.report
	users := map[string]*Counts{}
	var all Counts
	query := "SELECT source, user, CASE WHEN " + superseded + " THEN 'superseded' ELSE class END AS c, count(*), sum(how IN ('carved', 'pieced')) FROM finding GROUP BY source, user, c"
	err := e.notes.ask(query, nil, func(s *sqlite.Stmt) error {
		class, n := s.ColumnText(2), s.ColumnInt64(3)
		all.add(class, n)
		for _, source := range r.Sources {
			if source.Name == s.ColumnText(0) {
				source.Found.add(class, n)
				source.Carved += s.ColumnInt64(4)
			}
		}
		if users[s.ColumnText(1)] == nil {
			users[s.ColumnText(1)] = &Counts{}
		}
		users[s.ColumnText(1)].add(class, n)
		return nil
	})
	if err != nil {
		return err
	}
	r.Candidates, r.Matched, r.AlreadyHeld, r.Tombstoned = all.sum(), all.Matched, all.AlreadyHeld, all.Tombstoned
	r.Unknown, r.Damaged, r.Superseded = all.Unknown, all.Damaged, all.Superseded
	for _, s := range r.Sources {
		r.UnreadableBytes += s.Unknown
	}
	for name, c := range users {
		r.Users = append(r.Users, User{Name: name, Found: *c})
	}
	return nil
}

// countOwed says of everything owed what became of it.
func (e *engine) countOwed() error {
	r := e.report
	at := map[string]int{}
	for i, u := range r.Users {
		at[u.Name] = i
	}
	query := `SELECT user, CASE WHEN finding <> '' THEN 'found' ELSE coalesce((SELECT CASE WHEN missing > 0 THEN 'unreadable' ELSE 'overwritten' END
		FROM remains WHERE claim = want.id), 'missing') END AS fate, count(*) FROM want GROUP BY user, fate`
	err := e.notes.ask(query, nil, func(s *sqlite.Stmt) error {
		name, n := s.ColumnText(0), s.ColumnInt64(2)
		i, ok := at[name]
		if !ok {
			i = len(r.Users)
			at[name], r.Users = i, append(r.Users, User{Name: name})
		}
		u := &r.Users[i]
		u.Owed += n
		r.Owed += n
		switch s.ColumnText(1) {
		case "found":
			u.OwedFound += n
			r.OwedFound += n
		case "unreadable":
			u.Unreadable += n
			r.OwedUnreadable += n
		case "overwritten":
			u.Overwritten += n
			r.OwedOverwritten += n
		default:
			u.Missing += n
			r.OwedMissing += n
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(r.Users, func(a, b User) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	if r.Users == nil {
		r.Users = []User{}
	}
	r.further()
	return nil
}

// further says what another look could bring.
func (r *Report) further() {
	say := func(format string, args ...any) { r.Further = append(r.Further, fmt.Sprintf(format, args...)) }
	if r.OwedUnreadable > 0 {
		say("%d owed messages lie in places that could not be read: copying these again (ddrescue -r3, another cable, another drive of the array) and salvaging with the new map may bring them", r.OwedUnreadable)
	}
	dark := false
	for _, s := range r.Sources {
		if s.dark {
			dark = true
			say("%s", s.next())
		}
	}
	if r.OwedMissing > 0 && r.UnreadableBytes > 0 {
		say("%d owed messages left no trace in what could be read; %d bytes could not be read", r.OwedMissing, r.UnreadableBytes)
	}
	switch {
	case r.OwedMissing == 0 || r.UnreadableBytes > 0:
	case dark:
		say("%d owed messages left no trace in what was understood", r.OwedMissing)
	default:
		say("%d owed messages left no trace: they were on another volume, or were written over", r.OwedMissing)
	}
}

// findings walks over what was found and is kept, by ID.
func (e *engine) findings(ctx context.Context, yield func(*found.Finding) error) error {
	return e.eachFinding(ctx, listed, nil, yield)
}

// eachFinding walks over findings, by ID.
func (e *engine) eachFinding(ctx context.Context, where string, args []any, yield func(*found.Finding) error) error {
	query := "SELECT fact, places FROM finding WHERE " + where + " AND id > ? ORDER BY id" + limit(fileBatch)
	for after := ""; ; {
		var batch []found.Finding
		err := e.notes.ask(query, append(slices.Clone(args), after), func(s *sqlite.Stmt) error {
			var f found.Finding
			if err := json.Unmarshal(column(s, 0), &f); err != nil {
				return err
			}
			f.Places = int(s.ColumnInt64(1))
			batch = append(batch, f)
			return nil
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := each(ctx, batch, yield); err != nil {
			return err
		}
		after = batch[len(batch)-1].ID
	}
}
