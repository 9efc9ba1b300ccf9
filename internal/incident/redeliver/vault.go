package redeliver

import (
	"bytes"
	"context"
	"io"

	"salvor/catalog"
	"salvor/chunk"
)

// A Vault gives what an incident owes and the vault has by now: a later backup
// has read it elsewhere.
type Vault struct {
	Catalog  *catalog.Catalog
	Incident string
	// Read gives a message as its store had it.
	Read func(ctx context.Context, content chunk.ID) ([]byte, error)
}

// Contents looks for every owed message whose SHA-1 is known.
func (v Vault) Contents(ctx context.Context, yield func(Content) error) error {
	q := catalog.ClaimQuery{Incident: v.Incident, State: catalog.ClaimOwed}
	for {
		var batch []catalog.Claim
		err := v.Catalog.Claims(ctx, q, func(c *catalog.Claim) error {
			if batch = append(batch, *c); len(batch) == vaultBatch {
				return catalog.ErrStop
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range batch {
			if err := v.look(&batch[i], yield); err != nil {
				return err
			}
		}
		if len(batch) < vaultBatch {
			return nil
		}
		q.After = batch[len(batch)-1].ID
	}
}

// vaultBatch is how many owed messages are in memory at a time.
const vaultBatch = 1024

func (v Vault) look(c *catalog.Claim, yield func(Content) error) error {
	if c.SHA1.IsZero() {
		return nil
	}
	id, ok, err := v.Catalog.BySHA1(c.SHA1, c.Size)
	if err != nil || !ok {
		return err
	}
	// What is there as a finding only, Results gives.
	if has, err := v.Catalog.HasRecords(id); err != nil || !has {
		return err
	}
	return yield(Content{Place: "the vault", Date: c.InternalDate, Open: func(ctx context.Context) (io.ReadCloser, error) {
		stored, err := v.Read(ctx, id)
		return io.NopCloser(bytes.NewReader(stored)), err
	}})
}
