package backup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
)

// A quarter of the mail each night is no person tidying up: from the second
// night on the brake holds it, and nothing ever expires.
func TestBrakeOnAQuarterEachNight(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 400)
	w.Backup()
	held := 0
	for night := range 7 {
		n := len(paths) / 4
		w.Remove(paths[:n]...)
		paths = paths[n:]
		if len(w.Night().HeldByBrake) > 0 {
			held++
		} else if night > 0 {
			t.Errorf("night %d: nothing is held", night+1)
		}
		w.Prune()
	}
	for range 10 {
		w.Night()
		if p := w.Prune(); p.Expired != 0 {
			t.Fatalf("%d records expired although the brake holds them", p.Expired)
		}
	}
	if got := len(w.List(catalog.Query{Deleted: true})) + len(w.List(catalog.Query{})); got != 400 {
		t.Errorf("%d messages are left of 400", got)
	}
	if held < 6 {
		t.Errorf("held on %d nights of 7", held)
	}
}

// An operator's yes starts the week; a no keeps the mail until it is back.
func TestVerdicts(t *testing.T) {
	w := world.New(t)
	ann := w.Fill("ann", "INBOX", 200)
	bob := w.Fill("bob", "INBOX", 200)
	w.Fill("ann", "Old", 1)
	w.Fill("bob", "Old", 1)
	w.Backup()
	w.Remove(ann[:150]...)
	w.Remove(bob[:150]...)
	if r := w.Night(); len(r.HeldByBrake) != 2 || r.Clean() {
		t.Fatalf("%+v", r)
	}
	for range 9 {
		w.Night()
	}
	decide := func(user string, yes bool) {
		_, err := upkeep.Decide(t.Context(), w.H, upkeep.Verdict{User: user, Confirm: yes, By: "op", Now: func() time.Time { return w.Now }})
		must(t, err)
	}
	decide("ann", true)
	decide("bob", false)
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("the week did not begin with the verdict: %+v", p)
	}
	for range 7 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 150 {
		t.Fatalf("after the confirmed week: %+v", p)
	}
	for range 30 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("rejected deletions expired: %+v", p)
	}
}

// What fills no operator's morning: an emptied Trash, an old folder removed.
func TestOrdinaryLife(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 100)
	for range 5 {
		trash := w.Fill("ann", "Trash", 300)
		if r := w.Night(); !r.Clean() {
			t.Fatalf("%+v", r)
		}
		w.Remove(trash...)
	}
	w.Fill("ann", "Projects/Old", 200)
	w.Night()
	must(t, os.RemoveAll(filepath.Join(w.Mail, "ann", ".Projects.Old")))
	if r := w.Night(); !r.Clean() || r.Messages.Gone != 200 {
		t.Fatalf("a removed folder: %+v", r)
	}
}

// A whole user, and an empty mount, never start the week unasked.
func TestWholeUser(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 3)
	w.Fill("bob", "INBOX", 3)
	w.Backup()
	must(t, os.RemoveAll(filepath.Join(w.Mail, "ann")))
	if r := w.Night(); len(r.HeldByBrake) != 1 || r.HeldByBrake[0].User != "ann" {
		t.Fatalf("%+v", r)
	}
	must(t, os.RemoveAll(w.Mail))
	must(t, os.MkdirAll(w.Mail, 0o700))
	w.Night()
	for range 20 {
		w.Night()
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("%+v", p)
	}
}

// One night in 2036, then back: nothing expires early or stays for ten years.
func TestANightIn2036(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 20)
	w.Backup()
	w.Remove(paths[0])
	w.Night()
	w.Remove(paths[1])
	today := w.Now
	w.Now = time.Date(2036, 1, 1, 2, 0, 0, 0, time.UTC)
	if r := w.Backup(); r.Clock == "" || r.Clean() {
		t.Fatalf("2036 is trusted: %+v", r)
	}
	if p := w.Prune(); p.Clock == "" || p.Expired != 0 {
		t.Fatalf("2036 expired mail: %+v", p)
	}
	w.Now = today
	w.Night()
	for day := 2; day <= 6; day++ {
		w.Night()
		if p := w.Prune(); p.Expired != 0 {
			t.Fatalf("day %d: %+v", day, p)
		}
	}
	total := int64(0)
	for range 5 {
		w.Night()
		total += w.Prune().Expired
	}
	if total != 2 {
		t.Fatalf("%d records expired, want 2", total)
	}
}

// Leaving scope is no deletion, whichever way it happens.
func TestLeavingScope(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 80)
	w.Fill("ann", "Work", 80)
	w.Fill("bob", "INBOX", 80)
	w.Backup()
	must(t, os.Rename(filepath.Join(w.Mail, "ann", ".Work"), filepath.Join(w.Mail, "ann", ".Spam")))
	w.Options.Users = []string{"ann"}
	for range 12 {
		if r := w.Night(); r.Messages.Gone != 0 {
			t.Fatalf("%+v", r)
		}
		w.Prune()
	}
	if got := len(w.List(catalog.Query{})); got != 240 {
		t.Errorf("%d live records, want 240", got)
	}
}

// What cannot be listed is not deleted.
func TestUnreadableFolder(t *testing.T) {
	w := world.New(t)
	w.Fill("ann", "INBOX", 5)
	w.Fill("ann", "Work", 5)
	w.Backup()
	cur := filepath.Join(w.Mail, "ann", ".Work", "cur")
	must(t, os.Rename(cur, cur+".away"))
	must(t, os.WriteFile(cur, nil, 0o600)) // listing it is ENOTDIR, also for root
	for range 10 {
		r := w.Night()
		if r.Messages.Gone != 0 || r.Clean() {
			t.Fatalf("%+v", r)
		}
	}
	if p := w.Prune(); p.Expired != 0 {
		t.Fatalf("%+v", p)
	}
	must(t, os.Remove(cur))
	must(t, os.Rename(cur+".away", cur))
	if r := w.Night(); !r.Clean() || r.Messages.New != 0 {
		t.Fatalf("after repair: %+v", r)
	}
}

// Cyrus::Backup brought a deleted folder back to life by compacting, and then
// purged it before its time. Many nights and prunes over messages, folders and
// users, with the figures that must hold each time.
func TestManyRunsAndCompactions(t *testing.T) {
	w := world.New(t)
	w.Policy.Erase = time.Hour
	type deletion struct {
		subject string
		at      time.Time
	}
	var deleted []deletion
	live := map[string]string{}
	for i := range 30 {
		s := fmt.Sprintf("m%02d", i)
		live[s] = w.Deliver("ann", []string{"INBOX", "Work", "Work/Old"}[i%3], w.Message(s))
	}
	w.Backup()
	for night := range 25 {
		for s, path := range live {
			w.Remove(path)
			delete(live, s)
			deleted = append(deleted, deletion{s, w.Now.Add(24 * time.Hour)})
			break
		}
		s := fmt.Sprintf("n%02d", night)
		live[s] = w.Deliver("ann", "INBOX", w.Message(s))
		w.Night()
		w.Prune()
		kept := map[string]bool{}
		for _, e := range w.List(catalog.Query{Deleted: true}) {
			kept[e.Subject] = true
		}
		for _, d := range deleted {
			age := w.Now.Sub(d.at)
			if age < 7*24*time.Hour && !kept[d.subject] {
				t.Fatalf("night %d: %s is gone %v after its deletion", night, d.subject, age)
			}
			if age > 7*24*time.Hour && kept[d.subject] {
				t.Fatalf("night %d: %s is still there %v after its deletion", night, d.subject, age)
			}
		}
		if got := len(w.List(catalog.Query{})); got != len(live) {
			t.Fatalf("night %d: %d live records, want %d", night, got, len(live))
		}
	}
}
