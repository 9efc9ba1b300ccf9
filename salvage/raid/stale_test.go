package raid

import (
	"bytes"
	"strings"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

// thrownOut makes member i of an array one that the others went on without.
func thrownOut(ms []*memory, supers []raidmaker.Super, events uint64, out ...int) {
	roles := append([]int(nil), supers[0].Roles...)
	for _, i := range out {
		roles[i] = raidmaker.Faulty
	}
	for i := range supers {
		if roles[i] == raidmaker.Faulty {
			continue
		}
		supers[i].Roles, supers[i].Events = roles, events
		supers[i].Write(ms[i].bytes)
	}
}

// stale gives an array of which member 1 is stale: it holds an old second half.
func stale(t *testing.T, version string) (ms []*memory, data, old []byte) {
	old = noise(900000, 20)
	data = bytes.Clone(old)
	copy(data[450000:], noise(450000, 21))
	before, _ := labelled(old, five, version)
	ms, supers := labelled(data, five, version)
	thrownOut(ms, supers, 150, 1)
	ms[1] = before[1]
	return ms, data, old
}

func TestAStaleMemberIsNotNeeded(t *testing.T) {
	for _, version := range versions {
		ms, data, _ := stale(t, version)
		a, err := Open(volumes(ms), Options{UseStale: true})
		if err != nil {
			t.Fatal(err)
		}
		if r := a.Report(); !r.Slots[1].Members[0].Stale || r.Slots[0].Members[0].Stale {
			t.Errorf("%s: member 1 is the stale one: %+v", version, r.Slots)
		}
		got, unknown := readAll(t, a, 100000)
		if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
			t.Errorf("%s: unknown %v", version, unknown)
		}
	}
}

func TestAStaleMemberIsTheLastResort(t *testing.T) {
	for _, version := range versions {
		ms, data, old := stale(t, version)
		hole := volume.Range{Off: map[string]int64{"1.2": 1 << 20}[version] + 120000, Len: 100000}
		ms[3].bad = []volume.Range{hole}
		a, err := Open(volumes(ms), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, unknown := readAll(t, a, 100000)
		checkKnown(t, version, got, data, unknown)
		if total(unknown) == 0 {
			t.Errorf("%s: bytes of a stale member passed for good", version)
		}
		got = make([]byte, a.Size())
		unknown, doubtful, err := a.ReadDoubtful(got, 0)
		if err != nil || len(unknown) > 0 || total(doubtful) == 0 {
			t.Fatalf("%s: unknown %v, doubtful %v, %v", version, unknown, doubtful, err)
		}
		sure := bytes.Clone(got)
		blank(sure, 0, doubtful)
		checkKnown(t, version, sure, data, doubtful)
		// Where nothing was written since, the stale member is right.
		for _, d := range within(doubtful, 0, 400000) {
			if !bytes.Equal(got[d.Off:d.End()], old[d.Off:d.End()]) {
				t.Errorf("%s: doubtful bytes at %v are neither old nor new", version, d)
			}
		}
		if r := a.Report(); r.Doubtful == 0 {
			t.Errorf("%s: the report counts no doubtful bytes", version)
		}
	}
}

// Two members of a RAID 5 thrown out one after the other: the first is stale, the
// second was there to the end.
func TestTheMemberWithoutWhichNothingRanIsFresh(t *testing.T) {
	for _, version := range versions {
		data := noise(900000, 22)
		old, _ := labelled(noise(900000, 23), five, version)
		ms, supers := labelled(data, five, version)
		thrownOut(ms, supers, 150, 1)
		thrownOut(ms, supers, 160, 1, 2)
		ms[1] = old[1]
		a, err := Open(volumes(ms), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, unknown := readAll(t, a, 100000)
		if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
			t.Errorf("%s: unknown %v", version, unknown)
		}
		r := a.Report()
		if !r.Slots[1].Members[0].Stale || r.Slots[2].Members[0].Stale || !strings.Contains(strings.Join(r.Notes, "\n"), "could not run without it") {
			t.Errorf("%s: %+v, %q", version, r.Slots, r.Notes)
		}
	}
}

func TestACloneOfLongAgoIsStale(t *testing.T) {
	old, _ := labelled(noise(900000, 24), five, "1.2")
	data := noise(900000, 25)
	ms, supers := labelled(data, five, "1.2")
	for i := range supers {
		supers[i].Events = 500
		supers[i].Write(ms[i].bytes)
	}
	old[2].name = "clone"
	a, err := Open(volumes([]*memory{old[2], ms[0], ms[1], ms[2]}), Options{UseStale: true})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, a, 100000)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("unknown %v", unknown)
	}
	if m := a.Report().Slots[2].Members; len(m) != 2 || m[0].Name != "disk2" || !m[1].Stale {
		t.Errorf("slot 2 is %+v", m)
	}
}

func TestAMemberGivenTwiceHelpsItself(t *testing.T) {
	data := noise(900000, 26)
	ms, _ := labelled(data, five, "1.2")
	half := int64(1<<20 + 160000)
	first, second := *ms[2], *ms[2]
	first.bad = []volume.Range{{Off: 1 << 20, Len: half - 1<<20 + 5000}}
	second.name = "second image"
	second.bad = []volume.Range{{Off: half + 5000, Len: half}}
	a, err := Open(volumes([]*memory{&first, ms[0], &second, ms[1]}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, a, 100000)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("unknown %v", unknown)
	}
	if notes := strings.Join(a.Report().Notes, "\n"); !strings.Contains(notes, "same disk twice") {
		t.Errorf("notes: %s", notes)
	}
}

func TestATruncatedMemberServesAsFarAsItGoes(t *testing.T) {
	data := noise(900000, 27)
	for _, known := range []bool{true, false} { // whether its old size is known
		ms, _ := labelled(data, five, "1.2")
		ms[2].size = int64(len(ms[2].bytes))
		ms[2].bytes = ms[2].bytes[:1<<20+150000]
		if !known {
			ms[2].size = 0
		}
		ms[0].bad = []volume.Range{{Off: 1 << 20, Len: 140000}}
		a, err := Open(volumes(ms), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, unknown := readAll(t, a, 100000)
		if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
			t.Errorf("size known %v: unknown %v", known, unknown)
		}
	}
}

func TestFindSortsAHeap(t *testing.T) {
	a, _ := labelled(noise(900000, 28), five, "1.2")
	b, supers := labelled(noise(900000, 29), five, "0.90")
	for i, s := range supers {
		s.UUID[0] = 0x77
		s.Write(b[i].bytes)
		b[i].name = "other" + b[i].name
	}
	plain := &memory{name: "plain", bytes: noise(1<<20, 30)}
	heap := volumes([]*memory{b[3], a[1], plain, a[0], b[1], a[3], b[0]})
	sets, rest, notes := Find(heap)
	if len(sets) != 2 || len(rest) != 1 || rest[0] != plain {
		t.Fatalf("%+v, rest %v", sets, rest)
	}
	if s := sets[0]; s.UUID[:2] != "77" || s.Level != RAID5 || len(s.Members) != 3 || s.Members[0] != 6 || s.Members[1] != 4 || s.Members[2] != 0 {
		t.Errorf("first set: %+v", s)
	}
	if s := sets[1]; s.Name != "mail:0" || len(s.Members) != 3 || s.Members[0] != 3 || s.Members[1] != 1 || s.Members[2] != 5 {
		t.Errorf("second set: %+v", s)
	}
	if n := strings.Join(notes, "\n"); strings.Count(n, "slot 2 of 4 is missing") != 2 {
		t.Errorf("notes: %s", n)
	}
	array, err := Open([]volume.Volume{a[0], a[1], b[1], a[3]}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if out := array.Report().LeftOut; len(out) != 1 || out[0].Name != "otherdisk1" || !strings.Contains(out[0].Why, "another array") {
		t.Errorf("left out: %+v", out)
	}
}
