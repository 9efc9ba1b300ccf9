package cyrus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus/index"
)

// Open opens a message's file. One that is missing while the index still lists
// the message is ErrDamaged; what the index has removed meanwhile, or had
// removed when it was listed, is ErrVanished.
func (s *Source) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	uid, err := messageUID(m)
	if err != nil {
		return nil, &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: m.Place, Err: err}
	}
	b, err := s.box(ctx, box)
	if err != nil {
		return nil, err
	}
	f, where, err := s.c.openMessage(b, uid, strings.HasPrefix(m.Place, archivedPrefix))
	problem := &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: where, Err: err}
	switch {
	case err == nil:
		return &reader{f: f, problem: problem}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, problem
	case !m.Expunged.IsZero():
		return nil, mailstore.ErrVanished
	}
	listed, err := s.stillListed(ctx, b, box, uid)
	switch {
	case err != nil:
		problem.Err = fmt.Errorf("%w: its file is missing, and whether the index lists it cannot be told: %w", mailstore.ErrDamaged, err)
	case !listed:
		return nil, mailstore.ErrVanished
	default:
		problem.Err = fmt.Errorf("%w: the index lists it, its file is missing", mailstore.ErrDamaged)
	}
	return nil, problem
}

// messageUID checks that a message is one that Messages has listed.
func messageUID(m mailstore.Message) (uint32, error) {
	_, text, _ := strings.Cut(m.Key, ".")
	uid, err := strconv.ParseUint(text, 10, 32)
	if err != nil || uid == 0 {
		return 0, fmt.Errorf("message %q was not listed by this source", m.Key)
	}
	return uint32(uid), nil
}

// openMessage looks for a message's file where it should be, then where else it
// may have been moved meanwhile. The error is fs.ErrNotExist when it is nowhere.
func (c *config) openMessage(b *box, uid uint32, archived bool) (*os.File, string, error) {
	name := strconv.FormatUint(uint64(uid), 10) + "."
	p, err := c.partitionOf(b)
	if err != nil {
		return nil, name, err
	}
	places := []*place{p.data, p.archive}
	if archived {
		places = []*place{p.archive, p.data}
	}
	where, missing := "", error(fs.ErrNotExist)
	for _, pl := range places {
		if pl == nil {
			continue
		}
		full := filepath.Join(pl.path, b.dir, name)
		if where == "" {
			where = full
		}
		if pl.root == nil {
			missing = pl.err
			continue
		}
		f, err := openFile(pl.root, path.Join(b.dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, full, err
		}
	}
	return nil, where, missing
}

// stillListed tells whether the index lists a message as one that is there.
func (s *Source) stillListed(ctx context.Context, b *box, box mailstore.Mailbox, uid uint32) (bool, error) {
	var listed bool
	var err error
	settle(func() bool {
		var id fileID
		listed, id, err = s.c.lookup(b, uid)
		return err == nil || id.quiet()
	})
	if !errors.Is(err, fs.ErrNotExist) {
		return listed, err
	}
	l, again := s.refresh(ctx) // the whole mailbox may be gone
	if again != nil {
		return false, again
	}
	if a := l.accounts[box.User]; l.database != (fileID{}) && (a == nil || a.find(box.ObjectID, box.Name) == nil) {
		return false, nil
	}
	return false, err
}

func (c *config) lookup(b *box, uid uint32) (listed bool, id fileID, err error) {
	f, err := c.openIndex(b)
	if err != nil {
		return false, id, err
	}
	defer f.Close()
	if id, err = identify(f); err != nil {
		return false, id, err
	}
	r, found, err := index.Lookup(f, uid)
	return found && r.System&(index.Expunged|index.Unlinked) == 0, id, err
}

// A reader reads one message; an error of the disk names the file.
type reader struct {
	f       *os.File
	problem *mailstore.Problem
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		failed := *r.problem
		failed.Err = err
		return n, &failed
	}
	return n, err
}

// Close closes the file.
func (r *reader) Close() error { return r.f.Close() }
