package imap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// A storing fake keeps what is appended. before and after hang up instead of
// storing, and instead of answering.
type storing struct {
	*fake
	storage       sync.Mutex
	uidplus       bool
	before, after []bool // of each APPEND in turn
	refuse        []string
	appends       int
	created       []string
}

func newStoring(t *testing.T, there ...string) *storing {
	box := &fakeBox{name: "INBOX", validity: 7, mail: map[uint32]string{}}
	for _, m := range there {
		box.top++
		box.mail[box.top] = m
	}
	s := &storing{fake: newFake(t, box)}
	s.spoils(s.handle)
	return s
}

func (s *storing) handle(c *fakeConn, verb, args string) bool {
	s.storage.Lock()
	defer s.storage.Unlock()
	if !s.store(c, verb, args) {
		c.answer(verb, args)
	}
	return true
}

func (s *storing) store(c *fakeConn, verb, args string) bool {
	box := s.boxes[0]
	switch {
	case verb == "UID SEARCH" && strings.HasSuffix(args, ":*"):
		var from uint32
		fmt.Sscanf(args, "UID %d:*", &from)
		line := "* SEARCH"
		for uid := range box.mail {
			if uid >= from || uid == box.top {
				line += fmt.Sprint(" ", uid)
			}
		}
		c.say("%s", line)
		c.ok()
		return true
	case verb == "CREATE":
		s.created = append(s.created, args)
	case verb == "UID FETCH" && strings.HasPrefix(args, "1:*"):
		for uid, body := range box.mail {
			c.fetch(uid, args, body)
		}
		c.ok()
		return true
	}
	if verb != "APPEND" {
		return false
	}
	n := s.appends
	s.appends++
	at := func(list []bool) bool { return n < len(list) && list[n] }
	if n < len(s.refuse) && s.refuse[n] != "" {
		c.say("%s %s", c.tag, s.refuse[n])
		return true
	}
	if at(s.before) {
		c.Close()
		return true
	}
	_, body, _ := strings.Cut(args, ` +0000" `)
	box.top++
	box.mail[box.top] = strings.TrimSuffix(strings.TrimPrefix(body, `"`), `"`)
	if at(s.after) {
		c.Close()
		return true
	}
	code := ""
	if s.uidplus {
		code = fmt.Sprintf("[APPENDUID 7 %d] ", box.top)
	}
	c.say("%s OK %sstored", c.tag, code)
	return true
}

// made gives the mailboxes that were made.
func (s *storing) made() []string {
	s.storage.Lock()
	defer s.storage.Unlock()
	return s.created
}

// tries counts the APPENDs.
func (s *storing) tries() int {
	s.storage.Lock()
	defer s.storage.Unlock()
	return s.appends
}

func (s *storing) bodies() (out []string) {
	s.storage.Lock()
	defer s.storage.Unlock()
	for _, m := range s.boxes[0].mail {
		out = append(out, m)
	}
	slices.Sort(out)
	return out
}

// However the server hangs up, each message is there once for each time that it
// was added.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	y, n := true, false
	one, two := "Subject: 1\r\n\r\n", "Subject: 2\r\n\r\n"
	for i, tt := range []struct {
		before, after []bool
		uidplus       bool
		there         []string
		add, want     []string
	}{
		{nil, nil, n, nil, []string{one, two}, []string{one, two}},
		{[]bool{y}, nil, n, nil, []string{one, two}, []string{one, two}},
		{nil, []bool{y}, n, nil, []string{one, two}, []string{one, two}},
		{nil, []bool{y}, y, nil, []string{one, two}, []string{one, two}},
		{[]bool{n, y}, nil, n, nil, []string{one, one}, []string{one, one}},
		{[]bool{n, y}, nil, y, nil, []string{one, one}, []string{one, one}},
		{nil, []bool{n, y}, n, nil, []string{one, one}, []string{one, one}},
		{nil, []bool{y, y, y}, y, nil, []string{one, one, one}, []string{one, one, one}},
		{[]bool{y}, nil, y, []string{one}, []string{one}, []string{one, one}},
		{nil, []bool{y}, n, []string{one, two}, []string{one}, []string{one, one, two}},
		{[]bool{y, y}, []bool{n, n, y}, n, []string{two}, []string{one, two}, []string{one, two, two}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStoring(t, tt.there...)
			s.storage.Lock()
			s.before, s.after, s.uidplus = tt.before, tt.after, tt.uidplus
			s.storage.Unlock()
			a := accountAt(t, destinationAt(t, s.port(), "alice"), "alice")
			mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
			for _, m := range tt.add {
				mustAdd(t, a, delivery("INBOX", m))
			}
			mustClose(t, a)
			if got := s.bodies(); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// A server that always hangs up costs an error, and no message twice.
func TestAlwaysHangsUp(t *testing.T) {
	t.Parallel()
	s := newStoring(t)
	s.storage.Lock()
	s.before = []bool{true, true, true, true, true, true, true, true}
	s.storage.Unlock()
	a := accountAt(t, destinationAt(t, s.port(), "alice"), "alice")
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
	_, err := a.Add(t.Context(), delivery("INBOX", "Subject: 1\n\n"))
	var r *mailstore.Refusal
	if !wire.IsBroken(err) || errors.As(err, &r) || s.tries() > 5 || len(s.bodies()) != 0 {
		t.Errorf("%v after %d tries, %q", err, s.tries(), s.bodies())
	}
	mustClose(t, a)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer        string
		refused, full bool
		appends       int
	}{
		{"NO it is too big", true, false, 1},
		{"NO [TOOBIG] no", true, false, 1},
		{"NO [LIMIT] no", true, false, 1},
		{"BAD no", true, false, 1},
		{"NO [OVERQUOTA] no", true, true, 1},
		{"NO Over quota", true, true, 1},
		{"NO [UNAVAILABLE] later", false, false, 1},
		{"NO [SERVERBUG] oops", false, false, 1},
		{"NO System I/O error", false, false, 1},
		{"NO [TRYCREATE] gone", false, false, 2},
	} {
		t.Run(tt.answer, func(t *testing.T) {
			t.Parallel()
			s := newStoring(t)
			s.storage.Lock()
			s.refuse = []string{tt.answer, "", ""}
			s.storage.Unlock()
			a := accountAt(t, destinationAt(t, s.port(), "alice"), "alice")
			mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX"})
			_, err := a.Add(t.Context(), delivery("INBOX", "Subject: 1\n\n"))
			var r *mailstore.Refusal
			if errors.As(err, &r) != tt.refused || tt.refused && r.Full != tt.full || s.tries() != tt.appends || tt.appends == 1 && err == nil {
				t.Errorf("%v after %d tries", err, s.tries())
			}
			if tt.appends == 2 && (err != nil || len(s.bodies()) != 1 || len(s.made()) != 1) {
				t.Errorf("%v, %q, made %q", err, s.bodies(), s.made())
			}
			mustClose(t, a)
		})
	}
}
