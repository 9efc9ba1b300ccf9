package diskimage

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Kind is a way to damage a disk.
type Kind string

// The kinds of damage.
const (
	None         Kind = "none"          // nothing at all
	Header       Kind = "header"        // the first superblock and descriptors are gone (XFS: the first group's headers)
	Headers      Kind = "headers"       // all of them
	InodesZero   Kind = "inodes-zero"   // half of the used inode tables (XFS: a third of the chunks) are zeros
	InodesRandom Kind = "inodes-random" // the same, random bytes
	Directories  Kind = "directories"   // 60 % of the mail directories are overwritten
	Blocks01     Kind = "blocks-0.1%"   // so many blocks are unreadable, anywhere
	Blocks1      Kind = "blocks-1%"
	Blocks5      Kind = "blocks-5%"
	Hole         Kind = "hole"          // 20 % of the disk in its middle are unreadable
	FrontHole    Kind = "front-hole"    // its first 20 %
	Removed      Kind = "removed"       // half of the users were removed, and new mail came
	RemovedClean Kind = "removed-clean" // half of the users were removed, nothing since
	Reformatted  Kind = "reformatted"   // the same file system made again over it
	Truncated    Kind = "truncated"     // its last 15 % are missing
	RAID5Bad     Kind = "raid5-bad"     // 5 members, bad sectors on 3 of them, in no row twice
	RAID6One     Kind = "raid6-one"     // 6 members, 1 missing, bad sectors on 3 others, in no row twice
	RAID6Two     Kind = "raid6-two"     // 6 members, 2 missing
	RAID5One     Kind = "raid5-one"     // 5 members, 1 missing, .5 % of the chunks of 2 others bad: these rows are lost
)

// Kinds are all of them.
var Kinds = []Kind{Header, Headers, InodesZero, InodesRandom, Directories, Blocks01, Blocks1, Blocks5, Hole, FrontHole,
	Removed, RemovedClean, Reformatted, Truncated, RAID5Bad, RAID6One, RAID6Two, RAID5One}

// NeedsMount are those that only root can make.
func (k Kind) NeedsMount() bool { return k == Removed || k == RemovedClean }

// RAID tells whether the disk becomes an array.
func (k Kind) RAID() bool { return strings.HasPrefix(string(k), "raid") }

// Damaged is a damaged copy of an image, and what is to be looked for on it.
type Damaged struct {
	Kind Kind
	Seed uint64
	Base *Image
	// Path is the damaged copy; "" of an array.
	Path string
	// Map is a ddrescue map of what is unreadable, "" where all can be read. The bytes
	// are zeros there: who does without the map gets zeros passed off as data.
	Map        string
	Unreadable []Extent // by Off; of an array: what no row gives back
	// Array says how an array was made; nil for a single disk.
	Array *Array
	// Targets are the messages to find. Of a disk from which users were removed they
	// are those users' mail, as far as nobody else had it.
	Targets []Message
	// Others are messages that are there as well and are not lost: the other users',
	// the new ones. To find them is no mistake.
	Others []Message
	// Users were removed.
	Users []string
}

// Harm damages a copy of an image; the copy goes with the test.
func (im *Image) Harm(t testing.TB, kind Kind, seed uint64) *Damaged {
	t.Helper()
	d, err := im.Damage(scratch(t), kind, seed)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Damage makes a damaged copy of an image in a directory. But for Removed and
// RemovedClean, where the kernel decides, the same seed makes the same damage.
func (im *Image) Damage(dir string, kind Kind, seed uint64) (*Damaged, error) {
	d := &Damaged{Kind: kind, Seed: seed, Base: im, Path: filepath.Join(dir, string(kind)+".img"), Targets: im.Messages}
	if err := d.make(dir); err != nil {
		return nil, fmt.Errorf("damage %s (%s, seed %d): %w", im.Path, kind, seed, err)
	}
	return d, nil
}

func (d *Damaged) make(dir string) error {
	r := rand.New(rand.NewPCG(d.Seed, uint64(crc32.ChecksumIEEE([]byte(d.Kind)))))
	if d.Kind.RAID() {
		d.Path = ""
		return d.array(dir, r)
	}
	if err := command("cp", "--reflink=auto", "--sparse=always", d.Base.Path, d.Path); err != nil {
		return err
	}
	switch d.Kind {
	case None:
		return nil
	case Removed, RemovedClean:
		return d.remove()
	case Reformatted:
		return (&Image{Path: d.Path, Options: d.Base.Options}).format()
	case Truncated:
		return os.Truncate(d.Path, d.Base.Options.Size*85/100/blockSize*blockSize)
	}
	where, random, err := d.places(r)
	if err != nil {
		return err
	}
	if err := d.overwrite(where, random, r); err != nil {
		return err
	}
	switch d.Kind {
	case Blocks01, Blocks1, Blocks5, Hole, FrontHole:
		d.Unreadable, d.Map = where, d.Path+".map"
		return writeMap(d.Map, d.Base.Options.Size, where)
	}
	return nil
}

// shares of blocks that become unreadable.
var lostShares = map[Kind]float64{Blocks01: .001, Blocks1: .01, Blocks5: .05}

// places says what to overwrite, by Off, and with what: random(i) tells whether the
// i-th is to become noise instead of zeros.
func (d *Damaged) places(r *rand.Rand) (where []Extent, random func(i int) bool, err error) {
	size := d.Base.Options.Size
	never := func(int) bool { return false }
	switch d.Kind {
	case Blocks01, Blocks1, Blocks5:
		blocks := r.Perm(int(size / blockSize))
		blocks = blocks[:int(float64(len(blocks))*lostShares[d.Kind])]
		slices.Sort(blocks)
		for _, b := range blocks {
			where = append(where, Extent{Off: int64(b) * blockSize, Len: blockSize})
		}
		return where, never, nil
	case Hole:
		return []Extent{{Off: size * 3 / 10 / blockSize * blockSize, Len: size / 5 / blockSize * blockSize}}, never, nil
	case FrontHole:
		return []Extent{{Len: size / 5 / blockSize * blockSize}}, never, nil
	}
	f, err := os.Open(d.Base.Path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fs, err := open(f)
	if err != nil {
		return nil, nil, err
	}
	t, err := walk(fs)
	if err != nil {
		return nil, nil, err
	}
	switch d.Kind {
	case Header, Headers:
		first, all := fs.headers()
		if d.Kind == Header {
			all = first
		}
		return all, never, nil
	case InodesZero, InodesRandom:
		where, err := d.tables(fs, t, r)
		return where, func(int) bool { return d.Kind == InodesRandom }, err
	case Directories:
		where, random := d.directories(fs, t, r)
		return where, random, nil
	}
	return nil, nil, errors.New("no such damage")
}

// tables picks inode tables in which there are messages: ext4's every other group,
// the fullest first; a third of XFS's chunks.
func (d *Damaged) tables(fs reader, t *tree, r *rand.Rand) (where []Extent, err error) {
	var nodes []uint64
	for _, n := range t.files {
		nodes = append(nodes, n.number)
	}
	all, err := fs.tables(nodes)
	if err != nil {
		return nil, err
	}
	if d.Base.Options.FS == XFS {
		for _, i := range r.Perm(len(all))[:len(all)/3] {
			where = append(where, all[i])
		}
		return where, nil
	}
	inside := make([]int, len(all))
	for _, n := range t.files {
		for i, x := range all {
			if n.at >= x.Off && n.at < x.Off+x.Len {
				inside[i]++
			}
		}
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(inside[b], inside[a]), cmp.Compare(a, b)) })
	for i := 0; i < len(order); i += 2 {
		where = append(where, all[order[i]])
	}
	return where, nil
}

// directories picks 60 % of those that hold mail and have blocks of their own: half
// become zeros, half noise.
func (d *Damaged) directories(fs reader, t *tree, r *rand.Rand) (where []Extent, random func(int) bool) {
	var mail []directory
	for _, x := range t.directories {
		if len(x.node.extents) > 0 && x.entries > 8 && (strings.HasPrefix(x.path, "cyrus/mail/") || strings.HasPrefix(x.path, "vhosts/")) {
			mail = append(mail, x)
		}
	}
	noise := map[int]bool{}
	for i, k := range r.Perm(len(mail))[:len(mail)*6/10] {
		for _, e := range mail[k].node.extents {
			noise[len(where)] = i%2 == 1
			where = append(where, e)
		}
	}
	return where, func(i int) bool { return noise[i] }
}

// overwrite puts zeros or noise into places.
func (d *Damaged) overwrite(where []Extent, random func(int) bool, r *rand.Rand) error {
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	seed := [32]byte{}
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	noise := rand.NewChaCha8(seed)
	for i, e := range where {
		for at, end := e.Off, e.Off+e.Len; at < end && err == nil; {
			b := make([]byte, min(end-at, 1<<20))
			if random(i) {
				noise.Read(b)
			}
			_, err = f.WriteAt(b, at)
			at += int64(len(b))
		}
	}
	return errors.Join(err, f.Close())
}
