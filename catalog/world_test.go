package catalog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"salvor/chunk"
)

// A world makes random, valid changes: what a mail server, the nightly runs and
// the upkeep do in years.
type world struct {
	rng  *rand.Rand
	tx   *Tx
	now  time.Time
	run  uint64
	n    int // for unique names
	size map[chunk.Ref]int64

	users     []string
	mailboxes []Mailbox
	records   []Record
	contents  []Content
	packs     []Pack
	parts     []Part
	holds     []Hold
	incidents []Incident
	claims    []Claim
	findings  []Finding
}

func newWorld(seed uint64) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 1)), now: night, size: map[chunk.Ref]int64{}}
}

func (w *world) next(what string) string { w.n++; return fmt.Sprintf("%s-%d", what, w.n) }

func (w *world) id(what string) chunk.ID { return testID("%s", w.next(what)) }

func pick[T any](w *world, list []T) (v T, i int) {
	i = w.rng.IntN(len(list))
	return list[i], i
}

func (w *world) step(t testing.TB) {
	steps := []struct {
		weight int
		do     func(testing.TB)
	}{
		{2, w.newRun}, {2, w.newUser}, {4, w.newMailbox}, {12, w.store}, {20, w.newRecord}, {10, w.changeRecord},
		{6, w.expire}, {2, w.dropContents}, {1, w.rewrite}, {1, w.dropPacks}, {2, w.recut}, {2, w.facts}, {4, w.ledger}, {2, w.changeMailbox},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := w.rng.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.do(t)
			return
		}
	}
}

func (w *world) put(t testing.TB, rows ...Row) { t.Helper(); must(t, w.tx.Put(rows...)) }

func (w *world) newRun(t testing.TB) {
	w.run++
	w.now = w.now.Add(24 * time.Hour)
	w.put(t, Run{Number: w.run, Kind: "backup", Started: w.now, Finished: w.now.Add(time.Hour), Problems: []string{w.next("problem")}})
}

func (w *world) newUser(t testing.TB) {
	u := User{Name: w.next("user"), Source: "s", Partition: []string{"p1", "p2"}[w.rng.IntN(2)], FirstRun: w.run, LastRun: w.run, FirstSeen: w.now}
	w.users = append(w.users, u.Name)
	w.put(t, u)
}

func (w *world) newMailbox(t testing.TB) {
	if len(w.users) == 0 {
		return
	}
	user, _ := pick(w, w.users)
	id, err := w.tx.NextID(MailboxIDs)
	must(t, err)
	m := Mailbox{ID: id, User: user, Name: w.next("folder"), UIDValidity: w.rng.Uint32(), FirstRun: w.run}
	w.mailboxes = append(w.mailboxes, m)
	w.put(t, m)
}

func (w *world) changeMailbox(t testing.TB) {
	if len(w.mailboxes) == 0 {
		return
	}
	m, i := pick(w, w.mailboxes)
	switch used := slices.ContainsFunc(w.records, func(r Record) bool { return r.Mailbox == m.ID }); {
	case !used && w.rng.IntN(2) == 0:
		w.mailboxes = slices.Delete(w.mailboxes, i, i+1)
		must(t, w.tx.Delete(m))
	default:
		m.Name = w.next("renamed")
		w.mailboxes[i] = m
		w.put(t, m)
	}
}

// frameOf packs chunks of random sizes.
func (w *world) frameOf(pack chunk.ID, offset int64, refs []chunk.Ref) Frame {
	f := Frame{Pack: pack, Offset: offset, Method: []string{MethodRaw, MethodZstd}[w.rng.IntN(2)]}
	for _, r := range refs {
		if w.size[r] == 0 {
			w.size[r] = int64(1 + w.rng.IntN(5000))
		}
		f.Chunks = append(f.Chunks, FrameChunk{r.Kind, r.ID, f.Plain, w.size[r]})
		f.Plain += w.size[r]
	}
	f.Stored = f.Plain/2 + 1
	return f
}

// pack stores chunks in a new pack.
func (w *world) pack(t testing.TB, refs []chunk.Ref) {
	p := Pack{ID: w.id("pack"), Commit: w.run + 1, CreatedAt: w.now, Size: 100}
	var frames []Row
	for len(refs) > 0 {
		n := 1 + w.rng.IntN(len(refs))
		f := w.frameOf(p.ID, p.Size, refs[:n])
		frames = append(frames, f)
		p.Size += f.Stored
		refs = refs[n:]
	}
	w.packs = append(w.packs, p)
	w.put(t, p)
	w.put(t, frames...)
}

// store makes a few contents of new and old chunks, long parts among them.
func (w *world) store(t testing.TB) {
	var refs []chunk.Ref
	var rows []Row
	for range 1 + w.rng.IntN(4) {
		c := Content{ID: w.id("message"), SHA1: chunk.SHA1{byte(w.n)}, Size: int64(w.rng.IntN(1e6)), Subject: w.next("Subject"), From: "a@b"}
		refs = append(refs, message(c.ID))
		for range w.rng.IntN(3) {
			d := data("%s", w.next("data"))
			refs = append(refs, d)
			c.Parts = append(c.Parts, d)
		}
		if len(w.contents) > 0 && w.rng.IntN(2) == 0 {
			old, _ := pick(w, w.contents)
			c.Parts = append(c.Parts, old.Parts...)
		}
		if w.rng.IntN(3) == 0 {
			p := Part{ID: w.id("part"), Size: 9}
			ref := chunk.Ref{Kind: chunk.KindPart, ID: p.ID}
			refs = append(refs, ref)
			for range 1 + w.rng.IntN(3) {
				d := data("%s", w.next("data"))
				refs = append(refs, d)
				p.Chunks = append(p.Chunks, d.ID, d.ID)
			}
			rows = append(rows, p)
			w.parts = append(w.parts, p)
			c.Parts = append(c.Parts, ref)
		}
		if w.rng.IntN(8) > 0 { // else the run was cut off before its row
			rows = append(rows, c)
			w.contents = append(w.contents, c)
		}
	}
	w.pack(t, refs)
	w.put(t, rows...)
	if w.rng.IntN(4) == 0 { // twice does not count twice
		w.put(t, rows...)
	}
}

func (w *world) newRecord(t testing.TB) {
	if len(w.mailboxes) == 0 || len(w.contents) == 0 {
		return
	}
	m, _ := pick(w, w.mailboxes)
	c, _ := pick(w, w.contents)
	id, err := w.tx.NextID(RecordIDs)
	must(t, err)
	r := Record{ID: id, Mailbox: m.ID, UID: w.rng.Uint32N(1000), Key: w.next("key"), Content: c.ID, FirstRun: w.run, FirstSeen: w.now,
		InternalDate: w.now, Flags: []string{`\Seen`}}
	w.records = append(w.records, r)
	w.put(t, r)
}

func (w *world) changeRecord(t testing.TB) {
	if len(w.records) == 0 {
		return
	}
	r, i := pick(w, w.records)
	if w.run > 0 && w.rng.IntN(2) == 0 {
		at := w.now
		r.GoneRun, r.GoneAt = w.run, &at
	} else {
		r.GoneRun, r.GoneAt = 0, nil
		r.Flags = append(slices.Clone(r.Flags), w.next("flag"))
	}
	w.records[i] = r
	w.put(t, r)
}

func (w *world) expire(t testing.TB) {
	if len(w.records) == 0 {
		return
	}
	r, i := pick(w, w.records)
	w.records = slices.Delete(w.records, i, i+1)
	must(t, w.tx.Delete(r))
}

// dropContents removes what no record needs any more.
func (w *world) dropContents(t testing.TB) {
	var gone []chunk.ID
	must(t, w.tx.Orphans(ctx, func(id chunk.ID) error { gone = append(gone, id); return nil }))
	for _, id := range gone {
		must(t, w.tx.Delete(Content{ID: id}))
	}
	w.contents = slices.DeleteFunc(w.contents, func(c Content) bool { return slices.Contains(gone, c.ID) })
}

// recut gives a content other parts.
func (w *world) recut(t testing.TB) {
	if len(w.contents) < 2 {
		return
	}
	c, i := pick(w, w.contents)
	o, _ := pick(w, w.contents)
	c.Parts = slices.Clone(o.Parts)
	w.contents[i] = c
	w.put(t, c)
}

// rewrite copies a pack's needed chunks into a new one and condemns it.
func (w *world) rewrite(t testing.TB) {
	if len(w.packs) == 0 {
		return
	}
	p, i := pick(w, w.packs)
	var refs []chunk.Ref
	must(t, w.tx.LiveFrames(ctx, p.ID, func(f *Frame) error {
		for _, c := range f.Chunks {
			refs = append(refs, chunk.Ref{Kind: c.Kind, ID: c.ID})
		}
		return nil
	}))
	w.pack(t, refs)
	at := w.now
	p.Condemned, p.CondemnedAt = w.run+1, &at
	w.packs[i] = p
	w.put(t, p)
}

func (w *world) dropPacks(t testing.TB) {
	var dead []chunk.ID
	must(t, w.tx.DeadPacks(ctx, func(p *PackUse) error { dead = append(dead, p.ID); return nil }))
	for _, id := range dead {
		must(t, w.tx.Delete(Pack{ID: id}))
	}
	w.packs = slices.DeleteFunc(w.packs, func(p Pack) bool { return slices.Contains(dead, p.ID) })
}

func (w *world) facts(t testing.TB) {
	if id, err := w.tx.NextID(HoldIDs); w.rng.IntN(2) == 0 {
		must(t, err)
		h := Hold{ID: id, User: "x", Run: w.run, Records: 3}
		w.holds = append(w.holds, h)
		w.put(t, h)
	} else if len(w.holds) > 0 {
		h, i := pick(w, w.holds)
		w.holds = slices.Delete(w.holds, i, i+1)
		must(t, w.tx.Delete(h))
	}
	w.put(t, Tombstone{User: w.next("user"), Content: w.id("old"), Until: w.now}, Ack{Attention: w.next("late"), At: w.now})
	if w.rng.IntN(2) == 0 {
		must(t, w.tx.Delete(Ack{Attention: w.next("late")}))
	}
}

// ledger opens, closes and empties incidents, and moves claims between states.
func (w *world) ledger(t testing.TB) {
	if len(w.incidents) < 3 {
		i := Incident{Name: w.next("incident"), Source: []string{"s", "t"}[w.rng.IntN(2)], At: w.now, OpenedAt: w.now, Problems: []string{"p"}}
		w.incidents = append(w.incidents, i)
		w.put(t, i)
		return
	}
	i, at := pick(w, w.incidents)
	switch n := w.rng.IntN(12); {
	case n == 0:
		must(t, w.tx.Delete(Gate{Incident: i.Name, User: "user-1"}, Gate{Incident: i.Name, User: "user-2"}))
		for _, c := range w.claims {
			if c.Incident == i.Name {
				must(t, w.tx.Delete(c))
			}
		}
		w.claims = slices.DeleteFunc(w.claims, func(c Claim) bool { return c.Incident == i.Name })
		for _, f := range w.findings {
			if f.Incident == i.Name {
				must(t, w.tx.Delete(f))
			}
		}
		w.findings = slices.DeleteFunc(w.findings, func(f Finding) bool { return f.Incident == i.Name })
		w.incidents = slices.Delete(w.incidents, at, at+1)
		must(t, w.tx.Delete(i))
	case n == 1:
		i.ClosedAt = w.now
		w.incidents[at] = i
		w.put(t, i)
	case n == 2:
		w.put(t, Gate{Incident: i.Name, User: fmt.Sprint("user-", 1+w.rng.IntN(2)), State: GateWeb, CheckedAt: w.now}, Drill{At: w.now, Seconds: 2})
	case n < 5 && len(w.contents) > 0: // a new one, or another look at an old one
		c, _ := pick(w, w.contents)
		f := Finding{Incident: i.Name, ID: fmt.Sprint("finding-", w.rng.IntN(5)), Salvage: "s", Class: FindingClasses[w.rng.IntN(3)], Content: c.ID, StoredSize: 5,
			User: fmt.Sprint("user-", w.rng.IntN(9)), Missing: []FindingGap{{Off: 1, Len: int64(w.n) + 1}}}
		w.findings = append(slices.DeleteFunc(w.findings, func(old Finding) bool { return old.Incident == f.Incident && old.ID == f.ID }), f)
		w.put(t, f)
	case n < 6 && len(w.claims) > 0:
		c, k := pick(w, w.claims)
		c.State, _ = pick(w, ClaimStates)
		w.claims[k] = c
		w.put(t, c)
	default:
		id, err := w.tx.NextID(ClaimIDs)
		must(t, err)
		c := Claim{Incident: i.Name, ID: id, User: fmt.Sprint("user-", w.rng.IntN(9)), Folder: "INBOX", UID: w.rng.Uint32(), State: ClaimOwed}
		if len(w.contents) > 0 && w.rng.IntN(2) == 0 {
			held, _ := pick(w, w.contents)
			c.Content, c.State = held.ID, ClaimHeld
		}
		w.claims = append(w.claims, c)
		w.put(t, c)
	}
}
