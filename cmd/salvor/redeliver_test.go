package main

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// gap is mail that came after the last backup.
func gap(n int) string {
	return fmt.Sprintf("Message-ID: <gap-%d@example.org>\r\nSubject: gap %d\r\nDate: Fri, 27 Oct 2006 02:00:00 +0000\r\n\r\nThe text of gap %d.\r\n", n, n, n)
}

// gapDate is when it came, by the clock of the lost server.
func gapDate(n int) time.Time {
	return time.Date(2006, 10, 27, 2, 0, n, 0, time.UTC)
}

// standing counts messages by user and content, over all folders.
func standing(login func(string) *imaptest.Client, users ...string) map[string][]string {
	all := map[string][]string{}
	for _, u := range users {
		c := login(u)
		for _, f := range c.List() {
			for _, m := range c.Examine(f).Messages {
				key := u + " " + m.Body
				all[key] = append(all[key], fmt.Sprintf("%s %d %v %s", f, m.UID, m.Flags, m.InternalDate.UTC().Format(time.RFC3339)))
			}
		}
		c.Close()
	}
	return all
}

// TestRedeliverOnCyrus loses a real Cyrus but for its index and a copy of its
// message files, brings mail back to a new one while it is killed again and
// again, and counts every message of the whole server by its content.
func TestRedeliverOnCyrus(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	lost, fresh := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles}), cyrus.Start(t, cyrus.Options{})
	w := newWorld(t).withPassword()
	source, to := "cyrus:"+lost.ConfigFile(), "imap://admin@"+fresh.Addr()
	evening(lost)
	w.run("init")
	w.run("backup", "--quiet", source)
	const each = 40
	for i, user := range []string{"alice", "bob"} {
		c := lost.Login(user)
		for n := range each {
			c.Append([]string{"INBOX", "Work"}[n%2], gap(each*i+n), gapDate(n), `\Flagged`, "$Gap")
		}
		c.Create("New")
		c.Append("New", gap(each*i), gapDate(0)) // the same message, in a folder that no backup knows
		c.Close()
	}
	lost.AddUser("carol")
	c := lost.Login("carol")
	c.Create("Locked")
	c.Append("Locked", gap(200), gapDate(200))
	c.Append("INBOX", gap(201), gapDate(201))
	c.Close()
	lost.Stop()
	found := w.path("found")
	if out, err := exec.Command("cp", "-a", lost.Spool("default"), found).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	removeContent(t, found, gap(201)) // which turns up elsewhere
	must(t, os.RemoveAll(lost.Spool("default")))
	w.run("incident", "open", "fire", "--source", source, "--quiet")
	for _, user := range []string{"alice", "bob"} {
		fresh.AddUser(user)
	}
	w.run("restore", "--all", "--incident", "fire", "--to", to, "--quiet")
	fresh.AddUser("carol")
	c = fresh.Login("carol")
	c.Create("Locked")
	c.Do("SETACL Locked carol lra")
	c.Close()
	// The queue has brought two meanwhile, and bob has moved one of them.
	c = fresh.Login("bob")
	c.Append("INBOX", "Return-Path: <>\r\nReceived: from queue\r\n\tby fresh; today\r\n"+gap(each+1), time.Time{})
	c.Append("INBOX", gap(each+2), time.Time{})
	c.Select("INBOX")
	c.Do("UID MOVE * Old")
	before := c.Examine("INBOX")
	c.Close()

	args := []string{"redeliver", "--incident", "fire", "--from", found, "--to", to, "--json"}
	dry := oneObject(t, []byte(w.run(append(args, "--dry-run")...)))
	if dry["delivered"] != 2.0*each+1 || dry["already_there"] != 2.0 || dry["still_owed"] != 2.0*each+4 || dry["dry_run"] != true {
		t.Errorf("dry run: %v", dry)
	}
	kills, midway := 0, 0
	for range 4 {
		if w.killed(time.Duration(200+rng.Int64N(1200))*time.Millisecond, append(args, "--pace", "40msg/s")...) {
			kills++
		}
		if shown := oneObject(t, []byte(w.run("incident", "show", "fire", "--json"))); shown["in_flight"] != 0.0 {
			midway++
		}
	}
	t.Logf("killed %d times, %d times with messages on their way", kills, midway)
	if midway == 0 {
		t.Error("no message was on its way when a command was killed")
	}
	out, err := w.command(args...).Output()
	if report := oneObject(t, out); exitOf(err) != exitIncomplete || report["still_owed"] != 2.0 || report["in_doubt"] != 0.0 || report["failed"] != 1.0 {
		t.Errorf("with a locked folder: %v, %v", report, err)
	}
	if reasons := w.run("incident", "list", "fire", "--state", "owed"); !strings.Contains(reasons, "read-only") && !strings.Contains(reasons, "ermission denied") {
		t.Errorf("the reason: %s", reasons)
	}
	fresh.Login("carol").Do("SETACL Locked carol lrswipkxtecda")
	if report := oneObject(t, []byte(w.run(args...))); report["still_owed"] != 1.0 || report["delivered"] != 1.0 {
		t.Errorf("with what was locked: %v", report)
	}
	must(t, os.MkdirAll(w.path("laptop", "cur"), 0o700))
	must(t, os.WriteFile(w.path("laptop", "cur", "1.M1.laptop:2,S"), []byte(strings.ReplaceAll(gap(201), "\r\n", "\n")), 0o600))
	w.run("backup", "--quiet", "maildir:"+w.path("laptop"))
	report := oneObject(t, []byte(w.run("redeliver", "--incident", "fire", "--from", "vault", "--to", to, "--json")))
	if report["still_owed"] != 0.0 || report["in_doubt"] != 0.0 || report["failed"] != 0.0 {
		t.Errorf("at last: %v", report)
	}
	if again := oneObject(t, []byte(w.run(args...))); again["delivered"] != 0.0 || again["unknown"] != 2.0 || again["deleted"] != 0.0 { // two stand in Junk
		t.Errorf("once more: %v", again)
	}
	all := standing(fresh.Login, "alice", "bob", "carol")
	if n := len(all["carol "+gap(200)]) + len(all["carol "+gap(201)]); n != 2 {
		t.Errorf("carol has %d of 2", n)
	}
	for i, user := range []string{"alice", "bob"} {
		for n := range each {
			there, want := all[user+" "+gap(each*i+n)], 1
			if n == 0 {
				want = 2 // it stood in two folders
			}
			if user == "bob" && n == 1 {
				want = 0 // it has come another way
			}
			if len(there) != want {
				t.Errorf("%s has gap %d %d times: %q", user, n, len(there), there)
			}
			where := fmt.Sprintf("%s ", []string{"INBOX", "Work"}[n%2])
			rest := " [$Gap \\Flagged] " + gapDate(n).Format(time.RFC3339)
			if want == 1 && !(user == "bob" && n == 2) && (len(there) == 0 || !strings.HasPrefix(there[0], where) || !strings.HasSuffix(there[0], rest)) {
				t.Errorf("%s, gap %d: %q", user, n, there)
			}
		}
	}
	for key, there := range all {
		if len(there) > 1 && !strings.Contains(key, "Subject: gap 0\r") && !strings.Contains(key, fmt.Sprintf("Subject: gap %d\r", each)) {
			t.Errorf("%q is there %d times: %q", key, len(there), there)
		}
	}
	after := fresh.Login("bob").Examine("INBOX")
	if after.UIDValidity != before.UIDValidity || !slices.EqualFunc(after.Messages[:len(before.Messages)], before.Messages, func(a, b imaptest.Message) bool { return a.UID == b.UID }) {
		t.Errorf("bob's INBOX: UIDVALIDITY %d, was %d", after.UIDValidity, before.UIDValidity)
	}
	shown := oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))
	if shown["owed"] != 0.0 || shown["redelivered"] != 2.0*each+4 {
		t.Errorf("%v", shown)
	}
}

// TestRedeliverOnDovecot brings the files of a lost Maildir, which Dovecot knows
// by name and size only, to a server with a quota, rights and its own mind.
func TestRedeliverOnDovecot(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	lost := dovecot.Start(t, dovecot.Options{Location: "maildir:~/Maildir:INDEX=@DIR@/index/%u:CONTROL=@DIR@/control/%u"})
	for _, side := range []string{"index", "control"} {
		must(t, os.Mkdir(filepath.Join(lost.Dir, side), 0o755))
		lost.Chown(side)
	}
	fresh := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Quota: "*:storage=64K"})
	w := newWorld(t).withPassword()
	source := fmt.Sprintf("maildir:%s/home/%%u/Maildir:CONTROL=%s/control/%%u:INDEX=%s/index/%%u", lost.Dir, lost.Dir, lost.Dir)
	lost.Login("alice").Append("INBOX", mail(1), time.Time{})
	w.run("init")
	w.run("backup", "--quiet", source)
	alice, bob := lost.Login("alice"), lost.Login("bob")
	for n := range 20 {
		alice.Append("INBOX", gap(n), gapDate(n), `\Seen`, "todo")
	}
	alice.Examine("INBOX")
	for n := range 5 {
		bob.Append("INBOX", gap(100+n)+strings.Repeat("It goes on and on.\r\n", 1200), gapDate(n))
	}
	lost.Stop()
	found := w.path("found")
	if out, err := exec.Command("cp", "-a", filepath.Join(lost.Dir, "home"), found).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.RemoveAll(filepath.Join(lost.Dir, "home")))
	w.run("incident", "open", "fire", "--source", source, "--quiet")

	args := []string{"redeliver", "--incident", "fire", "--from", found, "--to", "imap://backup@" + fresh.Addr(), "--json"}
	// One operator is at it; a second one has to wait, until the first is killed.
	first := w.command(append(args, "--pace", "4msg/s")...)
	must(t, first.Start())
	for begun := time.Now(); oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))["in_flight"] == 0.0; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("nothing is ever on its way")
		}
	}
	if out, err := w.command(args...).CombinedOutput(); exitOf(err) != exitLocked {
		t.Errorf("the second operator: %v: %s", err, out)
	}
	must(t, first.Process.Kill())
	first.Wait()
	out, err := w.command(args...).Output()
	if exitOf(err) != exitIncomplete {
		t.Fatalf("%v: %s", err, out)
	}
	report := oneObject(t, out)
	delivered := report["delivered"].(float64)
	if failed := report["failed"].(float64); delivered+failed != 25 || delivered < 21 || failed < 2 || report["still_owed"] != failed || report["probable"] != 0.0 {
		t.Errorf("%v", report)
	}
	reasons := w.run("incident", "list", "fire", "--state", "owed")
	if strings.Count(reasons, "uota") != int(report["failed"].(float64)) {
		t.Errorf("the reasons: %s", reasons)
	}
	out, err = w.command(args...).Output()
	if exitOf(err) != exitIncomplete { // bob's quota
		t.Fatalf("%v: %s", err, out)
	}
	all := standing(fresh.Login, "alice", "bob")
	for n := range 20 {
		there := all["alice "+gap(n)]
		if len(there) != 1 || !strings.HasPrefix(there[0], "INBOX ") || !strings.HasSuffix(there[0], " [\\Seen todo] "+gapDate(n).Format(time.RFC3339)) {
			t.Errorf("gap %d: %q", n, there)
		}
	}
	for key, there := range all {
		if len(there) > 1 {
			t.Errorf("%q is there %d times", key, len(there))
		}
	}
}

// removeContent removes the one file below a directory that has this content.
func removeContent(t *testing.T, dir, content string) {
	t.Helper()
	removed := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			return err
		}
		removed++
		return os.Remove(path)
	}))
	if removed != 1 {
		t.Fatalf("%d files were removed", removed)
	}
}

// A bad line is a proxy to a server that breaks connections off, each after some
// bytes of one direction, as long as it is bad.
type badLine struct {
	net.Listener
	mu   sync.Mutex
	rng  *rand.Rand
	bad  bool
	cuts int
}

func newBadLine(t *testing.T, server string, rng *rand.Rand) *badLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	b := &badLine{Listener: l, rng: rng, bad: true}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			go b.carry(upstream, client, 25_000)
			go b.carry(client, upstream, 40_000)
		}
	}()
	return b
}

// carry copies until the line breaks, somewhere before so many bytes.
func (b *badLine) carry(to, from net.Conn, most int64) {
	defer to.Close()
	defer from.Close()
	b.mu.Lock()
	limit := int64(1 << 60)
	if b.bad {
		limit = 1000 + b.rng.Int64N(most)
	}
	b.mu.Unlock()
	if n, _ := io.CopyN(to, from, limit); n == limit {
		b.mu.Lock()
		b.cuts++
		b.mu.Unlock()
	}
}

// TestRedeliverOverABadLine breaks connections off at random places: in a command,
// in a message, before an answer. Each message is there once in the end.
func TestRedeliverOverABadLine(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	lost, fresh := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles}), cyrus.Start(t, cyrus.Options{})
	w := newWorld(t).withPassword()
	lost.AddUser("alice")
	fresh.AddUser("alice")
	c := lost.Login("alice")
	c.Append("INBOX", mail(1), time.Time{})
	w.run("init")
	w.run("backup", "--quiet", "cyrus:"+lost.ConfigFile())
	const messages = 80
	for n := range messages {
		c.Append("INBOX", gap(n)+strings.Repeat("More of it.\r\n", n), gapDate(n))
	}
	c.Close()
	lost.Stop()
	found := w.path("found")
	if out, err := exec.Command("cp", "-a", lost.Spool("default"), found).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.RemoveAll(lost.Spool("default")))
	w.run("incident", "open", "fire", "--source", "cyrus:"+lost.ConfigFile(), "--quiet")
	line := newBadLine(t, fresh.Addr(), rand.New(rand.NewPCG(seed, 1)))
	args := []string{"redeliver", "--incident", "fire", "--from", found, "--to", "imap://admin@" + line.Addr().String(), "--json"}
	owed := float64(messages)
	for n := 0; n < 4 && owed > 0; n++ {
		out, err := w.command(args...).CombinedOutput()
		if code := exitOf(err); code != 0 && code != exitIncomplete && code != exitFailed {
			t.Errorf("exit code %d: %s", code, out)
		}
		shown := oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))
		t.Logf("%v owed, %v on their way, %v in doubt", shown["owed"], shown["in_flight"], shown["in_doubt"])
		owed = shown["owed"].(float64)
	}
	line.mu.Lock()
	line.bad = false
	cuts := line.cuts
	line.mu.Unlock()
	if cuts < 3 {
		t.Errorf("only %d connections broke off", cuts)
	}
	t.Logf("%d connections broke off", cuts)
	report := oneObject(t, []byte(w.run(args...)))
	if report["still_owed"] != 0.0 || report["in_doubt"] != 0.0 {
		t.Errorf("%v", report)
	}
	all := standing(fresh.Login, "alice")
	for n := range messages {
		if there := all["alice "+gap(n)+strings.Repeat("More of it.\r\n", n)]; len(there) != 1 {
			t.Errorf("gap %d: %q", n, there)
		}
	}
}
