package salvage

import (
	"context"
	"errors"
	"fmt"

	"salvor/chunk"
	"salvor/salvage/found"

	"zombiezen.com/go/sqlite"
)

// errNews stops a walk over findings at the first that is not what it was.
var errNews = errors.New("news")

// news looks whether the vault went on since everything was judged, and has become
// of another mind about something that was found: what nobody had may be held by
// now, and what was to be offered be deleted by its user. Then everything is judged
// once more. A vault that took other mail only costs a question for each finding.
func (e *engine) news(ctx context.Context) error {
	now := ""
	if e.o.Catalog != nil {
		head, err := e.o.Catalog.Head()
		if err != nil {
			return err
		}
		now = fmt.Sprintf("%s %d %s", head.Vault, head.Number, head.Hash)
	}
	before := ""
	err := e.notes.ask("SELECT head FROM vault", nil, func(s *sqlite.Stmt) error {
		before = s.ColumnText(0)
		return nil
	})
	if err != nil || before == now {
		return err
	}
	// What is left of what somebody has, by its Message-ID, is nothing that a hash tells of.
	const told = "missing = 0 AND NOT (class = 'matched' AND rank = 0) AND NOT (class IN ('already_held', 'tombstoned') AND rank % 10 = 3)"
	err = e.eachFinding(ctx, told, nil, func(f *found.Finding) error { return e.otherwise(ctx, f) })
	if errors.Is(err, errNews) {
		err = e.notes.judgeAnew()
	}
	if err != nil {
		return err
	}
	return errors.Join(e.notes.put("DELETE FROM vault"), e.notes.put("INSERT INTO vault (head) VALUES (?)", now), e.notes.commit())
}

// otherwise is errNews if the vault says something else of a finding than it did.
func (e *engine) otherwise(ctx context.Context, f *found.Finding) error {
	m := message{wire: f.WireSize, size: f.Size}
	var broken [2]error
	m.id, broken[0] = chunk.ParseID(f.SHA256)
	m.sha1, broken[1] = chunk.ParseSHA1(f.SHA1)
	if err := errors.Join(broken[:]...); err != nil {
		return fmt.Errorf("the salvage's notes %s, finding %s: %w", e.notes.path, f.ID, err)
	}
	now := *f
	if f.Places > 1 && f.UserBy == "path" {
		now.UserBy = "" // it stands in several places, one of which may be of who deleted it
	}
	done, err := e.heldByVault(ctx, &m, nil, &now)
	if err == nil && !done {
		done, err = e.deletedByUser(ctx, &m, nil, &now)
	}
	was := f.Class == found.Held || f.Class == found.Tombstoned
	if err == nil && (done != was || done && now.Class != f.Class) {
		return errNews
	}
	return err
}
