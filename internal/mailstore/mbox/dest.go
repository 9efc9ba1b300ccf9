package mbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// A Destination writes mboxes. Accounts of different users may be used at the
// same time, one account by one goroutine at a time.
type Destination struct {
	opt Options

	mu   sync.Mutex
	only string // the user of a root without variables
}

var (
	_ mailstore.Destination = (*Destination)(nil)
	_ mailstore.Looker      = (*Destination)(nil)
	_ mailstore.Renumberer  = (*Destination)(nil)
)

// Create gives a destination. Its root is a file where one is there or the name
// ends in .mbox, else a directory. Nothing is made yet.
func Create(o Options) (*Destination, error) {
	if info, err := os.Stat(o.Root.Fixed()); err == nil && o.Root.Variable() && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", o.Root.Fixed())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Destination{opt: o}, nil
}

// Account opens a user's mboxes, and keeps other restores out of them until it
// is closed. A directory is made where it is not there.
func (d *Destination) Account(ctx context.Context, user string) (mailstore.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !d.opt.Root.Variable() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.only == "" {
			d.only = user
		}
		if d.only != user {
			return nil, fmt.Errorf("%s already gets the mail of %q: put %%u into the path", d.opt.Root, d.only)
		}
	}
	h, err := d.target(user)
	if err != nil {
		return nil, fmt.Errorf("make the mboxes of %q: %w", user, err)
	}
	a := &account{opt: &d.opt, home: h, owner: deliver.OwnerOf(h.root), boxes: map[string]*box{}, names: map[string]*box{}}
	if a.unlock, err = a.lockHome(ctx, restoreWait); err != nil {
		return nil, errors.Join(err, h.root.Close())
	}
	return a, nil
}

// target opens a user's place for writing.
func (d *Destination) target(user string) (*home, error) {
	h, err := openHome(&d.opt, user)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !isUnusable(err) {
		return h, err
	}
	h = &home{user: user}
	if strings.HasSuffix(d.opt.Root.String(), ".mbox") {
		h.root, h.file, err = d.opt.Root.CreateParent(user)
	} else {
		h.root, err = d.opt.Root.CreateRoot(user)
	}
	return h, err
}

// isUnusable tells an error about a user's name from one about a file: a
// destination takes any name.
func isUnusable(err error) bool {
	var p *fs.PathError
	return !errors.As(err, &p)
}

// Renumbers says that UIDs are not kept: messages are numbered by whoever opens
// the mbox, in their order.
func (d *Destination) Renumbers(_ context.Context, _ string, m mailstore.Mailbox) (why string, err error) {
	if m.UIDValidity == 0 {
		return "", nil // there are none
	}
	return "an mbox keeps no UIDs", nil
}

// Look yields what a folder holds, without making anything.
func (d *Destination) Look(ctx context.Context, user, mailbox string, yield func(chunk.ID) error) error {
	h, err := openHome(&d.opt, user)
	if errors.Is(err, fs.ErrNotExist) || err != nil && isUnusable(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.root.Close()
	return present(ctx, h.root, fileOf(&d.opt, h, mailbox), yield)
}

// fileOf is the file of a folder.
func fileOf(o *Options, h *home, mailbox string) string {
	if h.file != "" {
		return h.file
	}
	f := folder.Files{Encoding: o.Encoding, Reserved: reservedAtTop}
	if folder.TooDeep(mailbox) {
		return f.Hashed(mailbox)
	}
	levels := strings.Split(mailbox, "/")
	for i, l := range levels {
		f.Reserved = reserved
		if i == 0 {
			f.Reserved = reservedAtTop
		}
		if i > 0 || !strings.EqualFold(l, folder.Inbox) {
			levels[i] = f.Name(l)
		} else {
			levels[i] = folder.Inbox
		}
		if i < len(levels)-1 {
			levels[i] += childSuffix
		}
	}
	return path.Join(levels...)
}

// nameOf is the name under which a Source of the same options lists a file.
func nameOf(o *Options, file string) string {
	levels := strings.Split(file, "/")
	for i, l := range levels {
		if i < len(levels)-1 {
			l = strings.TrimSuffix(l, childSuffix)
		}
		levels[i] = o.Encoding.DecodeLevel(l)
	}
	return strings.Join(levels, "/")
}

// reserved tells names that this package takes for something else than an mbox.
func reserved(disk string) bool {
	return strings.HasPrefix(disk, ".") || strings.HasSuffix(disk, childSuffix) || foreign(disk) || len(disk) > folder.MaxFile-len(".lock")
}

func reservedAtTop(disk string) bool {
	return reserved(disk) || disk == "mbox" || strings.EqualFold(disk, folder.Inbox)
}

// account is one user's mboxes.
type account struct {
	opt   *Options
	home  *home
	owner deliver.Owner
	boxes map[string]*box // by file
	names map[string]*box // the same, by folder
	err   error

	dropped map[string]int
	notes   []mailstore.Note

	unlock func() // lets other restores in; nil after Close
}

// box is a folder. What is added to it stands in tmp until the account is
// closed.
type box struct {
	file string         // below the root
	name string         // the mailbox
	tmp  string         // "" for nothing added
	tail []byte         // the end of tmp
	held map[string]int // messages in tmp, by mailbox
}

var (
	_ mailstore.Dropper = (*account)(nil)
	_ mailstore.Noter   = (*account)(nil)
)

// Notes are what the operator should know.
func (a *account) Notes() []mailstore.Note { return a.notes }

// Dropped is what did not come out of the temporary files.
func (a *account) Dropped() map[string]int { return a.dropped }

// Mailbox notes a folder, and finishes what a killed salvor was adding to it.
// An empty folder gets an empty file.
func (a *account) Mailbox(ctx context.Context, m mailstore.Mailbox) error {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return err
	}
	if a.names[m.Name] != nil {
		return nil
	}
	b := &box{file: fileOf(a.opt, a.home, m.Name), name: m.Name}
	if old := a.boxes[b.file]; old != nil {
		if a.home.file != "" {
			return fmt.Errorf("%s is one file and already gets folder %q: name a directory to restore several folders, or choose one", a.home.file, old.name)
		}
		a.names[m.Name] = old // inbox is INBOX
		return nil
	}
	if shown := nameOf(a.opt, b.file); a.home.file == "" && shown != m.Name && !strings.EqualFold(m.Name, folder.Inbox) {
		a.notes = append(a.notes, mailstore.Note{User: a.home.user, Mailbox: m.Name,
			What: fmt.Sprintf("the folder is called %q there, as no file may have its name", shown)})
	}
	if err := a.prepare(ctx, b); err != nil {
		return fmt.Errorf("make folder %q of %q: %w", m.Name, a.home.user, err)
	}
	a.boxes[b.file], a.names[m.Name] = b, b
	return nil
}

func (a *account) prepare(ctx context.Context, b *box) error {
	if _, err := a.owner.Mkdir(a.home.root, path.Dir(b.file)); err != nil {
		return err
	}
	if err := a.recover(ctx, b); err != nil {
		return err
	}
	f, err := deliver.OpenRegular(a.home.root, b.file)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = a.home.root.OpenFile(b.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = a.owner.Own(f)
			return errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if is, err := looksLikeMbox(f); err != nil || !is {
		return errors.Join(err, fmt.Errorf("%s: %w", b.file, errNotMbox))
	}
	return nil
}

// Present yields what a folder holds.
func (a *account) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	if a.err != nil {
		return a.err
	}
	file := fileOf(a.opt, a.home, mailbox)
	if b := a.boxes[file]; b != nil && b.tmp != "" {
		if err := a.flush(ctx, b); err != nil {
			return err
		}
	}
	return present(ctx, a.home.root, file, yield)
}

// present reads a file; one that is not there holds nothing.
func present(ctx context.Context, root *os.Root, file string, yield func(chunk.ID) error) error {
	f, err := deliver.OpenRegular(root, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	defer lockShared(ctx, f)()
	return split(f, &hasher{ctx: ctx, sum: chunk.NewWireHasher(), yield: yield})
}

// A hasher is a visitor that yields the identity of each message, as it was
// before it was quoted.
type hasher struct {
	ctx     context.Context
	sum     *chunk.WireHasher
	yield   func(chunk.ID) error
	quoted  bool
	midline bool
	start   int64
	size    int64 // handed to sum, with what was unquoted
	held    []byte
}

func (h *hasher) begin(s separator, offset int64) error {
	h.sum.Reset()
	h.quoted, h.midline, h.held = s.sender == quotedSender, false, h.held[:0]
	h.start, h.size = offset, 0
	return h.ctx.Err()
}

func (h *hasher) line(b []byte) error {
	h.add(h.held)
	n := len(b) - lineEnd(b)
	text := b[:n]
	if h.quoted && !h.midline && len(b) > 0 && b[0] == '>' && isQuotable(b) {
		text = text[1:]
		h.size++
	}
	h.midline = n == len(b)
	h.add(text)
	h.held = append(h.held[:0], b[n:]...)
	return nil
}

func (h *hasher) add(b []byte) {
	h.sum.Write(b)
	h.size += int64(len(b))
}

func (h *hasher) end(offset int64) error {
	if missing := offset - h.start - h.size; missing > 0 && missing <= int64(len(h.held)) {
		h.add(h.held[:missing])
	}
	id, _, _ := h.sum.Sums()
	return h.yield(id)
}

// Add appends a message to what waits for the account to be closed.
func (a *account) Add(ctx context.Context, d mailstore.Delivery) (mailstore.UID, error) {
	if err := errors.Join(a.err, ctx.Err()); err != nil {
		return 0, err
	}
	b := a.names[d.Mailbox]
	if b == nil {
		return 0, fmt.Errorf("folder %q was not opened", d.Mailbox)
	}
	if err := a.add(b, d); err != nil {
		a.err = fmt.Errorf("add a message to folder %q of %q: %w", d.Mailbox, a.home.user, err)
		return 0, a.err
	}
	b.held[d.Mailbox]++
	return 0, nil
}

func (a *account) add(b *box, d mailstore.Delivery) error {
	flags := os.O_WRONLY | os.O_APPEND
	if b.tmp == "" {
		b.tmp, b.tail, b.held = path.Join(path.Dir(b.file), deliver.TmpName()), nil, map[string]int{}
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := a.home.root.OpenFile(b.tmp, flags, 0o600)
	if err != nil {
		return err
	}
	text := compose([]byte(joint(b.tail)), body(d), d.InternalDate)
	_, err = f.Write(text)
	b.tail = append(b.tail[:0], text[max(0, len(text)-maxSeparator-2):]...)
	return errors.Join(err, f.Close())
}

// body is what is written of a message: its LF form, unless that holds a CRLF.
// Such a message ("x\r\r\n" on the wire) would be read as another one, so its
// stored bytes are written.
func body(d mailstore.Delivery) []byte {
	if bytes.Contains(d.LF, []byte("\r\n")) {
		return d.Stored
	}
	return d.LF
}

// Close adds to the files what waits, and makes it durable. After an error it
// takes back what waits.
func (a *account) Close(ctx context.Context) error {
	a.dropped = map[string]int{}
	for _, b := range a.boxes {
		if b.tmp != "" && a.err == nil {
			a.err = a.flush(ctx, b)
		}
		if b.tmp != "" {
			a.home.root.Remove(b.tmp)
			for mailbox, n := range b.held {
				a.dropped[mailbox] += n
			}
		}
	}
	if a.err == nil {
		a.err = deliver.Sync(a.home.root)
	}
	if a.unlock != nil {
		a.unlock()
		a.unlock = nil
	}
	err := a.err
	a.err = errors.Join(a.err, fs.ErrClosed)
	if e := a.home.root.Close(); e != nil {
		return errors.Join(err, e)
	}
	return err // Add's own, so that nobody tells it twice
}

// readTail reads the end of a file, enough to hold a separator line.
func readTail(f *os.File, size int64) ([]byte, error) {
	buf := make([]byte, min(size, maxSeparator+2))
	_, err := f.ReadAt(buf, size-int64(len(buf)))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf, err
}
