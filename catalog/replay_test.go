package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"salvor/chunk"
)

// TestReplay: what a catalog is, however it came about (a live run, its journal
// replayed, a checkpoint applied), depends on the rows alone.
func TestReplay(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := newWorld(seed)
			live := newCatalog(t)
			var journal bytes.Buffer
			for range 12 {
				w.tx = begin(t, live)
				w.tx.Journal(func(line []byte) error { journal.Write(line); return nil })
				for range 60 {
					w.step(t)
					if w.rng.IntN(20) == 0 {
						dump(t, w.tx) // a query in between must not matter
					}
				}
				commit(t, w.tx)
			}
			w.tx = nil
			want := dump(t, live)
			checkInvariants(t, live)
			for name, lines := range map[string]string{"journal": journal.String(), "checkpoint": want} {
				again := replay(t, lines)
				checkInvariants(t, again)
				if got := dump(t, again); got != want {
					t.Fatalf("%s: %s", name, firstDifference(got, want))
				}
				if got, want := answers(t, again), answers(t, live); got != want {
					t.Fatalf("answers after %s: %s", name, firstDifference(got, want))
				}
			}
		})
	}
}

func replay(t testing.TB, lines string) *Catalog {
	t.Helper()
	c := newCatalog(t)
	tx := begin(t, c)
	for line := range strings.Lines(lines) {
		if err := tx.Apply([]byte(line)); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
	}
	commit(t, tx)
	return c
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\n%s\nwant\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// answers writes down what all kinds of queries give.
func answers(t testing.TB, c *Catalog) string {
	var b strings.Builder
	say := func(v any) error {
		line, err := json.Marshal(v)
		fmt.Fprintf(&b, "%s\n", line)
		return err
	}
	for _, q := range []Query{{}, {Order: ByLocation}, {Deleted: true}, {Subject: "SUBJECT-1"}, {AsOf: night.AddDate(0, 0, 5)},
		{DeletedSince: night.AddDate(0, 0, 3)}, {UIDs: []uint32{5, 7, 9, 300}}, {User: "user-1"}} {
		must(t, c.Entries(ctx, q, func(e *Entry) error { return say(e) }))
	}
	must(t, c.Expiring(ctx, night.AddDate(1, 0, 0), func(e *Expiring) error { return say(e) }))
	must(t, c.GoneSince(ctx, 2, func(user string, r *Record) error { must(t, say(user)); return say(r) }))
	losses, err := c.Losses(ctx, LossQuery{Source: "s", Run: 3})
	must(t, err)
	must(t, say(losses))
	must(t, c.Counts(ctx, CountQuery{GoneSince: 1}, func(n *MailboxCount) error { return say(n) }))
	must(t, c.Runs(ctx, 0, func(r *Run) error { return say(r) }))
	must(t, c.Packs(ctx, func(p *PackUse) error {
		must(t, say(p))
		return c.LiveFrames(ctx, p.ID, func(f *Frame) error { return say(f) })
	}))
	must(t, c.Incidents(ctx, func(i *Incident) error {
		must(t, say(i))
		counts, err := c.ClaimCounts(ctx, i.Name)
		must(t, err)
		must(t, say(counts))
		for _, q := range []ClaimQuery{{}, {User: "user-1"}, {State: ClaimOwed}, {User: "user-2", State: ClaimHeld}} {
			q.Incident = i.Name
			must(t, c.Claims(ctx, q, func(c *Claim) error { return say(c) }))
		}
		must(t, c.ClaimUsers(ctx, i.Name, func(u UserClaims) error { return say(u) }))
		must(t, c.Gates(ctx, i.Name, func(g *Gate) error { return say(g) }))
		must(t, c.Findings(ctx, FindingQuery{Incident: i.Name}, func(f *Finding) error { return say(f) }))
		return nil
	}))
	for seq := range sequences {
		tx, err := c.Begin(ctx)
		must(t, err)
		id, err := tx.NextID(seq)
		must(t, err)
		must(t, say(id))
		must(t, tx.Rollback())
	}
	s, err := c.Stats(ctx)
	must(t, err)
	must(t, say(s))
	return b.String()
}

// checkInvariants derives everything that is derived once more, from scratch.
func checkInvariants(t testing.TB, c source) {
	t.Helper()
	must(t, c.borrow(func(r *conn) error {
		refs, frames := map[int64]int64{}, map[int64]int64{}
		count := func(query string, kind chunk.Kind) {
			must(t, stream(ctx, r, query, noBind, func(q row) []int64 {
				refs[q.int(0)] += int64(map[chunk.Kind]int{chunk.KindMessage: 1}[kind])
				return unpackInts(q.blob(1), q.int(0))
			}, func(ids []int64) error {
				for _, id := range ids {
					refs[id]++
				}
				return nil
			}))
		}
		count("SELECT id, parts FROM content", chunk.KindMessage)
		count("SELECT id, chunks FROM part", chunk.KindPart)
		type found struct{ id, frame, size, refs int64 }
		must(t, stream(ctx, r, "SELECT id, frame, size, refs FROM chunk", noBind,
			func(q row) found { return found{q.int(0), q.int(1), q.int(2), q.int(3)} },
			func(f found) error {
				if refs[f.id] != f.refs {
					t.Errorf("chunk %d: %d references, counted %d", f.id, f.refs, refs[f.id])
				}
				delete(refs, f.id)
				if f.refs > 0 {
					frames[f.frame] += f.size
				}
				return nil
			}))
		for id, n := range refs {
			if n > 0 {
				t.Errorf("chunk %d is needed %d times and missing", id, n)
			}
		}
		packs := map[int64]packUse{}
		must(t, stream(ctx, r, "SELECT "+frameColumns+" FROM frame", noBind, scanFrame, func(f frameRow) error {
			if frames[f.id] != f.live {
				t.Errorf("frame %d: live %d, counted %d", f.id, f.live, frames[f.id])
			}
			u := packs[f.pack]
			packs[f.pack] = packUse{u.stored + f.stored, u.live + f.share(f.live)}
			return nil
		}))
		must(t, stream(ctx, r, "SELECT id, stored, live FROM pack", noBind,
			func(q row) [3]int64 { return [3]int64{q.int(0), q.int(1), q.int(2)} },
			func(p [3]int64) error {
				if got := (packUse{p[1], p[2]}); got != packs[p[0]] {
					t.Errorf("pack %d: %v, counted %v", p[0], got, packs[p[0]])
				}
				return nil
			}))
		for i, query := range []string{"SELECT count(*) FROM content", "SELECT coalesce(sum(size), 0) FROM content",
			"SELECT count(*) FROM record", "SELECT count(*) FROM record WHERE gone_run <> 0"} {
			want := int64(-1)
			_, err := r.prep(query).one(func(q row) { want = q.int(0) })
			must(t, err)
			if got, err := r.counter(totalNames[i]); err != nil || got != want {
				t.Errorf("%s: %d, counted %d (%v)", totalNames[i], got, want, err)
			}
		}
		return nil
	}))
}
