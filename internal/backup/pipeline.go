package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
	"salvor/internal/vault"
)

type jobKind int

const (
	readMessage jobKind = iota
	boxEnd              // all of the mailbox's messages were submitted
	userEnd             // all of the user's mailboxes were
)

// A job is a message to be read, or the end of a mailbox or user.
type job struct {
	kind     jobKind
	box      *boxState
	user     *userState
	msg      mailstore.Message
	replaces int64 // the record whose file changed; 0 for a new message
}

// A result is a job done.
type result struct {
	job
	err error // why the message could not be read
	// cut lacks its recipe and parts when the vault has the content already.
	cut    *chunk.Message
	pieces []piece
	form   atrest.Form
	bench  *bench // what cut and pieces lie in, to be given back
	weight int64
}

// A bench is what one message is cut on. Benches are used again and again:
// fresh buffers for every message would cost more than the cutting.
type bench struct {
	cutter *chunk.Cutter
	stored []byte
	home   chan *bench // where free ones of its kind wait
	keep   int         // the longest buffer to keep for the next message
}

// Half of the bytes of mail stand in the few messages above a megabyte. They
// have a few benches of their own, so that not every bench grows to their size,
// and the longest have one: more of them would hardly fit into the budget.
const (
	longMessage = 1 << 20
	hugeMessage = 6 << 20
	keepShort   = longMessage + 64<<10
	keepLong    = hugeMessage + 64<<10
	keepHuge    = 20 << 20
	longBenches = 2
	hugeBenches = 1
)

// release gives back what a very long message took, before its share of the
// budget is given back, and then the bench.
func (b *bench) release() {
	b.cutter.Trim(b.keep)
	if cap(b.stored) > b.keep {
		b.stored = nil
	}
	b.home <- b
}

// room is the bench's buffer for so many stored bytes, with some to spare: one
// that grew with every longer message would be made anew again and again.
func (b *bench) room(size int64) []byte {
	size += bytes.MinRead
	if int64(cap(b.stored)) < size && size <= int64(b.keep) {
		b.stored = make([]byte, 0, min(2*size, int64(b.keep)))
	}
	return b.stored[:0]
}

// A piece is a part of a cut message: data chunks that the vault may lack.
type piece struct {
	id     chunk.ID
	size   int64
	chunks [][]byte   // nil when the part is known
	ids    []chunk.ID // of chunks, when there are several
}

// refs are the chunks that a part that was cut consists of.
func (p piece) refs() []chunk.Ref {
	if len(p.ids) == 0 {
		return []chunk.Ref{{Kind: chunk.KindData, ID: p.id}}
	}
	refs := []chunk.Ref{{Kind: chunk.KindPart, ID: p.id}}
	for _, id := range p.ids {
		refs = append(refs, chunk.Ref{Kind: chunk.KindData, ID: id})
	}
	return refs
}

// memoryBudget bounds the bytes of messages that are held at the same time; a
// larger message goes alone.
const memoryBudget = 48 << 20

// pipeline is the running part of a pass: workers and the keeper.
type pipeline struct {
	r       *run
	ctx     context.Context
	cancel  context.CancelCauseFunc
	jobs    chan job
	results chan result
	short   chan *bench // for messages up to longMessage, and of unknown size
	long    chan *bench // up to hugeMessage
	huge    chan *bench
	budget  *budget
	workers sync.WaitGroup
	kept    chan struct{} // closed when the keeper is done
	keeper  *keeper
}

func (r *run) startPipeline(ctx context.Context, packer *vault.Packer) (*pipeline, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pipeline{r: r, ctx: ctx, cancel: cancel,
		jobs: make(chan job, 256), results: make(chan result, r.o.Workers),
		short: make(chan *bench, r.o.Workers+2), long: make(chan *bench, longBenches), huge: make(chan *bench, hugeBenches),
		budget: newBudget(memoryBudget), kept: make(chan struct{})}
	p.keeper = &keeper{r: r, packer: packer, split: p.split}
	if err := errors.Join(p.furnish(p.short, keepShort), p.furnish(p.long, keepLong), p.furnish(p.huge, keepHuge)); err != nil {
		cancel(nil)
		return nil, err
	}
	for range r.o.Workers {
		p.workers.Add(1)
		go p.work()
	}
	go p.keep()
	return p, nil
}

// furnish fills home with benches.
func (p *pipeline) furnish(home chan *bench, keep int) error {
	for range cap(home) {
		c, err := chunk.NewCutter(p.r.change.Cutting())
		if err != nil {
			return err
		}
		home <- &bench{cutter: c, home: home, keep: keep}
	}
	return nil
}

// submit is the scan's door into the pipeline.
func (p *pipeline) submit(ctx context.Context, j job) error {
	if f, ok := p.r.o.Source.(mailstore.Prefetcher); ok && j.kind == readMessage {
		f.Prefetch(j.box.src, j.msg)
	}
	select {
	case p.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish waits until everything that was submitted is done and returns the
// first error: the scan's own, or what stopped the pipeline.
func (p *pipeline) finish(scanErr error) error {
	close(p.jobs)
	p.workers.Wait()
	close(p.results)
	<-p.kept
	defer p.cancel(nil)
	if p.keeper.err != nil {
		return p.keeper.err
	}
	return scanErr
}

func (p *pipeline) work() {
	defer p.workers.Done()
	for j := range p.jobs {
		res := result{job: j}
		if j.kind == readMessage {
			res = p.read(j)
		}
		p.results <- res
	}
}

func (p *pipeline) keep() {
	defer close(p.kept)
	for res := range p.results {
		if p.keeper.err == nil {
			if err := p.keeper.take(res); err != nil {
				p.keeper.err = err
				p.cancel(err)
			}
		}
		if res.bench != nil {
			res.bench.release()
		}
		p.budget.give(res.weight)
	}
}

// read opens, reads and cuts one message.
func (p *pipeline) read(j job) result {
	res := result{job: j}
	if err := p.r.o.Pace.Wait(p.ctx, 1, max(j.msg.Size, 0)); err != nil {
		res.err = err
		return res
	}
	// Stored bytes, LF form and decoded parts are in memory at the same time.
	res.weight = p.budget.take(3 * max(j.msg.Size, 0))
	select {
	case res.bench = <-p.benches(j.msg.Size):
	case <-p.ctx.Done():
		res.err = context.Cause(p.ctx)
		return res
	}
	if res.form, res.err = p.content(j, res.bench); res.err != nil {
		return res
	}
	known := false
	res.cut = res.bench.cutter.CutUnless(res.bench.stored, func(m *chunk.Message) bool {
		// What is read again may be read because a check found it damaged.
		if j.replaces == 0 {
			known, res.err = p.keeper.hasContent(m.ID)
		}
		return known || res.err != nil
	})
	if !known && res.err == nil {
		res.pieces, res.err = p.split(res.bench.cutter, res.cut, j.replaces != 0)
	}
	return res
}

// benches are where a bench for a message of so many bytes waits.
func (p *pipeline) benches(size int64) chan *bench {
	switch {
	case size > hugeMessage:
		return p.huge
	case size > longMessage:
		return p.long
	}
	return p.short
}

// content reads the message's stored bytes onto the bench, and tells how the
// source keeps them.
func (p *pipeline) content(j job, b *bench) (form atrest.Form, err error) {
	f, err := p.r.o.Source.Open(p.ctx, j.box.src, j.msg)
	if err != nil {
		return form, err
	}
	b.stored, err = readAll(f, b.room(j.msg.Size), j.msg.Size)
	if t, ok := f.(atrest.Teller); ok {
		form = t.AtRest()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return form, fmt.Errorf("read: %w", err)
	}
	return form, nil
}

// readAll reads all of r into buf, which it lets grow; size is what is
// expected, below zero when nobody knows.
func readAll(r io.Reader, buf []byte, size int64) ([]byte, error) {
	if want := int(min(max(size, 0), memoryBudget)) + bytes.MinRead; cap(buf) < want {
		buf = make([]byte, 0, want)
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// split cuts the parts that the vault does not have. Another worker may be
// about to store the same part; the keeper looks again. With all, it cuts every
// part.
func (p *pipeline) split(c *chunk.Cutter, m *chunk.Message, all bool) ([]piece, error) {
	pieces := make([]piece, len(m.Parts))
	for i, part := range m.Parts {
		pieces[i] = piece{id: part.ID, size: int64(len(part.Data))}
		if _, known, err := p.keeper.part(part.ID); err != nil {
			return nil, err
		} else if known && !all {
			continue
		}
		// The list is valid until the next Split, which comes with the next part.
		pieces[i].chunks = slices.Clone(c.Split(part.Data))
		if len(pieces[i].chunks) > 1 {
			for _, ch := range pieces[i].chunks {
				pieces[i].ids = append(pieces[i].ids, chunk.Sum(ch))
			}
		}
	}
	return pieces, nil
}

// budget is a counting semaphore over bytes.
type budget struct {
	mu   sync.Mutex
	cond sync.Cond
	free int64
	size int64
}

func newBudget(size int64) *budget {
	b := &budget{free: size, size: size}
	b.cond.L = &b.mu
	return b
}

// take waits for n bytes, at most the whole budget, and says how many it took.
func (b *budget) take(n int64) int64 {
	n = min(n, b.size)
	b.mu.Lock()
	for b.free < n {
		b.cond.Wait()
	}
	b.free -= n
	b.mu.Unlock()
	return n
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.free += n
	b.mu.Unlock()
	b.cond.Broadcast()
}
