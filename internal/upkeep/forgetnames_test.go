package upkeep_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"salvor/catalog"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// TestForgottenUserIsNowhere: not even the name, in no remark of a run, no
// verdict and nothing that a repair has put aside. Others keep theirs.
func TestForgottenUserIsNowhere(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("zyxann", "INBOX", 60)
	w.Fill("zyxann", "zyxfolder", 5)
	w.Fill("zyxanna", "INBOX", 3)
	w.Backup()
	must(t, os.Symlink("/nowhere", filepath.Join(w.Mail, "zyxann", ".zyxfolder", "cur", "1.zyxlink:2,")))
	must(t, os.Symlink("/nowhere", filepath.Join(w.Mail, "zyxanna", "cur", "1.link:2,")))
	w.Remove(paths...)
	r := w.Night()
	if len(r.HeldByBrake) != 1 || len(r.Problems) < 2 {
		t.Fatalf("%+v", r)
	}
	must(t, upkeep.Ack(t.Context(), w.H, []string{"zyxann is away"}, "me", "host", w.Now))

	// A damaged pack that was repaired, and what it was like.
	packs, err := filepath.Glob(filepath.Join(w.VaultDir, "packs", "*", "*"))
	must(t, err)
	good, err := os.ReadFile(packs[0])
	must(t, err)
	must(t, os.WriteFile(packs[0], append([]byte("ZYXDAMAGE"), good[9:]...), 0o600))
	var object vault.Object
	must(t, w.H.Vault.Commits(t.Context(), vault.Head{}, func(c *vault.Commit) error {
		for _, o := range c.Packs {
			if filepath.Base(packs[0]) == o.ID.String() {
				object = o
			}
		}
		return nil
	}))
	must(t, w.H.Vault.Place(t.Context(), object, good))
	if all := everything(t, w); !bytes.Contains(all, []byte("ZYXDAMAGE")) || !bytes.Contains(all, []byte("zyxlink")) {
		t.Fatal("the search finds nothing")
	}

	must(t, os.RemoveAll(filepath.Join(w.Mail, "zyxann")))
	_, err = upkeep.Forget(t.Context(), w.H, "zyxann", w.PruneOptions())
	must(t, err)
	all := everything(t, w)
	for _, word := range []string{`"zyxann"`, "zyxlink", "zyxfolder", "zyxann is away", "ZYXDAMAGE", "zyxann-INBOX"} {
		if at := bytes.Index(all, []byte(word)); at >= 0 {
			t.Errorf("%s is still there: %q", word, all[max(0, at-60):min(len(all), at+60)])
		}
	}
	if got := len(w.List(catalog.Query{User: "zyxanna"})); got != 3 {
		t.Errorf("the other user has %d messages", got)
	}
	if !bytes.Contains(all, []byte("1.link")) {
		t.Error("the other user's remark is gone")
	}
	checkClean(t, w)
}
