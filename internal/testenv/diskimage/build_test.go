package diskimage

import (
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kinds are the images that tests use.
var kinds = []Options{{FS: Ext4, Seed: 1, Size: small}, {FS: XFS, Seed: 2, Size: small}, {FS: Ext2, Seed: 5, Size: small}, {FS: Ext3, Seed: 6, Aged: true, Cycles: 1, Size: small},
	{FS: Ext4, Seed: 3, Aged: true, Size: small}, {FS: XFS, Seed: 4, Aged: true, Size: small}}

// small is enough to be wrong with.
const small = 64 << 20

// What the readers of this package say is what the kernel says.
func TestTruthIsWhatAMountShows(t *testing.T) {
	for _, o := range kinds {
		t.Run(o.FS, func(t *testing.T) {
			im := Build(t, o)
			m, err := mount(im.Path, "ro")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Unmount(t)
			seen := map[string]bool{}
			for i, message := range im.Messages {
				at := filepath.Join(m.Dir, message.Path)
				b, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				if digest256(b) != message.SHA256Stored || digest1(wireForm(b)) != message.SHA1 {
					t.Errorf("%s: other bytes", message.Path)
				}
				info, err := os.Stat(at)
				if err != nil {
					t.Fatal(err)
				}
				if info.Sys().(*syscall.Stat_t).Ino != message.Inode {
					t.Errorf("%s: inode %d, not %d", message.Path, info.Sys().(*syscall.Stat_t).Ino, message.Inode)
				}
				if o.Aged && !info.ModTime().Equal(message.Date) {
					t.Errorf("%s: of %s, not %s", message.Path, info.ModTime(), message.Date)
				}
				if i%10 == 0 || len(message.Extents) > 10 {
					if got := fiemap(t, at); !reflect.DeepEqual(got, message.Extents) {
						t.Errorf("%s lies at %v, not at %v", message.Path, got, message.Extents)
					}
				}
				seen[message.Path] = true
			}
			names := 0
			filepath.WalkDir(m.Dir, func(path string, d os.DirEntry, err error) error {
				base := filepath.Base(filepath.Dir(path))
				if err == nil && d.Type().IsRegular() && (base == "cur" || base == "new" || isNumbered(d.Name())) {
					names++
				}
				return err
			})
			if names != len(seen) {
				t.Errorf("%d messages on the disk, %d in the truth", names, len(seen))
			}
		})
	}
}

// isNumbered: a message of Cyrus's.
func isNumbered(name string) bool { return name[len(name)-1] == '.' }

// fiemap asks the kernel where a file lies (linux/fiemap.h).
func fiemap(t *testing.T, path string) (all []Extent) {
	t.Helper()
	const most, ioctl, flagSync, flagLast = 200, 0xc020660b, 1, 1
	type extent struct {
		logical, physical, length uint64
		_                         [2]uint64
		flags                     uint32
		_                         [3]uint32
	}
	var request struct {
		start, length                 uint64
		flags, mapped, count, reserve uint32
		extents                       [most]extent
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		request.length, request.flags, request.count = ^uint64(0)-request.start, flagSync, most
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctl, uintptr(unsafe.Pointer(&request))); errno != 0 {
			t.Fatal(errno)
		}
		for _, e := range request.extents[:request.mapped] {
			all = append(all, Extent{int64(e.logical), int64(e.physical), int64(e.length)})
			if request.start = e.logical + e.length; e.flags&flagLast != 0 {
				return join(all)
			}
		}
		if request.mapped == 0 {
			return join(all)
		}
	}
}

// The same seed gives the same mail in the same places.
func TestSeedsRepeat(t *testing.T) {
	plain := func(messages []Message) []Message {
		messages = append([]Message(nil), messages...)
		for i := range messages {
			messages[i].Inode, messages[i].Extents = 0, nil
		}
		return messages
	}
	for _, o := range []Options{{Seed: 7, Fill: .2, Size: small}, {Seed: 7, FS: XFS, Aged: true, Size: small, Fill: .8, Cycles: 1}} {
		one, two := Build(t, o), Build(t, o)
		if !reflect.DeepEqual(plain(one.Messages), plain(two.Messages)) || !reflect.DeepEqual(one.Expunged, two.Expunged) {
			t.Errorf("%s made twice is not the same", o.FS)
		}
		o.Seed++
		if other := Build(t, o); reflect.DeepEqual(plain(one.Messages), plain(other.Messages)) {
			t.Errorf("%s: another seed gives the same", o.FS)
		}
	}
}

// The population has everything that a salvage can stumble over.
func TestPopulation(t *testing.T) {
	im := Build(t, Options{Seed: 5, Aged: true})
	var short, exact, medium, large, eight, twins, links, withoutID int
	byWire, byInode := map[string]string{}, map[uint64]bool{}
	f, err := os.Open(im.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	heads := map[string]bool{}
	for _, m := range im.Messages {
		count := func(n *int, is bool) {
			if is {
				*n++
			}
		}
		count(&short, m.Size < 512)
		count(&exact, m.Size%blockSize == 0)
		count(&medium, m.Size > 64<<10 && m.Size < 1<<20)
		count(&large, m.Size > 1<<20)
		count(&twins, byWire[m.SHA1] != "" && byWire[m.SHA1] != m.SHA256Stored)
		count(&links, byInode[m.Inode])
		count(&withoutID, m.MessageID == "")
		byWire[m.SHA1], byInode[m.Inode] = m.SHA256Stored, true
		b, err := readExtents(f, m.Extents, m.Size)
		if err != nil {
			t.Fatal(err)
		}
		head := b[:min(len(b), 4000)]
		for _, c := range b {
			if c >= 0x80 {
				eight++
				break
			}
		}
		for i, c := range head {
			if c == ':' {
				heads[string(head[:i])] = true
				break
			}
		}
	}
	t.Logf("%d short, %d exact, %d medium, %d large, %d with 8 bits, %d twins, %d links, %d without id; they begin with %d different fields", short, exact, medium, large, eight, twins, links, withoutID, len(heads))
	for name, n := range map[string]int{"short": short, "exact": exact, "medium": medium, "large": large, "8 bits": eight, "twins": twins, "links": links, "without id": withoutID, "beginnings": len(heads) - 5} {
		if n < 3 {
			t.Errorf("only %d %s", n, name)
		}
	}
}
