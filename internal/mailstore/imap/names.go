package imap

import (
	"strings"

	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// names leads from the server's mailbox names to those of package mailstore and
// back. Only what is the user's own has a name.
type names struct {
	separator string // between levels; "" for a server without any
	// prefix stands before every name but INBOX: "" or, where all is below
	// INBOX, "INBOX.". It is no part of the folder's name: on disk, and through
	// another door of the same server, the mailbox has none.
	prefix  string
	foreign []string // the prefixes of others' and of shared mailboxes
}

// namesOf makes the names of a user out of the server's namespaces, and out of
// the separator that LIST tells where it has none.
func namesOf(n wire.Namespaces, separator string) names {
	out := names{separator: separator}
	if len(n.Personal) > 0 {
		out.separator = n.Personal[0].Separator
	}
	if len(n.Personal) == 1 { // with several, the prefixes tell them apart
		out.prefix = n.Personal[0].Prefix
	}
	// Cyrus knows no personal namespace of a user who has no mailbox yet. Where
	// others' begins with "user", one's own is to be below INBOX.
	if len(n.Personal) == 0 && len(n.Others) == 1 && n.Others[0].Prefix == "user"+separator {
		out.prefix = folder.Inbox + separator
	}
	for _, f := range append(n.Others, n.Shared...) {
		if f.Prefix != "" {
			out.foreign = append(out.foreign, f.Prefix)
		}
	}
	return out
}

// patterns are what to LIST.
func (n *names) patterns() []string {
	if n.prefix == "" {
		return []string{"*"}
	}
	return []string{folder.Inbox, n.prefix + "*"}
}

// name gives the folder's name; ok is false for one that is not the user's, and
// for one that cannot be called by this name again.
func (n *names) name(onWire string) (name string, ok bool) {
	if strings.EqualFold(onWire, folder.Inbox) {
		return folder.Inbox, true
	}
	for _, f := range n.foreign {
		if strings.HasPrefix(onWire, f) || onWire == strings.TrimSuffix(f, n.separator) {
			return "", false
		}
	}
	rest := onWire
	if n.prefix != "" {
		if len(rest) <= len(n.prefix) || !strings.EqualFold(rest[:len(n.prefix)], n.prefix) {
			return "", false
		}
		rest = rest[len(n.prefix):]
	}
	if n.separator == "." {
		name = folder.ModifiedUTF7.DecodeDotted(rest)
	} else {
		name = n.decode(rest)
	}
	return name, name != "" && name != folder.Inbox && n.onWire(name) == n.prefix+rest
}

// decode gives the name for any separator. One that stands beside another, or
// at the beginning or the end, separates nothing and is part of a level.
func (n *names) decode(rest string) string {
	var levels []string
	start := 0
	for i := 1; n.separator != "" && i < len(rest)-1; i++ {
		if rest[i] == n.separator[0] && rest[i-1] != n.separator[0] && i > start {
			levels = append(levels, folder.ModifiedUTF7.DecodeLevel(rest[start:i]))
			start = i + 1
		}
	}
	levels = append(levels, folder.ModifiedUTF7.DecodeLevel(rest[start:]))
	if len(levels) == 1 {
		return folder.NotInbox(levels[0])
	}
	return strings.Join(levels, "/")
}

// onWire is the inverse of name.
func (n *names) onWire(name string) string {
	if name == folder.Inbox {
		return name
	}
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = folder.ModifiedUTF7.EncodeLevel(l)
	}
	return n.prefix + strings.Join(levels, n.separator)
}
