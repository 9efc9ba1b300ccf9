package owe

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func samplePlan() *plan {
	return &plan{head: planHead{Version: planVersion, Incident: "fire", Store: "imaps://a@b?x=<&>", Made: time.Date(2006, 10, 27, 4, 0, 0, 1000, time.UTC)},
		users: []planUser{
			{User: "ann", Messages: 40, Take: 1, entries: []planEntry{{Folder: "INBOX", UIDValidity: 7, UID: 61, Size: 3, Claim: 4, State: "owed", Kind: kindOwed, Take: true},
				{Folder: "Work", UIDValidity: 7, UID: 1, Kind: kindHeld}}},
			{User: "bob \"\n", Messages: 1, Take: 1, entries: []planEntry{{Folder: "ü", UID: 1<<32 - 1, Kind: kindJunk, Take: true}}},
		}}
}

func TestPlanFile(t *testing.T) {
	p := samplePlan()
	b, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := decode(b)
	if err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("%v\n%+v\n%+v", err, back, p)
	}
	dir := t.TempDir()
	sum, file, err := p.write(dir)
	if err != nil || len(sum) != 64 || file == "" {
		t.Fatal(sum, file, err)
	}
	if back, err = readPlan(dir, sum); err != nil || !reflect.DeepEqual(back, p) {
		t.Error(err)
	}
	for name, c := range map[string]struct{ old, new string }{
		"another version": {`"plan":1`, `"plan":2`}, "a field too many": {`"store"`, `"more":1,"store"`}, "users out of order": {`"ann"`, `"zoe"`},
		"wrong sum": {`"take":1`, `"take":2`}, "more than there are": {`"messages":40`, `"messages":0`}, "twice": {`"folder":"Work","uid_validity":7`, `"folder":"A","uid_validity":7`},
		"nobody's": {`{"user":"ann","messages":40,"take":1}`, ``}, "no end": {`"kind":"held","take":false}`, `"kind":"held"`},
	} {
		if bad := bytes.Replace(b, []byte(c.old), []byte(c.new), 1); bytes.Equal(bad, b) {
			t.Errorf("%s: nothing was changed in %s", name, b)
		} else if _, err := decode(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// FuzzPlan: whatever a plan's file holds, what is taken of it says the same when
// it is written again.
func FuzzPlan(f *testing.F) {
	b, err := samplePlan().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{\"plan\":1}\n{\"user\":\"a\",\"take\":0}"))
	f.Add([]byte("{\"plan\":1}{\"folder\":\"a\",\"take\":true}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err != nil {
			return
		}
		again, err := p.encode()
		if err != nil {
			return // a year beyond what JSON can say
		}
		if q, err := decode(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%v: %s", err, again)
		}
	})
}
