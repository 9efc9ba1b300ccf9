package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/backup"
	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
)

// A whole Cyrus comes back on another one with UIDs, flags and dates, however
// often the restore is killed on its way, and nothing is there twice.
func TestWholeCyrusComesBack(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	old, fresh := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles}), cyrus.Start(t, cyrus.Options{Layout: cyrus.Legacy})
	var users []string
	for i := range 4 {
		users = append(users, fmt.Sprint("user", i))
		old.AddUser(users[i])
		c := old.Login(users[i])
		conformance.Seed(c)
		for n := range 50 * i {
			c.Append("Work", fmt.Sprintf("Subject: %d\r\n\r\n", n), time.Time{})
		}
		c.Close()
	}
	w := newWorld(t).withPassword()
	w.run("backup", "--create", "cyrus:"+old.ConfigFile())
	to := "imap://admin@" + fresh.Addr()
	kills := 0
	for range 6 {
		if w.killed(time.Duration(50+random.IntN(400))*time.Millisecond, "restore", "--all", "--to", to) {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	w.run("restore", "--all", "--to", to)
	view := conformance.View{UIDs: true, Subscriptions: true, SpecialUse: true}
	for _, u := range users {
		if diff := conformance.Diff(conformance.Account(fresh.Login(u), view), conformance.Account(old.Login(u), view)); diff != "" {
			t.Errorf("%s:\n%s", u, diff)
		}
	}
}

// Whatever the disk of a Cyrus loses is named every night, keeps its good copy
// and comes back from it; no user deleted it.
func TestCyrusLosesFiles(t *testing.T) {
	s := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.AddUser("alice")
	c := s.Login("alice")
	conformance.Seed(c)
	for _, source := range []string{"cyrus:" + s.ConfigFile(), "imap://admin@" + s.Addr()} {
		w := newWorld(t).withPassword()
		nightly := func(wantCode int) (r backup.Report) {
			t.Helper()
			cmd := w.command("backup", "--json", "--create", source, "--user", "alice")
			out, err := cmd.Output()
			if exitOf(err) != wantCode {
				t.Fatalf("%s: exit code %d, want %d: %s", source, exitOf(err), wantCode, out)
			}
			must(t, json.Unmarshal(out, &r))
			return r
		}
		nightly(0)
		before := w.listed(t)
		files := map[string][]byte{}
		harm := func(uid uint32, change func(path string, b []byte) error) {
			path := s.MessageFile("alice", "INBOX", uid)
			b, err := os.ReadFile(path)
			must(t, err)
			files[path] = b
			must(t, os.Remove(path)) // other folders have links to the same file
			must(t, change(path, b))
			s.Chown(filepath.Dir(path))
		}
		harm(4, func(path string, _ []byte) error { return nil })
		harm(6, func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) })
		harm(7, func(path string, b []byte) error {
			return os.WriteFile(path, append([]byte{b[0] ^ 0x20}, b[1:]...), 0o600)
		})
		harm(8, func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) })
		c.Select("INBOX") // the folder changes, so that it is listed again
		c.Store("1", "+FLAGS", `\Flagged`)
		// On the disk lost and short files are noticed by themselves; one of the same
		// size, and over IMAP any, only when it is read again.
		code, damaged := 3, int64(3)
		if strings.HasPrefix(source, "imap") {
			code, damaged = 0, 0
		}
		for range 2 {
			if r := nightly(code); r.Messages.Gone != 0 || r.Messages.New != 0 || r.Messages.Damaged != damaged {
				t.Errorf("%s: %+v", source, r)
			}
		}
		// A new vault meets them all.
		w2 := newWorld(t).withPassword()
		cmd := w2.command("backup", "--json", "--create", source, "--user", "alice")
		out, err := cmd.Output()
		var r backup.Report
		must(t, json.Unmarshal(out, &r))
		if exitOf(err) != 3 || r.Messages.Damaged != 4 || r.Messages.Failed != 4 {
			t.Errorf("%s: exit code %d, %+v", source, exitOf(err), r)
		}
		for path, b := range files { // the right bytes at the right place repair it at once
			must(t, os.WriteFile(path, b, 0o600))
			s.Chown(path)
		}
		r = backup.Report{}
		cmd = w2.command("backup", "--json", source, "--user", "alice")
		out, err = cmd.Output()
		must(t, json.Unmarshal(out, &r))
		if exitOf(err) != 0 || r.Messages.Damaged != 0 || r.Messages.Gone != 0 {
			t.Errorf("%s: repaired: exit code %d, %+v", source, exitOf(err), r)
		}
		c.Store("1", "-FLAGS", `\Flagged`)
		nightly(0)
		if diff := conformance.Diff(w2.listed(t), before); strings.Contains(diff, "missing") {
			// the flag of UID 1 alone may differ between the two vaults
			if n := strings.Count(diff, "\n"); n > 2 {
				t.Errorf("%s: %s", source, diff)
			}
		}
	}
}
