package salvage_test

import (
	"os"
	"path/filepath"
	"testing"

	"salvor/salvage/found"
)

// TestTreeWithEmptyFiles salvages a Maildir as Dovecot keeps it: an empty file marks
// each folder, and a repair leaves empty files where messages were.
func TestTreeWithEmptyFiles(t *testing.T) {
	one := letter("one", 3000)
	dir := t.TempDir()
	folder := filepath.Join(dir, "alice", "Maildir", ".Work")
	if err := os.MkdirAll(filepath.Join(folder, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]mail{"maildirfolder": "", "cur/1.M1.host,S=99:2,S": "", "cur/2.M2.host:2,S": one} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newDig(t, dir).run(t)
	if f := r.finds[one.stored()]; f.Class != found.Unknown || f.User != "alice" || f.Folder != "Work" || r.report.Candidates != 1 {
		t.Errorf("%+v, %+v", f, r.report)
	}
}
