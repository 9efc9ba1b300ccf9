package redeliver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
	"salvor/internal/mailstore/stores"
	"salvor/internal/testenv/world"
	"salvor/internal/vault"
)

func lf(wire string) string { return strings.ReplaceAll(wire, "\r\n", "\n") }

// Everything that a directory may hold, and what becomes of it.
func TestDelivers(t *testing.T) {
	t.Parallel()
	l := newLab(t,
		owed("ann", "INBOX", 11, letterOf(1)),
		owed("ann", "Work/2026", 3, letterOf(2)),
		owed("ann", "Copies", 1, letterOf(1)), // the same message, in another folder
		owed("bob", "INBOX", 1, letterOf(3)),
		with(owed("bob", "INBOX", 2, letterOf(4)), func(c *catalog.Claim) { c.State = catalog.ClaimDeleted }),
		with(owed("bob", "INBOX", 3, letterOf(5)), func(c *catalog.Claim) { c.State = catalog.ClaimHeld }),
		with(owed("bob", "INBOX", 4, letterOf(6)), func(c *catalog.Claim) { // Dovecot knows no hash
			clear(c.SHA1[:])
			c.Name, c.Size = maildirName(letterOf(6)), int64(len(lf(letterOf(6))))
		}),
		owed("bob", "INBOX", 5, letterOf(7)), // never found
		with(owed("bob", "Junk", 1, letterOf(8)), func(c *catalog.Claim) { c.State = catalog.ClaimJunk }),
	)
	l.file("8", letterOf(8))
	l.file("cyrus/a/11.", letterOf(1))
	l.file("lf.eml", lf(letterOf(1)))
	l.file("again.eml", letterOf(1))
	l.file("b/c/2.eml", lf(letterOf(2)))
	l.file("3", letterOf(3))
	l.file("4", letterOf(4))
	l.file("5", letterOf(5))
	l.file("cur/"+maildirName(letterOf(6))+":2,S", lf(letterOf(6)))
	l.file("cur/"+maildirName(letterOf(16))+":2,S", lf(letterOf(16)))
	l.file("vmlinuz", "no mail at all")
	must(t, os.Symlink(filepath.Join(l.found, "3"), filepath.Join(l.found, "link")))
	must(t, os.Symlink("/", filepath.Join(l.found, "root")))
	l.server.box("ann", "INBOX").next = 40
	before := *l.server.box("ann", "INBOX")

	var unknown []string
	o := func(o *redeliver.Options) {
		o.Unknown = func(c redeliver.Content) { unknown = append(unknown, filepath.Base(c.Place)) }
	}
	want := redeliver.Report{Delivered: 5, StillOwed: 6, AlreadyHeld: 3, Deleted: 1, Unknown: 3, DryRun: true}
	dry := func(o *redeliver.Options) { o.DryRun = true }
	r := l.run(dry)
	counts(t, r, want)
	if len(r.Folders) != 4 || r.Folders[0] != (redeliver.Folder{User: "ann", Name: "Copies", Messages: 1, Bytes: int64(len(letterOf(1)))}) {
		t.Errorf("%+v", r.Folders)
	}
	if n := l.server.count("ann", letterOf(1)); n != 0 || l.server.accounts["ann"]["Copies"] != nil || l.claim(1).State != catalog.ClaimOwed {
		t.Errorf("a dry run delivered")
	}
	want.StillOwed, want.DryRun = 1, false
	counts(t, l.run(o), want)
	if len(unknown) != 3 || !slices.Contains(unknown, "vmlinuz") || !slices.Contains(unknown, "8") {
		t.Errorf("unknown: %q", unknown)
	}
	if n := l.server.count("ann", letterOf(1)); n != 2 {
		t.Errorf("letter 1 is there %d times", n)
	}
	inbox := l.server.box("ann", "INBOX")
	got := inbox.letters[0]
	if inbox.validity != before.validity || got.uid != 40 || got.wire != letterOf(1) || !slices.Equal(got.flags, []string{"$Label", `\Seen`}) || !got.date.Equal(arrival) {
		t.Errorf("%+v", got)
	}
	c := l.claim(1)
	if c.State != catalog.ClaimRedelivered || c.NowStore != "imap://admin@server" || c.NowFolder != "INBOX" || c.NowValidity != inbox.validity ||
		c.NowUID != 40 || c.Grade != catalog.GradeCertain || c.InFlight() || c.SentStore != "" || !c.SettledAt.Equal(l.Now) {
		t.Errorf("%+v", c)
	}
	for _, id := range []int64{2, 3, 4, 7} {
		if c := l.claim(id); c.State != catalog.ClaimRedelivered {
			t.Errorf("%+v", c)
		}
	}
	if c := l.claim(8); c.State != catalog.ClaimOwed || c.Reason != l.claims[7].Reason {
		t.Errorf("%+v", c)
	}
	// Again: nothing more.
	counts(t, l.run(), redeliver.Report{StillOwed: 1, AlreadyHeld: 7, Deleted: 1, Unknown: 3})
}

func TestProbable(t *testing.T) {
	t.Parallel()
	noHash := func(c *catalog.Claim) { clear(c.SHA1[:]) }
	named := func(c *catalog.Claim) { noHash(c); c.MessageID = "<1@x>" }
	at := func(d time.Duration) func(*catalog.Claim) {
		return func(c *catalog.Claim) { noHash(c); c.InternalDate = arrival.Add(d) }
	}
	two := strings.Replace(letterOf(1), "Text 1", "Text 2", 1)
	for name, c := range map[string]struct {
		claims []catalog.Claim
		files  []string
		date   time.Time // of the files
		want   int64     // probable
	}{
		"by Message-ID":              {[]catalog.Claim{with(owed("ann", "INBOX", 1, letterOf(1)), named)}, []string{letterOf(1)}, time.Time{}, 1},
		"another size":               {[]catalog.Claim{with(owed("ann", "INBOX", 1, letterOf(1)+"x"), named)}, []string{letterOf(1)}, time.Time{}, 0},
		"another time":               {[]catalog.Claim{with(with(owed("ann", "INBOX", 1, letterOf(1)), named), func(c *catalog.Claim) { c.InternalDate = arrival.AddDate(0, 0, 3) })}, []string{letterOf(1)}, time.Time{}, 0},
		"by size and second":         {[]catalog.Claim{with(owed("ann", "INBOX", 1, letterOf(1)), at(0))}, []string{letterOf(1)}, arrival, 1},
		"another second":             {[]catalog.Claim{with(owed("ann", "INBOX", 1, letterOf(1)), at(time.Second))}, []string{letterOf(1)}, arrival, 0},
		"two claims of the second":   {[]catalog.Claim{with(owed("ann", "INBOX", 1, letterOf(1)), at(0)), with(owed("ann", "INBOX", 2, letterOf(2)), at(0))}, []string{letterOf(1)}, arrival, 0},
		"a damaged copy":             {[]catalog.Claim{with(owed("ann", "INBOX", 1, two), func(c *catalog.Claim) { c.MessageID = "<1@x>" })}, []string{letterOf(1)}, time.Time{}, 1},
		"a hash that is not matched": {[]catalog.Claim{owed("ann", "INBOX", 1, two)}, []string{letterOf(1)}, time.Time{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.claims...)
			for i, f := range c.files {
				path := string(rune('a' + i))
				l.file(path, f)
				if !c.date.IsZero() {
					must(t, os.Chtimes(filepath.Join(l.found, path), c.date, c.date))
				}
			}
			r := l.run()
			if r.Probable != c.want || r.Delivered != 0 || r.Complete() != (c.want == 0) || len(r.Notes) != int(c.want) {
				t.Errorf("%+v", r)
			}
			r = l.run(func(o *redeliver.Options) { o.AcceptProbable = true })
			if r.Probable != 0 || r.Delivered != c.want {
				t.Errorf("accepted: %+v", r)
			}
			if c.want == 1 && l.claim(1).Grade != catalog.GradeProbable {
				t.Errorf("%+v", l.claim(1))
			}
		})
	}
	// What may be one of two is neither; what is certain goes first.
	l := newLab(t, with(owed("ann", "INBOX", 1, letterOf(1)), named))
	l.file("a", letterOf(1))
	l.file("b", two)
	r := l.run(func(o *redeliver.Options) { o.AcceptProbable = true })
	counts(t, r, redeliver.Report{StillOwed: 1, Probable: 1})
	l = newLab(t, with(owed("ann", "INBOX", 1, letterOf(1)), func(c *catalog.Claim) { c.MessageID = "<1@x>" }))
	l.file("a", two)
	l.file("b", letterOf(1))
	l.file("c", two)
	l.run(func(o *redeliver.Options) { o.AcceptProbable = true })
	if l.server.count("ann", letterOf(1)) != 1 || l.server.count("ann", two) != 0 || l.claim(1).Grade != catalog.GradeCertain {
		t.Errorf("%+v", l.claim(1))
	}
}

// What the server has already is not sent, in whatever way it came there.
func TestThere(t *testing.T) {
	t.Parallel()
	received := "Return-Path: <a@b>\r\nReceived: from x\r\n\tby y; now\r\n" + letterOf(1)
	other := strings.Replace(letterOf(1), "Text", "Other", 1)
	standing := func(folder string, uid uint32) func(*catalog.Claim) {
		return func(c *catalog.Claim) {
			c.State, c.NowFolder, c.NowUID, c.NowValidity = catalog.ClaimRestored, folder, uid, 101
		}
	}
	for name, c := range map[string]struct {
		more  []catalog.Claim
		there func(*server)
		sent  int64
		state catalog.ClaimState
		box   string
	}{
		"nothing":              {nil, func(s *server) {}, 1, catalog.ClaimRedelivered, "INBOX"},
		"the same":             {nil, func(s *server) { s.box("ann", "INBOX").add(letterOf(1), nil, arrival) }, 0, catalog.ClaimRedelivered, "INBOX"},
		"another way":          {nil, func(s *server) { s.box("ann", "INBOX").add(received, nil, arrival) }, 0, catalog.ClaimRedelivered, "INBOX"},
		"another text":         {nil, func(s *server) { s.box("ann", "INBOX").add(other, nil, arrival) }, 1, catalog.ClaimRedelivered, "INBOX"},
		"moved":                {nil, func(s *server) { s.box("ann", "Sieve").add(received, nil, arrival) }, 0, catalog.ClaimRedelivered, "Sieve"},
		"somebody else's":      {nil, func(s *server) { s.box("bob", "INBOX").add(letterOf(1), nil, arrival) }, 1, catalog.ClaimRedelivered, "INBOX"},
		"as it was":            {nil, func(s *server) { b := s.box("ann", "INBOX"); b.validity = 7; b.add(letterOf(1), nil, arrival) }, 0, catalog.ClaimPresent, "INBOX"},
		"another claim's":      {[]catalog.Claim{with(owed("ann", "INBOX", 9, letterOf(1)), standing("INBOX", 1))}, func(s *server) { s.box("ann", "INBOX").add(letterOf(1), nil, arrival) }, 1, catalog.ClaimRedelivered, "INBOX"},
		"another's, of no UID": {[]catalog.Claim{with(owed("ann", "INBOX", 9, letterOf(1)), standing("INBOX", 0))}, func(s *server) { s.box("ann", "INBOX").add(letterOf(1), nil, arrival) }, 1, catalog.ClaimRedelivered, "INBOX"},
		"another's, moved":     {[]catalog.Claim{with(owed("ann", "INBOX", 9, letterOf(1)), standing("INBOX", 5))}, func(s *server) { s.box("ann", "Old").add(letterOf(1), nil, arrival) }, 1, catalog.ClaimRedelivered, "INBOX"},
		"another's, and one": {[]catalog.Claim{with(owed("ann", "INBOX", 9, letterOf(1)), standing("INBOX", 1))}, func(s *server) {
			s.box("ann", "INBOX").add(letterOf(1), nil, arrival)
			s.box("ann", "INBOX").add(letterOf(1), nil, arrival)
		}, 0, catalog.ClaimRedelivered, "INBOX"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, append([]catalog.Claim{owed("ann", "INBOX", 1, letterOf(1))}, c.more...)...)
			c.there(l.server)
			l.file("a", letterOf(1))
			dry := l.run(func(o *redeliver.Options) { o.DryRun = true })
			r := l.run()
			if r.Delivered != c.sent || r.AlreadyThere != 1-c.sent || r.Failed != 0 || r.StillOwed != 0 || dry.Delivered != c.sent || dry.AlreadyThere != 1-c.sent {
				t.Errorf("%+v; dry run %+v", r, dry)
			}
			if got := l.claim(1); got.State != c.state || got.NowFolder != c.box || got.NowUID == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	// Two are owed in two folders, and one has come: each counts once.
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "Work", 1, letterOf(1)), owed("ann", "Work", 2, letterOf(1)))
	l.server.box("ann", "Work").add(letterOf(1), nil, arrival)
	l.file("a", letterOf(1))
	counts(t, l.run(), redeliver.Report{Delivered: 2, AlreadyThere: 1})
	if n := len(l.server.box("ann", "Work").letters); n != 2 || len(l.server.box("ann", "INBOX").letters) != 1 {
		t.Errorf("Work has %d", n)
	}
}

// What the server does not take stays owed, with the reason; the rest goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t,
		owed("ann", "Locked", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)),
		owed("bob", "INBOX", 1, letterOf(3)), owed("bob", "INBOX", 2, letterOf(4)), owed("bob", "Work", 3, letterOf(5)),
		owed("cid", "Gone", 1, letterOf(6)), owed("cid", "INBOX", 2, letterOf(7)),
		owed("dan", "INBOX", 1, letterOf(8)),
		owed("eve", "Gone", 1, letterOf(9)))
	s := l.server
	s.box("ann", "Locked").readOnly = true
	s.quota["bob"] = 1
	s.noMake["Gone"] = true
	s.refuse = "Text 7"
	delete(s.accounts, "dan")
	s.box("eve", "Recovered").readOnly = true
	for n := range 9 {
		l.file(string(rune('a'+n)), letterOf(n+1))
	}
	r := l.run()
	counts(t, r, redeliver.Report{Delivered: 3, Failed: 6, StillOwed: 6})
	for id, want := range map[int64]string{1: "read-only", 4: "Over quota", 5: "Over quota", 7: "I do not like it", 8: "no account", 9: "read-only"} {
		if c := l.claim(id); c.State != catalog.ClaimOwed || !strings.Contains(c.Reason, want) || c.InFlight() || c.Doubt {
			t.Errorf("%d: %+v, want %q", id, c, want)
		}
	}
	if c := l.claim(6); c.State != catalog.ClaimRedelivered || c.NowFolder != "Recovered" || !strings.Contains(c.Reason, "Permission denied") {
		t.Errorf("%+v", c)
	}
	// With room and rights it goes on.
	s.box("ann", "Locked").readOnly, s.refuse = false, ""
	delete(s.quota, "bob")
	s.box("dan", "INBOX")
	s.box("eve", "Recovered").readOnly = false
	counts(t, l.run(), redeliver.Report{Delivered: 6, AlreadyHeld: 3})
}

// A server that tells no UIDs, and one that changes what it stores.
func TestOddServers(t *testing.T) {
	t.Parallel()
	odd := strings.Replace(letterOf(1), "letter", "l\xc3\xa9tter", 1)
	l := newLab(t, owed("ann", "INBOX", 1, odd), owed("ann", "INBOX", 2, letterOf(2)), owed("ann", "Old", 2, letterOf(2)))
	l.server.noUIDs, l.server.munge = true, true
	l.file("a", odd)
	l.file("b", letterOf(2))
	counts(t, l.run(), redeliver.Report{Delivered: 3})
	for id := range int64(3) {
		if c := l.claim(id + 1); c.NowUID == 0 {
			t.Errorf("%+v", c)
		}
	}
	counts(t, l.run(), redeliver.Report{AlreadyHeld: 2})
}

func TestUser(t *testing.T) {
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("bob", "INBOX", 1, letterOf(1)), owed("bob", "INBOX", 2, letterOf(2)))
	l.file("a", letterOf(1))
	l.file("b", letterOf(2))
	counts(t, l.run(func(o *redeliver.Options) { o.User = "ann" }), redeliver.Report{Delivered: 1})
	if l.server.count("bob", letterOf(1)) != 0 {
		t.Error("bob's was delivered")
	}
}

// Who comes second waits.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)))
	l.file("a", letterOf(1))
	in, out := make(chan bool), make(chan bool)
	done := make(chan error)
	l.server.fault = func() fault {
		close(in)
		<-out
		return fine
	}
	go func() {
		_, err := l.try(t.Context())
		done <- err
	}()
	<-in
	second := l.Join(l.Reopen(), filepath.Join(l.Dir, "second.db"), "second")
	second.LeaseTTL = time.Second
	_, err := redeliver.Run(t.Context(), second, l.options())
	if !errors.Is(err, vault.ErrLocked) {
		t.Errorf("the second one: %v", err)
	}
	close(out)
	must(t, <-done)
	if n := l.server.count("ann", letterOf(1)); n != 1 {
		t.Errorf("it is there %d times", n)
	}
}

func TestVaultSource(t *testing.T) {
	w := world.New(t)
	stored := w.Message("late")
	l := labIn(w, owed("ann", "INBOX", 1, strings.ReplaceAll(stored, "\n", "\r\n")), owed("ann", "INBOX", 2, letterOf(2)))
	l.Deliver("bob", "INBOX", stored)
	l.Backup()
	l.run(func(o *redeliver.Options) {
		o.From = redeliver.Vault{Catalog: l.H.Catalog, Incident: "fire", Read: readFrom(stored)}
	})
	if n := l.server.count("ann", strings.ReplaceAll(stored, "\n", "\r\n")); n != 1 || l.claim(2).State != catalog.ClaimOwed {
		t.Errorf("it is there %d times", n)
	}
}

// Other mail stores are sources too. An mbox's own lines are not part of a
// message.
func TestStores(t *testing.T) {
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)), owed("bob", "INBOX", 1, letterOf(3)))
	l.file("box", "From a@b Sat Feb 28 22:00:00 2026\n"+lf(letterOf(1))+"\nFrom a@b Sat Feb 28 22:00:01 2026\n"+lf(letterOf(9))+"\n")
	l.file("ann/cur/1.M1.x:2,S", lf(letterOf(2)))
	l.file("bob/cur/1.M1.x:2,S", lf(letterOf(3)))
	must(t, os.MkdirAll(filepath.Join(l.found, "cid", "cur"), 0))
	from := func(url, user string) func(*redeliver.Options) {
		return func(o *redeliver.Options) {
			s, err := stores.OpenSource(url, stores.Options{})
			must(t, err)
			o.From, o.User = redeliver.Store{Source: s, User: user}, user
		}
	}
	counts(t, l.run(from("mbox:"+filepath.Join(l.found, "box"), "")), redeliver.Report{Delivered: 1, StillOwed: 2, Unknown: 1})
	counts(t, l.run(from("maildir:"+l.found+"/%u", "bob")), redeliver.Report{Delivered: 1})
	r := l.run(from("maildir:"+l.found+"/%u", ""))
	if os.Getuid() == 0 { // who reads every directory
		r.Unreadable = 0
	}
	if r.Delivered != 1 || r.StillOwed != 0 || r.AlreadyHeld != 1 {
		t.Errorf("%+v", r)
	}
}

// A folder that is made anew while messages go there may have swallowed them.
func TestMadeAnewMeanwhile(t *testing.T) {
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)), owed("ann", "Work", 1, letterOf(3)))
	for n := range 3 {
		l.file(string(rune('a'+n)), letterOf(n+1))
	}
	n := 0
	l.server.fault = func() fault {
		if n++; n == 2 {
			b := l.server.box("ann", "INBOX")
			b.validity, b.letters = 55, nil
		}
		return fine
	}
	r := l.run()
	counts(t, r, redeliver.Report{Delivered: 1, StillOwed: 2, InDoubt: 2})
	for id := range int64(2) {
		if c := l.claim(id + 1); c.State != catalog.ClaimOwed || !c.Doubt || c.NowStore != "" || !strings.Contains(c.Reason, "made anew") {
			t.Errorf("%+v", c)
		}
	}
	// The one that is there is found; the other one waits for a person.
	counts(t, l.run(), redeliver.Report{AlreadyThere: 1, StillOwed: 1, InDoubt: 1, AlreadyHeld: 1})
}

// Ctrl-C: what was sent is in the ledger, the rest is as it was.
func TestInterrupted(t *testing.T) {
	l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)), owed("ann", "INBOX", 3, letterOf(3)))
	for n := range 3 {
		l.file(string(rune('a'+n)), letterOf(n+1))
	}
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	l.server.fault = func() fault {
		if n++; n == 2 {
			stop()
		}
		return fine
	}
	r, err := l.try(ctx)
	if !errors.Is(err, context.Canceled) || r.Delivered != 2 || r.StillOwed != 1 || r.InDoubt != 0 {
		t.Errorf("%v: %+v", err, r)
	}
	for id, want := range map[int64]catalog.ClaimState{1: "redelivered", 2: "redelivered", 3: "owed"} {
		if c := l.claim(id); c.State != want || c.InFlight() || want == "owed" && c.Reason != l.claims[2].Reason {
			t.Errorf("%+v", c)
		}
	}
	counts(t, l.run(), redeliver.Report{Delivered: 1, AlreadyHeld: 2})
}

func TestUnknownIncident(t *testing.T) {
	l := newLab(t)
	_, err := l.try(t.Context(), func(o *redeliver.Options) { o.Name = "flood" })
	if !errors.Is(err, incident.ErrUnknown) {
		t.Error(err)
	}
}

// maildirName is how Dovecot names a message's file: with its size in both forms.
func maildirName(wire string) string {
	return fmt.Sprintf("1795330421.M846886P1664.vm,S=%d,W=%d", len(lf(wire)), len(wire))
}
