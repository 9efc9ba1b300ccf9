//go:build corpora

package index

import (
	"crypto/sha1"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestCorpora reads every cyrus.index below $SALVOR_CORPORA, which may hold
// anything that Cyrus ever wrote, and compares what it says with the message
// files beside it. It is built with -tags corpora only:
//
//	SALVOR_CORPORA=/path/to/spools go test -tags corpora -run Corpora -v ./internal/mailstore/cyrus/index
func TestCorpora(t *testing.T) {
	indexes, messages := 0, 0
	err := filepath.WalkDir(os.Getenv("SALVOR_CORPORA"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cyrus.index" || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := Decode(b)
		if err != nil || len(f.Damage) > 0 {
			t.Errorf("%s: %v, damage %q", path, err, f.Damage)
			return nil
		}
		indexes++
		for i := range f.Len() {
			r := f.Record(i)
			body, err := os.ReadFile(filepath.Join(filepath.Dir(path), fmt.Sprintf("%d.", r.UID)))
			if err != nil {
				continue // removed, or kept elsewhere
			}
			messages++
			if uint64(len(body)) != r.Size || f.HasGUID() && r.GUID != sha1.Sum(body) {
				t.Errorf("%s: UID %d does not describe its file", path, r.UID)
			}
		}
		return nil
	})
	if err != nil || indexes == 0 {
		t.Fatalf("%d indexes, %v", indexes, err)
	}
	t.Logf("version and checksums of %d indexes, %d messages", indexes, messages)
}
