// Package header reads cyrus.header, the small text file beside each Cyrus
// mailbox's index: its identity, its user flags' names, its access rights and,
// since Cyrus 3.6, its own name. It works on bytes, so that a file found on an
// image is read like one in its place.
package header

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"salvor/internal/mailstore/cyrus/dlist"
)

// magic is how every cyrus.header begins (Cyrus, imap/mailbox.h,
// MAILBOX_HEADER_MAGIC).
const magic = "\xa1\x02\x8b\x0dCyrus mailbox header\n" +
	"\"The best thing about this system was that it had lots of goals.\"\n" +
	"\t--Jim Morris on Andrew\n"

// MaxFlags is how many user flags a mailbox can have.
const MaxFlags = 128

// MaxSize is the length in bytes above which no file is taken for a
// cyrus.header: names and rights of a mailbox are far shorter.
const MaxSize = 4 << 20

// ErrHeader says that a file is no cyrus.header.
var ErrHeader = errors.New("not a cyrus.header")

// A Header is what a cyrus.header says.
type Header struct {
	// Name is the mailbox's internal name ("user.alice.Work",
	// "example.org!user.eve"), "" before Cyrus 3.6. Where the mailbox lies under
	// its name (Legacy), a rename does not change it: the path is right then.
	Name string
	// Type is the mailbox's type as in mailboxes.db: "e" mail, "c" calendar, and
	// so on, with "l" added for Legacy; "" before 3.6.
	Type     string
	UniqueID string
	// QuotaRoot is the internal name of the mailbox that bears the quota, "" for
	// none.
	QuotaRoot string
	// ACL is identifier, tab, rights, tab, and so on.
	ACL string
	// Flags are the names of the user flags, by bit; "" for a bit without one.
	Flags []string
}

// Legacy tells whether the mailbox's directory is named by the mailbox.
func (h *Header) Legacy() bool { return h.Type == "" || strings.Contains(h.Type, "l") }

// Is tells whether a file begins like a cyrus.header.
func Is(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }

// Parse reads a cyrus.header, in the form of Cyrus 3.6 or in the older one of
// three lines.
func Parse(b []byte) (*Header, error) {
	if !Is(b) {
		return nil, ErrHeader
	}
	b = b[len(magic):]
	if len(b) > 0 && b[0] == '%' {
		return parseDlist(b)
	}
	return parseLines(b)
}

func parseDlist(b []byte) (*Header, error) {
	line, _, ended := bytes.Cut(b, []byte("\n"))
	v, err := dlist.Parse(line)
	if err != nil || !v.Map || !ended {
		return nil, fmt.Errorf("%w: its fourth line is damaged", ErrHeader)
	}
	h := &Header{Name: v.Text("N"), Type: v.Text("T"), UniqueID: v.Text("I"), QuotaRoot: v.Text("Q"), ACL: ACL(v.Get("A"))}
	for _, f := range v.Get("U").Items {
		if len(h.Flags) < MaxFlags {
			h.Flags = append(h.Flags, f.Atom)
		}
	}
	return h, nil
}

// ACL writes a dlist's map of rights as one text, as older versions do.
func ACL(v dlist.Value) string {
	var b strings.Builder
	for _, i := range v.Items {
		b.WriteString(i.Key + "\t" + i.Atom + "\t")
	}
	return b.String()
}

// parseLines reads quota root, tab, identity; names of flags; access rights.
// Two blanks stand where a flag has been removed.
func parseLines(b []byte) (*Header, error) {
	lines := bytes.SplitN(b, []byte("\n"), 4)
	if len(lines) < 4 {
		return nil, fmt.Errorf("%w: it ends too early", ErrHeader)
	}
	h := &Header{ACL: string(lines[2])}
	root, id, _ := strings.Cut(string(lines[0]), "\t")
	h.QuotaRoot = root
	h.UniqueID, _, _ = strings.Cut(id, "\t")
	for i, f := range strings.Split(string(lines[1]), " ") {
		if i < MaxFlags {
			h.Flags = append(h.Flags, f)
		}
	}
	for len(h.Flags) > 0 && h.Flags[len(h.Flags)-1] == "" {
		h.Flags = h.Flags[:len(h.Flags)-1]
	}
	return h, nil
}
