package dovecot

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Client is one IMAP connection. It fails the test when the server refuses
// a command.
type Client struct {
	t   testing.TB
	c   net.Conn
	in  *bufio.Reader
	tag int
}

// A Response is one untagged response; its literals stand in Text as {n}.
type Response struct {
	Text     string
	Literals []string
}

// Login opens a connection as the user.
func (s *Server) Login(user string) *Client {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.addr(), 5*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	cl := &Client{t: s.t, c: c, in: bufio.NewReader(c)}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := cl.in.ReadString('\n'); err != nil {
		s.t.Fatal(err)
	}
	cl.Do("LOGIN %s %s", quote(user), Password)
	return cl
}

// Close logs out.
func (c *Client) Close() {
	c.t.Helper()
	c.Do("LOGOUT")
	c.c.Close()
}

// Do sends a command and gives its untagged responses.
func (c *Client) Do(format string, args ...any) []Response {
	c.t.Helper()
	out, status := c.Try(format, args...)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), status)
	}
	return out
}

// Try sends a command and gives its untagged responses and its tagged one.
// A literal is sent by giving its bytes after "{n}\r\n" in the command.
func (c *Client) Try(format string, args ...any) ([]Response, string) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("a%d", c.tag)
	command := tag + " " + fmt.Sprintf(format, args...) + "\r\n"
	first, literal, _ := strings.Cut(command, "}\r\n")
	if literal == "" {
		first = command
	} else {
		first += "}\r\n"
	}
	c.send(first)
	var out []Response
	for {
		r := c.read()
		switch {
		case strings.HasPrefix(r.Text, "+ ") && literal != "":
			c.send(literal)
			literal = ""
		case strings.HasPrefix(r.Text, tag+" "):
			return out, strings.TrimPrefix(r.Text, tag+" ")
		default:
			out = append(out, r)
		}
	}
}

func (c *Client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.c, s); err != nil {
		c.t.Fatal(err)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

func (c *Client) read() Response {
	c.t.Helper()
	var r Response
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read from Dovecot: %v", err)
		}
		r.Text += strings.TrimRight(line, "\r\n")
		m := literalEnd.FindStringSubmatch(r.Text)
		if m == nil {
			return r
		}
		n, _ := strconv.Atoi(m[1])
		buf := make([]byte, n)
		if _, err := io.ReadFull(c.in, buf); err != nil {
			c.t.Fatalf("read from Dovecot: %v", err)
		}
		r.Literals = append(r.Literals, string(buf))
	}
}

// Append puts a message into a folder. The zero time is now.
func (c *Client) Append(folder, body string, date time.Time, flags ...string) {
	c.t.Helper()
	when := ""
	if !date.IsZero() {
		when = date.Format(`"02-Jan-2006 15:04:05 -0700" `)
	}
	c.Do("APPEND %s (%s) %s{%d}\r\n%s", quote(folder), strings.Join(flags, " "), when, len(body), body)
}

// Create makes a folder; its name is in the form that goes over the wire.
func (c *Client) Create(folder string) {
	c.t.Helper()
	c.Do("CREATE %s", quote(folder))
}

// quote writes an IMAP quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var listLine = regexp.MustCompile(`^\* (LIST|LSUB) \(([^)]*)\) \S+ (.*)$`)

// List gives the names of all folders that can be selected, sorted, as they go
// over the wire.
func (c *Client) List() []string {
	c.t.Helper()
	return c.names(`LIST "" "*"`)
}

// Subscribed gives the subscribed names, sorted.
func (c *Client) Subscribed() []string {
	c.t.Helper()
	return c.names(`LSUB "" "*"`)
}

func (c *Client) names(command string) []string {
	c.t.Helper()
	var out []string
	for _, r := range c.Do("%s", command) {
		m := listLine.FindStringSubmatch(r.Text)
		if m == nil || strings.Contains(m[2], `\Noselect`) || strings.Contains(m[2], `\NonExistent`) {
			continue
		}
		name := m[3]
		if len(r.Literals) > 0 {
			name = r.Literals[0]
		} else if strings.HasPrefix(name, `"`) {
			name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(name[1 : len(name)-1])
		}
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// A Folder is what IMAP says of a folder.
type Folder struct {
	UIDValidity, UIDNext uint32
	Messages             []Message // by UID
}

// A Message is what IMAP says of a message.
type Message struct {
	UID          uint32
	Flags        []string // sorted, without \Recent
	InternalDate time.Time
	Body         string
}

var (
	statusItem = regexp.MustCompile(`(UIDVALIDITY|UIDNEXT) (\d+)`)
	fetchUID   = regexp.MustCompile(`UID (\d+)`)
	fetchFlags = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	fetchDate  = regexp.MustCompile(`INTERNALDATE "([^"]*)"`)
)

// Examine gives a folder's state and messages, changing nothing.
func (c *Client) Examine(folder string) Folder {
	c.t.Helper()
	var f Folder
	for _, r := range c.Do("EXAMINE %s", quote(folder)) {
		if m := statusItem.FindStringSubmatch(r.Text); m != nil {
			n, _ := strconv.ParseUint(m[2], 10, 32)
			if m[1] == "UIDNEXT" {
				f.UIDNext = uint32(n)
			} else {
				f.UIDValidity = uint32(n)
			}
		}
	}
	for _, r := range c.Do("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])") {
		if strings.Contains(r.Text, " FETCH (") {
			f.Messages = append(f.Messages, c.parseFetch(r))
		}
	}
	return f
}

func (c *Client) parseFetch(r Response) Message {
	c.t.Helper()
	var m Message
	if s := fetchUID.FindStringSubmatch(r.Text); s != nil {
		n, _ := strconv.ParseUint(s[1], 10, 32)
		m.UID = uint32(n)
	}
	if s := fetchFlags.FindStringSubmatch(r.Text); s != nil {
		for _, f := range strings.Fields(s[1]) {
			if f != `\Recent` {
				m.Flags = append(m.Flags, f)
			}
		}
		sort.Strings(m.Flags)
	}
	if s := fetchDate.FindStringSubmatch(r.Text); s != nil {
		when, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s[1])
		if err != nil {
			c.t.Fatal(err)
		}
		m.InternalDate = when
	}
	if len(r.Literals) > 0 {
		m.Body = r.Literals[0]
	}
	return m
}
