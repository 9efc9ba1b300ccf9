package parity

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/objstore"
	"salvor/internal/objstore/faulty"
	"salvor/internal/objstore/storetest"
)

// lab is a store over targets in memory, which a test damages.
type lab struct {
	t *testing.T
	*Store
	disks []*memory
	rnd   *rand.Rand
}

func newLab(t *testing.T, l Layout) *lab {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	b := &lab{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	for range l.Targets {
		b.disks = append(b.disks, newMemory())
	}
	b.open(l, nil)
	return b
}

// open opens the store anew, as another process would; away are targets that
// it does not reach, blank ones that were replaced.
func (b *lab) open(l Layout, away []int, blank ...int) {
	var targets []Target
	for i, d := range b.disks {
		target := Target{Label: fmt.Sprintf("disk%d", i+1), Store: d, Blank: slices.Contains(blank, i)}
		if slices.Contains(away, i) {
			target.Store, target.Err = nil, objstore.ErrUnavailable
		}
		targets = append(targets, target)
	}
	b.Store = newStore(b.t, Options{Layout: l, Targets: targets})
}

func (b *lab) put(name string, body []byte) {
	b.t.Helper()
	if err := b.Put(b.t.Context(), name, body); err != nil {
		b.t.Fatal(err)
	}
}

// want reads an object whole and by random ranges.
func (b *lab) want(name string, body []byte) {
	b.t.Helper()
	got, err := b.Get(b.t.Context(), name, 0, -1)
	if err != nil || !bytes.Equal(got, body) {
		b.t.Fatalf("get %s: %d bytes, %v; want %d", name, len(got), err, len(body))
	}
	for range 20 {
		off := b.rnd.Int64N(int64(len(body)) + 1)
		n := b.rnd.Int64N(int64(len(body)) + 1 - off)
		got, err := b.Get(b.t.Context(), name, off, n)
		if err != nil || !bytes.Equal(got, body[off:off+n]) {
			b.t.Fatalf("get %d bytes of %s from %d: %d bytes, %v", n, name, off, len(got), err)
		}
	}
}

func (b *lab) scrub(o ScrubOptions) (findings []Finding, filled []int) {
	b.t.Helper()
	filled, err := b.Scrub(b.t.Context(), o, func(f Finding) error {
		findings = append(findings, f)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return findings, filled
}

// healthy checks that a deep look finds nothing.
func (b *lab) healthy() {
	b.t.Helper()
	if f, _ := b.scrub(deep()); len(f) > 0 {
		b.t.Fatalf("still something wrong: %+v", f)
	}
}

func deep() ScrubOptions {
	return ScrubOptions{Deep: func(string) bool { return true }, Workers: 2}
}

func repair() ScrubOptions { o := deep(); o.Repair = true; return o }

// flip damages n bytes of a share at random places.
func (b *lab) flip(disk int, name string, n int) {
	share := b.disks[disk].objects[name]
	for range n {
		share[b.rnd.IntN(len(share))] ^= byte(1 + b.rnd.IntN(255))
	}
}

// TestRotOnEveryTarget damages other blocks of every share: each row has
// enough that is good.
func TestRotOnEveryTarget(t *testing.T) {
	l := layout(4, 2, 6)
	b := newLab(t, l)
	body := storetest.Bytes(1, 1<<20)
	b.put("packs/x", body)
	turn := l.turn("packs/x")
	for disk, d := range b.disks {
		share := d.objects["packs/x"]
		row := disk * 7
		for i := range 2 { // two rows of each, no row in more than two shards
			share[headerSize+(row+i*3)*(BlockSize+sumSize)+5] ^= 1
		}
	}
	b.want("packs/x", body)
	f, _ := b.scrub(repair())
	if len(f) != 6 {
		t.Errorf("%d findings, want one for each target: %+v", len(f), f)
	}
	for _, one := range f {
		if !one.Repaired || !strings.Contains(one.What, "2 damaged blocks") {
			t.Errorf("finding %+v", one)
		}
	}
	b.healthy()
	b.want("packs/x", body)
	for disk, d := range b.disks {
		if len(d.names(asidePrefix("packs/x"))) != 1 {
			t.Errorf("disk %d of turn %d kept %v of the damaged share", disk+1, turn, d.names(""))
		}
	}
	if err := b.Delete(t.Context(), "packs/x"); err != nil {
		t.Fatal(err)
	}
	for _, d := range b.disks {
		if left := d.names(""); len(left) > 0 {
			t.Errorf("after Delete there is still %v", left)
		}
	}
}

// TestRandomDamage loses, cuts, and spoils shares as far as the layout bears,
// over many sizes, and heals them.
func TestRandomDamage(t *testing.T) {
	for _, l := range []Layout{layout(1, 1, 2), layout(4, 2, 6), layout(4, 2, 3), layout(3, 3, 4), layout(17, 3, 5), layout(2, 1, 1)} {
		t.Run(fmt.Sprintf("%v on %d", l, l.Targets), func(t *testing.T) {
			b := newLab(t, l)
			for _, size := range []int{0, 1, 3, 4, 100, 4095, 4096, 4097, 16384, 16385, 70000, 300000} {
				name := fmt.Sprintf("packs/%d", size)
				body := storetest.Bytes(uint64(size), size)
				b.put(name, body)
				b.want(name, body)
				read, _ := l.MayLose()
				for _, disk := range b.rnd.Perm(l.Targets)[:read] {
					d := b.disks[disk]
					if d.objects[name] == nil {
						continue
					}
					switch b.rnd.IntN(4) {
					case 0:
						delete(d.objects, name)
					case 1:
						d.objects[name] = d.objects[name][:b.rnd.IntN(len(d.objects[name]))]
					case 2:
						b.flip(disk, name, 1+b.rnd.IntN(50))
					case 3:
						d.objects[name] = bytes.Clone(b.disks[(disk+1)%l.Targets].objects[name])
					}
				}
				b.open(l, nil)
				b.want(name, body)
				b.scrub(repair())
				b.healthy()
				b.want(name, body)
			}
		})
	}
}

// TestTargetThatLies has one target with sound checksums and wrong bytes.
func TestTargetThatLies(t *testing.T) {
	l := layout(4, 2, 6)
	b := newLab(t, l)
	body := storetest.Bytes(3, 100000)
	b.put("packs/x", body)
	other := bytes.Clone(body)
	other[70000] ^= 1
	shares, err := b.encode("packs/x", b.describeBody("", other), other)
	if err != nil {
		t.Fatal(err)
	}
	liar := l.slot(l.turn("packs/x"), 2)
	o := b.object("packs/x", b.describeBody("", body))
	// The liar forges the header and the checksums, too.
	share := shares[liar]
	copy(share, header{meta: o.meta, first: 2, targets: 6}.marshal())
	w := o.newWindow(0, o.rows())
	b.object("packs/x", b.describeBody("", other)).open(w, 2, share[headerSize:])
	for row := int64(0); row < o.rows(); row++ {
		at := headerSize + row*(BlockSize+sumSize) + int64(len(w.row(row)))
		sum := o.check.sum(2, row, w.row(row))
		share[at], share[at+1], share[at+2], share[at+3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	}
	b.disks[liar].objects["packs/x"] = share
	if got, err := b.Get(t.Context(), "packs/x", 0, -1); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("get: %d bytes, %v", len(got), err)
	}
	f, _ := b.scrub(repair())
	if len(f) != 1 || !f[0].Repaired || f[0].Target != fmt.Sprintf("disk%d", liar+1) || !strings.Contains(f[0].What, "wrong bytes") {
		t.Errorf("findings %+v", f)
	}
	b.healthy()
}

// TestMirrorThatLies is about a layout in which a single shard is all of the
// object.
func TestMirrorThatLies(t *testing.T) {
	l := layout(1, 1, 2)
	b := newLab(t, l)
	body := storetest.Bytes(3, 10000)
	b.put("packs/x", body)
	other := bytes.Clone(body)
	other[7000] ^= 1
	m := b.describeBody("packs/x", body) // the lie is in the bytes only
	shares, err := b.encode("packs/x", m, other)
	if err != nil {
		t.Fatal(err)
	}
	liar := l.slot(l.turn("packs/x"), 0)
	b.disks[liar].objects["packs/x"] = shares[liar]
	if got, err := b.Get(t.Context(), "packs/x", 0, -1); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("get: %d bytes, %v", len(got), err)
	}
	f, _ := b.scrub(repair())
	if len(f) != 1 || !f[0].Repaired {
		t.Errorf("findings %+v", f)
	}
	b.healthy()
}

// TestHeaderThatLies has a share that says it belongs to a huge object.
func TestHeaderThatLies(t *testing.T) {
	l := layout(2, 1, 3)
	b := newLab(t, l)
	body := storetest.Bytes(3, 10000)
	b.put("packs/x", body)
	for slot, d := range b.disks {
		m := b.describeBody("packs/x", body)
		m.size = objstore.MaxSize
		share := d.objects["packs/x"]
		if slot != l.slot(l.turn("packs/x"), 2) {
			copy(share, header{meta: m, first: l.shards(l.turn("packs/x"), slot)[0], targets: 3}.marshal())
		}
	}
	b.open(l, nil)
	f, _ := b.scrub(repair())
	if len(f) != 2 || !f[0].Repaired || !f[1].Repaired {
		t.Errorf("findings %+v", f)
	}
	b.want("packs/x", body)
	b.healthy()
}

// TestBeyondParity loses one shard too many.
func TestBeyondParity(t *testing.T) {
	l := layout(4, 2, 6)
	b := newLab(t, l)
	b.put("packs/x", storetest.Bytes(3, 100000))
	b.put("packs/y", storetest.Bytes(4, 100000))
	for _, d := range b.disks[1:4] {
		delete(d.objects, "packs/x")
	}
	b.open(l, nil)
	if _, err := b.Get(t.Context(), "packs/x", 0, -1); !errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, objstore.ErrDamaged) {
		t.Errorf("get: %v", err)
	}
	if _, err := b.Stat(t.Context(), "packs/x"); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	f, _ := b.scrub(repair())
	if len(f) != 1 || !f[0].Lost || f[0].Repaired {
		t.Errorf("findings %+v", f)
	}
	// The shards may be on targets that are away: then nothing is lost.
	b.put("packs/z", storetest.Bytes(5, 1000))
	b.open(l, []int{1, 2, 3})
	if _, err := b.Get(t.Context(), "packs/z", 0, -1); !errors.Is(err, objstore.ErrUnavailable) {
		t.Errorf("get with three away: %v", err)
	}
	if err := b.Put(t.Context(), "packs/new", []byte("x")); !errors.Is(err, objstore.ErrUnavailable) || !strings.Contains(err.Error(), "disk3") {
		t.Errorf("put with three away: %v", err)
	}
	for _, d := range b.disks {
		if d.objects["packs/new"] != nil {
			t.Error("a refused put wrote something")
		}
	}
}

// TestDegraded writes with as many targets away as may be, and heals.
func TestDegraded(t *testing.T) {
	for _, l := range []Layout{layout(4, 2, 6), layout(4, 2, 3), layout(2, 2, 4)} {
		b := newLab(t, l)
		_, write := l.MayLose()
		away := b.rnd.Perm(l.Targets)[:write]
		b.open(l, away)
		body := storetest.Bytes(9, 50000)
		b.put("packs/x", body)
		b.put("commits/1", []byte("one"))
		b.want("packs/x", body)
		b.want("commits/1", []byte("one"))
		if n := len(b.Troubles()); n != write {
			t.Errorf("%d troubles, want %d", n, write)
		}
		b.open(l, nil)
		b.want("packs/x", body)
		f, _ := b.scrub(ScrubOptions{Repair: true})
		if len(f) != 2*write {
			t.Errorf("%v: %d findings, want %d: %+v", l, len(f), 2*write, f)
		}
		b.healthy()
	}
}

// TestReplacedTarget empties a target and fills it again.
func TestReplacedTarget(t *testing.T) {
	for _, l := range []Layout{layout(1, 1, 2), layout(4, 2, 6), layout(4, 2, 3)} {
		b := newLab(t, l)
		for i := range 20 {
			b.put(fmt.Sprintf("packs/%d", i), storetest.Bytes(uint64(i), 5000*i))
			b.put(fmt.Sprintf("commits/%d", i), storetest.Bytes(uint64(i), 10*i))
		}
		blank := b.rnd.IntN(l.Targets)
		before := b.disks[blank].objects
		b.disks[blank].objects = map[string][]byte{}
		b.open(l, nil, blank)
		if f, filled := b.scrub(deep()); len(f) > 0 || len(filled) > 0 {
			t.Errorf("a blank target is a finding: %+v", f)
		}
		_, filled := b.scrub(ScrubOptions{Repair: true})
		if !slices.Equal(filled, []int{blank}) {
			t.Fatalf("filled %v, want %d", filled, blank)
		}
		if !maps.EqualFunc(before, b.disks[blank].objects, bytes.Equal) {
			t.Errorf("%v: the target has %d objects, not the %d that it had", l, len(b.disks[blank].objects), len(before))
		}
		b.Filled(blank)
		b.healthy()
	}
}

// TestRangesReadLittle counts what a small range costs.
func TestRangesReadLittle(t *testing.T) {
	l := layout(4, 2, 6)
	var spies []*faulty.Store
	var targets []Target
	for i := range l.Targets {
		spy := faulty.New(newMemory())
		spies = append(spies, spy)
		targets = append(targets, Target{Label: fmt.Sprint(i), Store: spy})
	}
	s := newStore(t, Options{Layout: l, Targets: targets})
	body := storetest.Bytes(1, 4<<20)
	if err := s.Put(t.Context(), "packs/x", body); err != nil {
		t.Fatal(err)
	}
	for _, spy := range spies {
		spy.Set()
	}
	if _, err := s.Get(t.Context(), "packs/x", 1500000, 200000); err != nil {
		t.Fatal(err)
	}
	requests, read := 0, 0
	for _, spy := range spies {
		for _, c := range spy.Calls() {
			requests++
			read += c.Size
		}
	}
	if requests != 1 || read > 210000 {
		t.Errorf("200000 bytes cost %d requests and %d bytes", requests, read)
	}
}

// TestRepairFails fails every call of a repair in turn, before and after it
// took effect: nothing is lost, and the next repair finishes.
func TestRepairFails(t *testing.T) {
	l := layout(2, 1, 3)
	body := storetest.Bytes(1, 20000)
	for _, effect := range []faulty.Effect{faulty.FailBefore, faulty.FailAfter} {
		for nth := 1; ; nth++ {
			var spies []*faulty.Store
			var disks []*memory
			var targets []Target
			for i := range l.Targets {
				disks = append(disks, newMemory())
				spies = append(spies, faulty.New(disks[i]))
				targets = append(targets, Target{Label: fmt.Sprint(i), Store: spies[i]})
			}
			open := func() *Store { return newStore(t, Options{Layout: l, Targets: targets}) }
			s := open()
			for _, name := range []string{"packs/x", "commits/1"} {
				if err := s.Put(t.Context(), name, body); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"packs/x", "commits/1"} {
				disks[1].objects[name] = bytes.Clone(disks[1].objects[name])
				disks[1].objects[name][5000] ^= 1
			}
			met := 0
			spies[1].Set(faulty.Fault{Effect: effect, Nth: nth})
			if _, err := s.Scrub(t.Context(), repair(), func(Finding) error { return nil }); err != nil {
				t.Errorf("call %d: %v", nth, err)
			}
			met = spies[1].Met()
			spies[1].Set()
			s = open()
			for _, name := range []string{"packs/x", "commits/1"} {
				if got, err := s.Get(t.Context(), name, 0, -1); err != nil || !bytes.Equal(got, body) {
					t.Errorf("call %d: get %s: %d bytes, %v", nth, name, len(got), err)
				}
			}
			if _, err := s.Scrub(t.Context(), repair(), func(Finding) error { return nil }); err != nil {
				t.Errorf("call %d: the next repair: %v", nth, err)
			}
			var left []Finding
			_, err := s.Scrub(t.Context(), deep(), func(f Finding) error { left = append(left, f); return nil })
			if err != nil || len(left) > 0 {
				t.Errorf("call %d: still %+v, %v", nth, left, err)
			}
			if met == 0 {
				break
			}
		}
	}
}

// TestPutFails fails every call of a put in turn: either the object is there
// whole, or the next put makes it so.
func TestPutFails(t *testing.T) {
	l := layout(2, 1, 3)
	body := storetest.Bytes(1, 20000)
	for _, name := range []string{"packs/x", "commits/1"} {
		for nth := 1; ; nth++ {
			var spies []*faulty.Store
			var targets []Target
			for i := range l.Targets {
				spies = append(spies, faulty.New(newMemory()))
				targets = append(targets, Target{Label: fmt.Sprint(i), Store: spies[i]})
			}
			met := 0
			for slot := range spies { // two targets fail at the same call
				if slot != 0 {
					spies[slot].Set(faulty.Fault{Nth: nth, Lasting: true})
				}
			}
			err := newStore(t, Options{Layout: l, Targets: targets}).Put(t.Context(), name, body)
			for _, spy := range spies {
				met += spy.Met()
				spy.Set()
			}
			s := newStore(t, Options{Layout: l, Targets: targets})
			got, gerr := s.Get(t.Context(), name, 0, -1)
			if err == nil && (gerr != nil || !bytes.Equal(got, body)) {
				t.Fatalf("%s, call %d: put succeeded, get: %v", name, nth, gerr)
			}
			if gerr != nil && !errors.Is(gerr, objstore.ErrNotExist) || gerr == nil && !bytes.Equal(got, body) {
				t.Fatalf("%s, call %d: get after a failed put: %d bytes, %v", name, nth, len(got), gerr)
			}
			if err := s.Put(t.Context(), name, body); err != nil {
				t.Fatalf("%s, call %d: the next put: %v", name, nth, err)
			}
			if met == 0 {
				break
			}
		}
	}
}
