package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand"
	"sync"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
)

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
			if _, err := r.Chunk(t.Context(), got.locations[ref], ref, nil); err != nil {
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
				b, err := r.Chunk(t.Context(), got.locations[order[i]], order[i], nil)
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
	if _, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b), nil); !errors.Is(err, ErrNoIdentity) {
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
	_, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b), nil)
	var d *DamageError
	if !errors.Is(err, objstore.ErrUnavailable) || errors.As(err, &d) {
		t.Errorf("unavailable store: %v", err)
	}
	f.store.before = nil
	if _, err := r.Chunk(t.Context(), got.locations[dataRef(b)], dataRef(b), nil); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

// Nonsense locations, as a damaged catalog could hold them, are errors, unless
// they are other places in the frame: the message's hash shows those.
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
		if got, err := r.Chunk(t.Context(), l, ref, nil); err == nil && !bytes.Equal(got, b[l.Offset:l.Offset+l.Size]) {
			t.Fatalf("%+v gives %d bytes", l, len(got))
		}
	}
	l := good
	l.Method = "lz4"
	l.FrameOffset++
	if _, err := r.Chunk(t.Context(), l, ref, nil); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown method: %v", err)
	}
}

func TestEncode(t *testing.T) {
	c, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	half := append(noise(1, 200<<10), prose(1, 200<<10)...)
	if _, method, err := c.encode(nil, half, false); err != nil || method != methodZstd {
		t.Errorf("half noise, half text: %s, %v", method, err)
	}
	var zeros [100 << 10]byte
	binary.BigEndian.PutUint64(zeros[:], 1)
	if out, method, err := c.encode(nil, zeros[:], true); err != nil || method != methodZstd || len(out) > 100 {
		t.Errorf("zeros: %s, %d bytes, %v", method, len(out), err)
	}
}

// The memory of a frame that the cache has dropped is used again, but never
// while somebody copies from it, and never when a caller got the bytes
// themselves.
func TestFramesAreUsedAgain(t *testing.T) {
	f := newFixture(t)
	chunks, order := mixedChunks(5, 400)
	got := f.pack(chunks, order)
	r := f.reader(ReaderOptions{FrameCache: solidFrame + 100, BlockCache: 1 << 20})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			luck := rand.New(rand.NewSource(int64(w)))
			room, held := make([]byte, 0, 1<<20), map[chunk.Ref][]byte{}
			for range 600 {
				ref, into := order[luck.Intn(len(order))], room
				if luck.Intn(8) == 0 {
					into = nil
				}
				b, err := r.Chunk(t.Context(), got.locations[ref], ref, into)
				if err != nil || !bytes.Equal(b, chunks[ref]) {
					t.Errorf("%s: other bytes, or %v", ref, err)
					return
				}
				if into == nil {
					held[ref] = b
				}
			}
			for ref, b := range held {
				if !bytes.Equal(b, chunks[ref]) {
					t.Errorf("%s changed after it was given", ref)
				}
			}
		})
	}
	wg.Wait()
}
