package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
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

func TestPackAndRead(t *testing.T) {
	for _, o := range []IdentityOptions{{}, {PostQuantum: true}} {
		f := newFixtureWith(t, o)
		chunks, order := mixedChunks(1, 1500)
		got := f.pack(chunks, order)
		if len(got.packs) < 2 {
			t.Errorf("%d packs of %d chunks", len(got.packs), len(order))
		}
		r := f.reader(ReaderOptions{})
		rand.New(rand.NewSource(2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, ref := range order {
			b, err := r.Chunk(t.Context(), got.locations[ref], ref)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, chunks[ref]) {
				t.Fatalf("%s: other bytes", ref)
			}
		}
		for _, want := range got.packs {
			if want.Size > MinPackSize {
				t.Errorf("a pack of %d bytes", want.Size)
			}
			whole, err := r.CheckPack(t.Context(), want.Object())
			if err != nil {
				t.Fatal(err)
			}
			if !equalPacks(*whole, want) {
				t.Errorf("CheckPack differs from what was reported")
			}
			foot, err := r.Footer(t.Context(), want.Object())
			if err != nil {
				t.Fatal(err)
			}
			if !equalPacks(*foot, withoutDataIDs(want)) {
				t.Errorf("Footer differs from what was reported")
			}
			if err := f.v.CheckObject(t.Context(), want.Object()); err != nil {
				t.Error(err)
			}
		}
	}
}

func equalPacks(a, b PackInfo) bool {
	return a.ID == b.ID && a.Size == b.Size && slices.EqualFunc(a.Frames, b.Frames, func(x, y FrameInfo) bool {
		return x.Offset == y.Offset && x.Stored == y.Stored && x.Plain == y.Plain && x.Method == y.Method && slices.Equal(x.Chunks, y.Chunks)
	})
}

func withoutDataIDs(p PackInfo) PackInfo {
	p.Frames = slices.Clone(p.Frames)
	for i := range p.Frames {
		p.Frames[i].Chunks = slices.Clone(p.Frames[i].Chunks)
		for k, c := range p.Frames[i].Chunks {
			if c.Kind == chunk.KindData {
				p.Frames[i].Chunks[k].ID = chunk.ID{}
			}
		}
	}
	return p
}

// What is added one after the other lies together, short chunks in the order
// of adding.
func TestUsersLieTogether(t *testing.T) {
	f := newFixture(t)
	chunks := map[chunk.Ref][]byte{}
	user := map[chunk.Ref]int{}
	var order []chunk.Ref
	for u := range 20 {
		for i := range 200 {
			b := prose(int64(u*1000+i), 500+i*10)
			ref := messageRef(b)
			chunks[ref], user[ref] = b, u
			order = append(order, ref)
		}
	}
	got := f.pack(chunks, order)
	if !slices.Equal(got.order, order) {
		t.Error("short chunks changed their order")
	}
	frames := map[int]map[frameKey]bool{}
	for ref, l := range got.locations {
		if frames[user[ref]] == nil {
			frames[user[ref]] = map[frameKey]bool{}
		}
		frames[user[ref]][frameKey{l.Pack, l.FrameOffset}] = true
	}
	for u, set := range frames {
		if len(set) > 2 { // 300 KB of a user, frames of 1 MiB
			t.Errorf("user %d lies in %d frames", u, len(set))
		}
	}
}

func TestIncompressibleIsStoredRaw(t *testing.T) {
	f := newFixture(t)
	n, x := noise(1, 300<<10), prose(1, 300<<10)
	got := f.pack(map[chunk.Ref][]byte{dataRef(n): n, dataRef(x): x}, []chunk.Ref{dataRef(n), dataRef(x)})
	if l := got.locations[dataRef(n)]; l.Method != methodRaw || l.FrameStored != int64(len(n)) {
		t.Errorf("noise is stored %s in %d bytes", l.Method, l.FrameStored)
	}
	if l := got.locations[dataRef(x)]; l.Method != methodZstd || l.FrameStored > int64(len(x))*2/3 {
		t.Errorf("text is stored %s in %d bytes", l.Method, l.FrameStored)
	}
}

func TestPendingAndCallbacks(t *testing.T) {
	f := newFixture(t)
	var log []string
	var p *Packer
	first := prose(1, 100)
	p = f.packer(PackerOptions{Stored: func(i PackInfo) error {
		if len(f.store.names(i.Object().Name())) != 1 {
			t.Error("reported before it was stored")
		}
		if !p.Pending(dataRef(first)) && len(log) == 0 {
			t.Error("not pending while Stored runs")
		}
		log = append(log, "pack")
		return nil
	}})
	after := func(s string) {
		if err := p.After(func() error { log = append(log, s); return nil }); err != nil {
			t.Error(err)
		}
	}
	after("nothing before")
	for range 3 {
		if err := p.Add(dataRef(first), first); err != nil {
			t.Fatal(err)
		}
	}
	after("first")
	if !p.Pending(dataRef(first)) {
		t.Error("not pending after Add")
	}
	for i := range 80 {
		b := noise(int64(i), 300<<10)
		if err := p.Add(dataRef(b), b); err != nil {
			t.Fatal(err)
		}
	}
	after("all")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// "first" waits for the frame of short chunks, which is sealed last.
	want := "nothing before pack pack first all"
	if got := strings.Join(log, " "); got != want {
		t.Errorf("callbacks: %s, want %s", got, want)
	}
	if p.Pending(dataRef(first)) {
		t.Error("pending after Close")
	}
	if s := p.Stats(); s.Chunks != 81 || s.Packs != 2 || s.Plain != 80*300<<10+100 || s.Stored < s.Plain {
		t.Errorf("stats %+v", s)
	}
	if err := p.Add(dataRef([]byte("x")), []byte("x")); err == nil {
		t.Error("added after Close")
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestEmptyPacker(t *testing.T) {
	f := newFixture(t)
	ran := false
	p := f.packer(PackerOptions{})
	if err := p.After(func() error { ran = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil || !ran {
		t.Errorf("%v, ran %v", err, ran)
	}
	if n := f.store.names("packs/"); len(n) != 0 {
		t.Errorf("packs of nothing: %v", n)
	}
}

func TestPackerErrors(t *testing.T) {
	boom := errors.New("boom")
	for name, prepare := range map[string]func(*fixture, *PackerOptions){
		"store": func(f *fixture, _ *PackerOptions) {
			f.store.before = func(op, _ string) error {
				if op == "put" {
					return boom
				}
				return nil
			}
		},
		"stored": func(_ *fixture, o *PackerOptions) { o.Stored = func(PackInfo) error { return boom } },
	} {
		f := newFixture(t)
		o := PackerOptions{}
		prepare(f, &o)
		p := f.packer(o)
		var err error
		for i := 0; i < 1000 && err == nil; i++ {
			b := noise(int64(i), 300<<10)
			err = p.Add(dataRef(b), b)
		}
		if !errors.Is(err, boom) {
			t.Errorf("%s: Add gives %v", name, err)
		}
		if err := p.After(func() error { t.Errorf("%s: After ran", name); return nil }); !errors.Is(err, boom) {
			t.Errorf("%s: After gives %v", name, err)
		}
		if err := p.Close(); !errors.Is(err, boom) {
			t.Errorf("%s: Close gives %v", name, err)
		}
	}
}

func TestAfterErrorStopsLaterCallbacks(t *testing.T) {
	f := newFixture(t)
	boom := errors.New("boom")
	p := f.packer(PackerOptions{})
	if err := p.Add(dataRef([]byte("x")), []byte("x")); err != nil {
		t.Fatal(err)
	}
	p.After(func() error { return boom })
	p.After(func() error { t.Error("ran"); return nil })
	if err := p.Close(); !errors.Is(err, boom) {
		t.Error(err)
	}
}

func TestAbort(t *testing.T) {
	f := newFixture(t)
	p := f.packer(PackerOptions{Stored: func(PackInfo) error { t.Error("stored"); return nil }})
	if err := p.Add(dataRef([]byte("x")), []byte("x")); err != nil {
		t.Fatal(err)
	}
	p.After(func() error { t.Error("ran"); return nil })
	p.Abort()
	p.Abort()
	if err := p.Close(); err == nil {
		t.Error("Close after Abort tells nothing")
	}
	if n := f.store.names("packs/"); len(n) != 0 {
		t.Errorf("stored: %v", n)
	}
}

func TestChunkTooLong(t *testing.T) {
	f := newFixture(t)
	p := f.packer(PackerOptions{})
	b := make([]byte, MaxChunk+1)
	if err := p.Add(dataRef(nil), b); err == nil {
		t.Error("accepted")
	}
	if err := p.Add(dataRef(b[:MaxChunk]), b[:MaxChunk]); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A single message must cost little of a large pack, a user's mail few
// requests.
func TestReadAmplification(t *testing.T) {
	f := newFixture(t)
	var order []chunk.Ref
	chunks := map[chunk.Ref][]byte{}
	for i := range 120 {
		b := noise(int64(i), 128<<10)
		chunks[dataRef(b)] = b
		order = append(order, dataRef(b))
	}
	got := f.pack(chunks, order)
	total := got.packs[0].Size
	measure := func(refs []chunk.Ref) (int, int64) {
		r := f.reader(ReaderOptions{})
		f.store.gets, f.store.got = 0, 0
		for _, ref := range refs {
			if _, err := r.Chunk(t.Context(), got.locations[ref], ref); err != nil {
				t.Fatal(err)
			}
		}
		return f.store.gets, f.store.got
	}
	if gets, n := measure(order[60:61]); gets > 3 || n > 600<<10 {
		t.Errorf("one chunk of 128 KiB: %d requests, %d bytes", gets, n)
	}
	if gets, n := measure(order); gets > 14 || n > total*11/10 {
		t.Errorf("a whole pack of %d bytes: %d requests, %d bytes", total, gets, n)
	}
}

func TestConcurrentReads(t *testing.T) {
	f := newFixture(t)
	chunks, order := mixedChunks(5, 400)
	got := f.pack(chunks, order)
	r := f.reader(ReaderOptions{FrameCache: 1 << 20, BlockCache: 1 << 20})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for _, i := range rand.New(rand.NewSource(int64(w / 2))).Perm(len(order)) {
				b, err := r.Chunk(t.Context(), got.locations[order[i]], order[i])
				if err != nil || !bytes.Equal(b, chunks[order[i]]) {
					t.Errorf("%s: %v", order[i], err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestReaderNeedsTheRightIdentity(t *testing.T) {
	f := newFixture(t)
	b := []byte("hello")
	got := f.pack(map[chunk.Ref][]byte{dataRef(b): b}, []chunk.Ref{dataRef(b)})
	if _, err := f.v.NewReader(nil, ReaderOptions{}); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("without: %v", err)
	}
	r, err := f.v.NewReader(append(newFixture(t).keys(), f.host.Metadata()), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b)); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a host's metadata identity reads packs: %v", err)
	}
	if _, err := r.CheckPack(t.Context(), got.packs[0].Object()); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("CheckPack: %v", err)
	}
}

// A store that fails is no damage, and the next try succeeds.
func TestReadAfterFailure(t *testing.T) {
	f := newFixture(t)
	b := prose(1, 5000)
	got := f.pack(map[chunk.Ref][]byte{dataRef(b): b}, []chunk.Ref{dataRef(b)})
	r := f.reader(ReaderOptions{})
	f.store.before = func(op, name string) error {
		return &objstore.Error{Op: op, Name: name, Store: "memory", Kind: objstore.ErrUnavailable}
	}
	_, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b))
	var d *DamageError
	if !errors.Is(err, objstore.ErrUnavailable) || errors.As(err, &d) {
		t.Errorf("unavailable store: %v", err)
	}
	f.store.before = nil
	if _, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b)); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

// Nonsense locations, as a damaged catalog could hold them, are errors.
func TestHostileLocations(t *testing.T) {
	f := newFixture(t)
	b := prose(1, 5000)
	ref := dataRef(b)
	got := f.pack(map[chunk.Ref][]byte{ref: b}, []chunk.Ref{ref})
	good := got.locations[ref]
	r := f.reader(ReaderOptions{})
	rnd := rand.New(rand.NewSource(3))
	odd := []int64{-1, 0, 1, 31, 1 << 31, 1 << 62, -1 << 63, 1<<63 - 1}
	for i := range 3000 {
		l := good
		fields := []*int64{&l.PackSize, &l.FrameOffset, &l.FrameStored, &l.FramePlain, &l.Offset, &l.Size}
		*fields[rnd.Intn(len(fields))] = odd[rnd.Intn(len(odd))]
		if i%3 == 0 {
			*fields[rnd.Intn(len(fields))] += int64(rnd.Intn(100))
		}
		if i%7 == 0 {
			l.Method = []string{"raw", "lz4", ""}[rnd.Intn(3)]
		}
		if l == good {
			continue
		}
		if got, err := r.Chunk(t.Context(), l, ref); err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%+v gives %d bytes", l, len(got))
		}
	}
	l := good
	l.Method = "lz4"
	l.FrameOffset++
	if _, err := r.Chunk(t.Context(), l, ref); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown method: %v", err)
	}
}

func TestSampleFindsLateText(t *testing.T) {
	c, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	half := append(noise(1, 200<<10), prose(1, 200<<10)...)
	if _, method, err := c.encode(nil, half); err != nil || method != methodZstd {
		t.Errorf("half noise, half text: %s, %v", method, err)
	}
	var zeros [100 << 10]byte
	binary.BigEndian.PutUint64(zeros[:], 1)
	if out, method, err := c.encode(nil, zeros[:]); err != nil || method != methodZstd || len(out) > 100 {
		t.Errorf("zeros: %s, %d bytes, %v", method, len(out), err)
	}
}
