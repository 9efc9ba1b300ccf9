package wire

import (
	"context"
	"errors"
	"strings"
	"time"
)

// A Fetched is one FETCH answer. Items are by name, in capitals: "UID",
// "FLAGS", "BODY[]".
type Fetched struct {
	Seq   uint32 // the message's number in the mailbox as this connection sees it
	UID   uint32 // 0: the answer does not say
	Items map[string]Value
}

// A FetchQuery is what is to be fetched.
type FetchQuery struct {
	UIDs  string // a set, or "1:*"
	Items string // as in "UID FLAGS"
	// ChangedSince leaves out messages whose MODSEQ is not higher (RFC 7162);
	// 0 fetches all.
	ChangedSince uint64
	// MaxLiteral bounds each body, in bytes; 0 means 1 MiB.
	MaxLiteral int64
	// MaxText bounds what an answer holds outside of literals, in bytes; 0 means
	// 1 MiB.
	MaxText int64
	// MaxAnswers bounds the answers, as those about flags that nobody asked for;
	// 0 means 1048576.
	MaxAnswers int64
	// Yield is called with each answer, on the connection's reader: see
	// Command.Handle. An error of it ends the connection.
	Yield func(*Fetched) error
	// Say is called with what the server says to people meanwhile ("Message 5
	// no longer exists"); nil for nobody.
	Say func(text string)
}

// Fetch sends a UID FETCH. Flags that other clients change meanwhile come as
// further answers, which may lack any item but FLAGS.
func (c *Conn) Fetch(ctx context.Context, q FetchQuery) (*Pending, error) {
	cmd := NewCommand("UID FETCH").Raw(" " + q.UIDs + " (" + q.Items + ")")
	if q.ChangedSince > 0 {
		cmd.Raw(" (CHANGEDSINCE " + utoa(q.ChangedSince) + ")")
	}
	cmd.MaxText, cmd.MaxLiteral, cmd.MaxAnswers = q.MaxText, q.MaxLiteral, q.MaxAnswers
	cmd.Handle = func(r *Response) (bool, error) {
		if (r.Name == "OK" || r.Name == "NO") && q.Say != nil {
			q.Say(r.Text())
			return true, nil
		}
		if r.Name != "FETCH" {
			return false, nil
		}
		f, err := fetched(r)
		if err != nil {
			return true, err
		}
		return true, q.Yield(f)
	}
	return c.Start(ctx, cmd)
}

func fetched(r *Response) (*Fetched, error) {
	values, err := r.Values()
	if err != nil {
		return nil, err
	}
	if len(values) != 1 || values[0].Kind != List || len(values[0].Items)%2 != 0 {
		return nil, &Garbled{"no message", r.head()}
	}
	f := &Fetched{Seq: r.Num, Items: pairs(values[0].Items)}
	if v, ok := f.Items["UID"]; ok {
		n, err := v.Uint(32)
		if err != nil || n == 0 {
			return nil, &Garbled{"no UID", r.head()}
		}
		f.UID = uint32(n)
	}
	return f, nil
}

// Flags gives the flags without \Recent, in the server's order; ok is false
// when the answer holds none.
func (f *Fetched) Flags() (flags []string, ok bool) {
	v, ok := f.Items["FLAGS"]
	if !ok || v.Kind != List {
		return nil, false
	}
	for _, flag := range v.Items {
		if text := flag.Text(); text != "" && !flag.Is(`\Recent`) {
			flags = append(flags, text)
		}
	}
	return flags, true
}

// ModSeq gives the MODSEQ, 0 for none.
func (f *Fetched) ModSeq() uint64 {
	v := f.Items["MODSEQ"]
	if len(v.Items) != 1 {
		return 0
	}
	n, _ := v.Items[0].Uint(63)
	return n
}

// DateLayout is INTERNALDATE's form.
const DateLayout = "_2-Jan-2006 15:04:05 -0700"

// InternalDate gives the INTERNALDATE.
func (f *Fetched) InternalDate() (time.Time, error) {
	return time.Parse(DateLayout, f.Items["INTERNALDATE"].Text())
}

// Search finds UIDs by criteria, as in "ALL": by ESEARCH, whose answers are
// short, where the server has it.
func (c *Conn) Search(ctx context.Context, criteria string) (Set, error) {
	return c.SearchFor(ctx, func(cmd *Command) { cmd.Raw(" " + criteria) })
}

// SearchFor does the same for criteria that add writes, each after a blank: they
// may hold strings.
func (c *Conn) SearchFor(ctx context.Context, add func(*Command)) (Set, error) {
	cmd := NewCommand("UID SEARCH")
	if caps := c.Caps(); caps.Has("ESEARCH") || caps.Has("IMAP4REV2") {
		cmd.Raw(" RETURN (ALL)")
	}
	add(cmd)
	cmd.MaxText = 64 << 20
	var found []Range
	cmd.Handle = func(r *Response) (bool, error) {
		var err error
		var got []Range
		switch r.Name {
		case "SEARCH":
			got, err = searched(string(r.Parts[0].Text[r.rest:]))
		case "ESEARCH":
			got, err = esearched(r)
		default:
			return false, nil
		}
		if err == nil && len(found)+len(got) > maxRanges {
			err = errors.New("too many UIDs")
		}
		if err != nil {
			return true, &Garbled{err.Error(), r.head()}
		}
		found = append(found, got...)
		return true, nil
	}
	if _, err := c.Do(ctx, cmd); err != nil {
		return nil, err
	}
	return normal(found), nil
}

// searched reads the numbers of a SEARCH answer, which may end in a MODSEQ.
func searched(text string) (out []Range, err error) {
	text, _, _ = strings.Cut(text, "(")
	for text = strings.TrimSpace(text); text != ""; {
		var word string
		word, text, _ = strings.Cut(text, " ")
		text = strings.TrimLeft(text, " ")
		uid, err := parseUID(word)
		if err != nil {
			return nil, err
		}
		out = append(out, Range{uid, uid})
	}
	return out, nil
}

func esearched(r *Response) (Set, error) {
	values, err := r.Values()
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(values); i++ {
		if values[i].Is("ALL") && values[i].Kind == Atom {
			return ParseSet(values[i+1].Text())
		}
	}
	return nil, nil
}
