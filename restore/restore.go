package restore

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// What a destination is made of, so that programs outside salvor can write one.
type (
	// Destination is a mail store that is written. It only ever adds.
	Destination = mailstore.Destination
	// Account is one user's part of a destination.
	Account = mailstore.Account
	// Looker is a Destination that can tell what it holds without making
	// anything. A dry run needs it to leave out what is there.
	Looker = mailstore.Looker
	// Comparer is an Account that finds single messages cheaper than by listing
	// all, Preview one of a dry run, and Previewer a Destination that has them.
	Comparer  = mailstore.Comparer
	Preview   = mailstore.Preview
	Previewer = mailstore.Previewer
	// Wanted identifies a message that may be there already.
	Wanted = mailstore.Wanted
	// Renumberer is a Destination that says where it gives new UIDs.
	Renumberer = mailstore.Renumberer
	// Refusal is the error for one message that a Destination will not take.
	Refusal = mailstore.Refusal
	// Noter is an Account that tells what an operator should know.
	Noter = mailstore.Noter
	// Dropper is an Account that tells what a failed batch took with it.
	Dropper = mailstore.Dropper
	// Note is such a remark.
	Note = mailstore.Note
	// Delivery is a message to be put into an Account.
	Delivery = mailstore.Delivery
	// Mailbox is a folder with its properties.
	Mailbox = mailstore.Mailbox
	// UID is IMAP's identifier of a message in a mailbox.
	UID = mailstore.UID
)

// A Meter is told how far a restore is. It is called by several goroutines.
type Meter interface {
	Stage(name string)
	Total(messages, bytes int64) // 0 where unknown
	Add(messages, bytes int64)
}

// A FleetMeter is a Meter that is also told how many users are done, and what of
// the total needed no work because the destination had it.
type FleetMeter interface {
	Meter
	Users(done, total int64)
	Skip(messages, bytes int64)
}

// Options say what is restored and where to. Catalog, Chunks and Destination
// must be set; the zero value of everything else is right for a whole user.
type Options struct {
	Catalog     *catalog.Catalog
	Chunks      Chunks
	Destination Destination
	// To is the name of the destination in reports, without secrets.
	To string

	// Query selects the messages; its User and Order are ignored. A folder of
	// Query.Folders stands for itself and, when it ends in "/*", also for all
	// folders below it.
	Query catalog.Query
	// Choose lists the messages of a user that are wanted, in the order in which
	// they are to be restored, and takes the place of Query: the folders that the
	// catalog knows as live are made as for a whole user. Users need not be in the
	// catalog then. It runs beside the restore, for several users at once.
	Choose func(ctx context.Context, user string, yield func(*Wish) error) error
	// Folder is asked with Choose about each folder of the catalog that would be
	// made and each that is met on the way: what it is to be like. It may change
	// the folder, whose Name it is asked for; false: do not make it unless a wish
	// needs it. nil: as the catalog has it.
	Folder func(user string, box *Mailbox) bool
	// Settled is told what became of each wish, one call at a time, and an error
	// that it returns ends the user's restore. Wishes that fail, are refused or
	// there already are told at once, those that were added only when the user's
	// account is closed, folder by folder, for only then they last. Wishes that an
	// error left undone are not told of. Not called in a dry run.
	Settled func(ctx context.Context, user string, s Settlement) error
	// Into puts all folders below this one, INBOX included; "" restores each
	// into itself.
	Into string
	// NewestFirst restores INBOX and the newest mail of each user before the rest
	// (catalog.NewestFirst), instead of in the order of the packs.
	NewestFirst bool
	// DryRun reports what would be restored and writes nothing.
	DryRun bool
	// Refused takes the messages that Destination refuses; nil: they are failed.
	// RefusedTo is its name in reports.
	Refused   Destination
	RefusedTo string

	Meter Meter // nil: nobody watches; may be a FleetMeter
	// Expected is what the Meter gets as its total, where the caller knows it; the
	// zero value has it counted, for whole users.
	Expected Extent
	// Wait is called before each message is added, and holds the restore back
	// to a rate; nil: no limit.
	Wait func(ctx context.Context, messages int, bytes int64) error
	// Took is told how long the destination took for each message that it was
	// given, so that Wait can spare one that has become slow; nil: nobody is told.
	Took func(bytes int64, took time.Duration)
	// Announce is called for each user, before anything is written, with a line
	// for each reason why folders will not keep the original UIDs. The same lines
	// stand in Report.Notes. One call at a time; nil: nobody listens.
	Announce func(line string)
	// Problem is called for every problem as it is met, one at a time; nil:
	// see Report.Problems.
	Problem func(*Problem)

	// Workers is how many messages are fetched and rebuilt at the same time;
	// 0: one for each processor, from 2 to 4.
	Workers int
	// Users is how many users All restores at the same time, so that one's
	// waiting for the disk is another's time to work; 0: up to 4.
	Users int
	// Memory bounds the bytes of messages that are being rebuilt or wait to be
	// added, over all users; one larger message still passes, alone. 0: 32 MiB.
	Memory int64
}

// Report says what was done for one user.
type Report struct {
	User     string `json:"user"`
	Messages int    `json:"messages"` // added; in a dry run: would be
	Bytes    int64  `json:"bytes"`    // of these, as the source stored them
	Skipped  int    `json:"skipped"`  // were at the destination already
	Failed   int    `json:"failed"`   // could not be restored
	// Refused is how many of Failed the destination would not take, and PutAside
	// how many more it would not take that went to Options.Refused instead.
	Refused  int `json:"refused,omitempty"`
	PutAside int `json:"put_aside,omitempty"`
	// MaybeDeleted is how many of Messages had vanished from the source while
	// nobody has said that they were deleted: the brake holds them.
	MaybeDeleted int    `json:"maybe_deleted,omitempty"`
	To           string `json:"to"`
	// Folders counts the messages by folder of the destination.
	Folders map[string]int `json:"folders"`
	Seconds float64        `json:"seconds"`
	DryRun  bool           `json:"dry_run,omitempty"`
	// Notes is what the destination remarked, one line each: folders that got
	// another name, keywords that it cannot keep.
	Notes []string `json:"notes,omitempty"`
	// Problems names what failed, one line each: the first MaxProblems.
	Problems []string `json:"problems,omitempty"`
}

// add counts n messages like a.
func (r *Report) add(folder string, n int, a addition) {
	r.Messages += n
	r.Bytes += int64(n) * a.bytes
	r.Folders[folder] += n
	if a.maybeDeleted {
		r.MaybeDeleted += n
	}
}

// MaxProblems is how many lines of each sort a Report keeps.
const MaxProblems = 10000

// User restores one user. The report is never nil and says what was done also
// when there is an error; messages that could not be restored are no error but
// counted and named in it. What was added stays, so the same call completes
// what an error or a cancelled context left undone.
func User(ctx context.Context, user string, o Options) (*Report, error) {
	if err := checkInto(o.Into); err != nil {
		return newReport(user, o), err
	}
	e := newEngine(o)
	defer e.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	e.expect(ctx, []string{user})
	return e.user(ctx, user)
}

// All restores many users, several at the same time; they are begun in the
// order given, a name that comes again is left out. Each is called with every
// user's result, one at a time, as they end. An error of one user stops nobody
// else. All returns an error when nobody else could be restored either: the
// context's, or one of the vault as a whole.
func All(ctx context.Context, users []string, o Options, each func(*Report, error)) error {
	if err := checkInto(o.Into); err != nil {
		return err
	}
	e := newEngine(o)
	defer e.close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e.expect(ctx, users)

	var running sync.WaitGroup
	var mu sync.Mutex // for each
	slots := make(chan struct{}, e.users)
	seen := map[string]bool{}
	for _, user := range users {
		if seen[user] {
			continue
		}
		seen[user] = true
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			report, err := e.user(ctx, user)
			if hopeless(err) {
				stop(err)
			}
			mu.Lock()
			defer mu.Unlock()
			e.userDone()
			each(report, err)
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("restore users: %w", context.Cause(ctx))
	}
	return nil
}

// An engine is what the users of one call share.
type engine struct {
	Options
	users  int
	jobs   chan *job
	budget *budget
	done   sync.WaitGroup

	fleet FleetMeter // nil where the meter is none
	count int64      // users that are to be restored
	ended int64      // that are done; guarded by All's lock

	problems sync.Mutex // one call of Options.Problem at a time
	settling sync.Mutex // one call of Options.Settled at a time
}

// window is how many messages of a user are under way at most: enough to have
// the next frames fetched while the present one is used up.
const window = 64

func newEngine(o Options) *engine {
	workers := o.Workers
	if workers <= 0 {
		workers = min(max(runtime.GOMAXPROCS(0), 2), 4)
	}
	memory := o.Memory
	if memory <= 0 {
		memory = 32 << 20
	}
	e := &engine{Options: o, users: o.Users, budget: newBudget(memory)}
	if e.users <= 0 {
		e.users = 2 * workers // while one waits for its disk, another works
	}
	if o.Meter != nil {
		o.Meter.Stage("restore")
		e.fleet, _ = o.Meter.(FleetMeter)
	}
	// Handing out a job never waits, so a user's loop is free to add.
	e.jobs = make(chan *job, window*e.users)
	for range workers {
		e.done.Go(e.work)
	}
	return e
}

func (e *engine) close() {
	close(e.jobs)
	e.done.Wait()
}

// A job is one message to be rebuilt by a worker.
type job struct {
	ctx    context.Context
	item   *item
	box    *box
	weight int64 // what it takes of the budget
	body   *body
	err    error
	ready  chan struct{}
}

func (e *engine) work() {
	b := builder{catalog: e.Catalog, chunks: e.Chunks}
	for j := range e.jobs {
		if j.err = j.ctx.Err(); j.err == nil {
			j.body, j.err = b.message(j.ctx, j.item.Entry)
		}
		close(j.ready)
	}
}

func (e *engine) user(ctx context.Context, user string) (*Report, error) {
	begun := time.Now()
	r := &run{engine: e, name: user, report: newReport(user, e.Options)}
	err := r.restore(ctx)
	r.report.Seconds = time.Since(begun).Seconds()
	return r.report, err
}

func newReport(user string, o Options) *Report {
	return &Report{User: user, To: o.To, DryRun: o.DryRun, Folders: map[string]int{}}
}
