package incident

import (
	"context"

	"salvor/catalog"
	"salvor/chunk"
)

// Keep stores the bytes of a finding, as they were found, and its row, whose Content
// and Stored are set by it. envelope fills in what a content is searched by.
// Only in a change made by Ledger.Store.
func (e *Edit) Keep(f catalog.Finding, stored []byte, envelope func(*catalog.Content, []byte)) error {
	if e.store == nil {
		store, err := e.change.Store(e.ctx)
		if err != nil {
			return err
		}
		e.store = store
	}
	return e.store.Put(stored, envelope, func(m *chunk.Message) error {
		f.Content, f.Stored, f.StoredSize, f.LineEnds = m.ID, m.Stored, m.StoredSize, m.LineEnds
		return e.PutFinding(f)
	})
}

// PutFinding writes a finding whose content is in the vault, in the place of the one
// that has its ID.
func (e *Edit) PutFinding(f catalog.Finding) error {
	f.Incident = e.incident.Name
	old, ok, err := e.tx.Finding(f.Incident, f.ID)
	if err != nil {
		return err
	}
	if err := e.tx.Put(f); err != nil {
		return err
	}
	if ok && old.Content != f.Content {
		return e.tx.DropContent(old.Content)
	}
	return nil
}

// DropFinding removes a finding, and its content where nothing else has that.
func (e *Edit) DropFinding(f catalog.Finding) error {
	f.Incident = e.incident.Name
	if err := e.tx.Delete(f); err != nil {
		return err
	}
	return e.tx.DropContent(f.Content)
}

// Findings lists what was found for the incident, by ID. The ledger must not be
// changed inside yield.
func (l *Ledger) Findings(ctx context.Context, q catalog.FindingQuery, yield func(*catalog.Finding) error) error {
	q.Incident = l.o.Name
	return l.h.Catalog.Findings(ctx, q, yield)
}
