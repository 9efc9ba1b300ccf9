package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"salvor/chunk"
	"salvor/internal/buffers"
)

// PackerOptions says what a Packer reports and how much of the machine it
// takes.
type PackerOptions struct {
	// Stored is called for each pack once it is durable. It runs on a goroutine
	// of the packer, never at the same time as another callback, and must not
	// call the packer. Its error ends the packer.
	Stored func(PackInfo) error
	// Workers compress at the same time; 0: 2.
	Workers int
}

// PackerStats counts what lies in packs that are durable.
type PackerStats struct {
	Packs  int
	Chunks int
	Plain  int64 // bytes added
	Stored int64 // bytes of the packs
}

// packChunks ends a pack that is not full yet. What its chunks belong to waits
// in memory until the pack is durable, and of very short messages a full pack
// would hold hundreds of thousands.
const packChunks = 16 << 10

// maxQueued bounds the plain bytes that wait for a worker or for the pack. What
// they take is up to four times that: in buffers of powers of two, and encoded.
const maxQueued = 4 << 20

var errAborted = errors.New("the packer was aborted")

// A Packer turns chunks into packs. Chunks that are added one after the other
// lie together: short ones share frames, and frames follow each other. Memory
// is bounded by two packs, maxQueued and the compressors, about 75 MB.
//
// Add, After and Close belong to one goroutine.
type Packer struct {
	v      *Vault
	o      PackerOptions
	ctx    context.Context
	cancel context.CancelCauseFunc

	open    *frameJob      // short chunks, not yet full
	queue   *budget        // plain bytes in work and order
	work    chan *frameJob // to the workers
	order   chan *frameJob // to the writer, in the order of sealing
	uploads chan *upload   // to the uploader
	spare   chan *packFile
	wg      sync.WaitGroup
	closed  bool
	result  error // of Close, once closed

	mu      sync.Mutex
	pending map[chunk.Ref]struct{}
	stats   PackerStats
}

// A frameJob is a frame on its way through the workers, or only callbacks.
type frameJob struct {
	plain  []byte
	chunks []ChunkInfo
	after  []func() error // to be called when the frame is durable
	done   chan struct{}  // closed when the rest is set
	stored []byte
	method string
}

// An upload is a finished pack, or only callbacks.
type upload struct {
	pack  *packFile
	info  PackInfo
	after []func() error
}

// NewPacker starts a packer; Close or Abort ends it.
func (v *Vault) NewPacker(ctx context.Context, o PackerOptions) (*Packer, error) {
	if o.Workers <= 0 {
		o.Workers = 2
	}
	p := &Packer{v: v, o: o, pending: map[chunk.Ref]struct{}{}, queue: newBudget(maxQueued),
		work: make(chan *frameJob, 64), order: make(chan *frameJob, 256),
		uploads: make(chan *upload), spare: make(chan *packFile, 2)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	compressors := make([]*compressor, o.Workers+1)
	for i := range compressors {
		var err error
		if compressors[i], err = newCompressor(); err != nil {
			return nil, fmt.Errorf("start a packer: %w", err)
		}
	}
	for _, c := range compressors[1:] {
		p.wg.Go(func() { p.compress(c) })
	}
	p.wg.Go(func() { p.write(compressors[0]) })
	p.wg.Go(p.upload)
	return p, nil
}

// Add copies a chunk into the packs. A chunk that is Pending is not added
// again. An error is the packer's first, whatever caused it.
func (p *Packer) Add(ref chunk.Ref, data []byte) error {
	if err := p.err(); err != nil {
		return err
	}
	if len(data) > MaxChunk {
		return fmt.Errorf("pack %s: %d bytes, a chunk has at most %d", ref, len(data), MaxChunk)
	}
	if !p.reserve(ref) {
		return nil
	}
	info := ChunkInfo{Kind: ref.Kind, ID: ref.ID, Size: int64(len(data))}
	if len(data) > smallChunk {
		return p.seal(&frameJob{plain: append(buffers.Get(len(data)), data...), chunks: []ChunkInfo{info}})
	}
	if p.open != nil && len(p.open.plain)+len(data) > solidFrame {
		if err := p.sealOpen(); err != nil {
			return err
		}
	}
	if p.open == nil {
		p.open = &frameJob{plain: buffers.Get(solidFrame)}
	}
	info.Offset = int64(len(p.open.plain))
	p.open.plain = append(p.open.plain, data...)
	p.open.chunks = append(p.open.chunks, info)
	return nil
}

// Pending tells whether the chunk was added and its Stored callback has not
// returned yet: a time in which the catalog does not know it. Any goroutine
// may ask.
func (p *Packer) Pending(ref chunk.Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.pending[ref]
	return ok
}

func (p *Packer) reserve(ref chunk.Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.pending[ref]
	p.pending[ref] = struct{}{}
	return !ok
}

// After has fn called when everything added before is durable and reported to
// Stored; callbacks keep the order of these calls. It does not hurry anything:
// a pack is stored when it is full, or by Close.
func (p *Packer) After(fn func() error) error {
	if err := p.err(); err != nil {
		return err
	}
	if p.open != nil {
		p.open.after = append(p.open.after, fn)
		return nil
	}
	return p.send(p.order, &frameJob{after: []func() error{fn}})
}

// Close stores what is left, waits for it and for the last callbacks, and
// gives the first error of all. Closing again gives the same.
func (p *Packer) Close() error {
	if p.closed {
		return p.result
	}
	err := p.sealOpen()
	p.stop()
	if p.result = p.err(); p.result == nil {
		p.result = err
	}
	p.cancel(errAborted)
	return p.result
}

// Abort drops what is not durable yet. No callback runs after it has returned.
// After Close it does nothing.
func (p *Packer) Abort() {
	p.cancel(errAborted)
	if !p.closed {
		p.result = p.err()
		p.stop()
	}
}

// Stats counts what is durable by now. Any goroutine may ask.
func (p *Packer) Stats() PackerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// stop lets the goroutines run out and waits for them.
func (p *Packer) stop() {
	p.closed = true
	close(p.work)
	close(p.order)
	p.wg.Wait()
}

func (p *Packer) err() error { return context.Cause(p.ctx) }

func (p *Packer) sealOpen() error {
	job := p.open
	p.open = nil
	if job == nil {
		return p.err()
	}
	return p.seal(job)
}

// seal hands a frame to the workers and, in order, to the writer.
func (p *Packer) seal(job *frameJob) error {
	if err := p.queue.take(p.ctx, int64(len(job.plain))); err != nil {
		return err
	}
	job.done = make(chan struct{})
	if err := p.send(p.work, job); err != nil {
		return err
	}
	return p.send(p.order, job)
}

func (p *Packer) send(to chan<- *frameJob, job *frameJob) error {
	select {
	case to <- job:
		return nil
	case <-p.ctx.Done():
		return p.err()
	}
}

// compress is a worker.
func (p *Packer) compress(c *compressor) {
	defer c.close()
	for job := range p.work {
		if p.err() != nil {
			continue // the writer does not wait any more
		}
		err := checkData(job)
		if err == nil {
			long := len(job.chunks) == 1 && len(job.plain) > smallChunk
			job.stored, job.method, err = c.encode(buffers.Get(len(job.plain)), job.plain, long)
		}
		if err != nil {
			p.cancel(err)
			continue
		}
		close(job.done)
	}
}

// checkData compares data chunks with their IDs. Memory that somebody used
// again too early, or that lost a bit, must not become a pack.
func checkData(job *frameJob) error {
	for _, c := range job.chunks {
		if c.Kind == chunk.KindData && chunk.Sum(job.plain[c.Offset:c.Offset+c.Size]) != c.ID {
			return fmt.Errorf("pack data %s: the bytes are not those of its ID", c.ID)
		}
	}
	return nil
}

// write puts the frames into packs, in order.
func (p *Packer) write(c *compressor) {
	defer close(p.uploads)
	defer c.close()
	var pack *packFile
	for job := range p.order {
		if p.err() != nil {
			continue
		}
		var err error
		if pack, err = p.writeJob(c, pack, job); err != nil {
			p.cancel(err)
		}
	}
	if pack != nil && p.err() == nil {
		if err := p.cut(c, pack); err != nil {
			p.cancel(err)
		}
	}
}

// writeJob gives the pack that further frames go into.
func (p *Packer) writeJob(c *compressor, pack *packFile, job *frameJob) (*packFile, error) {
	if job.done == nil { // callbacks only
		if pack == nil {
			return nil, p.hand(&upload{after: job.after})
		}
		pack.after = append(pack.after, job.after...)
		return pack, nil
	}
	select {
	case <-job.done:
	case <-p.ctx.Done():
		return pack, p.err()
	}
	full := pack != nil && pack.chunks > 0 && pack.chunks+len(job.chunks) > packChunks
	if full || pack != nil && !pack.room(int64(len(job.stored)), p.v.config.PackSize) {
		if err := p.cut(c, pack); err != nil {
			return nil, err
		}
		pack = nil
	}
	if pack == nil {
		var err error
		if pack, err = p.newPack(); err != nil {
			return nil, err
		}
	}
	err := pack.add(FrameInfo{Plain: int64(len(job.plain)), Method: job.method, Chunks: job.chunks}, job.stored)
	pack.after = append(pack.after, job.after...)
	p.queue.give(int64(len(job.plain)))
	buffers.Put(job.plain)
	buffers.Put(job.stored)
	return pack, err
}

func (p *Packer) newPack() (*packFile, error) {
	header := p.v.header(ObjectPack)
	select {
	case pack := <-p.spare:
		return pack, pack.start(header, p.v.recipients)
	default:
		return newPackFile(header, p.v.recipients, p.v.config.PackSize)
	}
}

// cut ends a pack and hands it to the uploader, which takes it when the one
// before is durable.
func (p *Packer) cut(c *compressor, pack *packFile) error {
	info, err := pack.finish(c.enc)
	if err != nil {
		return err
	}
	return p.hand(&upload{pack: pack, info: info, after: pack.after})
}

func (p *Packer) hand(u *upload) error {
	select {
	case p.uploads <- u:
		return nil
	case <-p.ctx.Done():
		return p.err()
	}
}

// upload stores packs and runs the callbacks.
func (p *Packer) upload() {
	for u := range p.uploads {
		if p.err() != nil {
			continue
		}
		if err := p.store(u); err != nil {
			p.cancel(err)
		}
	}
}

func (p *Packer) store(u *upload) error {
	if u.pack != nil {
		if err := p.v.store.Put(p.ctx, u.info.Object().Name(), u.pack.stored.Bytes()); err != nil {
			return fmt.Errorf("store a pack: %w", err)
		}
		if p.o.Stored != nil {
			if err := p.o.Stored(u.info); err != nil {
				return err
			}
		}
		p.stored(u.info)
		p.spare <- u.pack
	}
	for _, fn := range u.after {
		if err := p.err(); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return nil
}

// stored counts a pack; its chunks are the catalog's from now on.
func (p *Packer) stored(info PackInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Packs++
	p.stats.Stored += info.Size
	for _, f := range info.Frames {
		p.stats.Plain += f.Plain
		p.stats.Chunks += len(f.Chunks)
		for _, c := range f.Chunks {
			delete(p.pending, chunk.Ref{Kind: c.Kind, ID: c.ID})
		}
	}
}
