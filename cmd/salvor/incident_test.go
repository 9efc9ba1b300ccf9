package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
)

// TestIncidentOnCyrus loses the messages of a real Cyrus whose metadata lies
// apart, kills the opening of the incident again and again, and holds the
// ledger against what happened in the night.
func TestIncidentOnCyrus(t *testing.T) {
	// Tests that run Main in this process leave its umask behind, and the server
	// is another user.
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	for name, o := range map[string]cyrus.Options{
		"uuid":   {Metafiles: cyrus.Metafiles},
		"legacy": {Metafiles: cyrus.Metafiles, Layout: cyrus.Legacy},
		"beside": {}, // the messages' files are lost, the metadata beside them is not
	} {
		t.Run(name, func(t *testing.T) { loseCyrus(t, o) })
	}
}

func loseCyrus(t *testing.T, o cyrus.Options) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w, s := newWorld(t), cyrus.Start(t, o)
	source := "cyrus:" + s.ConfigFile()
	evening(s)
	w.run("init")
	w.run("backup", "--quiet", source)
	c := s.Login("bob")
	c.Select("INBOX")
	c.Expunge("1")
	c.Close()
	w.run("backup", "--quiet", source)
	w.run("backup", "--quiet", source) // seen gone twice
	night(s)
	s.Stop()
	survivors := []string{filepath.Join(s.Dir, "conf"), s.Meta("default"), s.Spool("default")}
	if o.Metafiles != "" {
		must(t, os.RemoveAll(s.Spool("default")))
		survivors = survivors[:2]
	} else {
		loseMessages(t, s.Spool("default"))
	}
	must(t, os.Remove(filepath.Join(indexDirectory(t, s, "bob", "Old"), "cyrus.index")))
	before := treeSum(t, survivors...)

	args := []string{"incident", "open", "fire", "--source", source, "--json"}
	open := func(more ...string) map[string]any {
		t.Helper()
		out, err := w.command(append(args, more...)...).Output()
		if exitOf(err) != exitIncomplete { // one index is missing
			t.Fatalf("%v: %s", err, out)
		}
		return oneObject(t, out)
	}
	begun := time.Now()
	rehearsed := open("--dry-run")
	took := time.Since(begun)
	for key, want := range totals {
		if got := rehearsed[key]; got != float64(want) {
			t.Errorf("dry run: %s is %v, want %d", key, got, want)
		}
	}
	if got := w.run("incident", "list", "--json"); got != "" {
		t.Errorf("after a dry run: %s", got)
	}

	// A killed command leaves the whole ledger or none.
	kills, opened := 0, false
	for n := 1; n <= 16 && !opened; n++ {
		if w.killed(took*time.Duration(n)/8+time.Duration(rng.Int64N(int64(took/8))), args...) {
			kills++
		}
		opened = w.run("incident", "list", "--json") != ""
	}
	t.Logf("killed %d times", kills)
	if kills < 3 {
		t.Errorf("only %d commands were killed while they ran", kills)
	}
	if !opened {
		open()
	}
	checkLedger(t, w)
	if after := treeSum(t, survivors...); after != before {
		t.Error("the metadata was changed")
	}

	kept := oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))["kept"].(string)
	if kept != w.path("data", "salvor", "incidents", "fire") {
		t.Errorf("the copy lies in %s", kept)
	}
	if out, err := exec.Command("sh", "-c", "cd "+kept+" && sha256sum --quiet --strict -c SHA256SUMS && ! find . -name '[0-9]*.' | grep .").CombinedOutput(); err != nil {
		t.Errorf("the copy: %v: %s", err, out)
	}

	if got := oneObject(t, []byte(w.run("prune", "--keep-deleted", "1ms", "--json"))); got["expired"] != 0.0 || got["withheld"] != 1.0 {
		t.Errorf("prune: %v", got)
	}
	must(t, os.RemoveAll(s.Dir)) // what survived is gone as well; the vault has the ledger
	w.run("catalog", "rebuild")
	checkLedger(t, w)
	if o.Layout == cyrus.Legacy {
		bringBack(t, w, rng)
	} else {
		endIncident(t, w)
	}
}

// bringBack restores what the vault holds, killed on the way, and looks at what
// came back.
func bringBack(t *testing.T, w *world, rng *rand.Rand) {
	t.Helper()
	args := []string{"restore", "--all", "--incident", "fire", "--to", "maildir:" + w.path("new") + "/%u"}
	begun := time.Now()
	w.run(append(args, "--dry-run")...)
	took := 2 * time.Since(begun)
	checkLedger(t, w)
	kills := 0
	for range 6 {
		if w.killed(time.Duration(rng.Int64N(int64(took))), args...) {
			kills++
		}
	}
	t.Logf("killed %d restores", kills)
	w.run(args...)
	shown := oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))
	for key, want := range map[string]float64{"held": 0, "uncertain": 0, "restored": 13, "restored_maybe_deleted": 1, "owed": 3, "total": 17, "deleted": 4} {
		if shown[key] != want {
			t.Errorf("after the restore %s is %v, want %v", key, shown[key], want)
		}
	}
	if out := w.run(args...); !strings.Contains(out, "restored                      13") {
		t.Errorf("once more: %s", out)
	}
	// Whoever tried it into another store first is told, and can go on.
	args[len(args)-1] = "maildir:" + w.path("newer") + "/%u"
	w.fails(exitIncomplete, "are back at maildir:", args...)
	if out := w.run(append(args, "--again")...); !strings.Contains(out, "alice: 6 messages") {
		t.Errorf("again: %s", out)
	}
	count := 0
	must(t, filepath.WalkDir(w.path("new"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{"cur", "new"}, filepath.Base(filepath.Dir(path))) {
			count++
		}
		return err
	}))
	if count != 14 {
		t.Errorf("%d messages are back, want 14", count)
	}
	if _, err := os.Stat(w.path("new", "alice", ".Old")); err == nil {
		t.Error("a folder is back that its user had renamed")
	}
	if _, err := os.Stat(w.path("new", "alice", ".Renamed", "cur")); err != nil {
		t.Error(err)
	}
}

// loseMessages removes what Cyrus calls by UIDs.
func loseMessages(t *testing.T, dir string) {
	t.Helper()
	lost := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".") {
			lost++
			err = os.Remove(path)
		}
		return err
	}))
	if lost == 0 {
		t.Fatal("there was no message to be lost")
	}
}

func mail(i int) string {
	return fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: message %d\r\n\r\nThe text of %d.\r\n", i, i, i)
}

// evening is what the backup finds.
func evening(s *cyrus.Server) {
	at := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	for n, user := range []string{"alice", "bob"} {
		s.AddUser(user)
		c := s.Login(user)
		c.Create("Work")
		c.Create("Old")
		c.Do(`CREATE Spam (USE (\Junk))`)
		for i := range 6 {
			c.Append("INBOX", mail(100*n+i+1), at.Add(time.Duration(i)*time.Hour), `\Seen`, "$Label1")
		}
		c.Append("Work", mail(100*n+11), at)
		c.Append("Old", mail(100*n+21), at)
		c.Append("Spam", mail(100*n+31), at)
		c.Close()
	}
}

// night is what happens after the backup.
func night(s *cyrus.Server) {
	alice := s.Login("alice")
	alice.Select("INBOX")
	alice.Expunge("4")
	alice.Close()
	s.Run("cyr_expire", "-E", "1", "-X", "0") // the server forgets it altogether
	alice = s.Login("alice")
	alice.Select("INBOX")
	alice.Store("1", "+FLAGS", `\Flagged`)
	alice.Expunge("2")
	alice.Do("UID MOVE 3 Work")
	alice.Append("INBOX", mail(7), time.Now(), `\Flagged`) // UID 7
	alice.Append("INBOX", mail(8), time.Now())             // came, and was removed
	alice.Expunge("8")
	alice.Append("Spam", mail(32), time.Now())
	alice.Do("RENAME Old Renamed")
	alice.Close()
	bob := s.Login("bob")
	bob.Append("INBOX", mail(5), time.Now()) // what alice has too
	bob.Append("INBOX", mail(107), time.Now())
	bob.Close()
	s.AddUser("carol")
	s.Login("carol").Append("INBOX", mail(201), time.Now())
}

// totals and ledger are what must come out.
var (
	totals = map[string]int{"held": 13, "owed": 3, "uncertain": 1, "total": 17, "deleted": 4, "junk": 3,
		"present": 0, "restored": 0, "restored_maybe_deleted": 0, "redelivered": 0, "lost": 0}
	ledger = map[string]string{
		"alice INBOX 1": "held", "alice INBOX 2": "deleted", "alice INBOX 3": "deleted", "alice INBOX 4": "deleted", "alice INBOX 5": "held",
		"alice INBOX 6": "held", "alice INBOX 7": "owed", "alice INBOX 8": "deleted", "alice Work 1": "held", "alice Work 2": "held",
		"alice Renamed 1": "held", "alice Spam 1": "junk", "alice Spam 2": "junk",
		"bob INBOX 2": "held", "bob INBOX 3": "held", "bob INBOX 4": "held", "bob INBOX 5": "held", "bob INBOX 6": "held", "bob INBOX 7": "held",
		"bob INBOX 8": "owed", "bob Work 1": "held", "bob Old 1": "uncertain", "bob Spam 1": "junk", "carol INBOX 1": "owed",
	}
)

// checkLedger compares show and list with what happened.
func checkLedger(t *testing.T, w *world) {
	t.Helper()
	shown := oneObject(t, []byte(w.run("incident", "show", "fire", "--json")))
	for key, want := range totals {
		if got := shown[key]; got != float64(want) {
			t.Errorf("%s is %v, want %d", key, got, want)
		}
	}
	got := map[string]string{}
	rows := map[string]claimWords{}
	for line := range strings.Lines(w.run("incident", "list", "fire", "--json")) {
		var c claimWords
		must(t, json.Unmarshal([]byte(line), &c))
		key := fmt.Sprint(c.User, " ", c.Folder, " ", c.UID)
		if got[key] != "" {
			t.Errorf("%s is listed twice", key)
		}
		got[key], rows[key] = c.State, c
	}
	for _, key := range slices.Sorted(maps.Keys(ledger)) {
		if got[key] != ledger[key] {
			t.Errorf("%s is %q (%s), want %q", key, got[key], rows[key].Reason, ledger[key])
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("nobody knows of %v", got)
	}
	if c := rows["alice INBOX 1"]; strings.Join(c.Flags, " ") != `$Label1 \Flagged \Seen` || c.MessageID != "<1@example.org>" || len(c.SHA1) != 40 ||
		len(c.SHA256) != 64 || c.UIDValidity == 0 || c.Size != int64(len(mail(1))) {
		t.Errorf("%+v", c)
	}
	if c := rows["alice INBOX 7"]; c.SHA256 != "" || len(c.SHA1) != 40 || c.Reason != "it arrived after the last backup" || strings.Join(c.Flags, " ") != `\Flagged` ||
		c.MessageID != "<7@example.org>" { // which only cyrus.cache tells
		t.Errorf("%+v", c)
	}
	if c := rows["bob Old 1"]; !strings.Contains(c.Reason, "cyrus.index is missing") || len(c.SHA256) != 64 {
		t.Errorf("%+v", c)
	}
}

func oneObject(t *testing.T, out []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// indexDirectory is where a folder's metadata is. mbpath asks no running server.
func indexDirectory(t *testing.T, s *cyrus.Server, user, folder string) string {
	t.Helper()
	return s.MetaDirectory(user, folder)
}

// treeSum is one hash of all files' names, contents and times.
func treeSum(t *testing.T, roots ...string) string {
	t.Helper()
	sum := sha256.New()
	for _, root := range roots {
		must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := d.Info()
			fmt.Fprintf(sum, "%s %x %v\n", path, sha256.Sum256(b), info.ModTime())
			return err
		}))
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
