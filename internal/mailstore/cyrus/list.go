package cyrus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// A list is all mailboxes of all users, as they were when it was made.
type list struct {
	accounts map[string]*account
	problems []*mailstore.Problem
	// database is the state of mailboxes.db that the list was made of; the zero
	// fileID when the partitions' directories had a part in it.
	database fileID
}

// An account is one user's mailboxes.
type account struct {
	name     string
	boxes    []*box // INBOX first, then by name
	byFolder map[string]*box
	byID     map[string]*box
}

// sort puts the mailboxes in order, each name once.
func (a *account) sort() {
	slices.SortStableFunc(a.boxes, inboxFirst)
	a.boxes = slices.CompactFunc(a.boxes, func(x, y *box) bool { return x.folder == y.folder })
	a.byFolder, a.byID = make(map[string]*box, len(a.boxes)), make(map[string]*box, len(a.boxes))
	for _, b := range a.boxes {
		a.byFolder[b.folder] = b
		if b.id != "" {
			a.byID[b.id] = b
		}
	}
}

// inbox is the user's INBOX, or the first mailbox where that is missing.
func (a *account) inbox() *box { return a.boxes[0] }

// find gives a mailbox by its name, unless that is another one's meanwhile, or
// by its identity; nil for none.
func (a *account) find(id, name string) *box {
	if b := a.byFolder[name]; b != nil && (id == "" || b.id == "" || b.id == id) {
		return b
	}
	return a.byID[id]
}

// mailboxesDB is where mailboxes.db is.
func (s *Source) mailboxesDB() string { return s.c.path("mboxlist_db_path", "mailboxes.db") }

// refresh makes the list anew, unless it was made of the mailboxes.db that is
// there still.
func (s *Source) refresh(ctx context.Context) (*list, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.list; l != nil && l.database != (fileID{}) && l.database == identifyPath(s.mailboxesDB()) {
		return l, nil
	}
	l, err := s.makeList(ctx)
	if err != nil {
		return nil, err
	}
	s.list = l
	return l, nil
}

// current gives the list without looking for changes, where there is one and
// it was made of directories: looking through these takes long.
func (s *Source) current(ctx context.Context) (*list, error) {
	s.mu.Lock()
	l := s.list
	s.mu.Unlock()
	if l != nil && l.database == (fileID{}) {
		return l, nil
	}
	return s.refresh(ctx)
}

// makeList reads mailboxes.db, which is right when it is whole. Otherwise what
// can be read of it is joined with what is found in the partitions.
func (s *Source) makeList(ctx context.Context) (*list, error) {
	l := &list{accounts: map[string]*account{}}
	file := s.mailboxesDB()
	problem := func(err error) {
		l.problems = append(l.problems, &mailstore.Problem{Path: file, Err: err})
	}
	db, id, err := readDatabase(file)
	var boxes []*box
	var bad []string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem(fmt.Errorf("it is missing, so mailboxes are those found in the partitions: %w", err))
	case err != nil:
		problem(fmt.Errorf("mailboxes are those found in the partitions: %w", err))
	default:
		boxes, bad = s.c.decodeList(db)
		if bad = append(db.Damage, bad...); len(bad) > 0 {
			problem(fmt.Errorf("it is damaged, so mailboxes found in the partitions are added: %s%s", bad[0], andMore(len(bad)-1)))
		}
	}
	if err != nil || len(bad) > 0 || len(boxes) == 0 {
		t, err := s.c.scan(ctx)
		if err != nil {
			return nil, err
		}
		if len(l.problems) == 0 && len(t.boxes) > 0 {
			problem(fmt.Errorf("it lists no mailbox of a user, and the partitions hold %d", len(t.boxes)))
		}
		boxes = join(boxes, t.boxes)
		l.problems = append(l.problems, t.problems...)
	} else {
		l.database = id
	}
	for _, b := range boxes {
		if l.accounts[b.account] == nil {
			l.accounts[b.account] = &account{name: b.account}
		}
		a := l.accounts[b.account]
		a.boxes = append(a.boxes, b)
	}
	for _, a := range l.accounts {
		a.sort()
	}
	for _, p := range s.c.places() {
		if p.err != nil {
			l.problems = append(l.problems, &mailstore.Problem{Path: p.path, Err: p.err})
		}
	}
	return l, nil
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

// join adds the mailboxes of a second list which a first one does not have.
func join(boxes, more []*box) []*box {
	known := map[string]bool{}
	for _, b := range boxes {
		known[b.account+"\x00"+b.folder] = true
		if b.id != "" {
			known[b.id] = true
		}
	}
	for _, b := range more {
		if !known[b.account+"\x00"+b.folder] && (b.id == "" || !known[b.id]) {
			boxes = append(boxes, b)
		}
	}
	return boxes
}

func inboxFirst(a, b *box) int {
	switch {
	case a.folder == b.folder:
		return 0
	case a.folder == folder.Inbox:
		return -1
	case b.folder == folder.Inbox:
		return 1
	}
	return cmp.Compare(a.folder, b.folder)
}

// Users lists the users who have a mailbox. Where mailboxes.db is missing or
// damaged, or a partition is, it says so and lists those that can be found.
func (s *Source) Users(ctx context.Context, yield func(mailstore.User) error) error {
	l, err := s.refresh(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(l.accounts)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		a := l.accounts[name]
		if err := yield(mailstore.User{Name: name, Partition: a.inbox().partition}); err != nil {
			return err
		}
	}
	problems := slices.Clone(l.problems)
	for _, read := range []func() (map[string]string, string, error){s.specialUses, s.allQuotas} {
		if _, file, err := read(); err != nil {
			problems = append(problems, &mailstore.Problem{Path: file, Err: err})
		}
	}
	return incomplete(problems)
}

// incomplete is the error of a listing with problems, nil without.
func incomplete(problems []*mailstore.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &mailstore.Incomplete{Problems: problems}
}

// account finds a user in the list.
func (l *list) account(user string) (*account, error) {
	if a := l.accounts[user]; a != nil {
		return a, nil
	}
	return nil, &mailstore.Problem{User: user, Err: fmt.Errorf("the user has no mailbox: %w", fs.ErrNotExist)}
}
