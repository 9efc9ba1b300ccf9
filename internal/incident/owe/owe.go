// Package owe takes messages that have no content out of a live server's index,
// after writing each into the incident's ledger: clients that meet an entry
// without content may drop mail, and replication cannot pass it. What is found
// later is delivered anew (redeliver).
//
// Plan looks and writes a plan down; Run carries out a plan that is named by its
// hash, and looks at everything again before. cmd/salvor calls both.
//
// Invariants:
//   - Nothing is taken out that the plan does not name, that the server gave whole
//     when it was asked last, or that the vault has and could put back.
//   - Nothing is taken out that is not in the ledger, in the vault, before.
//   - An error of the server other than a missing file stops everything.
//   - A plan that was interrupted anywhere is completed by running it again.
package owe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
	"salvor/internal/mailstore"
	"salvor/internal/progress"
)

// What a caller may have to decide about.
var (
	// ErrPlan: the plan is not there, damaged, or for something else.
	ErrPlan = errors.New("this plan cannot be used")
	// ErrYoung: too little time lies between both looks.
	ErrYoung = errors.New("the plan is too young: each message is looked at twice, minutes apart")
	// ErrOld: the plan says little about today's server.
	ErrOld = errors.New("the plan is too old")
	// ErrRemove: the store cannot take single messages out.
	ErrRemove = errors.New("nothing can be taken out of this store")
)

const (
	// Settle is the least time between the two looks at a message.
	Settle = 2 * time.Minute
	// oldest is how long a plan can be run.
	oldest = 24 * time.Hour
	// mostPercent of a user's messages are taken out without asking.
	mostPercent = 5
	beside      = 4
)

// Options say what is looked at. Store, Server and Settle are needed.
type Options struct {
	// Store is the server's URL, by which plans know it.
	Store  string
	Server mailstore.Server
	// Users are those that a plan is about; none: all of the incident.
	Users []string
	// Settle is the least time between the plan and its running.
	Settle time.Duration
	// Accept are the users of whom more may be taken out than mostPercent.
	Accept []string
	// Hook is told of the users' gates.
	Hook gate.Hook
	// Beside is how many users are worked on at a time; 0: 4.
	Beside int
	Meter  progress.Meter
}

func (o *Options) beside() int {
	if o.Beside > 0 {
		return o.Beside
	}
	return beside
}

// Report is what was found, and done.
type Report struct {
	Incident string  `json:"incident"`
	Store    string  `json:"store"`
	Plan     string  `json:"plan"` // its SHA-256; "": there was nothing to plan
	File     string  `json:"file,omitempty"`
	DryRun   bool    `json:"dry_run"`
	Looked   int     `json:"looked"` // users whose accounts were looked at
	Take     int     `json:"take"`   // messages to be taken out
	Taken    int     `json:"taken"`  // of these, those that are out now
	Users    []*User `json:"users"`  // of whom there is something to be said
}

// Incomplete tells whether something was not done, or is not as it should be; of a
// dry run, whether something could not be looked at.
func (r *Report) Incomplete() bool {
	return slices.ContainsFunc(r.Users, func(u *User) bool { return len(u.Problems) > 0 || !r.DryRun && (u.Refused || u.Left > 0) })
}

// A User is what was found of a user, and done.
type User struct {
	User     string `json:"user"`
	Messages int    `json:"messages"` // that the server lists, when the plan was made
	Dangling int    `json:"dangling"` // of these, those without content
	// Take is how many are to be taken out: those that are or become owed, those
	// whose copy stands elsewhere, and those that nobody waits for.
	Take    int     `json:"take"`
	Percent float64 `json:"percent"`
	Owed    int     `json:"owed"`
	Copied  int     `json:"copied"`
	Deleted int     `json:"deleted"`
	Junk    int     `json:"junk"`
	Lost    int     `json:"lost"`
	// Held are those that the vault has: they are not taken out. Again are those of
	// them of which the ledger does not say so yet, as they had content before.
	Held  int `json:"held"`
	Again int `json:"again"`
	// Damaged are those that give other bytes than they should: likewise.
	Damaged int      `json:"damaged"`
	Folders []Folder `json:"folders"`
	// From and To are the dates of the oldest and the newest to be taken out.
	From *time.Time `json:"from"`
	To   *time.Time `json:"to"`
	// Refused: it is more than may be taken out unasked.
	Refused bool `json:"refused"`
	// Taken are out now, Gone were out already, Whole have their content again; New
	// dangle and are not in the plan; Left dangle in the end.
	Taken    int      `json:"taken"`
	Gone     int      `json:"gone"`
	Whole    int      `json:"whole"`
	New      int      `json:"new"`
	Left     int      `json:"left"`
	Problems []string `json:"problems"`
}

// A Folder is how many messages of a folder are to be taken out.
type Folder struct {
	Folder      string `json:"folder"`
	UIDValidity uint32 `json:"uid_validity"`
	Take        int    `json:"take"`
}

func (u *User) problem(format string, args ...any) {
	u.Problems = append(u.Problems, fmt.Sprintf(format, args...))
}

// judge weighs what is to be taken out against what there is. What has lost its
// content again counts too: then a volume may be away.
func (u *User) judge() {
	if u.Messages > 0 {
		u.Percent = 100 * float64(u.Take+u.Again) / float64(u.Messages)
	}
	u.Refused = beyond(u.Take+u.Again, u.Messages)
}

func beyond(n, messages int) bool { return n*100 > messages*mostPercent }

// Plan looks at the users' accounts, writes a plan to the incident's directory,
// and changes nothing. The first error of the server ends it without a plan.
func Plan(ctx context.Context, l *incident.Ledger, o Options) (*Report, error) {
	if err := incident.VerifyKept(ctx, &l.Incident); err != nil {
		return nil, err
	}
	users, err := incident.Users(ctx, l.Catalog(), l.Incident.Name, o.Users)
	if err != nil {
		return nil, err
	}
	o.Meter.Stage("look")
	o.Meter.Total(int64(len(users)), 0)
	found := make([]*finding, len(users))
	err = incident.Beside(ctx, o.beside(), users, func(ctx context.Context, at int, user string) (err error) {
		found[at], err = look(ctx, l, &o, user)
		o.Meter.Add(1, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &Report{Incident: l.Incident.Name, Store: o.Store, DryRun: true, Users: []*User{}}
	p := &plan{head: planHead{Version: planVersion, Incident: r.Incident, Store: r.Store}}
	for _, f := range found {
		if f.report.Dangling > 0 || len(f.report.Problems) > 0 {
			r.Users = append(r.Users, f.report)
		}
		if !f.missing {
			r.Looked++
		}
		r.Take += f.report.Take
		p.add(f)
	}
	if len(p.users) == 0 {
		return r, nil
	}
	head, err := l.Catalog().Head()
	if err != nil {
		return nil, err
	}
	p.head.Ledger, p.head.Made = head.Hash, l.Now().UTC()
	r.Plan, r.File, err = p.write(l.Incident.Kept)
	return r, err
}

// A finding is what a look at a user found.
type finding struct {
	user    string
	report  *User
	rulings []ruling // on what is to be done something about
	missing bool     // the server does not know the user
}

// look looks at a user and decides what is to be done.
func look(ctx context.Context, l *incident.Ledger, o *Options, user string) (*finding, error) {
	f := &finding{user: user, report: &User{User: user, Folders: []Folder{}, Problems: []string{}}}
	live, err := o.Server.Live(ctx, user)
	if errors.Is(err, mailstore.ErrNoAccount) {
		f.missing = true
		f.report.problem("there is no such account at %s", o.Store)
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	err = f.all(ctx, l, o.Store, live)
	if err = errors.Join(err, live.Close(ctx)); err != nil {
		return nil, fmt.Errorf("look at the account of %q: %w", user, err)
	}
	return f, nil
}

func (f *finding) all(ctx context.Context, l *incident.Ledger, store string, live mailstore.Live) error {
	if _, ok := live.(mailstore.Remover); !ok {
		return ErrRemove
	}
	v, err := view(ctx, live)
	if err != nil {
		return err
	}
	f.report.Messages, f.report.Dangling = v.messages, len(v.dangling)
	d, err := openDocket(ctx, l, store, f.user, v)
	if err != nil {
		return err
	}
	for _, e := range v.dangling {
		r, err := d.rule(e)
		if err != nil {
			return err
		}
		if r.take {
			state, err := ask(ctx, live, e)
			if err != nil {
				return err
			}
			if state != contentMissing {
				f.passed(e, state)
				continue
			}
		}
		f.ruled(r)
	}
	f.report.judge()
	return nil
}

// passed counts what is not to be taken out after all.
func (f *finding) passed(e entry, state content) {
	switch state {
	case contentWhole:
		f.report.Whole++
	case contentOther:
		f.report.Damaged++
		f.report.problem("folder %q: UID %d gives other bytes than it should; it is left alone", e.folder, e.UID)
	}
}

func (f *finding) ruled(r ruling) {
	u := f.report
	if n := u.of(r.kind); n != nil {
		*n++
	}
	if r.problem != "" {
		u.problem("folder %q: UID %d: %s", r.entry.folder, r.entry.UID, r.problem)
	}
	if !r.take && !r.write {
		return
	}
	f.rulings = append(f.rulings, r)
	if !r.take {
		u.Again++
		return
	}
	u.Take++
	if n := len(u.Folders); n > 0 && u.Folders[n-1].Folder == r.entry.folder {
		u.Folders[n-1].Take++
	} else {
		u.Folders = append(u.Folders, Folder{r.entry.folder, r.entry.validity, 1})
	}
	if at := r.entry.InternalDate; !at.IsZero() {
		if u.From == nil || at.Before(*u.From) {
			u.From = &at
		}
		if u.To == nil || at.After(*u.To) {
			u.To = &at
		}
	}
}

// of is where messages of a kind are counted.
func (u *User) of(k kind) *int {
	switch k {
	case kindOwed:
		return &u.Owed
	case kindCopied:
		return &u.Copied
	case kindDeleted:
		return &u.Deleted
	case kindJunk:
		return &u.Junk
	case kindLost:
		return &u.Lost
	case kindHeld:
		return &u.Held
	}
	return nil
}

// zeroSum tells apart what a server does not promise.
var zeroSum chunk.SHA1
