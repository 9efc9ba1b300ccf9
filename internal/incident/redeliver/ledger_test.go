package redeliver_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
	"salvor/internal/testenv/world"
	"salvor/internal/vault"
)

// A lab is an incident, a server, and a directory of what was found.
type lab struct {
	*world.World
	server *server
	found  string
	claims []catalog.Claim // as they were opened
}

var arrival = time.Date(2026, 2, 28, 22, 0, 0, 0, time.UTC)

// letterOf makes a message.
func letterOf(n int) string {
	return fmt.Sprintf("Subject: letter %d\r\nMessage-ID: <%d@x>\r\nDate: Sat, 28 Feb 2026 22:00:00 +0000\r\n\r\nText %d.\r\n", n, n, n)
}

// owed is a claim to a message whose SHA-1 is known.
func owed(user, folder string, uid uint32, wire string) catalog.Claim {
	return catalog.Claim{User: user, Folder: folder, UIDValidity: 7, UID: uid, State: catalog.ClaimOwed, Reason: "it arrived after the last backup",
		SHA1: sha1.Sum([]byte(wire)), Size: int64(len(wire)), Flags: []string{"$Label", `\Seen`}, InternalDate: arrival}
}

func with(c catalog.Claim, change func(*catalog.Claim)) catalog.Claim {
	change(&c)
	return c
}

// newLab makes one whose ledger has these claims, with IDs from 1 on.
func newLab(t testing.TB, claims ...catalog.Claim) *lab {
	t.Helper()
	return labIn(world.New(t), claims...)
}

func labIn(w *world.World, claims ...catalog.Claim) *lab {
	t := w.T
	t.Helper()
	w.H.LeaseTTL = 20 * time.Millisecond
	l := &lab{World: w, server: newServer(), found: filepath.Join(w.Dir, "found")}
	must(t, os.MkdirAll(l.found, 0o700))
	change, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, change.Tx.Put(catalog.Incident{Name: "fire", Source: "cyrus:/x", OpenedAt: w.Now, Claims: int64(len(claims))}))
	for i, c := range claims {
		c.Incident, c.ID = "fire", int64(i+1)
		l.claims = append(l.claims, c)
		must(t, change.Tx.Put(c))
		l.server.box(c.User, "INBOX")
	}
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	return l
}

// file puts something into the directory of what was found.
func (l *lab) file(name, bytes string) {
	l.T.Helper()
	path := filepath.Join(l.found, name)
	must(l.T, os.MkdirAll(filepath.Dir(path), 0o700))
	must(l.T, os.WriteFile(path, []byte(bytes), 0o600))
	at := time.Now()
	must(l.T, os.Chtimes(path, at, at))
}

func (l *lab) options() redeliver.Options {
	d, err := redeliver.OpenDir(l.found)
	must(l.T, err)
	l.T.Cleanup(func() { d.Close() })
	return redeliver.Options{Name: "fire", From: d, Server: l.server, Store: "imap://admin@server", Quiet: quiet, Now: func() time.Time { return l.Now }}
}

// run redelivers, which must not fail.
func (l *lab) run(change ...func(*redeliver.Options)) *redeliver.Report {
	l.T.Helper()
	r, err := l.try(l.T.Context(), change...)
	must(l.T, err)
	return r
}

func (l *lab) try(ctx context.Context, change ...func(*redeliver.Options)) (*redeliver.Report, error) {
	l.T.Helper()
	o := l.options()
	for _, c := range change {
		c(&o)
	}
	for { // a process of this machine that let go of nothing seems to live for a while
		r, err := redeliver.Run(ctx, l.H, o)
		if !errors.Is(err, vault.ErrLocked) {
			return r, err
		}
		time.Sleep(l.H.LeaseTTL / 4)
	}
}

// claim reads a claim.
func (l *lab) claim(id int64) catalog.Claim {
	l.T.Helper()
	c, ok, err := l.H.Catalog.Claim("fire", id)
	must(l.T, err)
	if !ok {
		l.T.Fatalf("no claim %d", id)
	}
	return c
}

// set changes a claim.
func (l *lab) set(id int64, change func(*catalog.Claim)) {
	l.T.Helper()
	must(l.T, incident.Act(l.T.Context(), l.H, incident.ActOptions{Name: "fire", Purpose: "test"}, func(ctx context.Context, g *incident.Ledger) error {
		return g.Put(ctx, with(l.claim(id), change))
	}))
}

// counts compares the numbers of a report; those that are not named are 0.
func counts(t testing.TB, r *redeliver.Report, want redeliver.Report) {
	t.Helper()
	got := *r
	got.Folders, got.Notes, got.Incident = nil, nil, ""
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v\nnotes %q", got, want, r.Notes)
	}
}

// readFrom is a vault with one message.
func readFrom(stored string) func(context.Context, chunk.ID) ([]byte, error) {
	return func(_ context.Context, id chunk.ID) ([]byte, error) {
		if got, _, _ := chunk.WireSums([]byte(stored)); got != id {
			return nil, fmt.Errorf("no content %s", id)
		}
		return []byte(stored), nil
	}
}
