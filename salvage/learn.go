package salvage

import (
	"errors"

	"zombiezen.com/go/sqlite"
)

// A directory whose name says nothing is known by what is in it: messages that a
// hash has proved to stand in a folder under the very UID that their file has.

// learn notes that a message of this place stands under this UID in this folder.
func (e *engine) learn(source string, places []place, user, folder string, uid uint32) error {
	for _, p := range places {
		if p.dir == "" || p.uid != uid || uid == 0 {
			continue
		}
		err := e.notes.put("INSERT INTO place (source, dir, user, folder, times) VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
			source, p.dir, user, folder)
		if err != nil {
			return err
		}
	}
	return nil
}

// settle fills in the places whose directories are known by now. later: there are
// others.
func (e *engine) settle(source string, places []place) (later bool, err error) {
	for i := range places {
		p := &places[i]
		if p.dir == "" {
			continue
		}
		err := e.notes.ask("SELECT user, folder FROM place WHERE source = ? AND dir = ? ORDER BY times DESC LIMIT 1", []any{source, p.dir}, func(s *sqlite.Stmt) error {
			p.user, p.folder, p.by = s.ColumnText(0), s.ColumnText(1), "path"
			return nil
		})
		if err != nil {
			return false, err
		}
		later = later || p.user == ""
	}
	return later, nil
}

// errLater says that a message can be judged better when more is known.
var errLater = errors.New("later")

// nameUsers gives what was found by its header to the users whose directories were
// found: a header names an address, and a directory may name only what is before
// the "@".
func (e *engine) nameUsers() error {
	if e.users != nil {
		return nil // they are known from elsewhere
	}
	type alias struct{ address, user string }
	var all []alias
	err := e.notes.ask(`SELECT DISTINCT h.user, p.user FROM finding h JOIN finding p ON p.user_by = 'path' AND p.user = substr(h.user, 1, instr(h.user, '@') - 1)
		WHERE h.user_by = 'header' AND instr(h.user, '@') > 1 AND NOT EXISTS (SELECT 1 FROM finding f WHERE f.user_by = 'path' AND f.user = h.user)`, nil,
		func(s *sqlite.Stmt) error {
			all = append(all, alias{s.ColumnText(0), s.ColumnText(1)})
			return nil
		})
	if err != nil {
		return err
	}
	for _, a := range all {
		err := e.notes.put("UPDATE finding SET user = ?, fact = CAST(json_set(CAST(fact AS TEXT), '$.user', ?) AS BLOB) WHERE user_by = 'header' AND user = ?", a.user, a.user, a.address)
		if err != nil {
			return err
		}
	}
	return nil
}
