package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
)

// A Sight is what a look at an account saw.
type Sight struct {
	Store string
	At    time.Time // when it began
	// Dangling is how many messages are listed without content.
	Dangling int64
	// Missing: the server does not know the user.
	Missing bool
	// Inbox is INBOX's UIDVALIDITY; 0: nobody looked.
	Inbox uint32
}

// Look goes through all of a user's own mailboxes.
func Look(ctx context.Context, server mailstore.Server, store, user string, now func() time.Time) (s Sight, err error) {
	s = Sight{Store: store, At: now()}
	live, err := server.Live(ctx, user)
	if errors.Is(err, mailstore.ErrNoAccount) {
		s.Missing = true
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, live.Close(ctx)) }()
	var names []string
	err = live.Mailboxes(ctx, func(m mailstore.Mailbox) error {
		names = append(names, m.Name)
		return nil
	})
	for i := 0; err == nil && i < len(names); i++ {
		var stand mailstore.Stand
		stand, err = live.Inspect(ctx, names[i], func(m mailstore.Inspected) error {
			if m.Dangling {
				s.Dangling++
			}
			return nil
		})
		if strings.EqualFold(names[i], folder.Inbox) {
			s.Inbox = stand.UIDValidity
		}
		if errors.Is(err, mailstore.ErrNoMailbox) { // removed since it was listed
			err = nil
		}
	}
	if err != nil {
		return s, fmt.Errorf("look at the account of %q: %w", user, err)
	}
	return s, nil
}

// look gives what there is to be seen of users, nil for those whom nobody looks
// at, and what was wrong with each.
func (u *update) look(ctx context.Context, users []string) ([]*Sight, []error, error) {
	sights, problems := make([]*Sight, len(users)), make([]error, len(users))
	var ask []string
	var at []int
	for i, user := range users {
		if s, ok := u.o.Sights[user]; ok {
			sights[i] = &s
		} else if u.o.Server != nil {
			ask, at = append(ask, user), append(at, i)
		}
	}
	n := u.o.Beside
	if n == 0 {
		n = beside
	}
	err := incident.Beside(ctx, n, ask, func(ctx context.Context, i int, user string) error {
		if u.gaveUp() {
			problems[at[i]] = errGivenUp
			return nil
		}
		s, err := Look(ctx, u.o.Server, u.o.Store, user, u.l.Now)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		u.looked(err)
		if problems[at[i]] = err; err == nil {
			sights[at[i]] = &s
		}
		u.o.Meter.Add(1, 0)
		return nil
	})
	return sights, problems, err
}

func (u *update) gaveUp() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failedLooks >= giveUp
}

func (u *update) looked(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failedLooks++; err == nil {
		u.failedLooks = 0
	}
}
