package raid

import (
	"errors"
	"fmt"
	"slices"

	"salvor/salvage/volume"
)

// assemble puts an array together by its superblocks; supers[i] is that of member
// i, nil if it has none.
func assemble(members []volume.Volume, supers []*super, o Options) (*decision, error) {
	d := &decision{}
	mine := d.choose(members, supers)
	head := newest(mine)
	if head.reshape && o.Order == nil {
		return nil, fmt.Errorf("array %s was changing its shape when it stopped (reshape): two layouts are in use at once, which salvor cannot read; "+
			"let mdadm finish the reshape on copies of the disks, or give level, layout, chunk size and order of the part that you want", head.id())
	}
	if err := d.shape(head, o); err != nil {
		return nil, err
	}
	d.report.Metadata, d.report.UUID, d.report.Name = head.version, head.id(), head.name
	d.remark(head)

	order := map[int]int{} // member -> slot, where it was given
	for slot, m := range o.Order {
		order[m] = slot
	}
	n := head.disks
	if o.Order != nil {
		n = len(o.Order)
	}
	for range n {
		d.slots = append(d.slots, &slot{})
	}
	var sources []*source
	var lost []int
	for i, s := range supers {
		at, given := order[i]
		switch {
		case o.Order != nil && !given:
			d.leave(members, i, "the order that was given does not name it")
		case given:
			src := newSource(members, i, s, o)
			sources = append(sources, src)
			d.slots[at].sources = append(d.slots[at].sources, src)
		case s == nil:
			lost = append(lost, i)
		case !slices.Contains(mine, s):
		case s.role < 0:
			d.leave(members, i, idle(s.role))
		default:
			src := newSource(members, i, s, o)
			sources = append(sources, src)
			d.slots[s.role].sources = append(d.slots[s.role].sources, src)
		}
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("array %s: none of the members given holds data of it", head.id())
	}
	d.age(head, sources)
	d.adopt(members, lost, head, o)
	return d, d.size()
}

// choose takes the array that most members belong to; the others are left out.
func (d *decision) choose(members []volume.Volume, supers []*super) (mine []*super) {
	count := map[[16]byte][]*super{}
	var best [16]byte
	for _, s := range supers {
		if s == nil {
			continue
		}
		count[s.uuid] = append(count[s.uuid], s)
		if best == ([16]byte{}) || len(count[s.uuid]) > len(count[best]) {
			best = s.uuid
		}
	}
	for i, s := range supers {
		if s != nil && s.uuid != best {
			d.leave(members, i, fmt.Sprintf("it belongs to another array, %s", s.id()))
		}
	}
	return count[best]
}

func (d *decision) leave(members []volume.Volume, i int, why string) {
	d.report.LeftOut = append(d.report.LeftOut, LeftOut{i, members[i].Name(), why})
}

// idle says why a member without a slot holds nothing.
func idle(role int) string {
	switch role {
	case roleSpare:
		return "it is a spare: it holds no data"
	case roleJournal:
		return "it is the array's journal; what was only written there is not used"
	}
	return "its own superblock calls it faulty"
}

// shape takes level, layout, chunk and size from the superblock, unless told.
func (d *decision) shape(head *super, o Options) (err error) {
	d.level, d.layout, d.chunk, d.room = head.level, head.layout, head.chunk, head.room
	if o.Level != "" && o.Level != d.level {
		d.level, d.layout = o.Level, 0
		if o.Layout == "" && (o.Level == RAID5 || o.Level == RAID6) {
			d.layout = leftSymmetric
		}
	}
	if d.level == "" {
		return fmt.Errorf("array %s has level %d, which salvor does not know", head.id(), head.number)
	}
	if o.Layout != "" {
		if d.layout, err = o.Layout.number(d.level); err != nil {
			return err
		}
	}
	switch d.level {
	case RAID5, RAID6:
		name := layoutName(d.level, d.layout)
		if _, err := name.number(d.level); err != nil {
			return fmt.Errorf("array %s: %w", head.id(), err)
		}
	case RAID1, RAID4, Linear:
		d.layout = 0
	}
	if o.Chunk > 0 {
		d.chunk = o.Chunk
	}
	if o.MemberSize > 0 {
		d.room = o.MemberSize
	}
	return nil
}

// remark notes what the superblock says about the state of the array.
func (d *decision) remark(head *super) {
	if head.dirty && d.level != RAID0 && d.level != Linear {
		d.report.Notes = append(d.report.Notes,
			"the array was not shut down cleanly, or never finished its first synchronisation: rows that were being written may contradict themselves (Check finds them)")
	}
	const journal, log = 512, 1024 | 2048
	if head.features&journal != 0 {
		d.report.Notes = append(d.report.Notes, "the array had a journal: the last writes may be on it only")
	}
	if head.features&log != 0 {
		d.report.Notes = append(d.report.Notes, "the array had a partial parity log, which is not used: rows that were being written may contradict themselves")
	}
}

// newSource is a member as its superblock, if it has one, describes it.
func newSource(members []volume.Volume, i int, s *super, o Options) *source {
	src := &source{vol: members[i], member: i, super: s, room: members[i].Size()}
	if s != nil {
		src.start, src.bad = s.start, s.bad
		src.room = max(0, min(s.own, src.room-src.start))
	}
	if off, ok := o.offset(i); ok {
		src.start = off
		src.room = max(0, members[i].Size()-off)
	}
	if o.MemberSize > 0 {
		src.room = max(0, min(members[i].Size()-src.start, o.MemberSize))
	}
	if s != nil && s.rebuilt >= 0 {
		src.room = min(src.room, s.rebuilt)
	}
	return src
}

// age finds the stale members: those that the newest superblock does not count as
// active, or that lag behind it. But an array does not run with too few members:
// those without whom it could not have gone on were its members to the end, and
// are taken as fresh, the last to leave first (as mdadm --assemble --force does).
func (d *decision) age(head *super, sources []*source) {
	active := head.active()
	var stale []*source
	for _, src := range sources {
		s := src.super
		if s == nil {
			continue
		}
		if !head.believes(s) || s.events+1 < head.events || s.catchUp {
			stale = append(stale, src)
		}
	}
	slices.SortStableFunc(stale, func(a, b *source) int { return -cmpUint(a.super.events, b.super.events) })
	var last *super
	for len(stale) > 0 {
		s := stale[0].super
		enough := d.runs(active)
		same := last != nil && s.events+1 >= last.events
		if s.catchUp || enough && !same {
			break
		}
		if !enough {
			last = s
		}
		if s.role >= 0 {
			active[s.role] = true
		}
		stale = stale[1:]
		d.report.Notes = append(d.report.Notes, fmt.Sprintf(
			"member %s was thrown out with %d events when the newest had %d, but the array could not run without it: nothing was written since, it is taken as fresh",
			sources[slices.IndexFunc(sources, func(x *source) bool { return x.super == s })].vol.Name(), s.events, head.events))
	}
	tier := 0
	for i, src := range stale {
		if i == 0 || src.super.events < stale[i-1].super.events {
			tier++
		}
		src.tier = tier
		d.report.Notes = append(d.report.Notes, fmt.Sprintf("member %s is stale: %d events, the newest has %d", src.vol.Name(), src.super.events, head.events))
	}
	d.twins()
}

// runs says whether the array could have run with these slots alone.
func (d *decision) runs(active map[int]bool) bool {
	if d.level == RAID10 {
		t, err := newTens(d.layout, len(d.slots), max(d.chunk, 512), max(d.room, 1))
		if err != nil {
			return true
		}
		for _, set := range t.sets() {
			if !slices.ContainsFunc(set, func(slot int) bool { return active[slot] }) {
				return false
			}
		}
		return true
	}
	return len(active) >= len(d.slots)-d.spare()
}

// twins notes members that serve one slot together.
func (d *decision) twins() {
	for i, s := range d.slots {
		for _, src := range s.sources[min(1, len(s.sources)):] {
			what := "both serve it"
			if first := s.sources[0].super; first != nil && src.super != nil && first.device == src.super.device && first.events == src.super.events {
				what = "they are the same disk twice"
			}
			d.report.Notes = append(d.report.Notes, fmt.Sprintf("slot %d: %s and %s, %s", i, s.sources[0].vol.Name(), src.vol.Name(), what))
		}
	}
}

// adopt finds the places of members without a superblock: those that nobody else
// has, tried out by parity.
func (d *decision) adopt(members []volume.Volume, lost []int, head *super, o Options) {
	for _, i := range lost {
		slot, err := d.placeFor(members, i, head, o)
		if err != nil {
			d.leave(members, i, err.Error())
			continue
		}
		d.report.Inferred = append(d.report.Inferred, fmt.Sprintf("member %s has no superblock; parity puts it in slot %d", members[i].Name(), slot))
	}
}

var errNoSuperblock = errors.New("it has no superblock, and parity does not tell its place")
