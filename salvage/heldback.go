package salvage

import (
	"context"
	"slices"

	"salvor/catalog"
	"salvor/salvage/found"
)

// What is never offered: what the vault or its user has already, and what its user has
// deleted.

// heldByVault: the vault has these bytes, or the ledger knows the message to be
// where it belongs.
func (e *engine) heldByVault(ctx context.Context, m *message, places []place, f *found.Finding) (bool, error) {
	if e.o.Catalog == nil || len(m.missing) > 0 {
		return false, nil
	}
	if e.o.Incident != "" {
		state := catalog.ClaimState("")
		theirs, byPath := f.User, f.UserBy == "path"
		err := e.o.Catalog.Claims(ctx, catalog.ClaimQuery{Incident: e.o.Incident, SHA1: m.sha1}, func(c *catalog.Claim) error {
			if byPath && c.State == catalog.ClaimDeleted && c.User != theirs {
				return nil // somebody else deleted a copy of it
			}
			if c.Size == m.wire || c.Size == m.size {
				if err := e.learn(m.source, places, c.User, c.Folder, c.UID); err != nil {
					return err
				}
				f.User, f.Folder, f.UID, f.UserBy, f.Claim = c.User, c.Folder, c.UID, "ledger", c.ID
				if state == "" || state == catalog.ClaimDeleted {
					state = c.State
				}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		switch state {
		case "":
		case catalog.ClaimLost, catalog.ClaimJunk: // nobody has it: a person looks
			return false, nil
		case catalog.ClaimDeleted:
			f.Class, f.Grade, f.Why = found.Tombstoned, found.Verified, "the ledger knows that its user deleted it"
			return true, nil
		default:
			f.Class, f.Grade, f.Why = found.Held, found.Verified, "the ledger has it as "+string(state)
			return true, nil
		}
	}
	has, err := e.o.Catalog.HasRecords(m.id)
	if err != nil || !has {
		return false, err
	}
	f.Class, f.Grade, f.Why = found.Held, found.Verified, "the vault has it"
	if f.UserBy == "path" {
		return true, nil
	}
	return true, e.o.Catalog.RecordsOf(ctx, m.id, func(r *catalog.Record) error {
		box, ok, err := e.o.Catalog.Mailbox(r.Mailbox)
		if err != nil || !ok {
			return err
		}
		f.User, f.Folder, f.UID, f.UserBy = box.User, box.Name, r.UID, "vault"
		return catalog.ErrStop
	})
}

// deletedByUser: a user deleted it, and the vault has forgotten it for that.
func (e *engine) deletedByUser(_ context.Context, m *message, _ []place, f *found.Finding) (bool, error) {
	if e.o.Catalog == nil || len(m.missing) > 0 {
		return false, nil
	}
	users, err := e.tombs(m.id)
	if err != nil || len(users) == 0 {
		return false, err
	}
	if f.UserBy == "path" && !slices.Contains(users, f.User) {
		return false, nil // somebody else deleted a copy of it
	}
	f.Class, f.Grade, f.Why = found.Tombstoned, found.Verified, "its user deleted it"
	if f.UserBy != "path" {
		f.User, f.UserBy, f.Folder, f.UID = users[0], "vault", "", 0
	}
	return true, nil
}

// leftOfHeld: it is what is left of a message that its user has, or has deleted, as the
// ledger knows it by its Message-ID.
func (e *engine) leftOfHeld(ctx context.Context, m *message, _ []place, f *found.Finding) (bool, error) {
	if e.o.Catalog == nil || e.o.Incident == "" || !m.incomplete() || m.facts.messageID == "" {
		return false, nil
	}
	has, deleted, misses := false, false, false
	id := bareID(m.facts.messageID)
	for _, id := range []string{id, "<" + id + ">"} {
		err := e.o.Catalog.Claims(ctx, catalog.ClaimQuery{Incident: e.o.Incident, MessageID: id}, func(c *catalog.Claim) error {
			switch {
			case f.UserBy == "path" && c.User != f.User: // somebody else's copy
			case c.State == catalog.ClaimDeleted:
				deleted = true
			case c.State == catalog.ClaimOwed || c.State == catalog.ClaimLost || c.State == catalog.ClaimJunk:
				misses = true
			default:
				has = true
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	switch {
	case misses || !has && !deleted:
		return false, nil
	case has:
		f.Class, f.Why = found.Held, "what is left of a message that the ledger has"
	default:
		f.Class, f.Why = found.Tombstoned, "what is left of a message that its user deleted"
	}
	f.Grade = found.Partial
	return true, nil
}
