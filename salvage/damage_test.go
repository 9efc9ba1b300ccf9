package salvage_test

import (
	"context"
	"encoding/hex"
	"os"
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

// TestDamages salvages disks that were damaged in every way, with and without what
// an index knows, and compares with what is physically there.
func TestDamages(t *testing.T) {
	for _, fs := range []string{diskimage.Ext4, diskimage.XFS} {
		t.Run(fs, func(t *testing.T) {
			image := diskimage.Build(t, diskimage.Options{FS: fs, Seed: 1, Aged: true, Cycles: 4})
			for _, kind := range diskimage.Kinds {
				t.Run(string(kind), func(t *testing.T) {
					d := image.Harm(t, kind, 1)
					limit, err := d.Limit()
					if err != nil {
						t.Fatal(err)
					}
					for name, indexed := range map[string]bool{"index": true, "none": false} {
						out := filepath.Join(t.TempDir(), "found")
						r := run(t, d, out, indexed)
						any, err := d.Score(name+", all", limit, diskimage.Results(out))
						if err != nil {
							t.Fatal(err)
						}
						score, err := d.Score(name+", sure", limit, diskimage.Results(out, "verified", "consistent"))
						if err != nil {
							t.Fatal(err)
						}
						t.Logf("%s of %d", diskimage.Table([]*diskimage.Report{any, score}), r.Candidates)
						for _, e := range score.Examples {
							t.Logf("%s: %s", e, line(t, out, e))
						}
					}
				})
			}
		})
	}
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

// line gives what the list says of a finding.
func line(t *testing.T, out, example string) string {
	list, err := os.ReadFile(filepath.Join(out, "found.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(example, " ")
	for line := range strings.Lines(string(list)) {
		if strings.Contains(line, id) {
			return line
		}
	}
	return ""
}
