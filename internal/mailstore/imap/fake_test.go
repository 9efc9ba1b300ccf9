package imap

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"salvor/internal/mailstore/imap/wire"
)

// A fake is a small IMAP server that does what a test tells it, and otherwise
// what a server without any extension would.
type fake struct {
	t     *testing.T
	l     net.Listener
	boxes []*fakeBox
	// caps are announced beside IMAP4rev1.
	caps string
	// spoil may answer a command itself: it then returns true. It may close the
	// connection.
	spoil func(c *fakeConn, verb, args string) bool

	mu     sync.Mutex
	logins int
	deaf   bool // hangs up when it is to ask for a literal

	serial sync.Mutex // see serially
}

// announces sets what is announced beside IMAP4rev1.
func (f *fake) announces(caps string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caps = caps
}

func (f *fake) announced() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.caps
}

func (f *fake) setDeaf(deaf bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = deaf
}

func (f *fake) isDeaf() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deaf
}

// spoils changes what the fake does wrong.
func (f *fake) spoils(spoil func(c *fakeConn, verb, args string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = spoil
}

type fakeBox struct {
	name     string // as LIST shows it, with its quotation marks
	validity uint32
	mail     map[uint32]string
	top      uint32
}

type fakeConn struct {
	net.Conn
	f   *fake
	tag string
	box *fakeBox
}

func (c *fakeConn) say(format string, args ...any) {
	fmt.Fprintf(c, format+"\r\n", args...)
}

func (c *fakeConn) ok() { c.say("%s OK done", c.tag) }

func newFake(t *testing.T, boxes ...*fakeBox) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, l: l, boxes: boxes}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			serving.Go(func() { f.serve(&fakeConn{Conn: c, f: f}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return f
}

func (f *fake) port() int { return f.l.Addr().(*net.TCPAddr).Port }

func mailbox(name string, letters int) *fakeBox {
	b := &fakeBox{name: name, validity: 7, mail: map[uint32]string{}, top: uint32(letters)}
	for n := range letters {
		b.mail[uint32(n+1)] = name + letter(n)
	}
	return b
}

func (f *fake) serve(c *fakeConn) {
	defer c.Close()
	in := bufio.NewReader(c)
	c.say("* OK [CAPABILITY IMAP4rev1 %s] fake", f.announced())
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		for strings.HasSuffix(line, "}") {
			n, _ := strconv.Atoi(strings.TrimSuffix(line[strings.LastIndex(line, "{")+1:], "}"))
			line = line[:strings.LastIndex(line, "{")]
			if f.isDeaf() {
				return
			}
			c.say("+ go on")
			buf := make([]byte, n)
			io.ReadFull(in, buf)
			rest, _ := in.ReadString('\n')
			line += `"` + string(buf) + `"` + strings.TrimRight(rest, "\r\n")
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, args, _ := strings.Cut(rest, " ")
		if verb == "UID" {
			second, after, _ := strings.Cut(args, " ")
			verb, args = "UID "+second, after
		}
		c.tag = tag
		f.mu.Lock()
		spoil := f.spoil
		f.mu.Unlock()
		if spoil == nil || !spoil(c, verb, args) {
			c.answer(verb, args)
		}
	}
}

func (c *fakeConn) answer(verb, args string) {
	switch verb {
	case "LOGIN":
		c.f.mu.Lock()
		c.f.logins++
		c.f.mu.Unlock()
		if !strings.HasSuffix(args, `"secret"`) {
			c.say("%s NO [AUTHENTICATIONFAILED] wrong", c.tag)
			return
		}
	case "CAPABILITY":
		c.say("* CAPABILITY IMAP4rev1 %s", c.f.announced())
	case "LIST":
		if strings.HasSuffix(args, `""`) {
			c.say(`* LIST (\Noselect) "/" ""`)
			break
		}
		for _, b := range c.f.boxes {
			c.say(`* LIST () "/" %s`, b.name)
		}
	case "STATUS":
		b := c.find(args[:strings.LastIndex(args, " (")])
		if b == nil || strings.Contains(args, "X-GUID") {
			c.say("%s BAD no", c.tag)
			return
		}
		c.say("* STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)", b.name, len(b.mail), b.top+1, b.validity)
	case "EXAMINE":
		c.box = c.find(args)
		if c.box == nil {
			c.say("%s NO [NONEXISTENT] no", c.tag)
			return
		}
		c.say("* %d EXISTS", len(c.box.mail))
		c.say("* OK [UIDVALIDITY %d] .", c.box.validity)
		c.say("* OK [UIDNEXT %d] .", c.box.top+1)
	case "UID SEARCH":
		line := "* SEARCH"
		for _, uid := range c.chosen(args) {
			line += fmt.Sprintf(" %d", uid)
		}
		c.say("%s", line)
	case "UID FETCH":
		for _, uid := range c.chosen(args) {
			c.fetch(uid, args, c.box.mail[uid])
		}
	case "LOGOUT":
		c.say("* BYE")
	}
	c.ok()
}

func (c *fakeConn) fetch(uid uint32, args, body string) {
	if strings.Contains(args, "BODY.PEEK[]") {
		c.say("* %d FETCH (UID %d BODY[] {%d}\r\n%s)", uid, uid, len(body), body)
		return
	}
	c.say(`* %d FETCH (UID %d FLAGS (\Seen) INTERNALDATE " 1-Feb-2007 00:00:00 +0000" RFC822.SIZE %d)`, uid, uid, len(body))
}

func (c *fakeConn) find(name string) *fakeBox {
	for _, b := range c.f.boxes {
		if b.name == name || `"`+b.name+`"` == name {
			return b
		}
	}
	return nil
}

// chosen gives the UIDs of the mailbox that stand in the set that begins a
// command.
func (c *fakeConn) chosen(args string) (out []uint32) {
	set, err := wire.ParseSet(strings.ReplaceAll(strings.Fields(strings.TrimPrefix(args, "UID "))[0], "*", fmt.Sprint(max(c.box.top, 1))))
	for _, uid := range slices.Sorted(maps.Keys(c.box.mail)) {
		if args == "ALL" || err == nil && set.Contains(uid) {
			out = append(out, uid)
		}
	}
	return out
}

// within tells whether a UID stands among them.
func (c *fakeConn) within(args string, uid uint32) bool {
	return slices.Contains(c.chosen(args), uid)
}

// source opens a source on the fake.
func (f *fake) source(o Options) *Source {
	f.t.Helper()
	if o.User == "" {
		o.User = "alice"
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 5 * time.Second
	}
	return open(f.t, f.port(), o)
}
