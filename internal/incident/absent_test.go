package incident_test

import (
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
)

// A server that ran over an empty volume has forgotten what it did not find. That
// looks like deletions, but for their number.
func TestMassAbsence(t *testing.T) {
	w, s := serve(t)
	fill := func(user, folder string, from, n int) {
		for i := range n {
			s.deliver(user, folder, body(from+i))
		}
	}
	fill("few", "INBOX", 1000, 30)   // deletes 9
	fill("most", "INBOX", 2000, 70)  // is said to have deleted 25
	fill("all", "INBOX", 3000, 5)    // the same, all of 5
	fill("mover", "INBOX", 4000, 40) // files 35 away
	fill("tidy", "INBOX", 5000, 10)
	fill("tidy", "Trash", 5100, 60) // empties the Trash
	fill("four", "INBOX", 6000, 4)  // deletes all 4
	w.Backup()
	forget := func(user, folder string, n int) {
		b := s.box(user, folder)
		b.letters = b.letters[n:]
		b.touch()
	}
	forget("few", "INBOX", 9)
	forget("most", "INBOX", 25)
	forget("all", "INBOX", 5)
	forget("mover", "INBOX", 35)
	fill("mover", "Archive", 4000, 35)
	forget("tidy", "Trash", 60)
	forget("four", "INBOX", 4)
	w.Sleep(10 * time.Hour)
	open(t, w, options(w, s.snapshot()))

	got := map[string]map[catalog.ClaimState]int{}
	for _, c := range claims(t, w.H.Catalog, "fire") {
		if got[c.User] == nil {
			got[c.User] = map[catalog.ClaimState]int{}
		}
		got[c.User][c.State]++
	}
	for user, want := range map[string]map[catalog.ClaimState]int{
		"few":   {catalog.ClaimHeld: 21, catalog.ClaimDeleted: 9},
		"most":  {catalog.ClaimHeld: 45, catalog.ClaimUncertain: 25},
		"all":   {catalog.ClaimUncertain: 5},
		"mover": {catalog.ClaimHeld: 40, catalog.ClaimDeleted: 35},
		"tidy":  {catalog.ClaimHeld: 10, catalog.ClaimDeleted: 60},
		"four":  {catalog.ClaimDeleted: 4},
	} {
		for _, state := range catalog.ClaimStates {
			if got[user][state] != want[state] {
				t.Errorf("%s: %d are %s, want %d", user, got[user][state], state, want[state])
			}
		}
	}
	wants(t, claimed(t, w, "most", "INBOX", 1), catalog.ClaimUncertain, "nor 24 others of the user's 70 messages")
	if _, err := incident.Count(t.Context(), w.H.Catalog, "fire"); err != nil {
		t.Error(err)
	}
}
