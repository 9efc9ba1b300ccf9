package catalog

import (
	"math"
	"slices"
	"time"

	"salvor/chunk"
)

// Incident is a disaster that is being worked on. Key: Name. Its claims are its
// ledger; it cannot be deleted while it has any.
type Incident struct {
	Name   string `json:"name"`
	Source string `json:"source"`          // URL of the source, as its users have it
	Index  string `json:"index,omitempty"` // URL of the metadata that survived; "": none did
	// At is the time whose state of the catalog was compared with the index.
	At       time.Time `json:"at,omitzero"`
	OpenedAt time.Time `json:"opened_at,omitzero"`
	OpenedBy string    `json:"opened_by,omitempty"`
	ClosedAt time.Time `json:"closed_at,omitzero"` // zero: open
	ClosedBy string    `json:"closed_by,omitempty"`
	// Head and HeadHash are the vault's last commit when it was opened, Run the
	// last backup of the source by At.
	Head     uint64   `json:"head,omitempty"`
	HeadHash chunk.ID `json:"head_hash,omitzero"`
	Run      uint64   `json:"run,omitempty"`
	// Kept is the directory in which the copy of the metadata lies, on the host
	// that opened the incident; KeptSum the SHA-256 of the list of checksums in it.
	Kept    string   `json:"kept,omitempty"`
	KeptSum chunk.ID `json:"kept_sum,omitzero"`
	// Claims is how many claims the ledger holds: what its states must add up to.
	Claims int64 `json:"claims,omitempty"`
	// Problems are what could not be read of the index: the first 100.
	Problems []string `json:"problems,omitempty"`
}

// ClaimState is what became of a message in an incident.
type ClaimState string

// The states of a Claim. Those up to ClaimUncertain are the promise: every
// message in exactly one. The last two are counted apart.
const (
	ClaimPresent       ClaimState = "present"                // its store has it, whole
	ClaimRestored      ClaimState = "restored"               // from the vault
	ClaimRestoredMaybe ClaimState = "restored_maybe_deleted" // from the vault, to be safe
	ClaimRedelivered   ClaimState = "redelivered"            // found again, delivered under a new UID
	ClaimOwed          ClaimState = "owed"                   // known to have existed, its content is not there
	ClaimLost          ClaimState = "lost"                   // given up by name
	ClaimHeld          ClaimState = "held"                   // the vault has the content; not brought back yet
	ClaimUncertain     ClaimState = "uncertain"              // held, and maybe deleted by its user
	ClaimDeleted       ClaimState = "deleted"                // known to have been deleted by its user
	ClaimJunk          ClaimState = "junk"                   // in a Junk folder, which no backup takes
)

// ClaimStates are all states, in the order in which they are shown.
var ClaimStates = []ClaimState{ClaimPresent, ClaimRestored, ClaimRestoredMaybe, ClaimRedelivered, ClaimOwed, ClaimLost,
	ClaimHeld, ClaimUncertain, ClaimDeleted, ClaimJunk}

// Counts tells whether messages of this state are part of an incident's total:
// those that their users have a claim to.
func (s ClaimState) Counts() bool { return s != ClaimDeleted && s != ClaimJunk }

// Claim is one message of an incident. Key: Incident and ID. The incident must
// be there; user, content and record need not be there any more.
type Claim struct {
	Incident string `json:"incident"`
	ID       int64  `json:"id"`
	User     string `json:"user"`
	// Folder, UIDValidity and UID say where the message was.
	Folder      string     `json:"folder"`
	UIDValidity uint32     `json:"uid_validity,omitempty"`
	UID         uint32     `json:"uid,omitempty"`
	State       ClaimState `json:"state"`
	Reason      string     `json:"reason,omitempty"` // why it has this state; one line
	// Content is what the vault holds of it; zero: nothing, or not that message.
	Content chunk.ID   `json:"content,omitzero"`
	SHA1    chunk.SHA1 `json:"sha1,omitzero"` // of the wire form; zero: unknown
	Size    int64      `json:"size,omitempty"`
	Flags   []string   `json:"flags,omitempty"` // sorted: \Seen and keywords
	// InternalDate is zero where nobody knows it.
	InternalDate time.Time `json:"internal_date,omitzero"`
	MessageID    string    `json:"message_id,omitempty"`
	// Record is the catalog's record of this very message; 0: it has none.
	Record int64 `json:"record,omitempty"`
	// Name is what its store called the message's file (Maildir: the base name).
	Name string `json:"name,omitempty"`
	// Envelope is IMAP's (RFC 9051, section 7.5.2), as the server's index had it.
	Envelope string `json:"envelope,omitempty"`

	// SettledAt is when it came to its state; zero: when the incident was opened.
	SettledAt time.Time `json:"settled_at,omitzero"`
	// Where it stands now, for what was brought back or found: the store's URL,
	// the folder there, UIDVALIDITY and UID, which are 0 where nobody told them.
	NowStore    string `json:"now_store,omitempty"`
	NowFolder   string `json:"now_folder,omitempty"`
	NowValidity uint32 `json:"now_validity,omitempty"`
	NowUID      uint32 `json:"now_uid,omitempty"`
	// Grade says how sure it is that what was delivered is this message.
	Grade Grade `json:"grade,omitempty"`
	// TakenAt is when the server's entry without content was taken out of its
	// index; zero: it was not, or there was none.
	TakenAt time.Time `json:"taken_at,omitzero"`

	// An intention: SentAt is when it was decided to append the message to
	// SentFolder of SentStore, whose UIDVALIDITY and UIDNEXT were SentValidity and
	// SentNext. SentOrder counts the messages that went there together, from 1;
	// SentSum is the SHA-256 of the wire form that was sent. Zero SentAt: nothing
	// is under way.
	SentAt       time.Time `json:"sent_at,omitzero"`
	SentStore    string    `json:"sent_store,omitempty"`
	SentFolder   string    `json:"sent_folder,omitempty"`
	SentValidity uint32    `json:"sent_validity,omitempty"`
	SentNext     uint32    `json:"sent_next,omitempty"`
	SentOrder    int64     `json:"sent_order,omitempty"`
	SentSum      chunk.ID  `json:"sent_sum,omitzero"`
	// Doubt: nobody can tell whether what was sent arrived. It is owed, and never
	// sent again by itself.
	Doubt bool `json:"doubt,omitempty"`
}

// Grade is how sure a match is.
type Grade string

// The grades of a match.
const (
	GradeCertain  Grade = "certain"  // by SHA-1 and size, or by the store's own name and size
	GradeProbable Grade = "probable" // by Message-ID, size and date
)

// InFlight tells whether the message may have been sent without anybody having
// seen what became of it.
func (r *Claim) InFlight() bool { return !r.SentAt.IsZero() }

func (Incident) rowName() string { return "incident" }
func (Claim) rowName() string    { return "claim" }

func (r Incident) normal() (Row, error) {
	var c checks
	c.that(r.Name != "", "no name")
	c.that(r.Source != "", "no source")
	c.numbers(r.Head, r.Run)
	c.counts(r.Claims)
	r.At, r.OpenedAt, r.ClosedAt = utc(r.At), utc(r.OpenedAt), utc(r.ClosedAt)
	return c.row(r)
}

func (r Claim) normal() (Row, error) {
	var c checks
	c.that(r.Incident != "", "no incident")
	c.that(r.ID > 0 && r.ID < math.MaxInt64, "no id")
	c.that(r.User != "", "no user")
	c.that(slices.Contains(ClaimStates, r.State), "unknown state")
	c.counts(r.Size, r.Record)
	r.Reason, r.MessageID = clip(r.Reason, MaxHeader), clip(r.MessageID, MaxHeader)
	r.Envelope, r.Name = clip(r.Envelope, MaxHeader), clip(r.Name, MaxHeader)
	r.InternalDate, r.SettledAt, r.TakenAt, r.SentAt = utc(r.InternalDate), utc(r.SettledAt), utc(r.TakenAt), utc(r.SentAt)
	c.that(r.Grade == "" || r.Grade == GradeCertain || r.Grade == GradeProbable, "unknown grade")
	c.counts(r.SentOrder)
	return c.row(r)
}

func (r Incident) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("name", r.Name)
	return o.close()
}

func (r Incident) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("name", r.Name)
	o.text("source", r.Source)
	o.textz("index", r.Index)
	o.timez("at", r.At)
	o.timez("opened_at", r.OpenedAt)
	o.textz("opened_by", r.OpenedBy)
	o.timez("closed_at", r.ClosedAt)
	o.textz("closed_by", r.ClosedBy)
	o.uintz("head", r.Head)
	o.hashz("head_hash", r.HeadHash[:])
	o.uintz("run", r.Run)
	o.textz("kept", r.Kept)
	o.hashz("kept_sum", r.KeptSum[:])
	o.intz("claims", r.Claims)
	o.textsz("problems", r.Problems)
	return o.close()
}

func (r Claim) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.int("id", r.ID)
	return o.close()
}

func (r Claim) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.int("id", r.ID)
	o.text("user", r.User)
	o.text("folder", r.Folder)
	o.intz("uid_validity", int64(r.UIDValidity))
	o.intz("uid", int64(r.UID))
	o.text("state", string(r.State))
	o.textz("reason", r.Reason)
	o.hashz("content", r.Content[:])
	o.hashz("sha1", r.SHA1[:])
	o.intz("size", r.Size)
	o.textsz("flags", r.Flags)
	o.timez("internal_date", r.InternalDate)
	o.textz("message_id", r.MessageID)
	o.intz("record", r.Record)
	o.textz("name", r.Name)
	o.textz("envelope", r.Envelope)
	o.timez("settled_at", r.SettledAt)
	o.textz("now_store", r.NowStore)
	o.textz("now_folder", r.NowFolder)
	o.intz("now_validity", int64(r.NowValidity))
	o.intz("now_uid", int64(r.NowUID))
	o.textz("grade", string(r.Grade))
	o.timez("taken_at", r.TakenAt)
	o.timez("sent_at", r.SentAt)
	o.textz("sent_store", r.SentStore)
	o.textz("sent_folder", r.SentFolder)
	o.intz("sent_validity", int64(r.SentValidity))
	o.intz("sent_next", int64(r.SentNext))
	o.intz("sent_order", r.SentOrder)
	o.hashz("sent_sum", r.SentSum[:])
	o.truez("doubt", r.Doubt)
	return o.close()
}
