package imap

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A body that is much larger than its promised size is not even begun, also
// when it is asked for alone.
func TestLiteralBeyondPromise(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 100), mailbox("Work", 5))
	f.spoil = fetching(33, func(c *fakeConn) {
		c.say("* 33 FETCH (UID 33 BODY[] {900000000}")
		c.Write(make([]byte, 2<<20))
	})
	got := pass(t, f.source(Options{ReadTimeout: 2 * time.Second}), "alice", nil)
	err := got.failed["INBOX/7.33"]
	if err == nil || !strings.Contains(err.Error(), "a literal of 900000000 bytes, at most 104") {
		t.Errorf("%v", err)
	}
	if len(got.bodies) != 104 || len(got.failed) != 1 {
		t.Errorf("%d bodies, failures %v", len(got.bodies), got.failed)
	}
}

func TestLiteralLimit(t *testing.T) {
	for size, want := range map[int64]int64{-1: 10 << 20, 0: 1 << 20, 465: 1<<20 + 930, 4 << 20: 9 << 20, 6 << 20: 10 << 20, 1 << 62: 10 << 20} {
		if got := literalLimit(size, 10<<20); got != want {
			t.Errorf("a message of %d bytes: %d, want %d", size, got, want)
		}
	}
}

// trickle sends a text again and again, slowly, until the client hangs up.
func trickle(c *fakeConn, text func(n int) string) {
	for n := 0; ; n++ {
		if _, err := fmt.Fprint(c, text(n)); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// What never ends and never pauses costs the user, the mailbox or the message,
// and two tries.
func TestTrickles(t *testing.T) {
	t.Parallel()
	in := func(box, what string) func(c *fakeConn, verb, args string) bool {
		return func(c *fakeConn, verb, args string) bool {
			return verb == what && (box == "" || c.box != nil && c.box.name == box || strings.Contains(args, box)) && !strings.Contains(args, "BODY")
		}
	}
	for name, tt := range map[string]struct {
		when          func(c *fakeConn, verb, args string) bool
		text          func(n int) string
		want          string // of the only problem
		bodies, boxes int
	}{
		"LIST":              {in("", "LIST"), func(n int) string { return fmt.Sprintf("* LIST () \"/\" x%d\r\n", n) }, "not come to an end with LIST within", 0, 0},
		"* OK over EXAMINE": {in("Work", "EXAMINE"), func(int) string { return "* OK x\r\n" }, "not come to an end with EXAMINE within", 10, 2},
		"flags": {in("Work", "UID FETCH"), func(n int) string { return fmt.Sprintf("* 1 FETCH (UID 1 FLAGS (x%d))\r\n", n) },
			"not come to an end with UID FETCH within", 10, 2},
		"* OK over FETCH": {in("Work", "UID FETCH"), func(int) string { return "* OK x\r\n" }, "not come to an end with UID FETCH within", 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 10), mailbox("Work", 5))
			var tries atomic.Int64
			f.spoil = func(c *fakeConn, verb, args string) bool {
				if !tt.when(c, verb, args) {
					return false
				}
				tries.Add(1)
				trickle(c, tt.text)
				return true
			}
			src := f.source(Options{ReadTimeout: 250 * time.Millisecond})
			start := time.Now()
			got := pass(t, src, "alice", nil)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(got.problems) != 1 || !strings.Contains(got.problems[0], tt.want) || !strings.Contains(got.problems[0], "alice") {
				t.Errorf("problems %q, want %q", got.problems, tt.want)
			}
			if len(got.bodies) != tt.bodies || len(got.boxes) != tt.boxes || len(got.failed) > 0 || tries.Load() != 2 {
				t.Errorf("%d bodies in %d mailboxes, %d tries, failures %v", len(got.bodies), len(got.boxes), tries.Load(), got.failed)
			}
		})
	}
}

// A body that comes drop by drop is not waited for as long as its size would
// allow, nor asked for more than twice.
func TestTricklingBody(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 100))
	var tries atomic.Int64
	body := fetching(33, func(c *fakeConn) {
		tries.Add(1)
		c.say("* 33 FETCH (UID 33 BODY[] {50000000}")
		trickle(c, func(int) string { return "x" })
	})
	f.spoil = func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || !strings.Contains(args, "RFC822.SIZE") {
			return body(c, verb, args)
		}
		for uid := uint32(1); uid <= c.box.top; uid++ {
			size := len(c.box.mail[uid])
			if uid == 33 {
				size = 50_000_000
			}
			c.say(`* %d FETCH (UID %d FLAGS () INTERNALDATE " 1-Feb-2007 00:00:00 +0000" RFC822.SIZE %d)`, uid, uid, size)
		}
		c.ok()
		return true
	}
	start := time.Now()
	got := pass(t, f.source(Options{ReadTimeout: 250 * time.Millisecond}), "alice", nil)
	err := got.failed["INBOX/7.33"]
	if err == nil || !strings.Contains(err.Error(), "not come to an end with UID FETCH within") || len(got.bodies) != 99 || tries.Load() != 2 {
		t.Errorf("%v; %d bodies, %d tries, failures %v", err, len(got.bodies), tries.Load(), got.failed)
	}
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("it took %v", took)
	}
}

// More answers than a mailbox has messages end the listing, however fast they come.
func TestEndlessFlags(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 10), mailbox("Work", 5))
	f.spoil = func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || c.box.name != "Work" {
			return false
		}
		flags := strings.Repeat("* 1 FETCH (UID 1 FLAGS (a))\r\n", 100)
		for {
			if _, err := fmt.Fprint(c, flags); err != nil {
				return true
			}
		}
	}
	got := pass(t, f.source(Options{}), "alice", nil)
	if len(got.problems) != 1 || !strings.Contains(got.problems[0], "gives more than 10010 answers to UID FETCH") || len(got.bodies) != 10 {
		t.Errorf("%d bodies, problems %q", len(got.bodies), got.problems)
	}
}
