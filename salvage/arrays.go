package salvage

import (
	"context"
	"fmt"

	"salvor/salvage/raid"
	"salvor/salvage/volume"
)

// arrays puts together what the operator says is an array, and what says so itself.
func (s *Sources) arrays(ctx context.Context, spec Spec, disks []volume.Volume) ([]volume.Volume, error) {
	switch spec.RAID {
	case "none":
		return disks, nil
	case "", "auto":
		disks, fronts, err := s.hidden(ctx, disks)
		if err != nil {
			return nil, err
		}
		declared, err := s.declared(ctx, disks)
		if err != nil {
			return nil, err
		}
		all, err := s.inferred(ctx, declared)
		return append(all, fronts...), err
	}
	o, err := raidOptions(spec, disks)
	if err != nil {
		return nil, err
	}
	members, err := s.behindTables(ctx, o, disks)
	if err != nil {
		return nil, err
	}
	a, err := raid.Open(members, o)
	if err != nil {
		return nil, err
	}
	return []volume.Volume{a}, s.tell(ctx, a)
}

// declared puts together the arrays whose members say what they are.
func (s *Sources) declared(ctx context.Context, disks []volume.Volume) ([]volume.Volume, error) {
	sets, out, notes := raid.Find(disks)
	s.Notes = append(s.Notes, notes...)
	for _, set := range sets {
		var members []volume.Volume
		for _, i := range set.Members {
			members = append(members, disks[i])
		}
		a, err := raid.Open(members, raid.Options{UseStale: true})
		if err != nil {
			s.note("%v; its members are read one by one", err)
			out = append(out, members...)
			continue
		}
		if err := s.tell(ctx, a); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// inferred puts disks that say nothing together, where they are of one size, not
// each complete in itself, and parity or content shows how. Otherwise they stay
// what they are.
func (s *Sources) inferred(ctx context.Context, disks []volume.Volume) ([]volume.Volume, error) {
	var loose, out []volume.Volume
	alone := 0
	for _, v := range disks {
		if _, ok := v.(*raid.Array); ok {
			out = append(out, v)
			continue
		}
		loose = append(loose, v)
		is, err := standsAlone(ctx, v)
		if err != nil {
			return nil, err
		}
		if is {
			alone++
		}
	}
	if len(loose) < 2 || alone > 0 || !alike(loose) {
		return disks, nil
	}
	a, err := raid.Open(loose, raid.Options{UseStale: true})
	if err != nil {
		return s.loosen(ctx, disks, err)
	}
	return append(out, a), s.tell(ctx, a)
}

// standsAlone tells whether a disk holds something that fits on it: partitions, or
// a file system that does not claim to be larger. The first member of an array may
// begin as the whole array does.
func standsAlone(ctx context.Context, v volume.Volume) (bool, error) {
	parts, _ := volume.Partitions(v)
	fit := len(parts) > 0
	for _, p := range parts {
		unknown, err := p.ReadAt(make([]byte, 1), p.Size()-1)
		if err != nil {
			return false, err
		}
		fit = fit && len(unknown) == 0
	}
	if fit {
		return true, nil
	}
	return complete(ctx, v)
}

// alike tells whether disks are of one size, but for some MiB.
func alike(disks []volume.Volume) bool {
	least, most := disks[0].Size(), disks[0].Size()
	for _, v := range disks {
		least, most = min(least, v.Size()), max(most, v.Size())
	}
	return most-least <= max(16<<20, most/100)
}

func raidOptions(spec Spec, disks []volume.Volume) (o raid.Options, err error) {
	if o.Level, err = raid.ParseLevel(spec.RAID); err != nil {
		return o, wrong("%w", err)
	}
	o.UseStale = true
	o.Layout, o.Chunk = raid.Layout(spec.Layout), spec.Chunk
	if spec.DataOffset > 0 {
		o.DataOffset = []int64{spec.DataOffset}
	}
	for _, name := range spec.Order {
		at := raid.Missing
		for i, v := range disks {
			if v.Name() == name {
				at = i
			}
		}
		if at == raid.Missing && name != "missing" {
			return o, wrong("the order of the array: there is no source %q; name sources, or missing", name)
		}
		o.Order = append(o.Order, at)
	}
	return o, nil
}

// tell says what an array was understood to be, and where a sample of it contradicts
// itself: what of that is right nobody can tell but by the mail's own hashes.
func (s *Sources) tell(ctx context.Context, a *raid.Array) error {
	r := a.Report()
	s.note("%s: %d members, %d missing", a.Name(), len(r.Slots), r.Missing())
	s.Notes = append(append(s.Notes, r.Inferred...), r.Notes...)
	for _, slot := range r.Slots {
		for _, m := range slot.Members {
			if m.Stale {
				s.note("%s is stale: the array went on without it; it is used only where nothing better is left", m.Name)
			}
		}
	}
	for _, l := range r.LeftOut {
		s.note("%s is not used: %s", l.Name, l.Why)
	}
	c, err := a.Check(ctx, raid.CheckOptions{Samples: arraySamples})
	if c.Contradicted == 0 || err != nil {
		return err
	}
	where := ""
	for _, x := range c.Contradictions[:min(len(c.Contradictions), 3)] {
		where += fmt.Sprintf(", %d-%d", x.Range.Off, x.Range.End()-1)
		if x.Slot >= 0 {
			where += fmt.Sprintf(" (member %d is wrong)", x.Slot)
		}
	}
	s.note("%s contradicts itself: of %d bytes of each member that were compared, %d do not fit to the others'%s", a.Name(), c.Bytes, c.Contradicted, where)
	return nil
}

// arraySamples is how many stretches of an array are compared when it is opened: some
// MiB of each member.
const arraySamples = 32
