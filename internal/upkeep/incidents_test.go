package upkeep_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// decide commits rows as an operator's decision.
func decide(t *testing.T, w *world.World, rows ...catalog.Row) {
	t.Helper()
	_, err := w.H.Follow(t.Context())
	must(t, err)
	change, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, change.Tx.Put(rows...))
	_, err = change.Commit(t.Context(), w.Now)
	must(t, err)
}

// While an incident is open nothing of its users expires, nor what one of their
// messages relies on; afterwards it does, and others' mail does all the time.
func TestOpenIncidentWithholds(t *testing.T) {
	w := world.New(t)
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	gone := map[string]string{}
	for _, user := range []string{"ann", "bob", "cid"} {
		w.Fill(user, "INBOX", 5)
		gone[user] = w.Deliver(user, "INBOX", w.Message("deleted-by-"+user))
	}
	w.Backup()
	claimed := w.List(catalog.Query{User: "bob", Subject: "deleted-by-bob"})[0]
	fire := catalog.Incident{Name: "fire", Source: "elsewhere", OpenedAt: w.Now, Claims: 2}
	decide(t, w, fire,
		catalog.Claim{Incident: "fire", ID: 1, User: "ann", Folder: "INBOX", UID: 1, State: catalog.ClaimOwed},
		catalog.Claim{Incident: "fire", ID: 2, User: "dan", Folder: "INBOX", UID: 1, State: catalog.ClaimHeld, Content: claimed.Content})
	for _, path := range gone {
		w.Remove(path)
	}
	for range 10 {
		w.Night()
	}
	rehearsal := w.PruneOptions()
	rehearsal.DryRun = true
	r, err := upkeep.Prune(t.Context(), w.H, rehearsal)
	must(t, err)
	if r.Expired != 1 || r.Withheld != 2 {
		t.Errorf("dry run: %+v", r)
	}
	for range 2 { // however often
		r = w.Prune()
		left := w.List(catalog.Query{Deleted: true})
		if r.Withheld != 2 || len(left) != 2 || left[0].User != "ann" || left[1].User != "bob" {
			t.Fatalf("%+v, left %+v", r, left)
		}
	}
	if !slices.ContainsFunc(attention(t, w), func(s string) bool { return strings.Contains(s, `incident "fire" is open`) }) {
		t.Error("status says nothing of the open incident")
	}
	w.Sleep(5 * 24 * time.Hour)
	if slices.ContainsFunc(attention(t, w), func(s string) bool { return strings.Contains(s, "prune does not run") }) {
		t.Error("status takes what is withheld for what nobody prunes")
	}
	fire.ClosedAt = w.Now
	decide(t, w, fire)
	if r := w.Prune(); r.Expired != 2 || r.Withheld != 0 {
		t.Errorf("closed: %+v", r)
	}
}

func attention(t *testing.T, w *world.World) []string {
	t.Helper()
	s, err := upkeep.ReadStatus(t.Context(), w.H.Catalog, upkeep.StatusOptions{Policy: w.Policy, Now: w.Now})
	must(t, err)
	return s.Attention
}

// A source's users are held back without having any claim.
func TestOpenIncidentWithholdsBySource(t *testing.T) {
	w := world.New(t)
	w.Policy = world.PolicyOf(7 * 24 * time.Hour)
	w.Fill("ann", "INBOX", 3)
	path := w.Deliver("ann", "Old", w.Message("only"))
	w.Backup()
	user, _, err := w.H.Catalog.User("ann")
	must(t, err)
	decide(t, w, catalog.Incident{Name: "fire", Source: user.Source, OpenedAt: w.Now})
	w.Remove(path)
	for range 10 {
		w.Night()
	}
	if r := w.Prune(); r.Expired != 0 || r.Withheld != 1 {
		t.Errorf("%+v", r)
	}
}

// A user who is forgotten is in no ledger any more, and the ledger adds up.
func TestForgottenUserIsInNoLedger(t *testing.T) {
	w := world.New(t)
	w.Fill("zyxann", "INBOX", 3)
	w.Fill("bob", "INBOX", 3)
	w.Backup()
	decide(t, w, catalog.Incident{Name: "fire", Source: "elsewhere", OpenedAt: w.Now, Claims: 3, Problems: []string{`"zyxann": "INBOX": gone`, `"bob": odd`}},
		catalog.Claim{Incident: "fire", ID: 1, User: "zyxann", Folder: "zyxfolder", State: catalog.ClaimOwed, MessageID: "<zyxid>"},
		catalog.Claim{Incident: "fire", ID: 2, User: "zyxann", Folder: "INBOX", State: catalog.ClaimHeld},
		catalog.Claim{Incident: "fire", ID: 3, User: "bob", Folder: "INBOX", State: catalog.ClaimOwed})
	_, err := upkeep.Forget(t.Context(), w.H, "zyxann", w.PruneOptions())
	must(t, err)
	counts, err := w.H.Catalog.ClaimCounts(t.Context(), "fire")
	must(t, err)
	fire, _, err := w.H.Catalog.Incident("fire")
	must(t, err)
	if fire.Claims != 1 || len(counts) != 1 || counts[catalog.ClaimOwed] != 1 || len(fire.Problems) != 1 {
		t.Errorf("%+v: %v", fire, counts)
	}
	all := everything(t, w)
	for _, word := range []string{"zyxann", "zyxfolder", "zyxid"} {
		if bytes.Contains(all, []byte(word)) {
			t.Errorf("%s is still there", word)
		}
	}
}
