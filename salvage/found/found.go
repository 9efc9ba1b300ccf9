// Package found holds what a salvage found: the words in which it is told, and the
// directory in which it is kept. Package salvage writes it, redelivery and
// `salvor salvage show` read it.
//
// A result directory looks so; everything in it is readable by its owner only:
//
//	salvage.json          what this directory is (Head), written first
//	found.jsonl           one Finding a line, ordered by ID
//	mail/ab/abcd...       the bytes of what was found, named by their SHA-256
//	report.json           the report of the last complete run
//	survey.db             traces and how far the sweep came: scratch, can be removed
//
// Names that were found on a damaged disk never become names of files here.
package found

import (
	"time"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// Class is what a thing that was found is to its finder.
type Class string

// The classes of findings.
const (
	Matched    Class = "matched"      // owed, and proved to be what is owed
	Held       Class = "already_held" // the vault, or its mail store, has it: counted, never kept
	Tombstoned Class = "tombstoned"   // its user deleted it: counted, never kept
	Unknown    Class = "unknown"      // mail that nobody claims: set aside for a person
	Damaged    Class = "damaged"      // parts of it are not there
)

// Grade is how sure it is that a finding is a whole message, and whose.
type Grade string

// The grades, best first.
const (
	Verified   Grade = "verified"   // size and SHA-1, or the store's own name and size, are those that an index promises
	Consistent Grade = "consistent" // the file system's size, no hole, and a MIME structure that closes
	Plausible  Grade = "plausible"  // found by content; it looks whole
	Partial    Grade = "partial"    // known not to be whole
)

// A Finding is one message, or part of one, that was found. Several places with
// the same bytes are one Finding; the best place is told.
type Finding struct {
	ID    string `json:"id"` // the first 16 hex digits of SHA256Stored, and "-N" where that is taken
	Class Class  `json:"class"`
	Grade Grade  `json:"grade"`
	Why   string `json:"why"` // the evidence, one line

	// Whose it is: by path, by ledger or by header (UserBy "path", "ledger",
	// "header"), as far as anybody knows.
	User   string `json:"user,omitempty"`
	UserBy string `json:"user_by,omitempty"`
	Folder string `json:"folder,omitempty"`
	UID    uint32 `json:"uid,omitempty"`
	Claim  int64  `json:"claim,omitempty"` // the first claim of the incident's ledger that it fits

	// What it is. Size and SHA256Stored are of the bytes as they were found, with
	// zeros for what is unknown; SHA256 and SHA1 of the wire form.
	Size         int64     `json:"size"`
	WireSize     int64     `json:"wire_size"`
	SHA256Stored string    `json:"stored_sha256"`
	SHA256       string    `json:"sha256"`
	SHA1         string    `json:"sha1"`
	File         string    `json:"file,omitempty"` // in the result directory; "": the bytes were not kept
	Name         string    `json:"name,omitempty"` // what its store called the file, without flags
	Date         time.Time `json:"date,omitzero"`  // when the file was last written, which is when it was delivered
	MessageID    string    `json:"message_id,omitempty"`
	From         string    `json:"from,omitempty"`
	Subject      string    `json:"subject,omitempty"`

	// Where it was.
	Source  string         `json:"source"` // the volume's name
	How     string         `json:"how"`    // "file", "deleted file", "log", "block map", "carved", "pieced", "directory"
	Path    string         `json:"path,omitempty"`
	Inode   uint64         `json:"inode,omitempty"`
	Offset  int64          `json:"offset"` // of its first byte, or of its record
	Extents []fsys.Extent  `json:"extents,omitempty"`
	Missing []volume.Range `json:"missing,omitempty"` // what is unknown of it, in bytes of the message
	Places  int            `json:"places"`            // in how many places it was found
}

// Offered tells whether a finding may be delivered to its owner without being
// asked for by its ID.
func (f *Finding) Offered() bool { return f.Class == Matched || f.Class == Unknown }

// Head says what a result directory is.
type Head struct {
	Version  int       `json:"version"` // 1
	Started  time.Time `json:"started"`
	Sources  []string  `json:"sources"`
	Incident string    `json:"incident,omitempty"`
}
