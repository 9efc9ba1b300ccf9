// Package redeliver brings found mail back: contents that turn up somewhere are
// matched with what an incident owes, and appended to their folders on a running
// server, each exactly once.
//
// Order makes it exact. An intention (Claim.SentAt and what goes with it) is in
// the vault before its message is sent, what became of it afterwards; one message
// is under way in a folder at a time. What an interrupted run has left open is
// looked at before anything else (resume.go): a message is sent again only when it
// is certain that the server has not got it, and what cannot be decided is in
// doubt, stays owed, and waits for a person (Settle). Before a message is sent,
// the server is asked whether it has it already (there.go).
//
// Only cmd/salvor calls it. It reads contents from a Source, writes to a
// mailstore.Poster, and knows no adapter.
package redeliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/progress"
)

// Options say what is redelivered. Name, From, Server and Store are needed.
type Options struct {
	Name   string // of the incident
	From   Source
	Server mailstore.Server
	Store  string // the server's URL, without secrets
	User   string // only this user's; "": everybody's
	// AcceptProbable delivers what is only probably owed mail, too.
	AcceptProbable bool
	// DryRun writes nothing anywhere.
	DryRun bool
	// Folder takes what cannot go to its own folder; "" means "Recovered".
	Folder string
	// Workers is how many users are served side by side; 0 means 4.
	Workers int
	// Wait holds back before each message; nil does not.
	Wait func(ctx context.Context, messages int, bytes int64) error
	// Quiet is how long a folder's UIDNEXT must have stood still until it is sure
	// that a session which broke off adds nothing more; 0 means 3 s.
	Quiet time.Duration
	// Unknown is told what nobody owes; nil is not.
	Unknown func(Content)
	Meter   progress.Meter
	Now     func() time.Time
}

// DefaultFolder is where messages go whose own folder cannot be made.
const DefaultFolder = "Recovered"

// Report says what became of what was found, and of what was owed.
type Report struct {
	Incident string `json:"incident"`
	// Of owed messages: those that were delivered, those that the server had
	// already, those that were found and not delivered.
	Delivered    int64 `json:"delivered"`
	AlreadyThere int64 `json:"already_there"`
	Failed       int64 `json:"failed"`
	// StillOwed is what the ledger owes afterwards (of Options.User only); InDoubt are those of it of which
	// nobody can tell whether they were delivered.
	StillOwed int64 `json:"still_owed"`
	InDoubt   int64 `json:"in_doubt"`
	// Probable are the owed messages for which something was found that is not
	// surely theirs, and was not delivered.
	Probable int64 `json:"probable"`
	// Of what was found: nobody owes it; it was there, or was found twice; its user
	// has deleted it; it could not be read.
	Unknown     int64 `json:"unknown"`
	AlreadyHeld int64 `json:"already_held"`
	Deleted     int64 `json:"deleted"`
	Unreadable  int64 `json:"unreadable"`

	DryRun  bool     `json:"dry_run"`
	Folders []Folder `json:"folders"` // by user and name
	// Notes are what should be known: the first 200.
	Notes []string `json:"notes"`
	// MoreNotes is how many more there are.
	MoreNotes int `json:"more_notes,omitempty"`
}

// Folder is what was delivered, or would be, into one folder of a user.
type Folder struct {
	User     string `json:"user"`
	Name     string `json:"folder"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"` // of the wire form
}

// maxNotes bounds what a report remembers by name.
const maxNotes = 200

func (r *Report) note(format string, args ...any) {
	if len(r.Notes) == maxNotes {
		r.MoreNotes++
		return
	}
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Complete tells whether everything that was found and is owed was delivered.
func (r *Report) Complete() bool { return r.Failed+r.InDoubt+r.Probable+r.Unreadable == 0 }

// Run redelivers what o.From has. The report says how far it came, also with an
// error. incident.ErrUnknown, incident.ErrClosed; *vault.LockedError while another
// process acts on the incident.
func Run(ctx context.Context, h *history.History, o Options) (*Report, error) {
	o.Folder, o.Workers, o.Quiet = orElse(o.Folder, DefaultFolder), orElse(o.Workers, 4), orElse(o.Quiet, 3*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	report := &Report{Incident: o.Name, DryRun: o.DryRun, Folders: []Folder{}, Notes: []string{}}
	act := incident.ActOptions{Name: o.Name, Purpose: "redeliver", Now: o.Now, DryRun: o.DryRun}
	err := incident.Act(ctx, h, act, func(ctx context.Context, l *incident.Ledger) error {
		r := &run{o: &o, l: l, book: &book{l: l}, report: report, folders: map[[2]string]*Folder{}}
		err := r.all(ctx)
		return errors.Join(err, r.count(context.WithoutCancel(ctx)))
	})
	if err != nil {
		return report, fmt.Errorf("redeliver: %w", err)
	}
	return report, nil
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// all reads the source, then serves user by user.
func (r *run) all(ctx context.Context) error {
	m := newMatcher(r.l.Catalog(), r.o, r.report)
	r.o.Meter.Stage("read what was found")
	if err := m.take(ctx, r.o.From); err != nil {
		return fmt.Errorf("look for owed messages: %w", err)
	}
	m.conclude(r.o.AcceptProbable)
	if err := r.answer(ctx, m); err != nil {
		return err
	}
	r.evidence = m.evidence
	users := map[string][]*match{}
	var bytes int64
	for _, f := range m.found {
		users[f.user] = append(users[f.user], f)
		bytes += f.content.wire
	}
	r.o.Meter.Stage("redeliver")
	r.o.Meter.Total(int64(len(m.found)), bytes)
	err := r.l.Claims(ctx, catalog.ClaimQuery{Sent: true, User: r.o.User}, func(c *catalog.Claim) error {
		if _, ok := users[c.User]; !ok && !r.o.DryRun {
			users[c.User] = nil // nothing was found, and something is to be cleared up
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.serve(ctx, users)
}

// count reads the ledger as it is at the end.
func (r *run) count(ctx context.Context) error {
	err := r.l.Claims(ctx, catalog.ClaimQuery{State: catalog.ClaimOwed, User: r.o.User}, func(c *catalog.Claim) error {
		r.report.StillOwed++
		if c.Doubt || c.InFlight() {
			r.report.InDoubt++
		}
		return nil
	})
	r.report.Folders = r.report.Folders[:0]
	for _, f := range r.folders {
		r.report.Folders = append(r.report.Folders, *f)
	}
	slices.SortFunc(r.report.Folders, func(a, b Folder) int {
		return orElse(strings.Compare(a.User, b.User), strings.Compare(a.Name, b.Name))
	})
	return err
}
