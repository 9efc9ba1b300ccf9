package chunk

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sampleMails gives the messages in testdata by name.
func sampleMails(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no messages in testdata, %v", err)
	}
	mails := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		mails[name] = b
	}
	return mails
}

// describe writes a Message for people to read and for tests to compare. The
// recipe's head is all of it but the skeleton.
func describe(t *testing.T, m *Message) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "id     %s\nsha1   %s\nsize   %d\nstored %s\nends   %q\n", m.ID, m.SHA1, m.Size, m.Stored, m.LineEnds)
	r, err := ParseRecipe(m.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	head := m.Recipe[:len(m.Recipe)-len(r.skeleton)]
	b.WriteString("recipe's head:\n")
	for ; len(head) > 32; head = head[32:] {
		fmt.Fprintf(&b, "       %x\n", head[:32])
	}
	fmt.Fprintf(&b, "       %x\n", head)
	fmt.Fprintf(&b, "which says: %d bytes in LF form, skeleton of %d\n", r.size, len(r.skeleton))
	for _, s := range r.segments {
		switch s.kind {
		case segmentSkeleton:
			fmt.Fprintf(&b, "  skeleton %d\n", s.size)
		case segmentRaw:
			fmt.Fprintf(&b, "  raw      %d %s\n", s.size, s.id)
		case segmentBase64:
			fmt.Fprintf(&b, "  base64   %d %s in lines of %d\n", s.size, s.id, s.width)
		}
	}
	return b.String()
}

// Recipes of today are what vaults of today hold. A change here means that
// vaults get new recipes for old mail; that old recipes still rebuild it, the
// test below shows.
func TestRecipesAreWhatTheyAlwaysWere(t *testing.T) {
	p := DefaultParams()
	p.Inline = minInline
	c, err := NewCutter(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, mail := range sampleMails(t) {
		m := c.Cut(mail)
		checkMessage(t, m, mail)
		golden := strings.TrimSuffix(name, ".eml") + ".golden"
		got := describe(t, m)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(strings.TrimSuffix(name, ".eml")+".recipe", m.Recipe, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: cut into\n%s\nwant\n%s", name, got, want)
		}
	}
}

// Recipes that any version wrote rebuild their messages with this one.
func TestStoredRecipesRebuild(t *testing.T) {
	for name, mail := range sampleMails(t) {
		recipe, err := os.ReadFile(strings.TrimSuffix(name, ".eml") + ".recipe")
		if err != nil {
			t.Fatal(err)
		}
		m := newCutter(t).Cut(mail)
		parts := everyPart(t, mail)
		lf, err := RebuildMessage(nil, m.ID, recipe, func(ref PartRef) ([]byte, error) {
			if data, ok := parts[ref.ID]; ok {
				return data, nil
			}
			return nil, fmt.Errorf("no part %s", ref.ID)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := m.LineEnds.Restore(nil, lf); err != nil || !bytes.Equal(got, mail) {
			t.Errorf("%s: restored %d bytes of %d, %v", name, len(got), len(mail), err)
		}
	}
}

func everyPart(t *testing.T, mail []byte) map[ID][]byte {
	p := DefaultParams()
	p.Inline = minInline
	c, err := NewCutter(p)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[ID][]byte{}
	for _, part := range c.Cut(mail).Parts {
		parts[part.ID] = part.Data
	}
	return parts
}
