package upkeep_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
	"salvor/restore"
)

// seal encrypts as anybody can who has read the recipients in the config.
func seal(t *testing.T, w *world.World, plain []byte) (b []byte, id chunk.ID) {
	t.Helper()
	var out bytes.Buffer
	recipients, err := w.H.Vault.Config().AgeRecipients()
	must(t, err)
	in, err := age.Encrypt(&out, recipients...)
	must(t, err)
	_, err = in.Write(plain)
	must(t, err)
	must(t, in.Close())
	return out.Bytes(), chunk.Sum(out.Bytes())
}

// journalOf makes a journal of these rows.
func journalOf(t *testing.T, w *world.World, rows string) (b []byte, id chunk.ID) {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	must(t, err)
	header := fmt.Sprintf("salvor journal 1 %s\n", w.H.Vault.ID())
	return seal(t, w, enc.EncodeAll([]byte(rows), []byte(header)))
}

// sign makes a commit by hand, from what docs/format.md says.
func sign(key ed25519.PrivateKey, lines ...string) []byte {
	text := "salvor commit 1\n" + strings.Join(lines, "\n") + "\n"
	return fmt.Appendf(nil, "%ssignature %x\n", text, ed25519.Sign(key, []byte("salvor signed text 1\n"+text)))
}

// plant writes an object into the vault's store, over what is there.
func plant(t *testing.T, w *world.World, name string, b []byte) {
	t.Helper()
	path := filepath.Join(w.VaultDir, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, b, 0o600))
}

// evilRows give bob a message that nobody has sent him.
const evilRows = `{"put":"user","row":{"name":"bob"}}` + "\n"

// TestForgedNight: somebody who writes to the store and knows the recipients
// makes a whole night: journal, pack and commit, signed by a key of his own, under
// the id of a good writer as well as under its own.
func TestForgedNight(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Backup()
	before := dump(t, w.H.Catalog)
	head, err := w.H.Vault.Head(t.Context())
	must(t, err)
	public, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	journal, id := journalOf(t, w, evilRows)
	plant(t, w, "journals/"+id.String(), journal)
	pack, packID := seal(t, w, []byte("salvor pack 1 "+w.H.Vault.ID()+"\n"))
	plant(t, w, "packs/"+packID.String()[:2]+"/"+packID.String(), pack)
	for name, writer := range map[string]string{"under a good writer's id": w.H.Host.ID().String(), "under its own": fmt.Sprintf("%x", sha256.Sum256(public))} {
		plant(t, w, "commits/00000000000000000002", sign(key, "vault "+w.H.Vault.ID(), "number 2", "previous "+head.Hash.String(), "kind backup",
			"time "+w.Now.Format(time.RFC3339), "writer "+writer, fmt.Sprintf("pack %s %d", packID, len(pack)), fmt.Sprintf("journal %s %d", id, len(journal))))
		if _, err := w.TryBackup(t.Context()); !errors.Is(err, vault.ErrNotAuthentic) {
			t.Errorf("%s: the next night: %v", name, err)
		}
		if _, err := upkeep.Prune(t.Context(), w.H, w.PruneOptions()); !errors.Is(err, vault.ErrNotAuthentic) {
			t.Errorf("%s: a prune: %v", name, err)
		}
	}
	if dump(t, w.H.Catalog) != before {
		t.Error("the forged night reached the catalog")
	}
	must(t, os.Remove(filepath.Join(w.VaultDir, "commits", "00000000000000000002")))

	// What is left of it is an object that no commit names: nobody reads it, and
	// a prune erases it.
	left := []string{"journals/" + id.String(), "packs/" + packID.String()[:2] + "/" + packID.String()}
	for _, name := range left {
		old := time.Now().Add(-72 * time.Hour)
		must(t, os.Chtimes(filepath.Join(w.VaultDir, name), old, old))
	}
	w.Night()
	w.Prune()
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(w.VaultDir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if _, found, err := w.Rebuilt(w.Reopen(), "after.db").Catalog.User("bob"); err != nil || found {
		t.Errorf("bob: %v, %v", found, err)
	}
	checkClean(t, w)
}

// TestRewrittenJournal: the journal of a good commit, encrypted anew with other
// rows, in the place of the old one.
func TestRewrittenJournal(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Backup()
	journals, err := filepath.Glob(filepath.Join(w.VaultDir, "journals", "*"))
	must(t, err)
	if len(journals) != 1 {
		t.Fatal(journals)
	}
	info, err := os.Stat(journals[0])
	must(t, err)
	b, _ := journalOf(t, w, evilRows)
	for name, b := range map[string][]byte{"shorter": b, "of the same length": append(b, make([]byte, max(0, int(info.Size())-len(b)))...)} {
		plant(t, w, "journals/"+filepath.Base(journals[0]), b)
		c, err := catalog.Open(filepath.Join(w.Dir, name+".db"), catalog.Options{})
		must(t, err)
		h := *w.H
		h.Catalog = c
		var damage *vault.DamageError
		if _, err := h.Follow(t.Context()); !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
		if _, found, err := c.User("bob"); err != nil || found {
			t.Errorf("%s: bob: %v, %v", name, found, err)
		}
		must(t, c.Close())
	}
}

// hostWith makes the world's host one that has only these roles.
func hostWith(t *testing.T, w *world.World, roles ...vault.Role) *vault.HostKey {
	t.Helper()
	key, err := w.H.Vault.NewHostKey("stolen")
	must(t, err)
	must(t, w.H.Vault.Certify(t.Context(), w.Identity.Root(), key.Request(), roles, w.Now))
	old := w.H.Host
	w.H.Host = key
	return old
}

// TestBackupKeyErasesNothing: the salvor of a host that has the role backup
// alone cannot prune, forget or decide, and leaves all objects where they are.
func TestBackupKeyErasesNothing(t *testing.T) {
	w := world.New(t)
	w.Policy = world.PolicyOf(time.Hour)
	w.Policy.Erase = time.Hour
	doomed := w.Fill("ann", "INBOX", 5)
	w.Fill("ann", "Keep", 40)
	w.Backup()
	w.Remove(doomed...)
	w.Night()
	w.Night()
	w.Prune()
	w.Sleep(48 * time.Hour)
	hostWith(t, w, vault.RoleBackup)
	before := strings.Join(objectNames(t, w), "\n")
	_, pruned := upkeep.Prune(t.Context(), w.H, w.PruneOptions())
	_, forgot := upkeep.Forget(t.Context(), w.H, "ann", w.PruneOptions())
	for what, err := range map[string]error{"prune": pruned, "forget": forgot} {
		if !errors.Is(err, vault.ErrNotAuthentic) {
			t.Errorf("%s: %v", what, err)
		}
	}
	after := strings.Join(objectNames(t, w), "\n")
	for name := range strings.Lines(before) {
		if name = strings.TrimSpace(name); !strings.Contains(after, name) {
			t.Errorf("%s is gone", name)
		}
	}
	w.Backup()
}

// objectNames lists the packs, journals, checkpoints and commits in the store.
func objectNames(t *testing.T, w *world.World) (names []string) {
	t.Helper()
	for _, pattern := range []string{"packs/*/*", "journals/*", "checkpoints/*", "commits/*"} {
		found, err := filepath.Glob(filepath.Join(w.VaultDir, pattern))
		must(t, err)
		names = append(names, found...)
	}
	return names
}

// TestStolenBackupKeyLetsMailExpire is what roles do not protect from: a backup
// key says what the mail store holds. Who has it can say that all mail is gone
// since long ago, and the next honest prune lets it expire. There is a grace
// until it is erased; a copy with KeepErased has it for ever.
func TestStolenBackupKeyLetsMailExpire(t *testing.T) {
	w := world.New(t)
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	w.Fill("ann", "INBOX", 5)
	w.Backup()
	honest := hostWith(t, w, vault.RoleBackup)
	for range 2 { // seen gone by two runs, a month ago
		_, err := w.H.Follow(t.Context())
		must(t, err)
		change, err := w.H.Begin(t.Context(), vault.CommitBackup)
		must(t, err)
		long := w.Now.Add(-30 * 24 * time.Hour)
		for _, e := range w.List(catalog.Query{}) {
			e.Record.GoneRun, e.Record.GoneAt = change.Number(), &long
			must(t, change.Tx.Put(e.Record))
		}
		user, _, err := change.Tx.User("ann")
		must(t, err)
		user.LastRun = change.Number()
		must(t, change.Tx.Put(user, catalog.Run{Number: change.Number(), Kind: "backup", Started: w.Now, Finished: w.Now}))
		_, err = change.Commit(t.Context(), w.Now)
		must(t, err)
		w.Sleep(time.Minute)
	}
	w.H.Host = honest
	packs := strings.Count(strings.Join(objectNames(t, w), "\n"), "/packs/")
	if r := w.Prune(); r.Expired != 5 || r.Condemned == 0 || r.Erased != 0 {
		t.Errorf("%+v: if it does not let them expire any more, say so in docs/security.md", r)
	}
	if got := strings.Count(strings.Join(objectNames(t, w), "\n"), "/packs/"); got != packs {
		t.Errorf("%d packs of %d left before the grace", got, packs)
	}
}

// TestRowsCondemnNothing: a backup key's journal puts rows that say of living
// packs that they were condemned long ago. Only the commits say so.
func TestRowsCondemnNothing(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	w.Backup()
	honest := hostWith(t, w, vault.RoleBackup)
	_, err := w.H.Follow(t.Context())
	must(t, err)
	change, err := w.H.Begin(t.Context(), vault.CommitBackup)
	must(t, err)
	long := w.Now.Add(-30 * 24 * time.Hour)
	var packs []catalog.Pack
	must(t, change.Tx.Packs(t.Context(), func(u *catalog.PackUse) error {
		u.Pack.Condemned, u.Pack.CondemnedAt = 1, &long
		packs = append(packs, u.Pack)
		return nil
	}))
	for _, p := range packs {
		must(t, change.Tx.Put(p))
	}
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	w.H.Host = honest
	for range 3 {
		if r := w.Prune(); r.Erased > 0 || len(packs) == 0 {
			t.Errorf("%d packs, %+v", len(packs), r)
		}
		w.Night()
	}
	checkClean(t, w)
}

// TestAnyWriterPutsAnyRow is what roles do not protect from, either: they bound
// what a commit may name, not what stands in its encrypted journal. A key for
// decisions makes a user.
func TestAnyWriterPutsAnyRow(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 1)
	w.Backup()
	hostWith(t, w, vault.RoleDecide)
	_, err := w.H.Follow(t.Context())
	must(t, err)
	change, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, change.Tx.Put(catalog.User{Name: "eve"}))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
	if _, found, err := w.Rebuilt(w.Reopen(), "rebuilt.db").Catalog.User("eve"); err != nil || !found {
		t.Errorf("eve: %v, %v: if she is refused now, say so in docs/security.md", found, err)
	}
}

// TestMailThatLooksLikeAVault delivers what a sender could have made to be taken
// for something else: the vault's own objects, recipes, rows, huge sizes. It
// comes back byte by byte, and nothing else has changed.
func TestMailThatLooksLikeAVault(t *testing.T) {
	w := world.New(t)
	w.Deliver("ann", "INBOX", w.Message("first"))
	w.Backup()
	reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{})
	must(t, err)
	first := w.List(catalog.Query{})[0]
	recipe := chunk.Ref{Kind: chunk.KindMessage, ID: first.Content}
	var payloads [][]byte
	for _, name := range objectNames(t, w) {
		b, err := os.ReadFile(name)
		must(t, err)
		payloads = append(payloads, b)
		if r, err := age.Decrypt(bytes.NewReader(b), w.Identity.Key()); err == nil {
			plain, err := io.ReadAll(r)
			must(t, err)
			payloads = append(payloads, plain, frames(plain))
		}
	}
	at, found, err := w.H.Catalog.Locate(recipe)
	must(t, err)
	if !found {
		t.Fatal("the first message has no place")
	}
	own, err := w.H.Chunks(reader).Chunk(t.Context(), at, recipe, nil)
	must(t, err)
	payloads = append(payloads, bytes.Clone(own),
		[]byte("\x01\x80\x80\x80\x80\x04\x01\x81\x80\x80\x80\x10"+strings.Repeat("\x00", 32)), // a recipe of a gigabyte
		[]byte("\x28\xb5\x2f\xfd\xa0\xff\xff\xff\x7f"+strings.Repeat("\x00", 64)),             // zstd that claims two gigabytes
		[]byte(`{"delete":"user","row":{"name":"ann"}}`+"\n"+`{"put":"user","row":{"name":"eve"}}`+"\n"),
		[]byte("salvor pack 1 "+w.H.Vault.ID()+"\nfooter 000000000099 99999999999\n"),
		[]byte("\x00\xff\xfe\r\n\r\r\n\x00"))
	want := map[chunk.ID]string{first.Stored: w.Message("first")}
	deliver := func(text string) {
		want[chunk.Sum([]byte(text))] = text
		w.Deliver("ann", "INBOX", text)
	}
	for i, p := range payloads {
		deliver("Subject: raw\n\n" + string(p))
		deliver(string(p) + "x") // no header at all
		lines := base64.StdEncoding.EncodeToString(p)
		deliver(fmt.Sprintf("Subject: %d\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/octet-stream\n"+
			"Content-Transfer-Encoding: base64\n\n%s\n--b--\n", i, lines))
		header := strings.NewReplacer("\n", "\n ", "\x00", "\x00").Replace(string(p[:min(len(p), 2000)]))
		deliver("Subject: " + header + "\"}\n {\"delete\":\"user\"}\nMessage-ID: <" + header + ">\nFrom: " + header + "\n\ntext\n")
	}
	w.Night()
	w.H.Catalog = w.Rebuilt(w.Reopen(), "rebuilt.db").Catalog
	seen := 0
	for _, e := range w.List(catalog.Query{}) {
		b, err := restore.Message(t.Context(), w.H.Catalog, w.H.Chunks(reader), &e)
		if err != nil {
			t.Errorf("uid %d: %v", e.UID, err)
			continue
		}
		if text, ok := want[chunk.Sum(b)]; !ok || text != string(b) {
			t.Errorf("uid %d: other bytes came back", e.UID)
		}
		seen++
	}
	if seen < 4*len(payloads) {
		t.Errorf("%d messages came back", seen)
	}
	if _, found, err := w.H.Catalog.User("eve"); err != nil || found {
		t.Errorf("eve: %v, %v", found, err)
	}
	checkClean(t, w)
}

// TestCatalogHoldsNoText: who reads the backup host's catalog and key learns
// who had which message, and cannot read one.
func TestCatalogHoldsNoText(t *testing.T) {
	w := world.New(t)
	w.Deliver("ann", "INBOX", "From: ann@example.org\nSubject: ZYXSUBJECT\n\nZYXTEXT\n")
	w.Backup()
	var all []byte
	for _, name := range []string{w.Catalog, w.Catalog + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if !bytes.Contains(all, []byte("ZYXSUBJECT")) || bytes.Contains(all, []byte("ZYXTEXT")) {
		t.Error("the catalog should hold subjects and no texts")
	}
	reader, err := w.H.Vault.NewReader([]age.Identity{w.H.Host.Metadata()}, vault.ReaderOptions{})
	must(t, err)
	e := w.List(catalog.Query{})[0]
	if _, err := restore.Message(t.Context(), w.H.Catalog, w.H.Chunks(reader), &e); !errors.Is(err, vault.ErrNoIdentity) {
		t.Errorf("the host's key reads mail: %v", err)
	}
}
