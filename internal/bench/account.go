package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailgen"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/stores"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/daemon"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// A server is a running Dovecot or Cyrus.
type server struct {
	name   string // as its makers write it
	dir    string
	port   int
	config string
	login  func(user string) *imaptest.Client
	add    func(user string) // makes a user
	stop   func()
}

// keeper is the administrator who may log in as anybody; secret is everybody's
// password.
const (
	keeper = cyrus.Backup
	secret = cyrus.Password
)

func startDovecot(t testing.TB) *server {
	s := dovecot.Start(t, dovecot.Options{Masters: []string{keeper}})
	return &server{name: "Dovecot", dir: s.Dir, port: s.Port, config: filepath.Join(s.Dir, "etc/dovecot.conf"), stop: s.Stop,
		login: s.Login, add: func(string) {}}
}

func startCyrus(t testing.TB) *server {
	s := cyrus.Start(t, cyrus.Options{})
	return &server{name: "Cyrus", dir: s.Dir, port: s.Port, config: s.ConfigFile(), stop: s.Stop,
		login: s.Login, add: func(user string) { s.AddUser(user) }}
}

// url is the server as salvor is told of it.
func (s *server) url() string { return fmt.Sprintf("imap://%s@127.0.0.1:%d?tls=none", keeper, s.port) }

// cpu gives the seconds of processor time that the server's processes, also
// those that have ended, have used so far.
func (s *server) cpu() float64 {
	var ticks int64
	for _, file := range []string{"run/master.pid", "conf/master.pid"} {
		text, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			continue
		}
		leader, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		for _, pid := range daemon.Group(leader) {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			_, rest, _ := strings.Cut(string(stat), ") ")
			// proc(5): from the third field on; utime is the 14th.
			if f := strings.Fields(rest); len(f) > 14 {
				for _, x := range f[11:15] {
					n, _ := strconv.ParseInt(x, 10, 64)
					ticks += n
				}
			}
		}
	}
	return float64(ticks) / 100 // USER_HZ
}

// A letter is one message that goes to a server.
type letter struct {
	folder string // on the wire
	flags  []string
	date   time.Time
	body   func() (string, error) // CRLF
}

// mail makes a corpus and gives its letters by user, in the order in which they
// came.
func (s *settings) mail(ctx context.Context, o mailgen.Options) (map[string][]letter, *mailgen.Corpus, error) {
	c, err := mailgen.Create(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	src, err := stores.OpenSource("maildir:"+o.Root+"/%u", stores.Options{})
	if err != nil {
		return nil, nil, err
	}
	all := map[string][]letter{}
	for _, user := range c.Users {
		err := src.Mailboxes(ctx, mailstore.User{Name: user}, func(box mailstore.Mailbox) error {
			return src.Messages(ctx, box, func(m mailstore.Message) error {
				all[user] = append(all[user], letter{folder: folder.EncodeUTF7(box.Name), flags: m.Flags, date: m.InternalDate, body: func() (string, error) {
					return content(ctx, src, box, m)
				}})
				return nil
			})
		})
		if err != nil {
			return nil, nil, err
		}
		slices.SortStableFunc(all[user], func(a, b letter) int { return a.date.Compare(b.date) })
	}
	return all, c, nil
}

func content(ctx context.Context, src mailstore.Source, box mailstore.Mailbox, m mailstore.Message) (string, error) {
	r, err := src.Open(ctx, box, m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(bytes.ReplaceAll(b, []byte{'\n'}, []byte("\r\n"))), err
}

// Bounds of what one command appends, and one connection.
const (
	appendBytes      = 8 << 20
	appendMessages   = 200
	connectionAppend = 2000
)

// fill puts letters into a user's folders, which it makes. What a server makes
// of mail when a client first looks at it is made, too.
func (s *server) fill(user string, letters []letter) error {
	byFolder := map[string][]letter{}
	for _, l := range letters {
		byFolder[l.folder] = append(byFolder[l.folder], l)
	}
	for _, name := range sorted(byFolder) {
		c := s.login(user)
		if there := c.List(); !slices.Contains(there, name) {
			c.Create(name)
		}
		if _, status := c.Try("SUBSCRIBE %s", imaptest.Quote(name)); !strings.HasPrefix(status, "OK") {
			return fmt.Errorf("subscribe to %s: %s", name, status)
		}
		sent := 0
		for rest := byFolder[name]; len(rest) > 0; {
			n, command, err := appendCommand(name, rest)
			if err != nil {
				return err
			}
			c.Do("%s", command)
			rest, sent = rest[n:], sent+n
			if sent >= connectionAppend { // a test's connection lives for a minute
				c.Close()
				c, sent = s.login(user), 0
			}
		}
		c.Do("EXAMINE %s", imaptest.Quote(name))
		c.Do("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)")
		c.Close()
	}
	return nil
}

// appendCommand takes the first letters that fit into one command.
func appendCommand(name string, letters []letter) (n int, command string, err error) {
	var b strings.Builder
	b.WriteString("APPEND " + imaptest.Quote(name))
	for _, l := range letters {
		body, err := l.body()
		if err != nil {
			return 0, "", err
		}
		if n > 0 && (n >= appendMessages || b.Len()+len(body) > appendBytes) {
			break
		}
		fmt.Fprintf(&b, " (%s) %s {%d+}\r\n%s", strings.Join(l.flags, " "), l.date.Format(`"02-Jan-2006 15:04:05 -0700"`), len(body), body)
		n++
	}
	return n, b.String(), nil
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Shares of a user's messages that a day changes, as in package mailgen.
const (
	dayNew    = 0.015
	dayFlags  = 0.02
	dayMoves  = 0.005
	dayDelete = 0.005
)

var searchLine = regexp.MustCompile(`^\* SEARCH((?: \d+)*)`)

// day lets a day pass: messages are flagged, removed and moved to another
// folder, and the letters come.
func (s *server) day(user string, rng *rand.Rand, letters []letter) error {
	const moved = "Archive"
	c := s.login(user)
	folders := c.List()
	if !slices.Contains(folders, moved) {
		c.Create(moved)
	}
	for _, name := range folders {
		c.Select(name)
		var flag, remove, move []string
		for _, uid := range uids(c) {
			switch x := rng.Float64(); {
			case x < dayFlags:
				flag = append(flag, uid)
			case x < dayFlags+dayDelete:
				remove = append(remove, uid)
			case x < dayFlags+dayDelete+dayMoves && name != moved:
				move = append(move, uid)
			}
		}
		if len(flag) > 0 {
			c.Store(strings.Join(flag, ","), "+FLAGS", `\Flagged`)
		}
		if len(remove) > 0 {
			c.Expunge(strings.Join(remove, ","))
		}
		if len(move) > 0 {
			c.Do("UID MOVE %s %s", strings.Join(move, ","), imaptest.Quote(moved))
		}
	}
	c.Close()
	return s.fill(user, letters)
}

// uids lists the selected folder.
func uids(c *imaptest.Client) (all []string) {
	for _, r := range c.Do("UID SEARCH ALL") {
		if m := searchLine.FindStringSubmatch(r.Text); m != nil {
			all = append(all, strings.Fields(m[1])...)
		}
	}
	return all
}

var statusLine = regexp.MustCompile(`MESSAGES (\d+)`)

// count gives how many messages the user has.
func (s *server) count(user string) (n int) {
	c := s.login(user)
	defer c.Close()
	for _, name := range c.List() {
		for _, r := range c.Do("STATUS %s (MESSAGES)", imaptest.Quote(name)) {
			if m := statusLine.FindStringSubmatch(r.Text); m != nil {
				in, _ := strconv.Atoi(m[1])
				n += in
			}
		}
	}
	return n
}
