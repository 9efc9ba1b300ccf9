package raid

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

// mailVolume is an ext4 file system full of mail, by mke2fs itself.
var mailVolume = sync.OnceValues(func() ([]byte, error) { return mailOf(15<<20, "1024", "20M") })

// littleVolume is an ext4 file system that is nearly empty.
var littleVolume = sync.OnceValues(func() ([]byte, error) { return mailOf(2<<20, "4096", "96M") })

// mailOf is an ext4 file system of a size, with so many bytes of mail.
func mailOf(most int, block, size string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "mail")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	rng := rand.New(rand.NewPCG(7, 7))
	for total, i := 0, 0; total < most; i++ {
		m := letter(rng)
		total += len(m)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.", i)), m, 0o600); err != nil {
			return nil, err
		}
	}
	image := filepath.Join(dir, "..", filepath.Base(dir)+".ext4")
	defer os.Remove(image)
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-b", block, "-d", dir, image, size).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return os.ReadFile(image)
}

// letter is a message; every third has an attachment.
func letter(rng *rand.Rand) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <a%d@example.org>\r\nDate: Mon, 1 Jan 2018 00:00:%02d +0000\r\nSubject: letter %d\r\n\r\n", rng.IntN(1000), rng.IntN(60), rng.IntN(10000))
	for range rng.IntN(150) {
		for range 3 + rng.IntN(10) {
			fmt.Fprintf(&b, "%x ", rng.IntN(1<<20))
		}
		b.WriteString("\r\n")
	}
	if rng.IntN(3) == 0 {
		raw := make([]byte, 10000+rng.IntN(900000))
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		code := base64.StdEncoding.EncodeToString(raw)
		for len(code) > 0 {
			n := min(76, len(code))
			b.WriteString(code[:n] + "\r\n")
			code = code[n:]
		}
	}
	return []byte(b.String())
}

// inferable are arrays that must be found out, without any superblock, the members
// shuffled and some missing.
var inferable = []struct {
	spec    raidmaker.Spec
	missing []int
}{
	{raidmaker.Spec{Level: 0, Layout: 1, Disks: 4, Chunk: 128 << 10, DataOffset: 1 << 20}, nil},
	{raidmaker.Spec{Level: 1, Disks: 3, DataOffset: 1 << 20}, nil},
	{raidmaker.Spec{Level: 5, Layout: 1, Disks: 5, Chunk: 16 << 10, DataOffset: 1 << 20}, nil},
	{raidmaker.Spec{Level: 5, Layout: 2, Disks: 3, Chunk: 4 << 10}, nil},
	{raidmaker.Spec{Level: 5, Layout: 2, Disks: 5, Chunk: 256 << 10, DataOffset: 1 << 20}, nil},
	{raidmaker.Spec{Level: 5, Layout: 2, Disks: 8, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 5, Layout: 3, Disks: 4, Chunk: 128 << 10}, nil},
	{raidmaker.Spec{Level: 5, Layout: 0, Disks: 4, Chunk: 64 << 10, DataOffset: 264 * 512}, []int{1}},
	{raidmaker.Spec{Level: 5, Layout: 2, Disks: 5, Chunk: 64 << 10}, []int{2}},
	{raidmaker.Spec{Level: 5, Layout: 3, Disks: 6, Chunk: 16 << 10}, []int{5}},
	{raidmaker.Spec{Level: 6, Layout: 0, Disks: 5, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 6, Layout: 1, Disks: 6, Chunk: 16 << 10}, nil},
	{raidmaker.Spec{Level: 6, Layout: 10, Disks: 5, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 6, Layout: 2, Disks: 6, Chunk: 64 << 10}, []int{1}},
	{raidmaker.Spec{Level: 6, Layout: 0, Disks: 5, Chunk: 64 << 10}, []int{4}},
	{raidmaker.Spec{Level: 6, Layout: 2, Disks: 6, Chunk: 64 << 10}, []int{1, 4}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 3, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 4, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 10, Layout: 0x10201, Disks: 3, Chunk: 64 << 10}, nil},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 64 << 10}, []int{1}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 64 << 10}, []int{0}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 3, Chunk: 64 << 10}, []int{0}},
	{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 4, Chunk: 64 << 10}, []int{2}},
	{raidmaker.Spec{Level: 10, Layout: 0x10201, Disks: 4, Chunk: 64 << 10}, []int{3}},
	{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 3, Chunk: 64 << 10}, []int{1}},
	{raidmaker.Spec{Level: 10, Layout: 0x10201, Disks: 3, Chunk: 64 << 10}, []int{2}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 5, Chunk: 64 << 10, DataOffset: 1 << 20}, []int{4}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 6, Chunk: 512 << 10}, []int{2}},
	{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 6, Chunk: 64 << 10}, []int{1, 4}},
}

func TestInference(t *testing.T) {
	data, err := mailVolume()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range inferable {
		what := fmt.Sprintf("%s, chunk %d, without %v", title(c.spec), c.spec.Chunk, c.missing)
		t.Run(what, func(t *testing.T) {
			ms := shuffled(data, c.spec, c.missing, uint64(i))
			a, err := Open(volumes(ms), Options{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, a, data)
			r := a.Report()
			if levels[c.spec.Level] != r.Level || len(r.Slots) != c.spec.Disks || r.Missing() != len(c.missing) {
				t.Errorf("it is called a %s of %d, %d missing: %q", r.Level, len(r.Slots), r.Missing(), r.Inferred)
			}
			said := strings.Join(r.Inferred, "\n")
			if c.spec.Level != 1 && (!strings.Contains(said, "read as "+string(r.Level)) || !strings.Contains(said, "disk")) {
				t.Errorf("the report does not say what was inferred: %q", said)
			}
			checked := c.spec.Level == 1 || c.spec.Level == 10 || len(c.missing) < map[int]int{5: 1, 6: 2}[c.spec.Level]
			if checked == strings.Contains(said, "by its content alone") || checked && strings.Contains(said, "as well") {
				t.Errorf("it was checked: %v; and it says %q", checked, said)
			}
		})
	}
}

// Most places of a volume that is hardly filled say nothing: they speak against no
// reading of it.
func TestInferenceOfWhatIsHardlyFilled(t *testing.T) {
	data, err := littleVolume()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		spec    raidmaker.Spec
		missing []int
		level   Level
	}{
		{raidmaker.Spec{Level: 0, Layout: 1, Disks: 3, Chunk: 64 << 10}, nil, RAID0},
		{raidmaker.Spec{Level: 5, Layout: 2, Disks: 4, Chunk: 64 << 10}, []int{2}, RAID5},
		{raidmaker.Spec{Level: 6, Layout: 2, Disks: 5, Chunk: 64 << 10}, []int{0}, RAID6},
		{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 4, Chunk: 64 << 10}, []int{2}, RAID10},
		{raidmaker.Spec{Level: 10, Layout: 0x201, Disks: 4, Chunk: 64 << 10}, nil, RAID10},
		{raidmaker.Spec{Level: 10, Layout: 0x10201, Disks: 4, Chunk: 64 << 10}, []int{3}, RAID10},
	} {
		t.Run(fmt.Sprintf("%s, without %v", title(c.spec), c.missing), func(t *testing.T) {
			a, err := Open(volumes(shuffled(data, c.spec, c.missing, uint64(i))), Options{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, a, data)
			if r := a.Report(); r.Level != c.level {
				t.Errorf("it is called a %s of %d: %q", r.Level, len(r.Slots), r.Inferred)
			}
		})
	}
}

// Of what makes the same bytes the array is told that claims the least, and then
// what else it may be.
func TestTheSimplestArrayIsTold(t *testing.T) {
	data, err := mailVolume()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec    raidmaker.Spec
		missing []int
		level   Level
		slots   int
		or      []string // what else it may be
		not     string   // and what it is not
	}{
		{raidmaker.Spec{Level: 0, Layout: 1, Disks: 2, Chunk: 64 << 10}, nil, RAID0, 2, []string{"raid5 parity-first of 3 with 1 missing, raid5 parity-last of 3 with 1 missing, raid10 n2 of 4 with 2 missing", "the bytes are the same"}, "symmetric"},
		{raidmaker.Spec{Level: 0, Layout: 1, Disks: 3, Chunk: 512 << 10, DataOffset: 1 << 20}, nil, RAID0, 3, []string{"raid5 parity-first of 4 with 1 missing"}, "symmetric"},
		{raidmaker.Spec{Level: 4, Disks: 4, Chunk: 64 << 10}, []int{3}, RAID0, 3, []string{"raid5 parity-last of 4 with 1 missing"}, "symmetric"},
		{raidmaker.Spec{Level: 6, Layout: 5, Disks: 5, Chunk: 64 << 10}, []int{3, 4}, RAID0, 3, []string{"raid5 parity-last of 4 with 1 missing", "or the like"}, "symmetric"},
		{raidmaker.Spec{Level: 6, Layout: 18, Disks: 5, Chunk: 64 << 10}, []int{1, 4}, RAID5, 4, []string{"as well raid6 left-symmetric-6 of 5 with 2 missing: "}, "raid0"},
		{raidmaker.Spec{Level: 5, Layout: 2, Disks: 4, Chunk: 64 << 10}, []int{1}, RAID5, 4, []string{"as well raid6 left-symmetric-6 of 5 with 2 missing: "}, "raid0"},
		{raidmaker.Spec{Level: 6, Layout: 2, Disks: 5, Chunk: 64 << 10}, []int{0, 2}, RAID6, 5, nil, "raid5"},
	} {
		what := fmt.Sprintf("%s, chunk %d, without %v", title(c.spec), c.spec.Chunk, c.missing)
		t.Run(what, func(t *testing.T) {
			a, err := Open(volumes(shuffled(data, c.spec, c.missing, 5)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, a, data)
			r := a.Report()
			if r.Level != c.level || len(r.Slots) != c.slots {
				t.Errorf("it is called a %s of %d: %q", r.Level, len(r.Slots), r.Inferred)
			}
			said := strings.Join(r.Inferred, "\n")
			for _, want := range c.or {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q: %q", want, said)
				}
			}
			if has := strings.Contains(said, "as well"); has != (c.or != nil) || strings.Contains(said, c.not) {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// What was said outweighs what is simpler.
func TestASaidLevelIsNotReplaced(t *testing.T) {
	data, err := mailVolume()
	if err != nil {
		t.Fatal(err)
	}
	s := raidmaker.Spec{Level: 6, Layout: 18, Disks: 5, Chunk: 64 << 10}
	a, err := Open(volumes(shuffled(data, s, []int{1, 4}, 5)), Options{Level: RAID6})
	if err != nil {
		t.Fatal(err)
	}
	same(t, a, data)
	if r := a.Report(); r.Level != RAID6 || len(r.Slots) != 5 {
		t.Errorf("it is called a %s of %d: %q", r.Level, len(r.Slots), r.Inferred)
	}
}

// shuffled are members in an order that depends on seed.
func shuffled(data []byte, s raidmaker.Spec, missing []int, seed uint64) (left []*memory) {
	for i, m := range memories(data, s) {
		gone := false
		for _, x := range missing {
			gone = gone || x == i
		}
		if !gone {
			left = append(left, m)
		}
	}
	rand.New(rand.NewPCG(seed, 9)).Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	return left
}

// same wants the volume to begin with data, all of it known.
func same(t *testing.T, a *Array, data []byte) {
	t.Helper()
	got, unknown := readAll(t, a, window)
	if len(got) < len(data) || string(got[:len(data)]) != string(data) || total(within(unknown, 0, int64(len(data)))) > 0 {
		t.Errorf("the volume is wrong; report: %+v", a.Report())
	}
}

func TestInferenceOfNothingIsUnsure(t *testing.T) {
	for _, disks := range []int{1, 2, 4} {
		var vs []volume.Volume
		for i := range disks {
			vs = append(vs, &memory{name: fmt.Sprint("disk", i), bytes: noise(8<<20, uint64(50+i))})
		}
		if _, err := Open(vs, Options{}); !errors.Is(err, ErrUnsure) {
			t.Errorf("%d disks of noise: %v", disks, err)
		}
	}
}

// Nothing is left of the file system's head: the caller has to say where the data
// begins, everything else is found.
func TestInferenceWithoutTheHead(t *testing.T) {
	whole, err := mailVolume()
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte(nil), whole...)
	copy(data, noise(1<<20, 60))
	s := raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 4, Chunk: 32 << 10, DataOffset: 3 << 20}
	a, err := Open(volumes(shuffled(data, s, []int{3}, 1)), Options{DataOffset: []int64{3 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, a, data)
}

// What is told need not be found: here, what cannot be found in noise.
func TestOptionsHelpInference(t *testing.T) {
	data := noise(2<<20, 61)
	s := raidmaker.Spec{Level: 6, Layout: leftAsymmetric, Disks: 5, Chunk: 16 << 10}
	ms := memories(data, s)
	if _, err := Open(volumes(ms), Options{DataOffset: []int64{0}}); !errors.Is(err, ErrUnsure) || !strings.Contains(err.Error(), "raid6") {
		t.Errorf("without content: %v", err)
	}
	a, err := Open(volumes(ms), Options{Level: RAID6, Layout: "left-asymmetric", Chunk: 16 << 10, Order: []int{0, 1, 2, 3, 4}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, a, data)
}

func TestAMemberWithoutSuperblockFindsItsPlace(t *testing.T) {
	data := noise(3<<20, 62)
	for _, c := range []struct {
		spec    raidmaker.Spec
		missing []int
		placed  bool
	}{
		{five, nil, true},
		{raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 6, Chunk: 64 << 10}, nil, true},
		{raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 6, Chunk: 64 << 10}, []int{4}, true},
		{five, []int{2}, false}, // nothing is left to compare with
	} {
		ms, _ := labelled(data, c.spec, "1.2")
		clear(ms[1].bytes[:8192])
		var left []*memory
		for i, m := range ms {
			if len(c.missing) == 0 || i != c.missing[0] {
				left = append(left, m)
			}
		}
		a, err := Open(volumes(left), Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := a.Report()
		if placed := len(r.Slots[1].Members) == 1 && r.Slots[1].Members[0].Name == "disk1"; placed != c.placed {
			t.Errorf("%s without %v: %+v, left out %+v", title(c.spec), c.missing, r.Slots, r.LeftOut)
		}
		if c.placed {
			same(t, a, data)
		} else if len(r.LeftOut) != 1 || r.LeftOut[0].Name != "disk1" {
			t.Errorf("%s without %v: left out %+v", title(c.spec), c.missing, r.LeftOut)
		}
	}
}

// A disk of something else in the heap must not get a place.
func TestAStrangerGetsNoPlace(t *testing.T) {
	data := noise(3<<20, 63)
	ms, _ := labelled(data, five, "1.2")
	ms[1] = &memory{name: "stranger", bytes: noise(len(ms[1].bytes), 64)}
	a, err := Open(volumes(ms), Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, a, data)
	if out := a.Report().LeftOut; len(out) != 1 || out[0].Name != "stranger" {
		t.Errorf("left out: %+v", out)
	}
}
