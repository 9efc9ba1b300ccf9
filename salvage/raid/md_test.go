package raid

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

var five = raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 4, Chunk: 64 << 10}

var versions = []string{"0.90", "0.90be", "1.0", "1.1", "1.2"}

func TestSuperblocksTellEverything(t *testing.T) {
	data := noise(900000, 10)
	for _, version := range versions {
		ms, _ := labelled(data, five, version)
		ms[0], ms[1], ms[2] = ms[2], ms[0], ms[1] // in any order
		ms = ms[:3]                               // and one missing
		a, err := Open(volumes(ms), Options{})
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		got, unknown := readAll(t, a, 200000)
		if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
			t.Errorf("%s: wrong, unknown %v", version, unknown)
		}
		r := a.Report()
		if r.Level != RAID5 || r.Layout != "left-symmetric" || r.Chunk != 64<<10 || r.Missing() != 1 || len(r.Slots[3].Members) != 0 ||
			r.Slots[0].Members[0].Name != "disk0" || r.UUID != "01020304:05060708:090a0b0c:0d0e0f10" || r.Metadata != strings.TrimSuffix(version, "be") {
			t.Errorf("%s: report %+v", version, r)
		}
	}
}

// mdadm reads what raidmaker wrote, and must see in it what is read here.
func TestMdadmSeesTheSame(t *testing.T) {
	for _, spec := range []raidmaker.Spec{
		five,
		{Level: 6, Layout: rightAsymmetric, Disks: 5, Chunk: 16 << 10},
		{Level: 10, Layout: 0x201, Disks: 4, Chunk: 512 << 10},
		{Level: 0, Layout: zonesOriginal, Disks: 2, Chunk: 128 << 10},
		{Level: 1, Disks: 2},
	} {
		for _, version := range versions {
			if version == "0.90be" {
				continue // mdadm swaps bytes only when it is told to update
			}
			ms, _ := labelled(noise(3<<20, 11), spec, version)
			s, notes := readSuper(ms[1])
			if s == nil || len(notes) > 0 {
				t.Fatalf("%s %s: no superblock found, %v", title(spec), version, notes)
			}
			seen := examine(t, ms[1].bytes)
			want := map[string]string{
				"Magic":       "a92b4efc",
				"Raid Level":  string(s.level),
				"Events":      fmt.Sprint(s.events),
				"Array State": "",
			}
			if s.version == "0.90" {
				want["UUID"] = s.id()
				want["Version"] = "0.90.00"
				delete(want, "Array State")
			} else {
				want["Array UUID"] = s.id()
				want["Version"] = version
				if version == "1.0" {
					want["Version"] = "1.0"
				}
				want["Data Offset"] = fmt.Sprintf("%d sectors", s.start/512)
				want["Device Role"] = fmt.Sprintf("Active device %d", s.role)
				want["Array State"] = strings.Repeat("A", spec.Disks) + " "
				if version == "1.0" {
					delete(want, "Data Offset") // it is 0 and not told
				}
			}
			if s.level != RAID1 {
				want["Chunk Size"] = fmt.Sprintf("%dK", s.chunk>>10)
			}
			if s.level == RAID5 || s.level == RAID6 {
				want["Layout"] = string(layoutName(s.level, s.layout))
			}
			if s.level == RAID10 {
				want["Layout"] = "far=2"
			}
			for key, w := range want {
				if !strings.HasPrefix(seen[key], w) {
					t.Errorf("%s %s: mdadm says %s: %q, here it is %q", title(spec), version, key, seen[key], w)
				}
			}
			if !strings.Contains(seen["Checksum"], "correct") {
				t.Errorf("%s %s: mdadm says Checksum: %q", title(spec), version, seen["Checksum"])
			}
		}
	}
}

var examined = regexp.MustCompile(`(?m)^\s*([A-Za-z ]+?) : (.*)$`)

// examine runs mdadm --examine on a member.
func examine(t *testing.T, member []byte) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "member")
	if err := os.WriteFile(file, member, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mdadm", "--examine", file).CombinedOutput()
	if err != nil {
		t.Fatalf("mdadm --examine (Debian: mdadm): %v\n%s", err, out)
	}
	seen := map[string]string{}
	for _, m := range examined.FindAllStringSubmatch(string(out), -1) {
		seen[m[1]] = strings.TrimSpace(m[2]) + " "
	}
	return seen
}

func TestDamagedSuperblocksAreNone(t *testing.T) {
	for _, version := range versions {
		ms, supers := labelled(noise(100000, 12), five, version)
		at := supers[0].Place(int64(len(ms[0].bytes)))
		for _, place := range []int64{0, 8, 40, 100, 200, 222, 258} {
			b := bytes.Clone(ms[0].bytes)
			b[at+place] ^= 0x40
			if s, _ := readSuper(&memory{bytes: b}); s != nil {
				t.Errorf("%s with byte %d changed is still a superblock", version, place)
			}
		}
		unreadable := &memory{bytes: ms[0].bytes, bad: []volume.Range{{Off: at + 100, Len: 1}}}
		if s, _ := readSuper(unreadable); s != nil {
			t.Errorf("%s with an unreadable byte is still a superblock", version)
		}
	}
}

func TestReshapeIsRefused(t *testing.T) {
	for _, version := range versions {
		ms, supers := labelled(noise(100000, 13), five, version)
		for i, s := range supers {
			s.Features |= featureReshape
			s.Write(ms[i].bytes)
		}
		if _, err := Open(volumes(ms), Options{}); err == nil || !strings.Contains(err.Error(), "reshape") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestBadBlocksOfMdAreUnknown(t *testing.T) {
	data := noise(900000, 14)
	ms, supers := labelled(data, five, "1.2")
	supers[1].Bad = [][2]int64{{16, 8}, {256, 100}}
	supers[1].Write(ms[1].bytes)
	for i := range 8 * 512 {
		ms[1].bytes[1<<20+16*512+i] ^= 0xaa // old bytes, that read well
	}
	a, err := Open(volumes(ms), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, a, 100000)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("with all members: unknown %v", unknown)
	}
	if bad := a.Report().Slots[1].Members[0].Bad; bad != 108*512 {
		t.Errorf("%d bytes are bad, of %d", bad, 108*512)
	}
	a, err = Open(volumes(ms[:3]), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown = readAll(t, a, 100000)
	checkKnown(t, "with one missing", got, data, unknown)
	if total(unknown) == 0 {
		t.Error("bad blocks of md were used")
	}
}

func TestARebuildThatStoppedIsUsedAsFarAsItCame(t *testing.T) {
	data := noise(900000, 15)
	ms, supers := labelled(data, five, "1.2")
	supers[2].Features |= featureRecovery
	supers[2].Recovered = 128 << 10
	supers[2].Write(ms[2].bytes)
	clear(ms[2].bytes[1<<20+128<<10:])
	ms[0].bad = []volume.Range{{Off: 1 << 20, Len: 128 << 10}}
	a, err := Open(volumes(ms), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, unknown := readAll(t, a, 100000)
	if !bytes.Equal(got[:len(data)], data) || len(unknown) > 0 {
		t.Errorf("unknown %v", unknown)
	}
}
