package diskimage

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// blockSize is that of all images, in bytes.
const blockSize = 4096

// The stores in which mail stands.
const (
	Cyrus   = "cyrus"
	Maildir = "maildir"
)

// A Message is what is true of one message in one place: one file name. Digests
// are in hex, sizes in bytes.
type Message struct {
	Store  string // Cyrus or Maildir
	User   string // as its store calls the user: "alice", "heidi@example.org"
	Folder string // "INBOX", "Archive/2007"
	UID    uint32
	Path   string // in the image, without a slash in front
	Name   string // of its file; a Maildir's without flags
	Date   time.Time

	MessageID    string // "" where it has none
	Size         int64
	SHA256Stored string
	WireSize     int64 // with CRLF
	SHA1, SHA256 string

	Inode   uint64
	Extents []Extent // by Logical
}

// describe fills in what its bytes tell.
func (m *Message) describe(stored, wire []byte) {
	m.Size, m.SHA256Stored = int64(len(stored)), digest256(stored)
	m.WireSize, m.SHA256, m.SHA1 = int64(len(wire)), digest256(wire), digest1(wire)
}

func digest256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digest1(b []byte) string {
	sum := sha1.Sum(b)
	return hex.EncodeToString(sum[:])
}

// A Promise is what an index that has survived knows of a message: Cyrus's its
// size and SHA-1, a Maildir's (from a backup's catalog) the name of its file with
// S= and W= in it. This is what an incident's ledger holds.
type Promise struct {
	Store     string
	User      string
	Folder    string
	UID       uint32
	Date      time.Time
	Size      int64  // as stored
	SHA1      string // of the wire form; Cyrus only
	Name      string // Maildir only
	MessageID string // Cyrus only: from cyrus.cache
}

// Index gives what a surviving index knows of these messages.
func Index(messages []Message) []Promise {
	var all []Promise
	for _, m := range messages {
		p := Promise{Store: m.Store, User: m.User, Folder: m.Folder, UID: m.UID, Date: m.Date, Size: m.Size}
		if m.Store == Cyrus {
			p.SHA1, p.MessageID = m.SHA1, m.MessageID
		} else {
			p.Name = m.Name
		}
		all = append(all, p)
	}
	return all
}
