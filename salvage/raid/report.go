package raid

import (
	"slices"

	"salvor/salvage/volume"
)

// A Report is what is known about an array and how it is known.
type Report struct {
	Level    Level  `json:"level"`
	Layout   Layout `json:"layout,omitempty"`
	Chunk    int64  `json:"chunk,omitempty"`    // bytes; 0 where the level has none
	Size     int64  `json:"size"`               // of the volume, bytes
	Metadata string `json:"metadata,omitempty"` // "0.90", "1.2"; empty without superblocks
	UUID     string `json:"uuid,omitempty"`
	Name     string `json:"name,omitempty"` // that its superblocks give it

	Slots   []Slot    `json:"slots"`              // in order
	LeftOut []LeftOut `json:"left_out,omitempty"` // members that were given and are not used

	// Inferred says, a line each, what was found out without being told, and how
	// sure it is.
	Inferred []string `json:"inferred,omitempty"`
	Notes    []string `json:"notes,omitempty"` // what else an operator should know

	Checked Checked `json:"checked"` // by all calls of Check so far
	// Of all bytes read so far: how many were derived from parity, could not be
	// read or derived, or hang on a stale member. A byte read twice counts twice.
	Solved   int64 `json:"solved"`
	Unknown  int64 `json:"unknown"`
	Doubtful int64 `json:"doubtful"`
}

// A Slot is one place in the order of an array.
type Slot struct {
	Members []Member `json:"members,omitempty"` // the best first; none if it is missing
}

// A Member is a volume that serves a slot.
type Member struct {
	Index  int    `json:"index"` // among those given to Open
	Name   string `json:"name"`
	Offset int64  `json:"offset"`           // where its data begins, bytes
	Size   int64  `json:"size"`             // of its data, bytes
	Events uint64 `json:"events,omitempty"` // of its superblock
	Stale  bool   `json:"stale,omitempty"`  // the array went on without it
	Bad    int64  `json:"bad,omitempty"`    // bytes that md's list of bad blocks names
	Dead   string `json:"dead,omitempty"`   // the error after which it was not asked any more
}

// A LeftOut is a member that is not used, and why.
type LeftOut struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Why   string `json:"why"`
}

// Missing says how many places have nobody to serve them.
func (r *Report) Missing() (n int) {
	for _, s := range r.Slots {
		if len(s.Members) == 0 {
			n++
		}
	}
	return n
}

// Report gives what is known by now; reading and checking add to it.
func (a *Array) Report() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.report
	r.Checked = r.Checked.clone()
	r.Slots = nil
	for _, s := range a.report.Slots {
		r.Slots = append(r.Slots, Slot{slices.Clone(s.Members)})
	}
	for i, s := range a.slots {
		for k, src := range s.sources {
			if err := src.dead.Load(); err != nil {
				r.Slots[i].Members[k].Dead = (*err).Error()
			}
		}
	}
	r.Solved, r.Unknown, r.Doubtful = a.solved.Load(), a.unknown.Load(), a.doubtful.Load()
	return r
}

var _ volume.Volume = (*Array)(nil)
