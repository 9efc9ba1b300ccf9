package maildir

import (
	"context"
	"errors"
	"io"
	"path"
	"sync"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
)

// hashers is how many messages are hashed at the same time.
const hashers = 2

// Present yields what a folder holds. Messages that wait for their names get
// them first.
func (w *writer) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	if w.err != nil {
		return w.err
	}
	p := w.opt.targetOf(mailbox)
	b := w.boxes[p.dir]
	if b != nil && len(b.used) == 0 {
		return nil
	}
	if b != nil && len(b.pending) > 0 {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return present(ctx, w.account, p, yield)
}

// present lists a folder as a source does and hashes the mail in its files,
// compressed or not. What cannot be
// read is no reason to stop; it comes back as *mailstore.Incomplete.
func present(ctx context.Context, a *account, p place, yield func(chunk.ID) error) error {
	b, err := a.openBox(p)
	if err != nil {
		return incomplete(err)
	}
	defer b.Close()
	l := lister{a: a, box: b}
	if err := l.scan(ctx); err != nil {
		return err
	}
	if err := l.stat(ctx); err != nil {
		return err
	}
	keys := l.distinct()
	h := hashing{ctx: ctx, box: b, keys: keys, yield: yield, work: make(chan *entry)}
	for range hashers {
		h.wait.Add(1)
		go h.run()
	}
	for _, e := range l.entries {
		h.work <- e
	}
	close(h.work)
	h.wait.Wait()
	if h.err != nil {
		return h.err
	}
	return addProblems(nil, append(l.problems, h.problems...))
}

// hashing hashes the files of a folder on several goroutines.
type hashing struct {
	ctx  context.Context
	box  *openBox
	keys map[*entry]string
	work chan *entry
	wait sync.WaitGroup

	mu       sync.Mutex
	yield    func(chunk.ID) error
	err      error
	problems []*mailstore.Problem
}

func (h *hashing) run() {
	defer h.wait.Done()
	sum, buf := chunk.NewWireHasher(), make([]byte, 128<<10)
	for e := range h.work {
		if h.stopped() {
			continue
		}
		id, err := h.hash(e, sum, buf)
		h.mu.Lock()
		switch {
		case h.err != nil:
		case errors.Is(err, mailstore.ErrVanished): // deleted meanwhile
		case err != nil:
			h.problems = append(h.problems, &mailstore.Problem{Mailbox: h.box.place.name, Path: path.Join(h.box.path, dirName(e.inNew), e.name), Err: err})
		default:
			h.err = h.yield(id)
		}
		h.mu.Unlock()
	}
}

func (h *hashing) stopped() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = h.ctx.Err()
	}
	return h.err != nil
}

func (h *hashing) hash(e *entry, sum *chunk.WireHasher, buf []byte) (id chunk.ID, err error) {
	f, _, err := h.box.open(e.message(h.keys[e], nil))
	if err != nil {
		return id, err
	}
	defer f.Close()
	r := atrest.NewReader(f, e.promised)
	defer r.Close()
	sum.Reset()
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{r}, buf); err != nil {
		return id, err
	}
	id, _, _ = sum.Sums()
	return id, nil
}
