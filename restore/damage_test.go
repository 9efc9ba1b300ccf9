package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// threePacks makes a user whose mail lies in three packs; some messages of the
// later ones need an attachment that lies in the first.
func threePacks(t *testing.T) (l *lab, texts map[uint32]string) {
	l = newLab(t)
	texts = map[uint32]string{}
	for pack := range 3 {
		var mails []mail
		for i := range 10 {
			uid := uint32(100*pack + i + 1)
			switch {
			case i == 0:
				texts[uid] = attached(fmt.Sprint("shared ", uid), 1, 200<<10)
			case i < 4:
				texts[uid] = attached(fmt.Sprint("own ", uid), int64(uid), 100<<10)
			default:
				texts[uid] = text(fmt.Sprint("small ", uid), "x")
			}
			mails = append(mails, mail{user: "u", folder: "INBOX", uid: uid, stored: texts[uid]})
		}
		l.backup(mails...)
	}
	if n := len(l.packs()); n != 3 {
		t.Fatalf("%d packs, want 3", n)
	}
	return l, texts
}

// needing gives the UIDs of the messages of which a piece lies in a pack.
func (l *lab) needing(file string) (uids []uint32) {
	id, err := chunk.ParseID(filepath.Base(file))
	check(l.t, err)
	check(l.t, l.catalog.Entries(l.t.Context(), catalog.Query{InPacks: []chunk.ID{id}}, func(e *catalog.Entry) error {
		uids = append(uids, e.UID)
		return nil
	}))
	return uids
}

// checkDamage restores and wants exactly these messages to fail, each once and
// by name, and all others to come back.
func checkDamage(t *testing.T, l *lab, texts map[uint32]string, failing []uint32) {
	t.Helper()
	to := newMemory()
	o := l.options(to)
	var named []uint32
	o.Problem = func(p *Problem) {
		named = append(named, p.UID)
		var d *vault.DamageError
		if !errors.As(p, &d) && !errors.Is(p, vault.ErrNoIdentity) || !strings.Contains(p.Error(), `user "u": folder "INBOX": uid `) || !strings.Contains(p.Error(), "packs/") {
			t.Errorf("problem does not say what and where: %v", p)
		}
	}
	r := restoreUser(t, "u", o)
	slices.Sort(named)
	if !slices.Equal(named, failing) {
		t.Errorf("failed: %v\nwant: %v", named, failing)
	}
	if r.Failed != len(failing) || len(r.Problems) != len(failing) || r.Messages != len(texts)-len(failing) {
		t.Errorf("got %d failed, %d problems, %d messages", r.Failed, len(r.Problems), r.Messages)
	}
	var want []string
	for uid, s := range texts {
		if !slices.Contains(failing, uid) {
			want = append(want, s)
		}
	}
	sameTexts(t, to.texts("u"), map[string][]string{"INBOX": sorted(want...)})
}

func TestDamagedPack(t *testing.T) {
	damages := []struct {
		name string
		do   func(t *testing.T, file string)
	}{
		{"removed", func(t *testing.T, file string) { check(t, os.Remove(file)) }},
		{"truncated", func(t *testing.T, file string) {
			damage(t, file, func(b []byte) []byte { return b[:len(b)-1] })
		}},
		{"empty", func(t *testing.T, file string) { damage(t, file, func([]byte) []byte { return nil }) }},
		{"another file", func(t *testing.T, file string) {
			damage(t, file, func(b []byte) []byte { return make([]byte, len(b)) })
		}},
		{"first byte flipped", func(t *testing.T, file string) {
			damage(t, file, func(b []byte) []byte { b[0] ^= 1; return b })
		}},
		// A key that fits no identity any more looks as if we had the wrong one.
		{"recipient flipped", func(t *testing.T, file string) {
			damage(t, file, func(b []byte) []byte { b[bytes.IndexByte(b, '>')+20] ^= 1; return b })
		}},
	}
	l, texts := threePacks(t)
	for _, file := range l.packs() {
		whole, err := os.ReadFile(file)
		check(t, err)
		for _, d := range damages {
			t.Run(d.name, func(t *testing.T) {
				d.do(t, file)
				checkDamage(t, l, texts, l.needing(file))
			})
			check(t, os.RemoveAll(file))
			check(t, os.WriteFile(file, whole, 0o600))
		}
	}
}

// A bit flipped anywhere fails at most the messages of that pack, and what does
// not fail is right.
func TestFlippedBits(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	l, texts := threePacks(t)
	hit := 0
	for range 25 {
		file := l.packs()[rnd.Intn(3)]
		at, bit := 0, byte(1)<<rnd.Intn(8)
		flip := func(b []byte) []byte { b[at] ^= bit; return b }
		info, err := os.Stat(file)
		check(t, err)
		at = rnd.Intn(int(info.Size()))
		damage(t, file, flip)

		to := newMemory()
		r, err := User(t.Context(), "u", l.options(to))
		if err != nil {
			t.Fatalf("bit %d of byte %d: %v", bit, at, err)
		}
		needing := l.needing(file)
		if r.Failed > len(needing) || r.Failed+r.Messages != len(texts) {
			t.Errorf("byte %d: %d failed of the %d in the pack", at, r.Failed, len(needing))
		}
		hit += r.Failed
		for _, d := range to.users["u"].mails["INBOX"] {
			if string(d.Stored) != texts[uint32(d.UID)] {
				t.Errorf("byte %d: UID %d came back changed", at, d.UID)
			}
		}
		damage(t, file, flip)
	}
	if hit == 0 {
		t.Error("no flip did anything")
	}
	checkDamage(t, l, texts, nil)
}

// What the catalog promises is compared with what comes out.
func TestWrongRows(t *testing.T) {
	wrong := []struct {
		name, says string
		change     func(*catalog.Record)
	}{
		{"stored hash", "SHA-256 of the stored bytes", func(r *catalog.Record) { r.Stored = chunk.Sum(nil) }},
		{"line ends", "SHA-256 of the stored bytes", func(r *catalog.Record) { r.LineEnds = chunk.EndsCRLF }},
		{"nonsense line ends", "line ends", func(r *catalog.Record) { r.LineEnds = "mixed:AAAA" }},
	}
	for _, tt := range wrong {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.backup(mail{user: "u", folder: "INBOX", uid: 1, stored: text("good", "")},
				mail{user: "u", folder: "INBOX", uid: 2, stored: text("bad", ""), record: tt.change})
			r := restoreUser(t, "u", l.options(newMemory()))
			if r.Messages != 1 || r.Failed != 1 || !strings.Contains(r.Problems[0], "uid 2: ") || !strings.Contains(r.Problems[0], tt.says) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A vault that a wrong identity does not open is no pile of damaged messages.
func TestWrongIdentity(t *testing.T) {
	l, _ := threePacks(t)
	other, err := age.GenerateX25519Identity()
	check(t, err)
	l.keys = []age.Identity{other}
	for _, q := range []catalog.Query{{}, {UIDs: []uint32{1}}} {
		o := l.options(newMemory())
		o.Query = q
		r, err := User(t.Context(), "u", o)
		if !errors.Is(err, vault.ErrNoIdentity) || r.Messages != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

// chunksFunc makes a function Chunks.
type chunksFunc func(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error)

func (f chunksFunc) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	return f(ctx, at, ref, room)
}

// A vault that goes away in the middle ends the restore; the next one
// completes it.
func TestVaultGoesAway(t *testing.T) {
	l, texts := threePacks(t)
	to := newMemory()
	o := l.options(to)
	o.Workers = 1 // the first messages are read before the vault goes away
	inner := o.Chunks
	reads := make(chan int, 1)
	reads <- 0
	o.Chunks = chunksFunc(func(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
		n := <-reads
		reads <- n + 1
		if n > 20 {
			return nil, fmt.Errorf("get %s: %w", at.Pack, objstore.ErrUnavailable)
		}
		return inner.Chunk(ctx, at, ref, room)
	})
	r, err := User(t.Context(), "u", o)
	if !errors.Is(err, objstore.ErrUnavailable) || r.Messages == 0 || r.Failed != 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	var ended []string
	err = All(t.Context(), []string{"u", "v", "w", "x", "y", "z"}, o, func(r *Report, err error) { ended = append(ended, r.User) })
	if !errors.Is(err, objstore.ErrUnavailable) {
		t.Errorf("all: got %v", err)
	}
	done := r.Messages
	r = restoreUser(t, "u", l.options(to))
	if r.Skipped < done || r.Skipped+r.Messages != len(texts) {
		t.Errorf("completed: %+v after %d", r, done)
	}
}

// A chunk that a prune has moved meanwhile is found at its new place.
func TestMovedChunk(t *testing.T) {
	l, texts := threePacks(t)
	o := l.options(newMemory())
	inner := o.Chunks
	o.Chunks = chunksFunc(func(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
		if ref.Kind == chunk.KindMessage && at == (catalog.Location{Pack: chunk.ID{1}}) {
			return nil, errors.New("erased")
		}
		return inner.Chunk(ctx, at, ref, room)
	})
	b := builder{catalog: o.Catalog, chunks: o.Chunks}
	check(t, l.catalog.Entries(t.Context(), catalog.Query{}, func(e *catalog.Entry) error {
		e.Where = catalog.Location{Pack: chunk.ID{1}}
		m, err := b.message(t.Context(), e)
		if err == nil && string(m.stored) != texts[e.UID] {
			t.Errorf("UID %d came back changed", e.UID)
		}
		return err
	}))
}

func TestMessage(t *testing.T) {
	l, texts := threePacks(t)
	o := l.options(nil)
	check(t, l.catalog.Entries(t.Context(), catalog.Query{User: "u"}, func(e *catalog.Entry) error {
		stored, err := Message(t.Context(), l.catalog, o.Chunks, e)
		if err == nil && string(stored) != texts[e.UID] {
			t.Errorf("UID %d came back changed", e.UID)
		}
		return err
	}))
	e := &catalog.Entry{Record: catalog.Record{Content: chunk.Sum([]byte("nothing"))}}
	var lost *LostError
	if _, err := Message(t.Context(), l.catalog, o.Chunks, e); !errors.As(err, &lost) {
		t.Errorf("got %v, want a LostError", err)
	}
}

// A recipe that would grow far beyond its message is stopped early.
func TestRecipeBomb(t *testing.T) {
	l, _ := threePacks(t)
	var entry *catalog.Entry
	check(t, l.catalog.Entries(t.Context(), catalog.Query{UIDs: []uint32{1}}, func(e *catalog.Entry) error {
		entry = e
		return nil
	}))
	entry.Size = 1000 // as if the recipe named 200 KiB of parts for it
	var d *chunk.DamageError
	if _, err := Message(t.Context(), l.catalog, l.options(nil).Chunks, entry); !errors.As(err, &d) || !strings.Contains(err.Error(), "1000 bytes") {
		t.Errorf("got %v", err)
	}
}
