package upkeep_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"salvor/catalog"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// secondCopy makes a plain copy of the world's vault as it is, file by file.
func secondCopy(t *testing.T, w *world.World) (*vault.Vault, string) {
	t.Helper()
	root := filepath.Join(w.Dir, "second")
	must(t, os.CopyFS(root, os.DirFS(w.VaultDir)))
	return w.OpenAt(root), root
}

func glob(t *testing.T, root, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	must(t, err)
	return found
}

func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

// What is damaged or missing comes from a second copy, without an identity; the
// damaged bytes are kept, and packs that were marked count again.
func TestHealFromASecondCopy(t *testing.T) {
	w := world.New(t)
	for range 4 {
		w.Fill("ann", "INBOX", 3)
		w.Night()
	}
	second, root := secondCopy(t, w)
	packs, journals := glob(t, w.VaultDir, "packs/*/*"), glob(t, w.VaultDir, "journals/*")
	spoil(t, packs[0])
	must(t, os.Truncate(packs[1], 10))
	must(t, os.Remove(packs[2]))

	// A check notes it; the copy has one of them only damaged as well.
	spoil(t, filepath.Join(root, "packs", filepath.Base(filepath.Dir(packs[0])), filepath.Base(packs[0])))
	_, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true})
	must(t, err)
	if n := marked(t, w); n != 3 {
		t.Fatalf("%d packs are marked", n)
	}
	spoil(t, journals[0])
	r, err := upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{ReadData: true, Second: second})
	must(t, err)
	if len(r.Damaged) != 4 || len(r.Repaired) != 3 || len(r.Lost) != 0 {
		t.Errorf("%+v", r)
	}
	if n := marked(t, w); n != 1 {
		t.Errorf("%d packs are marked", n)
	}
	if aside := glob(t, w.VaultDir, "damaged/*/*"); len(aside) != 2 { // of a pack (in a directory) and of the journal
		t.Errorf("put aside: %v", aside)
	}

	// Put right by hand, or by a copy that has it: without --read-data as well.
	spoil(t, packs[0])
	r, err = upkeep.Check(t.Context(), w.H, upkeep.CheckOptions{Second: second})
	must(t, err)
	if len(r.Damaged) != 0 || marked(t, w) != 0 {
		t.Errorf("%+v, %d packs are marked", r, marked(t, w))
	}
	checkClean(t, w)
	if got := dump(t, w.H.Catalog); got != dump(t, w.Rebuilt(w.H.Vault, "rebuilt.db").Catalog) {
		t.Error("the rebuilt catalog is another")
	}
}

func marked(t *testing.T, w *world.World) (n int) {
	t.Helper()
	must(t, w.H.Catalog.Packs(t.Context(), func(p *catalog.PackUse) error {
		if p.Damaged != "" {
			n++
		}
		return nil
	}))
	return n
}

// A chain that is damaged inside is mended where the other's commits fit; its
// end is not, for that would hide a rollback.
func TestMendChain(t *testing.T) {
	w := world.New(t)
	for range 4 {
		w.Fill("ann", "INBOX", 1)
		w.Night()
	}
	second, _ := secondCopy(t, w)
	commits := glob(t, w.VaultDir, "commits/*")
	spoil(t, commits[0])
	must(t, os.Remove(commits[1]))
	must(t, os.Remove(commits[3]))
	v := w.OpenAt(w.VaultDir)
	mended, err := v.MendChain(t.Context(), second)
	must(t, err)
	if want := []string{"commits/00000000000000000001", "commits/00000000000000000002"}; !slices.Equal(mended, want) {
		t.Errorf("mended %v", mended)
	}
	head, err := v.Head(t.Context())
	must(t, err)
	if head.Number != 3 {
		t.Errorf("the chain ends with %d", head.Number)
	}
	must(t, v.Commits(t.Context(), vault.Head{}, func(*vault.Commit) error { return nil }))
	again, err := v.MendChain(t.Context(), second)
	if len(again) > 0 || err != nil {
		t.Errorf("mended again: %v, %v", again, err)
	}
}
