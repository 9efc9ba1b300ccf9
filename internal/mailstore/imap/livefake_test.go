package imap

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// counted keeps the commands that a fake has got.
type counted struct {
	mu   sync.Mutex
	seen map[string]int
}

func (n *counted) add(verb string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = map[string]int{}
	}
	n.seen[verb]++
	return n.seen[verb]
}

func (n *counted) of(verb string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[verb]
}

// serially has one command at a time answered, over all connections.
func (f *fake) serially(spoil func(c *fakeConn, verb, args string) bool) {
	f.spoils(func(c *fakeConn, verb, args string) bool {
		f.serial.Lock()
		defer f.serial.Unlock()
		if !spoil(c, verb, args) {
			c.answer(verb, args)
		}
		return true
	})
}

// left counts the messages of a box.
func (f *fake) left(box *fakeBox) int {
	f.serial.Lock()
	defer f.serial.Unlock()
	return len(box.mail)
}

func fakeLive(t *testing.T, f *fake) *live {
	t.Helper()
	return liveAt(t, f.port(), "alice", "alice")
}

// However an APPEND is lost, it is sent once, and what is known about it is said:
// nobody knows, or it was not even asked for.
func TestAppendUnanswered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		deaf, stored bool
		answer       func(c *fakeConn)
		cancel       bool
		unanswered   bool
	}{
		"hung up before it was stored": {answer: func(c *fakeConn) { c.Close() }, unanswered: true},
		"hung up after it was stored":  {stored: true, answer: func(c *fakeConn) { c.Close() }, unanswered: true},
		"bye":                          {answer: func(c *fakeConn) { c.say("* BYE I am tired"); c.Close() }, unanswered: true},
		"nonsense":                     {stored: true, answer: func(c *fakeConn) { c.say("%s HM", c.tag) }, unanswered: true},
		"no answer":                    {stored: true, answer: func(c *fakeConn) {}, unanswered: true},
		"cancelled":                    {stored: true, answer: func(c *fakeConn) {}, cancel: true, unanswered: true},
		"hung up before it was asked":  {deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := mailbox("INBOX", 2)
			f := newFake(t, box)
			var n counted
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.serially(func(c *fakeConn, verb, args string) bool {
				if n.add(verb); verb != "APPEND" {
					return false
				}
				if tt.stored {
					box.top++
					box.mail[box.top] = letter(7)
				}
				if tt.cancel {
					cancel()
				}
				tt.answer(c)
				return true
			})
			s, err := Connect(Options{Host: "127.0.0.1", Port: f.port(), Security: wire.Insecure, User: "alice", Password: []byte("secret"), ReadTimeout: time.Second, patience: patience{4, 10 * time.Millisecond}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			l := openLive(t, s, "alice")
			f.setDeaf(tt.deaf)
			uid, err := l.Append(ctx, delivery("INBOX", letter(7), `\Seen`, "work"))
			f.setDeaf(false)
			var r *mailstore.Refusal
			if uid != 0 || err == nil || errors.Is(err, mailstore.ErrUnanswered) != tt.unanswered || errors.As(err, &r) || errors.Is(err, context.Canceled) != tt.cancel || strings.Contains(err.Error(), "\n") {
				t.Errorf("UID %d, %v", uid, err)
			}
			if want := map[bool]int{false: 1, true: 0}[tt.deaf]; n.of("APPEND") != want {
				t.Errorf("%d were sent, want %d", n.of("APPEND"), want)
			}
			if tt.cancel || tt.deaf {
				return
			}
			got := look(t, l, "INBOX", mailstore.Sought{From: 3, Forms: l.Forms([]byte(letter(7)))})
			if (len(got) == 1 && got[0].same) != tt.stored || n.of("APPEND") != 1 {
				t.Errorf("found %+v after %d commands", got, n.of("APPEND"))
			}
		})
	}
}

// A refusal says that the message is not there, and whose fault that is. Keywords
// are left out after a definite NO only.
func TestAppendRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer        string
		refused, full bool
		is            error
		appends       int
	}{
		{"NO it is too big", true, false, nil, 2},
		{"BAD what", true, false, nil, 2},
		{"NO [OVERQUOTA] no", true, true, nil, 1},
		{"NO Over quota", true, true, nil, 1},
		{"NO [NOPERM] no", true, false, nil, 1},
		{"NO [UNAVAILABLE] later", false, false, nil, 1},
		{"NO System I/O error", false, false, nil, 1},
		{"NO [TRYCREATE] gone", false, false, mailstore.ErrNoMailbox, 1},
	} {
		t.Run(tt.answer, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, mailbox("INBOX", 2))
			var n counted
			f.serially(func(c *fakeConn, verb, args string) bool {
				if n.add(verb); verb == "APPEND" {
					c.say("%s %s", c.tag, tt.answer)
				}
				return verb == "APPEND"
			})
			_, err := fakeLive(t, f).Append(t.Context(), delivery("INBOX", letter(7), "work"))
			var r *mailstore.Refusal
			if err == nil || errors.As(err, &r) != tt.refused || tt.refused && r.Full != tt.full || tt.is != nil && !errors.Is(err, tt.is) || errors.Is(err, mailstore.ErrUnanswered) || n.of("APPEND") != tt.appends {
				t.Errorf("%v after %d", err, n.of("APPEND"))
			}
		})
	}
}

// The UID of a message in a mailbox that was made anew since Stand is none of the
// mailbox that the caller knows.
func TestAppendToAnother(t *testing.T) {
	t.Parallel()
	box := mailbox("INBOX", 2)
	f := newFake(t, box)
	f.serially(func(c *fakeConn, verb, args string) bool {
		if verb == "APPEND" {
			c.say("%s OK [APPENDUID %d 3] done", c.tag, box.validity)
		}
		return verb == "APPEND"
	})
	l := fakeLive(t, f)
	mustStand(t, l, "INBOX")
	if uid, err := l.Append(t.Context(), delivery("INBOX", letter(7))); uid != 3 || err != nil {
		t.Errorf("UID %d, %v", uid, err)
	}
	f.serial.Lock()
	box.validity = 8
	f.serial.Unlock()
	if uid, err := l.Append(t.Context(), delivery("INBOX", letter(7))); uid != 0 || err != nil || !strings.Contains(notesOf(l), "made anew") {
		t.Errorf("UID %d, %v; %s", uid, err, notesOf(l))
	}
}

// removing makes a fake that removes, and counts its commands.
func removing(t *testing.T, box *fakeBox, n *counted, caps string, spoil func(c *fakeConn, verb, args string, count int) bool) *fake {
	f := newFake(t, box)
	f.announces(caps)
	f.serially(func(c *fakeConn, verb, args string) bool {
		count := n.add(verb)
		switch {
		case spoil != nil && spoil(c, verb, args, count):
			return true
		case verb == "SELECT":
			c.answer("EXAMINE", args)
			return true
		case verb == "UID EXPUNGE":
			for _, uid := range c.chosen(args) {
				delete(box.mail, uid)
			}
		}
		return false
	})
	return f
}

// Nothing is removed where not just those can be removed that are to be, and what
// a server says is looked at; a removal that was broken off is completed by the
// next one.
func TestRemove(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		caps     string
		validity uint32
		spoil    func(c *fakeConn, verb, args string, count int) bool
		is       error
		want     string // of the error; "" for none
		left     int
		again    bool // goes well
	}{
		"good":       {"UIDPLUS", 7, nil, nil, "", 3, true},
		"no UIDPLUS": {"IDLE", 7, nil, nil, "no UIDPLUS", 6, false},
		"another":    {"UIDPLUS", 8, nil, mailstore.ErrRenumbered, "nothing was removed", 6, false},
		"broken before": {"UIDPLUS", 7, func(c *fakeConn, verb, _ string, count int) bool {
			return verb == "UID STORE" && count == 1 && c.Close() == nil
		}, nil, "hung up", 6, true},
		"broken between": {"UIDPLUS", 7, func(c *fakeConn, verb, _ string, count int) bool {
			return verb == "UID EXPUNGE" && count == 1 && c.Close() == nil
		}, nil, "hung up", 6, true},
		"lies": {"UIDPLUS", 7, func(c *fakeConn, verb, _ string, count int) bool {
			if verb == "UID EXPUNGE" {
				c.ok()
			}
			return verb == "UID EXPUNGE"
		}, nil, "still lists 3 of them: UID 1:2,5", 6, false},
		"refuses": {"UIDPLUS", 7, func(c *fakeConn, verb, _ string, count int) bool {
			if verb == "UID STORE" {
				c.say("%s NO not you", c.tag)
			}
			return verb == "UID STORE"
		}, nil, "not you", 6, false},
		"read-only": {"UIDPLUS", 7, func(c *fakeConn, verb, _ string, count int) bool {
			if verb == "SELECT" {
				c.say("* OK [UIDVALIDITY 7] .\r\n%s OK [READ-ONLY] .", c.tag)
			}
			return verb == "SELECT"
		}, nil, "for reading only", 6, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := mailbox("INBOX", 6)
			var n counted
			f := removing(t, box, &n, tt.caps, tt.spoil)
			l := fakeLive(t, f)
			err := l.Remove(t.Context(), "INBOX", tt.validity, []mailstore.UID{5, 1, 2, 2, 77})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) || f.left(box) != tt.left || n.of("EXPUNGE") > 0 {
				t.Errorf("%v, %d are left", err, f.left(box))
			}
			if err := l.Remove(t.Context(), "INBOX", tt.validity, []mailstore.UID{5, 1, 2}); (err == nil) != tt.again || tt.again && f.left(box) != 3 {
				t.Errorf("again: %v, %d are left", err, f.left(box))
			}
		})
	}
}

// Many messages are removed by commands of a bounded length.
func TestRemoveMany(t *testing.T) {
	t.Parallel()
	box := mailbox("INBOX", 0)
	var uids []mailstore.UID
	for uid := uint32(1_000_000); uid < 1_004_000; uid++ {
		if box.mail[uid] = "x"; uid%2 == 0 {
			uids = append(uids, mailstore.UID(uid))
		}
	}
	box.top = 1_004_000
	var n counted
	longest := 0
	f := removing(t, box, &n, "UIDPLUS", func(_ *fakeConn, _, args string, _ int) bool {
		longest = max(longest, len(args))
		return false
	})
	if err := fakeLive(t, f).Remove(t.Context(), "INBOX", 7, uids); err != nil || f.left(box) != 2000 || longest > 4100 || n.of("UID EXPUNGE") > 8 {
		t.Errorf("%v, %d are left, %d commands of up to %d bytes", err, f.left(box), n.of("UID EXPUNGE"), longest)
	}
}

// A login that has opened others' accounts before, and is refused for one, is
// refused because there is none.
func TestNoAccountAfterOthers(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 1))
	f.spoils(func(c *fakeConn, verb, args string) bool {
		if verb == "LOGIN" && strings.Contains(args, "nobody") {
			c.say("%s NO [AUTHENTICATIONFAILED] no", c.tag)
			return true
		}
		return false
	})
	s, err := Connect(Options{Host: "127.0.0.1", Port: f.port(), Security: wire.Insecure, User: "admin", Separator: "*", Mechanism: "login", Password: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Live(t.Context(), "nobody"); err == nil || errors.Is(err, mailstore.ErrNoAccount) {
		t.Errorf("before any other: %v", err)
	}
	openLive(t, s, "alice")
	if _, err := s.Live(t.Context(), "nobody"); !errors.Is(err, mailstore.ErrNoAccount) {
		t.Errorf("after another: %v", err)
	}
}
