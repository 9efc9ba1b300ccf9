package imap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

func TestPlainServer(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 300), mailbox("Work", 5))
	got := pass(t, f.source(Options{}), "alice", nil)
	got.clean(t)
	if len(got.bodies) != 305 || got.box("INBOX").State != "" || got.messages["INBOX"][7].ObjectID != "" {
		t.Errorf("%d bodies, %+v", len(got.bodies), got.boxes)
	}
	for key, body := range got.bodies {
		var uid int
		name, _, _ := strings.Cut(key, "/")
		fmt.Sscanf(key[strings.Index(key, ".")+1:], "%d", &uid)
		if body != name+letter(uid-1) {
			t.Errorf("%s is %.40q", key, body)
		}
	}
}

// What a server does wrong with one message costs that message, and its other
// mail comes all the same.
func TestOneBadMessage(t *testing.T) {
	t.Parallel()
	const bad = 33
	for name, tt := range map[string]struct {
		spoil func(c *fakeConn, verb, args string) bool
		want  string // of the error; "" for none
		is    error
	}{
		"hangs up in the middle": {fetching(bad, func(c *fakeConn) {
			c.say("* 33 FETCH (UID 33 BODY[] {500}\r\nabc")
			c.Close()
		}), "hung up in the middle of a literal of 500 bytes", mailstore.ErrDamaged},
		"says good-bye": {fetching(bad, func(c *fakeConn) {
			c.say("* BYE FETCH failed: Internal error")
			c.Close()
		}), "the server hung up: FETCH failed: Internal error", mailstore.ErrDamaged},
		"lies about the size": {fetching(bad, func(c *fakeConn) { c.say("* 33 FETCH (UID 33 BODY[] {3000000000}") }),
			"a literal of 3000000000 bytes", nil},
		"garbage":      {fetching(bad, func(c *fakeConn) { c.say("\x00\x01garbage") }), "no IMAP", nil},
		"endless line": {fetching(bad, func(c *fakeConn) { c.say("* 33 FETCH (UID 33 X%s", strings.Repeat("y", 2<<20)) }), "a line of", nil},
		"NIL":          {fetching(bad, func(c *fakeConn) { c.say("* 33 FETCH (UID 33 BODY[] NIL)") }), "UID 33 and sends no content", mailstore.ErrDamaged},
		"no answer": {fetching(bad, func(c *fakeConn) { c.say("* OK Message 33 no longer exists") }),
			`(it says "Message 33 no longer exists")`, mailstore.ErrDamaged},
		"NO": {func(c *fakeConn, verb, args string) bool {
			if verb == "UID FETCH" && strings.Contains(args, "BODY") && c.within(args, bad) {
				c.say("%s NO [SERVERBUG] I/O error", c.tag)
				return true
			}
			return false
		}, "NO [SERVERBUG] I/O error", mailstore.ErrDamaged},
		"gone meanwhile": {func(c *fakeConn, verb, args string) bool {
			return verb == "UID FETCH" && c.within(args, bad) && !strings.Contains(args, "RFC822.SIZE") && c.without(bad, verb, args)
		}, "vanished", mailstore.ErrVanished},
		"a literal8 as body": {fetching(bad, func(c *fakeConn) { c.say("* 33 FETCH (UID 33 BODY[] ~{3}\r\na\x00b)") }), "", nil},
		"news in between": {fetching(bad, func(c *fakeConn) {
			c.say(`* 33 FETCH (UID 33 FLAGS (\Seen))`)
			c.say("* 305 EXISTS")
			c.fetch(bad, "BODY.PEEK[]", c.box.mail[bad])
		}), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 100), mailbox("Work", 5))
			f.spoil = tt.spoil
			got := pass(t, f.source(Options{ReadTimeout: 2 * time.Second}), "alice", nil)
			if tt.want == "" {
				got.clean(t)
				return
			}
			err := got.failed["INBOX/7.33"]
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the bad message: %v, want %q", err, tt.want)
			}
			if len(got.bodies) != 104 || len(got.failed) != 1 || len(got.problems) > 0 {
				t.Errorf("%d bodies, failures %v, problems %q", len(got.bodies), got.failed, got.problems)
			}
		})
	}
}

// fetching does something else where the body of a message would be sent.
func fetching(bad uint32, instead func(*fakeConn)) func(*fakeConn, string, string) bool {
	return func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || !strings.Contains(args, "BODY") || !c.within(args, bad) || c.box.name != "INBOX" {
			return false
		}
		for uid := uint32(1); uid <= c.box.top; uid++ {
			if uid == bad {
				instead(c)
			} else if c.within(args, uid) {
				c.fetch(uid, args, c.box.mail[uid])
			}
		}
		c.ok()
		return true
	}
}

// without answers as if a message were not there.
func (c *fakeConn) without(gone uint32, verb, args string) bool {
	for uid, body := range c.box.mail {
		if uid != gone && c.within(args, uid) {
			c.fetch(uid, args, body)
		}
	}
	c.ok()
	return true
}

// Subscriptions are worth less than mail: a server without LSUB is read.
func TestNoLSUB(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"BAD unknown command", "NO not here"} {
		f := newFake(t, mailbox("INBOX", 3), mailbox("Work", 2))
		f.spoil = func(c *fakeConn, verb, _ string) bool {
			if verb == "LSUB" {
				c.say("%s %s", c.tag, answer)
			}
			return verb == "LSUB"
		}
		got := pass(t, f.source(Options{}), "alice", nil)
		if got.clean(t); len(got.bodies) != 5 || got.box("Work").Subscribed {
			t.Errorf("%s: %d bodies, %+v", answer, len(got.bodies), got.boxes)
		}
	}
}

// A size that a server only estimates is no promise: the message would be called
// damaged, and fetched every night.
func TestEstimatedSizes(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 9))
	f.spoil = func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || !strings.Contains(args, "RFC822.SIZE") {
			return false
		}
		for uid := uint32(1); uid <= c.box.top; uid++ {
			c.say(`* %d FETCH (UID %d FLAGS () INTERNALDATE " 1-Feb-2007 00:00:00 +0000" RFC822.SIZE %d)`, uid, uid, 1000*uid)
		}
		c.ok()
		return true
	}
	got := pass(t, f.source(Options{}), "alice", nil)
	got.clean(t)
	if m := got.messages["INBOX"][4]; m.Size != 5000 || m.Promised != -1 || got.bodies["INBOX/"+m.Key] != "INBOX"+letter(4) {
		t.Errorf("%+v: %q", m, got.bodies["INBOX/"+m.Key])
	}
}

// A user without INBOX is reported. The folders that are there are read.
func TestNoInbox(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("Work", 2))
	got := pass(t, f.source(Options{}), "alice", nil)
	if len(got.problems) != 1 || !strings.Contains(got.problems[0], "has no INBOX of this user") || len(got.bodies) != 2 {
		t.Errorf("%d bodies, problems %q", len(got.bodies), got.problems)
	}
}

// What a server does wrong with a listing costs that mailbox.
func TestBadListings(t *testing.T) {
	t.Parallel()
	inBox := func(what string, do func(c *fakeConn, args string) bool) func(*fakeConn, string, string) bool {
		return func(c *fakeConn, verb, args string) bool {
			return verb == what && c.box != nil && c.box.name == "Work" && !strings.Contains(args, "BODY") && do(c, args)
		}
	}
	for name, tt := range map[string]struct {
		spoil  func(c *fakeConn, verb, args string) bool
		want   string
		listed int // messages of Work
	}{
		"says nothing about one": {inBox("UID FETCH", func(c *fakeConn, args string) bool { return c.without(3, "UID FETCH", args) }),
			"lists 1 messages and tells nothing about them: UID 3", 4},
		"hangs up over one": {inBox("UID FETCH", func(c *fakeConn, args string) bool {
			if c.within(args, 3) {
				c.Close()
			}
			return c.within(args, 3)
		}), "tells nothing about them: UID 3", 4},
		"refuses": {func(c *fakeConn, verb, args string) bool {
			if verb != "EXAMINE" || !strings.Contains(args, "Work") {
				return false
			}
			c.say("%s NO [NOPERM] Permission denied", c.tag)
			return true
		}, "NO [NOPERM] Permission denied", 0},
		"another UIDVALIDITY": {func(c *fakeConn, verb, args string) bool {
			if verb == "EXAMINE" && strings.Contains(args, "Work") {
				c.f.mu.Lock()
				defer c.f.mu.Unlock()
				c.f.boxes[1].validity = 8
			}
			return false
		}, "UIDVALIDITY changed from 7 to 8", 0},
		"nonsense for UIDs": {inBox("UID SEARCH", func(c *fakeConn, _ string) bool { c.say("* SEARCH 1 zwei"); return true }), `"zwei" is no UID`, 0},
		"too many UIDs": {func(c *fakeConn, verb, args string) bool {
			if verb == "UID SEARCH" && c.box.name == "Work" {
				c.say(`* ESEARCH (TAG "%s") UID ALL 1:4294967295`, c.tag)
				c.ok()
				return true
			}
			return false
		}, "lists 4294967295 UIDs for 5 messages", 0},
		"hangs": {inBox("UID SEARCH", func(*fakeConn, string) bool { return true }), "has not answered for", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 10), mailbox("Work", 5), mailbox("Zoo", 4))
			f.spoil = tt.spoil
			got := pass(t, f.source(Options{ReadTimeout: 400 * time.Millisecond}), "alice", nil)
			if len(got.problems) != 1 || !strings.Contains(got.problems[0], tt.want) || !strings.HasPrefix(got.problems[0], `"alice": "Work": `) {
				if len(got.problems) != 1 || !strings.Contains(got.problems[0], tt.want) || !strings.Contains(got.problems[0], `"Work": `) {
					t.Errorf("problems %q, want %q", got.problems, tt.want)
				}
			}
			if len(got.messages["Work"]) != tt.listed || len(got.messages["INBOX"]) != 10 || len(got.messages["Zoo"]) != 4 || len(got.failed) > 0 {
				t.Errorf("%d, %d and %d messages, failures %v", len(got.messages["INBOX"]), len(got.messages["Work"]), len(got.messages["Zoo"]), got.failed)
			}
		})
	}
}

// A server that restarts in the middle loses nothing but time.
func TestReconnects(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 900), mailbox("Work", 50))
	var n atomic.Int64
	f.spoil = func(c *fakeConn, verb, _ string) bool {
		if k := n.Add(1); k > 4 && k%7 == 0 {
			c.Close()
			return true
		}
		return false
	}
	got := pass(t, f.source(Options{}), "alice", nil)
	got.clean(t)
	if len(got.bodies) != 950 {
		t.Errorf("%d bodies", len(got.bodies))
	}
}

// A UIDVALIDITY that has changed since the last run makes all messages new.
func TestNewUIDValidity(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 3))
	src := f.source(Options{})
	pass(t, src, "alice", nil).clean(t)
	f.boxes[0].validity = 9
	got := pass(t, src, "alice", map[string]string{"INBOX": "7.5.4.3"})
	got.clean(t)
	if len(got.bodies) != 3 || got.messages["INBOX"][0].Key != "9.1" {
		t.Errorf("%+v", got)
	}
}

func TestRefusedOpen(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 1))
	_, err := tryOpen(t, f.port(), Options{User: "alice", Password: []byte("wrong-one")})
	if err == nil || strings.Contains(err.Error(), "wrong-one") || !strings.Contains(err.Error(), "as alice") || !strings.Contains(err.Error(), "(check user name and password)") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := tryOpen(t, f.port(), Options{User: "al\r\nice\x1b[2J", Password: []byte("wrong-one")}); err == nil || strings.ContainsAny(err.Error(), "\r\n\x1b") {
		t.Errorf("a name with a line end: %q", err)
	}
	f.l.Close()
	if _, err = tryOpen(t, f.port(), Options{User: "alice"}); err == nil || !strings.Contains(err.Error(), "connection refused (is the server running") {
		t.Errorf("nobody there: %v", err)
	}
	name := passwords(t, "alice:secret")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"others than its owner may read":   {PasswordFile: name},
		"the host is missing":              {User: "x"},
		"nobody is named":                  {Host: "localhost"},
		"without TLS":                      {Host: "mail.example.org", User: "x", Security: wire.Insecure},
		"line 2: it is not of the form":    {PasswordFile: passwords(t, "a:b", "c")},
		`line 2: "a" stands there twice`:   {PasswordFile: passwords(t, "a:b", "a:c")},
		"it names no users":                {PasswordFile: passwords(t, "")},
		`there is no password for "alice"`: {User: "alice", PasswordFile: passwords(t, "bob:x")},
		"no certificate in PEM form":       {User: "alice", CAFile: passwords(t, "x")},
	} {
		if o.Host == "" && want != "the host is missing" {
			o.Host = "127.0.0.1"
		}
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q", err, want)
		}
	}
}

// A user who cannot log in is asked for once, and the others go on.
func TestOneUserRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 2))
	src := open(t, f.port(), Options{PasswordFile: passwords(t, "alice:secret", "bob:old", "carol:secret")})
	for range 3 {
		got := pass(t, src, "bob", nil)
		if len(got.problems) != 1 || !strings.Contains(got.problems[0], "as bob") {
			t.Errorf("problems %q", got.problems)
		}
	}
	if f.logins != 2 { // alice's at the opening, and one of bob's
		t.Errorf("%d logins", f.logins)
	}
	if got := pass(t, src, "carol", nil); len(got.bodies) != 2 {
		t.Errorf("%+v", got)
	}
}

// A login that breaks for the first of several users costs that user's mail.
func TestFirstUserBreaks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		instead func(c *fakeConn)
		want    string
	}{
		"hangs up":      {func(c *fakeConn) { c.Close() }, "the server hung up"},
		"says good-bye": {func(c *fakeConn) { c.say("* BYE no home"); c.Close() }, "hung up: no home"},
		"no answer":     {func(*fakeConn) {}, "has not answered for"},
		"unavailable":   {func(c *fakeConn) { c.say("%s NO [UNAVAILABLE] later", c.tag) }, "later"},
		"refused":       {func(c *fakeConn) { c.say("%s NO [AUTHENTICATIONFAILED] no", c.tag) }, "as alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 2))
			f.spoil = func(c *fakeConn, verb, args string) bool {
				if verb != "LOGIN" || !strings.Contains(args, "alice") {
					return false
				}
				tt.instead(c)
				return true
			}
			src := open(t, f.port(), Options{PasswordFile: passwords(t, "alice:secret", "bob:secret"), ReadTimeout: 300 * time.Millisecond})
			if got := pass(t, src, "alice", nil); len(got.problems) != 1 || !strings.Contains(got.problems[0], tt.want) {
				t.Errorf("alice: %q, want %q", got.problems, tt.want)
			}
			got := pass(t, src, "bob", nil)
			if got.clean(t); len(got.bodies) != 2 {
				t.Errorf("bob: %d bodies", len(got.bodies))
			}
			if _, err := tryOpen(t, f.port(), Options{User: "alice", ReadTimeout: 300 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("alice alone: %v, want %q", err, tt.want)
			}
		})
	}
}

// Bodies that nobody opens neither stop the others nor stay in memory.
func TestNobodyOpens(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 3000), mailbox("Work", 10))
	src := f.source(Options{Ahead: 50_000})
	box := mailstore.Mailbox{User: "alice", Name: "INBOX", UIDValidity: 7}
	var all []mailstore.Message
	if err := src.Messages(t.Context(), box, func(m mailstore.Message) error { all = append(all, m); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		src.Prefetch(box, m)
	}
	for _, i := range []int{2900, 5, 2999} { // far past the budget, and back
		if body, err := read(t.Context(), src, box, all[i]); err != nil || body != "INBOX"+letter(i) {
			t.Errorf("message %d: %v", i, err)
		}
	}
	src.ahead.mu.Lock()
	if src.ahead.held > 150_000 || len(src.ahead.asked) > passed+300 {
		t.Errorf("%d bytes are held for %d messages", src.ahead.held, len(src.ahead.asked))
	}
	src.ahead.mu.Unlock()
	before := runtime.NumGoroutine()
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if _, err := src.Open(t.Context(), box, all[0]); err == nil {
		t.Error("a closed source opened a message")
	}
	_ = before
}

// Odd answers about a message are no reason not to keep it.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 4))
	f.spoils(func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || !strings.Contains(args, "FLAGS INTERNALDATE") {
			return false
		}
		c.say(`* 1 FETCH (FLAGS (b "x y" {3}`+"\r\nq\xff\x01 \\Recent a a) UID 1 INTERNALDATE {3}\r\nnow RFC822.SIZE %d MODSEQ (0))", len(c.box.mail[1]))
		c.say("* 2 FETCH (UID 2 FLAGS NIL RFC822.SIZE 5 INTERNALDATE NIL)")
		c.say(`* 3 FETCH (UID 3 FLAGS () RFC822.SIZE -5 INTERNALDATE "01-Feb-2007 00:00:00 +0000")`)
		c.say(`* 9 FETCH (UID 9 FLAGS () RFC822.SIZE 5 INTERNALDATE "01-Feb-2007 00:00:00 +0000")`)
		c.say(`* 4 FETCH (UID 4 FLAGS () RFC822.SIZE %d INTERNALDATE "01-Feb-2007 00:00:00 +0000")`, len(c.box.mail[4]))
		c.say(`* 4 FETCH (UID 4 FLAGS (late))`)
		c.ok()
		return true
	})
	got := pass(t, f.source(Options{}), "alice", nil)
	all := got.messages["INBOX"]
	if len(all) != 2 || fmt.Sprintf("%q", all[0].Flags) != `["a" "b" "q\\xff\\x01" "x\\x20y"]` || all[0].InternalDate.Unix() != 0 || fmt.Sprint(all[1].Flags) != "[late]" {
		t.Errorf("messages %+v", all)
	}
	if len(got.problems) != 1 || !strings.Contains(got.problems[0], "lists 2 messages and tells nothing about them: UID 2:3") {
		t.Errorf("problems %q", got.problems)
	}
}

// Sizes that a server promises too small do not let bodies fill the memory.
func TestPromisesTooLittle(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 40))
	f.spoils(func(c *fakeConn, verb, args string) bool {
		if verb != "UID FETCH" || !strings.Contains(args, "BODY") {
			return false
		}
		for uid := uint32(1); uid <= c.box.top; uid++ {
			if c.within(args, uid) {
				c.fetch(uid, args, strings.Repeat("x", 900_000))
			}
		}
		c.ok()
		return true
	})
	src := f.source(Options{Ahead: 5_000_000})
	box, all := listed(t, src, "INBOX")
	for _, m := range all {
		src.Prefetch(box, m)
	}
	time.Sleep(300 * time.Millisecond)
	src.ahead.mu.Lock()
	held := 0
	for _, e := range src.ahead.asked {
		held += len(e.body)
	}
	src.ahead.mu.Unlock()
	if held > 5_000_000+2*moreThanPromised {
		t.Errorf("%d bytes are held for messages of %d", held, all[0].Size)
	}
	for _, m := range all[:3] {
		if body, err := read(t.Context(), src, box, m); err != nil || len(body) != 900_000 {
			t.Errorf("UID %d: %d bytes, %v", m.UID, len(body), err)
		}
	}
}

// A server that hangs over bodies is given up for a while, not for each of them.
func TestHangsOverBodies(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 400))
	f.spoils(func(_ *fakeConn, verb, args string) bool {
		return verb == "UID FETCH" && strings.Contains(args, "BODY")
	})
	start := time.Now()
	got := pass(t, f.source(Options{ReadTimeout: 200 * time.Millisecond}), "alice", nil)
	if took := time.Since(start); len(got.failed) != 400 || took > 5*time.Second {
		t.Errorf("%d failures in %v", len(got.failed), took)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 100))
	got := pass(t, f.source(Options{MaxMessage: 400}), "alice", nil)
	if err := got.failed["INBOX/7.100"]; err == nil || !strings.Contains(err.Error(), "at most 400 are fetched") {
		t.Errorf("%v", err)
	}
	if len(got.bodies) == 0 || len(got.bodies)+len(got.failed) != 100 {
		t.Errorf("%d bodies", len(got.bodies))
	}
}
