package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/internal/vault"
)

// healFrom fetches what was found damaged or missing from a second copy of the
// vault, and puts it in its place. It needs no key: the hash that is an
// object's name says what is right. What the other copy has not got either
// stays as it is.
func (c *checker) healFrom(ctx context.Context) error {
	if c.o.Second == nil || len(c.broken) == 0 {
		return nil
	}
	c.o.Meter.Stage("repair")
	for _, o := range c.broken {
		healed, err := c.healOne(ctx, o)
		if err != nil {
			return fmt.Errorf("repair %s: %w", o.Name(), err)
		}
		if healed {
			c.repaired(o)
		}
		c.o.Meter.Add(1, o.Size)
	}
	return nil
}

func (c *checker) healOne(ctx context.Context, o vault.Object) (bool, error) {
	b, err := c.o.Second.Fetch(ctx, o)
	var damage *vault.DamageError
	if errors.As(err, &damage) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, c.h.Vault.Place(ctx, o, b)
}

// repaired takes back what was noted of a damaged object: a pack's mark is
// cleared, and nothing of it is lost.
func (c *checker) repaired(o vault.Object) {
	c.report.Repaired = append(c.report.Repaired, o.Name())
	c.report.Lost = slices.DeleteFunc(c.report.Lost, func(d Damage) bool { return d.Object == o.Name() })
	if o.Kind == vault.ObjectPack {
		c.verdicts[o.ID] = ""
	} else {
		c.journals--
	}
}
