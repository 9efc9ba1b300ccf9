package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/imaptest"
)

// TestOweOnCyrus loses messages of a real Cyrus whose metadata lies apart, takes
// those that nobody has out of its index, killed again and again, and compares what
// clients see: one that was connected, one that comes back, and a fresh one.
func TestOweOnCyrus(t *testing.T) {
	old := syscall.Umask(0o022) // as in TestIncidentOnCyrus
	t.Cleanup(func() { syscall.Umask(old) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	o := newOwing(t, rand.New(rand.NewPCG(seed, 1)))

	// Nothing is back yet.
	o.gatesAre("", "alice down 0", "bob down 0", "carol web 0")
	o.secondOperator()
	o.gatesAre(o.url, "alice down 40", "bob down 12", "carol web 1")
	if rows := o.plan(); rows.Take != 6 || oweOf(rows, "alice").Held != 37 {
		t.Errorf("before anything is back: %+v", rows)
	}
	o.fill()
	o.w.run("restore", "--all", "--incident", "fire", "--to", o.url, "--quiet", "--no-progress")
	o.gatesAre("", "alice web 3", "bob web 2", "carol web 1")
	o.gatesAre(o.url, "alice web 3", "bob web 2", "carol web 1")

	before, caches := o.listing(), o.caches()
	online := o.s.Login("alice")
	live := caches["alice INBOX"].Clone()
	online.Sync("INBOX", &live)
	rows := o.plan()
	if rows.Take != 6 || oweOf(rows, "alice").Take != 3 || !oweOf(rows, "alice").Refused || oweOf(rows, "alice").Held != 0 {
		t.Errorf("%+v", rows)
	}
	o.refusals(rows.Plan)
	if got := o.listing(); !reflect.DeepEqual(got, before) {
		t.Fatalf("a refusal has changed the server from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(got, "\n"))
	}

	args := []string{"incident", "owe", "fire", "--to", o.url, "--plan", rows.Plan, "--settle", "0", "--json", "--accept", "alice", "--accept", "bob", "--accept", "carol"}
	kills := 0
	for n := range 20 {
		if o.w.killed(time.Duration(n*20+o.rng.IntN(20))*time.Millisecond, args...) {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	if kills < 3 {
		t.Errorf("only %d commands were killed while they ran", kills)
	}
	var done oweWords
	must(t, json.Unmarshal([]byte(o.w.run(args...)), &done))
	for _, u := range done.Users {
		if u.Left != 0 || u.Taken+u.Gone != u.Take {
			t.Errorf("%+v", u)
		}
	}

	// Just those are gone, and everything that is listed has content.
	if got := o.listing(); !reflect.DeepEqual(got, slices.DeleteFunc(slices.Clone(before), o.inGap)) {
		t.Errorf("left are\n%s\nof\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
	o.allFetch()
	for key, claim := range o.claims() {
		if lost := strings.Contains(key, "gap"); lost != (claim.State == "owed") {
			t.Errorf("%s is %s", key, claim.State)
		}
	}

	// Who was connected, who comes back, and who is new see the same.
	live.Hear(online.Do("NOOP"))
	for key, fresh := range o.caches() {
		back := caches[key]
		userName, folder, _ := strings.Cut(key, " ")
		o.s.Login(userName).Sync(folder, &back)
		if !reflect.DeepEqual(back.Flags, fresh.Flags) {
			t.Errorf("%s: a client that comes back has %v, a fresh one %v", key, back.Flags, fresh.Flags)
		}
		if key == "alice INBOX" && !reflect.DeepEqual(live.Flags, fresh.Flags) {
			t.Errorf("%s: a client that was connected has %v, a fresh one %v", key, live.Flags, fresh.Flags)
		}
	}

	o.gatesAre("", "alice imap 0", "bob imap 0", "carol imap 0")
	heard, err := os.ReadFile(o.w.path("heard"))
	must(t, err)
	for _, user := range []string{"alice", "bob"} {
		var of []string
		for line := range strings.Lines(string(heard)) {
			if strings.HasPrefix(line, user+" ") {
				of = append(of, strings.TrimSpace(line))
			}
		}
		of = slices.Compact(of) // a kill may come between the hook's end and the note of it
		if want := []string{user + " >down", user + " down>web", user + " web>imap"}; !reflect.DeepEqual(of, want) {
			t.Errorf("the hook heard %q, want %q", of, want)
		}
	}
}

// TestOweAfterRestore brings mail back under new UIDs, where nobody can put files
// into place: the old entries go out, and every message is there once.
func TestOweAfterRestore(t *testing.T) {
	old := syscall.Umask(0o022)
	t.Cleanup(func() { syscall.Umask(old) })
	o := newOwing(t, rand.New(rand.NewPCG(1, 1)))
	o.w.run("restore", "--all", "--incident", "fire", "--to", o.url, "--quiet", "--no-progress")
	r := o.plan()
	if a := oweOf(r, "alice"); a.Take != 40 || a.Copied != 37 || a.Held != 0 || !a.Refused {
		t.Errorf("%+v", a)
	}
	o.w.run("incident", "owe", "fire", "--to", o.url, "--plan", r.Plan, "--settle", "0", "--accept", "alice", "--accept", "bob", "--accept", "carol")
	if got := o.listing(); len(got) != 47 {
		t.Errorf("%d messages are left, want 47:\n%s", len(got), strings.Join(got, "\n"))
	}
	o.allFetch()
	bodies := map[string]bool{}
	o.each(func(user, folder string, c *imaptest.Client) {
		for _, m := range c.Examine(folder).Messages {
			if bodies[m.Body] {
				t.Errorf("%s %s %d is there twice", user, folder, m.UID)
			}
			bodies[m.Body] = true
		}
	})
	o.gatesAre("", "alice imap 0", "bob imap 0", "carol imap 0")
	for key, claim := range o.claims() {
		if strings.Contains(key, "gap") != (claim.State == "owed") {
			t.Errorf("%s is %s", key, claim.State)
		}
	}
}

// An owing is a server that has lost its messages, with an incident about it.
type owing struct {
	t     *testing.T
	rng   *rand.Rand
	w     *world
	s     *cyrus.Server
	url   string
	aside map[string][]byte // the files of what the backup has
	gap   map[string]bool   // "user folder uid" of what it has not
}

func newOwing(t *testing.T, rng *rand.Rand) *owing {
	o := &owing{t: t, rng: rng, w: newWorld(t), s: cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles}), aside: map[string][]byte{}, gap: map[string]bool{}}
	w, s := o.w, o.s
	must(t, os.WriteFile(w.path("salvor.toml"), fmt.Appendf(nil, "on-gate = 'echo \"$SALVOR_USER $SALVOR_GATE_BEFORE>$SALVOR_GATE\" >> %s'\n", w.path("heard")), 0o600))
	w.env = append(w.env, "SALVOR_CONFIG="+w.path("salvor.toml"), "SALVOR_IMAP_PASSWORD="+cyrus.Password)
	source := "cyrus:" + s.ConfigFile()
	at := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	clients := map[string]*imaptest.Client{}
	fill := func(user string, first, n int, folder string, flags ...string) {
		for i := range n {
			clients[user].Append(folder, mail(first+i), at.Add(time.Duration(i)*time.Hour), flags...)
		}
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		s.AddUser(user)
		clients[user] = s.Login(user)
		clients[user].Create("Work")
	}
	fill("alice", 1, 30, "INBOX", `\Seen`, "$Label1")
	fill("alice", 40, 7, "Work")
	fill("bob", 100, 10, "INBOX")
	w.run("init")
	w.run("backup", "--quiet", source)
	o.keepAside()
	fill("alice", 31, 2, "INBOX", `\Flagged`)
	fill("alice", 48, 1, "Work", `\Seen`)
	fill("bob", 110, 2, "INBOX")
	fill("carol", 200, 1, "Work")
	for _, key := range []string{"alice INBOX 31", "alice INBOX 32", "alice Work 8", "bob INBOX 11", "bob INBOX 12", "carol Work 1"} {
		o.gap[key] = true
	}
	s.Stop()
	must(t, filepath.WalkDir(s.Spool("default"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Remove(path)
		}
		return err
	}))
	w.run("incident", "open", "fire", "--source", source, "--quiet")
	s.Restart()
	o.url = fmt.Sprintf("imap://%s@%s", cyrus.Admin, s.Addr())
	return o
}

// keepAside remembers the files of all messages.
func (o *owing) keepAside() {
	must(o.t, filepath.WalkDir(o.s.Spool("default"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			o.aside[path], err = os.ReadFile(path)
		}
		return err
	}))
}

// fill puts them back.
func (o *owing) fill() {
	for path, b := range o.aside {
		must(o.t, os.WriteFile(path, b, 0o600))
	}
	o.s.Chown(o.s.Spool("default"))
}

// oweWords is what owe says.
type oweWords struct {
	Plan       string
	Take       int
	Users      []oweUser
	Incomplete bool
}

type oweUser struct {
	User                          string
	Take, Taken, Gone, Left, Held int
	Copied                        int
	Refused                       bool
	Problems                      []string
}

func oweOf(r oweWords, name string) (u oweUser) {
	for _, u = range r.Users {
		if u.User == name {
			return u
		}
	}
	return oweUser{}
}

func (o *owing) plan() (r oweWords) {
	o.t.Helper()
	must(o.t, json.Unmarshal([]byte(o.w.run("incident", "owe", "--to", o.url, "fire", "--dry-run", "--json")), &r))
	return r
}

// refusals tries what must not be done.
func (o *owing) refusals(plan string) {
	o.t.Helper()
	for name, c := range map[string]struct {
		args  []string
		code  int
		words string
	}{
		"too young":  {[]string{"fire", "--plan", plan}, 1, "too young"},
		"wrong hash": {[]string{"--plan", strings.Repeat("ab", 32), "fire", "--settle", "0"}, 1, "there is no plan"},
		"beyond":     {[]string{"fire", "--plan", plan, "--settle", "0"}, exitIncomplete, "--accept USER"},
		"nobody":     {[]string{"fire", "--dry-run", "--user", "dave"}, 1, "nobody of this name"},
	} {
		var errs bytes.Buffer
		cmd := o.w.command(append([]string{"incident", "owe", "--to", o.url}, c.args...)...)
		cmd.Stderr = &errs
		if err := cmd.Run(); exitOf(err) != c.code || !strings.Contains(errs.String(), c.words) {
			o.t.Errorf("%s: %v: %s", name, err, &errs)
		}
	}
	// The metadata must be there, as it was copied.
	kept := o.w.path("data", "salvor", "incidents", "fire")
	must(o.t, os.Rename(kept, kept+".away"))
	if out, err := o.w.command("incident", "owe", "fire", "--to", o.url, "--dry-run").CombinedOutput(); exitOf(err) != 1 || !strings.Contains(string(out), "has not been copied first") {
		o.t.Errorf("no copy: %v: %s", err, out)
	}
	must(o.t, os.Rename(kept+".away", kept))
}

// secondOperator comes while the hook of the first one takes its time.
func (o *owing) secondOperator() {
	o.t.Helper()
	b, err := os.ReadFile(o.w.path("salvor.toml"))
	must(o.t, err)
	slow := strings.Replace(string(b), "'echo", fmt.Sprintf("'touch %s; if [ $SALVOR_USER = alice ]; then sleep 3; fi; echo", o.w.path("slow")), 1)
	must(o.t, os.WriteFile(o.w.path("slow.toml"), []byte(slow), 0o600))
	first := o.w.command("incident", "gates", "fire", "--to", o.url, "--config", o.w.path("slow.toml"))
	must(o.t, first.Start())
	for n := 0; !exists(o.w.path("slow")); n++ {
		if n == 400 {
			o.t.Fatal("the hook was not run")
		}
		time.Sleep(50 * time.Millisecond)
	}
	out, err := o.w.command("incident", "owe", "fire", "--to", o.url, "--plan", strings.Repeat("ab", 32)).CombinedOutput()
	if exitOf(err) != exitLocked {
		o.t.Errorf("a second operator: %v: %s", err, out)
	}
	must(o.t, first.Wait())
}

// gatesAre compares the gates, after a look at the server if one is named.
func (o *owing) gatesAre(to string, want ...string) {
	o.t.Helper()
	args := []string{"incident", "gates", "fire", "--json"}
	if to != "" {
		args = append(args, "--to", to)
	}
	var got []string
	for line := range strings.Lines(o.w.run(args...)) {
		var g gateWords
		must(o.t, json.Unmarshal([]byte(line), &g))
		got = append(got, fmt.Sprintf("%s %s %d", g.User, g.Gate, g.Dangling))
	}
	if !reflect.DeepEqual(got, want) {
		o.t.Errorf("gates are %q, want %q", got, want)
	}
}

// each calls fn for each user's folder, opened to read.
func (o *owing) each(fn func(user, folder string, c *imaptest.Client)) {
	for _, user := range []string{"alice", "bob", "carol"} {
		c := o.s.Login(user)
		for _, folder := range []string{"INBOX", "Work"} {
			c.Do("EXAMINE %s", folder)
			fn(user, folder, c)
		}
		c.Close()
	}
}

// listing is all that the server's index tells of all messages, one a line.
func (o *owing) listing() (lines []string) {
	o.each(func(user, folder string, c *imaptest.Client) {
		for _, r := range c.Do("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE DIGEST.SHA1)") {
			if _, facts, ok := strings.Cut(r.Text, " FETCH ("); ok {
				lines = append(lines, user+" "+folder+" "+strings.NewReplacer(`\Recent `, "", `\Recent`, "").Replace(facts))
			}
		}
	})
	return lines
}

// inGap tells whether a line of the listing is about what the backup has not.
func (o *owing) inGap(line string) bool {
	var user, folder string
	var uid int
	_, facts, _ := strings.Cut(line, "UID ")
	fmt.Sscan(line, &user, &folder)
	fmt.Sscan(facts, &uid)
	return o.gap[fmt.Sprint(user, " ", folder, " ", uid)]
}

// allFetch fetches everything that is listed.
func (o *owing) allFetch() {
	o.t.Helper()
	o.each(func(user, folder string, c *imaptest.Client) {
		listed := 0
		for _, r := range c.Do("UID FETCH 1:* (UID)") {
			if strings.Contains(r.Text, " FETCH (") {
				listed++
			}
		}
		f := c.Examine(folder)
		for _, m := range f.Messages {
			if !strings.HasPrefix(m.Body, "Message-ID: <") {
				o.t.Errorf("%s %s %d is %q", user, folder, m.UID, m.Body)
			}
		}
		if len(f.Messages) != listed {
			o.t.Errorf("%s %s: %d of %d messages have content", user, folder, len(f.Messages), listed)
		}
	})
}

// caches are what fresh clients know.
func (o *owing) caches() map[string]imaptest.Cache {
	out := map[string]imaptest.Cache{}
	for _, user := range []string{"alice", "bob", "carol"} {
		for _, folder := range []string{"INBOX", "Work"} {
			var k imaptest.Cache
			o.s.Login(user).Sync(folder, &k)
			out[user+" "+folder] = k
		}
	}
	return out
}

// claims are the ledger's, those of the gap called so.
func (o *owing) claims() map[string]claimWords {
	out := map[string]claimWords{}
	for line := range strings.Lines(o.w.run("incident", "list", "fire", "--json")) {
		var c claimWords
		must(o.t, json.Unmarshal([]byte(line), &c))
		key := fmt.Sprint(c.User, " ", c.Folder, " ", c.UID)
		if o.gap[key] {
			key = "gap " + key
		}
		if _, twice := out[key]; twice {
			o.t.Errorf("%s is in the ledger twice", key)
		}
		out[key] = c
	}
	return out
}
