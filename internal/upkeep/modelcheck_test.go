package upkeep_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/history"
	"salvor/internal/mailstore/stores"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
	"salvor/restore"
)

// line stands for one message.
func line(user, folder, flags string, body []byte) string {
	return fmt.Sprintf("%s %s %q %x", user, folder, flags, sha256.Sum256(body))
}

// chunks reads from a vault what restores need.
type chunks struct{ *vault.Reader }

func (c chunks) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	return c.Reader.Chunk(ctx, vault.Location(at), ref, room)
}

// verify compares all that comes back with the model, and the catalog with one
// that is built from the vault alone.
func (m *model) verify() {
	m.t.Helper()
	_, err := m.w.H.Follow(m.t.Context())
	must(m.t, err)
	m.verified++
	m.compareCatalogs(m.w.H.Vault, "rebuilt")
	m.live(m.w.H)
	m.deleted(m.w.H)
	must(m.t, m.tryCopy(m.t.Context()))
	v := m.w.OpenAt(m.copyDir)
	h := m.compareCatalogs(v, "copied")
	m.deleted(h)
	if m.t.Failed() {
		m.t.FailNow()
	}
}

// compareCatalogs builds a catalog from a vault, and holds it against the one
// that is kept.
func (m *model) compareCatalogs(v *vault.Vault, name string) *history.History {
	m.t.Helper()
	h := m.w.Rebuilt(v, fmt.Sprintf("%s-%d.db", name, m.verified))
	if got, want := dump(m.t, h.Catalog), dump(m.t, m.w.H.Catalog); got != want {
		m.t.Errorf("the %s catalog differs from the one that was kept", name)
	}
	return h
}

// live restores everybody, twice to the same place.
func (m *model) live(h *history.History) {
	m.t.Helper()
	root := filepath.Join(m.w.Dir, "back")
	defer os.RemoveAll(root)
	to, err := stores.OpenDestination("maildir:"+root+"/%u", stores.Options{})
	must(m.t, err)
	reader, err := h.Vault.NewReader(m.w.H.Keys, vault.ReaderOptions{})
	must(m.t, err)
	var users []string
	must(m.t, h.Catalog.Users(m.t.Context(), func(u *catalog.User) error {
		users = append(users, u.Name)
		return nil
	}))
	for again := range 2 {
		o := restore.Options{Catalog: h.Catalog, Chunks: chunks{reader}, Destination: to}
		must(m.t, restore.All(m.t.Context(), users, o, func(r *restore.Report, err error) {
			must(m.t, err)
			if r.Failed > 0 || again > 0 && r.Messages > 0 {
				m.t.Errorf("restore %d of %s: %+v", again, r.User, r)
			}
		}))
	}
	got := m.restored(root)
	for i := range max(len(got), len(m.snapshot)) {
		if i >= len(got) || i >= len(m.snapshot) || got[i] != m.snapshot[i] {
			m.t.Errorf("%d messages came back of %d:\n%s\nwanted:\n%s", len(got), len(m.snapshot), strings.Join(got, "\n"), strings.Join(m.snapshot, "\n"))
			return
		}
	}
}

// restored lists the messages of Maildirs, one for each user.
func (m *model) restored(root string) (lines []string) {
	m.t.Helper()
	must(m.t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "cur" && filepath.Base(filepath.Dir(path)) != "new" {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(filepath.Dir(path)))
		must(m.t, err)
		user, folder, _ := strings.Cut(rel, "/.")
		if folder == "" {
			folder = "INBOX"
		}
		_, flags, _ := strings.Cut(d.Name(), ":2,")
		b, err := os.ReadFile(path)
		must(m.t, err)
		lines = append(lines, line(user, strings.ReplaceAll(folder, ".", "/"), flags, b))
		return nil
	}))
	slices.Sort(lines)
	return lines
}

// deleted reads all deleted messages that are kept.
func (m *model) deleted(h *history.History) {
	m.t.Helper()
	reader, err := h.Vault.NewReader(m.w.H.Keys, vault.ReaderOptions{})
	must(m.t, err)
	found := map[string]map[string]bool{}
	must(m.t, h.Catalog.Entries(m.t.Context(), catalog.Query{Deleted: true}, func(e *catalog.Entry) error {
		b, err := restore.Message(m.t.Context(), h.Catalog, chunks{reader}, e)
		if err != nil {
			m.t.Errorf("deleted message of %s: %v", e.User, err)
			return nil
		}
		key := e.User + "\n" + string(b)
		if f := m.fates[key]; f == nil || f.expired && !f.live {
			m.t.Errorf("%s has a deleted message that nobody wrote or that has expired (%+v): record %d, gone %v", e.User, f, e.ID, e.GoneAt)
		}
		if found[key] == nil {
			found[key] = map[string]bool{}
		}
		found[key][letters(e.Flags)] = true
		return nil
	}))
	for key, f := range m.fates {
		if f.live || m.now.Sub(f.removed) > week-margin {
			continue
		}
		if found[key] == nil {
			m.t.Errorf("deleted at %v, and it does not come back: %.90q", f.removed, key)
		}
		for flags := range found[key] {
			if len(f.flags) == 1 && len(found[key]) == 1 && !f.flags[flags] {
				m.t.Errorf("deleted with flags %v, it comes back with %q: %.90q", f.flags, flags, key)
			}
		}
	}
}

// letters writes flags as Maildir does.
func letters(flags []string) string {
	var b []byte
	for flag, letter := range map[string]byte{`\Draft`: 'D', `\Flagged`: 'F', `\Answered`: 'R', `\Seen`: 'S', `\Deleted`: 'T'} {
		if slices.Contains(flags, flag) {
			b = append(b, letter)
		}
	}
	slices.Sort(b)
	return string(b)
}

// damage spoils something that can be healed, and heals it.
func (m *model) damage() {
	if m.spread {
		m.damageTarget()
	} else {
		m.damageVault()
	}
	m.learn()
	checkClean(m.t, m.w)
}

// damageTarget empties one target, or spoils some of its shards, and repairs
// the vault from the others.
func (m *model) damageTarget() {
	m.repair() // what a target has missed while it did not answer
	root := m.w.TargetDir(m.rng.IntN(len(m.faults)))
	if m.rng.IntN(3) == 0 {
		m.note("empty %s", root)
		must(m.t, os.RemoveAll(root))
	} else {
		for _, pattern := range []string{"packs/*/*", "packs/*/*", "journals/*", "checkpoints/*", "commits/*", "keys/*"} {
			m.spoilOne(glob(m.t, root, pattern))
		}
	}
	m.reopen()
	if m.rng.IntN(2) == 0 {
		m.backup()
	}
	m.repair()
}

// repair must put right whatever there is.
func (m *model) repair() {
	r, err := upkeep.Check(m.t.Context(), m.w.H, upkeep.CheckOptions{ReadData: true, Repair: true, Now: m.hostNow})
	must(m.t, err)
	if len(r.Damaged) != len(r.Repaired) || len(r.Lost) > 0 {
		m.t.Fatalf("not repaired: %+v", r)
	}
	m.reopen()
}

// spoilOne damages or removes one of these files, or none.
func (m *model) spoilOne(found []string) {
	if len(found) == 0 || m.rng.IntN(3) > 0 {
		return
	}
	path := found[m.rng.IntN(len(found))]
	m.note("spoil %s", path)
	switch m.rng.IntN(3) {
	case 0:
		must(m.t, os.Remove(path))
	case 1:
		must(m.t, os.Truncate(path, 7))
	default:
		spoil(m.t, path)
	}
}

// damageVault makes a copy, spoils some objects of the vault, may let a check
// and a backup meet that, and heals the vault from the copy.
func (m *model) damageVault() {
	must(m.t, m.tryCopy(m.t.Context()))
	second := m.w.OpenAt(m.copyDir)
	chain := m.rng.IntN(2) == 0 // which is mended before anything can meet it
	for _, pattern := range []string{"packs/*/*", "packs/*/*", "journals/*", "checkpoints/*"} {
		m.spoilOne(glob(m.t, m.w.VaultDir, pattern))
	}
	if chain {
		m.spoilOne(glob(m.t, m.w.VaultDir, "keys/*"))
		commits := glob(m.t, m.w.VaultDir, "commits/*")
		m.spoilOne(commits[:len(commits)-1]) // without its end it would be a vault that was rolled back
	}
	if !chain && m.rng.IntN(2) == 0 {
		_, err := m.w.H.Follow(m.t.Context())
		if err == nil {
			_, err = upkeep.Check(m.t.Context(), m.w.H, upkeep.CheckOptions{ReadData: true, Now: m.hostNow})
			must(m.t, err)
			m.backup()
		}
	}
	_, err := m.w.H.Vault.MendChain(m.t.Context(), second)
	must(m.t, err)
	r, err := upkeep.Check(m.t.Context(), m.w.H, upkeep.CheckOptions{ReadData: true, Second: second, Now: m.hostNow})
	must(m.t, err)
	if len(r.Damaged) != len(r.Repaired) || len(r.Lost) > 0 {
		m.t.Fatalf("not healed: %+v", r)
	}
}

func (m *model) hostNow() time.Time { return m.w.Now }
