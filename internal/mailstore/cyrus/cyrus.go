// Package cyrus reads the mail of a Cyrus IMAP server from its disk: users and
// mailboxes from mailboxes.db, or from the directories where that is lost;
// messages from cyrus.index (2.2 to 3.13, versions 6 to 20), their files, flags,
// and what is kept beside them: subscriptions, special uses, quotas, rights.
//
// The Source is strictly read-only, takes no lock and works while the server
// does. It is called by package stores; the engines see only the interfaces of
// package mailstore. The packages below read the files' formats from bytes and
// know nothing of it.
//
// What it trusts: a mailboxes.db that is whole says which mailboxes there are.
// A record of an index whose checksum is wrong is not trusted: it is reported by
// name, and nothing that a listing does not show counts as deleted then. Whether
// a message's file is the right one is seen when it is read, against the SHA-1
// that the index promises. What happens to a file after it was backed up is seen
// when its mailbox has changed, or the directory that it is in (a file was
// removed, the directory is gone or another one): then every message whose file
// is missing or has another size is told from the others by its State, and so is
// opened again. A file of the right size is not read a second time.
//
// What it leaves out: shared mailboxes (not below user), mailboxes put aside by
// a delayed deletion (DELETED), and those that hold no mail (calendars, address
// books, Sieve scripts, JMAP's own). \Seen is that of the mailbox's owner. The
// seen state of Cyrus before 2.0, kept in the mailbox, is not read.
//
// The directories belong to the server, which alone writes there. Symbolic
// links are followed only inside a partition.
package cyrus

import (
	"sync"

	"salvor/internal/mailstore"
)

// Options say where a Cyrus is.
type Options struct {
	// ConfigFile is its imapd.conf.
	ConfigFile string
	// Envelopes has messages told with Message-ID and envelope, as far as
	// cyrus.cache knows them. Reading it costs as much again as reading the index,
	// several times over.
	Envelopes bool
}

// A Source reads a Cyrus. It may be used by several goroutines.
type Source struct {
	c         *config
	envelopes bool

	mu   sync.Mutex
	list *list

	uses   cached[map[string]string] // special uses by mailbox, see specialUses
	quotas cached[map[string]string] // quotas by mailbox, where they are in one file
}

var (
	_ mailstore.Source  = (*Source)(nil)
	_ mailstore.Counter = (*Source)(nil)
)

// Open reads the configuration and opens the partitions. A partition that is
// missing is a problem of its mailboxes; only when all are, it is an error.
func Open(o Options) (*Source, error) {
	c, err := readConfig(o.ConfigFile)
	if err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	return &Source{c: c, envelopes: o.Envelopes}, nil
}

// Close closes the partitions.
func (s *Source) Close() error { return s.c.close() }

// cached keeps what was made of a file as long as the file stays the same.
type cached[T any] struct {
	mu    sync.Mutex
	id    fileID
	value T
	err   error
}

// get gives what read makes of the file, which may be an error each time.
func (c *cached[T]) get(file string, read func() (T, fileID, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := identifyPath(file); c.id == (fileID{}) || c.id != id {
		c.value, c.id, c.err = read()
	}
	return c.value, c.err
}
