package vault

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"salvor/internal/parity"
)

// wrapped is an object as a target holds a whole copy of it: anybody can make
// one. The header is taken from a target that was made to hold just that.
func wrapped(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	v, disks, _ := spreadVault(t, twoPlusOne)
	if err := v.store.Put(t.Context(), name, body); err != nil {
		t.Fatal(err)
	}
	return disks[0].objects[name]
}

// spreadNights is a vault over three targets with a few commits.
func spreadNights(t *testing.T) (*fixture, []*memStore) {
	t.Helper()
	v, disks, id := spreadVault(t, twoPlusOne)
	f := &fixture{t: t, id: id, v: v}
	f.host = f.newHost("mx1", RoleBackup, RoleUpkeep)
	for i := range int64(3) {
		f.commit(f.host, &Commit{Kind: CommitBackup, Journals: []Object{someObject(ObjectJournal, i)}})
	}
	return f, disks
}

// TestOneTargetChangesNothing: one target of three is in the wrong hands. What
// the others hold is not changed by it, and neither is what the vault is.
func TestOneTargetChangesNothing(t *testing.T) {
	for name, attack := range map[string]func(f *fixture, d *memStore){
		"other bytes for a commit":   func(f *fixture, d *memStore) { d.set(commitName(2), wrapped(t, commitName(2), []byte("forged"))) },
		"commits swapped":            func(f *fixture, d *memStore) { d.set(commitName(2), d.objects[commitName(3)]) },
		"a commit missing":           func(f *fixture, d *memStore) { delete(d.objects, commitName(3)) },
		"rolled back to the first":   func(f *fixture, d *memStore) { delete(d.objects, commitName(2)); delete(d.objects, commitName(3)) },
		"other bytes for a key":      func(f *fixture, d *memStore) { n := certName(f.host.ID()); d.set(n, wrapped(t, n, []byte("forged"))) },
		"no key":                     func(f *fixture, d *memStore) { delete(d.objects, certName(f.host.ID())) },
		"another config":             func(f *fixture, d *memStore) { d.set(configName, wrapped(t, "config2", []byte("forged"))) },
		"the mark of another target": func(f *fixture, d *memStore) { d.set(targetName, []byte(f.v.config.targetMark(2))) },
		"the mark of another vault":  func(f *fixture, d *memStore) { d.set(targetName, []byte(targetText+"vault 0\ntarget 0\n")) },
		"empty":                      func(f *fixture, d *memStore) { clear(d.objects) },
	} {
		f, disks := spreadNights(t)
		attack(f, disks[1])
		v, err := reopenSpread(t, f.v.Config(), disks...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n := 0
		err = v.Commits(t.Context(), f.head, func(*Commit) error { return nil })
		if err == nil {
			err = v.Commits(t.Context(), Head{}, func(*Commit) error { n++; return nil })
		}
		if err != nil || n != 3 {
			t.Errorf("%s: %d commits, %v", name, n, err)
		}
		if _, err := v.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime}); err != nil {
			t.Errorf("%s: the next night: %v", name, err)
		}
	}
}

// TestOneTargetCanBlock is what a vault on several targets does not protect
// from: under a name that is still free, the single copy on one target is
// completed as that of a writer that crashed. It is not believed, as nobody
// signed it, but stops those who follow the chain until a person removes it.
func TestOneTargetCanBlock(t *testing.T) {
	for _, name := range []string{commitName(4), replicaName} {
		f, disks := spreadNights(t)
		disks[1].set(name, wrapped(t, name, []byte("forged")))
		v, err := reopenSpread(t, f.v.Config(), disks...)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		followed := v.Commits(t.Context(), Head{}, func(*Commit) error { n++; return nil })
		_, wrote := v.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime})
		if n != 3 || followed == nil && wrote == nil {
			t.Errorf("%s: %d commits, %v, %v: if it does not block any more, say so in docs/security.md", name, n, followed, wrote)
		}
		for _, d := range disks {
			delete(d.objects, name)
		}
		if v, err = reopenSpread(t, f.v.Config(), disks...); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Commit(t.Context(), f.host, f.head, &Commit{Kind: CommitBackup, Time: testTime}); err != nil {
			t.Errorf("%s: after it was removed: %v", name, err)
		}
	}
}

// TestHostileShares gives shares headers of nonsense, with the checksums that go
// with it. The other targets are enough, or it is damage.
func TestHostileShares(t *testing.T) {
	f, disks := spreadNights(t)
	j, err := f.v.NewJournal(t.Context(), ObjectJournal)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Line([]byte("a row")); err != nil {
		t.Fatal(err)
	}
	objects, err := j.Close()
	if err != nil {
		t.Fatal(err)
	}
	o := objects[0]
	var good [][]byte
	for _, d := range disks {
		good = append(good, d.objects[o.Name()])
	}
	const layout, place, size, block = 15, 23, 31, 45 // where they stand in the line
	header := func(at int, text string) []byte {
		b := bytes.Clone(good[1])
		copy(b[at:], text)
		copy(b[119:], fmt.Sprintf("%08x", crc32.ChecksumIEEE(b[:119])))
		return b
	}
	for name, b := range map[string][]byte{
		"a terabyte":      header(size, "1099511627776"),
		"less than none":  header(size, "-000000000001"),
		"a huge block":    header(block, "99999999"),
		"no shards":       header(layout, "000+000"),
		"many shards":     header(layout, "999+999"),
		"another's place": header(place, "999/003"),
		"only a header":   good[1][:128],
		"nothing":         {},
	} {
		for _, sick := range [][]int{{1}, {0, 1}, {0, 1, 2}} {
			for i, d := range disks {
				d.set(o.Name(), good[i])
				if slices.Contains(sick, i) {
					d.set(o.Name(), b)
				}
			}
			v, err := reopenSpread(t, f.v.Config(), disks...)
			if err != nil {
				t.Fatal(err)
			}
			err = v.CheckObject(t.Context(), o)
			var damage *DamageError
			if len(sick) == 1 && err != nil || len(sick) > 1 && !errors.As(err, &damage) {
				t.Errorf("%s on targets %v: %v", name, sick, err)
			}
			all := func(Object) bool { return true }
			if _, err := v.Scrub(t.Context(), ScrubOptions{Named: all, Deep: all}, func(parity.Finding) error { return nil }); err != nil {
				t.Errorf("%s on targets %v: scrub: %v", name, sick, err)
			}
		}
	}
}
