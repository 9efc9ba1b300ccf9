package imap

import (
	"strings"

	"salvor/internal/mailstore/folder"
)

// goodInCyrus are the characters that Cyrus takes in names, beside those of
// modified UTF-7's own runs (imap/mboxname.c, GOODCHARS). "^" stands for a dot
// there.
const goodInCyrus = " #$'()*+,-.0123456789:=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~/&"

// targets gives the names on the wire under which a folder may stand: the one
// it ought to have, where there is such a one, and one that every server takes,
// of which each level is made of a readable part and a hash.
func (n *names) targets(name string) []string {
	if strings.EqualFold(name, folder.Inbox) {
		return []string{folder.Inbox}
	}
	var out []string
	if len(name) <= maxName && !hashedLevel(name) && !nearInbox(name) {
		onWire := n.onWire(name)
		if back, ok := n.name(onWire); ok && back == name {
			out = append(out, onWire)
		}
	}
	return append(out, n.safe(name))
}

// nearInbox tells whether a name is below one that servers take for INBOX and
// that is written otherwise: inbox/Work is INBOX/Work on Cyrus.
func nearInbox(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return first != folder.Inbox && strings.EqualFold(first, folder.Inbox)
}

// hashedLevel tells whether a level looks like one of those that safe makes up:
// nobody may choose a name that is another's.
func hashedLevel(name string) bool {
	f := folder.Files{Encoding: folder.ModifiedUTF7}
	for _, l := range strings.Split(name, "/") {
		if f.Name(l) != folder.ModifiedUTF7.EncodeLevel(l) {
			return true
		}
	}
	return false
}

// maxName is the longest name that is tried as it is, in bytes.
const maxName = 1000

// maxLevel is how long a level may be that every server takes, in bytes.
const maxLevel = 100

// safe replaces the levels that a server might refuse.
func (n *names) safe(name string) string {
	f := folder.Files{Encoding: folder.ModifiedUTF7}
	if folder.TooDeep(name) || len(name) > maxName {
		return n.prefix + f.Hashed(name)
	}
	levels := strings.Split(name, "/")
	for i, l := range levels {
		if plainLevel(l) && !hashedLevel(l) && !strings.EqualFold(l, folder.Inbox) && !n.isForeign(l) {
			levels[i] = folder.EncodeUTF7(l)
		} else {
			levels[i] = f.Hashed(l)
		}
	}
	if strings.HasPrefix(name, folder.Inbox+"/") {
		levels[0] = folder.Inbox // the parent of INBOX/Work
	}
	separator := n.separator
	if separator == "" { // a flat server
		return n.prefix + f.Hashed(name)
	}
	return n.prefix + strings.Join(levels, separator)
}

// plainLevel tells whether a level has nothing that servers refuse.
func plainLevel(l string) bool {
	if l == "" || len(folder.EncodeUTF7(l)) > maxLevel || strings.TrimSpace(l) != l || !folder.ModifiedUTF7.Roundtrip(l) {
		return false
	}
	for _, r := range l {
		if r < 0x80 && !strings.ContainsRune(" -_+@0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", r) {
			return false
		}
	}
	return true
}

func (n *names) isForeign(level string) bool {
	for _, f := range n.foreign {
		if level == strings.TrimSuffix(f, n.separator) {
			return true
		}
	}
	return false
}

// find gives the name on the wire under which a folder is there.
func (h *holding) find(name string) (onWire string, ok bool) {
	for _, t := range h.table.targets(name) {
		if h.there[t] {
			return t, true
		}
	}
	return "", false
}

// cyrusTakes tells whether a name on the wire is one that Cyrus takes.
func cyrusTakes(onWire, separator string) bool {
	for _, l := range strings.Split(onWire, separator) {
		odd := strings.ContainsFunc(l, func(r rune) bool { return !strings.ContainsRune(goodInCyrus, r) })
		if l == "" || odd {
			return false
		}
	}
	return len(onWire) < 400
}

// target is the name on the wire under which a folder of a Cyrus is made.
func (n *names) target(name string) string {
	all := n.targets(name)
	if cyrusTakes(strings.TrimPrefix(all[0], n.prefix), n.separator) {
		return all[0]
	}
	return all[len(all)-1]
}
