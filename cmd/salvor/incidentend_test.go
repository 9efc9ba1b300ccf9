package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// endIncident tells the users of the lost Cyrus, gives up what is owed by name,
// and closes the incident: each step refuses what would lose something silently.
func endIncident(t *testing.T, w *world) {
	t.Helper()
	fails := func(code int, want string, args ...string) {
		t.Helper()
		out, err := w.command(append([]string{"incident"}, args...)...).CombinedOutput()
		if exitOf(err) != code || !strings.Contains(string(out), want) {
			t.Errorf("%v: exit %d, %s", args, exitOf(err), out)
		}
	}
	page := w.run("incident", "report", "fire", "--user", "alice", "--timezone", "UTC")
	for _, want := range []string{"You had 7 messages. Of these, 0 are there now. 6 more are in the backup and will be put back. 1 is still missing.",
		"* INBOX: 1 message, from ", "* Spam: junk mail is not part of the backup (2 messages)", "4 messages that you had deleted stay deleted."} {
		if !strings.Contains(strings.Join(strings.Fields(page), " "), want) {
			t.Errorf("alice's page lacks %q:\n%s", want, page)
		}
	}
	var public struct {
		Users struct{ All, Missing, Waiting int }
	}
	must(t, json.Unmarshal([]byte(w.run("incident", "report", "fire", "--public", "--json")), &public))
	if public.Users.All != 3 || public.Users.Missing != 3 || public.Users.Waiting != 2 {
		t.Errorf("%+v", public)
	}
	if n := strings.Count(w.run("incident", "report", "fire", "--format", "csv"), "\r\n"); n != len(ledger)+1 {
		t.Errorf("the CSV has %d lines", n)
	}

	fails(1, "3 are owed", "close", "fire", "--leave-held")
	if got := oneObject(t, []byte(w.run("incident", "give-up", "fire", "--user", "alice", "--user", "bob", "--reason", "the disk is dust", "--json"))); got["given_up"] != 2.0 ||
		got["owed"] != 1.0 || got["lost"] != 2.0 {
		t.Errorf("%v", got)
	}
	if got := w.run("incident", "list", "fire", "--state", "lost", "--json"); strings.Count(got, ": the disk is dust; it was owed: it arrived after the last backup") != 2 {
		t.Error(got)
	}
	fails(1, "13 are held, 1 uncertain", "close", "fire", "--give-up")
	if got := oneObject(t, []byte(w.run("incident", "close", "fire", "--give-up", "--leave-held", "--json"))); got["owed"] != 0.0 || got["lost"] != 3.0 {
		t.Errorf("%v", got)
	}
	if page := w.run("incident", "report", "fire", "--user", "carol"); !strings.Contains(page, "Mail that is lost") {
		t.Error(page)
	}
}
