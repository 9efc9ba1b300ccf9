package redeliver_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/redeliver"
	"salvor/salvage/found"
	"salvor/salvage/volume"
)

// salvaged makes a result directory that holds these.
func salvaged(t *testing.T, incident string, bodies []string, findings ...*found.Finding) *found.Dir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "results")
	w, err := found.Create(dir, found.Head{Sources: []string{"disk.img"}, Incident: incident}, found.Options{MinFree: -1})
	must(t, err)
	for i, f := range findings {
		sum := sha256.Sum256([]byte(bodies[i]))
		f.SHA256Stored, f.Size, f.Source, f.Inode, f.Path = hex.EncodeToString(sum[:]), int64(len(bodies[i])), "disk.img", uint64(1000+i), "/u01/cur/x"
		f.ID = found.NewID(f.SHA256Stored, func(string) bool { return false })
		if f.Class.Kept() {
			must(t, w.Keep(t.Context(), f, strings.NewReader(bodies[i])))
		}
	}
	slices.SortFunc(findings, func(a, b *found.Finding) int { return strings.Compare(a.ID, b.ID) })
	must(t, w.Finish(t.Context(), func(yield func(*found.Finding) error) error {
		for _, f := range findings {
			if err := yield(f); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, w.Close())
	d, err := found.Open(dir)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func from(d *found.Dir, change ...func(*redeliver.Results)) func(*redeliver.Options) {
	r := redeliver.Results{Findings: d.Findings, Foreign: d.Head().Incident != "fire",
		Open: func(_ context.Context, f *found.Finding) (io.ReadCloser, error) { return d.Content(f) }}
	for _, c := range change {
		c(&r)
	}
	return func(o *redeliver.Options) { o.From = r }
}

func finding(class found.Class, grade found.Grade) *found.Finding {
	return &found.Finding{Class: class, Grade: grade, How: "file"}
}

func TestResults(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 11, letterOf(1)), owed("ann", "INBOX", 12, letterOf(2)), owed("bob", "INBOX", 1, letterOf(3)), owed("bob", "INBOX", 2, letterOf(5)))
	half := strings.Replace(letterOf(3), "Text", "\x00\x00\x00\x00", 1)
	lying := finding(found.Matched, found.Verified) // it says that it is claim 4, and is not
	lying.Claim = 4
	partial := finding(found.Damaged, found.Partial)
	partial.Claim, partial.Missing = 3, []volume.Range{{Off: 3, Len: 4}, {Off: 20, Len: 1}}
	d := salvaged(t, "fire", []string{lf(letterOf(1)), letterOf(2), half, letterOf(9), letterOf(4)},
		finding(found.Matched, found.Verified), finding(found.Unknown, found.Consistent), partial, lying, finding(found.Tombstoned, found.Verified))

	counts(t, l.run(from(d)), redeliver.Report{Delivered: 2, StillOwed: 2, Unknown: 1})
	if c := l.claim(1); !strings.HasPrefix(c.Reason, "found in disk.img inode 10") || !strings.HasSuffix(c.Reason, " (/u01/cur/x)") || c.Grade != catalog.GradeCertain {
		t.Errorf("%+v", c)
	}
	if l.server.count("bob", half) != 0 {
		t.Fatal("what is damaged was delivered")
	}
	// Only who is asked for by name, and no more than once.
	ask := func(r *redeliver.Results) { r.Damaged = []string{partial.ID} }
	counts(t, l.run(from(d, ask), func(o *redeliver.Options) { o.DryRun = true }), redeliver.Report{Delivered: 1, StillOwed: 2, Unknown: 1, AlreadyHeld: 2, DryRun: true})
	counts(t, l.run(from(d, ask)), redeliver.Report{Delivered: 1, StillOwed: 1, Unknown: 1, AlreadyHeld: 2})
	got := l.server.box("bob", "INBOX").letters
	if len(got) != 1 || got[0].wire != half || !slices.Equal(got[0].flags, []string{"$Damaged", "$Label", `\Seen`}) || !got[0].date.Equal(arrival) {
		t.Errorf("%+v", got)
	}
	c := l.claim(3)
	if c.State != catalog.ClaimRedelivered || c.Grade != catalog.GradeProbable || !strings.HasPrefix(c.Reason, "damaged: bytes 3-6, 20-20 are missing; found in disk.img inode ") ||
		!slices.Equal(c.Flags, []string{"$Label", `\Seen`}) {
		t.Errorf("%+v", c)
	}
	counts(t, l.run(from(d, ask)), redeliver.Report{StillOwed: 1, Unknown: 1, AlreadyHeld: 3})
	if l.server.count("bob", half) != 1 {
		t.Error("it was delivered again")
	}
	if _, err := l.try(t.Context(), from(d, func(r *redeliver.Results) { r.Damaged = []string{lying.ID} })); !errors.Is(err, found.ErrNoFinding) {
		t.Errorf("what is not damaged gives %v", err)
	}
}

// What nobody is known to miss goes to its owner when it is asked for, once, and is
// not marked: nothing is missing of it.
func TestNamedFinding(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("bob", "INBOX", 11, letterOf(1)))
	stray := finding(found.Unknown, found.Plausible)
	stray.User, stray.Folder = "bob", "INBOX"
	d := salvaged(t, "fire", []string{letterOf(9)}, stray)
	counts(t, l.run(from(d)), redeliver.Report{StillOwed: 1, Unknown: 1})
	ask := func(r *redeliver.Results) { r.Named = []string{stray.ID} }
	counts(t, l.run(from(d, ask)), redeliver.Report{Delivered: 1, StillOwed: 1})
	if got := l.server.box("bob", "INBOX").letters; len(got) != 1 || got[0].wire != letterOf(9) || slices.Contains(got[0].flags, "$Damaged") {
		t.Errorf("%+v", got)
	}
	counts(t, l.run(from(d, ask)), redeliver.Report{StillOwed: 1, AlreadyHeld: 1})
	if l.server.count("bob", letterOf(9)) != 1 {
		t.Error("it was delivered again")
	}
}

// A whole message goes before what is left of it.
func TestWholeBeforeDamaged(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 11, letterOf(1)))
	partial := finding(found.Damaged, found.Partial)
	partial.Claim = 1
	d := salvaged(t, "fire", []string{letterOf(1)[:40], letterOf(1)}, partial, finding(found.Matched, found.Verified))
	counts(t, l.run(from(d, func(r *redeliver.Results) { r.Damaged = []string{partial.ID} })), redeliver.Report{Delivered: 1, AlreadyHeld: 1})
	if l.server.count("ann", letterOf(1)) != 1 {
		t.Error("the whole one was not delivered")
	}
}

// What fits no claim goes where the operator says, with a claim of its own.
func TestDamagedOfNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 11, letterOf(1)))
	half := letterOf(8)[:30]
	partial := finding(found.Damaged, found.Partial)
	partial.Claim = 1 // of another incident
	d := salvaged(t, "flood", []string{half}, partial)
	ask := func(user, folder string) func(*redeliver.Options) {
		return from(d, func(r *redeliver.Results) { r.Damaged, r.User, r.Folder = []string{partial.ID}, user, folder })
	}
	if _, err := l.try(t.Context(), ask("", "")); !errors.Is(err, redeliver.ErrNobodys) {
		t.Errorf("nobody's gives %v", err)
	}
	if _, err := l.try(t.Context(), ask("nobody", "INBOX")); err == nil || !strings.Contains(err.Error(), `no account of user "nobody"`) {
		t.Errorf("an account that is not there gives %v", err)
	}
	dry := func(o *redeliver.Options) { o.DryRun = true }
	counts(t, l.run(ask("ann", "Rescued"), dry), redeliver.Report{Delivered: 1, StillOwed: 1, DryRun: true})
	counts(t, l.run(ask("ann", "Rescued")), redeliver.Report{Delivered: 1, StillOwed: 1})
	counts(t, l.run(ask("ann", "Rescued")), redeliver.Report{AlreadyHeld: 1, StillOwed: 1})
	if got := l.server.box("ann", "Rescued").letters; len(got) != 1 || got[0].wire != half || !slices.Equal(got[0].flags, []string{"$Damaged"}) {
		t.Errorf("%+v", got)
	}
	if c := l.claim(2); c.State != catalog.ClaimRedelivered || c.User != "ann" || c.Folder != "Rescued" || !strings.HasPrefix(c.Reason, "damaged: it is not whole; found in") {
		t.Errorf("%+v", c)
	}
}

// Killed after it was sent, what is damaged is found again like anything else.
func TestDamagedUnanswered(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 11, letterOf(1)))
	partial := finding(found.Damaged, found.Partial)
	partial.Claim = 1
	half := letterOf(1)[:70]
	d := salvaged(t, "fire", []string{half}, partial)
	faults := []fault{unsent, stored, fine}
	l.server.fault = func() (f fault) { f, faults = faults[0], faults[1:]; return f }
	ask := from(d, func(r *redeliver.Results) { r.Damaged = []string{partial.ID} })
	for range 3 {
		l.try(t.Context(), ask)
	}
	if n := l.server.count("ann", half); n != 1 {
		t.Errorf("it is there %d times", n)
	}
	if got := l.server.box("ann", "INBOX").letters; !slices.Contains(got[0].flags, "$Damaged") {
		t.Errorf("%+v", got)
	}
	if c := l.claim(1); c.State != catalog.ClaimRedelivered || c.Grade != catalog.GradeProbable || !strings.Contains(c.Reason, "damaged: ") {
		t.Errorf("%+v", c)
	}
}

// A list and contents that somebody has spoiled cost what they spoil.
func TestSpoiltResults(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 11, letterOf(1)), owed("ann", "INBOX", 12, letterOf(2)))
	a, b := finding(found.Matched, found.Verified), finding(found.Matched, found.Verified)
	d := salvaged(t, "fire", []string{letterOf(1), letterOf(2)}, a, b)
	var one *found.Finding
	for _, f := range []*found.Finding{a, b} {
		if f.Inode == 1000 {
			one = f
		}
	}
	must(t, os.WriteFile(filepath.Join(d.Name(), one.File), []byte(letterOf(7)), 0o600))
	list, err := os.OpenFile(filepath.Join(d.Name(), found.ListFile), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = list.WriteString("nonsense\n")
	must(t, errors.Join(err, list.Close()))
	counts(t, l.run(from(d)), redeliver.Report{Delivered: 1, StillOwed: 1, Unreadable: 2})
}
