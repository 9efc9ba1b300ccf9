package lostserver

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/mailstore"
	"salvor/internal/objstore"
	"salvor/internal/testenv/world"
)

const (
	// Name is that of a Disaster's incident.
	Name = "fire"
	// URL is that of its server, when it runs again.
	URL = "imaps://admin@server"
	// source is what world calls every source.
	source = "maildir:mail/%u"
)

// A Disaster is a server with a backup, and an incident about it.
type Disaster struct {
	*world.World
	Server *Server
	looks  atomic.Int64 // at the clock
}

// New makes a server that is not lost yet. Its clock goes on whenever somebody
// looks at it.
func New(t testing.TB) *Disaster {
	t.Helper()
	return NewOn(t, nil)
}

// NewOn is New with a vault whose store is wrapped; nil: it is not.
func NewOn(t testing.TB, wrap func(objstore.Store) objstore.Store) *Disaster {
	t.Helper()
	w := world.NewIn(t, t.TempDir(), wrap)
	d := &Disaster{World: w, Server: &Server{}}
	w.Options.Source, w.Options.Workers = d.Server, 1
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	return d
}

// Clock gives the time, a millisecond later each time.
func (d *Disaster) Clock() time.Time {
	return d.Now.Add(time.Duration(d.looks.Add(1)) * time.Millisecond)
}

// Open opens the incident: the contents of all messages are lost, the index is
// not.
func (d *Disaster) Open() {
	d.T.Helper()
	d.Sleep(10 * time.Hour)
	dir := filepath.Join(d.Dir, "meta")
	d.must(os.MkdirAll(dir, 0o700))
	d.must(os.WriteFile(filepath.Join(dir, "cyrus.index"), []byte("index"), 0o600))
	survived := d.Server.Snapshot()
	_, err := incident.Open(d.T.Context(), d.H, incident.Options{Name: Name, Source: source, By: "op", Host: "host", Keep: d.Kept(), Now: d.Clock,
		Index: &incident.Index{URL: "cyrus:/x", Apart: true, Trees: []incident.Tree{{Name: "meta", Dir: dir}},
			Open: func(string) (mailstore.Source, error) { return survived, nil }}})
	d.must(err)
	d.Server.Lose()
}

// Kept is the directory of the copy of the metadata.
func (d *Disaster) Kept() string { return filepath.Join(d.Dir, "incidents", Name) }

// Act takes the ledger; a dry run does not.
func (d *Disaster) Act(dry bool, fn func(context.Context, *incident.Ledger) error) error {
	d.T.Helper()
	return incident.Act(d.T.Context(), d.H, incident.ActOptions{Name: Name, Purpose: "test", Now: d.Clock, DryRun: dry}, fn)
}

// Put changes claims: each for which change says so.
func (d *Disaster) Put(change func(*catalog.Claim) bool) {
	d.T.Helper()
	d.must(d.Act(false, func(ctx context.Context, l *incident.Ledger) error {
		var out []catalog.Claim
		for _, c := range d.Claims("") {
			if change(&c) {
				out = append(out, c)
			}
		}
		return l.Put(ctx, out...)
	}))
}

// Fill puts the contents of what the vault holds back, as they were.
func (d *Disaster) Fill() {
	d.T.Helper()
	d.Put(func(c *catalog.Claim) bool {
		if c.State != catalog.ClaimHeld {
			return false
		}
		d.Server.users[c.User][c.Folder].Find(mailstore.UID(c.UID)).Missing = false
		c.State = catalog.ClaimRestored
		c.NowStore, c.NowFolder, c.NowValidity, c.NowUID = "cyrus:/x", c.Folder, c.UIDValidity, c.UID
		return true
	})
}

// Claims lists the ledger of a user, or of all with "".
func (d *Disaster) Claims(user string) (out []catalog.Claim) {
	d.T.Helper()
	d.must(d.H.Catalog.Claims(d.T.Context(), catalog.ClaimQuery{Incident: Name, User: user}, func(c *catalog.Claim) error {
		out = append(out, *c)
		return nil
	}))
	return out
}

// Claim gives the one claim of a message.
func (d *Disaster) Claim(user, folder string, uid mailstore.UID) catalog.Claim {
	d.T.Helper()
	var out []catalog.Claim
	for _, c := range d.Claims(user) {
		if c.Folder == folder && c.UID == uint32(uid) {
			out = append(out, c)
		}
	}
	if len(out) != 1 {
		d.T.Fatalf("%s %s %d has %d claims: %+v", user, folder, uid, len(out), out)
	}
	return out[0]
}

func (d *Disaster) must(err error) {
	d.T.Helper()
	if err != nil {
		d.T.Fatal(err)
	}
}
