package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/objstore"
	objdir "salvor/internal/objstore/dir"
	"salvor/internal/objstore/faulty"
	"salvor/internal/replicate"
	"salvor/internal/retention"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// TestModel lives through a random life of a mail server and its backup, and
// compares what comes back with a model in memory: live mail as the last run
// saw it, mail deleted less than a week ago, and nothing that has expired.
//
// SALVOR_MODEL_SEED repeats a life that failed, SALVOR_MODEL_STEPS makes it
// longer.
func TestModel(t *testing.T) {
	seed, steps := uint64(time.Now().UnixNano()), uint64(150)
	for name, n := range map[string]*uint64{"SALVOR_MODEL_SEED": &seed, "SALVOR_MODEL_STEPS": &steps} {
		if text := os.Getenv(name); text != "" {
			var err error
			*n, err = strconv.ParseUint(text, 10, 64)
			must(t, err)
		}
	}
	m := newModel(t, seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again: SALVOR_MODEL_SEED=%d SALVOR_MODEL_STEPS=%d; what came last:\n%s", seed, steps,
				strings.Join(m.log[max(0, len(m.log)-60):], "\n"))
		}
	})
	for range steps {
		m.step()
	}
	m.setSkew(0)
	m.sleep(time.Hour)
	m.backup()
	m.verify()
	t.Logf("seed %d, parity %v: %d runs, %d messages delivered, %d contents expired, looked at %d times", seed, m.spread, m.head, m.count, m.expired, m.verified)
}

// A mail is one message at the source.
type mail struct{ user, folder, body, path, flags string }

func (m *mail) key() string { return m.user + "\n" + m.body }

// A fate is what the backup should know of one content of one user.
type fate struct {
	flags    map[string]bool // of its copies when a run last saw any
	live     bool            // in the last run
	removed  time.Time       // when the last copy was deleted at the source
	gone     time.Time       // when the first run with a trusted clock saw none; zero: none has
	goneRuns int             // that have seen none
	expired  bool            // a prune must have let it expire
}

// times are true: neither the host's clock nor the store's, both of which step.
type model struct {
	t        *testing.T
	w        *world.World
	rng      *rand.Rand
	faults   []*faulty.Store // of each target; of the one store where there are none
	spread   bool
	other    *history.History // of the host that is not at work
	copied   objstore.Store
	copyDir  string
	now      time.Time
	skew     time.Duration
	mails    []*mail
	removed  map[string]time.Time
	fates    map[string]*fate
	snapshot []string // the last run's mail, a line each
	head     uint64   // of the runs that the model knows
	count    int
	expired  int
	verified int
	log      []string
}

const (
	week   = 7 * 24 * time.Hour
	margin = 15 * time.Minute // clocks that differ by less are trusted
)

func newModel(t *testing.T, seed uint64) *model {
	dir, err := os.MkdirTemp(memory(), "salvor")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC),
		removed: map[string]time.Time{}, fates: map[string]*fate{}}
	m.makeVault(dir)
	m.sleep(0)
	m.w.H.LeaseTTL = 20 * time.Millisecond
	m.w.Policy.Erase = 2 * time.Hour
	m.w.Options.Limits = retention.Limits{UserPercent: 101, UserMessages: 1 << 30, PartitionPercent: 101}
	m.copyDir = filepath.Join(dir, "copy")
	m.copied, err = objdir.Open(t.Context(), m.copyDir, objdir.Options{Create: true})
	must(t, err)
	m.other = m.w.Join(m.w.H.Vault, filepath.Join(dir, "other.db"), "other")
	m.other.LeaseTTL = m.w.H.LeaseTTL
	for _, user := range []string{"ann", "bob"} {
		m.deliver(user, "INBOX", m.body())
	}
	m.backup()
	return m
}

func (m *model) step() {
	for _, a := range []struct {
		weight int
		name   string
		do     func()
	}{
		{14, "deliver", m.deliverSome}, {4, "deliver again", m.deliverAgain}, {8, "move", m.move}, {8, "flag", m.flag},
		{14, "expunge", m.expunge}, {10, "backup", m.backup}, {12, "night", m.night}, {8, "prune", m.prune},
		{4, "sleep", func() { m.sleep(time.Duration(m.rng.Int64N(int64(60 * time.Hour)))) }},
		{5, "clock", m.stepClock}, {3, "catalog", m.loseCatalog}, {4, "copy", m.copy}, {3, "damage", m.damage}, {3, "host", m.changeHost}, {2, "forget", m.forget}, {7, "verify", m.verify},
		{0, "", nil},
	} {
		if a.name == "" {
			m.step()
		} else if m.rng.IntN(100) < a.weight {
			m.note("%s", a.name)
			a.do()
			return
		}
	}
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%s ", m.now.Format("01-02 15:04"))+fmt.Sprintf(format, args...))
}

// sleep lets time pass, by every clock.
func (m *model) sleep(d time.Duration) {
	m.now = m.now.Add(d)
	m.w.Now = m.now.Add(m.skew)
}

// stepClock sets the host's clock right or wrong: by minutes, which is trusted,
// or by much more.
func (m *model) stepClock() {
	skews := []time.Duration{0, 0, 0, 4 * time.Minute, -4 * time.Minute, 50 * time.Hour, -50 * time.Hour, 90 * 24 * time.Hour}
	m.setSkew(skews[m.rng.IntN(len(skews))])
}

func (m *model) setSkew(d time.Duration) {
	m.note("the host's clock is off by %v", d)
	m.skew = d
	m.sleep(0)
}

func (m *model) body() string {
	m.count++
	return m.w.Message(fmt.Sprintf("mail-%d", m.count)) + strings.Repeat("x", m.rng.IntN(3000))
}

func (m *model) deliver(user, folder, body string) {
	m.mails = append(m.mails, &mail{user: user, folder: folder, body: body, path: m.w.Deliver(user, folder, body)})
	delete(m.removed, user+"\n"+body)
}

func (m *model) place() (user, folder string) {
	return []string{"ann", "bob", "cid"}[m.rng.IntN(3)], []string{"INBOX", "Work", "Work/Old", "Trash"}[m.rng.IntN(4)]
}

func (m *model) deliverSome() {
	user, folder := m.place()
	for range 1 + m.rng.IntN(4) {
		m.deliver(user, folder, m.body())
	}
}

// deliverAgain delivers what somebody has, or what its user has deleted.
func (m *model) deliverAgain() {
	user, folder := m.place()
	if body := m.any().body; m.rng.IntN(2) == 0 {
		m.deliver(user, folder, body)
		return
	}
	known := slices.Sorted(maps.Keys(m.fates))
	user, body, _ := strings.Cut(known[m.rng.IntN(len(known))], "\n")
	m.deliver(user, folder, body)
}

func (m *model) any() *mail { return m.mails[m.rng.IntN(len(m.mails))] }

func (m *model) move() {
	mail := m.any()
	_, mail.folder = m.place()
	dir := filepath.Join(m.w.Mail, mail.user)
	if mail.folder != "INBOX" {
		dir = filepath.Join(dir, "."+strings.ReplaceAll(mail.folder, "/", "."))
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(m.t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	m.rename(mail, filepath.Join(dir, "cur", filepath.Base(mail.path)))
}

func (m *model) flag() {
	mail := m.any()
	mail.flags = ""
	for _, f := range "DFRST" {
		if m.rng.IntN(2) == 0 {
			mail.flags += string(f)
		}
	}
	base, _, _ := strings.Cut(mail.path, ":2,")
	m.rename(mail, base+":2,"+mail.flags)
}

func (m *model) rename(mail *mail, path string) {
	must(m.t, os.Rename(mail.path, path))
	mail.path = path
}

// expunge deletes some messages, but nobody's last.
func (m *model) expunge() {
	for range 1 + m.rng.IntN(4) {
		i := m.rng.IntN(len(m.mails))
		gone := m.mails[i]
		others := slices.DeleteFunc(slices.Clone(m.mails), func(o *mail) bool { return o == gone || o.user != gone.user })
		if len(others) == 0 {
			continue
		}
		m.w.Remove(gone.path)
		m.mails = slices.Delete(m.mails, i, i+1)
		if !slices.ContainsFunc(others, func(o *mail) bool { return o.body == gone.body }) {
			m.removed[gone.key()] = m.now
		}
	}
}

// night is some hours, a backup, as a rule a prune, and the rest of the day. So
// mail is deleted long before a run, and just before one.
func (m *model) night() {
	hours := time.Duration(m.rng.IntN(2) * m.rng.IntN(24))
	m.sleep(hours * time.Hour)
	m.backup()
	if m.rng.IntN(3) > 0 {
		m.prune()
		m.deleted(m.w.H)
	}
	m.sleep((24 - hours) * time.Hour)
}

func (m *model) backup() {
	m.attempt("backup", func(ctx context.Context) error { _, err := m.w.TryBackup(ctx); return err })
}

func (m *model) prune() {
	m.attempt("prune", func(ctx context.Context) error {
		o := m.w.PruneOptions()
		if m.rng.IntN(4) == 0 {
			o.RewriteAge, o.CheckpointEvery = time.Nanosecond, -1
		}
		if m.rng.IntN(4) == 0 {
			o.Reader = nil
		}
		_, err := upkeep.Prune(ctx, m.w.H, o)
		return err
	})
}

// forget erases a user whose mail is still at the source: it comes back with the
// next backup, and what the user had deleted does not.
func (m *model) forget() {
	m.attempt("forget", func(ctx context.Context) error {
		_, err := upkeep.Forget(ctx, m.w.H, "cid", m.w.PruneOptions())
		if errors.Is(err, upkeep.ErrNoUser) || err != nil && strings.Contains(err.Error(), "a clock in doubt") {
			return nil
		}
		return err
	})
}

// attempt does something, at times with a store that fails in the middle or
// with an interruption, and then learns from the vault what came of it.
func (m *model) attempt(name string, do func(context.Context) error) {
	m.t.Helper()
	ctx, stop := context.WithCancel(m.t.Context())
	disturbed := m.head > 0 && m.rng.IntN(3) == 0
	if disturbed {
		fault := faulty.Fault{Effect: []faulty.Effect{faulty.FailBefore, faulty.FailAfter}[m.rng.IntN(2)], Nth: 1 + m.rng.IntN(25),
			Op: []faulty.Op{faulty.Put, faulty.Put, faulty.Get, faulty.List, faulty.Delete}[m.rng.IntN(5)], Lasting: m.rng.IntN(2) == 0}
		if m.rng.IntN(4) == 0 {
			time.AfterFunc(time.Duration(m.rng.IntN(20))*time.Millisecond, stop)
		} else {
			m.disturb(fault)
		}
		m.note("%s, disturbed by %+v", name, fault)
	}
	err := m.unlocked(ctx, do)
	stop()
	m.disturb()
	if disturbed {
		m.reopen()
	}
	if err != nil {
		m.note("%s failed: %v", name, err)
	}
	if err != nil && !disturbed {
		m.t.Fatalf("%s: %v", name, err)
	}
	if partial := m.learn(); partial {
		m.note("only a part was kept: once more")
		m.sleep(time.Minute)
		must(m.t, m.unlocked(m.t.Context(), func(ctx context.Context) error { _, err := m.w.TryBackup(ctx); return err }))
		m.learn()
	}
}

// unlocked tries again while a lease that could not be released runs out.
func (m *model) unlocked(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	for try := 0; errors.Is(err, vault.ErrLocked) && try < 100; try++ {
		time.Sleep(m.w.H.LeaseTTL)
		err = do(ctx)
	}
	return err
}

// learn takes over into the model the runs that the vault has now, and tells
// whether the last backup was only a part.
func (m *model) learn() (partial bool) {
	_, err := m.w.H.Follow(m.t.Context())
	must(m.t, err)
	var runs []catalog.Run
	must(m.t, m.w.H.Catalog.Runs(m.t.Context(), 0, func(r *catalog.Run) error {
		if r.Number > m.head {
			runs = append(runs, *r)
		}
		return nil
	}))
	slices.Reverse(runs)
	for _, r := range runs {
		m.head = r.Number
		m.note("run %d: %s, partial %v, clock %q", r.Number, r.Kind, r.Partial, r.Clock)
		if r.Kind == string(vault.CommitPrune) {
			m.expire()
		}
		if r.Kind == string(vault.CommitForget) {
			maps.DeleteFunc(m.fates, func(key string, _ *fate) bool { return strings.HasPrefix(key, "cid\n") })
			m.snapshot = slices.DeleteFunc(m.snapshot, func(line string) bool { return strings.HasPrefix(line, "cid ") })
		}
		if r.Kind == string(vault.CommitBackup) {
			if partial = r.Partial; !partial {
				m.seen(r.Clock == "")
			}
		}
	}
	return partial
}

// seen is what a whole backup does to the model.
func (m *model) seen(trusted bool) {
	live := map[string]map[string]bool{}
	m.snapshot = nil
	for _, mail := range m.mails {
		if live[mail.key()] == nil {
			live[mail.key()] = map[string]bool{}
		}
		live[mail.key()][mail.flags] = true
		m.snapshot = append(m.snapshot, line(mail.user, mail.folder, mail.flags, []byte(mail.body)))
	}
	slices.Sort(m.snapshot)
	for key, flags := range live {
		m.fates[key] = &fate{flags: flags, live: true}
	}
	for key, f := range m.fates {
		if live[key] != nil {
			continue
		}
		if f.live {
			f.live, f.removed = false, m.removed[key]
		}
		if f.gone.IsZero() && trusted {
			f.gone = m.now
		} else if !f.gone.IsZero() {
			f.goneRuns++ // after the one that began its week
		}
	}
}

// expire is what a prune that trusts the clock does to the model.
func (m *model) expire() {
	for _, f := range m.fates {
		if !f.expired && !f.live && !f.gone.IsZero() && f.goneRuns > 0 && m.now.Sub(f.gone) > week+margin {
			f.expired = true
			m.expired++
		}
	}
}

// changeHost lets the other host go on, whose catalog is behind.
func (m *model) changeHost() {
	m.other.Vault = m.w.H.Vault
	m.w.H, m.other = m.other, m.w.H
}

// loseCatalog goes on with an empty catalog, as after the loss of the host, or
// with one of some time ago.
func (m *model) loseCatalog() {
	path := m.w.H.Catalog.Path()
	must(m.t, m.w.H.Catalog.Close())
	old, err := os.ReadFile(path + ".saved")
	b, rerr := os.ReadFile(path)
	must(m.t, rerr)
	must(m.t, os.Remove(path))
	if err == nil && m.rng.IntN(2) == 0 {
		m.note("an old catalog")
		must(m.t, os.WriteFile(path, old, 0o600))
	}
	must(m.t, os.WriteFile(path+".saved", b, 0o600))
	m.w.H.Catalog, err = catalog.Open(path, catalog.Options{})
	must(m.t, err)
}

func (m *model) copy() {
	m.attempt("copy", func(ctx context.Context) error { return m.tryCopy(ctx) })
}

func (m *model) tryCopy(ctx context.Context) error {
	r, err := replicate.Copy(ctx, m.w.H.Vault, m.copied, replicate.Options{Grace: -1})
	if err == nil && len(r.Damaged) > 0 {
		err = fmt.Errorf("damaged: %+v", r.Damaged)
	}
	return err
}
