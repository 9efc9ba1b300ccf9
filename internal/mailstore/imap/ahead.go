package imap

import (
	"sync"

	"salvor/internal/mailstore"
)

// ahead holds what was asked for before it is opened, of all users. Bodies that
// nobody opens take their share of the budget until the readers are far past
// them; an Open never waits for the budget, so they cost speed and nothing else.
type ahead struct {
	budget int64

	mu     sync.Mutex
	held   int64 // bytes of bodies fetched, or being fetched, before an Open
	asked  map[place]*entry
	line   []*entry // as they were asked for
	number uint64
	wake   map[*fetcher]bool // those that wait for room
	closed bool
}

// A place is where a message is.
type place struct {
	user, box string
	validity  uint32
	uid       uint32
}

type stage int

const (
	queued  stage = iota
	coming        // its command is sent
	arrived       // body or err is set
)

// An entry is one message that was asked for.
type entry struct {
	place
	size   int64 // as promised
	number uint64
	stage  stage
	wanted bool  // somebody waits in Open
	tries  int   // connections that ended while it was the next to come
	last   error // the last of these ends, when there will be no further try
	cost   int64

	done chan struct{} // closed when it has arrived
	body []byte
	err  error
}

// passed is how far readers may be past a message that nobody has opened before
// it is forgotten.
const passed = 1024

func newAhead(budget int64) *ahead {
	return &ahead{budget: budget, asked: map[place]*entry{}, wake: map[*fetcher]bool{}}
}

// add notes a message; nil when it stands there already.
func (a *ahead) add(p place, size int64) *entry {
	if a.closed || a.asked[p] != nil {
		return nil
	}
	a.number++
	e := &entry{place: p, size: size, number: a.number, done: make(chan struct{})}
	a.asked[p] = e
	a.line = append(a.line, e)
	return e
}

// charge takes room for an entry.
func (a *ahead) charge(e *entry) {
	e.cost = max(e.size, 0) + 512
	a.held += e.cost
}

// forget drops an entry and gives its room back.
func (a *ahead) forget(e *entry) {
	if a.asked[e.place] == e {
		delete(a.asked, e.place)
	}
	a.held -= e.cost
	e.cost = 0
	if a.held < a.budget {
		for f := range a.wake {
			delete(a.wake, f)
			f.start()
		}
	}
}

// arrive gives an entry its body, or the reason why there is none. What nobody
// would open again is forgotten by Open or by trim.
func (a *ahead) arrive(e *entry, body []byte, err error) {
	if e.stage == arrived {
		return
	}
	e.stage, e.body, e.err = arrived, body, err
	if more := int64(len(body)) - e.cost; e.cost > 0 && more > 0 { // than was promised
		e.cost += more
		a.held += more
	}
	close(e.done)
}

// trim forgets entries that the readers are far past.
func (a *ahead) trim(number uint64) {
	for len(a.line) > 0 {
		e := a.line[0]
		gone := a.asked[e.place] != e
		if !gone && (e.number+passed >= number || e.wanted || e.stage == coming) {
			return
		}
		a.line[0] = nil
		a.line = a.line[1:]
		if !gone {
			a.forget(e)
		}
	}
}

// close forgets everything; whoever waits gets errClosed.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, e := range a.asked {
		a.arrive(e, nil, errClosed)
	}
	clear(a.asked)
	a.line, a.held = nil, 0
}

// Prefetch begins to fetch a message that will be opened.
func (s *Source) Prefetch(box mailstore.Mailbox, m mailstore.Message) {
	validity, uid, err := splitKey(m.Key)
	if err != nil || m.Size > s.o.MaxMessage {
		return // Open says what is wrong
	}
	if m.Size > s.o.Ahead/4 {
		return // all that comes behind it would wait until there is room for it
	}
	one, done := s.use(box.User)
	defer done()
	s.ahead.mu.Lock()
	defer s.ahead.mu.Unlock()
	if e := s.ahead.add(place{box.User, box.Name, validity, uid}, m.Size); e != nil {
		one.fetcher.queue = append(one.fetcher.queue, e)
		one.fetcher.start()
	}
}
