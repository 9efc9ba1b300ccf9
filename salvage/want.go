package salvage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"salvor/catalog"
	"salvor/chunk"

	"zombiezen.com/go/sqlite"
)

// A want is an owed message, as the notes have it.
type want struct {
	id           int64
	user, folder string
	uid          uint32
	size         int64
	sha1         chunk.SHA1 // zero: unknown
	name         string
	messageID    string
	date         time.Time
}

// wants copies what the incident owes into the notes: it is asked for many times,
// by size, by hash, by place and by name. What was found of it stays noted.
func (e *engine) wants(ctx context.Context) error {
	if e.notes.owing = e.o.Incident != ""; !e.notes.owing {
		return errors.Join(e.notes.put("DELETE FROM want"), e.notes.commit())
	}
	keep := "CREATE TEMP TABLE IF NOT EXISTS proved AS SELECT id, finding FROM want WHERE finding <> ''"
	if err := e.notes.ask(keep, nil, nil); err != nil {
		return err
	}
	before, err := e.notes.ledger()
	if err != nil {
		return err
	}
	// Without the ledger's digest, as after a run that was killed in here, everything is
	// judged once more.
	if err := errors.Join(e.notes.put("DELETE FROM ledger"), e.notes.put("DELETE FROM want")); err != nil {
		return err
	}
	ledger := sha256.New()
	err = e.o.Catalog.Claims(ctx, catalog.ClaimQuery{Incident: e.o.Incident}, func(c *catalog.Claim) error {
		fmt.Fprintf(ledger, "%d %s %q %q %d %d %s %q %q\n", c.ID, c.State, c.User, c.Folder, c.UID, c.Size, c.SHA1, c.Name, c.MessageID)
		if c.State != catalog.ClaimOwed {
			return nil
		}
		var sum any
		if !c.SHA1.IsZero() {
			sum = c.SHA1[:]
		}
		var date int64
		if !c.InternalDate.IsZero() {
			date = c.InternalDate.Unix()
		}
		return e.notes.put("INSERT INTO want (id, user, folder, uid, size, sha1, name, message_id, date) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			c.ID, c.User, c.Folder, int64(c.UID), c.Size, sum, c.Name, bareID(c.MessageID), date)
	})
	if err != nil {
		return err
	}
	if err := e.notes.put("UPDATE want SET finding = coalesce((SELECT finding FROM proved WHERE proved.id = want.id), '')"); err != nil {
		return err
	}
	now := ledger.Sum(nil)
	if !bytes.Equal(before, now) {
		if err := e.notes.judgeAnew(); err != nil {
			return err
		}
	}
	return errors.Join(e.notes.put("INSERT INTO ledger (digest) VALUES (?)", now), e.notes.commit())
}

// ledger is the digest of the ledger by which everything was judged.
func (n *notes) ledger() (digest []byte, err error) {
	err = n.ask("SELECT digest FROM ledger", nil, func(s *sqlite.Stmt) error {
		digest = column(s, 0)
		return nil
	})
	return digest, err
}

// judgeAnew forgets what everything was said to be. It is called where the ledger
// says something else than it did, or the vault (see news): what was owed then may be
// delivered, and what nobody missed be owed. What stands on the volumes stays noted.
func (n *notes) judgeAnew() error {
	for _, query := range []string{"DELETE FROM finding", "DELETE FROM place", "DELETE FROM remains", "UPDATE want SET finding = ''",
		"UPDATE file SET done = 0", "UPDATE head SET done = 0", fmt.Sprintf("UPDATE volume SET stage = min(stage, %d), nonsense = 0", naming)} {
		if err := n.put(query); err != nil {
			return err
		}
	}
	return nil
}

const wantColumns = "SELECT id, user, folder, uid, size, sha1, name, message_id, date FROM want "

func (n *notes) wanted(where string, args ...any) (out []want, err error) {
	if !n.owing {
		return nil, nil
	}
	err = n.ask(wantColumns+where, args, func(s *sqlite.Stmt) error {
		w := want{id: s.ColumnInt64(0), user: s.ColumnText(1), folder: s.ColumnText(2), uid: uint32(s.ColumnInt64(3)), size: s.ColumnInt64(4),
			name: s.ColumnText(6), messageID: s.ColumnText(7)}
		s.ColumnBytes(5, w.sha1[:])
		if d := s.ColumnInt64(8); d != 0 {
			w.date = time.Unix(d, 0)
		}
		out = append(out, w)
		return nil
	})
	return out, err
}

// mostAlike is how many owed messages that look alike are told of at most.
const mostAlike = 64

// bySum gives the owed messages whose wire form has this SHA-1.
func (n *notes) bySum(sum chunk.SHA1) ([]want, error) {
	return n.wanted("WHERE sha1 = ?"+limit(mostAlike), sum[:])
}

// byPlace gives the owed message that stood there.
func (n *notes) byPlace(o owner) ([]want, error) {
	return n.wanted("WHERE user = ? AND folder = ? AND uid = ?"+limit(mostAlike), o.user, o.folder, int64(o.uid))
}

// byName gives the owed messages that their store called so.
func (n *notes) byName(name string) ([]want, error) {
	return n.wanted("WHERE name = ? AND name <> ''"+limit(mostAlike), name)
}

// byMessageID gives the owed messages with this Message-ID.
func (n *notes) byMessageID(id string) ([]want, error) {
	return n.wanted("WHERE message_id = ? AND message_id <> ''"+limit(mostAlike), id)
}

// tombstones copies what users have deleted into the notes: there it is found by
// content alone, as nobody knows yet whose a message is.
func (e *engine) tombstones(ctx context.Context) error {
	if err := e.notes.put("DELETE FROM tomb"); err != nil || e.o.Catalog == nil {
		return errors.Join(err, e.notes.commit())
	}
	err := e.o.Catalog.Tombstones(ctx, "", func(t *catalog.Tombstone) error {
		return e.notes.put("INSERT OR IGNORE INTO tomb (content, user) VALUES (?, ?)", t.Content[:], t.User)
	})
	return errors.Join(err, e.notes.commit())
}

// tombs gives users who deleted a content.
func (e *engine) tombs(id chunk.ID) (users []string, err error) {
	err = e.notes.ask("SELECT user FROM tomb WHERE content = ?"+limit(mostAlike), []any{id[:]}, func(s *sqlite.Stmt) error {
		users = append(users, s.ColumnText(0))
		return nil
	})
	return users, err
}

// knownUsers notes who there is: an address in a header names somebody else far
// more often than a user of this server.
func (e *engine) knownUsers(ctx context.Context) error {
	if e.o.Catalog == nil {
		return nil
	}
	e.users = map[string]bool{}
	err := e.o.Catalog.Users(ctx, func(u *catalog.User) error {
		e.users[u.Name] = true
		return nil
	})
	if err != nil || e.o.Incident == "" {
		return err
	}
	return e.o.Catalog.ClaimUsers(ctx, e.o.Incident, func(u catalog.UserClaims) error {
		e.users[u.User] = true
		return nil
	})
}
