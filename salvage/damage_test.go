package salvage_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
	"salvor/salvage/found"
)

// TestDamages salvages disks that were damaged in every way, with what an index
// knows, and compares with what is physically there. Of mail whose SHA-1 the index
// has nearly all must come back, of the rest as much as file systems and content can
// prove; nothing false may be called whole, and nothing that was deleted owed.
func TestDamages(t *testing.T) {
	for _, fs := range []string{diskimage.Ext4, diskimage.XFS} {
		t.Run(fs, func(t *testing.T) {
			t.Parallel()
			image := diskimage.Build(t, diskimage.Options{FS: fs, Seed: 1, Aged: true, Cycles: 3, Size: 64 << 20})
			for _, kind := range diskimage.Kinds {
				t.Run(string(kind), func(t *testing.T) {
					d := image.Harm(t, kind, 1)
					limit, err := d.Limit()
					if err != nil {
						t.Fatal(err)
					}
					withIndex(t, d, limit)
					if kind == diskimage.InodesRandom || kind == diskimage.Hole {
						withoutIndex(t, d, limit)
					}
				})
			}
		})
	}
}

// withIndex salvages with an index, and holds the result against what is there.
func withIndex(t *testing.T, d *diskimage.Damaged, limit *diskimage.Limit) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "found")
	r := run(t, d, out, true)
	sure := score(t, d, limit, out, "index, sure", "verified", "consistent")
	all := score(t, d, limit, out, "index, all")
	messages, bytes := provable(t, d, limit, out)
	t.Logf("provable: %.2f %% (%.2f %% of bytes)\n%s", 100*messages, 100*bytes, diskimage.Table([]*diskimage.Report{sure, all}))
	if m, b := least(d.Kind); messages < m || bytes < b {
		t.Errorf("of what its hash could prove %.2f %% of messages and %.2f %% of bytes were found", 100*messages, 100*bytes)
	}
	if sure.False > 0 || all.OldOwed > 0 || all.Lies > 0 {
		t.Errorf("%d false, %d that were deleted, %d lies: %v %v", sure.False, all.OldOwed, all.Lies, sure.Examples, all.Examples)
	}
	for _, e := range sure.Examples {
		t.Logf("%s", told(t, out, e))
	}
	if found := sure.UserRight + sure.UserWrong + sure.UserNone; float64(sure.UserRight) < .95*float64(found) {
		t.Errorf("%d of %d have their owner", sure.UserRight, found)
	}
	if sum := r.Matched + r.AlreadyHeld + r.Tombstoned + r.Unknown + r.Damaged + r.Superseded; sum != r.Candidates {
		t.Errorf("%d candidates, and the classes make %d", r.Candidates, sum)
	}
	if sum := r.OwedFound + r.OwedUnreadable + r.OwedOverwritten + r.OwedMissing; sum != r.Owed || r.Owed != int64(len(d.Targets)) {
		t.Errorf("%d owed, of which it tells %d; it should be %d", r.Owed, sum, len(d.Targets))
	}
}

// withoutIndex salvages without any.
func withoutIndex(t *testing.T, d *diskimage.Damaged, limit *diskimage.Limit) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "found")
	run(t, d, out, false)
	sure := score(t, d, limit, out, "none, sure", "verified", "consistent")
	all := score(t, d, limit, out, "none, all")
	t.Logf("%s", diskimage.Table([]*diskimage.Report{sure, all}))
	for _, e := range sure.Examples {
		t.Logf("%s", told(t, out, e))
	}
	if messages, _ := all.Recall(); messages < .93 || sure.False > 0 || all.Lies > 0 {
		t.Errorf("%.2f %% found, %d false, %d lies: %v", 100*messages, sure.False, all.Lies, sure.Examples)
	}
}

func score(t *testing.T, d *diskimage.Damaged, limit *diskimage.Limit, out, name string, grades ...string) *diskimage.Report {
	t.Helper()
	r, err := d.Score(name, limit, diskimage.Results(out, grades...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// provable is how much was found of what is there and has a SHA-1 in the index.
func provable(t *testing.T, d *diskimage.Damaged, limit *diskimage.Limit, out string) (messages, bytes float64) {
	t.Helper()
	got := map[string]bool{}
	for r, err := range diskimage.Results(out, "verified") {
		if err != nil {
			t.Fatal(err)
		}
		got[r.SHA1] = got[r.SHA1] || r.Whole
	}
	var n, all, b, most float64
	for _, m := range d.Targets {
		if m.Store != diskimage.Cyrus || !limit.Has(m.SHA1) {
			continue
		}
		all, most = all+1, most+float64(m.WireSize)
		if got[m.SHA1] {
			n, b = n+1, b+float64(m.WireSize)
		} else {
			t.Logf("not found: inode %d, %d bytes in %d pieces", m.Inode, m.WireSize, len(m.Extents))
		}
	}
	return n / all, b / most
}

// run salvages a damaged disk into a directory.
func run(t *testing.T, d *diskimage.Damaged, out string, indexed bool) *salvage.Report {
	t.Helper()
	ctx := context.Background()
	spec := salvage.Spec{Sources: []string{d.Path}}
	if d.Map != "" {
		spec.Maps = map[string]string{d.Path: d.Map}
	}
	if d.Array != nil {
		spec.Sources, spec.Maps = nil, map[string]string{}
		for _, m := range d.Array.Members {
			if m.Path == "" {
				continue
			}
			spec.Sources = append(spec.Sources, m.Path)
			if m.Map != "" {
				spec.Maps[m.Path] = m.Map
			}
		}
	}
	sources, err := salvage.Open(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	w, err := found.Create(out, found.Head{Version: 1, Started: time.Now(), Sources: sources.Names}, found.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	o := salvage.Options{Volumes: sources.Volumes, Work: out, Keeper: w}
	if indexed {
		o.Catalog, o.Incident = ledger(t, d), "fire"
	}
	began := time.Now()
	r, err := salvage.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v; %v", time.Since(began), slices.Concat(sources.Notes, r.Notes, r.Further))
	return r
}

// ledger makes a catalog that knows what a surviving index knows.
func ledger(t *testing.T, d *diskimage.Damaged) *catalog.Catalog {
	t.Helper()
	ctx := context.Background()
	c, err := catalog.Open(filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	promises := diskimage.Index(d.Targets)
	rows := []catalog.Row{catalog.Incident{Name: "fire", Source: "cyrus:/etc/imapd.conf", Claims: int64(len(promises))}}
	for i, p := range promises {
		claim := catalog.Claim{Incident: "fire", ID: int64(i + 1), User: p.User, Folder: p.Folder, UID: p.UID, State: catalog.ClaimOwed,
			Size: p.Size, InternalDate: p.Date, MessageID: p.MessageID, Name: p.Name}
		if p.SHA1 != "" {
			if _, err := hex.Decode(claim.SHA1[:], []byte(p.SHA1)); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, claim)
	}
	if err := tx.Put(rows...); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(catalog.Head{Vault: "test", Number: 1, Hash: chunk.Sum([]byte("a commit"))}); err != nil {
		t.Fatal(err)
	}
	return c
}

// least is how much of what is there has to come back. Where many blocks are gone the
// limit says too much: it takes a block for there that stands in another message too.
// Where the records of files are gone, a message in many pieces may be lost, and on
// so small a disk one is several percent of all bytes; how many there are the kernel
// decides anew each time.
func least(kind diskimage.Kind) (messages, bytes float64) {
	switch kind {
	case diskimage.Blocks5:
		return .96, .95
	case diskimage.Headers, diskimage.InodesZero, diskimage.InodesRandom, diskimage.FrontHole, diskimage.Removed, diskimage.RemovedClean:
		return .985, .80
	}
	return .99, .97
}

// told gives what a salvage told of the finding that an example begins with.
func told(t *testing.T, out, example string) string {
	t.Helper()
	d, err := found.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	id, _, _ := strings.Cut(example, " ")
	f, err := d.Find(t.Context(), id)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s: %s, inode %d (%s) %s, %v", id, f.How, f.Inode, f.Path, f.Why, f.Extents)
}
