package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/testenv/world"
	"salvor/internal/vault"
)

var loss = time.Date(2006, 10, 26, 16, 30, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes rows as a decision, as who works on an incident does.
func put(t testing.TB, w *world.World, rows ...catalog.Row) {
	t.Helper()
	change, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, change.Tx.Put(rows...))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
}

// A claimant writes claims.
type claimant struct{ rows []catalog.Row }

// claims adds n claims, a minute apart from at on.
func (c *claimant) claims(n int, state catalog.ClaimState, user, folder string, at time.Time, more ...func(*catalog.Claim)) {
	for i := range n {
		id := int64(len(c.rows) + 1)
		row := catalog.Claim{Incident: "fire", ID: id, User: user, Folder: folder, UIDValidity: 7, UID: uint32(id), State: state, Size: 100 + id,
			SHA1: [20]byte{byte(id), 1}, Reason: "because", MessageID: fmt.Sprintf("<secret-%d@example.org>", id), Flags: []string{`\Seen`}}
		if !at.IsZero() {
			row.InternalDate = at.Add(time.Duration(i) * time.Minute)
		}
		for _, m := range more {
			m(&row)
		}
		c.rows = append(c.rows, row)
	}
}

const (
	hostile = `<script>alert("x")</script>`
	formula = `=cmd|'/c calc'!A1`
)

// ledger is an incident with everything in it.
func ledger(t testing.TB) *world.World {
	t.Helper()
	w := world.New(t)
	w.Fill("alice", "INBOX", 1)
	w.Fill("alice", "Spam", 2)
	w.Backup()
	c := &claimant{}
	c.claims(800, catalog.ClaimRestored, "alice", "INBOX", loss.Add(-1000*time.Hour))
	c.claims(3, catalog.ClaimRestoredMaybe, "alice", "INBOX", loss.Add(-900*time.Hour))
	c.claims(1, catalog.ClaimUncertain, "alice", "INBOX", loss.Add(-900*time.Hour))
	c.claims(10, catalog.ClaimOwed, "alice", "INBOX", loss.Add(-8*time.Hour))
	c.claims(2, catalog.ClaimOwed, "alice", "INBOX", loss.Add(-4*time.Hour), func(c *catalog.Claim) { c.Doubt = true })
	c.claims(1, catalog.ClaimOwed, "alice", "Lists", loss.Add(-6*time.Hour))
	c.claims(1, catalog.ClaimOwed, "alice", "Lists", time.Time{})
	c.claims(2, catalog.ClaimRedelivered, "alice", "Work", loss.Add(-2*time.Hour), func(c *catalog.Claim) {
		c.NowStore, c.NowFolder, c.NowUID, c.Grade, c.SettledAt = "imap://new", "Found", 17, catalog.GradeCertain, loss
	})
	c.claims(1, catalog.ClaimLost, "alice", "Work", loss.Add(-3*time.Hour))
	c.claims(5, catalog.ClaimHeld, "alice", "Sent", loss.Add(-30*time.Hour))
	c.claims(4, catalog.ClaimJunk, "alice", "Junk", loss)
	c.claims(1, catalog.ClaimDeleted, "alice", "INBOX", loss)
	c.claims(3, catalog.ClaimPresent, "bob", "INBOX", loss)
	c.claims(1, catalog.ClaimOwed, hostile, "<img src=//evil.example>", loss, func(c *catalog.Claim) { c.Reason = "+1+1" })
	c.claims(1, catalog.ClaimOwed, formula, "-2+3\x1b[2J\u202e", loss, func(c *catalog.Claim) { c.MessageID = "@SUM(A1)\r\n\"quoted\", and more" })
	put(t, w, append([]catalog.Row{catalog.Incident{Name: "fire", Source: "cyrus:/etc/secret.conf", Index: "cyrus:/etc/secret.conf", At: loss, OpenedAt: loss, Run: 1,
		Claims: int64(len(c.rows))}, catalog.Run{Number: 1, Kind: "backup", Started: loss.Add(-9 * time.Hour)}}, c.rows...)...)
	put(t, w, catalog.Gate{Incident: "fire", User: "alice", State: catalog.GateWeb})
	return w
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	return zone
}

func opened(t testing.TB, w *world.World) *Report {
	t.Helper()
	r, err := Open(t.Context(), w.H.Catalog, "fire", Options{Zone: berlin(t), Now: func() time.Time { return loss.Add(48 * time.Hour) }})
	must(t, err)
	return r
}

func text(t testing.TB, f Format, p written) string {
	t.Helper()
	var b bytes.Buffer
	must(t, f.Write(&b, p))
	return b.String()
}

// A page says in plain words what the user will notice.
func TestPage(t *testing.T) {
	r := opened(t, ledger(t))
	p, err := r.Page(t.Context(), "alice")
	must(t, err)
	want, err := os.ReadFile("testdata/alice.txt")
	if got := text(t, Text, p); err != nil || got != string(want) {
		t.Errorf("%v, the page is:\n%s", err, got)
	}
	n := Numbers{Total: 826, Back: 805, Restored: 800, RestoredMaybeDeleted: 3, Redelivered: 2, Owed: 14, InDoubt: 2, Lost: 1, Held: 5, Uncertain: 1, Deleted: 1, Junk: 4}
	if p.Messages != n {
		t.Errorf("%+v", p.Messages)
	}
	if bob, err := r.Page(t.Context(), "bob"); err != nil || !strings.Contains(text(t, Text, bob), "You had 3 messages. All of them are there. You should notice nothing.\n") {
		t.Errorf("%+v, %v", bob, err)
	}
	if _, err := r.Page(t.Context(), "carl"); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), r.c, "flood", Options{}); !errors.Is(err, incident.ErrUnknown) {
		t.Error(err)
	}
}

// The JSON of a page is what is documented: lists are lists, also empty ones.
func TestPageJSON(t *testing.T) {
	r := opened(t, ledger(t))
	p, err := r.Page(t.Context(), "bob")
	must(t, err)
	want := `{"incident":"fire","user":"bob","loss_at":"2006-10-26T18:30:00+02:00","backup_at":"2006-10-26T09:30:00+02:00","written_at":"2006-10-28T18:30:00+02:00","open":true,"access":"",` +
		`"messages":{"total":3,"back":3,"present":3,"restored":0,"restored_maybe_deleted":0,"redelivered":0,"owed":0,"in_doubt":0,"lost":0,"held":0,"uncertain":0,"deleted":0,"junk":0},` +
		`"maybe_deleted":[],"empty_folders":[],"missing":[],"waiting":[],"late":[],"given_up":[],"unlisted":false}` + "\n"
	if got := text(t, JSON, p); got != want {
		t.Error(got)
	}
	p, err = r.Page(t.Context(), "alice")
	must(t, err)
	var got struct {
		Missing []struct {
			Folder   string
			Messages int
			InDoubt  int `json:"in_doubt"`
			Undated  int
			Between  []struct {
				From, To string
				Messages int
			}
		}
		Late []struct {
			NowFolder string `json:"now_folder"`
		}
		Empty []Empty `json:"empty_folders"`
	}
	must(t, json.Unmarshal([]byte(text(t, JSON, p)), &got))
	inbox := got.Missing[0]
	if inbox.Folder != "INBOX" || inbox.Messages != 12 || inbox.InDoubt != 2 || len(inbox.Between) != 2 || inbox.Between[0].From != "2006-10-26T10:30:00+02:00" ||
		inbox.Between[0].To != "2006-10-26T10:39:00+02:00" || inbox.Between[0].Messages != 10 || got.Missing[1].Undated != 1 || got.Late[0].NowFolder != "Found" {
		t.Errorf("%+v", got)
	}
	if want := []Empty{{"Junk", WhyJunk, 4}, {"Lists", WhyNothing, 2}, {"Spam", WhyJunk, 2}}; !slices.Equal(got.Empty, want) {
		t.Errorf("%+v", got.Empty)
	}
}

// A page of HTML needs nothing else, runs nothing, and shows names as they are.
func TestHTML(t *testing.T) {
	r := opened(t, ledger(t))
	err := r.Pages(t.Context(), func(p *Page) error {
		got := text(t, HTML, p)
		if regexp.MustCompile(`(?i)<script|<img|<a |src=|href=|url\(|@import|javascript:`).MatchString(strings.ReplaceAll(got, "&lt;img src=//evil", "")) {
			t.Errorf("the page of %q:\n%s", p.User, got)
		}
		for _, part := range []string{"<!DOCTYPE html>", `name="viewport"`, "default-src 'none'", "@media print", "</html>"} {
			if !strings.Contains(got, part) {
				t.Errorf("the page of %q lacks %q", p.User, part)
			}
		}
		if strings.ContainsAny(got, "\x1b\u202e") {
			t.Errorf("the page of %q holds controls", p.User)
		}
		return nil
	})
	must(t, err)
	p, err := r.Page(t.Context(), hostile)
	must(t, err)
	if got := text(t, HTML, p); !strings.Contains(got, "<bdi>&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;</bdi>") {
		t.Error(got)
	}
}

// A CSV has every message once, and no cell that a spreadsheet would run.
func TestCSV(t *testing.T) {
	r := opened(t, ledger(t))
	var b bytes.Buffer
	must(t, r.CSV(t.Context(), &b))
	if !strings.HasPrefix(b.String(), strings.Join(Columns, ",")+"\r\n") || strings.Count(b.String(), "\r\n") != int(r.Incident.Claims)+1 {
		t.Errorf("%d lines of %d messages", strings.Count(b.String(), "\r\n"), r.Incident.Claims)
	}
	in := csv.NewReader(&b)
	in.FieldsPerRecord = len(Columns)
	rows, err := in.ReadAll()
	must(t, err)
	states := map[string]int{}
	for _, row := range rows[1:] {
		states[row[4]]++
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a formula: %q", cell)
			}
			if strings.ContainsAny(cell, "\x1b\u202e") {
				t.Errorf("a control: %q", cell)
			}
		}
	}
	if states["restored"] != 800 || states["owed"] != 16 || len(states) != 10 {
		t.Errorf("%v", states)
	}
	last := rows[len(rows)-1]
	if last[0] != "'"+formula || last[1] != "'-2+3\ufffd[2J\ufffd" || last[8] != "'@SUM(A1)\ufffd\ufffd\"quoted\", and more" {
		t.Errorf("%q", last)
	}
	if got := rows[len(rows)-2][5]; got != "'+1+1" {
		t.Errorf("%q", got)
	}
	late := rows[slices.IndexFunc(rows, func(row []string) bool { return row[4] == "redelivered" })]
	if want := []string{"alice", "Work", "7", "819", "redelivered", "because", "919", "2006-10-26T14:30:00Z", "<secret-819@example.org>",
		"3301000000000000000000000000000000000000", `\Seen`, "2006-10-26T16:30:00Z", "imap://new", "Found", "17", "certain", "", ""}; !slices.Equal(late, want) {
		t.Errorf("%q", late)
	}
	doubt := 0
	for _, row := range rows[1:] {
		if row[17] == "true" {
			doubt++
		}
	}
	if doubt != 2 {
		t.Errorf("%d in doubt", doubt)
	}
}

// The public summary holds nothing private: no user, folder, Message-ID, file or
// server, in no format.
func TestPublic(t *testing.T) {
	w := ledger(t)
	r := opened(t, w)
	p, err := r.Public(t.Context())
	must(t, err)
	if p.Users != (Noticing{All: 4, Nothing: 1, MaybeDeleted: 1, EmptyFolders: 3, Missing: 3, Waiting: 1, Late: 1, GivenUp: 1}) || p.Messages.Owed != 16 ||
		p.Messages.Total != r.Totals.Total || p.Undated != 1 {
		t.Errorf("%+v", p)
	}
	if len(p.MissingBetween) == 0 || p.MissingBetween[0].From.Format(time.RFC3339) != "2006-10-26T10:00:00+02:00" {
		t.Errorf("%v", p.MissingBetween)
	}
	for _, h := range p.MissingBetween {
		if h.From.Minute() != 0 || h.To.Minute() != 0 || !h.To.After(h.From) {
			t.Errorf("no full hours: %v", h)
		}
	}
	private := []string{"fire", "secret", "example.org", "INBOX", "because", "imap:"}
	must(t, w.H.Catalog.Claims(t.Context(), catalog.ClaimQuery{Incident: "fire"}, func(c *catalog.Claim) error {
		private = append(private, c.User, c.Folder, c.MessageID, c.SHA1.String())
		return nil
	}))
	must(t, w.H.Catalog.Mailboxes(t.Context(), "", func(b *catalog.Mailbox) error {
		private = append(private, b.User, b.Name)
		return nil
	}))
	must(t, w.H.Catalog.Entries(t.Context(), catalog.Query{}, func(e *catalog.Entry) error {
		private = append(private, e.Subject, e.From, e.MessageID)
		return nil
	}))
	slices.Sort(private)
	for _, f := range []Format{Text, HTML, JSON} {
		got := text(t, f, p)
		for _, word := range slices.Compact(slices.Clone(private)) {
			// A folder may be called by a common word; it must stand for itself.
			if word != "" && regexp.MustCompile(`(^|\W)`+regexp.QuoteMeta(word)+`(\W|$)`).MatchString(got) {
				t.Errorf("%s has %q", f, word)
			}
		}
		if !strings.Contains(got, "16") {
			t.Errorf("%s has no numbers:\n%s", f, got)
		}
	}
}

// Nothing is said of a ledger that does not add up.
func TestSums(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, w *world.World){
		"a row too few": func(t *testing.T, w *world.World) {
			change, err := w.H.Begin(t.Context(), vault.CommitDecision)
			must(t, err)
			must(t, change.Tx.Delete(catalog.Claim{Incident: "fire", ID: 5}))
			_, err = change.Commit(t.Context(), w.Now)
			must(t, err)
		},
		"a row too many": func(t *testing.T, w *world.World) {
			put(t, w, catalog.Claim{Incident: "fire", ID: 9999, User: "alice", Folder: "INBOX", State: catalog.ClaimPresent})
		},
		"another number": func(t *testing.T, w *world.World) {
			i, _, err := w.H.Catalog.Incident("fire")
			must(t, err)
			i.Claims += 2
			put(t, w, i)
		},
	} {
		w := ledger(t)
		damage(t, w)
		if r, err := Open(t.Context(), w.H.Catalog, "fire", Options{}); !errors.Is(err, incident.ErrSums) || r != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	// And what was read does not have to be taken on trust either.
	w := ledger(t)
	r := opened(t, w)
	r.Totals.Owed++
	if _, err := r.Public(t.Context()); !errors.Is(err, incident.ErrSums) {
		t.Error(err)
	}
	if err := r.CSV(t.Context(), io.Discard); !errors.Is(err, incident.ErrSums) {
		t.Error(err)
	}
	if _, err := r.WriteDir(t.Context(), filepath.Join(t.TempDir(), "out"), Text); !errors.Is(err, incident.ErrSums) {
		t.Error(err)
	}
	if _, err := r.page(t.Context(), catalog.UserClaims{User: "bob", Counts: map[catalog.ClaimState]int64{catalog.ClaimPresent: 2}}); !errors.Is(err, incident.ErrSums) {
		t.Error(err)
	}
	if _, err := r.page(t.Context(), catalog.UserClaims{User: "bob", Counts: map[catalog.ClaimState]int64{"mislaid": 3}}); !errors.Is(err, incident.ErrSums) {
		t.Error(err)
	}
}

// Somebody who goes on with the incident meanwhile moves messages from state to
// state; that is no damage, but a message that came or went is told.
func TestMeanwhile(t *testing.T) {
	w := ledger(t)
	r := opened(t, w)
	bob := catalog.UserClaims{User: "bob", Counts: map[catalog.ClaimState]int64{catalog.ClaimPresent: 3}}
	put(t, w, catalog.Claim{Incident: "fire", ID: 832, User: "bob", Folder: "INBOX", State: catalog.ClaimOwed})
	p, err := r.page(t.Context(), bob)
	if err != nil || p.Messages.Owed != 1 || p.Messages.Present != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	bob.Counts[catalog.ClaimPresent]++
	if _, err := r.page(t.Context(), bob); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if _, err := r.Public(t.Context()); err != nil {
		t.Error(err)
	}
}

// Memory does not grow with the ledger.
func TestCSVMemory(t *testing.T) {
	w := world.New(t)
	c := &claimant{}
	c.claims(30000, catalog.ClaimOwed, "alice", "INBOX", loss, func(c *catalog.Claim) { c.Envelope = strings.Repeat("e", 1000) })
	put(t, w, append([]catalog.Row{catalog.Incident{Name: "fire", Source: "x", At: loss, Claims: 30000}}, c.rows...)...)
	c.rows = nil
	r := opened(t, w)
	var before, most uint64
	read := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before = read()
	lines := 0
	must(t, r.CSV(t.Context(), writerFunc(func(p []byte) (int, error) {
		if lines++; lines%300 == 0 {
			most = max(most, read())
		}
		return len(p), nil
	})))
	if lines < 900 || most > before+8<<20 {
		t.Errorf("%d writes, %d bytes before, %d while it was written", lines, before, most)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// An interrupted report ends.
func TestCancelled(t *testing.T) {
	r := opened(t, ledger(t))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := r.CSV(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
