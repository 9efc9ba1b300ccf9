package found

import (
	"bytes"
	"context"
	"io"
)

// Hashed is a content that is in memory, and whose SHA-256 was taken from there: it is
// SHA256Stored, and need not be taken again.
type Hashed struct{ *bytes.Reader }

// A Keeper takes what a salvage has found: a Writer into a result directory, or
// whoever writes it into a vault.
type Keeper interface {
	// Keep takes a finding's bytes in, and reads content to its end unless it has
	// them. f is Matched, Unknown or Damaged; what else there is about it may still
	// change, but for its class's being one of these. Where SHA256Stored is known,
	// the bytes have to have it; otherwise it is set, as is Size, and File where
	// there is one. What was kept is durable when Sync or Finish returns.
	//
	// ErrFull: nothing more is kept, and the salvage stops.
	Keep(ctx context.Context, f *Finding, content io.Reader) error
	// Sync makes durable what was kept so far.
	Sync(ctx context.Context) error
	// Finish takes the list of all findings. each calls yield for every one of them,
	// by ID. Those that were in the list of a run before and are not any more are no
	// findings from then on.
	Finish(ctx context.Context, each func(yield func(*Finding) error) error) error
}

var _ Keeper = (*Writer)(nil)
