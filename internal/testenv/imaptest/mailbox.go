package imaptest

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Append puts a message into a folder, whose name is in the form that goes over
// the wire. The zero time is now.
func (c *Client) Append(folder, body string, date time.Time, flags ...string) {
	c.t.Helper()
	when := ""
	if !date.IsZero() {
		when = date.Format(`"02-Jan-2006 15:04:05 -0700" `)
	}
	c.Do("APPEND %s (%s) %s%s", Quote(folder), strings.Join(flags, " "), when, Literal(body))
}

// Create makes a folder; its name is in the form that goes over the wire.
func (c *Client) Create(folder string) {
	c.t.Helper()
	c.Do("CREATE %s", Quote(folder))
}

// Select opens a folder to change it.
func (c *Client) Select(folder string) {
	c.t.Helper()
	c.Do("SELECT %s", Quote(folder))
}

// Store changes flags in the selected folder: uids is an IMAP set, what is
// FLAGS, +FLAGS or -FLAGS.
func (c *Client) Store(uids, what string, flags ...string) {
	c.t.Helper()
	c.Do("UID STORE %s %s (%s)", uids, what, strings.Join(flags, " "))
}

// Expunge removes messages from the selected folder; uids is an IMAP set.
func (c *Client) Expunge(uids string) {
	c.t.Helper()
	c.Store(uids, "+FLAGS", `\Deleted`)
	c.Do("UID EXPUNGE %s", uids)
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
			name = unquote(name)
		}
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func unquote(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
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
	fetchBody  = regexp.MustCompile(`BODY\[\] ("(?:[^"\\]|\\.)*")`)
	fetchDate  = regexp.MustCompile(`INTERNALDATE "([^"]*)"`)
)

// Examine gives a folder's state and messages, changing nothing.
func (c *Client) Examine(folder string) Folder {
	c.t.Helper()
	var f Folder
	for _, r := range c.Do("EXAMINE %s", Quote(folder)) {
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
	switch s := fetchBody.FindStringSubmatch(r.Text); {
	case len(r.Literals) > 0:
		m.Body = r.Literals[0]
	case s != nil:
		m.Body = unquote(s[1])
	}
	return m
}
