package catalog

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"salvor/chunk"
)

// TestPlans asks SQLite how it runs the queries of everyday use: none may read
// all records or sort rows in a temporary file (which would hold mail's texts,
// and start to answer only at the end).
func TestPlans(t *testing.T) {
	c := library(t)
	none := func(*Record) error { return nil }
	must(t, c.Users(ctx, func(*User) error { return nil }))
	must(t, c.Mailboxes(ctx, "", func(*Mailbox) error { return nil }))
	must(t, c.Mailboxes(ctx, "amy", func(*Mailbox) error { return nil }))
	must(t, c.Records(ctx, 1, none))
	must(t, c.RecordsOf(ctx, testID("m1"), none))
	for _, q := range []Query{{}, {User: "amy", Subject: "x", Since: night}, {AsOf: night}, {Deleted: true}, {DeletedSince: night}} {
		must(t, c.Entries(ctx, q, func(*Entry) error { return nil }))
	}
	must(t, c.Unsettled(ctx, "", none))
	must(t, c.Unsettled(ctx, "amy", none))
	must(t, c.Running(ctx, "amy", none))
	must(t, c.Held(ctx, 1, none))
	must(t, c.GoneSince(ctx, 1, func(string, *Record) error { return nil }))
	must(t, c.Arrivals(ctx, "amy", testID("m1"), 1, none))
	must(t, c.Expiring(ctx, night, func(*Expiring) error { return nil }))
	must(t, c.Counts(ctx, CountQuery{}, func(*MailboxCount) error { return nil }))
	must(t, c.LiveFrames(ctx, testID("pack 0"), func(*Frame) error { return nil }))
	must(t, c.Tombstones(ctx, "amy", func(*Tombstone) error { return nil }))
	must(t, c.Loads(ctx, "", func(*Load) error { return nil }))
	must(t, c.Incidents(ctx, func(*Incident) error { return nil }))
	for _, q := range []ClaimQuery{{Incident: "fire"}, {Incident: "fire", User: "amy"}, {Incident: "fire", State: ClaimOwed},
		{Incident: "fire", SHA1: chunk.SHA1{1}}, {Incident: "fire", MessageID: "<x>"}, {Incident: "fire", Name: "n"}, {Incident: "fire", OwedSize: 5},
		{Incident: "fire", Sent: true}, {Incident: "fire", User: "amy", State: ClaimOwed, After: 7}} {
		must(t, c.Claims(ctx, q, func(*Claim) error { return nil }))
	}
	must(t, c.ClaimUsers(ctx, "fire", func(UserClaims) error { return nil }))
	must(t, c.Gates(ctx, "fire", func(*Gate) error { return nil }))
	must(t, c.Findings(ctx, FindingQuery{Incident: "fire", User: "amy", Salvage: "s", After: "0"}, func(*Finding) error { return nil }))
	_, _, err := c.Finding("fire", "0")
	must(t, err)
	_, err = c.HasFindings(testID("m1"))
	must(t, err)
	must(t, c.Drills(ctx, func(*Drill) error { return nil }))
	_, _, err = c.Claim("fire", 1)
	must(t, err)
	_, err = c.ClaimCounts(ctx, "fire")
	must(t, err)
	_, err = c.ClaimMarks(ctx, "fire")
	must(t, err)
	_, err = c.OpenIncidentOf("amy")
	must(t, err)
	_, err = c.Claimed(testID("m1"))
	must(t, err)
	_, err = c.Losses(ctx, LossQuery{Source: "s"})
	must(t, err)
	_, err = c.UserHas("amy", testID("m1"))
	must(t, err)
	_, _, err = c.Twin("amy", chunk.SHA1{1}, 5)
	must(t, err)
	_, _, err = c.SameObject("amy", "guid:1")
	must(t, err)
	_, _, err = c.BySHA1(chunk.SHA1{1}, 5)
	must(t, err)
	for record := range int64(2) {
		_, _, err = c.Wanted(testID("m1"), record)
		must(t, err)
	}
	for _, ref := range []chunk.Ref{message(testID("m1")), data("none")} {
		_, err := c.HasChunk(ref)
		must(t, err)
		_, _, err = c.Locate(ref)
		must(t, err)
		_, _, err = c.Content(ref.ID)
		must(t, err)
		_, err = c.HasRecords(ref.ID)
		must(t, err)
	}

	seen := 0
	must(t, c.borrow(func(r *conn) error {
		for _, query := range slices.Collect(maps.Keys(r.idle)) {
			seen++
			must(t, stream(ctx, r, "EXPLAIN QUERY PLAN "+query, noBind, func(w row) string { return w.text(3) }, func(step string) error {
				for _, bad := range []string{"SCAN r", "SCAN record", "SCAN k", "SCAN chunk", "SCAN c", "SCAN f", "AUTOMATIC"} {
					if strings.HasPrefix(step, bad) && step != "SCAN CONSTANT ROW" || strings.Contains(step, "TEMP B-TREE") {
						t.Errorf("%s\n%s", step, query)
					}
				}
				return nil
			}))
		}
		return nil
	}))
	if seen < 20 {
		t.Errorf("only %d statements were looked at", seen)
	}
}
