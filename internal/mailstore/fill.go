package mailstore

import (
	"context"
	"errors"
	"io"
)

// ErrUnfit says that the server that owns a store cannot read a file, whatever is
// in it.
var ErrUnfit = errors.New("the mail server cannot read the file")

// A Filler is a mail store on disk whose index survived a loss, and whose messages'
// files are put back where they were. Its index is only read: the files make it
// right again, and UIDs, flags and dates are what they were at once.
//
// What is put is durable, and has its name, only when Sync has returned nil. A
// Filler is for one goroutine. One that keeps things open is an io.Closer, which
// drops what Sync was not called for; one that has something to say is a Noter.
type Filler interface {
	// Survey calls yield with each message that the index names as there, and with
	// how its file is. It returns *Incomplete when something could not be looked
	// at; what was not yielded is neither whole nor missing then.
	Survey(ctx context.Context, user User, yield func(Mailbox, Message, FileState) error) error
	// Open opens a message's file, as a Source does. ErrUnfit: it is there, and the
	// server may not read it.
	Open(ctx context.Context, box Mailbox, m Message) (io.ReadCloser, error)
	// Put puts the file of a message that Survey has yielded. stored is the content
	// in any form; only bytes that are what the index promises are taken, else it
	// is *Refusal. A file that is another one is put aside under a name that servers
	// pass over, never removed. ErrPresent: the file is there and whole.
	// ErrVanished: the index does not name the message any more.
	Put(ctx context.Context, box Mailbox, m Message, stored []byte) error
	// Sync gives what was put its names and makes it durable. *Incomplete names
	// files that could not get theirs, the others have; with any other error nothing
	// is known, and a new Survey tells.
	Sync(ctx context.Context) error
}

// A FileState is how the file of a message is.
type FileState int

// The states of a message's file.
const (
	FileWhole   FileState = iota // as far as its size tells
	FileMissing                  // there is none
	FileOther                    // what is there is not what the index promises
)

// String is the state in words.
func (s FileState) String() string {
	switch s {
	case FileWhole:
		return "whole"
	case FileMissing:
		return "missing"
	}
	return "another one"
}
