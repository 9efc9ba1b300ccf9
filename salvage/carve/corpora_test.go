package carve

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpora reads the real mail in the folder that SALVOR_CORPORA names, one message
// a file; without the variable there is none.
func corpora(t *testing.T, yield func(set, name string, mail []byte)) {
	t.Helper()
	root := os.Getenv("SALVOR_CORPORA")
	if root == "" {
		return
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		set, _, _ := strings.Cut(rel, string(filepath.Separator))
		if err == nil && len(b) > 0 {
			yield(set, rel, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withoutSeparator is the message as a store has it: the sets come from mboxes.
func withoutSeparator(b []byte) []byte {
	if line, rest, ok := bytes.Cut(b, []byte("\n")); ok && bytes.HasPrefix(line, []byte("From ")) {
		return rest
	}
	return b
}

// TestCheckRealMail counts the verdicts on real mail.
func TestCheckRealMail(t *testing.T) {
	verdicts := map[string]map[string]int{}
	sets := map[string]int{}
	corpora(t, func(set, name string, mail []byte) {
		mail = withoutSeparator(mail)
		s := check(t, mail)
		if verdicts[set] == nil {
			verdicts[set] = map[string]int{}
		}
		sets[set]++
		why := string(s.Verdict)
		if s.Verdict != Whole {
			why += ": " + strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return -1
				}
				return r
			}, s.Why)
			if set != "mime-torture" && s.Verdict != Plausible {
				t.Logf("%s: %s %s", name, s.Verdict, s.Why)
			}
		}
		verdicts[set][why]++
		if sg, ok := Head(mail[:min(len(mail), 4096)]); !ok {
			verdicts[set]["NO HEAD"]++
			if set != "mime-torture" {
				t.Logf("%s: no head: %.300q", name, mail)
			}
		} else if sg.Score < 4 {
			verdicts[set]["weak head"]++
		}
	})
	for set, v := range verdicts {
		for why, n := range v {
			t.Logf("%-16s %6d %6.2f %% %s", set, n, 100*float64(n)/float64(sets[set]), why)
		}
	}
}
