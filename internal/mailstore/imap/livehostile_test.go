package imap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// facts is what a fake tells of each message.
const facts = `FLAGS (\Seen) INTERNALDATE " 1-Feb-2007 00:00:00 +0000" RFC822.SIZE 9`

// An answer that never comes is not taken for a message without content, nor is
// one that comes twice, late or in parts taken for two; envelopes of any size cost
// themselves only.
func TestInspectHostile(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("h", 3<<19)
	for name, tt := range map[string]struct {
		fetch  func(c *fakeConn, args string, count int) bool // true: go on with the tagged OK
		want   string                                         // UIDs, those without content with a minus
		err    string
		search string
	}{
		"good": {fetch: func(c *fakeConn, args string, _ int) bool {
			for uid := 1; uid <= 4; uid++ {
				c.say("* %d FETCH (UID %d %s BODY[]<0> {1}\r\nx)", uid, uid, facts)
			}
			return true
		}, want: "1 2 3 4"},
		"in no order, twice, unasked, in parts": {fetch: func(c *fakeConn, args string, _ int) bool {
			c.say("* 4 FETCH (UID 4 BODY[]<0> \"x\")")
			c.say("* 9 FETCH (UID 9 %s BODY[]<0> \"x\")", facts)
			c.say("* 2 FETCH (%s)", facts)
			for _, uid := range []int{3, 1, 4, 1, 2} {
				c.say("* %d FETCH (UID %d %s)", uid, uid, facts)
				c.say("* %d FETCH (UID %d BODY[]<0> \"x\")", uid, uid)
			}
			return true
		}, want: "1 2 3 4"},
		"some without content": {fetch: func(c *fakeConn, args string, _ int) bool {
			for uid := 1; uid <= 4; uid++ {
				switch {
				case !c.within(args, uint32(uid)):
				case strings.Contains(args, "ENVELOPE"):
					c.say("* %d FETCH (UID %d %s ENVELOPE (NIL {3}\r\na\"b NIL NIL NIL NIL NIL NIL NIL \"<%d@x>\"))", uid, uid, facts, uid)
				case uid == 2:
					c.say("* 2 FETCH (UID 2 %s BODY[]<0> NIL)", facts)
				case uid == 3:
					c.say("* 3 FETCH (UID 3 %s BODY[]<0> \"\")", facts)
				case uid != 4:
					c.say("* %d FETCH (UID %d %s BODY[]<0> \"x\")", uid, uid, facts)
				}
			}
			return true
		}, want: `1 -2<2@x>(NIL "a\"b" NIL NIL NIL NIL NIL NIL NIL "<2@x>") -3<3@x>(NIL "a\"b" NIL NIL NIL NIL NIL NIL NIL "<3@x>") -4<4@x>(NIL "a\"b" NIL NIL NIL NIL NIL NIL NIL "<4@x>")`},
		"content at the second time": {fetch: func(c *fakeConn, args string, count int) bool {
			for uid := 1; uid <= 4; uid++ {
				if count > 1 && c.within(args, uint32(uid)) {
					c.say("* %d FETCH (UID %d %s BODY[]<0> \"x\")", uid, uid, facts)
				}
			}
			return true
		}, want: "1 2 3 4"},
		"removed meanwhile": {fetch: func(c *fakeConn, args string, count int) bool {
			delete(c.box.mail, 2)
			for _, uid := range []int{1, 3, 4} {
				if c.within(args, uint32(uid)) {
					c.say("* %d FETCH (UID %d %s BODY[]<0> \"x\")", uid, uid, facts)
				}
			}
			return true
		}, want: "1 3 4"},
		"no envelopes": {fetch: func(c *fakeConn, args string, count int) bool {
			switch {
			case strings.Contains(args, "ENVELOPE"):
				c.say("%s NO I have none", c.tag)
				return false
			case !strings.Contains(args, "BODY"):
				for uid := 1; uid <= 4; uid++ {
					c.say("* %d FETCH (UID %d %s)", uid, uid, facts)
				}
			}
			return true
		}, want: "-1 -2 -3 -4"},
		"envelopes of megabytes": {fetch: func(c *fakeConn, args string, count int) bool {
			if strings.Contains(args, "ENVELOPE") {
				for uid := 1; uid <= 4; uid++ {
					c.say("* %d FETCH (UID %d %s ENVELOPE (\"d\" {%d}\r\n%s NIL NIL NIL ((NIL NIL \"%s\" \"x\")) NIL NIL NIL \"<%d@x>\"))", uid, uid, facts, len(huge), huge, huge, uid)
				}
			}
			return true
		}, want: `-1<1@x>("d" NIL NIL NIL NIL NIL NIL NIL NIL "<1@x>") -2<2@x>("d" NIL NIL NIL NIL NIL NIL NIL NIL "<2@x>") -3<3@x>("d" NIL NIL NIL NIL NIL NIL NIL NIL "<3@x>") -4<4@x>("d" NIL NIL NIL NIL NIL NIL NIL NIL "<4@x>")`},
		"no envelopes but rubbish": {fetch: func(c *fakeConn, args string, count int) bool {
			if strings.Contains(args, "ENVELOPE") {
				for uid, e := range []string{"NIL", "(1 2)", "((((((((((1) 2) 3)", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL ("a"))`} {
					if uid != 2 {
						c.say("* %d FETCH (UID %d %s ENVELOPE %s)", uid+1, uid+1, facts, e)
					}
				}
			} else if !strings.Contains(args, "BODY") {
				c.say("* 3 FETCH (UID 3 %s)", facts)
			}
			return true
		}, want: `-1 -2 -3 -4(NIL NIL NIL NIL NIL NIL NIL NIL NIL ("a"))`},
		"envelope without end": {fetch: func(c *fakeConn, args string, count int) bool {
			if strings.Contains(args, "ENVELOPE") {
				c.say("* 1 FETCH (UID 1 %s ENVELOPE (NIL {99999999}\r\n", facts)
			}
			return true
		}, err: "at most 8388608 are taken"},
		"flags without end": {fetch: func(c *fakeConn, args string, count int) bool {
			var flags strings.Builder
			for n := range 1 << 10 {
				fmt.Fprintf(&flags, "%0200d ", n)
			}
			for n := range 100 {
				if _, err := fmt.Fprintf(c, "* 1 FETCH (UID 1 FLAGS (%sb%d))\r\n", flags.String(), n); err != nil {
					return false
				}
			}
			return true
		}, err: "flags without end"},
		"nothing at all":  {fetch: func(c *fakeConn, args string, count int) bool { return true }, err: "tells nothing about them: UID 1:4"},
		"refused":         {fetch: func(c *fakeConn, args string, count int) bool { c.say("%s NO [SERVERBUG] oops", c.tag); return false }, err: "oops"},
		"hung up":         {fetch: func(c *fakeConn, args string, count int) bool { c.say("* BYE lost it"); c.Close(); return false }, err: "lost it, when it was asked for the contents"},
		"no answer":       {fetch: func(c *fakeConn, args string, count int) bool { return false }, err: "has not answered"},
		"fewer UIDs":      {search: "* SEARCH 1 2 3", err: "counts 4 messages there and lists 3"},
		"UIDs beyond all": {search: "* ESEARCH UID ALL 1:4294967295", err: "4294967295 UIDs for 4 messages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 4))
			var n counted
			f.serially(func(c *fakeConn, verb, args string) bool {
				switch count := n.add(verb); {
				case verb == "UID SEARCH" && args == "UID 1:4" && count <= maxLooks && tt.search != "":
					c.say("%s", tt.search)
					c.ok()
				case verb == "UID FETCH":
					if tt.fetch(c, args, count) {
						c.ok()
					}
				default:
					return false
				}
				return true
			})
			patient := 20 * time.Second
			if name == "no answer" {
				patient = time.Second
			}
			s, err := Connect(Options{Host: "127.0.0.1", Port: f.port(), Security: wire.Insecure, User: "alice", Password: []byte("secret"), ReadTimeout: patient, patience: patience{4, 10 * time.Millisecond}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var got []string
			_, err = openLive(t, s, "alice").Inspect(t.Context(), "INBOX", func(m mailstore.Inspected) error {
				word := fmt.Sprint(m.UID)
				if m.Dangling {
					word = "-" + word + m.MessageID + m.Envelope
				}
				if got = append(got, word); m.Size != 9 || !slices.Equal(m.Flags, []string{`\Seen`}) || m.InternalDate.Year() != 2007 {
					t.Errorf("%+v", m)
				}
				return nil
			})
			if strings.Join(got, " ") != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%.300q, want %.300q; %v", strings.Join(got, " "), tt.want, err)
			}
			if err != nil && tt.search == "" && n.of("UID FETCH") > 4 {
				t.Errorf("taken up again: %d commands", n.of("UID FETCH"))
			}
		})
	}
}

// A body is judged missing only when the server says that the message is there,
// and answers.
func TestBodyHostile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fetch   func(c *fakeConn, count int) bool
		missing bool
		err     string
		fetches int
	}{
		"none":      {func(c *fakeConn, _ int) bool { c.say("* OK Message 2 is shy"); return true }, true, "shy", 2},
		"nil":       {func(c *fakeConn, _ int) bool { c.say("* 2 FETCH (UID 2 RFC822.SIZE 9 BODY[] NIL)"); return true }, true, "gives no content", 2},
		"refused":   {func(c *fakeConn, _ int) bool { c.say("%s NO System I/O error", c.tag); return false }, false, "I/O error", 1},
		"hung up":   {func(c *fakeConn, _ int) bool { c.Close(); return false }, false, "hangs up when it is to give the message", 2},
		"gone then": {func(c *fakeConn, _ int) bool { delete(c.box.mail, 2); c.Close(); return false }, false, "lost, or just deleted", 1},
		"another":   {func(c *fakeConn, _ int) bool { c.say("* 3 FETCH (UID 3 BODY[] \"x\")"); return true }, true, "", 2},
		"late": {func(c *fakeConn, count int) bool {
			if count > 1 {
				c.say("* 2 FETCH (UID 2 RFC822.SIZE 9 BODY[] \"x\")")
			}
			return true
		}, false, "", 2},
		"huge": {func(c *fakeConn, _ int) bool { c.say("* 2 FETCH (UID 2 BODY[] {99999999999}"); return true }, false, "99999999999 bytes", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 4))
			var n counted
			f.serially(func(c *fakeConn, verb, args string) bool {
				count := n.add(verb)
				if verb == "UID FETCH" && len(c.box.mail) == 4 && tt.fetch(c, count) {
					c.ok()
				}
				return verb == "UID FETCH" && len(c.box.mail) == 4 || verb == "UID FETCH" && c.box.mail[2] == "" && n.of("UID FETCH") == 1
			})
			_, err := fakeLive(t, f).Body(t.Context(), "INBOX", 2)
			var d *mailstore.Dangling
			if good := name == "late"; good != (err == nil) || errors.As(err, &d) != tt.missing || tt.missing && !d.Missing || err != nil && !strings.Contains(err.Error(), tt.err) || errors.Is(err, mailstore.ErrVanished) {
				t.Errorf("%v", err)
			}
			if n.of("UID FETCH") > tt.fetches+1 {
				t.Errorf("asked %d times", n.of("UID FETCH"))
			}
		})
	}
}
