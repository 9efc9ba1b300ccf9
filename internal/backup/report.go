package backup

import (
	"time"

	"salvor/catalog"
	"salvor/internal/vault"
)

// Report is what a run did. As JSON it is what the command line promises.
type Report struct {
	Run       uint64   `json:"run"`
	Users     int      `json:"users"`
	Mailboxes int      `json:"mailboxes"`
	Messages  Messages `json:"messages"`
	Bytes     Bytes    `json:"bytes"`
	Seconds   float64  `json:"seconds"`
	// HeldByBrake names the users whose deletions wait for an operator.
	HeldByBrake []Held `json:"held_by_brake"`
	// Problems are what could not be read, one line each: the first
	// maxProblems of Messages.Failed and the unreadable folders.
	Problems []string `json:"problems,omitempty"`
	// Unlisted counts users and folders that could not be listed whole.
	Unlisted int `json:"unlisted,omitempty"`
	// FlagsUnknown counts messages whose source cannot tell their flags; those
	// that an earlier run knew are kept.
	FlagsUnknown int64 `json:"flags_unknown,omitempty"`
	// Opaque counts, by user and form, the new messages of which only the file can
	// be kept: one that is encrypted, or compressed in a way that is not known.
	Opaque []Opaque `json:"opaque,omitempty"`
	// Clock says why the clock is in doubt; "" when it is not.
	Clock string `json:"clock,omitempty"`
	// Excluded are the folders left out, with their message counts.
	Excluded []Excluded `json:"excluded,omitempty"`
	// Partial: the run was interrupted; what was complete has been kept.
	Partial bool       `json:"partial,omitempty"`
	Head    vault.Head `json:"head"`

	Started time.Time `json:"-"`
}

// tally lets the scan, the keeper and the packer's callbacks count side by
// side.
func (r *run) tally(count func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count(&r.report)
}

// Messages counts messages.
type Messages struct {
	Seen   int64 `json:"seen"` // in scope at the source
	New    int64 `json:"new"`
	Gone   int64 `json:"gone"`
	Failed int64 `json:"failed"` // could not be read, or not whole
	// Damaged counts those of Failed whose source holds something else than its
	// own index promises, or nothing.
	Damaged int64 `json:"damaged,omitempty"`
}

// Bytes counts bytes.
type Bytes struct {
	Read   int64 `json:"read"`   // of messages opened
	New    int64 `json:"new"`    // of messages whose content the vault did not have
	Stored int64 `json:"stored"` // by which the vault's packs grew
}

// Held is one user held by the brake in this run.
type Held struct {
	User     string `json:"user"`
	Reason   string `json:"reason"`
	Messages int64  `json:"messages"`
}

// Opaque is messages of a user that are kept as the files that they stand in.
type Opaque struct {
	User     string `json:"user"`
	Form     string `json:"form"`
	Messages int64  `json:"messages"`
}

func (r *Report) opaque(user, form string) {
	for i := range r.Opaque {
		if o := &r.Opaque[i]; o.User == user && o.Form == form {
			o.Messages++
			return
		}
	}
	r.Opaque = append(r.Opaque, Opaque{user, form, 1})
}

// Excluded is a folder left out of the backup.
type Excluded struct {
	User     string `json:"user"`
	Folder   string `json:"folder"`
	Why      string `json:"why"` // "junk" or "excluded"
	Messages int    `json:"messages"`
}

// maxProblems bounds the lines a report keeps; the counts go on.
const maxProblems = 100

func (r *Report) problem(line string) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, line)
	}
}

// Clean tells whether every user and message was backed up and nothing waits
// for a person: exit code 0 rather than 3.
func (r *Report) Clean() bool {
	return r.Messages.Failed == 0 && r.Unlisted == 0 && len(r.Problems) == 0 && len(r.HeldByBrake) == 0 && r.Clock == "" && !r.Partial
}

// continued is the report with which the next pass of the same run begins:
// what was read and stored counts on, what is listed again is counted anew.
func (r *Report) continued() Report {
	return Report{Run: r.Run, Started: r.Started, Clock: r.Clock, HeldByBrake: []Held{},
		Messages: Messages{New: r.Messages.New, Gone: r.Messages.Gone}, Bytes: r.Bytes}
}

func (r *Report) row(o Options, now time.Time) catalog.Run {
	row := catalog.Run{Number: r.Run, Kind: string(vault.CommitBackup), Source: o.Name, Started: r.Started, Finished: now,
		Clock: r.Clock, Host: o.Host, Users: r.Users, Mailboxes: r.Mailboxes,
		Seen: r.Messages.Seen, New: r.Messages.New, Gone: r.Messages.Gone, Failed: r.Messages.Failed,
		BytesRead: r.Bytes.Read, BytesNew: r.Bytes.New, BytesStored: r.Bytes.Stored,
		Problems: r.Problems, Partial: r.Partial}
	for _, h := range r.HeldByBrake {
		row.Held = append(row.Held, h.User)
	}
	return row
}
