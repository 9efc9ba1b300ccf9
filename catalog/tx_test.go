package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"salvor/chunk"
)

// TestFullDisk lets the file grow by one page more each time, until a
// transaction gets through. Each failure leaves the catalog as it was.
func TestFullDisk(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	before := dump(t, c)
	var pages int64
	_, err := c.writer.prep("PRAGMA page_count").one(func(r row) { pages = r.int(0) })
	must(t, err)
	for limit := pages; ; limit += 3 {
		if limit > pages+1000 {
			t.Fatal("it never gets through")
		}
		must(t, c.writer.exec(fmt.Sprintf("PRAGMA max_page_count = %d", limit)))
		tx := begin(t, c)
		err := many(tx)
		if err == nil {
			err = tx.Commit(Head{Vault: "v", Number: 2})
		} else if err := tx.Put(Ack{Attention: "x"}); !errors.Is(err, ErrFull) {
			t.Fatalf("after a failure: %v, want ErrFull again", err)
		}
		must(t, tx.Rollback())
		if err == nil {
			if limit == pages {
				t.Fatal("the test is too small")
			}
			break
		}
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "hint: ") {
			t.Fatalf("with %d pages: %v, want ErrFull", limit, err)
		}
		if got := dump(t, c); got != before {
			t.Fatalf("with %d pages: %s", limit, firstDifference(got, before))
		}
		checkInvariants(t, c)
	}
	checkInvariants(t, c)
}

// many puts enough rows for some hundred pages.
func many(tx *Tx) error {
	for i := range 300 {
		pack := testID("many %d", i)
		rows := []Row{Pack{ID: pack, Size: 9}, frame(pack, 0, message(pack)),
			Content{ID: pack, Subject: strings.Repeat("x", 3000)},
			Record{ID: int64(10 + i), Mailbox: 1, Content: pack}}
		if err := tx.Put(rows...); err != nil {
			return err
		}
	}
	return nil
}

// TestCrash copies the files of a catalog in the middle of a transaction that
// has spilled, as a killed process would leave them.
func TestCrash(t *testing.T) {
	c, err := Open(t.TempDir()+"/c.db", Options{CacheBytes: 64 << 10})
	must(t, err)
	defer func() { must(t, c.Close()) }()
	apply(t, c, sample()...)
	before := dump(t, c)
	tx := begin(t, c)
	must(t, many(tx))
	copied := t.TempDir() + "/copy.db"
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(c.Path() + suffix)
		must(t, err)
		if suffix == "-wal" && len(b) < 500_000 {
			t.Fatalf("only %d bytes of log: the test is too small", len(b))
		}
		must(t, os.WriteFile(copied+suffix, b, 0o600))
	}
	if got := dump(t, reopen(t, copied)); got != before {
		t.Fatal(firstDifference(got, before))
	}
}

// TestConcurrent uses one transaction from many goroutines, and reads the
// catalog beside it.
func TestConcurrent(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	before := dump(t, c)
	tx := begin(t, c)
	lines := 0
	tx.Journal(func([]byte) error { lines++; return nil })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				id := testID("message %d %d", g, i)
				pack := testID("pack %d %d", g, i)
				record, err := tx.NextID(RecordIDs)
				err = errors.Join(err, tx.Put(Pack{ID: pack, Size: 9}, frame(pack, 0, message(id)), Content{ID: id},
					Record{ID: record, Mailbox: 1, Content: id}))
				has, err2 := tx.HasChunk(message(id))
				if err := errors.Join(err, err2); err != nil || !has {
					t.Errorf("%v, has its chunk: %v", err, has)
				}
			}
		})
		wg.Go(func() {
			for range 5 {
				n := 0
				err := tx.Records(ctx, 1, func(r *Record) error {
					n++
					_, _, err := tx.Content(r.Content) // a query within a query
					return err
				})
				if err != nil || n == 0 {
					t.Errorf("%d records, %v", n, err)
				}
				if got := dump(t, c); got != before {
					t.Error("a reader sees uncommitted rows")
				}
			}
		})
	}
	wg.Wait()
	commit(t, tx)
	checkInvariants(t, c)
	if s, err := c.Stats(ctx); err != nil || s.Live != 1+8*40 || lines != 4*8*40 {
		t.Errorf("%+v, %v, %d lines", s, err, lines)
	}
}

func TestJournalError(t *testing.T) {
	c := newCatalog(t)
	tx := begin(t, c)
	full := errors.New("journal is full")
	tx.Journal(func([]byte) error { return full })
	if err := tx.Put(Ack{Attention: "x"}); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if err := tx.Commit(Head{Vault: "v", Number: 1}); !errors.Is(err, full) {
		t.Fatalf("commit: %v", err)
	}
	if got := dump(t, c); got != "" {
		t.Fatal(got)
	}
	must(t, begin(t, c).Rollback()) // the turn was passed on
}

func TestPutWhileListing(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	tx := begin(t, c)
	must(t, tx.Records(ctx, 1, func(r *Record) error {
		r.Flags = append(r.Flags, "seen-by-test")
		return tx.Put(r)
	}))
	enough := 0
	must(t, tx.Mailboxes(ctx, "", func(*Mailbox) error { enough++; return ErrStop }))
	r, ok, err := tx.Record(1)
	if err != nil || !ok || len(r.Flags) != 3 || enough != 1 {
		t.Fatalf("%+v, %v, %d", r, err, enough)
	}
}

// TestRepack moves what is needed into another pack, and lets the old one go.
func TestRepack(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	tx := begin(t, c)
	old, fresh := testID("pack"), testID("fresh")
	m := message(testID("message"))
	var refs []chunk.Ref
	must(t, tx.LiveFrames(ctx, old, func(f *Frame) error {
		for _, k := range f.Chunks {
			refs = append(refs, chunk.Ref{Kind: k.Kind, ID: k.ID})
		}
		return nil
	}))
	if len(refs) != 4 {
		t.Fatalf("%d chunks are needed, want 4", len(refs))
	}
	must(t, tx.Put(Pack{ID: fresh, Size: 500, Commit: 2}, frame(fresh, 0, refs...), Pack{ID: old, Size: 1000, Commit: 1, Condemned: 2}))
	for _, ref := range refs {
		at, ok, err := tx.Locate(ref)
		has, err2 := tx.HasChunk(ref)
		if !ok || !has || at.Pack != fresh || errors.Join(err, err2) != nil {
			t.Errorf("%s: %+v %v %v %v %v", ref, at, ok, has, err, err2)
		}
	}
	p, ok, err := tx.Pack(old)
	if err != nil || !ok || p.Live != 0 || p.Dead != 1000 {
		t.Errorf("old pack: %+v %v", p, err)
	}
	must(t, tx.Delete(Pack{ID: old}))
	has, err := tx.HasContent(m.ID)
	if err != nil || !has {
		t.Errorf("content: %v %v", has, err)
	}
	commit(t, tx)
	checkInvariants(t, c)
	// A condemned pack's chunks are no longer built on, but still found.
	apply(t, c, Pack{ID: fresh, Size: 500, Commit: 2, Condemned: 3})
	for _, q := range []interface {
		HasChunk(chunk.Ref) (bool, error)
		HasContent(chunk.ID) (bool, error)
		Locate(chunk.Ref) (Location, bool, error)
	}{c, begin(t, c)} {
		has, err := q.HasChunk(m)
		hasContent, err2 := q.HasContent(m.ID)
		_, ok, err3 := q.Locate(m)
		if has || hasContent || !ok || errors.Join(err, err2, err3) != nil {
			t.Errorf("condemned: has %v, has content %v, located %v", has, hasContent, ok)
		}
	}
}

// TestSamePlace uses hashes whose first eight bytes are the same, which an
// attacker could make, and neighbours of them, also where numbers wrap around.
func TestSamePlace(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c := newCatalog(t)
		var refs []chunk.Ref
		for _, head := range []uint64{0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0} {
			for i := range 4 {
				r := chunk.Ref{Kind: []chunk.Kind{chunk.KindData, chunk.KindMessage}[i%2]}
				binary.BigEndian.PutUint64(r.ID[:], head)
				r.ID[31] = byte(1 + i/2)
				refs = append(refs, r)
			}
		}
		there := map[chunk.Ref]bool{}
		for round := range 60 {
			tx := begin(t, c)
			for range 1 + rng.IntN(6) {
				ref := refs[rng.IntN(len(refs))]
				pack := chunk.Sum(append([]byte{byte(ref.Kind)}, ref.ID[:]...))
				if there[ref] {
					must(t, tx.Delete(Pack{ID: pack}))
				} else {
					must(t, tx.Put(Pack{ID: pack}, frame(pack, 0, ref)))
				}
				there[ref] = !there[ref]
			}
			commit(t, tx)
			for _, ref := range refs {
				at, ok, err := c.Locate(ref)
				if err != nil || ok != there[ref] || ok && at.Pack != chunk.Sum(append([]byte{byte(ref.Kind)}, ref.ID[:]...)) {
					t.Fatalf("seed %d, round %d, %s: %v %v %v, want %v", seed, round, ref, at, ok, err, there[ref])
				}
			}
		}
	}
}

func TestClear(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	want := dump(t, c)
	tx := begin(t, c)
	must(t, tx.Clear())
	if got := dump(t, tx); got != "" {
		t.Fatal(got)
	}
	for line := range strings.Lines(want) {
		must(t, tx.Apply([]byte(line)))
	}
	commit(t, tx)
	checkInvariants(t, c)
	if got := dump(t, c); got != want {
		t.Fatal(firstDifference(got, want))
	}
}
