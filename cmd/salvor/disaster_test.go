package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/imaptest"
)

// What the tests of a whole disaster have in common: users who live through an
// evening, a backup and a night; a client that is online all the while; and the
// comparison of what they have in the end with what they had.

// A letter is one message as its user's client sees it.
type letter struct {
	folder string
	uid    uint32
	body   string
	flags  string
	date   time.Time
}

// folders lists all that a user has.
func letters(c *imaptest.Client) (all []letter) {
	for _, folder := range c.List() {
		for _, m := range c.Examine(folder).Messages {
			all = append(all, letter{folder, m.UID, m.Body, strings.Join(m.Flags, " "), m.InternalDate.UTC()})
		}
	}
	return all
}

// A life is one user's mail in a disaster.
type life struct {
	user    string
	rng     *rand.Rand
	sent    int
	had     []letter        // when the server died
	backed  map[string]bool // bodies that the backup has seen
	removed map[string]bool // bodies that the user removed, and all copies of them
	kept    map[string]bool // bodies of the gap that were kept aside
	online  *online
}

func newLife(n int, seed uint64) *life {
	return &life{user: fmt.Sprintf("user%02d", n), rng: rand.New(rand.NewPCG(seed, uint64(n))), backed: map[string]bool{}, removed: map[string]bool{}, kept: map[string]bool{}}
}

// write makes a new message.
func (l *life) write() string {
	l.sent++
	id := fmt.Sprintf("%s.%d@example.org", l.user, l.sent)
	text := strings.Repeat(fmt.Sprintf("Line of %s, %d.\r\n", l.user, l.rng.IntN(1000)), 1+l.rng.IntN(60))
	return fmt.Sprintf("Return-Path: <a@example.org>\r\nMessage-ID: <%s>\r\nDate: Thu, 26 Oct 2006 18:30:00 +0000\r\nFrom: a@example.org\r\nSubject: %s\r\n\r\n%s", id, id, text)
}

var someFlags = [][]string{nil, {`\Seen`}, {`\Seen`, `\Flagged`}, {`\Answered`, `\Seen`, "$Label1"}}

func (l *life) deliver(c *imaptest.Client, folder string, n int, from time.Time) {
	for i := range n {
		c.Append(folder, l.write(), from.Add(time.Duration(i)*7*time.Minute+time.Duration(l.rng.IntN(360))*time.Second), someFlags[l.rng.IntN(len(someFlags))]...)
	}
}

// evening is what the backup finds.
func (l *life) evening(c *imaptest.Client, at time.Time) {
	for _, folder := range []string{"Work", "Work/2024", "Sent", "Trash", "Junk", "Empty"} {
		c.Create(folder)
	}
	l.deliver(c, "INBOX", 40+l.rng.IntN(20), at.Add(-240*time.Hour))
	l.deliver(c, "Work", 15, at.Add(-500*time.Hour))
	l.deliver(c, "Work/2024", 8, at.Add(-900*time.Hour))
	l.deliver(c, "Sent", 6, at.Add(-90*time.Hour))
	l.deliver(c, "Trash", 3, at.Add(-50*time.Hour))
	l.deliver(c, "Junk", 3, at.Add(-20*time.Hour))
	c.Select("INBOX")
	c.Do("UID COPY 2 Work") // one content in two folders
}

// backup notes what there is when the backup is made.
func (l *life) backup(c *imaptest.Client) {
	for _, m := range letters(c) {
		if m.folder != "Junk" {
			l.backed[m.body] = true
		}
	}
	l.online = goOnline(c, "INBOX")
}

// night is what happens between backup and disaster.
func (l *life) night(c *imaptest.Client, at time.Time) {
	l.deliver(c, "INBOX", 3+l.rng.IntN(4), at.Add(time.Hour))
	l.deliver(c, "Work", 1, at.Add(2*time.Hour))
	l.deliver(c, "Junk", 1, at.Add(2*time.Hour))
	inbox := c.Examine("INBOX").Messages
	pick := func(i int) uint32 { return inbox[i].UID }
	c.Select("INBOX")
	c.Store(fmt.Sprintf("%d:%d", pick(5), pick(7)), "+FLAGS", `\Seen`, "$Forwarded")
	c.Store(fmt.Sprint(pick(8)), "-FLAGS", `\Seen`)
	c.Do("UID MOVE %d:%d Work", pick(9), pick(10))
	last := len(inbox) - 1
	for _, i := range []int{3, 4, last} { // the last one came in the night
		l.removed[inbox[i].Body] = true
		c.Expunge(fmt.Sprint(pick(i)))
	}
	switch l.rng.IntN(3) {
	case 0:
		c.Do("RENAME Work/2024 Work/Old")
	case 1:
		c.Create("New")
		l.deliver(c, "New", 2, at.Add(3*time.Hour))
	}
	l.had = letters(c)
	l.online.follow(c)
}

// keepAside writes most of what came in the night to a directory, as salvage
// would bring it back: nameless, and among other things.
func (l *life) keepAside(t *testing.T, dir string, n int) {
	t.Helper()
	gap := 0
	for _, m := range l.gap() {
		if gap++; gap%4 == 0 {
			continue // gone for good
		}
		l.kept[m.body] = true
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d-%03d", n, gap)), []byte(m.body), 0o600))
	}
	// What was not lost, what was deleted, and what is no mail turn up as well.
	must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d-held", n)), []byte(l.had[0].body), 0o600))
	for body := range l.removed {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d-%x", n, sha256.Sum256([]byte(body)))), []byte(body), 0o600))
	}
}

// gap lists what came after the backup, without Junk, in order.
func (l *life) gap() (out []letter) {
	for _, m := range l.had {
		if !l.backed[m.body] && m.folder != "Junk" {
			out = append(out, m)
		}
	}
	return out
}

// owed is how many messages of the gap nobody has.
func (l *life) owed() (n int) {
	for _, m := range l.gap() {
		if !l.kept[m.body] {
			n++
		}
	}
	return n
}

// compare looks at what the user has in the end. uids tells whether what the
// backup had keeps its UIDs.
func (l *life) compare(t *testing.T, c *imaptest.Client, uids bool) {
	t.Helper()
	describe := func(m letter, uid bool) string {
		s := fmt.Sprintf("%s %x (%s) %s", m.folder, sha256.Sum256([]byte(m.body)), m.flags, m.date.Format(time.RFC3339))
		if uid && l.backed[m.body] {
			s += fmt.Sprint(" uid ", m.uid)
		}
		return s
	}
	want, got := map[string]int{}, map[string]int{}
	highest := map[string]uint32{}
	for _, m := range l.had {
		highest[m.folder] = max(highest[m.folder], m.uid)
		if m.folder != "Junk" && (l.backed[m.body] || l.kept[m.body]) {
			want[describe(m, uids)]++
		}
	}
	for _, m := range letters(c) {
		if l.removed[m.body] {
			t.Errorf("%s: what was removed is back: %s", l.user, describe(m, true))
		}
		if !l.backed[m.body] && m.uid <= highest[m.folder] {
			t.Errorf("%s: %s was delivered as UID %d, which is no new one", l.user, m.folder, m.uid)
		}
		if m.folder != "Junk" {
			got[describe(m, uids)]++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %d times, want %d: %s", l.user, got[key], want[key], key)
		}
		delete(got, key)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("%s: %d times, not wanted: %s", l.user, got[key], key)
	}
}

// An online is the cache of a client that follows one folder by QRESYNC (RFC
// 7162).
type online struct {
	folder   string
	validity string
	modseq   string
	flags    map[uint32]string
}

var (
	vanishedLine = regexp.MustCompile(`^\* VANISHED (?:\(EARLIER\) )?(\S+)`)
	uidItem      = regexp.MustCompile(`UID (\d+)`)
	flagItem     = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	stateItem    = regexp.MustCompile(`(UIDVALIDITY|HIGHESTMODSEQ) (\d+)`)
)

// goOnline fills the cache for the first time.
func goOnline(c *imaptest.Client, folder string) *online {
	o := &online{folder: folder, flags: map[uint32]string{}}
	c.Do("ENABLE QRESYNC")
	o.take(c.Do("SELECT %s", folder))
	o.take(c.Do("UID FETCH 1:* (FLAGS)"))
	c.Do("UNSELECT")
	return o
}

// follow brings the cache to the present as such a client does: it believes what
// the server says has changed.
func (o *online) follow(c *imaptest.Client) {
	c.Do("ENABLE QRESYNC")
	before := o.validity
	answers := c.Do("SELECT %s (QRESYNC (%s %s))", o.folder, o.validity, o.modseq)
	o.take(answers)
	if o.validity != before { // another mailbox: all that was known is worth nothing
		o.flags = map[uint32]string{}
		o.take(c.Do("UID FETCH 1:* (FLAGS)"))
	}
	c.Do("UNSELECT")
}

func (o *online) take(answers []imaptest.Response) {
	for _, r := range answers {
		if m := vanishedLine.FindStringSubmatch(r.Text); m != nil {
			for uid := range o.flags {
				if inSet(m[1], uid) {
					delete(o.flags, uid)
				}
			}
		}
		if m := stateItem.FindStringSubmatch(r.Text); m != nil {
			if m[1] == "UIDVALIDITY" {
				o.validity = m[2]
			} else {
				o.modseq = m[2]
			}
		}
		uid, flags := uidItem.FindStringSubmatch(r.Text), flagItem.FindStringSubmatch(r.Text)
		if strings.Contains(r.Text, " FETCH (") && uid != nil && flags != nil {
			var n uint32
			fmt.Sscan(uid[1], &n)
			words := slices.DeleteFunc(strings.Fields(flags[1]), func(f string) bool { return f == `\Recent` })
			slices.Sort(words)
			o.flags[n] = strings.Join(words, " ")
		}
	}
}

func inSet(set string, uid uint32) bool {
	for _, part := range strings.Split(set, ",") {
		var from, to uint32
		n, _ := fmt.Sscanf(part, "%d:%d", &from, &to)
		if n == 1 && from == uid || n == 2 && from <= uid && uid <= to {
			return true
		}
	}
	return false
}

// sameAsFresh holds a client that was online before against a fresh one.
func (o *online) sameAsFresh(t *testing.T, user string, c *imaptest.Client) {
	t.Helper()
	o.follow(c)
	fresh := goOnline(c, o.folder)
	if !maps.Equal(o.flags, fresh.flags) || o.validity != fresh.validity {
		t.Errorf("%s: who was online before has %d messages of UIDVALIDITY %s, a fresh client %d of %s\n%v\n%v", user, len(o.flags), o.validity,
			len(fresh.flags), fresh.validity, o.flags, fresh.flags)
	}
}

// until runs a command that is killed some times on its way, and then to its
// end, with one of these exit codes.
func (w *world) until(rng *rand.Rand, kills int, codes []int, args ...string) string {
	w.t.Helper()
	begun := time.Now()
	killed := 0
	for range kills {
		if w.killed(time.Duration(rng.Int64N(int64(700*time.Millisecond))), args...) {
			killed++
		}
	}
	var errs strings.Builder
	cmd := w.command(args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if !slices.Contains(codes, exitOf(err)) || err != nil && exitOf(err) <= 0 {
		w.t.Fatalf("salvor %q: %v\n%s%s", args, err, out, &errs)
	}
	w.t.Logf("%s: killed %d times, %.1f s: %s", args[:min(2, len(args))], killed, time.Since(begun).Seconds(), strings.TrimSpace(errs.String()))
	return string(out)
}

// openKilled opens an incident, which is killed until it gets through.
func (w *world) openKilled(rng *rand.Rand, source string) {
	w.t.Helper()
	args := []string{"incident", "open", "fire", "--source", source}
	for range 4 {
		w.killed(time.Duration(rng.Int64N(int64(700*time.Millisecond))), args...)
		if w.run("incident", "list", "--json") != "" {
			return
		}
	}
	w.run(args...)
}

// redeliverKept brings back what was kept aside, killed on the way, and looks at
// what the users have in the end.
func (w *world) redeliverKept(rng *rand.Rand, lives []*life, opened map[string]float64, aside, server string, login func(string) *imaptest.Client, more ...string) {
	w.t.Helper()
	gap, owed := 0, 0
	for _, l := range lives {
		gap += len(l.gap())
		owed += l.owed()
	}
	args := append([]string{"redeliver", "--incident", "fire", "--from", aside, "--to", server}, more...)
	w.until(rng, 6, []int{0}, args...)
	if r := oneObject(w.t, []byte(w.run(append(args, "--json")...))); r["delivered"] != 0.0 {
		w.t.Errorf("once more: %v", r)
	}
	end := w.totalsOf("fire")
	if end["redelivered"] != float64(gap-owed) || end["owed"] != float64(owed) || end["total"] != opened["total"] {
		w.t.Errorf("in the end: %v, want %d redelivered and %d owed", end, gap-owed, owed)
	}
	for _, l := range lives {
		c := login(l.user)
		l.compare(w.t, c, true)
		l.online.sameAsFresh(w.t, l.user, c)
		c.Close()
	}
	if got := w.gatesOf("fire", "--to", server, "--json"); got["imap"] != len(lives) {
		w.t.Errorf("in the end: %v", got)
	}
}

// totalsOf gives an incident's totals.
func (w *world) totalsOf(name string) map[string]float64 {
	w.t.Helper()
	out := map[string]float64{}
	for key, v := range oneObject(w.t, []byte(w.run("incident", "show", name, "--json"))) {
		if n, ok := v.(float64); ok {
			out[key] = n
		}
	}
	return out
}

// gatesOf gives how far users may come in, and how many of each.
func (w *world) gatesOf(args ...string) map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(w.until(rand.New(rand.NewPCG(1, 1)), 0, []int{0, 3}, append([]string{"incident", "gates"}, args...)...)) {
		out[oneObject(w.t, []byte(line))["gate"].(string)]++
	}
	return out
}
