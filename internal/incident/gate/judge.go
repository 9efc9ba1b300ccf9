package gate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore/folder"
)

// A tally is what a ledger says about a user's gate.
type tally struct {
	away int64 // messages that the vault has, and that are not back
	// changed is when the user's mail was changed last in a way that can have left
	// something dangling; zero: not since the incident was opened.
	changed time.Time
	// inbox is the UIDVALIDITY of the INBOX that mail was brought back to last, 0
	// where nobody knows it; inboxAt is when.
	inbox   uint32
	inboxAt time.Time
}

// add takes a claim into account. What was delivered anew the server has taken
// whole; giving up, and what the incident was opened with, change no mail.
func (t *tally) add(c *catalog.Claim) {
	t.at(c.TakenAt)
	if c.NowValidity != 0 && strings.EqualFold(c.NowFolder, folder.Inbox) && !c.SettledAt.Before(t.inboxAt) {
		t.inbox, t.inboxAt = c.NowValidity, c.SettledAt
	}
	switch c.State {
	case catalog.ClaimHeld, catalog.ClaimUncertain:
		t.away++
	case catalog.ClaimRestored, catalog.ClaimRestoredMaybe, catalog.ClaimPresent, catalog.ClaimOwed:
		t.at(c.SettledAt)
	}
}

func (t *tally) at(when time.Time) {
	if when.After(t.changed) {
		t.changed = when
	}
}

// judged gives a user's gate, with what has been seen of him now; nil: nothing.
func judged(ctx context.Context, c *catalog.Catalog, name, user string, seen *Sight) (Row, error) {
	var t tally
	err := c.Claims(ctx, catalog.ClaimQuery{Incident: name, User: user}, func(c *catalog.Claim) error {
		t.add(c)
		return nil
	})
	if err != nil {
		return Row{}, err
	}
	old, _, err := c.Gate(name, user)
	if err != nil {
		return Row{}, err
	}
	old.Incident, old.User = name, user
	if seen != nil && seen.Inbox != 0 && t.inbox != 0 && seen.Inbox != t.inbox {
		return Row{Gate: judge(t, old, nil), Before: old.State, Problem: fmt.Errorf(
			"mail of %q was brought back to an INBOX with UIDVALIDITY %d, and that at %s has %d: it is not looked at (hint: is this the right server?)",
			user, t.inbox, seen.Store, seen.Inbox)}, nil
	}
	return Row{Gate: judge(t, old, seen), Before: old.State}, nil
}

// judge gives the gate that follows from the ledger, from the one before, and from
// a look.
func judge(t tally, g catalog.Gate, seen *Sight) catalog.Gate {
	if seen != nil && !(seen.Missing && elsewhere(g, seen.Store)) {
		g.Store, g.CheckedAt, g.Dangling = seen.Store, seen.At, seen.Dangling
		if seen.Missing {
			g.CheckedAt, g.Dangling = time.Time{}, 0
		}
	}
	switch {
	case t.away > 0:
		g.State, g.Reason = catalog.GateDown, fmt.Sprintf("messages that are in the vault and not back yet: %d", t.away)
	case g.Store != "" && g.CheckedAt.IsZero():
		g.State, g.Reason = catalog.GateDown, "there is no such account at "+g.Store
	case g.CheckedAt.IsZero():
		g.State, g.Reason = catalog.GateWeb, "nobody has looked at the account yet"
	case g.Dangling > 0:
		g.State, g.Reason = catalog.GateWeb, fmt.Sprintf("messages that are listed and have no content: %d", g.Dangling)
	case !t.changed.Before(g.CheckedAt):
		g.State, g.Reason = catalog.GateWeb, "nobody has looked at the account since mail was brought back or taken out"
	default:
		g.State, g.Reason = catalog.GateIMAP, ""
	}
	return g
}

// elsewhere tells whether a user was seen at another server: one that does not
// know him says nothing about him.
func elsewhere(g catalog.Gate, store string) bool {
	return g.Store != store && !g.CheckedAt.IsZero()
}
