package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/dovecot"
)

// The password of a mail server is written nowhere: not in what commands print,
// whether the server takes it or not, and not in what they leave on the disk.
func TestIMAPPasswordIsNowhere(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}})
	s.Login("alice").Append("INBOX", "Subject: x\r\n\r\n", time.Time{})
	const wrong = "not-the-right-word"
	for word, code := range map[string]int{dovecot.Password: 0, wrong: 1} {
		w := newWorld(t)
		w.env = append(w.env, "SALVOR_IMAP_PASSWORD="+word)
		url := "imap://backup@" + s.Addr()
		for _, args := range [][]string{
			{"backup", "--create", "--verbose", url, "--user", "alice"}, {"backup", "--json", url, "--user", "alice"}, {"status"},
		} {
			var out bytes.Buffer
			cmd := w.command(args...)
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); exitOf(err) != code && args[0] == "backup" {
				t.Errorf("%q: exit code %d, want %d\n%s", args, exitOf(err), code, &out)
			}
			if strings.Contains(out.String(), word) {
				t.Errorf("%q prints the password: %s", args, &out)
			}
			if lines := strings.Count(strings.TrimSpace(out.String()), "\n"); code != 0 && args[0] == "backup" && lines > 1 {
				t.Errorf("%q: %d lines for a wrong password:\n%s", args, lines+1, &out)
			}
		}
		must(t, filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() == "identity.txt" || strings.HasSuffix(d.Name(), ".key") {
				return err // these say "secret" of themselves
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%s holds the password", path)
			}
			return err
		}))
	}
}
