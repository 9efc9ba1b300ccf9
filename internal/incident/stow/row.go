package stow

import (
	"fmt"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// rowOf makes the row of a finding; its content is not set.
func rowOf(f *found.Finding, salvage string) (catalog.Finding, error) {
	b, err := f.Bounded()
	if err != nil {
		return catalog.Finding{}, err
	}
	r := catalog.Finding{ID: b.ID, Salvage: salvage, Class: string(b.Class), Grade: string(b.Grade), Why: b.Why, User: b.User, UserBy: b.UserBy,
		Folder: b.Folder, UID: b.UID, Claim: b.Claim, Name: b.Name, Date: b.Date, MessageID: b.MessageID, From: b.From, Subject: b.Subject,
		Source: b.Source, How: b.How, Path: b.Path, Inode: int64(b.Inode), Offset: b.Offset, Places: int64(b.Places)}
	for _, e := range b.Extents {
		r.Extents = append(r.Extents, catalog.FindingExtent{At: e.Logical, Off: e.Off, Len: e.Len, Unwritten: e.Unwritten})
	}
	for _, m := range b.Missing {
		r.Missing = append(r.Missing, catalog.FindingGap(m))
	}
	return r, nil
}

// findingOf is the finding that a row was made of.
func findingOf(c *catalog.Catalog, r *catalog.Finding) (*found.Finding, error) {
	content, ok, err := c.Content(r.Content)
	if err == nil && !ok {
		err = errNoContent
	}
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", r.ID, err)
	}
	f := &found.Finding{ID: r.ID, Class: found.Class(r.Class), Grade: found.Grade(r.Grade), Why: r.Why, User: r.User, UserBy: r.UserBy, Folder: r.Folder,
		UID: r.UID, Claim: r.Claim, Size: r.StoredSize, WireSize: content.Size, SHA256Stored: r.Stored.String(), SHA256: r.Content.String(),
		SHA1: content.SHA1.String(), Name: r.Name, Date: r.Date, MessageID: r.MessageID, From: r.From, Subject: r.Subject, Source: r.Source, How: r.How,
		Path: r.Path, Inode: uint64(r.Inode), Offset: r.Offset, Places: int(r.Places)}
	for _, e := range r.Extents {
		f.Extents = append(f.Extents, fsys.Extent{Logical: e.At, Off: e.Off, Len: e.Len, Unwritten: e.Unwritten})
	}
	for _, m := range r.Missing {
		f.Missing = append(f.Missing, volume.Range(m))
	}
	return f, nil
}

// entryOf says what reads a finding's bytes where they lie.
func entryOf(c *catalog.Catalog, r *catalog.Finding) (*catalog.Entry, error) {
	content, ok, err := c.Content(r.Content)
	if err != nil {
		return nil, err
	}
	where, there, err := c.Locate(chunk.Ref{Kind: chunk.KindMessage, ID: r.Content})
	if err != nil {
		return nil, err
	}
	if !ok || !there {
		return nil, errNoContent
	}
	return &catalog.Entry{Record: catalog.Record{Content: r.Content, Stored: r.Stored, StoredSize: r.StoredSize, LineEnds: r.LineEnds},
		Size: content.Size, SHA1: content.SHA1, Where: where}, nil
}
