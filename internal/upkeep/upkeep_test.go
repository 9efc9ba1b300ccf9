package upkeep_test

import (
	"bytes"
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
	"salvor/internal/objstore"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// everything decrypts and decompresses all that the vault holds, and adds the
// catalog's files: whatever is not in there is gone.
func everything(t testing.TB, w *world.World) []byte {
	t.Helper()
	var all bytes.Buffer
	must(t, w.Store.List(t.Context(), "", func(i objstore.Info) error {
		raw, err := w.Store.Get(t.Context(), i.Name, 0, -1)
		must(t, err)
		all.WriteString(i.Name)
		all.Write(raw)
		if r, err := age.Decrypt(bytes.NewReader(raw), w.Identity.Key()); err == nil {
			plain, err := io.ReadAll(r)
			must(t, err)
			all.Write(plain)
			all.Write(frames(plain))
		}
		return nil
	}))
	for _, name := range []string{w.Catalog, w.Catalog + "-wal"} {
		if b, err := os.ReadFile(name); err == nil {
			all.Write(b)
		}
	}
	return all.Bytes()
}

// frames decompresses every zstd stream that begins anywhere in b.
func frames(b []byte) (out []byte) {
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil
	}
	defer d.Close()
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for i := bytes.Index(b, magic); i >= 0; {
		if err := d.Reset(bytes.NewReader(b[i:])); err == nil {
			plain, _ := io.ReadAll(d) // what follows the stream is another frame
			out = append(out, plain...)
		}
		next := bytes.Index(b[i+1:], magic)
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return out
}

func TestJunkIsNowhere(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Deliver("ann", "INBOX", w.Message("welcome"))
	for _, folder := range []string{"Junk", "Spam/2024", "Bulk Mail", "Junk E-mail"} {
		w.Deliver("ann", folder, w.Message("ZYXPILLS"))
	}
	w.Backup()
	w.Night()
	all := everything(t, w)
	if !bytes.Contains(all, []byte("welcome")) {
		t.Fatal("the search finds nothing at all")
	}
	if bytes.Contains(all, []byte("ZYXPILLS")) {
		t.Error("junk mail is in the vault or in the catalog")
	}
}

// After its time, a message is in no object and in no page of the catalog, not
// even in the journals, and its neighbours are all still there.
func TestExpiredContentIsNowhere(t *testing.T) {
	w := world.New(t)
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	w.Policy.Erase = time.Hour
	doomed := w.Deliver("ann", "INBOX", w.Message("ZYXSECRET"))
	w.Fill("ann", "INBOX", 60)
	w.Fill("bob", "INBOX", 20)
	w.Backup()
	w.Remove(doomed)
	for range 9 {
		w.Night()
	}
	if !bytes.Contains(everything(t, w), []byte("ZYXSECRET")) {
		t.Fatal("the search finds nothing")
	}
	o := w.PruneOptions()
	o.RewriteDead, o.RewriteAge, o.CheckpointEvery = 1e-9, time.Nanosecond, time.Nanosecond
	for range 3 {
		_, err := upkeep.Prune(t.Context(), w.H, o)
		must(t, err)
		w.Sleep(2 * time.Hour)
	}
	if bytes.Contains(everything(t, w), []byte("ZYXSECRET")) {
		t.Error("expired mail is still in the vault or in the catalog")
	}
	if got := len(w.List(catalog.Query{})); got != 80 {
		t.Errorf("%d live messages, want 80", got)
	}
	checkClean(t, w)
}

func checkClean(t *testing.T, w *world.World) {
	t.Helper()
	reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{})
	must(t, err)
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Reader: reader})
	must(t, err)
	if len(r.Damaged) != 0 {
		t.Errorf("check: %+v", r.Damaged)
	}
}

func dump(t *testing.T, c *catalog.Catalog) string {
	t.Helper()
	var b strings.Builder
	must(t, c.Dump(t.Context(), func(line []byte) error { b.Write(line); return nil }))
	return b.String()
}

// lively goes through some weeks of ordinary life.
func lively(t *testing.T, w *world.World) {
	t.Helper()
	w.Policy.Erase = time.Hour
	var paths []string
	for i := range 12 {
		paths = append(paths, w.Fill("ann", "INBOX", 3)...)
		w.Fill("bob", fmt.Sprintf("Work/%d", i), 1)
		if i%2 == 1 {
			w.Remove(paths[0], paths[1])
			must(t, os.Rename(paths[2], paths[2]+"S"))
			paths = paths[3:]
		}
		w.Night()
		if i%3 == 2 {
			w.Prune()
		}
	}
}

// A catalog rebuilt from the vault alone, with or without checkpoints in
// between, is the lost one, row by row.
func TestRebuiltCatalogIsTheLostOne(t *testing.T) {
	w := world.New(t)
	lively(t, w)
	want := dump(t, w.H.Catalog)
	c, err := catalog.Open(filepath.Join(w.Dir, "rebuilt.db"), catalog.Options{})
	must(t, err)
	defer c.Close()
	h := *w.H
	h.Catalog, h.Host = c, nil
	if n, err := h.Follow(t.Context()); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if got := dump(t, c); got != want {
		t.Errorf("the rebuilt catalog differs: %d bytes, want %d", len(got), len(want))
	}
}

// A catalog restored from last week, after prunes and checkpoints of this
// week, takes the next backup as if nothing had been.
func TestCatalogOfLastWeek(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = time.Minute
	w.Fill("ann", "INBOX", 40)
	w.Backup()
	must(t, w.H.Catalog.Close())
	old, err := os.ReadFile(w.Catalog)
	must(t, err)
	w.H.Catalog, err = catalog.Open(w.Catalog, catalog.Options{})
	must(t, err)
	lively(t, w)
	want := dump(t, w.H.Catalog)
	must(t, w.H.Catalog.Close())
	must(t, os.WriteFile(w.Catalog, old, 0o600))
	w.H.Catalog, err = catalog.Open(w.Catalog, catalog.Options{})
	must(t, err)
	_, err = w.H.Follow(t.Context())
	must(t, err)
	if dump(t, w.H.Catalog) != want {
		t.Error("the old catalog did not catch up")
	}
	w.Deliver("ann", "INBOX", w.Message("after"))
	if r := w.Night(); r.Messages.New != 1 || !r.Clean() {
		t.Errorf("%+v", r)
	}
	checkClean(t, w)
}

// A prune on another host is followed by a correct backup on the first.
func TestPruneOnAnotherHost(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = time.Minute
	paths := w.Fill("ann", "INBOX", 30)
	doomed := w.Message("doomed")
	paths = append(paths, w.Deliver("ann", "INBOX", doomed))
	w.Backup()
	w.Remove(paths[30])
	for range 9 {
		w.Night()
	}
	first := w.H
	w.H = w.Join(w.Reopen(), filepath.Join(w.Dir, "other.db"), "other")
	for range 2 {
		w.Prune()
		w.Sleep(time.Hour)
	}
	w.H = first
	w.Deliver("ann", "INBOX", doomed)
	if r := w.Night(); r.Messages.New != 1 || r.Bytes.New == 0 {
		t.Errorf("expired content came back and was taken for known: %+v", r)
	}
	checkClean(t, w)
}

// Forgetting one user takes everything of this user and nothing of others.
func TestForget(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 10)
	w.Deliver("ann", "INBOX", w.Message("ZYXANN"))
	shared := w.Message("shared")
	w.Deliver("ann", "INBOX", shared)
	w.Deliver("bob", "INBOX", shared)
	w.Backup()
	r, err := upkeep.Forget(t.Context(), w.H, "ann", w.PruneOptions())
	must(t, err)
	if r.Records != 12 || r.Erased == 0 || r.NeedIdentity {
		t.Errorf("%+v", r)
	}
	if bytes.Contains(everything(t, w), []byte("ZYXANN")) {
		t.Error("the forgotten user's mail is still there")
	}
	if got := len(w.List(catalog.Query{})); got != 1 {
		t.Errorf("%d messages left, want bob's", got)
	}
	checkClean(t, w)
	if _, err := upkeep.Forget(t.Context(), w.H, "nobody", w.PruneOptions()); !errors.Is(err, upkeep.ErrNoUser) {
		t.Errorf("forget nobody: %v", err)
	}
}

// A user whose mail stands in many packs beside that of others is erased at once
// all the same, a bounded part in each commit; a nightly prune leaves the rest to
// the next one, and says so.
func TestForgetInManyPacks(t *testing.T) {
	for _, forget := range []bool{true, false} {
		w := world.New(t)
		var anns []string
		for range 5 {
			anns = append(anns, w.Deliver("ann", "INBOX", w.Message(fmt.Sprintf("ZYXANN%d", len(anns)))))
			w.Fill("bob", "INBOX", 3)
			w.Backup()
		}
		o := w.PruneOptions()
		o.RewriteBytes, o.RewriteDead = 1, 1e-9
		if forget {
			r, err := upkeep.Forget(t.Context(), w.H, "ann", o)
			must(t, err)
			if r.Remaining != 0 || r.NeedIdentity || len(r.Remains) != 5 {
				t.Errorf("%+v", r)
			}
		} else {
			w.Remove(anns...)
			w.Night()
			w.Night()
			w.Sleep(10 * 24 * time.Hour)
			for left := 4; left >= 0; left-- {
				r, err := upkeep.Prune(t.Context(), w.H, o)
				must(t, err)
				if r.Postponed != left || r.Rewritten != 1 {
					t.Errorf("%d packs postponed, %d rewritten; want %d and 1", r.Postponed, r.Rewritten, left)
				}
			}
			w.Sleep(25 * time.Hour)
			o.CheckpointEvery = -1
			for range 2 {
				_, err := upkeep.Prune(t.Context(), w.H, o)
				must(t, err)
				w.Sleep(25 * time.Hour)
			}
		}
		if bytes.Contains(everything(t, w), []byte("ZYXANN")) {
			t.Errorf("mail of ann's is still there (forget: %v)", forget)
		}
		checkClean(t, w)
	}
}

// Without an identity, forgetting says where the rest lies.
func TestForgetWithoutIdentity(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Fill("bob", "INBOX", 3)
	w.Backup()
	o := w.PruneOptions()
	o.Reader = nil
	r, err := upkeep.Forget(t.Context(), w.H, "ann", o)
	must(t, err)
	if !r.NeedIdentity || r.Remaining == 0 || r.Remains[0].Bytes != r.Remaining || !strings.Contains(r.Remains[0].When, "identity") {
		t.Errorf("%+v", r)
	}
}

// A flipped bit is found, and the messages in that object are named.
func TestCheckNamesWhatIsDamaged(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	w.Backup()
	packs, err := filepath.Glob(filepath.Join(w.VaultDir, "packs", "*", "*"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	whole, err := os.ReadFile(packs[0])
	must(t, err)
	for _, c := range []struct {
		name   string
		damage func() error
	}{
		{"a flipped bit", func() error {
			b := bytes.Clone(whole)
			b[len(b)/2] ^= 4
			return os.WriteFile(packs[0], b, 0o600)
		}},
		{"cut short", func() error { return os.WriteFile(packs[0], whole[:len(whole)/2], 0o600) }},
		{"missing", func() error { return os.Remove(packs[0]) }},
	} {
		must(t, c.damage())
		for _, keys := range [][]age.Identity{w.H.Keys, nil} {
			o := upkeep.CheckOptions{ReadData: true}
			if keys != nil {
				o.Reader, err = w.H.Vault.NewReader(keys, vault.ReaderOptions{})
				must(t, err)
			}
			r, err := upkeep.Check(t.Context(), w.H, o)
			must(t, err)
			if len(r.Damaged) != 1 || r.Damaged[0].Affected != 5 || r.Damaged[0].Messages[0].User != "ann" {
				t.Errorf("%s: %+v", c.name, r.Damaged)
			}
			if absent := c.name != "a flipped bit"; (len(r.Lost) == 1) != absent {
				t.Errorf("%s: lost %+v", c.name, r.Lost)
			}
		}
	}
}

// The catalog follows what was committed just before a kill.
func TestKillBetweenCommitAndCatalog(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	w.Backup()
	w.Deliver("ann", "INBOX", w.Message("late"))
	must(t, w.H.Catalog.Close())
	before, err := os.ReadFile(w.Catalog)
	must(t, err)
	w.H.Catalog, err = catalog.Open(w.Catalog, catalog.Options{})
	must(t, err)
	w.Night()
	must(t, w.H.Catalog.Close())
	must(t, os.WriteFile(w.Catalog, before, 0o600))
	w.H.Catalog, err = catalog.Open(w.Catalog, catalog.Options{})
	must(t, err)
	if r := w.Night(); r.Messages.New != 0 || r.Messages.Seen != 6 {
		t.Errorf("%+v", r)
	}
}

// What a check found damaged, the next backup stores anew from the source.
func TestBackupHealsFromTheSource(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	long := strings.Repeat("a long line of text that many parts are made of\n", 8000)
	w.Deliver("ann", "INBOX", w.Message("long")+long)
	w.Backup()
	packs, err := filepath.Glob(filepath.Join(w.VaultDir, "packs", "*", "*"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	b, err := os.ReadFile(packs[0])
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(packs[0], b, 0o600))
	check := func() *upkeep.CheckReport {
		reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{})
		must(t, err)
		r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Reader: reader})
		must(t, err)
		return r
	}
	if r := check(); len(r.Damaged) != 1 || r.Damaged[0].Affected != 6 {
		t.Fatalf("%+v", r)
	}
	s, err := upkeep.ReadStatus(t.Context(), w.H.Catalog, upkeep.StatusOptions{Now: w.Now})
	must(t, err)
	if !strings.Contains(strings.Join(s.Attention, "\n"), "is damaged") {
		t.Errorf("status does not tell of the damage: %q", s.Attention)
	}
	if r := w.Night(); r.Messages.New != 0 || r.Bytes.Stored == 0 || r.Messages.Gone != 0 {
		t.Fatalf("%+v", r)
	}
	for _, d := range check().Damaged {
		if d.Affected != 0 {
			t.Errorf("still affected: %+v", d)
		}
	}
	if got := len(w.List(catalog.Query{})); got != 6 {
		t.Errorf("%d records", got)
	}
	if r := w.Night(); r.Bytes.Stored != 0 {
		t.Errorf("healed twice: %+v", r)
	}
}

// Objects that no commit names are erased once they are a day old, and no
// sooner: they may belong to a run that goes on.
func TestStrays(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 2)
	w.Backup()
	for i, age := range []time.Duration{time.Hour, 48 * time.Hour} {
		body := []byte{byte(i)}
		name := vault.Object{Kind: vault.ObjectPack, ID: chunk.Sum(body)}.Name()
		must(t, w.Store.Put(t.Context(), name, body))
		at := time.Now().Add(-age)
		must(t, os.Chtimes(filepath.Join(w.VaultDir, filepath.FromSlash(name)), at, at))
	}
	if p := w.Prune(); p.Strays != 1 || p.Erased != 1 {
		t.Errorf("%+v", p)
	}
	checkClean(t, w)
}

// A damaged journal is replaced by a checkpoint while the catalog still knows
// what stood in it, so that a lost catalog can be rebuilt.
func TestDamagedJournalIsReplaced(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Backup()
	w.Fill("ann", "INBOX", 3)
	w.Night()
	journals, err := filepath.Glob(filepath.Join(w.VaultDir, "journals", "*"))
	if err != nil || len(journals) != 2 {
		t.Fatal(journals, err)
	}
	b, err := os.ReadFile(journals[0])
	must(t, err)
	b[len(b)-5] ^= 1
	must(t, os.WriteFile(journals[0], b, 0o600))
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true})
	must(t, err)
	if len(r.Damaged) != 1 {
		t.Fatalf("%+v", r)
	}
	checkClean(t, w)
	c, err := catalog.Open(filepath.Join(w.Dir, "rebuilt.db"), catalog.Options{})
	must(t, err)
	defer c.Close()
	h := *w.H
	h.Catalog, h.Host = c, nil
	if _, err := h.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dump(t, c) != dump(t, w.H.Catalog) {
		t.Error("the rebuilt catalog differs")
	}
}
