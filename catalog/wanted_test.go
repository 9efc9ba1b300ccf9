package catalog

import (
	"testing"

	"salvor/chunk"
)

func TestWanted(t *testing.T) {
	c := newCatalog(t)
	tx := begin(t, c)
	must(t, tx.Put(Pack{ID: testID("pack"), Size: 500, Commit: 1}, User{Name: "amy", Source: "s"},
		Mailbox{ID: 1, User: "amy", Name: "INBOX"}))
	for i, name := range []string{"both", "none", "two"} {
		must(t, tx.Put(frame(testID("pack"), int64(1000*i), message(testID("%s", name)))))
		must(t, tx.Put(Content{ID: testID("%s", name), SHA1: chunk.SHA1{byte(i + 1)}, Size: int64(100 + i), Subject: name}))
	}
	must(t, tx.Put(
		Record{ID: 1, Mailbox: 1, Content: testID("both"), Stored: testID("stored"), StoredSize: 90, LineEnds: chunk.EndsLF, Key: "k1", ModSeq: 8},
		Record{ID: 2, Mailbox: 1, Content: testID("two"), Stored: testID("two"), StoredSize: 102}))
	commit(t, tx)
	for _, w := range []struct {
		name, content string
		record        int64
		stored        string
		size          int64
		key           string
	}{
		{"its record", "both", 1, "stored", 90, "k1"},
		{"no record named", "both", 0, "stored", 90, ""},
		{"a record of another content", "both", 2, "stored", 90, ""},
		{"a record that has expired", "none", 77, "none", 101, ""},
		{"no record at all", "none", 0, "none", 101, ""},
	} {
		t.Run(w.name, func(t *testing.T) {
			e, ok, err := c.Wanted(testID("%s", w.content), w.record)
			must(t, err)
			if !ok || e.Content != testID("%s", w.content) || e.Stored != testID("%s", w.stored) || e.StoredSize != w.size || e.Key != w.key {
				t.Errorf("%v %+v", ok, e)
			}
			if e.Subject != w.content || e.SHA1 == (chunk.SHA1{}) || e.Where.Pack != testID("pack") {
				t.Errorf("incomplete: %+v", e)
			}
		})
	}
	if _, ok, err := c.Wanted(testID("nowhere"), 1); ok || err != nil {
		t.Errorf("a content that is nowhere: %v, %v", ok, err)
	}
}
