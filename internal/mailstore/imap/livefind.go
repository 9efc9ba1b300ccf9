package imap

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// Find looks for messages of a mailbox. The server searches by size and by
// Message-ID; what it finds is fetched one by one.
func (l *live) Find(ctx context.Context, mailbox string, s mailstore.Sought, yield func(mailstore.Found) error) error {
	var own error
	err := l.in(ctx, mailbox, func(onWire string) error {
		f := &finding{l: l, onWire: onWire, Sought: s}
		sized, named, err := f.candidates(ctx)
		if err != nil {
			return err
		}
		for _, uid := range slices.Compact(slices.Sorted(union(sized, named))) {
			body, err := f.fetch(ctx, uid)
			if err != nil {
				return err
			}
			// A server looks for a part of the header, in any case.
			if body == nil || !sized.Contains(uid) && !hasMessageID(body, s.MessageID) {
				continue
			}
			same := slices.ContainsFunc(s.Forms, func(form []byte) bool { return bytes.Equal(form, body) })
			if own = yield(mailstore.Found{UID: mailstore.UID(uid), Wire: body, Same: same}); own != nil {
				return own
			}
		}
		return nil
	})
	if own != nil {
		return own
	}
	return err
}

// union gives the UIDs of two sets, each once.
func union(a, b wire.Set) func(yield func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for uid := range a.All() {
			if !yield(uid) {
				return
			}
		}
		for uid := range b.All() {
			if !a.Contains(uid) && !yield(uid) {
				return
			}
		}
	}
}

// A finding is one search.
type finding struct {
	l      *live
	onWire string
	mailstore.Sought
	sel *wire.Selected
}

// candidates are the messages whose size is that of a form, or all when nothing
// is known about the one that is sought, and those that have the Message-ID.
func (f *finding) candidates(ctx context.Context) (sized, named wire.Set, err error) {
	err = f.l.a.do(ctx, func(c *wire.Conn) error {
		sel, err := f.l.look(ctx, c, f.onWire)
		if err != nil {
			return err
		}
		sized, named, f.sel = nil, nil, sel
		if sel.Messages == 0 {
			return nil
		}
		if len(f.Forms) == 0 && f.MessageID == "" {
			sized, err = f.search(ctx, c, func(cmd *wire.Command) {})
			return err
		}
		for _, size := range sizes(f.Forms) {
			more, err := f.search(ctx, c, func(cmd *wire.Command) {
				if size > 1 {
					cmd.Raw(fmt.Sprintf(" LARGER %d", size-1))
				}
				cmd.Raw(fmt.Sprintf(" SMALLER %d", size+1))
			})
			if err != nil {
				return err
			}
			sized = append(sized, more...)
		}
		slices.SortFunc(sized, func(a, b wire.Range) int { return int(int64(a.First) - int64(b.First)) })
		if part := searchable(f.MessageID); part != "" {
			named, err = f.search(ctx, c, func(cmd *wire.Command) { cmd.Raw(" HEADER Message-ID").String(part) })
		}
		return err
	})
	return sized, named, err
}

// sizes gives the lengths of the forms, each once.
func sizes(forms [][]byte) []int {
	var out []int
	for _, f := range forms {
		out = append(out, len(f))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// search asks for UIDs from From on.
func (f *finding) search(ctx context.Context, c *wire.Conn, criteria func(*wire.Command)) (out wire.Set, err error) {
	found, err := c.SearchFor(ctx, func(cmd *wire.Command) {
		cmd.Raw(fmt.Sprintf(" UID %d:*", max(f.From, 1)))
		criteria(cmd)
	})
	if n := found.Len(); n > int64(f.sel.Messages)+1_000_000 {
		return nil, fmt.Errorf("the server finds %d UIDs among %d messages", n, f.sel.Messages)
	}
	for _, r := range found { // "*" is the last message, also when its UID is lower
		if from := max(uint32(f.From), 1); r.Last >= from {
			out = append(out, wire.Range{First: max(r.First, from), Last: r.Last})
		}
	}
	return out, err
}

// fetch gives a message's bytes; nil when it is gone, or has none.
func (f *finding) fetch(ctx context.Context, uid uint32) (body []byte, err error) {
	err = f.l.a.do(ctx, func(c *wire.Conn) error {
		sel, err := f.l.a.link.examine(ctx, c, f.onWire)
		if err != nil {
			return f.l.gone(f.onWire, err)
		}
		if err := sameMailbox(f.sel, sel); err != nil {
			return err
		}
		body = nil
		p, err := c.Fetch(ctx, wire.FetchQuery{UIDs: fmt.Sprint(uid), Items: "UID BODY.PEEK[]", MaxLiteral: f.l.s.d.s.o.MaxMessage,
			MaxAnswers: mostAnswers(sel, 1), Yield: func(m *wire.Fetched) error {
				if v := m.Items["BODY[]"]; m.UID == uid && v.Kind == wire.String && len(v.Bytes) > 0 {
					body = v.Bytes
				}
				return nil
			}})
		if err == nil {
			_, err = p.Wait(ctx)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("UID %d: %w", uid, err)
	}
	return body, nil
}

// leastSearchable is how much of a Message-ID has to be fit for a command.
const leastSearchable = 3

// searchable is the longest part of a Message-ID that every server looks for as
// it stands: printable ASCII without blanks. "" is none that is worth it.
func searchable(id string) string {
	longest := ""
	for _, part := range strings.FieldsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	if len(longest) < leastSearchable {
		return ""
	}
	return longest[:min(len(longest), maxMessageID)]
}

// hasMessageID tells whether a message has a header Message-ID with this value.
// One in angle brackets may have something beside it.
func hasMessageID(message []byte, id string) bool {
	id = unfolded(id)
	const name = "message-id:"
	for len(message) > 0 {
		line, rest, _ := bytes.Cut(message, []byte("\n"))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return false // the body begins
		}
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
			line = message[:len(message)-len(rest)]
		}
		if len(line) >= len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			value := unfolded(string(line[len(name):]))
			if value == id || strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && strings.Contains(value, id) {
				return true
			}
		}
		message = rest
	}
	return false
}

func unfolded(s string) string { return strings.Join(strings.Fields(s), " ") }
