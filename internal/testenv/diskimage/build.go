package diskimage

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The file systems of images.
const (
	Ext2 = "ext2" // no journal, lists of blocks
	Ext3 = "ext3" // lists of blocks
	Ext4 = "ext4"
	XFS  = "xfs"
)

// Options says what image to make. Its zero value is a plain ext4 of 96 MiB.
type Options struct {
	FS   string // Ext4, XFS, ...
	Size int64  // bytes; at least 64 MiB
	Seed uint64
	// Aged writes through a mount, which needs root, and lets mail go and come, so that
	// large files lie in pieces.
	Aged bool
	// Fill is how full it becomes: .5, and .95 of an aged one.
	Fill float64
	// Cycles is how often an aged one's mail is expunged and its room filled again: 8.
	Cycles int
	// Largest is the largest message, in bytes: a twenty-fourth of the disk, at most 8
	// MB.
	Largest int

	perInode int // bytes for each inode of an ext4; 0: as mke2fs thinks fit
}

// mailPerInode gives no more inodes than mail needs, so that they stand in the
// tables of more than one group.
const mailPerInode = 24 << 10

func (o *Options) defaults() {
	if o.FS == "" {
		o.FS = Ext4
	}
	if o.Size == 0 {
		o.Size = 96 << 20
	}
	if o.Cycles == 0 {
		o.Cycles = 8
	}
	if o.Largest == 0 {
		o.Largest = int(min(o.Size/24, 8e6))
	}
	if o.Fill == 0 {
		o.Fill = .5 // mkfs.xfs -p cannot do much more
		if o.Aged {
			o.Fill = .95
		}
	}
}

// An Image is an undamaged disk and what is on it.
type Image struct {
	Path     string
	Options  Options
	Messages []Message // by Path
	// Expunged is what stood there before and is wanted by nobody: to bring it back
	// does harm.
	Expunged []Message
}

// Build makes an image that goes with the test.
func Build(t testing.TB, o Options) *Image {
	t.Helper()
	im, err := Make(scratch(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", im)
	return im
}

// memory is a file system in memory, where there is one: what writes as a mail store
// does waits for the disk more than for anything else.
const memory = "/dev/shm"

// muchRoom is how much must be free there, in bytes.
const muchRoom = 2 << 30

// scratch makes a directory that goes with the test.
func scratch(t testing.TB) string {
	t.Helper()
	if room, err := free(memory); err != nil || room < muchRoom {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "salvor-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Make makes an image in a directory.
func Make(dir string, o Options) (*Image, error) {
	o.defaults()
	o.perInode = mailPerInode
	im := &Image{Path: filepath.Join(dir, fmt.Sprintf("%s-%d.img", o.FS, o.Seed)), Options: o}
	make := im.plain
	if o.Aged {
		make = im.aged
	}
	if err := make(); err != nil {
		return nil, fmt.Errorf("make image %s, seed %d: %w", im.Path, o.Seed, err)
	}
	return im, im.survey()
}

// Fill makes an image of a directory, as it is, that goes with the test. XFS needs
// root.
func Fill(t testing.TB, from string, o Options) *Image {
	t.Helper()
	o.defaults()
	im := &Image{Path: filepath.Join(scratch(t), o.FS+".img"), Options: o}
	if err := im.fill(from); err != nil {
		t.Fatal(fmt.Errorf("make image of %s: %w", from, err))
	}
	return im
}

func (im *Image) fill(from string) error {
	if im.Options.FS != XFS {
		return im.format("-d", from)
	}
	if err := im.format(); err != nil {
		return err
	}
	m, err := mount(im.Path)
	if err != nil {
		return err
	}
	return errors.Join(command("cp", "-a", from+"/.", m.Dir), m.unmount())
}

// format makes the file, if it is not there, and a file system over what is in it.
// Nothing is discarded: what stood there stays readable.
func (im *Image) format(more ...string) error {
	f, err := os.OpenFile(im.Path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(im.Options.Size), f.Close()); err != nil {
		return err
	}
	id := fmt.Sprintf("11111111-2222-4333-8444-%012x", im.Options.Seed)
	if im.Options.FS == XFS {
		// Without --unsupported it makes none below 300 MB.
		args := append([]string{"--unsupported", "-q", "-f", "-K", "-m", "uuid=" + id}, more...)
		return command("mkfs.xfs", append(args, im.Path)...)
	}
	args := []string{"-q", "-F", "-t", im.Options.FS, "-b", "4096", "-m", "1", "-U", id, "-E", "nodiscard,hash_seed=" + id}
	if im.Options.FS == Ext4 { // inode tables of two groups together, not of sixteen
		args = append(args, "-G", "2")
	}
	if im.Options.Size <= 512<<20 { // several groups, as a large disk has
		args = append(args, "-g", "4096")
	}
	if n := im.Options.perInode; n > 0 {
		args = append(args, "-i", strconv.Itoa(n))
	}
	return command("mke2fs", append(append(args, more...), im.Path)...)
}

// plain makes an image without mounting it.
func (im *Image) plain() error {
	dir, err := os.MkdirTemp(filepath.Dir(im.Path), "spool-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := im.Options
	s, err := newSpool(dir, o.Seed, o.Size, o.Largest, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(s.furnish(), s.fill(int64(float64(o.Size)*o.Fill), 0), s.end()); err != nil {
		return err
	}
	im.Messages = s.messages()
	if o.FS != XFS {
		return im.format("-d", dir)
	}
	file := filepath.Join(dir, "prototype")
	text, err := prototype(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return im.format("-p", file)
}

// prototype lists a directory in the way of mkfs(8).
func prototype(dir string) (string, error) {
	var b strings.Builder
	b.WriteString("/\n0 0\nd--755 0 0\n")
	var list func(dir string) error
	list = func(dir string) error {
		all, err := os.ReadDir(dir)
		for _, e := range all {
			at := filepath.Join(dir, e.Name())
			if !e.IsDir() {
				fmt.Fprintf(&b, "%s ---600 0 0 %s\n", e.Name(), at)
				continue
			}
			fmt.Fprintf(&b, "%s d--700 0 0\n", e.Name())
			if err := list(at); err != nil {
				return err
			}
			b.WriteString("$\n")
		}
		return err
	}
	err := list(dir)
	b.WriteString("$\n")
	return b.String(), err
}

// aged makes an image through a mount.
func (im *Image) aged() (err error) {
	if err := im.format(); err != nil {
		return err
	}
	m, err := mount(im.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	o := im.Options
	room, err := free(m.Dir)
	if err != nil {
		return err
	}
	s, err := newSpool(m.Dir, o.Seed, room, o.Largest, nil)
	if err != nil {
		return err
	}
	defer s.end()
	s.sync = true
	if err := errors.Join(s.furnish(), s.age(int64(float64(room)*o.Fill), o.Cycles)); err != nil {
		return err
	}
	im.Messages, im.Expunged = s.messages(), s.gone
	return nil
}

// turnover is the share of the mail that goes in a cycle.
const turnover = .3

func (s *spool) age(until int64, cycles int) error {
	err := s.fill(until, 0)
	for range cycles {
		if err == nil {
			err = s.expunge(turnover)
		}
		if err == nil {
			err = s.fill(until, 0)
		}
	}
	return err
}

// free is how many bytes a mounted file system has for files.
func free(dir string) (int64, error) {
	var s unix.Statfs_t
	err := unix.Statfs(dir, &s)
	return int64(s.Bavail) * s.Bsize, err
}

// Adopt takes an image that somebody else has filled, and reads off it what is
// true. is tells which files are mail and fills in what only their path tells.
func Adopt(path string, o Options, is func(path string) (Message, bool)) (*Image, error) {
	o.defaults()
	im := &Image{Path: path, Options: o}
	t, err := im.tree()
	if err != nil {
		return nil, err
	}
	for at := range t.files {
		if m, ok := is(at); ok {
			m.Path = at
			im.Messages = append(im.Messages, m)
		}
	}
	slices.SortFunc(im.Messages, func(a, b Message) int { return cmp.Compare(a.Path, b.Path) })
	return im, im.survey()
}

// tree reads what is in the image now.
func (im *Image) tree() (*tree, error) {
	f, err := os.Open(im.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil {
		return nil, err
	}
	t, err := walk(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", im.Path, err)
	}
	return t, nil
}

// survey finds out where the messages lie, and that they are what was written.
func (im *Image) survey() error {
	t, err := im.tree()
	if err != nil {
		return err
	}
	f, err := os.Open(im.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range im.Messages {
		m := &im.Messages[i]
		n := t.files[m.Path]
		if n == nil {
			return fmt.Errorf("%s: no %s in it", im.Path, m.Path)
		}
		m.Inode, m.Extents = n.number, n.extents
		b, err := readExtents(f, n.extents, n.size)
		if err != nil {
			return err
		}
		if m.SHA256Stored == "" {
			m.describe(b, wireForm(b))
		}
		if n.size != m.Size || digest256(b) != m.SHA256Stored {
			return fmt.Errorf("%s: %s has other bytes than were written", im.Path, m.Path)
		}
	}
	return nil
}

// String tells what an image is made of.
func (im *Image) String() string {
	var size int64
	contents := map[string]bool{}
	for _, m := range im.Messages {
		contents[m.SHA1] = true
		size += m.Size
	}
	return fmt.Sprintf("%s of %d MiB, seed %d, aged %t: %d messages in %d files' names (%.0f MB), %d expunged before; %s",
		im.Options.FS, im.Options.Size>>20, im.Options.Seed, im.Options.Aged, len(contents), len(im.Messages), float64(size)/1e6, len(im.Expunged), im.Fragments())
}

// Fragments tells how much lies in pieces.
func (im *Image) Fragments() string {
	var count, bytes [3]float64
	most := 0
	for _, m := range im.Messages {
		n := min(max(len(m.Extents), 1), 3) - 1
		count[n]++
		bytes[n] += float64(m.Size)
		most = max(most, len(m.Extents))
	}
	n, b := count[0]+count[1]+count[2], bytes[0]+bytes[1]+bytes[2]
	part := func(i int) string { return fmt.Sprintf("%.1f %% (%.0f %% of bytes)", 100*count[i]/n, 100*bytes[i]/b) }
	return fmt.Sprintf("in one piece %s, in two %s, in more %s, at most %d", part(0), part(1), part(2), most)
}
