package stow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/backup"
	"salvor/internal/history"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
	"salvor/internal/incident/stow"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
	"salvor/restore"
	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newIncident opens one without claims.
func newIncident(t *testing.T) *world.World {
	w := world.New(t)
	w.H.LeaseTTL = 20 * time.Millisecond
	w.Deliver("ann", "INBOX", "Subject: held\n\nThe backup has it.\n")
	w.Backup()
	change, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, change.Tx.Put(catalog.Incident{Name: "fire", Source: "maildir:/x", OpenedAt: w.Now}))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	return w
}

// salvage runs fn as a salvage that may write into the incident.
func salvage(t *testing.T, w *world.World, name string, fn func(*stow.Keeper) error) error {
	t.Helper()
	for {
		err := incident.Act(t.Context(), w.H, incident.ActOptions{Name: "fire", Purpose: "salvage", Now: func() time.Time { return w.Now }},
			func(_ context.Context, l *incident.Ledger) error {
				return fn(stow.New(l, stow.Options{Salvage: name, Envelope: backup.Envelope}))
			})
		if !errors.Is(err, vault.ErrLocked) {
			return err
		}
		time.Sleep(w.H.LeaseTTL / 4)
	}
}

func finding(class found.Class, body string) *found.Finding {
	sum := sha256.Sum256([]byte(body))
	f := &found.Finding{Class: class, Grade: found.Plausible, Why: "why", User: "bob", UserBy: "path", Folder: "INBOX", UID: 3, Claim: 4,
		Size: int64(len(body)), SHA256Stored: hex.EncodeToString(sum[:]), Name: "1.M2", Date: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC),
		MessageID: "<x@y>", From: "f", Subject: "s", Source: "disk", How: "file", Path: "/u/\x00..", Inode: 1<<63 + 5, Offset: 4096,
		Extents: []fsys.Extent{{Logical: 1, Off: 2, Len: 3, Unwritten: true}}, Places: 2}
	if class == found.Damaged {
		f.Grade, f.Missing = found.Partial, []volume.Range{{Off: 1, Len: 2}}
	}
	f.ID = found.NewID(f.SHA256Stored, func(string) bool { return false })
	return f
}

func list(findings ...*found.Finding) func(func(*found.Finding) error) error {
	all := slices.Clone(findings)
	slices.SortFunc(all, func(a, b *found.Finding) int { return strings.Compare(a.ID, b.ID) })
	return func(yield func(*found.Finding) error) error {
		for _, f := range all {
			if err := yield(f); err != nil {
				return err
			}
		}
		return nil
	}
}

func stored(t *testing.T, c *catalog.Catalog) (out []*found.Finding) {
	t.Helper()
	must(t, stow.Findings(c, "fire")(t.Context(), func(f *found.Finding, err error) error {
		out = append(out, f)
		return err
	}))
	return out
}

// read gives a finding's bytes as a host with the identity reads them.
func read(t *testing.T, h *history.History, f *found.Finding) (string, error) {
	t.Helper()
	reader, err := h.Vault.NewReader(h.Keys, vault.ReaderOptions{})
	must(t, err)
	open := stow.Open(h.Catalog, "fire", func(ctx context.Context, e *catalog.Entry) ([]byte, error) {
		return restore.Message(ctx, h.Catalog, h.Chunks(reader), e)
	})
	r, err := open(t.Context(), f)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func dump(t *testing.T, c *catalog.Catalog) string {
	t.Helper()
	var b bytes.Buffer
	must(t, c.Dump(t.Context(), func(line []byte) error { b.Write(line); return nil }))
	return b.String()
}

// long is a message whose attachment is cut into several chunks.
func long() string {
	b := make([]byte, 9<<20)
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(b)
	return "Subject: long\r\nContent-Type: application/octet-stream\r\n\r\n" + string(b)
}

func TestWhatIsStowedComesBack(t *testing.T) {
	w := newIncident(t)
	bodies := map[string]string{}
	var all []*found.Finding
	for class, body := range map[found.Class]string{found.Matched: "Subject: a\n\nText\n", found.Unknown: long(), found.Damaged: "Subject: \x00\x00\r\n\nmixed\r\n"} {
		f := finding(class, body)
		bodies[f.ID] = body
		all = append(all, f)
	}
	heldBody := "Subject: held\n\nThe backup has it.\n" // its content is there, and is not stored again
	heldToo := finding(found.Unknown, heldBody)
	bodies[heldToo.ID] = heldBody
	all = append(all, heldToo)
	run := func(name string, listed ...*found.Finding) error {
		return salvage(t, w, name, func(k *stow.Keeper) error {
			for _, f := range all {
				if err := k.Keep(t.Context(), f, strings.NewReader(bodies[f.ID])); err != nil {
					return err
				}
			}
			for _, class := range []found.Class{found.Held, found.Tombstoned} {
				if err := k.Keep(t.Context(), finding(class, "x"), strings.NewReader("x")); err == nil {
					t.Errorf("%s was kept", class)
				}
			}
			return k.Finish(t.Context(), list(listed...))
		})
	}
	must(t, run("one", append(all, finding(found.Held, "y"))...))
	rebuilt := w.Rebuilt(w.Reopen(), "rebuilt.db")
	if dump(t, rebuilt.Catalog) != dump(t, w.H.Catalog) {
		t.Error("the rebuilt catalog is another one")
	}
	for _, h := range []*history.History{w.H, rebuilt} {
		got := stored(t, h.Catalog)
		if len(got) != len(all) {
			t.Fatalf("%d findings", len(got))
		}
		for _, f := range got {
			i := slices.IndexFunc(all, func(a *found.Finding) bool { return a.ID == f.ID })
			want := *all[i]
			want.WireSize, want.SHA256, want.SHA1 = f.WireSize, f.SHA256, f.SHA1
			if !reflect.DeepEqual(f, &want) {
				t.Errorf("%+v\nwant %+v", f, &want)
			}
			if body, err := read(t, h, f); err != nil || body != bodies[f.ID] {
				t.Errorf("%s: %d bytes, %v", f.ID, len(body), err)
			}
		}
	}
	// The same again, with a better word for one and another one gone.
	head, err := w.H.Catalog.Head()
	must(t, err)
	must(t, run("one", all...))
	if again, err := w.H.Catalog.Head(); err != nil || again != head {
		t.Errorf("nothing is new, and head %d became %d", head.Number, again.Number)
	}
	must(t, run("other", all...)) // what somebody else has found stays his
	all[0].User = "carol"
	gone := all[1]
	must(t, run("one", all[0], all[2], all[3]))
	got := stored(t, w.H.Catalog)
	if len(got) != 3 || slices.ContainsFunc(got, func(f *found.Finding) bool { return f.ID == gone.ID }) {
		t.Errorf("%d findings are left", len(got))
	}
	if i := slices.IndexFunc(got, func(f *found.Finding) bool { return f.User == "carol" }); i < 0 || got[i].ID != all[0].ID {
		t.Error("the change was not written")
	}
	must(t, run("empty"))
	if got := stored(t, w.H.Catalog); len(got) != 3 { // what was kept without being listed is given up again
		t.Errorf("%d findings are left", len(got))
	}
}

func TestRefusals(t *testing.T) {
	w := newIncident(t)
	f := finding(found.Unknown, "as it was")
	must(t, salvage(t, w, "one", func(k *stow.Keeper) error {
		if err := k.Keep(t.Context(), f, strings.NewReader("as it is")); !errors.Is(err, found.ErrChanged) {
			t.Errorf("what reads differently gives %v", err)
		}
		if err := k.Finish(t.Context(), list(f)); !errors.Is(err, found.ErrNotKept) {
			t.Errorf("what was not kept gives %v", err)
		}
		twin := *finding(found.Unknown, "other bytes")
		must(t, k.Keep(t.Context(), &twin, strings.NewReader("other bytes")))
		fake := *f
		fake.ID = twin.ID
		if err := k.Keep(t.Context(), &fake, strings.NewReader("as it was")); err == nil || !strings.Contains(err.Error(), "is taken") {
			t.Errorf("an ID of other bytes gives %v", err)
		}
		return nil
	}))
}

func contentOf(body string) chunk.ID {
	id, _, _ := chunk.WireSums([]byte(body))
	return id
}

// Findings hold their contents while the incident is open, and no longer.
func TestFindingsEndWithTheirIncident(t *testing.T) {
	w := newIncident(t)
	body := "Subject: found\n\n" + strings.Repeat("something of its own\n", 50)
	f := finding(found.Unknown, body)
	heldBody := "Subject: held\n\nThe backup has it.\n"
	held := finding(found.Unknown, heldBody)
	must(t, salvage(t, w, "one", func(k *stow.Keeper) error {
		return errors.Join(k.Keep(t.Context(), f, strings.NewReader(body)), k.Keep(t.Context(), held, strings.NewReader(heldBody)), k.Finish(t.Context(), list(f, held)))
	}))
	for range 12 {
		w.Night()
		w.Prune()
	}
	if got, err := read(t, w.H, f); err != nil || got != body {
		t.Fatalf("%q, %v", got, err)
	}
	before, err := w.H.Catalog.Stats(t.Context())
	must(t, err)
	for { // the lease of the salvage runs out
		_, err = incident.Close(t.Context(), w.H, incident.CloseOptions{Name: "fire", By: "op", Now: func() time.Time { return w.Now }})
		if !errors.Is(err, vault.ErrLocked) {
			break
		}
		time.Sleep(w.H.LeaseTTL / 4)
	}
	must(t, err)
	after, err := w.H.Catalog.Stats(t.Context())
	must(t, err)
	if got := stored(t, w.H.Catalog); len(got) != 0 || after.ContentBytes >= before.ContentBytes {
		t.Errorf("%d findings are left, %d bytes of %d", len(got), after.ContentBytes, before.ContentBytes)
	}
	if e := w.List(catalog.Query{User: "ann"}); len(e) != 1 {
		t.Fatal("the record is gone")
	}
	if has, err := w.H.Catalog.HasContent(contentOf(body)); has || err != nil {
		t.Errorf("the content is still there: %v", err)
	}
	w.Night()
	w.Prune()
	if dump(t, w.Rebuilt(w.Reopen(), "rebuilt.db").Catalog) != dump(t, w.H.Catalog) {
		t.Error("the rebuilt catalog is another one")
	}
}

func TestForgetFindings(t *testing.T) {
	w := newIncident(t)
	a, b := finding(found.Unknown, "Subject: a\n\na\n"), finding(found.Unknown, "Subject: b\n\nb\n")
	a.User = "ann"
	must(t, salvage(t, w, "one", func(k *stow.Keeper) error {
		return errors.Join(k.Keep(t.Context(), a, strings.NewReader("Subject: a\n\na\n")), k.Keep(t.Context(), b, strings.NewReader("Subject: b\n\nb\n")), k.Finish(t.Context(), list(a, b)))
	}))
	_, err := upkeep.Forget(t.Context(), w.H, "ann", w.PruneOptions())
	must(t, err)
	if got := stored(t, w.H.Catalog); len(got) != 1 || got[0].ID != b.ID {
		t.Errorf("%d findings are left", len(got))
	}
}

// Redelivery takes them for nobody's until they fit something.
func TestFindingsAreNotHeld(t *testing.T) {
	w := newIncident(t)
	f := finding(found.Unknown, "Subject: a\n\na\n")
	must(t, salvage(t, w, "one", func(k *stow.Keeper) error {
		return errors.Join(k.Keep(t.Context(), f, strings.NewReader("Subject: a\n\na\n")), k.Finish(t.Context(), list(f)))
	}))
	o := redeliver.Options{Name: "fire", DryRun: true, Now: func() time.Time { return w.Now }, From: redeliver.Results{
		Findings: stow.Findings(w.H.Catalog, "fire"),
		Open: func(context.Context, *found.Finding) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("Subject: a\n\na\n")), nil
		}}}
	r, err := redeliver.Run(t.Context(), w.H, o)
	must(t, err)
	if r.Unknown != 1 || r.AlreadyHeld != 0 {
		t.Errorf("%+v", r)
	}
}
