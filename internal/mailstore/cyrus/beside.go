package cyrus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"salvor/internal/mailstore/cyrus/cyrusdb"
	"salvor/internal/mailstore/cyrus/dlist"
	"salvor/internal/mailstore/folder"
)

// maxQuota bounds a quota file; it has one line.
const maxQuota = 64 << 10

// userDatabase reads a user's file of a kind; nil where there is none.
func (s *Source) userDatabase(conf *os.Root, a *account, kind string) (*cyrusdb.DB, string, error) {
	inbox := a.inbox()
	id := ""
	if inbox.folder == folder.Inbox {
		id = inbox.id
	}
	for _, name := range s.c.userFiles(&inbox.name, id, kind) {
		db, _, err := readDatabaseIn(conf, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return db, filepath.Join(s.c.dir, name), err
		}
	}
	return nil, "", nil
}

// subscriptions gives the user's own mailboxes that are subscribed, by name. Of
// a damaged file those that can be read.
func (s *Source) subscriptions(conf *os.Root, a *account) (subs map[string]bool, path string, err error) {
	db, path, err := s.userDatabase(conf, a, "sub")
	if err != nil || db == nil {
		return nil, path, err
	}
	return s.c.subscribed(db, a.name), path, damage(db)
}

func damage(db *cyrusdb.DB) error {
	if len(db.Damage) == 0 {
		return nil
	}
	return fmt.Errorf("it is damaged: %s%s", db.Damage[0], andMore(len(db.Damage)-1))
}

// subscribed reads a subscription database. Since 3.6 it has a record of its
// version and keys of N and the name, in which INBOX stands for the user's own;
// before, keys are internal names.
func (c *config) subscribed(db *cyrusdb.DB, user string) map[string]bool {
	const version = keySeparator + "VER" + keySeparator
	versioned := db.Get(version) != nil
	subs := map[string]bool{}
	for _, r := range db.Records {
		key := string(r.Key)
		if versioned {
			var named bool
			if key, named = strings.CutPrefix(key, "N"); !named {
				continue
			}
			if levels := strings.Split(key, keySeparator); levels[0] == folder.Inbox {
				own := boxName{user: user, levels: levels[1:]}
				subs[own.folder(c.dots)] = true
				continue
			}
		}
		if n := c.parseKey(key); n.user != "" && !n.deleted && n.account() == user {
			subs[n.folder(c.dots)] = true
		}
	}
	return subs
}

// specialUses gives the special uses that annotations.db records, by useKey.
func (s *Source) specialUses() (map[string]string, string, error) {
	file := s.c.path("annotation_db_path", "annotations.db")
	uses, err := s.uses.get(file, func() (map[string]string, fileID, error) {
		db, id, err := readDatabase(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fileID{}, nil
		}
		if err != nil {
			return nil, id, err
		}
		return decodeUses(db), id, damage(db)
	})
	return uses, file, err
}

// owner stands in annotations.db for the user whom a mailbox belongs to.
const owner = "[.OwNeR.]"

// useKey names a mailbox and the user for whom it has a use.
func useKey(mailbox, user string) string { return mailbox + "\x00" + user }

// decodeUses reads keys of mailbox, entry and user, parted by NULs. The mailbox
// is named by its identity, before 3.6 by its internal name.
func decodeUses(db *cyrusdb.DB) map[string]string {
	uses := map[string]string{}
	for _, r := range db.Records {
		parts := strings.Split(string(r.Key), "\x00")
		if len(parts) < 3 || parts[1] != "/specialuse" {
			continue
		}
		if use := firstUse(annotation(r.Value)); use != "" {
			uses[useKey(parts[0], parts[2])] = use
		}
	}
	return uses
}

// annotation takes the text out of a value of annotations.db: a length of 4
// bytes, 4 more on 64-bit machines, the text (Cyrus, imap/annotate.c,
// split_attribs).
func annotation(b []byte) string {
	if len(b) < 8 {
		return ""
	}
	n := uint64(binary.BigEndian.Uint32(b))
	start := uint64(8)
	if b[4] != 0 {
		start = 4
	}
	if n > uint64(len(b))-start {
		return ""
	}
	return string(b[start : start+n])
}

// firstUse gives the first of the special uses in a text.
func firstUse(text string) string {
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, `\`) && folder.Clean(w) == w {
			return w
		}
	}
	return ""
}

// useOf is a mailbox's special use.
func (b *box) useOf(uses map[string]string) string {
	for _, mailbox := range []string{b.id, b.name.full()} {
		for _, user := range []string{owner, b.account, ""} {
			if use := uses[useKey(mailbox, user)]; use != "" && mailbox != "" {
				return use
			}
		}
	}
	return firstUse(b.specialUse)
}

// allQuotas gives the limits by internal name, where one file holds all of
// them; nil where each mailbox has its own.
func (s *Source) allQuotas() (map[string]string, string, error) {
	if kind := s.c.settings["quota_db"]; kind == "" || kind == "quotalegacy" {
		return nil, "", nil
	}
	file := s.c.path("quota_db_path", "quotas.db")
	all, err := s.quotas.get(file, func() (map[string]string, fileID, error) { return readQuotas(file) })
	return all, file, err
}

// quota gives the limits that are set on a mailbox, "" for none. What is wrong
// with the file of all quotas is Users' to say.
func (s *Source) quota(conf *os.Root, b *box) (text, path string, err error) {
	if all, file, _ := s.allQuotas(); file != "" {
		return all[b.name.full()], file, nil
	}
	name := s.c.quotaFile(&b.name)
	value, _, err := readFile(conf, name, maxQuota)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", filepath.Join(conf.Name(), name), err
	}
	text, err = parseQuota(string(value))
	return text, filepath.Join(conf.Name(), name), err
}

func readQuotas(file string) (map[string]string, fileID, error) {
	db, id, err := readDatabase(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fileID{}, nil
	}
	if err != nil {
		return nil, id, err
	}
	all := map[string]string{}
	for _, r := range db.Records {
		if text, err := parseQuota(string(r.Value)); err == nil && text != "" {
			all[string(r.Key)] = text
		}
	}
	return all, id, damage(db)
}

// The resources of a quota, as files name them and as RFC 9208 does.
var resources = []struct{ key, name string }{{"S", "STORAGE"}, {"M", "MESSAGE"}, {"AS", "ANNOTATION-STORAGE"}, {"NF", "MAILBOX"}}

// parseQuota reads "%(S (51895 100000) M (46))", what is used and the limit, or
// the older "51895 100000 M 46 5000" (Cyrus, imap/quota_db.c, quota_parseval).
func parseQuota(value string) (string, error) {
	limits := map[string]string{}
	if strings.HasPrefix(value, "%") {
		v, err := dlist.Parse([]byte(value))
		if err != nil {
			return "", err
		}
		for _, r := range resources {
			if items := v.Get(r.key).Items; len(items) > 1 {
				limits[r.key] = items[1].Atom
			}
		}
	} else {
		words := strings.Fields(value)
		key := "S"
		for len(words) >= 2 {
			limits[key] = words[1]
			words = words[2:]
			if len(words) > 0 {
				if _, err := strconv.ParseInt(words[0], 10, 64); err == nil { // left by a quota -f that failed
					words = words[1:]
				}
			}
			if len(words) > 0 {
				key, words = words[0], words[1:]
			}
		}
		if len(limits) == 0 {
			return "", errors.New("it is no quota")
		}
	}
	var out []string
	for _, r := range resources {
		if n, err := strconv.ParseUint(limits[r.key], 10, 63); err == nil {
			out = append(out, r.name, strconv.FormatUint(n, 10))
		}
	}
	return strings.Join(out, " "), nil
}
