package upkeep

import (
	"context"
	"slices"
	"sync"

	"salvor/internal/parity"
	"salvor/internal/vault"
)

// scrub looks at what lies on the targets of a vault with parity, before its
// objects are looked at: what parity can put right is no damage to them. It
// needs no key. What it cannot put together it leaves in hopeless for the rest
// of the check, which names the messages.
func (c *checker) scrub(ctx context.Context, past past) error {
	c.hopeless = map[string]parity.Finding{}
	o := vault.ScrubOptions{Repair: c.o.Repair, Deep: c.due, Named: func(o vault.Object) bool {
		_, waits := past.waiting[vault.Object{Kind: o.Kind, ID: o.ID}]
		return past.named(o) && !waits
	}}
	c.o.Meter.Stage("scrub")
	var mu sync.Mutex
	o.Done = func(bytes int64) {
		mu.Lock()
		defer mu.Unlock()
		c.report.BytesRead += bytes
		c.o.Meter.Add(1, bytes)
	}
	var blank []string
	for _, t := range c.h.Vault.Troubles() {
		if t.Blank {
			blank = append(blank, t.Target)
		}
	}
	filled, err := c.h.Vault.Scrub(ctx, o, func(f parity.Finding) error {
		switch {
		case f.Target == "" && f.Err == nil:
			c.hopeless[f.Object] = f
		case f.Target == "":
			c.noteTarget(f.Object, f.What, f)
		default:
			c.noteTarget(f.Object+" on target "+f.Target, f.What, f)
		}
		return nil
	})
	for _, label := range blank {
		c.noteTarget("target "+label, "is empty", parity.Finding{Repaired: slices.Contains(filled, label)})
	}
	return err
}

// noteTarget notes what is wrong on one target: the object itself can be read,
// so no message is affected.
func (c *checker) noteTarget(object, what string, f parity.Finding) {
	d := Damage{Object: object, What: what}
	if f.Err != nil {
		d.What += ", and could not be repaired: " + f.Err.Error()
	}
	if slices.ContainsFunc(c.report.Damaged, func(o Damage) bool { return o.Object == object }) {
		return
	}
	c.report.Damaged = append(c.report.Damaged, d)
	if f.Repaired {
		c.report.Repaired = append(c.report.Repaired, object)
	}
}

// unreadable notes an object that scrub could not put together; false for any
// other one.
func (c *checker) unreadable(ctx context.Context, o vault.Object) (bool, error) {
	f, ok := c.hopeless[o.Name()]
	if !ok {
		return false, nil
	}
	if f.Lost {
		return true, c.damaged(ctx, o, missingObject+": "+f.What, bytesAbsent)
	}
	return true, c.damaged(ctx, o, f.What, bytesWrong)
}
