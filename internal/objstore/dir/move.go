package dir

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"salvor/internal/objstore/object"
)

// Move implements object.Mover. It reads nothing of the file, so that one on a
// bad sector can be moved, too.
func (s *Store) Move(ctx context.Context, from, to string) error {
	err := errors.Join(object.CheckName(from), object.CheckName(to), ctx.Err())
	if err == nil {
		err = s.move(from, to)
	}
	return s.explain("move", from, err)
}

func (s *Store) move(from, to string) error {
	if err := s.makeDirs(path.Dir(to)); err != nil {
		return s.lost(err)
	}
	err := s.write.Publish(from, to)
	if errors.Is(err, fs.ErrExist) {
		return object.ErrExists
	}
	if err != nil {
		return notThere(err)
	}
	// The new name first: a power cut in between leaves both, and not neither.
	if err := s.write.Sync(path.Dir(to)); err != nil {
		return err
	}
	return s.write.Sync(path.Dir(from))
}
