package catalog

import (
	"time"

	"salvor/chunk"
)

// A Row is one fact of the catalog: User, Mailbox, Record, Content, Part, Pack,
// Frame, Run, Hold, Tombstone, Ack, Lock, Incident, Claim, Gate, Finding, Drill or Counter, as a value or
// a pointer.
//
// All times are kept in UTC with nanoseconds, between the years 1678 and 2262;
// times outside are moved to the nearer end. A zero time means "never".
// Strings may hold any bytes.
type Row interface {
	// rowName is the row's name in a journal line.
	rowName() string
	// normal gives the row as a journal would give it back, or says what is
	// wrong with it.
	normal() (Row, error)
	appendRow(b []byte) []byte // as JSON, all fields
	appendKey(b []byte) []byte // as JSON, the key's fields
	put(t *Tx) error           // insert or update by key
	remove(t *Tx) error        // delete by key; nil when it is not there
}

// User is one account of a source. Key: Name.
type User struct {
	Name   string `json:"name"`
	Source string `json:"source,omitempty"` // URL of the source, without secrets
	// Partition names the part of the source that would fail as one.
	Partition  string    `json:"partition,omitempty"`
	FirstRun   uint64    `json:"first_run,omitempty"`
	FirstSeen  time.Time `json:"first_seen,omitzero"`
	LastRun    uint64    `json:"last_run,omitempty"`  // last run that processed the user
	LastGood   uint64    `json:"last_good,omitempty"` // last run that listed and read everything
	LastGoodAt time.Time `json:"last_good_at,omitzero"`
	Failed     int       `json:"failed,omitempty"`   // problems in LastRun
	GoneRun    uint64    `json:"gone_run,omitempty"` // run that did not find the user any more; 0: there
}

// Mailbox is one folder of a user. Key: ID, which survives renaming. Its user
// must be there.
type Mailbox struct {
	ID          int64      `json:"id"`
	User        string     `json:"user"`
	Name        string     `json:"name"` // UTF-8, levels separated by "/"
	ObjectID    string     `json:"object_id,omitempty"`
	UIDValidity uint32     `json:"uid_validity,omitempty"`
	UIDNext     uint32     `json:"uid_next,omitempty"`
	SpecialUse  string     `json:"special_use,omitempty"` // RFC 6154
	Subscribed  bool       `json:"subscribed,omitempty"`
	State       string     `json:"state,omitempty"` // the source's token; "": list it again
	FirstRun    uint64     `json:"first_run,omitempty"`
	FirstSeen   time.Time  `json:"first_seen,omitzero"`
	FailedRun   uint64     `json:"failed_run,omitempty"` // last run that could not list it whole
	GoneRun     uint64     `json:"gone_run,omitempty"`   // 0: there
	GoneAt      *time.Time `json:"gone_at,omitempty"`
	Excluded    string     `json:"excluded,omitempty"` // why it is out of scope; "": in scope
	Messages    int        `json:"messages,omitempty"` // last count seen, for excluded ones
	// HighestModSeq, ACL and Quota are what the source said; see mailstore.Mailbox.
	HighestModSeq uint64 `json:"highest_mod_seq,omitempty"`
	ACL           string `json:"acl,omitempty"`
	Quota         string `json:"quota,omitempty"`
}

// Record is one message in one mailbox. Key: ID. Its mailbox and content must
// be there.
type Record struct {
	ID      int64    `json:"id"`
	Mailbox int64    `json:"mailbox"`
	UID     uint32   `json:"uid,omitempty"`
	Key     string   `json:"key,omitempty"` // the source's name of the message inside the mailbox
	Content chunk.ID `json:"content"`
	// Stored is the SHA-256 of the bytes as the source stored them. In JSON it
	// is left out when it is the same as Content.
	Stored       chunk.ID       `json:"stored,omitzero"`
	StoredSize   int64          `json:"stored_size,omitempty"`
	LineEnds     chunk.LineEnds `json:"line_ends,omitempty"`
	Flags        []string       `json:"flags,omitempty"` // sorted: \Seen and keywords
	InternalDate time.Time      `json:"internal_date,omitzero"`
	ModSeq       uint64         `json:"mod_seq,omitempty"`
	SourceState  string         `json:"source_state,omitempty"` // cheap token of the message's file
	FirstRun     uint64         `json:"first_run,omitempty"`
	FirstSeen    time.Time      `json:"first_seen,omitzero"`
	GoneRun      uint64         `json:"gone_run,omitempty"` // 0: live
	GoneAt       *time.Time     `json:"gone_at,omitempty"`  // when its week began; nil while it has not
	// Hold is the hold that keeps its week from starting (GoneAt is nil then),
	// or whose confirmation started it; 0: none.
	Hold int64 `json:"hold,omitempty"`
	// MovedTo is the record of the same user and content that appeared when
	// this one vanished: it was moved, not deleted. 0: none.
	MovedTo int64 `json:"moved_to,omitempty"`
	// ObjectID is the source's identity of the content, where it has one other
	// than a hash: it survives moves and copies among the user's mailboxes.
	ObjectID string `json:"object_id,omitempty"`
	// Expunged is when the user removed the message, as the source's index says;
	// zero: live, or nobody said.
	Expunged time.Time `json:"expunged,omitzero"`
}

// Content is one message's immutable bytes. Key: ID, the SHA-256 of the wire
// form. Its message chunk and all Parts must be there, and a part of several
// chunks must have its Part row. From, To, Subject and MessageID are decoded
// for searching and cut after MaxHeader bytes.
type Content struct {
	ID        chunk.ID    `json:"id"`
	SHA1      chunk.SHA1  `json:"sha1"`
	Size      int64       `json:"size"`            // of the wire form
	Parts     []chunk.Ref `json:"parts,omitempty"` // data and part chunks that the message is made of, distinct
	From      string      `json:"from,omitempty"`
	To        string      `json:"to,omitempty"`
	Subject   string      `json:"subject,omitempty"`
	MessageID string      `json:"message_id,omitempty"`
	Date      *time.Time  `json:"date,omitempty"` // of the header
}

// Part is a long part that was cut into several chunks. Key: ID, the SHA-256
// of the whole part. Its part chunk and all data chunks must be there.
type Part struct {
	ID     chunk.ID   `json:"id"`
	Size   int64      `json:"size"`
	Chunks []chunk.ID `json:"chunks"` // data chunks in order; the same one may come again
}

// Pack is one pack of the vault. Key: ID, the SHA-256 of the stored bytes.
type Pack struct {
	ID        chunk.ID  `json:"id"`
	Size      int64     `json:"size"`
	Commit    uint64    `json:"commit"` // number of the commit that brought it
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Condemned is the number of the commit that condemned it; 0: in use. The
	// chunks of a condemned pack count as absent when a run deduplicates.
	Condemned   uint64     `json:"condemned,omitempty"`
	CondemnedAt *time.Time `json:"condemned_at,omitempty"`
	DeadBytes   int64      `json:"dead_bytes,omitempty"` // as upkeep last counted them
	DeadSince   *time.Time `json:"dead_since,omitempty"`
	// Damaged says what a check found wrong with it; "" nothing. Its chunks
	// count as absent when a run deduplicates, so that they are stored again
	// from a source that still has them.
	Damaged string `json:"damaged,omitempty"`
}

// The ways in which a Frame's bytes are stored.
const (
	MethodZstd = "zstd"
	MethodRaw  = "raw"
)

// Frame is a stretch of a pack that is read and decompressed as one. Key: Pack
// and Offset. Its pack must be there. A chunk that already stands elsewhere is
// found here from now on.
type Frame struct {
	Pack   chunk.ID     `json:"pack"`
	Offset int64        `json:"offset"` // in the pack's plaintext
	Stored int64        `json:"stored"` // length in the pack
	Plain  int64        `json:"plain"`  // length once decompressed
	Method string       `json:"method"`
	Chunks []FrameChunk `json:"chunks"`
}

// FrameChunk is one chunk in a Frame.
type FrameChunk struct {
	Kind   chunk.Kind `json:"kind"`
	ID     chunk.ID   `json:"id"`
	Offset int64      `json:"offset"` // in the frame's plain bytes
	Size   int64      `json:"size"`
}

// Run is one execution of something that made a commit. Key: Number.
type Run struct {
	Number   uint64    `json:"number"`
	Kind     string    `json:"kind"` // "backup", "prune", "decision", "forget", "checkpoint"
	Source   string    `json:"source,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Clock    string    `json:"clock,omitempty"` // "" or why the clock was not trusted
	Host     string    `json:"host,omitempty"`

	Users       int      `json:"users,omitempty"`
	Mailboxes   int      `json:"mailboxes,omitempty"`
	Seen        int64    `json:"seen,omitempty"`
	New         int64    `json:"new,omitempty"`
	Gone        int64    `json:"gone,omitempty"`
	Failed      int64    `json:"failed,omitempty"`
	BytesRead   int64    `json:"bytes_read,omitempty"`
	BytesNew    int64    `json:"bytes_new,omitempty"`
	BytesStored int64    `json:"bytes_stored,omitempty"`
	Held        []string `json:"held,omitempty"`     // users that the brake holds
	Problems    []string `json:"problems,omitempty"` // the first 100, one line each
	Partial     bool     `json:"partial,omitempty"`
}

// The verdicts of a Hold.
const (
	Confirmed = "confirmed"
	Rejected  = "rejected"
)

// Hold is what the brake holds back for one user. Key: ID.
type Hold struct {
	ID        int64      `json:"id"`
	User      string     `json:"user"`
	Run       uint64     `json:"run"`
	Reason    string     `json:"reason,omitempty"`
	Records   int64      `json:"records,omitempty"`
	Verdict   string     `json:"verdict,omitempty"` // "", Confirmed or Rejected
	VerdictAt *time.Time `json:"verdict_at,omitempty"`
	VerdictBy string     `json:"verdict_by,omitempty"`
}

// Tombstone says that a user deleted a message that has expired since. Key:
// User and Content. Neither needs to be there any more.
type Tombstone struct {
	User      string    `json:"user"`
	Content   chunk.ID  `json:"content"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	ExpiredAt time.Time `json:"expired_at,omitzero"`
	Until     time.Time `json:"until,omitzero"` // when the tombstone itself may go
}

// Ack says that a person knows of a problem. Key: Attention.
type Ack struct {
	Attention string    `json:"attention"`
	At        time.Time `json:"at,omitzero"`
	By        string    `json:"by,omitempty"`
}

// Lock says how far prune has come with the locks of a vault whose objects are
// locked in their store. There is one row at most.
type Lock struct {
	// Until: every object that was needed is locked until then, or longer.
	Until time.Time `json:"until,omitzero"`
	// Target is what the round under way locks objects until; zero: no round is.
	// Began is when it began, Next the name of the first object that it has not
	// reached, Left how many these are.
	Target time.Time `json:"target,omitzero"`
	Began  time.Time `json:"began,omitzero"`
	Next   string    `json:"next,omitempty"`
	Left   int64     `json:"left,omitempty"`
	// Waiting counts the objects that were to be erased and are locked still,
	// WaitingBytes what they store, WaitingUntil when the last lock ends.
	Waiting      int64     `json:"waiting,omitempty"`
	WaitingBytes int64     `json:"waiting_bytes,omitempty"`
	WaitingUntil time.Time `json:"waiting_until,omitzero"`
}

// Counter keeps a sequence of ids from going back after rows were deleted.
// Only Dump writes it. Key: Table ("mailbox", "record", "hold" or "claim").
type Counter struct {
	Table string `json:"table"`
	Last  int64  `json:"last"` // the highest id that was ever used
}

func (User) rowName() string      { return "user" }
func (Mailbox) rowName() string   { return "mailbox" }
func (Record) rowName() string    { return "record" }
func (Content) rowName() string   { return "content" }
func (Part) rowName() string      { return "part" }
func (Pack) rowName() string      { return "pack" }
func (Frame) rowName() string     { return "frame" }
func (Run) rowName() string       { return "run" }
func (Hold) rowName() string      { return "hold" }
func (Tombstone) rowName() string { return "tombstone" }
func (Ack) rowName() string       { return "ack" }
func (Lock) rowName() string      { return "lock" }
func (Counter) rowName() string   { return "counter" }
