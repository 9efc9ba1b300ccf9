package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/catalog"
)

// A directory holds a page for each user, whatever he is called, and an index.
func TestWriteDir(t *testing.T) {
	w := ledger(t)
	r := opened(t, w)
	c := &claimant{}
	for _, user := range []string{"index", "../../etc/passwd", "..", ".hidden", "-rf", "a/b", "a b", strings.Repeat("x", 250), "new\nline", "%2e%2e"} {
		c.claims(1, catalog.ClaimOwed, user, "INBOX", loss)
	}
	for i := range c.rows {
		claim := c.rows[i].(catalog.Claim)
		claim.ID += r.Incident.Claims
		c.rows[i] = claim
	}
	i := r.Incident
	i.Claims += int64(len(c.rows))
	put(t, w, append(c.rows, i)...)
	r = opened(t, w)
	for _, f := range []Format{Text, HTML, JSON} {
		dir := filepath.Join(t.TempDir(), "new", "out")
		for range 2 { // again, over what is there
			n, err := r.WriteDir(t.Context(), dir, f)
			if err != nil || n != 14 {
				t.Fatalf("%s: %d, %v", f, n, err)
			}
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != 15 {
			t.Errorf("%s: %v", f, entries)
		}
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if info.Mode() != 0o600 || strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "-") {
				t.Errorf("%s: %s %v", f, e.Name(), info.Mode())
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "index"+f.ending()))
		must(t, err)
		switch f {
		case JSON:
			var list []Entry
			must(t, json.Unmarshal(got, &list))
			for _, e := range list {
				page, err := os.ReadFile(filepath.Join(dir, e.File))
				var p Page
				if err != nil || json.Unmarshal(page, &p) != nil || p.User != e.User || p.Messages != e.Messages {
					t.Errorf("%+v: %v %s", e, err, page)
				}
			}
			if len(list) != 14 {
				t.Errorf("%+v", list)
			}
		case HTML:
			if bytes.Contains(got, []byte("<script>")) || !bytes.Contains(got, []byte(`<a href="./alice.html"><bdi>alice</bdi></a></td><td class="n">826</td>`)) {
				t.Errorf("%s", got)
			}
		case Text:
			if !bytes.Contains(got, []byte("alice\talice.txt\t826\t805\t14\t6\t1\n")) {
				t.Errorf("%s", got)
			}
		}
	}
}

// A file is there whole or not at all.
func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.csv")
	must(t, os.WriteFile(path, []byte("old"), 0o644))
	broken := errors.New("broken")
	if err := WriteFile(path, func(w io.Writer) error { io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, WriteFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }))
	info, err := os.Stat(path)
	if got, rerr := os.ReadFile(path); err != nil || rerr != nil || string(got) != "new" || info.Mode() != 0o600 {
		t.Errorf("%q, %v, %v", got, info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if err := WriteFile(path+"/", func(io.Writer) error { return nil }); err == nil {
		t.Error("a directory was written")
	}
}
