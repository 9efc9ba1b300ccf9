package redeliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"salvor/salvage/found"
)

// Results gives what a salvage has found. What it says of a finding is not relied
// on: each content is held against the ledger as one from anywhere else.
type Results struct {
	// Findings lists them; what is found.Dir's.
	Findings func(ctx context.Context, yield func(*found.Finding, error) error) error
	// Open opens the bytes of one.
	Open func(ctx context.Context, f *found.Finding) (io.ReadCloser, error)
	// Foreign: the findings are those of another incident, or of none, and their
	// claims are not this one's.
	Foreign bool
	// Damaged are the IDs of those to be delivered although they are not whole.
	Damaged []string
	// Named are the IDs of whole ones that nobody is known to miss, to be delivered
	// to User and Folder, else to those that the finding names.
	Named []string
	// User and Folder are whose those are that fit no claim; "": nobody's.
	User, Folder string
}

// ErrNobodys: nothing says whose a finding is.
var ErrNobodys = errors.New("nothing says whose it is (hint: it fits no message that is owed; say where it goes with --user and --folder)")

// Contents yields what is offered to its owner, and of the rest what was asked for.
func (r Results) Contents(ctx context.Context, yield func(Content) error) error {
	asked := map[string]bool{}
	for _, id := range r.Damaged {
		asked[id] = true
	}
	for _, id := range r.Named {
		asked[id] = true
	}
	err := r.Findings(ctx, func(f *found.Finding, err error) error {
		switch {
		case err != nil:
			return yield(Content{Place: "the list of findings", Open: func(context.Context) (io.ReadCloser, error) { return nil, err }})
		case f.Class != found.Matched && asked[f.ID]:
			delete(asked, f.ID)
			return r.asked(f, yield)
		case f.Offered():
			return yield(r.content(f))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range asked {
		return fmt.Errorf("%s: %w, or it is owed and needs no asking", id, found.ErrNoFinding)
	}
	return nil
}

func (r Results) asked(f *found.Finding, yield func(Content) error) error {
	a := &Asked{ID: f.ID, Claim: f.Claim, User: cmp.Or(r.User, f.User), Folder: cmp.Or(r.Folder, f.Folder), Missing: f.Missing, Whole: f.Class == found.Unknown}
	if r.Foreign || a.Whole {
		a.Claim = 0
	}
	if a.Claim == 0 && (a.User == "" || a.Folder == "") {
		return fmt.Errorf("finding %s: %w", f.ID, ErrNobodys)
	}
	c := r.content(f)
	c.Asked = a
	return yield(c)
}

func (r Results) content(f *found.Finding) Content {
	return Content{Place: placeOf(f), Name: f.Name, Date: f.Date, Open: func(ctx context.Context) (io.ReadCloser, error) { return r.Open(ctx, f) }}
}

// placeOf says for the ledger where something was found.
func placeOf(f *found.Finding) string {
	place := f.Source
	switch {
	case f.Inode != 0:
		place += fmt.Sprintf(" inode %d", f.Inode)
	case f.Path == "":
		place += fmt.Sprintf(" at byte %d", f.Offset)
	}
	if f.Path != "" {
		place += fmt.Sprintf(" (%s)", f.Path)
	}
	return place
}
