package mailstore

import (
	"context"
	"errors"
	"time"

	"salvor/chunk"
)

// ErrNoAccount says that a server does not know the user.
var ErrNoAccount = errors.New("the server has no such account")

// ErrNoMailbox says that an account has no such mailbox.
var ErrNoMailbox = errors.New("the account has no such mailbox")

// ErrRenumbered says that a mailbox has another UIDVALIDITY than it is said to
// have: its UIDs are those of other messages.
var ErrRenumbered = errors.New("the mailbox was made anew, its UIDs are those of other messages now")

// ErrUnanswered says that an Append was sent and that its answer did not come:
// the message may be there or not.
var ErrUnanswered = errors.New("the connection ended before the server said whether it took the message")

// A Server is a running mail server, whose accounts are seen as their users'
// clients see them.
type Server interface {
	// Live opens a user's account. It makes nothing; ErrNoAccount when the server
	// does not know the user.
	Live(ctx context.Context, user string) (Live, error)
}

// A Live is one account of a running server, for one goroutine. Looking marks
// nothing as seen. An account that can be changed is a Remover or a Poster too, and
// a Noter where something may be left out of what is appended.
type Live interface {
	// Mailboxes lists the user's own mailboxes that can be selected, INBOX first.
	Mailboxes(ctx context.Context, yield func(Mailbox) error) error
	// Inspect lists all messages of a mailbox by their UIDs, with the state of
	// the mailbox in which they were listed.
	Inspect(ctx context.Context, mailbox string, yield func(Inspected) error) (Stand, error)
	// Body gives the bytes of a message, with CRLF line ends. It is ErrVanished
	// when the mailbox has no message of this UID, and *Dangling when the server
	// lists it and gives no content, or other content than it promises. Any other
	// error says nothing about the message.
	Body(ctx context.Context, mailbox string, uid UID) ([]byte, error)
	Close(ctx context.Context) error
}

// A Stand is how far a mailbox has come.
type Stand struct {
	UIDValidity uint32
	UIDNext     UID
	Messages    int
	// ReadOnly: nothing can be appended or removed there.
	ReadOnly bool
}

// An Inspected is one message of a mailbox as its server lists it.
type Inspected struct {
	UID          UID
	Flags        []string // sorted, without \Recent
	InternalDate time.Time
	Size         int64      // as the server promises it, of the wire form
	SHA1         chunk.SHA1 // as the server promises it; zero where it does not
	ModSeq       uint64
	// Dangling: the server lists the message and gave no content when it was
	// asked for a part of it. MessageID and Envelope are set for these only,
	// where the server's own index still tells them.
	Dangling  bool
	MessageID string
	Envelope  string // as IMAP writes it (RFC 9051, section 7.5.2)
}

// Dangling is the error of a message that a server lists and cannot give.
type Dangling struct {
	UID UID
	// Why: the file is missing, or its bytes are not those that were promised.
	Why string
	// Missing: there is no content at all.
	Missing bool
}

// Error says which message and why.
func (d *Dangling) Error() string { return d.Why }

// A Remover is a Live that can take messages out of a mailbox.
type Remover interface {
	// Remove takes messages out so that clients hear of it: \Deleted, then UID
	// EXPUNGE of just these. Nothing happens when the mailbox's UIDVALIDITY is not
	// validity: ErrRenumbered. UIDs that are not there are passed over. On return
	// without an error none of them is there any more; after any other error some
	// may be gone, and a repetition completes it.
	Remove(ctx context.Context, mailbox string, validity uint32, uids []UID) error
}

// A Poster is a Live that appends messages under fresh UIDs, each at most once.
type Poster interface {
	// Stand tells how far a mailbox has come; ErrNoMailbox when it is not there.
	Stand(ctx context.Context, mailbox string) (Stand, error)
	// Make makes a mailbox that is not there, with its special use and
	// subscription. *Refusal: the server will not have it.
	Make(ctx context.Context, box Mailbox) error
	// Append sends a message once; Delivery.UID is not looked at. The UID is 0
	// where the server does not tell it. *Refusal: the server said no, and the
	// message is surely not there. ErrUnanswered: nobody knows. With any other
	// error it is surely not there, and what is wrong is not the message.
	Append(ctx context.Context, d Delivery) (UID, error)
	// Find looks for messages of a mailbox: all with UID >= From that have the
	// size of one of the forms (Sought.Forms), or the Message-ID.
	Find(ctx context.Context, mailbox string, s Sought, yield func(Found) error) error
	// Forms gives the forms in which the server may show a message with this wire
	// form, itself first.
	Forms(wire []byte) [][]byte
}

// Sought describes what Poster.Find looks for.
type Sought struct {
	From UID // 0: from the first one
	// Forms are the bytes that the message may have at this server, see
	// Poster.Forms; none: any message.
	Forms [][]byte
	// MessageID, where it is not "", finds messages with this header too,
	// whatever their size.
	MessageID string
}

// Found is a message that Poster.Find has fetched.
type Found struct {
	UID  UID
	Wire []byte // valid until yield returns
	// Same: the bytes are one of Sought.Forms.
	Same bool
}
