package vault

import (
	"fmt"
	"math/rand"
	"sync"

	"salvor/chunk"
)

// packed collects what a packer reports.
type packed struct {
	mu        sync.Mutex
	packs     []PackInfo
	locations map[chunk.Ref]Location
	order     []chunk.Ref
}

func newPacked() *packed { return &packed{locations: map[chunk.Ref]Location{}} }

func (p *packed) stored(info PackInfo) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packs = append(p.packs, info)
	for _, f := range info.Frames {
		for _, c := range f.Chunks {
			ref := chunk.Ref{Kind: c.Kind, ID: c.ID}
			p.order = append(p.order, ref)
			p.locations[ref] = Location{Pack: info.ID, PackSize: info.Size, FrameOffset: f.Offset, FrameStored: f.Stored,
				FramePlain: f.Plain, Method: f.Method, Offset: c.Offset, Size: c.Size}
		}
	}
	return nil
}

func (p *packed) objects() (all []Object) {
	for _, info := range p.packs {
		all = append(all, info.Object())
	}
	return all
}

// prose gives n bytes that compress like mail does, different for each seed.
func prose(seed int64, n int) []byte {
	r := rand.New(rand.NewSource(seed))
	words := []string{"backup ", "message ", "folder ", "server ", "\n", "the ", "night ", "of ", "and ", "vault "}
	b := make([]byte, 0, n+64)
	for len(b) < n {
		if r.Intn(3) == 0 {
			b = fmt.Appendf(b, "%x ", r.Int31())
		}
		b = append(b, words[r.Intn(len(words))]...)
	}
	return b[:n]
}

func noise(seed int64, n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

func dataRef(b []byte) chunk.Ref { return chunk.Ref{Kind: chunk.KindData, ID: chunk.Sum(b)} }

// messageRef is a ref whose ID does not follow from the bytes.
func messageRef(b []byte) chunk.Ref {
	return chunk.Ref{Kind: chunk.KindMessage, ID: chunk.Sum(append([]byte("wire"), b...))}
}

func (f *fixture) packer(o PackerOptions) *Packer {
	f.t.Helper()
	p, err := f.v.NewPacker(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.Abort)
	return p
}

func (f *fixture) reader(o ReaderOptions) *Reader {
	f.t.Helper()
	r, err := f.v.NewReader(f.keys(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// pack stores chunks and gives where they went.
func (f *fixture) pack(chunks map[chunk.Ref][]byte, order []chunk.Ref) *packed {
	f.t.Helper()
	got := newPacked()
	p := f.packer(PackerOptions{Stored: got.stored})
	for _, ref := range order {
		if err := p.Add(ref, chunks[ref]); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		f.t.Fatal(err)
	}
	return got
}

// mixedChunks gives chunks of all sorts and lengths.
func mixedChunks(seed int64, n int) (map[chunk.Ref][]byte, []chunk.Ref) {
	r := rand.New(rand.NewSource(seed))
	chunks := map[chunk.Ref][]byte{}
	var order []chunk.Ref
	for i := range n {
		size := r.Intn(4000)
		switch r.Intn(20) {
		case 0:
			size = r.Intn(1 << 20)
		case 1:
			size = smallChunk - 1 + r.Intn(3)
		case 2:
			size = 0
		}
		b := prose(seed*1e6+int64(i), size)
		if r.Intn(4) == 0 {
			b = noise(seed*1e6+int64(i), size)
		}
		ref := dataRef(b)
		if r.Intn(3) == 0 {
			ref = messageRef(b)
		}
		if _, ok := chunks[ref]; !ok {
			order = append(order, ref)
		}
		chunks[ref] = b
	}
	return chunks, order
}
