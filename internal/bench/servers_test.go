package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailgen"
	"salvor/internal/testenv/daemon"
)

// Rounds with real servers, where doveadm stands for all clients.
func TestIMAPRounds(t *testing.T) {
	dir := daemon.Dir(t, "sb")
	s := &settings{dir: dir, rounds: 2, seed: 1}
	letters, c, err := s.mail(t.Context(), mailgen.Options{Root: filepath.Join(dir, "account"), Users: 1, Messages: 90})
	if err != nil {
		t.Fatal(err)
	}
	user, fresh := c.Users[0], 5
	stand := func(name string, imap bool) *client {
		d := doveadm(daemon.MailOwner(t), imap)
		d.name = name
		return d
	}
	for _, tt := range []struct {
		start   func(testing.TB) *server
		clients []*client
	}{
		{startDovecot, []*client{stand("salvor", false), stand("other", true)}},
		{startCyrus, nil},
	} {
		r, err := s.measureServer(t.Context(), t, tt.start, tt.clients, user, letters[user], fresh)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.messages) != 2 || r.messages[0] != 80 || r.messages[1] < 80 || r.messages[1] > 85 {
			t.Errorf("%s: messages %v", r.server, r.messages)
		}
		if len(tt.clients) == 0 {
			continue
		}
		var b strings.Builder
		r.write(&b)
		for _, want := range []string{"**Dovecot**, 80 messages", "- other: 2.3", "| measure | salvor | other | salvor / best that syncs | salvor / best | aim |", "\n| nothing changed | 0.", "| restore into an empty account, messages/s | - | - | - | - | above 1 |"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in\n%s", want, b.String())
			}
		}
	}
}

// The best of a row is the highest where more is better, and the one that syncs
// is told apart.
func TestRow(t *testing.T) {
	r := &imapResults{clients: []*client{{name: "salvor"}, {name: "a"}, {name: "b", volatile: true}}}
	values := map[string]float64{"salvor": 4, "a": 8, "b": 2}
	for aim, want := range map[string]string{"below 1": "| x | 4 | 8 | 2 | 0.50 | 2.00 | below 1 |\n", "above 1": "| x | 4 | 8 | 2 | 0.50 | 0.50 | above 1 |\n"} {
		var b strings.Builder
		r.row(&b, "x", aim, func(c *client) (string, float64) { return fmt.Sprint(values[c.name]), values[c.name] })
		if b.String() != want {
			t.Errorf("%s: %s", aim, b.String())
		}
	}
}

// A backup without some of the mail is no fast backup.
func TestShortBackupIsNoticed(t *testing.T) {
	s := &settings{dir: daemon.Dir(t, "sb"), rounds: 1, seed: 1}
	letters, c, err := s.mail(t.Context(), mailgen.Options{Root: filepath.Join(s.dir, "account"), Users: 1, Messages: 20})
	if err != nil {
		t.Fatal(err)
	}
	lazy := &client{name: "lazy", env: func(string) []string { return nil },
		prepare: func(string, *server, string) error { return nil },
		backup:  func(string, *server, string) []string { return []string{"true"} },
		held:    func(string, []string) (int, error) { return 17, nil }}
	_, err = s.measureServer(t.Context(), t, startDovecot, []*client{lazy}, c.Users[0], letters[c.Users[0]], 1)
	if err == nil || !strings.Contains(err.Error(), "lazy holds 17 messages, the account 19") {
		t.Errorf("got %v", err)
	}
}

// The Cyrus whose files were moved is still one that salvor would read.
func TestMakeSpool(t *testing.T) {
	s := &settings{dir: t.TempDir(), spoolUsers: 2, spoolMessages: 30, seed: 1}
	dir := filepath.Join(s.dir, "cyrus")
	n, err := s.makeSpool(t.Context(), dir)
	if err != nil || n != 30 {
		t.Fatalf("%d messages, %v", n, err)
	}
	files, _, err := size(filepath.Join(dir, "data"), func(path string) bool { return strings.HasSuffix(path, ".") })
	if err != nil || files != 30 {
		t.Errorf("%d files, %v", files, err)
	}
	conf, err := os.ReadFile(filepath.Join(dir, "etc/imapd.conf"))
	if err != nil || !strings.Contains(string(conf), "partition-default: "+dir+"/data/default") || strings.Contains(string(conf), "/dev/shm") {
		t.Errorf("%v\n%s", err, conf)
	}
}

func TestHarness(t *testing.T) {
	var done []string
	err := withServers(func(h testing.TB) error {
		h.Helper()
		h.Cleanup(func() { done = append(done, "first") })
		h.Cleanup(func() { done = append(done, "second") })
		h.Fatalf("no %s", "server")
		return nil
	})
	if err == nil || err.Error() != "no server" || strings.Join(done, " ") != "second first" {
		t.Errorf("%v, %q", err, done)
	}
	cause := errors.New("cause")
	if err := withServers(func(h testing.TB) error { return cause }); !errors.Is(err, cause) {
		t.Error(err)
	}
}

func TestSystemCalls(t *testing.T) {
	for text, want := range map[string]string{
		"% time\n------ ---\n100.00    0.001234           3       412        17 total\n": "412",
		"100.00    0.000000           0         9           total\n":                     "9",
		"strace: no such thing\n": "",
	} {
		got := ""
		if m := traced.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestReadsAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, make([]byte, 300000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := run(context.Background(), t.TempDir(), nil, []string{"cat", file})
	if err != nil || f.read < 300000 || f.read > 400000 || f.reads < 3 {
		t.Errorf("%+v, %v", f, err)
	}
}

// What mbsync is told: all mail with its dates, nothing removed anywhere.
func TestMbsync(t *testing.T) {
	for fsync, want := range map[bool]string{true: "FSync yes\n", false: "FSync no\n"} {
		home := t.TempDir()
		c := mbsync(fsync)
		if err := c.prepare(home, &server{port: 1143}, "u01"); err != nil {
			t.Fatal(err)
		}
		files := map[string][]string{
			"pull.conf": {want, "CopyArrivalDate yes\n", "\nPort 1143\n", "\nCreate Near\nSync Pull\nExpunge None\nSyncState " + home + "/pulled/\n"},
		}
		if c.restorer != nil {
			line, err := c.restorer(home, &server{port: 1144}, "u01")
			if err != nil || line[len(line)-2] != home+"/push.conf" {
				t.Fatal(line, err)
			}
			files["push.conf"] = []string{want, "\nPort 1144\n", "\nCreate Far\nSync Push\nExpunge None\nSyncState " + home + "/pushed/\n"}
		}
		for file, wants := range files {
			text, err := os.ReadFile(filepath.Join(home, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wants {
				if !strings.Contains(string(text), w) {
					t.Errorf("%s: no %q in\n%s", file, w, text)
				}
			}
		}
	}
}
