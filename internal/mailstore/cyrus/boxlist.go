package cyrus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"salvor/internal/mailstore/cyrus/cyrusdb"
	"salvor/internal/mailstore/cyrus/dlist"
	"salvor/internal/mailstore/cyrus/header"
)

// A box is a user's mailbox as mailboxes.db, or a directory found in a
// partition, tells of it.
type box struct {
	name       boxName
	account    string // the user, as mailstore names it
	folder     string // the mailbox, as mailstore names it
	partition  string
	id         string // its identity, "" where only cyrus.header knows it
	dir        string // in the partition
	acl        string
	validity   uint32 // UIDVALIDITY, 0 unknown
	specialUse string // as written by Cyrus 2.4 and 2.5, later in annotations.db
}

// Letters of a mailbox's type in mailboxes.db (Cyrus, imap/mboxlist.c,
// mboxlist_mbtype_to_string): those that are no mail, or no mailbox here.
const (
	typesNoMail = "abcfjnps" // address book, collection, calendar, Sieve scripts, JMAP's own
	typesAbsent = "dirz"     // deleted, intermediate, on another server, reserved
	typeLegacy  = "l"        // lies under its name
)

// maxBad bounds what is said of one mailboxes.db.
const maxBad = 20

// The same as bits of the number in older mailboxes.db.
const oldMoving = 1 << 3

// decodeList reads the mailboxes of users from mailboxes.db. bad names entries
// that cannot be read, the first few.
func (c *config) decodeList(db *cyrusdb.DB) (boxes []*box, bad []string) {
	identities := hasIdentities(db)
	var byID map[string]entry // of a damaged file only
	if identities && len(db.Damage) > 0 {
		byID = entriesByID(db)
	}
	add := func(key string, e entry) {
		if n := c.parseKey(key); e.mail && n.usable() {
			boxes = append(boxes, c.newBox(n, e, identities))
		}
	}
	for _, r := range db.Records {
		key := string(r.Key)
		if strings.HasPrefix(key, "$") || identities && !strings.HasPrefix(key, "N") {
			continue
		}
		if identities {
			key = key[1:]
		}
		e, ok := parseEntry(r.Value)
		if !ok {
			if len(bad) < maxBad {
				bad = append(bad, fmt.Sprintf("the entry of %q cannot be read", key))
			}
			continue
		}
		if other, found := byID[e.id]; found {
			if other.name != key {
				continue // an old name, of which the end was lost
			}
			delete(byID, e.id)
		}
		add(key, e)
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) { // lost under their names
		add(byID[id].name, byID[id])
	}
	return boxes, bad
}

// entriesByID are the records under I.
func entriesByID(db *cyrusdb.DB) map[string]entry {
	out := map[string]entry{}
	for _, r := range db.Records {
		id, is := strings.CutPrefix(string(r.Key), "I")
		if e, ok := parseEntry(r.Value); is && ok && e.name != "" {
			e.id = id
			out[id] = e
		}
	}
	return out
}

// hasIdentities tells whether the database is of Cyrus 3.6 or later, in which
// every mailbox has one record under N and its name and one under I and its
// identity.
func hasIdentities(db *cyrusdb.DB) bool {
	for _, r := range db.Records {
		if len(r.Key) > 1 && r.Key[0] == 'I' && len(r.Value) > 0 && r.Value[0] == '%' {
			if v, err := dlist.Parse(r.Value); err == nil && v.Text("N") != "" {
				return true
			}
		}
	}
	return false
}

// An entry is the value of a record in mailboxes.db.
type entry struct {
	name, id, partition, acl, specialUse string
	validity                             uint32
	mail, legacy                         bool
}

// parseEntry reads a value of either form (Cyrus, imap/mboxlist.c,
// mboxlist_parse_entry).
func parseEntry(value []byte) (e entry, ok bool) {
	if len(value) == 0 {
		return e, false
	}
	if value[0] != '%' {
		return parseOldEntry(string(value))
	}
	v, err := dlist.Parse(value)
	if err != nil || !v.Map {
		return e, false
	}
	kind := v.Text("T")
	e = entry{
		name: v.Text("N"), id: v.Text("I"), partition: v.Text("P"), acl: header.ACL(v.Get("A")), validity: uint32(v.Number("V")),
		mail: isMail(kind) && v.Text("S") == "", legacy: strings.Contains(kind, typeLegacy),
	}
	return e, true
}

func isMail(kind string) bool { return !strings.ContainsAny(kind, typesNoMail+typesAbsent) }

// parseOldEntry reads "0 default alice\tlrs\t", before which may stand
// "(uniqueid 5f... specialuse \Junk) ".
func parseOldEntry(value string) (e entry, ok bool) {
	if more, found := strings.CutPrefix(value, "("); found {
		var list string
		if list, value, ok = strings.Cut(more, ")"); !ok {
			return e, false
		}
		value = strings.TrimPrefix(value, " ")
		words := strings.Fields(list)
		for i := 0; i+1 < len(words); i += 2 {
			switch words[i] {
			case "uniqueid":
				e.id = words[i+1]
			case "specialuse":
				e.specialUse = words[i+1]
			}
		}
	}
	number, rest, ok := strings.Cut(value, " ")
	kind, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil {
		return e, false
	}
	e.partition, e.acl, _ = strings.Cut(rest, " ")
	e.mail = kind&^oldMoving == 0 && !strings.Contains(e.partition, "!")
	e.legacy = true
	return e, e.partition != ""
}

// newBox makes a box. With identities these name the directories of all
// mailboxes that are not marked as lying under their names.
func (c *config) newBox(n boxName, e entry, identities bool) *box {
	b := &box{
		name: n, account: n.account(), folder: n.folder(c.dots), partition: e.partition, id: e.id, dir: c.legacyDir(&n),
		acl: e.acl, validity: e.validity, specialUse: e.specialUse,
	}
	if d := idDir(e.id); identities && !e.legacy && d != "" {
		b.dir = d
	}
	return b
}
