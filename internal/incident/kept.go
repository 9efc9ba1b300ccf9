package incident

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"salvor/catalog"
)

// ErrNotKept: the surviving metadata was not copied before, or the copy is not
// what was copied.
var ErrNotKept = errors.New("the metadata has not been copied first")

// VerifyKept makes sure that this host has the copy of an incident's metadata,
// and that every file of it is what was copied. It reads all of it. ErrNotKept
// also for an incident that was opened without an index.
func VerifyKept(ctx context.Context, i *catalog.Incident) error {
	switch {
	case i.Index == "":
		return fmt.Errorf("%w: incident %q was opened with --index none, and the server's own index is the only one", ErrNotKept, i.Name)
	case i.Kept == "":
		return fmt.Errorf("%w: incident %q has no copy of %s", ErrNotKept, i.Name, i.Index)
	}
	parent, base := filepath.Split(i.Kept)
	root, err := os.OpenRoot(parent)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	defer root.Close()
	kept, err := findCopy(ctx, root, base, i.Kept, &Index{URL: i.Index})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && kept.Sum != i.KeptSum {
		err = fmt.Errorf("the SHA-256 of its %s is %s, and was %s", sumsFile, kept.Sum, i.KeptSum)
	}
	if err != nil {
		return fmt.Errorf("%w: the copy in %s: %w", ErrNotKept, i.Kept, err)
	}
	return nil
}
