package redeliver_test

import (
	"context"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/incident/redeliver"
)

// onItsWay says that a message was being sent when a run broke off.
func onItsWay(c catalog.Claim, order int64, wire string) catalog.Claim {
	c.SentAt, c.SentStore, c.SentFolder, c.SentValidity, c.SentNext, c.SentOrder = arrival, "imap://admin@server", "INBOX", 100, 5, order
	c.SentSum, _, _ = chunk.WireSums([]byte(wire))
	return c
}

// What a run that broke off has left open, by what the server shows.
func TestResume(t *testing.T) {
	t.Parallel()
	const nothing = "nobody else's"
	received := "Received: from x\r\n\tby y; now\r\n" + letterOf(1)
	for name, c := range map[string]struct {
		there  func(*server, *box) // the INBOX begins with UIDNEXT 5
		absent bool                // the content was not found again
		state  catalog.ClaimState
		doubt  string // part of the reason; "": none
		copies int    // of the message, in the end
	}{
		"nothing came":             {func(*server, *box) {}, false, catalog.ClaimRedelivered, "", 1},
		"nothing came, no content": {func(*server, *box) {}, true, catalog.ClaimOwed, "", 0},
		"it came":                  {func(_ *server, b *box) { b.add(letterOf(1), nil, arrival) }, false, catalog.ClaimRedelivered, "", 1},
		"it came, no content":      {func(_ *server, b *box) { b.add(letterOf(1), nil, arrival) }, true, catalog.ClaimRedelivered, "", 1},
		"others came":              {func(_ *server, b *box) { b.add(nothing, nil, arrival); b.add(letterOf(9), nil, arrival) }, false, catalog.ClaimRedelivered, "", 1},
		"others came, no content":  {func(_ *server, b *box) { b.add(nothing, nil, arrival) }, true, catalog.ClaimOwed, "not at hand", 0},
		"it came and went":         {func(_ *server, b *box) { b.remove(b.add(letterOf(1), nil, arrival)) }, false, catalog.ClaimOwed, "gone again", 0},
		"another came and went":    {func(_ *server, b *box) { b.remove(b.add(nothing, nil, arrival)); b.add(nothing, nil, arrival) }, false, catalog.ClaimOwed, "gone again", 0},
		"it came and was moved": {func(s *server, b *box) {
			b.remove(b.add(letterOf(1), nil, arrival))
			s.box("ann", "Old").add(letterOf(1), nil, arrival)
		}, false, catalog.ClaimRedelivered, "", 1},
		"a queue brought it":        {func(_ *server, b *box) { b.add(received, nil, arrival) }, false, catalog.ClaimRedelivered, "", 0},
		"it may be another form":    {func(_ *server, b *box) { b.add(strings.Replace(letterOf(1), "Text", "text", 1), nil, arrival) }, false, catalog.ClaimOwed, "another form", 0},
		"the folder is new":         {func(_ *server, b *box) { b.validity = 9 }, false, catalog.ClaimOwed, "made anew", 0},
		"the folder is new with it": {func(_ *server, b *box) { b.validity = 9; b.add(letterOf(1), nil, arrival) }, false, catalog.ClaimRedelivered, "", 1},
		"the folder is gone":        {func(s *server, _ *box) { delete(s.accounts["ann"], "INBOX") }, false, catalog.ClaimOwed, "is gone", 0},
		"the folder is older":       {func(_ *server, b *box) { b.next = 3 }, false, catalog.ClaimOwed, "older", 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, onItsWay(owed("ann", "INBOX", 1, letterOf(1)), 1, letterOf(1)))
			b := l.server.box("ann", "INBOX")
			b.validity, b.next = 100, 5
			c.there(l.server, b)
			if !c.absent {
				l.file("a", letterOf(1))
			}
			dry := l.run(func(o *redeliver.Options) { o.DryRun = true })
			counts(t, dry, redeliver.Report{StillOwed: 1, InDoubt: 1, DryRun: true})
			r := l.run()
			got := l.claim(1)
			if got.State != c.state || c.doubt != "" && !strings.Contains(got.Reason, "in doubt: ") || !strings.Contains(got.Reason, c.doubt) || r.Complete() != (c.doubt == "") {
				t.Errorf("%+v\n%+v", got, r)
			}
			l.run() // whatever was decided, stays so
			if n := l.server.count("ann", letterOf(1)); n != c.copies {
				t.Errorf("it is there %d times, want %d", n, c.copies)
			}
		})
	}
}

// Of several that were to be sent one after the other, those that came are found;
// as long as nothing is gone, the others surely did not come.
func TestResumeSeveral(t *testing.T) {
	for gone, want := range map[bool]redeliver.Report{
		false: {Delivered: 5}, true: {Delivered: 2, StillOwed: 3, InDoubt: 3},
	} {
		var claims []catalog.Claim
		for n := range int64(5) {
			claims = append(claims, onItsWay(owed("ann", "INBOX", uint32(n+1), letterOf(int(n+1))), n+1, letterOf(int(n+1))))
		}
		l := newLab(t, claims...)
		b := l.server.box("ann", "INBOX")
		b.validity, b.next = 100, 5
		if gone {
			b.remove(b.add(letterOf(4), nil, arrival))
		}
		b.add(letterOf(1), nil, arrival)
		b.add(letterOf(77), nil, arrival) // not the second one, which was refused
		b.add(letterOf(3), nil, arrival)
		for n := range 5 {
			l.file(string(rune('a'+n)), letterOf(n+1))
		}
		counts(t, l.run(), want)
		for n := range 5 {
			if got := l.server.count("ann", letterOf(n+1)); got > 1 || !gone && got != 1 {
				t.Errorf("gone %v: letter %d is there %d times", gone, n+1, got)
			}
		}
	}
}

// A folder that has the UIDs that it had before gives new messages those of owed
// ones. They are not those for that.
func TestNewUnderOldUIDs(t *testing.T) {
	l := newLab(t, with(onItsWay(owed("ann", "INBOX", 9, letterOf(1)), 1, letterOf(1)), func(c *catalog.Claim) { c.SentValidity = 7 }),
		owed("ann", "INBOX", 5, letterOf(2)), owed("ann", "INBOX", 6, letterOf(3)), owed("ann", "INBOX", 7, letterOf(4)))
	b := l.server.box("ann", "INBOX")
	b.validity, b.next = 7, 5
	b.add(letterOf(1), nil, arrival) // sent by a run before, as 5
	b.add(letterOf(4), nil, arrival) // brought by a queue, as 6
	for n := range 4 {
		l.file(string(rune('a'+n)), letterOf(n+1))
	}
	counts(t, l.run(), redeliver.Report{Delivered: 3, AlreadyThere: 1})
	for n, want := range map[int64]uint32{1: 5, 2: 7, 3: 8, 4: 6} {
		if c := l.claim(n); c.State != catalog.ClaimRedelivered || c.NowUID != want {
			t.Errorf("%+v", c)
		}
	}
	if len(b.letters) != 4 {
		t.Errorf("%+v", b.letters)
	}
}

// Two copies of a message were on their way, one is found, and something is gone:
// the other one may have come as well.
func TestResumeCopies(t *testing.T) {
	l := newLab(t, onItsWay(owed("ann", "INBOX", 1, letterOf(1)), 1, letterOf(1)), onItsWay(owed("ann", "INBOX", 2, letterOf(1)), 2, letterOf(1)))
	b := l.server.box("ann", "INBOX")
	b.validity, b.next = 100, 5
	b.remove(b.add(letterOf(1), nil, arrival))
	b.add(letterOf(1), nil, arrival)
	l.file("a", letterOf(1))
	counts(t, l.run(), redeliver.Report{Delivered: 1, StillOwed: 1, InDoubt: 1})
	counts(t, l.run(), redeliver.Report{StillOwed: 1, InDoubt: 1})
}

// What is on its way to another server is nobody's business here.
func TestResumeElsewhere(t *testing.T) {
	l := newLab(t, with(onItsWay(owed("ann", "INBOX", 1, letterOf(1)), 1, letterOf(1)), func(c *catalog.Claim) { c.SentStore = "imap://old" }))
	l.file("a", letterOf(1))
	r := l.run()
	counts(t, r, redeliver.Report{StillOwed: 1, InDoubt: 1})
	if c := l.claim(1); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "imap://old") || !c.InFlight() {
		t.Errorf("%q %+v", r.Notes, c)
	}
}

// The connection breaks off while a message is sent.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	for what, want := range map[fault]struct {
		state  catalog.ClaimState
		copies int
	}{
		lost: {catalog.ClaimRedelivered, 1}, stored: {catalog.ClaimRedelivered, 1}, lately: {catalog.ClaimRedelivered, 1},
		expunge: {catalog.ClaimOwed, 0}, unsent: {catalog.ClaimOwed, 0},
	} {
		l := newLab(t, owed("ann", "INBOX", 1, letterOf(1)), owed("ann", "INBOX", 2, letterOf(2)), owed("ann", "INBOX", 3, letterOf(3)), owed("bob", "INBOX", 3, letterOf(3)))
		for n := range 3 {
			l.file(string(rune('a'+n)), letterOf(n+1))
		}
		n := 0
		l.server.fault = func() fault {
			if n++; n == 2 {
				return what
			}
			return fine
		}
		r := l.run(func(o *redeliver.Options) { o.Workers = 1 })
		c := l.claim(2)
		if c.State != want.state || l.server.count("ann", letterOf(2)) != want.copies || c.Doubt != (what == expunge) || c.InFlight() != (what == expunge) {
			t.Errorf("%v: %+v, %+v", what, c, r)
		}
		if what != unsent && l.server.count("ann", letterOf(3)) != 1 || l.server.count("bob", letterOf(3)) != 1 {
			t.Errorf("%v: the others were not delivered", what)
		}
		l.server.fault = nil
		l.run()
		for n := range 3 {
			if got := l.server.count("ann", letterOf(n+1)); got != 1 && !(n == 1 && what == expunge) {
				t.Errorf("%v: letter %d is there %d times", what, n+1, got)
			}
		}
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	doubt := func(c *catalog.Claim) { c.Doubt, c.Reason = true, "in doubt: x" }
	l := newLab(t, with(onItsWay(owed("ann", "INBOX", 1, letterOf(1)), 1, letterOf(1)), doubt), with(onItsWay(owed("ann", "INBOX", 2, letterOf(2)), 1, letterOf(2)), doubt),
		owed("ann", "INBOX", 3, letterOf(3)))
	b := l.server.box("ann", "INBOX")
	b.validity, b.next = 100, 5
	b.remove(b.add("x", nil, arrival))
	l.file("a", letterOf(1))
	l.file("b", letterOf(2))
	counts(t, l.run(), redeliver.Report{StillOwed: 3, InDoubt: 2}) // not by itself
	settle := func(id int64, delivered bool) error {
		_, err := redeliver.Settle(context.Background(), l.H, redeliver.SettleOptions{Name: "fire", Claim: id, Delivered: delivered, By: "op"})
		return err
	}
	must(t, settle(1, true))
	must(t, settle(2, false))
	if c := l.claim(1); c.State != catalog.ClaimRedelivered || c.Doubt || c.InFlight() || c.NowFolder != "INBOX" || !strings.Contains(c.Reason, "says op") {
		t.Errorf("%+v", c)
	}
	for _, id := range []int64{1, 2, 3, 4} {
		if err := settle(id, true); err == nil {
			t.Errorf("%d was settled", id)
		}
	}
	counts(t, l.run(), redeliver.Report{Delivered: 1, StillOwed: 1, AlreadyHeld: 1})
	if l.server.count("ann", letterOf(1)) != 0 || l.server.count("ann", letterOf(2)) != 1 {
		t.Errorf("%+v", b)
	}
	if _, err := incident.Count(t.Context(), l.H.Catalog, "fire"); err != nil {
		t.Error(err)
	}
}
