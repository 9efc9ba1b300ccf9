package salvage

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"salvor/salvage/found"
)

// noKeeper takes everything and keeps nothing.
type noKeeper struct{ kept []string }

func (k *noKeeper) Keep(_ context.Context, f *found.Finding, content io.Reader) error {
	k.kept = append(k.kept, f.ID)
	_, err := io.Copy(io.Discard, content)
	return err
}
func (k *noKeeper) Sync(context.Context) error                                           { return nil }
func (k *noKeeper) Finish(context.Context, func(func(*found.Finding) error) error) error { return nil }

// Whoever sends mail can find two messages whose checksums begin alike.
func TestIDsAlike(t *testing.T) {
	n, err := openNotes(filepath.Join(t.TempDir(), notesFile))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	k := &noKeeper{}
	e := &engine{o: Options{Keeper: k}, notes: n, report: &Report{}}
	for _, end := range []string{"1", "2", "1", "3"} {
		m := &message{current: true, sized: true, begins: true, source: "disk"}
		for i := range m.id {
			m.id[i] = 7
		}
		m.id[31] = end[0]
		if _, err := e.take(t.Context(), m, func() (io.Reader, error) { return strings.NewReader(""), nil }); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	err = e.findings(t.Context(), func(f *found.Finding) error {
		ids = append(ids, f.ID)
		return nil
	})
	if want := "0707070707070707 0707070707070707-2 0707070707070707-3"; err != nil || strings.Join(ids, " ") != want || strings.Join(k.kept, " ") != want {
		t.Errorf("listed %v, kept %v: %v", ids, k.kept, err)
	}
}
