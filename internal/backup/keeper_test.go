package backup

import (
	"bytes"
	"testing"

	"salvor/chunk"
)

// A worker may take a content for known that the keeper does not find: its pack
// is durable, so it is not pending any more, and its row comes later. Then the
// message must be cut after all; it once was stored without its recipe.
func TestContentThatIsKnownToNobodyIsCut(t *testing.T) {
	cutter, err := chunk.NewCutter(chunk.DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	stored := []byte("Subject: s\n\n" + string(bytes.Repeat([]byte("a line of text\n"), 100)))
	cut := cutter.CutUnless(stored, func(*chunk.Message) bool { return true })
	k := &keeper{split: func(c *chunk.Cutter, m *chunk.Message, all bool) ([]piece, error) {
		return make([]piece, len(m.Parts)), nil
	}}
	if err := k.store(cut, nil); err == nil {
		t.Error("a message without its recipe was stored")
	}
	m, pieces, err := k.cutAnyway(result{cut: cut, bench: &bench{cutter: cutter, stored: stored}})
	if err != nil || m.ID != cut.ID || len(pieces) != 1 {
		t.Fatalf("%v, %d pieces, %v", m, len(pieces), err)
	}
	lf, err := chunk.RebuildMessage(nil, m.ID, m.Recipe, func(chunk.PartRef) ([]byte, error) { return m.Parts[0].Data, nil })
	if err != nil || !bytes.Equal(lf, stored) {
		t.Errorf("%q, %v", lf, err)
	}
}
