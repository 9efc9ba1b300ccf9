package raid

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"salvor/salvage/volume"
)

// Missing in an order is a place that no member serves.
const Missing = -1

// Options say what is known about an array better than its members know it. What
// is zero is taken from superblocks, else inferred.
type Options struct {
	Level  Level
	Layout Layout
	Chunk  int64 // bytes
	// Order gives, for every slot, the index of its member, or Missing.
	Order []int
	// DataOffset is where the data of the members begins, in bytes: one for all, or
	// one for each.
	DataOffset []int64
	// MemberSize is how many bytes of every member belong to the array.
	MemberSize int64

	// IgnoreSuperblocks is for members whose superblocks are known to lie: they have
	// been created over, or belong to an array that is gone.
	IgnoreSuperblocks bool
	// UseStale lets ReadAt take bytes of stale members for good where nothing
	// better is left.
	UseStale bool
	// Samples bounds how many places inference looks at; 0 is a number that takes
	// some seconds on disks.
	Samples int
}

// ErrUnsure is wrapped by errors that list the candidates among which the caller
// has to choose.
var ErrUnsure = errors.New("it is not sure how these members make an array")

// ErrOptions is what options are that contradict themselves, or each other.
var ErrOptions = errors.New("what is said of the array makes no sense")

// wrongOptions is an error that is ErrOptions, in words of its own.
type wrongOptions struct{ error }

func (wrongOptions) Is(target error) bool { return target == ErrOptions }

// A decision is all that it takes to put an array together.
type decision struct {
	level  Level
	layout int   // md's number
	chunk  int64 // bytes
	room   int64 // bytes of every member; 0 where each has its own
	slots  []*slot
	report Report
}

// Open puts the members of one array together. They may be given in any order,
// some may be missing, be given twice or belong to other arrays: the Report says
// what was made of each. On success the array owns the members and closes them.
func Open(members []volume.Volume, o Options) (*Array, error) {
	if len(members) == 0 || len(members) > maxMembers {
		return nil, fmt.Errorf("open array: %d members; 1 to %d can be an array", len(members), maxMembers)
	}
	if err := o.check(len(members)); err != nil {
		return nil, fmt.Errorf("open array: %w", err)
	}
	d, err := decide(members, o)
	if err != nil {
		return nil, fmt.Errorf("open array: %w", err)
	}
	a, err := d.build(members)
	if err != nil {
		return nil, fmt.Errorf("open array: %w", err)
	}
	a.useStale = o.UseStale
	return a, nil
}

// check refuses options that contradict themselves.
func (o *Options) check(members int) error {
	if err := o.contradiction(members); err != nil {
		return wrongOptions{err}
	}
	return nil
}

func (o *Options) contradiction(members int) error {
	if o.Layout != "" && o.Level != "" {
		if _, err := o.Layout.number(o.Level); err != nil {
			return err
		}
	}
	if o.Chunk < 0 || o.Chunk > maxChunk || o.Chunk%512 != 0 {
		return fmt.Errorf("chunk size %d is not a multiple of 512 up to %d", o.Chunk, maxChunk)
	}
	if n := len(o.DataOffset); n > 1 && n != members {
		return fmt.Errorf("%d data offsets for %d members: one for all, or one for each", n, members)
	}
	for _, off := range o.DataOffset {
		if off < 0 || off > maxSize {
			return fmt.Errorf("data offset %d is no place in a member", off)
		}
	}
	if o.MemberSize < 0 || o.MemberSize > maxSize {
		return fmt.Errorf("member size %d is no size", o.MemberSize)
	}
	if len(o.Order) > maxMembers {
		return fmt.Errorf("an order of %d places; %d are the most", len(o.Order), maxMembers)
	}
	seen := map[int]bool{}
	for _, m := range o.Order {
		if m == Missing {
			continue
		}
		if m < 0 || m >= members || seen[m] {
			return fmt.Errorf("order %v: every member that is named is one of 0 to %d, once", o.Order, members-1)
		}
		seen[m] = true
	}
	return nil
}

// offset is the data offset that was given for a member.
func (o *Options) offset(member int) (int64, bool) {
	switch len(o.DataOffset) {
	case 0:
		return 0, false
	case 1:
		return o.DataOffset[0], true
	}
	return o.DataOffset[member], true
}

// decide takes superblocks, or what was given, or infers.
func decide(members []volume.Volume, o Options) (*decision, error) {
	var notes []string
	if !o.IgnoreSuperblocks {
		supers := make([]*super, len(members))
		found := false
		for i, m := range members {
			var n []string
			supers[i], n = readSuper(m)
			notes = append(notes, n...)
			found = found || supers[i] != nil
		}
		if found {
			d, err := assemble(members, supers, o)
			if err == nil {
				d.report.Notes = append(d.report.Notes, notes...)
			}
			return d, err
		}
	}
	if o.complete() {
		return told(members, o)
	}
	return infer(members, o)
}

// complete says whether the options leave nothing to infer.
func (o *Options) complete() bool {
	switch o.Level {
	case "":
		return false
	case RAID1:
		return o.DataOffset != nil
	case Linear:
		return o.Order != nil
	case RAID0, RAID4:
		return o.Order != nil && o.Chunk > 0
	}
	return o.Order != nil && o.Chunk > 0 && o.Layout != ""
}

// told puts together what the options say.
func told(members []volume.Volume, o Options) (*decision, error) {
	layout, err := o.Layout.number(o.Level)
	if err != nil {
		return nil, err
	}
	d := &decision{level: o.Level, layout: layout, chunk: o.Chunk, room: o.MemberSize}
	order := o.Order
	if order == nil {
		for i := range members {
			order = append(order, i)
		}
	}
	for _, m := range order {
		s := &slot{}
		if m != Missing {
			start, _ := o.offset(m)
			s.sources = []*source{{vol: members[m], member: m, start: start, room: max(0, members[m].Size()-start)}}
		}
		d.slots = append(d.slots, s)
	}
	for i, m := range members {
		if !slices.Contains(order, i) {
			d.report.LeftOut = append(d.report.LeftOut, LeftOut{i, m.Name(), "the order that was given does not name it"})
		}
	}
	return d, d.size()
}

// size settles how much of every member belongs to the array. A member that was
// cut off must not cost what the others can still derive, so the size is that of
// the smallest member that is needed for reading everything.
func (d *decision) size() error {
	if d.room > 0 || d.level == RAID0 || d.level == Linear {
		return nil
	}
	var rooms []int64
	for _, s := range d.slots {
		room := int64(0)
		for _, src := range s.sources {
			room = max(room, src.room)
		}
		rooms = append(rooms, room)
	}
	slices.Sort(rooms)
	at := min(d.spare(), len(rooms)-1)
	for d.level == RAID10 && rooms[at] == 0 && at < len(rooms)-1 {
		at++ // one of each pair may be missing
	}
	d.room = rooms[at]
	if d.room == 0 {
		return errors.New("there are too few members to tell the size of the array; give it")
	}
	return nil
}

// spare is how many members an array surely does without.
func (d *decision) spare() int {
	switch d.level {
	case RAID1:
		return len(d.slots) - 1
	case RAID4, RAID5:
		return 1
	case RAID6:
		return 2
	case RAID10:
		return max(0, d.layout&0xff*(d.layout>>8&0xff)-1)
	}
	return 0
}

// build makes the array.
func (d *decision) build(members []volume.Volume) (*Array, error) {
	a := &Array{slots: d.slots, members: members}
	if err := d.placement(a); err != nil {
		return nil, err
	}
	if a.place.size() <= 0 {
		return nil, fmt.Errorf("a %s of %d members with %d bytes each holds nothing", d.level, len(d.slots), d.room)
	}
	r := d.report
	r.Level, r.Chunk, r.Size = d.level, a.place.chunkSize(), a.place.size()
	r.Layout = layoutName(d.level, d.layout)
	var names []string
	for _, s := range d.slots {
		var in Slot
		slices.SortStableFunc(s.sources, func(x, y *source) int { return x.tier - y.tier })
		for _, src := range s.sources {
			if d.room > 0 {
				src.room = min(src.room, d.room)
			}
			a.tiers = max(a.tiers, src.tier)
			in.Members = append(in.Members, src.describe(d))
		}
		r.Slots = append(r.Slots, in)
		if len(s.sources) == 0 {
			names = append(names, "missing")
		} else {
			names = append(names, s.sources[0].vol.Name())
		}
	}
	if r.Missing() == len(r.Slots) {
		return nil, errors.New("every member is missing")
	}
	a.name = string(d.level) + " of " + strings.Join(names, ", ")
	a.report = r
	return a, nil
}

func (s *source) describe(d *decision) Member {
	m := Member{Index: s.member, Name: s.vol.Name(), Offset: s.start, Size: s.room, Stale: s.tier > 0, Bad: total(s.bad)}
	if s.super != nil {
		m.Events = s.super.events
	}
	return m
}

// placement chooses the arithmetic.
func (d *decision) placement(a *Array) error {
	n := len(d.slots)
	striped := d.level != RAID1 && d.level != Linear
	if striped && d.chunk < 512 {
		return fmt.Errorf("the chunk size of a %s must be known; give it", d.level)
	}
	var err error
	switch d.level {
	case RAID1:
		a.place = mirrors{n, d.room}
	case Linear, RAID0:
		var rooms []int64
		if rooms, err = d.rooms(); err != nil {
			return err
		}
		if d.level == Linear {
			a.place = newConcat(rooms)
			return nil
		}
		a.place = newZones(rooms, d.chunk, d.layout)
	case RAID10:
		a.place, err = newTens(d.layout, n, d.chunk, d.room)
	case RAID4, RAID5, RAID6:
		if a.stripes, err = newStripes(d.level, d.layout, n, d.chunk, d.room/d.chunk); err == nil {
			a.place = a.stripes
		}
	default:
		return fmt.Errorf("level %q is not supported", d.level)
	}
	return err
}

// rooms gives the room of every slot, of a level on which each has its own.
func (d *decision) rooms() ([]int64, error) {
	rooms, least := make([]int64, len(d.slots)), int64(0)
	for i, s := range d.slots {
		if len(s.sources) == 0 {
			continue
		}
		rooms[i] = s.sources[0].room
		if d.room > 0 {
			rooms[i] = d.room
		}
		if d.chunk > 0 {
			rooms[i] -= rooms[i] % d.chunk
		}
		if least == 0 || rooms[i] < least {
			least = rooms[i]
		}
	}
	for i, s := range d.slots {
		if len(s.sources) > 0 {
			continue
		}
		if d.level == Linear && d.room == 0 {
			return nil, fmt.Errorf("member %d of a linear array is missing: what lies behind it cannot be placed; give the size of the members", i)
		}
		rooms[i] = least
		if d.room > 0 {
			rooms[i] = d.room
		}
	}
	return rooms, nil
}
