package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

var (
	// ErrNoUser says that the catalog does not know the user.
	ErrNoUser = errors.New("no such user in the backup (hint: salvor users)")
	// ErrNoFolder says that the user has no folder of that name, at that time.
	ErrNoFolder = errors.New("no such folder in the backup (hint: salvor ls USER)")
	// ErrInto says that Options.Into cannot be the name of a folder.
	ErrInto = errors.New("not a folder name to restore into")
)

// A Problem is one message, or one folder, that was asked for and could not be
// restored. The rest goes on.
type Problem struct {
	User    string
	Folder  string   // as it was at the source; "" when it is in none of those asked for
	UID     uint32   // 0: unknown, or the whole folder
	Key     string   // the source's name of the message; "" when it is a folder
	Content chunk.ID // zero when it is a folder
	Err     error
}

// Error gives one line: user, folder, UID (or key), the message's hash and the
// cause, which names the object.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "user %q: ", p.User)
	if p.Folder != "" {
		fmt.Fprintf(&b, "folder %q: ", p.Folder)
	}
	switch {
	case p.UID != 0:
		fmt.Fprintf(&b, "uid %d: ", p.UID)
	case p.Key != "":
		fmt.Fprintf(&b, "message %q: ", p.Key)
	}
	cause := p.Err.Error()
	if id := p.Content.String(); !p.Content.IsZero() && !strings.Contains(cause, id) {
		fmt.Fprintf(&b, "message %s: ", id)
	}
	b.WriteString(strings.ReplaceAll(cause, "\n", "; "))
	return b.String()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// A LostError says that the catalog knows no place in the vault for a chunk
// that a message needs.
type LostError struct{ Ref chunk.Ref }

// Error names the chunk.
func (e *LostError) Error() string {
	return e.Ref.String() + " is in no pack that the catalog knows"
}

// A DestinationError is an error of the destination that ends the restore of
// one user: a full disk, a missing permission, a lost connection.
type DestinationError struct {
	User, Folder string // Folder is "" for the account as a whole
	Err          error
}

// Error names the user, the folder of the destination and the cause.
func (e *DestinationError) Error() string {
	if e.Folder == "" {
		return fmt.Sprintf("restore user %q: destination: %v", e.User, e.Err)
	}
	return fmt.Sprintf("restore user %q: destination: folder %q: %v", e.User, e.Folder, e.Err)
}

// Unwrap gives the cause.
func (e *DestinationError) Unwrap() error { return e.Err }

// endless tells whether an error of the vault would meet every other message
// as well, so that going on would only repeat it.
func endless(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, objstore.ErrUnavailable)
}

// hopeless tells whether the error of one user would meet all others.
func hopeless(err error) bool {
	var d *DestinationError
	return !errors.As(err, &d) && endless(err)
}

// shut tells whether an error may mean that the vault is closed to us.
func shut(err error) bool {
	return errors.Is(err, vault.ErrNoIdentity) || errors.Is(err, objstore.ErrDenied)
}
