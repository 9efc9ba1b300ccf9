package diskimage

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// people are the users, who get less mail from one to the next.
var people = []struct{ store, user, dir string }{
	{Cyrus, "alice", "cyrus/mail/a/user/alice"},
	{Maildir, "mallory@example.org", "vhosts/example.org/mallory/Maildir"},
	{Cyrus, "heidi@example.org", "cyrus/mail/domain/e/example.org/h/user/heidi"},
	{Cyrus, "jane.doe", "cyrus/mail/j/user/jane^doe"},
	{Maildir, "niaj@example.org", "vhosts/example.org/niaj/Maildir"},
	{Cyrus, "ivan@example.org", "cyrus/mail/domain/e/example.org/i/user/ivan"},
	{Cyrus, "bob", "cyrus/mail/b/user/bob"},
	{Maildir, "olivia@example.org", "vhosts/example.org/olivia/Maildir"},
	{Cyrus, "judy@example.org", "cyrus/mail/domain/e/example.org/j/user/judy"},
	{Maildir, "peggy@example.org", "vhosts/example.org/peggy/Maildir"},
}

// everyone's folders and their shares of the mail.
var folders = []struct {
	name  string
	share int
	how   style
}{
	{"INBOX", 6, byCyrus}, {"Sent", 2, bySender}, {"Drafts", 1, asDraft}, {"Archive/2007", 2, byCyrus}, {"Lists", 2, byCyrus}, {"Junk", 1, byCyrus},
}

// stage is where Cyrus writes before it knows where to.
const stage = "cyrus/mail/stage."

// firstDate is when the first message was delivered.
const firstDate = 1188600000

// A folder is one mailbox on the disk.
type folder struct {
	store, user, name, dir string
	how                    style
	uid                    uint32 // the last one given
}

// A filed message may have several names.
type filed struct {
	Message
	folder *folder
	names  *int // of its file
}

// A spool is a server's mail, written as mail stores write. Which mail comes, goes
// and where to is decided by the seed and by room alone.
type spool struct {
	root    string
	press   *press
	r       *rand.Rand
	sync    bool // write to the disk as a server does
	largest int
	room    int64 // bytes that may be used
	used    int64 // bytes of blocks, as counted here
	folders []*folder
	weights []int
	number  int
	live    map[string]*filed
	gone    []Message
	dir     *os.File
}

// overhead is about what a message's inode, name and index records take, bytes.
const overhead = 1200

func newSpool(root string, seed uint64, room int64, largest int, without func(user string) bool) (*spool, error) {
	p, err := newPress(seed)
	if err != nil {
		return nil, err
	}
	s := &spool{root: root, press: p, r: rand.New(rand.NewPCG(seed, 0x5b001)), room: room, largest: largest, live: map[string]*filed{}}
	for i, u := range people {
		if without != nil && without(u.user) {
			continue
		}
		for _, f := range folders {
			how := f.how
			if u.store == Maildir && how == byCyrus {
				how = byDovecot
			}
			s.folders = append(s.folders, &folder{store: u.store, user: u.user, name: f.name, dir: folderDir(u.store, u.dir, f.name), how: how})
			s.weights = append(s.weights, f.share*60/(i+2))
		}
	}
	if s.dir, err = os.Open(root); err != nil {
		return nil, err
	}
	return s, nil
}

func folderDir(store, dir, name string) string {
	switch {
	case name == "INBOX":
		return dir
	case store == Cyrus:
		return dir + "/" + name
	}
	return dir + "/." + strings.ReplaceAll(name, "/", ".")
}

// furnish makes the folders, with the files that a server keeps in them.
func (s *spool) furnish() error {
	if err := os.MkdirAll(filepath.Join(s.root, stage), 0o700); err != nil {
		return err
	}
	for _, f := range s.folders {
		at := filepath.Join(s.root, f.dir)
		var err error
		if f.store == Cyrus {
			err = errors.Join(os.MkdirAll(at, 0o700), f.cyrusFiles(at))
		} else {
			for _, sub := range []string{"cur", "new", "tmp"} {
				err = errors.Join(err, os.MkdirAll(filepath.Join(at, sub), 0o700))
			}
			err = errors.Join(err, f.maildirFiles(at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A delivery is a message being written.
type delivery struct {
	m      filed
	file   *os.File
	stored []byte
	at     int
	twin   []byte // the wire form, if another user gets the same message
}

// writeSize is how much a store writes at once.
const writeSize = 32 << 10

func (s *spool) pick() *folder {
	var sum int
	for _, w := range s.weights {
		sum += w
	}
	x := s.r.IntN(sum)
	for i, w := range s.weights {
		if x -= w; x < 0 {
			return s.folders[i]
		}
	}
	panic("unreachable: shares sum up")
}

// begin opens the file of a new message, or of one that came before (twin).
func (s *spool) begin(f *folder, twin *letter) (*delivery, error) {
	s.number++
	l := letter{}
	if twin != nil {
		l = *twin
	} else {
		l = s.press.print(f.how, f.user, f.store == Maildir, s.largest)
	}
	f.uid++
	d := &delivery{stored: l.wire, m: filed{folder: f, names: new(int), Message: Message{Store: f.store, User: f.user, Folder: f.name, UID: f.uid,
		MessageID: l.id, Date: time.Unix(firstDate+7*int64(s.number), 0).UTC()}}}
	temporary := fmt.Sprintf("%s/%d-%d-0", stage, 20000+s.number, d.m.Date.Unix())
	if f.store == Cyrus {
		d.m.Name = fmt.Sprintf("%d.", f.uid)
		d.m.Path = path.Join(f.dir, d.m.Name)
		if twin == nil && s.r.IntN(40) == 0 {
			d.twin = l.wire
		}
	} else {
		d.stored = lineFeeds(l.wire)
		d.m.Name = fmt.Sprintf("%d.M%dP%d.mail.example.org,S=%d,W=%d", d.m.Date.Unix(), s.number*7919%1000000, 2000+s.number%30000, len(d.stored), len(l.wire))
		temporary = path.Join(f.dir, "tmp", d.m.Name)
		d.m.Path = path.Join(f.dir, "cur", d.m.Name+":2,S")
		if s.r.IntN(4) == 0 {
			d.m.Path = path.Join(f.dir, "new", d.m.Name)
		}
	}
	d.m.describe(d.stored, l.wire)
	var err error
	d.file, err = os.OpenFile(filepath.Join(s.root, temporary), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	return d, err
}

// step writes the next piece; done: the message is filed.
func (s *spool) step(d *delivery) (done bool, err error) {
	if d.at < len(d.stored) {
		n, err := d.file.Write(d.stored[d.at:min(len(d.stored), d.at+writeSize)])
		d.at += n
		return false, err
	}
	if s.sync {
		err = d.file.Sync()
	}
	name := filepath.Join(s.root, d.m.Path)
	if err = errors.Join(err, d.file.Close(), os.Rename(d.file.Name(), name), os.Chtimes(name, d.m.Date, d.m.Date)); err != nil {
		return true, err
	}
	*d.m.names = 1
	s.live[d.m.Path] = &d.m
	s.used += onDisk(d.m.Size)
	if err := d.m.folder.record(s.root, &d.m.Message, d.stored); err != nil {
		return true, err
	}
	return true, s.share(d)
}

func onDisk(size int64) int64 { return (size+blockSize-1)/blockSize*blockSize + overhead }

// share gives another user of Cyrus the same file under a second name, as its
// single instance store does.
func (s *spool) share(d *delivery) error {
	if d.m.Store != Cyrus || s.r.IntN(100) >= 3 {
		return nil
	}
	var others []*folder
	for _, f := range s.folders {
		if f.store == Cyrus && f.user != d.m.User && f.name == "INBOX" {
			others = append(others, f)
		}
	}
	if len(others) == 0 {
		return nil
	}
	f := others[s.r.IntN(len(others))]
	f.uid++
	m := d.m
	m.folder, m.User, m.Folder, m.UID, m.Name = f, f.user, f.name, f.uid, fmt.Sprintf("%d.", f.uid)
	m.Path = path.Join(f.dir, m.Name)
	if err := os.Link(filepath.Join(s.root, d.m.Path), filepath.Join(s.root, m.Path)); err != nil {
		return err
	}
	*m.names++
	s.live[m.Path] = &m
	return f.record(s.root, &m.Message, d.stored)
}

// atOnce is how many deliveries go on at the same time.
const atOnce = 4

// fill lets mail come until so many bytes are used or so many messages have come;
// 0: no matter how many.
func (s *spool) fill(until int64, most int) error {
	var active []*delivery
	defer func() {
		for _, d := range active {
			d.file.Close()
			os.Remove(d.file.Name())
		}
	}()
	pending := int64(0)
	for begun := 0; ; {
		for more := true; more && len(active) < atOnce; {
			if more = s.used+pending < until && (most == 0 || begun < most); !more {
				break
			}
			d, err := s.begin(s.pick(), nil)
			if err != nil {
				return unlessFull(err)
			}
			begun++
			pending += d.m.Size
			active = append(active, d)
		}
		if len(active) == 0 {
			return s.flush()
		}
		i := s.r.IntN(len(active))
		d := active[i]
		done, err := s.step(d)
		if err != nil {
			return unlessFull(err)
		}
		if !done {
			continue
		}
		pending -= d.m.Size
		active = slices.Delete(active, i, i+1)
		if d.twin != nil {
			if err := s.deliverTwin(d); err != nil {
				return unlessFull(err)
			}
		}
		if s.number%200 == 0 {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
}

// deliverTwin gives a message of Cyrus's to a Maildir too, where it has other
// bytes and the same wire form.
func (s *spool) deliverTwin(d *delivery) error {
	for _, f := range s.folders {
		if f.store == Maildir && f.name == "Archive/2007" {
			t, err := s.begin(f, &letter{wire: d.twin, id: d.m.MessageID})
			for done := false; err == nil && !done; {
				done, err = s.step(t)
			}
			return err
		}
	}
	return nil
}

// unlessFull lets a full disk end the deliveries, as it does for a server.
func unlessFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

// flush is the periodic write-back.
func (s *spool) flush() error {
	if !s.sync {
		return nil
	}
	return unix.Syncfs(int(s.dir.Fd()))
}

// expunge removes a share of the messages, as users do.
func (s *spool) expunge(share float64) error {
	touched := map[*folder]bool{}
	for _, at := range slices.Sorted(maps.Keys(s.live)) {
		if s.r.Float64() >= share {
			continue
		}
		m := s.live[at]
		if err := os.Remove(filepath.Join(s.root, at)); err != nil {
			return err
		}
		delete(s.live, at)
		if *m.names--; *m.names == 0 {
			s.used -= onDisk(m.Size)
		}
		s.gone = append(s.gone, m.Message)
		touched[m.folder] = true
	}
	if err := s.flush(); err != nil { // what was removed is free only then
		return err
	}
	for _, f := range s.folders {
		if touched[f] && f.store == Cyrus {
			if err := f.rewrite(s.root, share); err != nil {
				return err
			}
		}
	}
	return s.flush()
}

// messages gives what is there, by path.
func (s *spool) messages() []Message {
	var all []Message
	for _, at := range slices.Sorted(maps.Keys(s.live)) {
		all = append(all, s.live[at].Message)
	}
	return all
}

// end gives back what the spool holds of the disk.
func (s *spool) end() error { return s.dir.Close() }
