package vault

import (
	"errors"
	"testing"

	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
)

// night writes what a run writes: packs, journal, commit.
func (f *fixture) night(seed int64) (Head, error) {
	p, err := f.v.NewPacker(f.t.Context(), PackerOptions{})
	if err != nil {
		return Head{}, err
	}
	defer p.Abort()
	c := &Commit{Kind: CommitBackup, Time: testTime}
	p.o.Stored = func(i PackInfo) error { c.Packs = append(c.Packs, i.Object()); return nil }
	for i := range int64(5) {
		b := noise(seed*100+i, 300<<10)
		if err := p.Add(dataRef(b), b); err != nil {
			return Head{}, err
		}
	}
	j, err := f.v.NewJournal(f.t.Context(), ObjectJournal)
	if err != nil {
		return Head{}, err
	}
	if err := j.Line([]byte(`{"put":"run"}`)); err != nil {
		return Head{}, err
	}
	if err := p.Close(); err != nil {
		return Head{}, err
	}
	if c.Journals, err = j.Close(); err != nil {
		return Head{}, err
	}
	return f.v.Commit(f.t.Context(), f.host, f.head, c)
}

// Each operation of a night fails once, before or after it took effect: the
// vault then ends with the night before or with the whole new one, and the next
// night succeeds.
func TestEveryFailureLeavesAWholeVault(t *testing.T) {
	base := newFixture(t)
	head, err := base.night(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, effect := range []faulty.Effect{faulty.FailBefore, faulty.FailAfter} {
		for n := 1; ; n++ {
			f := *base
			f.store, f.head = base.store.clone(), head
			st := faulty.New(f.store, faulty.Fault{Effect: effect, Nth: n})
			f.v = &Vault{store: st, config: base.v.config, recipients: base.v.recipients}
			_, err := f.night(2)
			if err != nil && !errors.Is(err, objstore.ErrUnavailable) {
				t.Errorf("call %d: %v", n, err)
			}
			met := st.Met() > 0
			if err == nil && met {
				t.Errorf("call %d fails, and nobody says so", n)
			}
			f.v.store = f.store
			f.mustBeWhole(err == nil)
			if f.head, err = f.v.Head(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := f.night(3); err != nil {
				t.Errorf("the night after call %d: %v", n, err)
			}
			if !met {
				break
			}
		}
	}
}

// mustBeWhole follows the chain and checks all that it names.
func (f *fixture) mustBeWhole(committed bool) {
	f.t.Helper()
	all, err := f.follow(Head{})
	if err != nil || len(all) < 1 || committed && len(all) != 2 {
		f.t.Fatalf("%d commits, %v", len(all), err)
	}
	r := f.reader(ReaderOptions{})
	for _, c := range all {
		for _, o := range c.Packs {
			if _, err := r.CheckPack(f.t.Context(), o); err != nil {
				f.t.Error(err)
			}
		}
		for _, o := range c.Journals {
			if _, err := f.lines(o, f.host.Metadata()); err != nil {
				f.t.Error(err)
			}
		}
	}
}
