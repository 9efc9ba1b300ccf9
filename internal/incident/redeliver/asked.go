package redeliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/salvage/volume"
)

// Asked is what is known of a message that nobody gets by itself: one that is not
// whole, or one that nobody is known to miss. It is delivered because an operator
// named it. What is not whole gets the keyword KeywordDamaged, and the ledger says
// what it lacks; its bytes are delivered as they are, with zeros for what is missing.
type Asked struct {
	ID string // of the finding
	// Claim is the owed message that it is what is left of; 0: it is none, and goes
	// to Folder of User, with a claim of its own.
	Claim   int64
	User    string
	Folder  string
	Missing []volume.Range // in bytes of the message; none: nobody knows what
	Whole   bool           // nothing is missing
}

// KeywordDamaged marks what was delivered although it is not whole.
const KeywordDamaged = "$Damaged"

// maxLacks is how many gaps are named.
const maxLacks = 8

// damaged begins the reason of a claim whose message was sent although it is not
// whole.
const damaged = "damaged: "

// noted gives a claim as it is written down before its message is sent. What the
// message lacks has to be in it: whoever finds out that it arrived may not have the
// content at hand.
func (c *content) noted(claim *catalog.Claim) catalog.Claim {
	if c.Asked == nil && strings.HasPrefix(claim.Reason, damaged) { // another content that did not arrive
		claim.Reason = ""
	}
	out := *claim
	if c.Asked != nil {
		out.Reason = c.where()
	}
	return out
}

// lacks says what is missing.
func (a *Asked) lacks() string {
	if a.Whole {
		return "asked for by its ID"
	}
	if len(a.Missing) == 0 {
		return damaged + "it is not whole"
	}
	var gaps []string
	for _, m := range a.Missing[:min(len(a.Missing), maxLacks)] {
		gaps = append(gaps, fmt.Sprintf("%d-%d", m.Off, m.End()-1))
	}
	more := ""
	if n := len(a.Missing) - maxLacks; n > 0 {
		more = fmt.Sprintf(" and %d more stretches", n)
	}
	return fmt.Sprintf(damaged+"bytes %s%s are missing", strings.Join(gaps, ", "), more)
}

// marked gives the flags under which a content is delivered.
func (c *content) marked(flags []string) []string {
	if c.Asked == nil || c.Asked.Whole || slices.Contains(flags, KeywordDamaged) {
		return flags
	}
	out := append(slices.Clone(flags), KeywordDamaged)
	slices.Sort(out)
	return out
}

// ask remembers a content that was asked for: what is whole goes first.
func (m *matcher) ask(c *content) {
	sent := m.sent[c.id]
	for _, id := range sent {
		m.evidence[id] = c
	}
	if len(sent) == 0 {
		m.asked = append(m.asked, c)
	}
}

// answer finds the claims of what was asked for, after all that is whole has its own.
func (r *run) answer(ctx context.Context, m *matcher) error {
	for _, c := range m.asked {
		if err := r.answerOne(ctx, m, c); err != nil {
			return fmt.Errorf("finding %s: %w", c.Asked.ID, err)
		}
	}
	return nil
}

func (r *run) answerOne(ctx context.Context, m *matcher, c *content) error {
	if c.Asked.Claim == 0 && r.o.DryRun {
		m.report.Delivered++
		m.report.note("finding %s would be delivered to %q of %s; %s", c.Asked.ID, c.Asked.Folder, c.Asked.User, c.where())
		return nil
	}
	claim, err := r.claimOf(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case m.user != "" && claim.User != m.user:
		m.report.note("finding %s is mail of %s, and was not delivered", c.Asked.ID, claim.User)
		m.report.Failed++
	case claim.State != catalog.ClaimOwed || m.found[claim.ID] != nil:
		m.report.AlreadyHeld++
		m.report.note("finding %s was not delivered: message %s of %s is there, or was found whole", c.Asked.ID, uidIn(claim.Folder, claim.UID), claim.User)
	case claim.Doubt || claim.InFlight():
		m.report.note("finding %s was not delivered: message %s of %s may have arrived", c.Asked.ID, uidIn(claim.Folder, claim.UID), claim.User)
	default:
		m.found[claim.ID] = &match{claim: claim.ID, user: claim.User, folder: claim.Folder, content: c, grade: catalog.GradeProbable}
	}
	return nil
}

// claimOf gives the claim of what was asked for. What fits none gets a new one, in
// the folder that the operator has named: only by its claim it can be delivered
// once.
func (r *run) claimOf(ctx context.Context, c *content) (claim catalog.Claim, err error) {
	a := c.Asked
	if a.Claim != 0 {
		claim, ok, err := r.l.Catalog().Claim(r.o.Name, a.Claim)
		if err == nil && !ok {
			err = fmt.Errorf("message %d of the incident, which it fits, is not in its ledger", a.Claim)
		}
		return claim, err
	}
	err = r.l.Claims(ctx, catalog.ClaimQuery{SHA1: c.sha1}, func(old *catalog.Claim) error {
		if old.User == a.User && old.Folder == a.Folder && c.sized(old.Size) {
			claim = *old
		}
		return nil
	})
	if err != nil || claim.ID != 0 {
		return claim, err
	}
	if err := r.hasAccount(ctx, a.User); err != nil {
		return claim, err
	}
	err = r.l.Change(ctx, func(e *incident.Edit) error {
		claim = catalog.Claim{User: a.User, Folder: a.Folder, State: catalog.ClaimOwed, Reason: c.where(), Size: c.wire, SHA1: c.sha1,
			InternalDate: orElse(c.Date, c.date), MessageID: c.messageID}
		return e.Put(&claim)
	})
	return claim, err
}

// hasAccount makes sure that nothing is owed to somebody who is not there.
func (r *run) hasAccount(ctx context.Context, user string) error {
	live, err := r.o.Server.Live(ctx, user)
	if errors.Is(err, mailstore.ErrNoAccount) {
		return fmt.Errorf("the destination has no account of user %q: %w", user, err)
	}
	if err != nil {
		return err
	}
	return live.Close(ctx)
}
