package diskimage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A span is what a share must lie in, in percent.
type span struct{ low, high float64 }

var whole = span{100, 100}

// What is left after each damage, by messages and by bytes. A few large messages
// hold most of the bytes, and the kernel puts them elsewhere each time.
var left = []struct {
	kind            Kind
	messages, bytes span
}{
	{None, whole, whole},
	{Header, whole, whole}, {Headers, whole, whole},
	{InodesZero, whole, whole}, {InodesRandom, whole, whole},
	{Directories, whole, whole},
	{Blocks01, span{95, 99.99}, span{40, 99.9}},
	{Blocks1, span{84, 97}, span{8, 60}},
	{Blocks5, span{60, 90}, span{2, 25}},
	{Hole, span{45, 99.5}, span{20, 95}},
	{FrontHole, span{45, 99.5}, span{20, 95}},
	{Removed, span{50, 99.5}, span{10, 98}},
	{RemovedClean, span{99, 100}, span{99, 100}},
	{Reformatted, span{97, 100}, span{75, 100}},
	{Truncated, span{60, 99.9}, span{25, 99}},
	{RAID5Bad, whole, whole}, {RAID6One, whole, whole}, {RAID6Two, whole, whole},
	{RAID5One, span{93, 100}, span{40, 100}},
}

func TestLimits(t *testing.T) {
	if len(left) != len(Kinds)+1 {
		t.Fatalf("%d kinds of damage, %d looked at", len(Kinds), len(left)-1)
	}
	for _, fs := range []string{Ext4, XFS} {
		im := Build(t, Options{FS: fs, Size: small, Seed: 11, Aged: true})
		base := read(t, im.Path)
		for _, want := range left {
			t.Run(fs+"/"+string(want.kind), func(t *testing.T) {
				d := im.Harm(t, want.kind, 5)
				l, err := d.Limit()
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s", l)
				messages, bytes := percent(int64(l.Messages), int64(l.Targets)), percent(l.Bytes, l.TargetBytes)
				if messages < want.messages.low || messages > want.messages.high || bytes < want.bytes.low || bytes > want.bytes.high {
					t.Errorf("%.2f %% of the messages and %.2f %% of the bytes; want %v and %v", messages, bytes, want.messages, want.bytes)
				}
				checkDamage(t, d, base)
			})
		}
		if !bytes.Equal(read(t, im.Path), base) {
			t.Errorf("%s: the image itself has changed", fs)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkDamage holds the disk against what the damage is called.
func checkDamage(t *testing.T, d *Damaged, base []byte) {
	t.Helper()
	if d.Array != nil {
		checkArray(t, d, base)
		return
	}
	copied := read(t, d.Path)
	size := len(base)
	if d.Kind == Truncated {
		if size = size * 85 / 100 / blockSize * blockSize; len(copied) != size {
			t.Errorf("%d bytes, not %d", len(copied), size)
		}
	}
	changed := 0
	for i := 0; i < size; i += blockSize {
		if !bytes.Equal(base[i:i+blockSize], copied[i:i+blockSize]) {
			changed++
		}
	}
	for _, e := range d.Unreadable {
		if !bytes.Equal(copied[e.Off:e.Off+e.Len], make([]byte, e.Len)) {
			t.Errorf("%v is unreadable and not zero", e)
		}
	}
	share := float64(changed) * blockSize / float64(size)
	limits := map[Kind]span{None: {}, Truncated: {}, Header: {.00001, .01}, Headers: {.0001, .05}, InodesZero: {.002, .1}, InodesRandom: {.002, .1},
		Directories: {.0005, .02}, Blocks01: {.0005, .001}, Blocks1: {.005, .01}, Blocks5: {.03, .05}, Hole: {.1, .2}, FrontHole: {.1, .2},
		Removed: {.03, .5}, RemovedClean: {.0005, .1}, Reformatted: {.0005, .2}}
	if want := limits[d.Kind]; share < want.low || share > want.high {
		t.Errorf("%.3f %% of the blocks have changed", 100*share)
	}
	if (d.Map != "") != (len(d.Unreadable) > 0) {
		t.Errorf("map %q and %d places unreadable", d.Map, len(d.Unreadable))
	}
	checkTree(t, d)
}

// checkTree looks at what can still be reached from the root.
func checkTree(t *testing.T, d *Damaged) {
	t.Helper()
	reached, err := (&Image{Path: d.Path}).tree()
	switch d.Kind {
	case Header, Headers, FrontHole:
		if err == nil {
			t.Error("the superblock is still there")
		}
		return
	case None, Removed, RemovedClean, Reformatted:
		if err != nil {
			t.Fatal(err)
		}
	case Directories:
		if err == nil {
			t.Error("all directories are still there")
		}
		return
	default:
		return
	}
	f, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lost := 0
	for _, m := range d.Targets {
		if reached.files[m.Path] == nil {
			lost++
		}
	}
	if n := len(d.Targets); d.Kind == None && lost > 0 || d.Kind != None && lost < n*9/10 {
		t.Errorf("%d of %d targets have no name any more", lost, n)
	}
	if d.Kind == Removed && len(d.Others) < 50 {
		t.Errorf("only %d other messages", len(d.Others))
	}
	for _, m := range d.Others {
		n := reached.files[m.Path]
		if n == nil {
			t.Fatalf("%s is gone as well", m.Path)
		}
		b, err := readExtents(f, n.extents, n.size)
		if err != nil || digest256(b) != m.SHA256Stored {
			t.Fatalf("%s has changed (%v)", m.Path, err)
		}
	}
}

// checkArray puts an array together again, with the sums of the rows alone.
func checkArray(t *testing.T, d *Damaged, base []byte) {
	t.Helper()
	a := d.Array
	members := make([][]byte, len(a.Members))
	missing := 0
	for i, m := range a.Members {
		if m.Path == "" {
			missing++
			continue
		}
		members[i] = read(t, m.Path)
	}
	if want := map[Kind]int{RAID5Bad: 0, RAID5One: 1, RAID6One: 1, RAID6Two: 2}[d.Kind]; missing != want {
		t.Errorf("%d members are missing, not %d", missing, want)
	}
	stripes := a.stripes(int64(len(base)))
	lost := map[int64]bool{}
	for _, e := range d.Unreadable {
		lost[e.Off] = true
	}
	solved := 0
	for s := range stripes {
		data, parity := a.places(s)
		for b := range int64(chunk / blockSize) {
			at := s*chunk + b*blockSize
			readable := func(m int) bool { return members[m] != nil && !a.Members[m].bad[at/blockSize] }
			var bad []int
			for i, m := range data {
				off := (s*a.data()+int64(i))*chunk + b*blockSize
				if off >= int64(len(base)) {
					continue
				}
				if readable(m) && !bytes.Equal(members[m][at:at+blockSize], base[off:off+blockSize]) {
					t.Fatalf("stripe %d: member %d holds something else", s, m)
				}
				if !readable(m) {
					bad = append(bad, i)
				}
				if lost[off] != (!readable(m) && failing(a, readable) > len(parity)) {
					t.Fatalf("stripe %d, block %d of chunk %d: lost %t", s, b, i, lost[off])
				}
			}
			if len(bad) != 1 || !readable(parity[0]) {
				continue
			}
			x := bytes.Clone(members[parity[0]][at : at+blockSize])
			for i, m := range data {
				if i != bad[0] {
					for k := range x {
						x[k] ^= members[m][at+int64(k)]
					}
				}
			}
			off := (s*a.data()+int64(bad[0]))*chunk + b*blockSize
			if !bytes.Equal(x, base[off:off+blockSize]) {
				t.Fatalf("stripe %d: the sum is wrong", s)
			}
			solved++
		}
	}
	if solved == 0 {
		t.Error("nothing was to be solved")
	}
}

func failing(a *Array, readable func(int) bool) (n int) {
	for m := range a.Members {
		if !readable(m) {
			n++
		}
	}
	return n
}

// Q of a row as lib/raid6 has it: known sums of known bytes, worked out by hand.
func TestQ(t *testing.T) {
	row := make([]byte, 4*chunk)
	row[0], row[chunk], row[2*chunk], row[3*chunk] = 1, 1, 1, 0x80
	if got := sums(row); got[0][0] != 1^1^1^0x80 || got[1][0] != 1^2^4^0x74 { // 0x80 times 8: 0x1d times 4
		t.Errorf("got %#x, %#x", got[0][0], got[1][0])
	}
}

func TestMapVariants(t *testing.T) {
	im := &Image{Path: filepath.Join(t.TempDir(), "x"), Options: Options{Size: 1 << 20}}
	d := &Damaged{Base: im, Unreadable: []Extent{{Off: 0x3000, Len: 0x1000}, {Off: 0x4000, Len: 0x2000}, {Off: 0x9000, Len: 0x1000}}}
	all, err := d.MapVariants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, v := range all {
		b, err := os.ReadFile(v.Path)
		if err != nil {
			t.Fatal(err)
		}
		if v.Wrong {
			wrong++
			continue
		}
		bad, end := readMap(t, string(b))
		want := fmt.Sprint([][2]int64{{0x3000, 0x3000}, {0x9000, 0x1000}})
		if fmt.Sprint(bad) != want {
			t.Errorf("%s: unreadable are %v, not %v", v.Name, bad, want)
		}
		if (end < im.Options.Size) != (len(v.More) > 0) {
			t.Errorf("%s ends at %#x, and %v is unknown", v.Name, end, v.More)
		}
	}
	if wrong < 5 || len(all)-wrong < 5 {
		t.Errorf("%d variants, %d of them wrong", len(all), wrong)
	}
}

// readMap reads a map that is right, in the plainest way.
func readMap(t *testing.T, text string) (bad [][2]int64, end int64) {
	t.Helper()
	rows := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" || strings.HasPrefix(f[0], "#") {
			continue
		}
		if rows++; rows == 1 {
			continue // where ddrescue stands
		}
		var at, length int64
		if _, err := fmt.Sscan(f[0]+" "+f[1], &at, &length); err != nil {
			t.Fatal(err)
		}
		if at != end {
			t.Errorf("%q does not go on at %#x", line, end)
		}
		end = at + length
		if n := len(bad); f[2] != "+" && n > 0 && bad[n-1][0]+bad[n-1][1] == at {
			bad[n-1][1] += length
		} else if f[2] != "+" {
			bad = append(bad, [2]int64{at, length})
		}
	}
	return bad, end
}
