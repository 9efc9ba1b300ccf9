// Package mailstore says what salvor needs of a mail store: a Source is read,
// a Destination is written. The adapters below this folder (maildir, mbox,
// eml) implement them; the engines (internal/backup, restore) use them and
// know no adapter. Nothing here knows vaults, catalogs or retention.
//
// Names: a mailbox's Name is UTF-8, its levels separated by "/", whatever the
// store uses on disk; the first mailbox of every user is "INBOX". A name that
// cannot be decoded is shown with its odd bytes escaped, so it is always valid
// UTF-8 without control characters, and always leads back to the same mailbox.
package mailstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"salvor/chunk"
)

// UID is IMAP's unique identifier of a message in a mailbox (RFC 9051, section
// 2.3.1.1). Zero means that the store has not numbered the message.
type UID uint32

// ErrVanished says that a message was there when it was listed and is not any
// more: deleted or moved by its user meanwhile, and so the next run's business.
var ErrVanished = errors.New("message vanished while it was read")

// ErrDamaged says that the store's index knows a message whose content is not,
// or not wholly, there: the file is missing, short or another one. The good
// copy in a vault stays.
var ErrDamaged = errors.New("damaged at the source")

// ErrPresent is Add's answer when the destination holds the message already in
// the form in which it would store it, which is not the one that was sent.
var ErrPresent = errors.New("the destination holds the message already")

// A Refusal is Add's error for one message that the destination will not take.
// Others may go there all the same.
type Refusal struct {
	// Why is what the destination said, or what is known about it; one line.
	Why string
	// Full says that it will take nothing more of this user: the quota is used up.
	Full bool
}

// Error gives the reason.
func (r *Refusal) Error() string { return "the destination refuses the message: " + r.Why }

// A User is one account of a source.
type User struct {
	// Name is the full user name, as in "alice" or "alice@example.org".
	Name string
	// Partition names the part of the store that would fail as one (a mount,
	// a Cyrus partition); the brake counts by it.
	Partition string
}

// A Mailbox is one folder of a user.
type Mailbox struct {
	User string
	Name string
	// ObjectID is the mailbox's identity that survives renaming, where the
	// store has one ("" where not).
	ObjectID    string
	UIDValidity uint32 // 0: the store has none
	UIDNext     uint32 // 0: unknown
	SpecialUse  string // as in RFC 6154: "\\Junk", "\\Sent"; "" unknown
	Subscribed  bool
	// HighestModSeq is that of RFC 7162; 0: unknown.
	HighestModSeq uint64
	// ACL is who may do what, as the store itself writes it (Cyrus: identifier,
	// tab, rights, tab, and so on); "" unknown.
	ACL string
	// Quota is the limit that is set on this mailbox and those below it, in the
	// form of RFC 9208: "STORAGE 100000 MESSAGE 5000"; "" none, or unknown.
	Quota string
	// State is a cheap token: when it is not empty and equal to the one of an
	// earlier run, nothing in the mailbox has changed since.
	State string
	// Since is the State of the last run that recorded all of the mailbox, ""
	// for none. The engine sets it before it calls Messages: a source that can
	// ask for changes only then yields the other messages as Unchanged.
	Since string
	// Lost says why the mailbox's index is not to be trusted as evidence of
	// deletions (for example "dovecot-uidlist is missing"); "" when it is.
	Lost string
	// Written is when the mailbox's index was last written, where that matters:
	// zero unknown. A server that has run over a lost disk has dropped the
	// messages out of its index by itself.
	Written time.Time
	// TellsRemovals: the store's index goes on naming what users have removed, for
	// longer than from one night to the next (Message.Expunged). A message that is
	// in it no more, and was never named so, went in another way.
	TellsRemovals bool
	// Foreign says that what stands there looks like no mailbox at all: a file
	// that something else keeps beside them. One that was never a mailbox is
	// passed over; one that was is read, and reported when that fails.
	Foreign bool
}

// A Message is one message of a mailbox as it is listed, without its content.
type Message struct {
	// Key names the message inside its mailbox and stays the same when its
	// flags change (Maildir: the base name).
	Key string
	UID UID
	// Position orders the messages that the store has not numbered; where it is
	// equal (0: the store has no order), InternalDate and Key do.
	Position int
	// Mutable: the store itself rewrites messages (an mbox keeps flags in their
	// headers), so other bytes under the same Key are the same message.
	Mutable bool
	// Flags holds system flags (\Seen) and keywords, sorted, without \Recent.
	Flags        []string
	InternalDate time.Time
	ModSeq       uint64
	// Size is that of the stored bytes, -1 when unknown before reading.
	Size int64
	// Promised is the size that the store's own index promises, -1 for none.
	// A different Size means that the message is damaged at the source.
	Promised int64
	// State is a cheap token of the message's file: equal to the one of an
	// earlier run means that its content need not be read again.
	State string
	// Place is the adapter's own note of where the message is (a file name);
	// it is handed back to Open and means nothing to others.
	Place string
	// ObjectID is an identity of the content that survives moves and copies: two
	// messages of one user that have the same one have the same bytes. "": none.
	ObjectID string
	// SHA1 is that of the wire form, as the store's own index promises it; the
	// zero SHA1 for none. Other content is damaged at the source.
	SHA1 chunk.SHA1
	// Unchanged: the message was there at the mailbox's Since, and nothing about
	// it has changed. Only Key and UID are set then.
	Unchanged bool
	// NoFlags: the store cannot tell the flags, and Flags means nothing.
	NoFlags bool
	// Expunged is when the user removed the message, for one that the store's
	// index still names as removed; zero for all others. Such a message is no
	// part of the mailbox any more. Its content may or may not be there.
	Expunged time.Time
	// Doubt says why the store's index does not tell for certain that the message
	// was still there; "" where it does.
	Doubt string
	// MessageID and Envelope, as IMAP writes it (RFC 9051, section 7.5.2), are set
	// where the store's own index tells them without opening the message, and was
	// asked to.
	MessageID, Envelope string
}

// A Problem is one thing that could not be read. It is reported by name and
// never hides the rest.
type Problem struct {
	User, Mailbox string
	Path          string // file or directory at the source
	Err           error
}

// Error names the user, the folder, the path and the cause.
func (p *Problem) Error() string {
	var b strings.Builder
	for _, s := range []string{p.User, p.Mailbox, p.Path} {
		if s != "" {
			fmt.Fprintf(&b, "%q: ", s)
		}
	}
	fmt.Fprint(&b, p.Err)
	return b.String()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Incomplete is the error of a listing of which something could not be read:
// what was yielded is right, what was not yielded may still exist. Absence
// from such a listing is no deletion.
type Incomplete struct{ Problems []*Problem }

// Error says how many problems there are and names the first.
func (e *Incomplete) Error() string {
	if len(e.Problems) == 0 {
		return "incomplete listing"
	}
	return fmt.Sprintf("incomplete listing (%d problems), first: %v", len(e.Problems), e.Problems[0])
}

// A Source is a mail store that is read, strictly read-only. The listing
// methods call yield once for each item and stop at yield's first error, which
// they return. They return *Incomplete when something could not be listed.
type Source interface {
	// Users lists all accounts.
	Users(ctx context.Context, yield func(User) error) error
	// Mailboxes lists the user's mailboxes, INBOX first.
	Mailboxes(ctx context.Context, user User, yield func(Mailbox) error) error
	// Messages lists a mailbox.
	Messages(ctx context.Context, box Mailbox, yield func(Message) error) error
	// Open opens a message's stored bytes. It returns ErrVanished when the
	// message is gone, also after looking for it under its changed name.
	Open(ctx context.Context, box Mailbox, m Message) (io.ReadCloser, error)
}

// A Counter is a Source that can count the messages of a mailbox without
// reading them; used to show what an exclusion leaves out.
type Counter interface {
	Count(ctx context.Context, box Mailbox) (int, error)
}

// A Prefetcher is a Source that fetches ahead. After Messages has listed a
// mailbox's messages the engine names those that it is going to Open, in the
// order in which it will begin to. It may open fewer of them, but never the
// same one twice at the same time.
type Prefetcher interface {
	Prefetch(box Mailbox, m Message)
}

// Delivery is a message to be put into a destination.
type Delivery struct {
	Mailbox string
	// Stored is the message as its source stored it, LF the LF form.
	// A destination takes the one that fits its own rules.
	Stored, LF   []byte
	Content      chunk.ID
	SHA1         chunk.SHA1 // of the wire form
	UID          UID        // the original one; 0 for a fresh one
	ModSeq       uint64     // the original one; 0 unknown
	Key          string     // the source's name of the message, a hint
	Flags        []string
	InternalDate time.Time
}

// A Destination is a mail store that is written. It only ever adds.
type Destination interface {
	// Account opens a user's account, made when it is not there.
	Account(ctx context.Context, user string) (Account, error)
}

// An Account is one user's part of a destination. Adding is additive: nothing
// that is there is overwritten or removed. What was added counts as delivered
// only when Close has returned nil; an interrupted account may be filled again.
type Account interface {
	// Mailbox makes sure that the mailbox exists; UIDValidity, SpecialUse and
	// Subscribed are taken over where the mailbox is new and the store keeps them.
	Mailbox(ctx context.Context, box Mailbox) error
	// Present calls yield with the identity of each message that the mailbox
	// holds now, once for each copy.
	Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error
	// Add puts a message into a mailbox that Mailbox has been called for. It
	// returns the UID under which the message stands, 0 where there are none.
	// The bytes of the Delivery are somebody else's when it has returned.
	Add(ctx context.Context, d Delivery) (UID, error)
	// Close makes everything durable.
	Close(ctx context.Context) error
}

// A Note is something about a delivery that an operator should know, although
// no message failed.
type Note struct {
	User, Mailbox string
	What          string
	// Loss says that something could not be kept, such as a keyword.
	Loss bool
}

// A Noter is an Account that has made notes. They are complete after Close.
type Noter interface {
	Notes() []Note
}

// A Dropper is an Account that adds in batches and tells which messages went
// down with one.
type Dropper interface {
	// Dropped gives, after a Close that failed, how many of the messages that
	// Add took last are not there, by mailbox.
	Dropped() map[string]int
}

// A Looker is a Destination that can tell what a mailbox holds without making
// an account or anything else, for dry runs.
type Looker interface {
	// Look calls yield like Account.Present, and not at all when the user or
	// the mailbox is not there.
	Look(ctx context.Context, user, mailbox string, yield func(chunk.ID) error) error
}

// Wanted identifies a message that a destination may hold already.
type Wanted struct {
	Content chunk.ID
	SHA1    chunk.SHA1
	Size    int64 // of the wire form
}

// A Comparer is an Account that finds out about single messages at less cost
// than Present, which would have to fetch every content. It is asked instead.
type Comparer interface {
	// Copies gives how many copies of the message the mailbox held when it was
	// opened by Mailbox; of a mailbox that is not there it holds none.
	Copies(ctx context.Context, mailbox string, w Wanted) (int, error)
}

// A Previewer is a Destination that compares for dry runs as a Comparer does.
type Previewer interface {
	// Preview opens a user's account to compare with, and makes nothing.
	Preview(ctx context.Context, user string) (Preview, error)
}

// A Preview is an account of a dry run.
type Preview interface {
	Comparer
	Close(ctx context.Context) error
}

// A Renumberer is a Destination that can say beforehand where it will not keep
// the original UIDs.
type Renumberer interface {
	// Renumbers says why the messages of the user's mailbox will get new UIDs
	// there; "" when they keep their own. It makes nothing.
	Renumbers(ctx context.Context, user string, box Mailbox) (why string, err error)
}
