package salvage_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage"
)

// partitioned puts a member behind a partition table, as its second partition of a
// type; the first is a boot loader's.
func (s *shelf) partitioned(t *testing.T, name, label, kind string, member []byte) string {
	t.Helper()
	path := s.put(t, name, slices.Concat(make([]byte, 4<<20), member, make([]byte, 1<<20)))
	cmd := exec.Command("sfdisk", "--quiet", "--wipe=never", "--wipe-partitions=never", path)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("label: %s\nstart=2048, size=2048\nstart=8192, size=%d, type=%s\n", label, len(member)/512, kind))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// randomDisk is a disk of nothing that anybody knows.
func randomDisk(seed uint64, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// TestMembersInPartitions puts arrays together that were striped over partitions and
// have no superblocks, whatever the partitions are called, and nothing that only looks so.
func TestMembersInPartitions(t *testing.T) {
	const linuxRAID = "A19D880F-05FC-4D3B-A006-743F0F84911E"
	s := newShelf(t)
	image, err := os.ReadFile(s.image.Path)
	if err != nil {
		t.Fatal(err)
	}
	bare := raidmaker.InMemory(image, raid5)
	stripes := raidmaker.InMemory(image, raidmaker.Spec{Level: 0, Layout: 1, Disks: 2, Chunk: 64 << 10})
	disks := func(name, label, kind string, members ...[]byte) (paths []string) {
		for i, m := range members {
			paths = append(paths, s.partitioned(t, fmt.Sprintf("%s%d.img", name, i), label, kind, m))
		}
		return paths
	}
	gpt := disks("gpt", "gpt", linuxRAID, bare...)
	for _, test := range []struct {
		name    string
		sources []string
		said    salvage.Spec // of the sources
		volumes int
		all     bool // of the image's messages are found
		notes   []string
		not     []string
	}{
		{name: "of the right type, in a GPT", sources: []string{gpt[2], gpt[0], gpt[3], gpt[1]}, volumes: 5, all: true,
			notes: []string{"partition 2 of 4 disks was tried as a member of one array, as their type is Linux RAID", "4 members, 0 missing", "gpt1.img partition 2"}},
		{name: "the same, one missing", sources: []string{gpt[2], gpt[0], gpt[3]}, volumes: 4, all: true, notes: []string{"4 members, 1 missing", "as well"}},
		{name: "of the right type, in an MBR", sources: disks("mbr", "dos", "fd", bare...), volumes: 5, notes: []string{"4 members, 0 missing"}},
		{name: "of any type", sources: disks("any", "dos", "83", stripes[1], stripes[0]), volumes: 3, all: true,
			notes: []string{"begins with nothing that is known", "2 members, 0 missing"}},
		{name: "said to be members", sources: []string{gpt[2], gpt[0], gpt[3]}, said: salvage.Spec{RAID: "5"}, volumes: 1,
			notes: []string{"taken to be partition 2 of each disk", "4 members, 1 missing"}},
		{name: "said to be members, and in which order", sources: []string{gpt[2], gpt[0], gpt[3]},
			said:    salvage.Spec{RAID: "5", Chunk: 64 << 10, Layout: "left-symmetric", Order: []string{gpt[0], "missing", gpt[2], gpt[3]}},
			volumes: 1, all: true, notes: []string{"taken to be partition 2 of each disk"}},
		{name: "said to be members, and where they begin", sources: gpt, said: salvage.Spec{RAID: "5", DataOffset: 4 << 20}, volumes: 1,
			notes: []string{"4 members, 0 missing"}, not: []string{"partition"}},
		{name: "said to be mirrors", sources: disks("mirror", "gpt", "L", image, image), said: salvage.Spec{RAID: "1"}, volumes: 2, notes: []string{"2 members, 0 missing"},
			not: []string{"partition 2 of each"}},
		{name: "beside another disk", sources: append([]string{s.other(t)}, gpt...), volumes: 6, notes: []string{"4 members, 0 missing"}},
		{name: "beside a disk whose partition is larger", sources: append(disks("larger", "gpt", linuxRAID, randomDisk(3, 60<<20)), gpt...), volumes: 7, notes: []string{"4 members, 0 missing"}},
		{name: "not members, although the table says so", sources: disks("liar", "gpt", linuxRAID, randomDisk(1, 20<<20), randomDisk(2, 20<<20)), volumes: 4,
			notes: []string{"it is not sure how these members make an array", "one by one"}, not: []string{" missing"}},
		{name: "file systems, although the table says members", sources: disks("whole", "gpt", linuxRAID, image, image), volumes: 4, not: []string{"array"}},
		{name: "file systems", sources: disks("plain", "gpt", "L", image, image), volumes: 4, not: []string{"array"}},
		{name: "too small for anything", sources: disks("small", "gpt", linuxRAID, randomDisk(1, 4<<20), randomDisk(2, 4<<20)), volumes: 4, not: []string{"array"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := test.said
			spec.Sources = test.sources
			sources, err := salvage.Open(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range sources.Volumes {
				names = append(names, v.Name())
			}
			if err := sources.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("%s", strings.Join(sources.Notes, "\n"))
			if len(names) != test.volumes {
				t.Errorf("volumes %q", names)
			}
			notes := strings.Join(sources.Notes, "\n")
			for _, n := range test.notes {
				if !strings.Contains(notes, n) {
					t.Errorf("no note says %q: %q", n, sources.Notes)
				}
			}
			for _, n := range test.not {
				if strings.Contains(notes, n) {
					t.Errorf("a note says %q: %q", n, sources.Notes)
				}
			}
			if !test.all {
				return
			}
			d := newDig(t)
			d.spec = spec
			if n := s.found(d.run(t)); n < len(s.want) {
				t.Errorf("%d of %d messages found", n, len(s.want))
			}
		})
	}
}
