package cyrus

import (
	"path"
	"strings"

	"salvor/internal/mailstore/folder"
)

// A boxName is a mailbox's internal name taken apart. In the names themselves
// a dot is a dot; "^" stands for it only where a dot separates the levels.
type boxName struct {
	domain  string   // "" for none, or for the default domain
	user    string   // "" for a shared mailbox
	levels  []string // below the user's INBOX, in modified UTF-7
	deleted bool     // put aside by a delayed deletion
}

// The separators in the keys of databases since Cyrus 3: of levels, and of the
// domain. Elsewhere they are a dot and an exclamation mark.
const (
	keySeparator       = "\x1f"
	keyDomainSeparator = "\x1d"
)

// parseKey takes apart a name from a database, of either form.
func (c *config) parseKey(key string) boxName {
	if strings.Contains(key, keySeparator) || strings.Contains(key, keyDomainSeparator) {
		domain, name, virtual := strings.Cut(key, keyDomainSeparator)
		if !virtual {
			domain, name = "", key
		}
		return c.assemble(domain, strings.Split(name, keySeparator))
	}
	return c.parseInternal(key)
}

// parseInternal takes apart a name like "example.org!user.j^doe.Work" (Cyrus,
// imap/mboxname.c, mbname_from_intname).
func (c *config) parseInternal(name string) boxName {
	domain, rest, virtual := strings.Cut(name, "!")
	if !virtual {
		domain, rest = "", name
	}
	levels := strings.Split(rest, ".")
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, "^", ".")
	}
	return c.assemble(domain, levels)
}

func (c *config) assemble(domain string, levels []string) boxName {
	if domain == c.defaultDomain {
		domain = ""
	}
	n := boxName{domain: domain, levels: levels}
	if len(levels) > 2 && levels[0] == c.deletedPrefix {
		n.deleted, n.levels = true, levels[1:]
	}
	if len(n.levels) > 1 && n.levels[0] == "user" {
		n.user, n.levels = n.levels[1], n.levels[2:]
	}
	return n
}

// usable tells whether the name is that of a user's mailbox, and one that a
// directory can have.
func (n *boxName) usable() bool {
	if n.user == "" || n.deleted {
		return false
	}
	for _, s := range append([]string{n.user}, n.levels...) {
		if s == "" || strings.ContainsAny(s, "/\x00") {
			return false
		}
	}
	return !strings.ContainsAny(n.domain, "/\x00") && n.domain != "." && n.domain != ".."
}

// account is the user's full name.
func (n *boxName) account() string {
	if n.domain == "" {
		return folder.Clean(n.user)
	}
	return folder.Clean(n.user + "@" + n.domain)
}

// folder is the mailbox's name as its user sees it in the alternative
// namespace, in which user.alice.Work is Work.
func (n *boxName) folder(dots bool) string {
	if len(n.levels) == 0 {
		return folder.Inbox
	}
	out := make([]string, len(n.levels))
	for i, l := range n.levels {
		if dots {
			l = strings.ReplaceAll(l, ".", "^")
		}
		out[i] = folder.ModifiedUTF7.DecodeLevel(l)
	}
	if len(out) == 1 {
		return folder.NotInbox(out[0])
	}
	return strings.Join(out, "/")
}

// internal is the name with dots between its levels, without the domain.
func (n *boxName) internal() string {
	levels := append([]string{"user", n.user}, n.levels...)
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, ".", "^")
	}
	return strings.Join(levels, ".")
}

// full is the internal name with the domain.
func (n *boxName) full() string {
	if n.domain == "" {
		return n.internal()
	}
	return n.domain + "!" + n.internal()
}

// legacyDir is the directory in a partition that is named by the mailbox
// (Cyrus, imap/mboxname.c, mboxname_hash).
func (c *config) legacyDir(n *boxName) string {
	var elems []string
	if n.domain != "" {
		elems = append(elems, "domain")
		if c.hashPool {
			elems = append(elems, c.hash(n.domain))
		}
		elems = append(elems, n.domain)
	}
	if c.hashPool {
		elems = append(elems, c.hash(n.user))
	}
	return path.Join(append(elems, strings.Split(n.internal(), ".")...)...)
}

// idDir is the directory in a partition, or in the configuration directory's
// user, that is named by a mailbox's identity; "" where that cannot be one.
func idDir(id string) string {
	if len(id) < 3 || len(id) > 128 {
		return ""
	}
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return ""
		}
	}
	return path.Join("uuid", id[:1], id[1:2], id)
}

// hash is the letter of the directory in which a name lies.
func (c *config) hash(name string) string { return hashLetter(name, c.fullHash) }

// hashLetter makes a letter of a name, of its first letter or of all up to a
// dot (Cyrus, lib/libconfig.c, dir_hash_c).
func hashLetter(name string, full bool) string {
	if !full {
		if b := name[0] | 0x20; b >= 'a' && b <= 'z' {
			return string(b)
		}
		return "q"
	}
	name, _, _ = strings.Cut(name, ".")
	var n uint32
	for i := range len(name) {
		n = n<<3 ^ n>>5 ^ uint32(name[i])
	}
	return string(rune('A' + n%23))
}

// userFiles are the places below the configuration directory where a file of
// the user may be: kind is "sub" or "seen". inbox is the identity of the user's
// INBOX, which names the directory since 3.6.
func (c *config) userFiles(n *boxName, inbox, kind string) []string {
	var out []string
	if d := idDir(inbox); d != "" {
		out = append(out, path.Join("user", d, kind+".db"))
	}
	above := ""
	if n.domain != "" {
		above = path.Join("domain", c.hash(n.domain), n.domain)
	}
	out = append(out, path.Join(above, "user", c.hash(n.user), n.user+"."+kind))
	if caret := strings.ReplaceAll(n.user, ".", "^"); caret != n.user {
		out = append(out, path.Join(above, "user", c.hash(n.user), caret+"."+kind))
	}
	return out
}

// quotaFile is where the quota of a mailbox is, below the configuration
// directory (Cyrus, lib/cyrusdb_quotalegacy.c, hash_quota).
func (c *config) quotaFile(n *boxName) string {
	above := ""
	if n.domain != "" {
		above = path.Join("domain", c.hash(n.domain), n.domain)
	}
	name := n.internal()
	_, hashed, _ := strings.Cut(name, ".")
	return path.Join(above, "quota", c.hash(hashed), name)
}
