package upkeep_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/backup"
	"salvor/internal/history"
	"salvor/internal/mailstore/stores"
	"salvor/internal/objstore"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
	"salvor/restore"
)

// A gate is one writer's way to the store. It closes before the first object
// of a kind is put: for that call alone, or, when the whole machine is
// suspended, for all that come after it.
type gate struct {
	objstore.Store
	prefix  string
	suspend bool
	once    sync.Once
	reached chan struct{} // closed when the writer stands before the gate
	opened  chan struct{}
}

func newGate(s objstore.Store, prefix string, suspend bool) *gate {
	return &gate{Store: s, prefix: prefix, suspend: suspend, reached: make(chan struct{}), opened: make(chan struct{})}
}

func (g *gate) wait() {
	select {
	case <-g.reached:
		if g.suspend {
			<-g.opened
		}
	default:
	}
}

func (g *gate) Put(ctx context.Context, name string, b []byte) error {
	if strings.HasPrefix(name, g.prefix) {
		g.once.Do(func() {
			close(g.reached)
			<-g.opened
		})
	}
	g.wait()
	return g.Store.Put(ctx, name, b)
}

func (g *gate) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	g.wait()
	return g.Store.List(ctx, prefix, yield)
}

func (g *gate) Now(ctx context.Context) (time.Time, error) {
	g.wait()
	return g.Store.(objstore.Clock).Now(ctx)
}

// hosts are two that back up the same mail into the same vault: the world's
// own, and one behind a gate.
type hosts struct {
	*world.World
	gate   *gate
	other  *history.History
	result chan error
	report *backup.Report
}

func newHosts(t *testing.T, prefix string, suspend bool) *hosts {
	t.Helper()
	w := world.New(t)
	h := &hosts{World: w, gate: newGate(w.Store, prefix, suspend), result: make(chan error, 1)}
	w.Policy.Erase = time.Hour
	v, err := vault.Open(t.Context(), h.gate, vault.OpenOptions{})
	must(t, err)
	h.other = w.Join(v, filepath.Join(w.Dir, "other.db"), "other")
	for _, one := range []*history.History{w.H, h.other} {
		one.LeaseTTL = 100 * time.Millisecond
	}
	return h
}

// begin lets the other host begin a backup, up to its gate.
func (h *hosts) begin() {
	now := h.Now // the test moves the clock while this runs
	o := backup.Options{Source: h.Source(), Name: "maildir:mail/%u", Host: "other", Now: func() time.Time { return now }}
	go func() {
		var err error
		h.report, err = backup.Run(h.T.Context(), h.other, o)
		h.result <- err
	}()
	select {
	case <-h.gate.reached:
	case err := <-h.result:
		h.T.Fatalf("it did not come to its gate: %v", err)
	}
}

// end opens the gate and waits for the other host's backup.
func (h *hosts) end() *backup.Report {
	h.T.Helper()
	close(h.gate.opened)
	if err := <-h.result; err != nil {
		h.T.Fatal(err)
	}
	return h.report
}

// agree looks whether both catalogs, and one that is built from the vault, say
// the same, with so many live messages that all come back.
func (h *hosts) agree(t *testing.T, live int) {
	t.Helper()
	for _, one := range []*history.History{h.H, h.other} {
		_, err := one.Follow(t.Context())
		must(t, err)
	}
	want := dump(t, h.H.Catalog)
	if dump(t, h.other.Catalog) != want || dump(t, h.Rebuilt(h.H.Vault, "third.db").Catalog) != want {
		t.Error("the catalogs differ")
	}
	checkClean(t, h.World)
	if n := readAll(t, h.World, nil); n != live {
		t.Errorf("%d live messages come back, want %d", n, live)
	}
}

// readAll restores all live messages and says how many came back; before is
// called before each chunk is read.
func readAll(t *testing.T, w *world.World, before func()) (n int) {
	t.Helper()
	reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{FrameCache: 1, BlockCache: 1})
	must(t, err)
	root := filepath.Join(t.TempDir(), "back")
	to, err := stores.OpenDestination("maildir:"+root+"/%u", stores.Options{})
	must(t, err)
	o := restore.Options{Catalog: w.H.Catalog, Chunks: slowChunks{w.H.Chunks(reader), before}, Destination: to, Workers: 1, Users: 1}
	must(t, restore.All(t.Context(), []string{"ann"}, o, func(r *restore.Report, err error) {
		must(t, err)
		n += r.Messages
		if r.Failed > 0 {
			t.Errorf("%+v", r)
		}
	}))
	return n
}

type slowChunks struct {
	*history.Chunks
	before func()
}

func (c slowChunks) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	if c.before != nil {
		c.before()
	}
	return c.Chunks.Chunk(ctx, at, ref, room)
}

// A host is suspended in the middle of its run, and wakes up days later.
// Nobody waits for it longer than for its lease to run out; meanwhile its packs
// have been erased as strays. Its commit loses, nothing that it wrote is
// believed, and it does its work again.
func TestSuspendedWriter(t *testing.T) {
	h := newHosts(t, "journals/", true)
	old := h.Fill("ann", "INBOX", 6)
	h.Night()
	_, err := h.other.Follow(t.Context())
	must(t, err)
	h.Fill("ann", "INBOX", 3)
	h.Remove(old[0])
	h.begin()
	strays := unnamed(t, h.World)
	if len(strays) == 0 {
		t.Fatal("the suspended writer has stored nothing")
	}
	for _, path := range strays {
		long := time.Now().Add(-48 * time.Hour)
		must(t, os.Chtimes(path, long, long))
	}
	time.Sleep(h.H.LeaseTTL) // its last beat is not fresh any more
	begun := time.Now()
	h.Fill("ann", "INBOX", 1)
	for range 2 {
		h.Night()
		h.Prune()
	}
	if waited := time.Since(begun); waited > 50*h.H.LeaseTTL {
		t.Errorf("two nights beside a stale lease took %v", waited)
	}
	for _, path := range strays {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	head, err := h.H.Catalog.Head()
	must(t, err)
	if r := h.end(); r.Run != head.Number+1 || r.Messages.New != 0 {
		t.Errorf("after commit %d it made run %+v", head.Number, r)
	}
	h.agree(t, 9)
}

// unnamed are the files of packs that no commit names.
func unnamed(t *testing.T, w *world.World) (paths []string) {
	t.Helper()
	named := map[string]bool{}
	must(t, w.H.Vault.Commits(t.Context(), vault.Head{}, func(c *vault.Commit) error {
		for _, p := range c.Packs {
			named[p.ID.String()] = true
		}
		return nil
	}))
	for _, path := range glob(t, w.VaultDir, "packs/*/*") {
		if !named[filepath.Base(path)] {
			paths = append(paths, path)
		}
	}
	return paths
}

// Two at the same time keep each other out, until somebody breaks the lease by
// hand: then one loses its number, starts over, and nothing is stored wrongly.
func TestLeaseBrokenByHand(t *testing.T) {
	h := newHosts(t, "commits/", false)
	h.Fill("ann", "INBOX", 4)
	h.begin()
	if _, err := h.TryBackup(t.Context()); !errors.Is(err, vault.ErrLocked) {
		t.Fatalf("beside a living writer: %v", err)
	}
	if _, err := upkeep.Prune(t.Context(), h.H, h.PruneOptions()); !errors.Is(err, vault.ErrLocked) {
		t.Fatalf("prune beside a living writer: %v", err)
	}
	h.breakLease(t)
	if r := h.Backup(); r.Run != 1 || r.Messages.New != 4 {
		t.Errorf("%+v", r)
	}
	if r := h.end(); r.Run != 2 || r.Messages.New != 0 {
		t.Errorf("%+v", r)
	}
	h.agree(t, 4)
}

// breakLease removes the beats until the other host has noticed and writes no
// more of them.
func (h *hosts) breakLease(t *testing.T) {
	t.Helper()
	for beats := glob(t, h.VaultDir, "leases/*/*"); len(beats) > 0; beats = glob(t, h.VaultDir, "leases/*/*") {
		for _, path := range beats {
			if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
				must(t, err)
			}
		}
		time.Sleep(h.H.LeaseTTL)
	}
}

// A backup finds again a message whose content is in the vault, but dead, and
// counts on it. Before its commit a prune, let in by a broken lease, condemns
// that pack, and erases it later. The content must not be lost.
func TestPruneBesideABackup(t *testing.T) {
	h := newHosts(t, "commits/", false)
	again := h.Message("comes back")
	gone := []string{h.Deliver("ann", "INBOX", again)}
	h.Night()
	h.Fill("ann", "INBOX", 5)
	h.Remove(gone...)
	h.Night()
	h.Night()
	h.Sleep(8 * 24 * time.Hour)
	h.Backup()
	h.Deliver("ann", "INBOX", again)
	_, err := h.other.Follow(t.Context())
	must(t, err)
	h.begin()
	h.breakLease(t)
	if r := h.Prune(); r.Expired != 1 || r.Condemned != 1 {
		t.Fatalf("%+v", r)
	}
	h.end()
	h.Sleep(2 * time.Hour)
	if r := h.Prune(); r.Erased == 0 {
		t.Errorf("%+v", r)
	}
	h.agree(t, 6)
}

// Packs are condemned and their living rest is written anew while a restore
// reads them: it needs no lease, and finishes within the grace.
func TestPruneBesideARestore(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = 24 * time.Hour
	paths := w.Fill("ann", "INBOX", 20)
	w.Backup()
	w.Remove(paths[:8]...)
	w.Night()
	w.Night()
	w.Sleep(8 * 24 * time.Hour)
	w.Backup()
	chunks := 0
	n := readAll(t, w, func() {
		if chunks++; chunks != 3 {
			return
		}
		if r := w.Prune(); r.Expired != 8 || r.Condemned != 1 || r.Rewritten != 1 {
			t.Errorf("%+v", r)
		}
		w.Sleep(23 * time.Hour)
		if r := w.Prune(); r.Erased != 0 {
			t.Errorf("erased within the grace: %+v", r)
		}
	})
	if n != 12 || chunks < 4 {
		t.Errorf("%d messages, %d chunks", n, chunks)
	}
	w.Sleep(2 * time.Hour)
	if r := w.Prune(); r.Erased == 0 {
		t.Errorf("%+v", r)
	}
	checkClean(t, w)
}

// A restore that runs for longer than the grace finds what was packed anew.
func TestRestoreOutlivesTheGrace(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = 24 * time.Hour
	var paths []string
	for n := range 30 { // more than readers remember
		noise := make([]byte, 150_000)
		rand.NewChaCha8([32]byte{byte(n)}).Read(noise)
		paths = append(paths, w.Deliver("ann", "INBOX", w.Message(fmt.Sprint(n))+hex.EncodeToString(noise)))
	}
	w.Backup()
	w.Remove(paths[:10]...)
	w.Night()
	w.Night()
	w.Sleep(8 * 24 * time.Hour)
	w.Backup()
	chunks := 0
	n := readAll(t, w, func() {
		if chunks++; chunks != 3 {
			return
		}
		w.Prune()
		w.Sleep(25 * time.Hour)
		if r := w.Prune(); r.Erased == 0 {
			t.Errorf("%+v", r)
		}
	})
	if n != 20 {
		t.Errorf("%d messages", n)
	}
}

// Two hosts whose clocks differ by minutes take turns. Neither doubts the time,
// and a deletion expires after its week, give or take these minutes.
func TestClocksThatDiffer(t *testing.T) {
	h := newHosts(t, "never/", false)
	paths := h.Fill("ann", "INBOX", 8)
	skew := 4 * time.Minute
	turn := func(n int) {
		one, by := h.H, skew
		if n%2 == 1 {
			one, by = h.other, -skew
		}
		now := h.Now.Add(by)
		clock := func() time.Time { return now }
		r, err := backup.Run(t.Context(), one, backup.Options{Source: h.Source(), Name: "maildir:mail/%u", Host: "h", Now: clock})
		must(t, err)
		o := h.PruneOptions()
		o.Now, o.Reader = clock, nil
		p, err := upkeep.Prune(t.Context(), one, o)
		must(t, err)
		if r.Clock != "" || p.Clock != "" {
			t.Errorf("turn %d: %q, %q", n, r.Clock, p.Clock)
		}
	}
	turn(0)
	h.Remove(paths[0])
	for n := range 6 {
		h.Sleep(time.Minute)
		turn(n)
	}
	deleted := func() int { return len(h.List(catalog.Query{Deleted: true})) }
	follow := func() {
		_, err := h.H.Follow(t.Context())
		must(t, err)
	}
	h.Sleep(7*24*time.Hour - 20*time.Minute)
	turn(0)
	if follow(); deleted() != 1 {
		t.Error("expired before its week was over")
	}
	h.Sleep(30 * time.Minute)
	turn(1)
	if follow(); deleted() != 0 {
		t.Error("still there after its week")
	}
	h.agree(t, 7)
}
