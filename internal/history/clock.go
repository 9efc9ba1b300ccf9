package history

import (
	"context"
	"errors"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/internal/retention"
	"salvor/internal/vault"
)

// clockRuns is how many of the last runs testify to the time.
const clockRuns = 50

// Clock judges this host's clock by the store's and by those of earlier runs.
func (h *History) Clock(ctx context.Context, host time.Time) (retention.Clock, error) {
	reading := retention.Reading{Host: host}
	now, err := h.Vault.Now(ctx)
	switch {
	case err == nil:
		reading.Store = now
	case !errors.Is(err, vault.ErrNoClock):
		return retention.Clock{}, err
	}
	var past []retention.Past
	err = h.Catalog.Runs(ctx, clockRuns, func(r *catalog.Run) error {
		past = append(past, retention.Past{Time: r.Started, Trusted: r.Clock == ""})
		return nil
	})
	if err != nil {
		return retention.Clock{}, err
	}
	slices.Reverse(past) // the catalog gives the newest first
	return retention.JudgeClock(reading, past), nil
}
