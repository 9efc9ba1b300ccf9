package redeliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// A Source gives what was found somewhere and may be owed mail.
type Source interface {
	// Contents calls yield for everything that was found, once, and stops at
	// yield's first error, which it returns. What cannot be read is yielded as
	// well: its Open says why.
	Contents(ctx context.Context, yield func(Content) error) error
}

// Sources are several as one.
type Sources []Source

// Contents gives what all of them have.
func (s Sources) Contents(ctx context.Context, yield func(Content) error) error {
	for _, one := range s {
		if err := one.Contents(ctx, yield); err != nil {
			return err
		}
	}
	return nil
}

// A Content is something that was found: a message, or not.
type Content struct {
	Place string // where it is, for people
	// Name is what a mail store called its file, without flags (Maildir: the base
	// name); "" unknown.
	Name string
	// Date is when the message came into its mailbox, as far as the place where it
	// was found tells that; zero: unknown.
	Date time.Time
	// Open opens its bytes, LF or CRLF, as often as it is called.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Asked, where it is not nil, makes of it a message that is known not to be
	// whole, and that a person asked for by its ID.
	Asked *Asked
}

// MaxMessage is the largest message that is read, in bytes: what an IMAP server
// is asked for at most, too.
const MaxMessage = 1 << 30

// A Dir is a tree of files, of which those that are messages are wanted: what was
// salvaged, a Maildir, a Cyrus spool, .eml files. No symbolic link is followed.
type Dir struct {
	root *os.Root
}

// OpenDir opens a tree of files.
func OpenDir(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root}, nil
}

// Close closes the tree: none of its contents can be opened any more.
func (d *Dir) Close() error { return d.root.Close() }

const (
	maxDepth = 64  // of directories in each other
	dirBatch = 256 // names that are in memory for each directory that is open
)

// Contents walks through the tree.
func (d *Dir) Contents(ctx context.Context, yield func(Content) error) error {
	return d.walk(ctx, ".", 0, yield)
}

func (d *Dir) walk(ctx context.Context, dir string, depth int, yield func(Content) error) error {
	unreadable := func(err error) error {
		return yield(Content{Place: d.place(dir), Open: func(context.Context) (io.ReadCloser, error) { return nil, err }})
	}
	if depth > maxDepth {
		return unreadable(fmt.Errorf("directories are nested more than %d deep", maxDepth))
	}
	f, err := d.root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := f.ReadDir(dirBatch)
		for _, e := range entries {
			if err := d.entry(ctx, path.Join(dir, e.Name()), e, depth, yield); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
	}
}

func (d *Dir) entry(ctx context.Context, name string, e fs.DirEntry, depth int, yield func(Content) error) error {
	if e.IsDir() {
		return d.walk(ctx, name, depth+1, yield)
	}
	if !e.Type().IsRegular() {
		return nil
	}
	base, _, _ := strings.Cut(e.Name(), ":")
	c := Content{Place: d.place(name), Name: base, Open: func(context.Context) (io.ReadCloser, error) { return d.open(name) }}
	if info, err := e.Info(); err == nil {
		c.Date = info.ModTime()
	}
	return yield(c)
}

func (d *Dir) place(name string) string { return filepath.Join(d.root.Name(), name) }

func (d *Dir) open(name string) (io.ReadCloser, error) {
	f, err := deliver.OpenRegular(d.root, name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() > MaxMessage {
		f.Close()
		if err == nil {
			err = errTooLong
		}
		return nil, err
	}
	return f, nil
}

// errTooLong is the error of what is no message.
var errTooLong = fmt.Errorf("it is longer than any message (%d bytes)", MaxMessage)

// A Store gives the messages of a mail store.
type Store struct {
	Source mailstore.Source
	// User, where it is not "", is the only user whose mail is looked at.
	User string
}

// Contents lists all messages of all mailboxes.
func (s Store) Contents(ctx context.Context, yield func(Content) error) error {
	return s.unreadable(yield, s.Source.Users(ctx, func(u mailstore.User) error {
		if s.User != "" && u.Name != s.User {
			return nil
		}
		return s.unreadable(yield, s.Source.Mailboxes(ctx, u, func(b mailstore.Mailbox) error {
			if b.Foreign {
				return nil
			}
			return s.unreadable(yield, s.Source.Messages(ctx, b, func(m mailstore.Message) error {
				if !m.Expunged.IsZero() { // its user has removed it
					return nil
				}
				return yield(Content{Place: fmt.Sprintf("%s %s %s", u.Name, b.Name, m.Key), Name: m.Key, Date: m.InternalDate,
					Open: func(ctx context.Context) (io.ReadCloser, error) { return s.Source.Open(ctx, b, m) }})
			}))
		}))
	}))
}

// unreadable yields what could not be listed.
func (s Store) unreadable(yield func(Content) error, err error) error {
	var in *mailstore.Incomplete
	if !errors.As(err, &in) {
		return err
	}
	for _, p := range in.Problems {
		c := Content{Place: p.Path, Open: func(context.Context) (io.ReadCloser, error) { return nil, p.Err }}
		if err := yield(c); err != nil {
			return err
		}
	}
	return nil
}
