// Package fill puts messages' files back into a mail store whose index survived:
// with the right file at its place a message is there again under its UID, with
// its flags and dates, and nobody's client notices more. It is the other way to
// bring back what an incident's vault holds (recall makes new messages).
//
// cmd/salvor calls Run, with a way to open the store and one to read the vault.
//
// Invariants:
//   - A claim becomes restored when its file is durable in its place, never
//     before. What a kill leaves unwritten is found in the store the next time.
//   - A claim becomes present only when its file was read, and its content is what
//     the vault has or the index promises, by hash; where nothing tells a hash,
//     by size.
//   - The index decides what there is: what it does not name is not put.
//
// Memory is bounded by the largest users, as many as are filled side by side.
package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/pace"
	"salvor/internal/progress"
)

// beside is how many users are filled at a time.
const beside = 4

// Options say what is filled. Store, Open and Read are needed.
type Options struct {
	// Store is the URL of the store, for the ledger; it holds no secrets.
	Store string
	// Open opens the store, once for each of those who work side by side.
	Open func() (mailstore.Filler, error)
	// Read gives a claim's content out of the vault, as its store had it.
	Read func(ctx context.Context, c *catalog.Claim) ([]byte, error)
	// Users are those that are filled; none: all of the incident.
	Users []string
	// DryRun looks at the store, reads no content, and changes nothing. What
	// stands there is judged by its size.
	DryRun bool
	Pace   *pace.Limiter
	// Beside is how many users are filled at a time; 0: 4.
	Beside int
	Meter  progress.Meter
}

// Report is what was done. With DryRun it is what would be.
type Report struct {
	Incident string `json:"incident"`
	Store    string `json:"store"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Users    int    `json:"users"`
	Filled   int64  `json:"filled"` // files that were put back
	Bytes    int64  `json:"bytes"`  // of these
	Present  int64  `json:"present"`
	// Failed could not be put back, for a reason that Problems has.
	Failed int64 `json:"failed"`
	// Unnamed wait in the vault, but the store's index does not name them.
	Unnamed int64 `json:"unnamed"`
	// Owed are named by the index, and nobody has their content.
	Owed int64 `json:"owed"`
	// Problems are the first 100; More counts the others.
	Problems []string `json:"problems"`
	More     int      `json:"more_problems,omitempty"`
	Notes    []string `json:"notes"` // what was put aside: the first 1000
	Seconds  float64  `json:"seconds"`
}

// Incomplete tells whether something could not be filled.
func (r *Report) Incomplete() bool { return r.Failed > 0 || len(r.Problems) > 0 }

// Bounds of what is said of what could not be done, and of what was put aside.
const (
	maxProblems = 100
	maxNotes    = 1000
)

func (r *Report) problem(line string) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, line)
}

// A run fills a store once.
type run struct {
	l   *incident.Ledger
	o   Options
	ctx context.Context // of the whole run, which changes of the ledger belong to

	mu     sync.Mutex
	report *Report
	book   book
	idle   []mailstore.Filler
}

// Run fills the store from the vault. The report is there, and true, also after
// an error.
func Run(ctx context.Context, l *incident.Ledger, o Options) (*Report, error) {
	begun := time.Now()
	r := &run{l: l, o: o, ctx: ctx, report: &Report{Incident: l.Incident.Name, Store: o.Store, DryRun: o.DryRun, Problems: []string{}, Notes: []string{}}}
	r.book = book{l: l, store: o.Store}
	users, err := r.users(ctx)
	if err != nil {
		return r.report, err
	}
	n := o.Beside
	if n <= 0 {
		n = beside
	}
	o.Meter.Stage("fill")
	err = incident.Beside(ctx, n, users, func(ctx context.Context, _ int, user string) error {
		if err := r.one(ctx, user); err != nil {
			return fmt.Errorf("fill the mail of %q: %w", user, err)
		}
		return nil
	})
	err = errors.Join(err, r.end(ctx))
	r.report.Seconds = time.Since(begun).Seconds()
	return r.report, err
}

// users are those of whom something waits in the vault or is owed, or stood in its
// place and may have been lost once more.
func (r *run) users(ctx context.Context) (users []string, err error) {
	var waiting int64
	known := map[string]bool{}
	err = r.l.Catalog().ClaimUsers(ctx, r.l.Incident.Name, func(u catalog.UserClaims) error {
		known[u.User] = true
		n := u.Counts[catalog.ClaimHeld] + u.Counts[catalog.ClaimUncertain]
		all := n + u.Counts[catalog.ClaimOwed] + u.Counts[catalog.ClaimPresent] + u.Counts[catalog.ClaimRestored] + u.Counts[catalog.ClaimRestoredMaybe]
		if asked := len(r.o.Users) == 0 || slices.Contains(r.o.Users, u.User); asked && all > 0 {
			users = append(users, u.User)
			waiting += n
		}
		return nil
	})
	for _, u := range r.o.Users {
		if err == nil && !known[u] {
			err = fmt.Errorf("%q: %w", u, incident.ErrUser)
		}
	}
	r.o.Meter.Total(waiting, 0)
	return users, err
}

// one fills one user's mail with a store that nobody else uses meanwhile.
func (r *run) one(ctx context.Context, user string) error {
	f, err := r.take()
	if err != nil {
		return err
	}
	w := &worker{run: r, f: f, user: user}
	if err := w.fill(ctx); err != nil {
		// What it may have under way is nobody's any more.
		return errors.Join(err, closeFiller(f))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Users++
	r.idle = append(r.idle, f)
	return nil
}

// take gives a store that is open and idle, or opens one.
func (r *run) take() (mailstore.Filler, error) {
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		f := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return f, nil
	}
	r.mu.Unlock()
	return r.o.Open()
}

// lastWords is how long an interrupted run may take to write the ledger.
const lastWords = 10 * time.Second

// end writes the rest of the ledger and closes the store.
func (r *run) end(ctx context.Context) error {
	var err error
	for _, f := range r.idle {
		err = errors.Join(err, closeFiller(f))
	}
	if r.o.DryRun {
		return err
	}
	if ctx.Err() != nil {
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer stop()
		ctx = last
	}
	return errors.Join(err, r.book.end(ctx))
}

func closeFiller(f mailstore.Filler) error {
	if c, ok := f.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// count changes the report.
func (r *run) count(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.report)
}
