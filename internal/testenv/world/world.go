// Package world gives tests a small mail server and its backup: Maildirs that
// the test delivers into, moves and deletes in, a vault in a directory, a
// catalog and a clock that the test moves. It is imported by tests only.
package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/backup"
	"salvor/internal/history"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
	"salvor/internal/objstore"
	objdir "salvor/internal/objstore/dir"
	"salvor/internal/retention"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// World is one test's world.
type World struct {
	T        testing.TB
	Dir      string // of everything
	Mail     string // Maildirs, one for each user
	VaultDir string
	Store    objstore.Store
	Catalog  string
	Identity *vault.Identity
	H        *history.History
	// Now is the clock; it stands still until the test moves it.
	Now     time.Time
	Options backup.Options
	Policy  upkeep.Policy
	count   int
	open    func(target int) objstore.Store // of a vault with parity
}

// New makes a world with an empty vault.
func New(t testing.TB) *World {
	t.Helper()
	dir := t.TempDir()
	return NewIn(t, dir, nil)
}

// NewIn makes a world in a directory; wrap, when not nil, wraps the store.
func NewIn(t testing.TB, dir string, wrap func(objstore.Store) objstore.Store) *World {
	t.Helper()
	w := empty(t, dir)
	ctx := t.Context()
	store, err := objdir.Open(ctx, w.VaultDir, objdir.Options{Create: true})
	w.must(err)
	w.Store = clocked{store, w}
	if wrap != nil {
		w.Store = wrap(w.Store)
	}
	v, err := vault.Create(ctx, w.Store, w.createOptions())
	w.must(err)
	w.H = w.Join(v, w.Catalog, "host")
	return w
}

// empty makes a world that has no vault yet.
func empty(t testing.TB, dir string) *World {
	t.Helper()
	w := &World{T: t, Dir: dir, Mail: filepath.Join(dir, "mail"), VaultDir: filepath.Join(dir, "vault"),
		Catalog: filepath.Join(dir, "catalog.db"), Now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	w.must(os.MkdirAll(w.Mail, 0o700))
	var err error
	w.Identity, err = vault.NewIdentity(vault.IdentityOptions{})
	w.must(err)
	return w
}

func (w *World) createOptions() vault.CreateOptions {
	return vault.CreateOptions{Root: w.Identity.Root(), Recipients: []string{w.Identity.Recipient()}, Cutting: chunk.DefaultParams()}
}

// Join makes a certified writer for the vault with a catalog of its own.
func (w *World) Join(v *vault.Vault, catalogPath, host string) *history.History {
	w.T.Helper()
	key, err := v.NewHostKey(host)
	w.must(err)
	roles := []vault.Role{vault.RoleBackup, vault.RoleUpkeep, vault.RoleDecide}
	w.must(v.Certify(w.T.Context(), w.Identity.Root(), key.Request(), roles, w.Now))
	c, err := catalog.Open(catalogPath, catalog.Options{})
	w.must(err)
	w.T.Cleanup(func() { w.must(c.Close()) })
	h := &history.History{Vault: v, Catalog: c, Host: key}
	h.Keys = append(h.Keys, w.Identity.Key())
	return h
}

// Reopen opens the vault anew, as another process would.
func (w *World) Reopen() *vault.Vault {
	w.T.Helper()
	v, err := vault.Open(w.T.Context(), w.Store, vault.OpenOptions{})
	w.must(err)
	return v
}

// OpenAt opens a vault in another directory, for example a copy.
func (w *World) OpenAt(path string) *vault.Vault {
	w.T.Helper()
	store, err := objdir.Open(w.T.Context(), path, objdir.Options{})
	w.must(err)
	v, err := vault.Open(w.T.Context(), store, vault.OpenOptions{})
	w.must(err)
	return v
}

// Rebuilt gives the vault with a catalog that was built from it alone.
func (w *World) Rebuilt(v *vault.Vault, name string) *history.History {
	w.T.Helper()
	c, err := catalog.Open(filepath.Join(w.Dir, name), catalog.Options{})
	w.must(err)
	w.T.Cleanup(func() { w.must(c.Close()) })
	h := &history.History{Vault: v, Catalog: c, Keys: w.H.Keys}
	_, err = h.Follow(w.T.Context())
	w.must(err)
	return h
}

func (w *World) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// clocked is a store whose clock is the world's.
type clocked struct {
	*objdir.Store
	w *World
}

// List gives objects the ages that they have by the world's clock.
func (c clocked) List(ctx context.Context, prefix string, yield func(objstore.Info) error) error {
	shift := c.w.Now.Sub(time.Now())
	return c.Store.List(ctx, prefix, func(i objstore.Info) error {
		i.Modified = i.Modified.Add(shift)
		return yield(i)
	})
}

// Now implements objstore.Clock.
func (c clocked) Now(context.Context) (time.Time, error) { return c.w.Now, nil }

// Source opens the world's Maildirs as a backup would.
func (w *World) Source() mailstore.Source {
	w.T.Helper()
	s, err := stores.OpenSource("maildir:"+w.Mail+"/%u", stores.Options{})
	w.must(err)
	return s
}

// Backup runs a backup that must not fail.
func (w *World) Backup() *backup.Report {
	w.T.Helper()
	r, err := w.TryBackup(w.T.Context())
	w.must(err)
	return r
}

// TryBackup runs a backup.
func (w *World) TryBackup(ctx context.Context) (*backup.Report, error) {
	o := w.Options
	if o.Source == nil {
		o.Source = w.Source()
	}
	o.Name, o.Host = "maildir:mail/%u", "host"
	o.Now = func() time.Time { return w.Now }
	o.Policy = w.Policy.Retention
	return backup.Run(ctx, w.H, o)
}

// Prune prunes with the operator's identity, which must not fail.
func (w *World) Prune() *upkeep.PruneReport {
	w.T.Helper()
	r, err := upkeep.Prune(w.T.Context(), w.H, w.PruneOptions())
	w.must(err)
	return r
}

// PruneOptions are those of Prune.
func (w *World) PruneOptions() upkeep.PruneOptions {
	reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{})
	w.must(err)
	return upkeep.PruneOptions{Policy: w.Policy, Reader: reader, Host: "host", Now: func() time.Time { return w.Now }}
}

// Sleep moves the clock.
func (w *World) Sleep(d time.Duration) { w.Now = w.Now.Add(d) }

// Night moves the clock by a day and runs a backup.
func (w *World) Night() *backup.Report {
	w.T.Helper()
	w.Sleep(24 * time.Hour)
	return w.Backup()
}

// box is a folder's directory in Maildir++, made when it is not there.
func (w *World) box(user, folder string) string {
	w.T.Helper()
	dir := filepath.Join(w.Mail, user)
	if folder != "INBOX" {
		w.box(user, "INBOX")
		dir = filepath.Join(dir, "."+strings.ReplaceAll(folder, "/", "."))
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		w.must(os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	return dir
}

// Deliver puts a message into a folder and returns its file's path.
func (w *World) Deliver(user, folder, body string) string {
	w.T.Helper()
	w.count++
	name := fmt.Sprintf("%d.M%dP1.world,S=%d:2,", 1700000000+w.count, w.count, len(body))
	path := filepath.Join(w.box(user, folder), "cur", name)
	w.must(os.WriteFile(path, []byte(body), 0o600))
	at := time.Unix(int64(1700000000+w.count), 0)
	w.must(os.Chtimes(path, at, at))
	return path
}

// Message makes a small message of its own.
func (w *World) Message(subject string) string {
	return fmt.Sprintf("From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: %s\nMessage-ID: <%s@example.org>\n"+
		"Date: Mon, 2 Mar 2026 10:00:00 +0000\n\nThis is the text of %s.\n%s\n", subject, subject, subject,
		strings.Repeat("It goes on about "+subject+" for a while.\n", 20))
}

// Fill delivers n messages of their own.
func (w *World) Fill(user, folder string, n int) (paths []string) {
	w.T.Helper()
	for i := range n {
		paths = append(paths, w.Deliver(user, folder, w.Message(fmt.Sprintf("%s-%s-%d-%d", user, strings.ReplaceAll(folder, "/", "-"), i, w.count))))
	}
	return paths
}

// Remove deletes files as a user's client would.
func (w *World) Remove(paths ...string) {
	w.T.Helper()
	for _, p := range paths {
		w.must(os.Remove(p))
	}
}

// List asks the catalog for records.
func (w *World) List(q catalog.Query) (out []catalog.Entry) {
	w.T.Helper()
	w.must(w.H.Catalog.Entries(w.T.Context(), q, func(e *catalog.Entry) error {
		out = append(out, *e)
		return nil
	}))
	return out
}

// PolicyOf is a policy that keeps deleted mail for a time and erases at once.
func PolicyOf(keep time.Duration) upkeep.Policy {
	return upkeep.Policy{Retention: retention.Policy{Keep: keep}}
}
