package vault

import (
	"bytes"
	"errors"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"salvor/chunk"
)

func TestPackAndRead(t *testing.T) {
	for _, o := range []IdentityOptions{{}, {PostQuantum: true}} {
		f := newFixtureWith(t, o)
		n := 1500
		if o.PostQuantum {
			n = 100
		}
		chunks, order := mixedChunks(1, n)
		got := f.pack(chunks, order)
		if len(got.packs) < 2 && n > 1000 {
			t.Errorf("%d packs of %d chunks", len(got.packs), len(order))
		}
		r := f.reader(ReaderOptions{})
		rand.New(rand.NewSource(2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, ref := range order {
			b, err := r.Chunk(t.Context(), got.locations[ref], ref, nil)
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
		if len(set) > 3 { // 300 KB of a user, frames of 256 KiB
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

func TestDataMustFitItsID(t *testing.T) {
	f := newFixture(t)
	p := f.packer(PackerOptions{Stored: func(PackInfo) error { t.Error("stored"); return nil }})
	if err := p.Add(dataRef([]byte("other")), []byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "ID") {
		t.Error(err)
	}
}

func TestChunkTooLong(t *testing.T) {
	f := newFixture(t)
	p := f.packer(PackerOptions{})
	b := make([]byte, MaxChunk+1)
	if err := p.Add(dataRef(nil), b); err == nil {
		t.Error("accepted")
	}
	if err := p.Add(messageRef(nil), b[:MaxChunk]); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
