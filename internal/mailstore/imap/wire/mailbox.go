package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Mailbox names here are those of the wire: modified UTF-7, with the server's
// separator.

// A Listed is one mailbox of LIST.
type Listed struct {
	Name      string
	Separator string // one character; "" for a flat name
	Attrs     []string
}

// Has tells whether the mailbox has the attribute, as in `\Noselect`.
func (l *Listed) Has(attr string) bool {
	for _, a := range l.Attrs {
		if strings.EqualFold(a, attr) {
			return true
		}
	}
	return false
}

// maxListed bounds what LIST tells: an administrator sees all users.
const maxListed = 12_000_000

// maxTold bounds what SELECT tells of one mailbox.
const maxTold = 10_000

// List lists mailboxes, with subscriptions and special uses where the server
// can (LIST-EXTENDED, SPECIAL-USE), calling yield for each. An error of yield
// ends the connection.
func (c *Conn) List(ctx context.Context, reference, pattern string, yield func(Listed) error) error {
	cmd := NewCommand("LIST").String(reference).String(pattern)
	caps := c.Caps()
	if caps.Has("LIST-EXTENDED") {
		options := "SUBSCRIBED"
		if caps.Has("SPECIAL-USE") {
			options += " SPECIAL-USE"
		}
		cmd.Raw(" RETURN (" + options + ")")
	}
	cmd.MaxAnswers = maxListed
	return c.list(ctx, cmd, yield)
}

// Separator asks what stands between levels of names; "" for nothing. It is the
// empty pattern of RFC 9051, section 6.3.9.8, which Cyrus knows only without
// RETURN.
func (c *Conn) Separator(ctx context.Context) (separator string, err error) {
	err = c.list(ctx, NewCommand("LIST").String("").String(""), func(l Listed) error {
		separator = l.Separator
		return nil
	})
	return separator, err
}

// Subscribed lists the subscribed mailboxes (LSUB).
func (c *Conn) Subscribed(ctx context.Context, reference, pattern string, yield func(Listed) error) error {
	return c.list(ctx, NewCommand("LSUB").String(reference).String(pattern), yield)
}

func (c *Conn) list(ctx context.Context, cmd *Command, yield func(Listed) error) error {
	cmd.Handle = func(r *Response) (bool, error) {
		if r.Name != cmd.name {
			return false, nil
		}
		values, err := r.Values()
		if err != nil {
			return true, err
		}
		if len(values) < 3 || values[0].Kind != List || values[2].Kind == List {
			return true, &Garbled{"no mailbox", r.head()}
		}
		l := Listed{Name: values[2].Text(), Separator: values[1].Text()}
		if values[2].Kind == Nil {
			l.Name = "NIL" // an atom like any other here
		}
		if len(l.Separator) > 1 || l.Name == "" && l.Separator == "" {
			return true, &Garbled{"no mailbox", r.head()}
		}
		for _, a := range values[0].Items {
			l.Attrs = append(l.Attrs, a.Text())
		}
		return true, yield(l)
	}
	_, err := c.Do(ctx, cmd)
	return err
}

// A Namespace is one prefix of NAMESPACE (RFC 2342).
type Namespace struct{ Prefix, Separator string }

// Namespaces are the kinds of RFC 2342.
type Namespaces struct{ Personal, Others, Shared []Namespace }

// Namespaces asks for the namespaces; none where the server has no NAMESPACE.
func (c *Conn) Namespaces(ctx context.Context) (n Namespaces, err error) {
	if !c.Caps().Has("NAMESPACE") && !c.Caps().Has("IMAP4REV2") {
		return n, nil
	}
	cmd := NewCommand("NAMESPACE")
	cmd.Handle = func(r *Response) (bool, error) {
		if r.Name != cmd.name {
			return false, nil
		}
		values, err := r.Values()
		if err != nil {
			return true, err
		}
		for i, into := range []*[]Namespace{&n.Personal, &n.Others, &n.Shared} {
			*into = nil
			if i >= len(values) {
				break
			}
			for _, one := range values[i].Items {
				if len(one.Items) < 2 {
					return true, &Garbled{"no namespace", r.head()}
				}
				*into = append(*into, Namespace{one.Items[0].Text(), one.Items[1].Text()})
			}
		}
		return true, nil
	}
	_, err = c.Do(ctx, cmd)
	return n, err
}

// A Status is the answer to STATUS: values by item, in capitals.
type Status struct {
	Mailbox string
	Items   map[string]Value
	Err     error // why there is none, a *Refused; nil
}

// Uint gives a number, 0 when it is missing or none.
func (s *Status) Uint(item string) uint64 {
	n, _ := s.Items[item].Uint(64)
	return n
}

// statusWindow is how many STATUS commands are in flight at a time.
const statusWindow = 64

// Statuses asks for the items of many mailboxes, some at a time, and calls
// yield for each in their order.
func (c *Conn) Statuses(ctx context.Context, names []string, items string, yield func(Status) error) error {
	type asked struct {
		p *Pending
		s *Status
	}
	var window []asked
	filling := true
	for next := 0; next < len(names) || len(window) > 0; {
		// Half a window at a time: one packet carries many commands.
		filling = next < len(names) && (len(window) <= statusWindow/2 || filling && len(window) < statusWindow)
		if filling {
			s := &Status{Mailbox: names[next]}
			next++
			more := next < len(names) && len(window)+1 < statusWindow
			p, err := c.startStatus(ctx, s, items, more)
			if err != nil {
				return err
			}
			window = append(window, asked{p, s})
			continue
		}
		first := window[0]
		window = window[1:]
		if _, err := first.p.Wait(ctx); err != nil {
			if IsBroken(err) || ctx.Err() != nil {
				return err
			}
			first.s.Err = err
		} else if first.s.Items == nil {
			first.s.Err = errors.New("the server answers STATUS with nothing")
		}
		if err := yield(*first.s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) startStatus(ctx context.Context, s *Status, items string, more bool) (*Pending, error) {
	cmd := NewCommand("STATUS").String(s.Mailbox).Raw(" (" + items + ")")
	cmd.more = more
	cmd.Handle = func(r *Response) (bool, error) {
		if r.Name != "STATUS" {
			return false, nil
		}
		values, err := r.Values()
		if err != nil {
			return true, err
		}
		if len(values) < 2 || !sameName(values[0], s.Mailbox) {
			return false, nil
		}
		got := pairs(values[1].Items)
		if s.Items == nil {
			s.Items = got
		} else { // in parts, as a server may
			for k, v := range got {
				s.Items[k] = v
			}
		}
		return true, nil
	}
	return c.Start(ctx, cmd)
}

// sameName compares a mailbox's name in an answer with the one that was asked
// for.
func sameName(v Value, name string) bool {
	if v.Kind == Nil {
		return name == "NIL"
	}
	return v.Text() == name || strings.EqualFold(name, "INBOX") && v.Is("INBOX")
}

// pairs makes a map of "NAME value NAME value".
func pairs(items []Value) map[string]Value {
	m := make(map[string]Value, len(items)/2)
	for i := 0; i+1 < len(items); i += 2 {
		m[strings.ToUpper(items[i].Text())] = items[i+1]
	}
	return m
}

// A Selected is what SELECT and EXAMINE tell of a mailbox.
type Selected struct {
	UIDValidity, UIDNext, Messages uint32
	HighestModSeq                  uint64 // 0: none, or none that lasts (NOMODSEQ)
	MailboxID                      string // OBJECTID
	ReadOnly                       bool
}

// Examine selects a mailbox for reading only: nothing in it changes, and no
// flag with it.
func (c *Conn) Examine(ctx context.Context, name string) (*Selected, error) {
	return c.choose(ctx, "EXAMINE", name)
}

// Select selects a mailbox for writing.
func (c *Conn) Select(ctx context.Context, name string) (*Selected, error) {
	return c.choose(ctx, "SELECT", name)
}

func (c *Conn) choose(ctx context.Context, verb, name string) (*Selected, error) {
	s := &Selected{}
	cmd := NewCommand(verb).String(name)
	cmd.MaxAnswers = maxTold
	if c.Caps().Has("CONDSTORE") {
		cmd.Raw(" (CONDSTORE)")
	}
	cmd.Handle = func(r *Response) (bool, error) {
		switch r.Name {
		case "EXISTS":
			s.Messages = r.Num
		case "OK":
			return true, s.note(r)
		case "FLAGS", "RECENT":
		default:
			return false, nil
		}
		return true, nil
	}
	r, err := c.Do(ctx, cmd)
	if err != nil {
		return nil, err
	}
	code, _ := r.Code()
	s.ReadOnly = code == "READ-ONLY"
	if s.UIDValidity == 0 {
		return nil, fmt.Errorf("the server gives the mailbox no UIDVALIDITY")
	}
	return s, nil
}

// note takes over a response code of SELECT.
func (s *Selected) note(r *Response) error {
	code, args := r.Code()
	v := Value{Kind: Atom, Bytes: []byte(args)}
	var n uint64
	var err error
	switch code {
	case "UIDVALIDITY":
		n, err = v.Uint(32)
		s.UIDValidity = uint32(n)
	case "UIDNEXT":
		n, err = v.Uint(32)
		s.UIDNext = uint32(n)
	case "HIGHESTMODSEQ":
		s.HighestModSeq, err = v.Uint(63)
	case "NOMODSEQ":
		s.HighestModSeq = 0
	case "MAILBOXID":
		s.MailboxID = strings.Trim(args, "()")
	}
	if err != nil {
		return &Garbled{err.Error(), r.head()}
	}
	return nil
}
