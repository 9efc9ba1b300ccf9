package mailgen

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// A Shape says what kind of messages a corpus has.
type Shape int

// The shapes.
const (
	// Real has the sizes and parts of real mail.
	Real Shape = iota
	// Tiny has messages of one line and few headers, to have many of them.
	Tiny
)

// Options says what to make. Its zero value makes 3 users with 100 messages.
type Options struct {
	// Root is the directory that gets one Maildir for each user; it is made.
	Root string
	// Users is how many there are, called u01, u02, ...; Names names them.
	Users int
	Names []string
	// Messages is how many messages all mailboxes hold together.
	Messages int
	Seed     uint64
	// Start is when the first message arrived (default 2024-01-01) and Span
	// over what time they came (default two years).
	Start time.Time
	Span  time.Duration
	Shape Shape
	// Texts and Files are directories with real text files and with files to
	// attach, "" for invented ones. What is below them decides the bytes.
	Texts, Files string
}

// Stats says what was made or changed.
type Stats struct {
	Messages, Junk  int   // all, and those of them in Junk folders
	Bytes           int64 // of all
	JunkBytes       int64
	Attached        int // messages with attachments
	Median, Largest int // message sizes outside of Junk, bytes
	Flagged, Moved  int // by Day: flag changes, moves
	Copied, Deleted int // by Day

	sizes []int32
}

// A Corpus is a tree that was made, able to go on living.
type Corpus struct {
	// Users are the users' names, each a directory below Root.
	Users []string
	// Stats counts what Create made.
	Stats Stats
	// End is when the last message arrived.
	End time.Time

	world *world
	fresh []string // real messages still to come, instead of invented ones
}

func (o *Options) defaults() {
	if len(o.Names) > 0 {
		o.Users = len(o.Names)
	}
	if o.Users <= 0 {
		o.Users = 3
	}
	if o.Messages <= 0 {
		o.Messages = 100
	}
	for i := len(o.Names); i < o.Users; i++ {
		o.Names = append(o.Names, fmt.Sprintf("u%02d", i+1))
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2024, 1, 1, 6, 0, 0, 0, time.UTC)
	}
	if o.Span <= 0 {
		o.Span = 2 * 365 * 24 * time.Hour
	}
}

// Create makes a corpus below Options.Root, which must not hold one already.
func Create(ctx context.Context, o Options) (*Corpus, error) {
	o.defaults()
	w, err := newWorld(o)
	if err == nil {
		err = w.furnish()
	}
	if err != nil {
		return nil, fmt.Errorf("make mail in %s: %w", o.Root, err)
	}
	w.tick = o.Span / time.Duration(o.Messages)
	if err := w.live(ctx, o.Messages); err != nil {
		return nil, fmt.Errorf("make mail in %s: %w", o.Root, err)
	}
	return w.corpus(o.Names)
}

// corpus closes all folders and hands the world over.
func (w *world) corpus(names []string) (*Corpus, error) {
	if err := w.close(); err != nil {
		return nil, err
	}
	return &Corpus{Users: names, Stats: w.take(), End: w.now, world: w}, nil
}

// A user owns mailboxes.
type user struct {
	*person
	account  *account
	projects []string
	list     string
	drafts   string
}

// A world is everybody and everything that mail comes from.
type world struct {
	options Options
	rng     *rand.Rand
	press   press
	users   []*user
	weights []float64 // running sums: some get much more mail than others
	outside []*person
	files   []*file // recently attached, to be attached again
	pool    []*file // real files to attach
	threads [][]*thread
	now     time.Time
	tick    time.Duration
	number  int
	stats   Stats
	trace   []byte
}

func newWorld(o Options) (*world, error) {
	w := &world{options: o, rng: rand.New(rand.NewPCG(o.Seed, 0x5a17)), now: o.Start}
	w.press.text = newText(w.rng)
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, err
	}
	if err := w.readPools(); err != nil {
		return nil, err
	}
	var sum float64
	for i, name := range o.Names {
		u := w.newUser(name)
		w.users = append(w.users, u)
		sum += 1 / math.Sqrt(float64(i%17+1))
		w.weights = append(w.weights, sum)
	}
	for range 20 + 5*o.Users {
		w.outside = append(w.outside, newPerson(w.rng, w.press.text, w.press.text.word(w.rng), w.press.text.word(w.rng)+".example"))
	}
	w.threads = make([][]*thread, o.Users)
	return w, nil
}

func (w *world) readPools() (err error) {
	if w.options.Texts != "" {
		if w.press.text.real, err = readText(w.options.Texts); err != nil {
			return err
		}
	}
	if w.options.Files != "" {
		w.pool, err = readFiles(w.options.Files)
	}
	return err
}

func (w *world) newUser(name string) *user {
	t, r := w.press.text, w.rng
	u := &user{person: newPerson(r, t, name, "example.org"), account: newAccount(filepath.Join(w.options.Root, name)), drafts: "Drafts"}
	for range 3 {
		u.projects = append(u.projects, "Archive/Projects/"+title(t.word(r)))
	}
	u.list = "Lists/" + title(t.word(r))
	if r.IntN(3) == 0 {
		u.drafts = "Entwürfe"
	}
	return u
}

// furnish makes the folders that everybody has.
func (w *world) furnish() error {
	for _, u := range w.users {
		for _, name := range []string{"INBOX", "Sent", "Trash", "Junk", u.drafts} {
			if _, err := u.account.folder(name, w.rng); err != nil {
				return err
			}
		}
	}
	return nil
}

// someone draws a user by weight.
func (w *world) someone() int {
	x := w.rng.Float64() * w.weights[len(w.weights)-1]
	return min(sort.SearchFloat64s(w.weights, x), len(w.users)-1)
}

// live lets so many messages arrive.
func (w *world) live(ctx context.Context, messages int) error {
	for end := w.stats.Messages + messages; w.stats.Messages < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.event(end - w.stats.Messages); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() error {
	for _, u := range w.users {
		if err := u.account.close(); err != nil {
			return err
		}
	}
	return nil
}

// take gives the counts since the last take.
func (w *world) take() Stats {
	s := w.stats
	sort.Slice(s.sizes, func(i, j int) bool { return s.sizes[i] < s.sizes[j] })
	if n := len(s.sizes); n > 0 {
		s.Median, s.Largest = int(s.sizes[n/2]), int(s.sizes[n-1])
	}
	s.sizes, w.stats = nil, Stats{}
	return s
}
