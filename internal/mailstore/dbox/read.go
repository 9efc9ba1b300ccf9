package dbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
)

// Open opens a message where it stands now: mdbox may have moved it to another
// file since it was listed.
func (s *Source) Open(ctx context.Context, m mailstore.Mailbox, msg mailstore.Message) (r io.ReadCloser, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.with(m.User, func(a *account) error {
		o := opening{ctx: ctx, box: a.box(m.Name), msg: msg}
		r, err = o.open()
		switch {
		case err == nil, errors.Is(err, mailstore.ErrVanished), ctx.Err() != nil:
			return err
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, mailstore.ErrDamaged):
			if o.vanished() {
				return mailstore.ErrVanished
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = damaged("its file is missing%s", a.altHint())
			}
		}
		return a.problem(m.Name, o.path(), err)
	})
	return r, err
}

// opening opens one message.
type opening struct {
	ctx  context.Context
	box  box
	msg  mailstore.Message
	name string // of the file, below the root
	at   int64  // of the message in it; 0 the first
}

// path is where the message stands, for people.
func (o *opening) path() string {
	if o.name == "" {
		return o.box.path(o.msg.Place)
	}
	p := filepath.Join(o.box.a.root.Name(), o.name)
	if o.at > 0 {
		p += fmt.Sprintf(" at byte %d", o.at)
	}
	return p
}

func (o *opening) open() (io.ReadCloser, error) {
	if o.box.a.opt.Kind == Single {
		if _, ok := numbered(o.msg.Place, "u."); !ok {
			return nil, errForeign
		}
		o.name = path.Join(o.box.mails(), o.msg.Place)
		return o.read("")
	}
	p, err := parsePlace(o.msg.Place)
	if err != nil {
		return nil, err
	}
	return o.openPlace(p)
}

// A place is where an mdbox message was when it was listed, and how to find it
// again.
type place struct {
	location
	mapUID uint32 // 0: unknown
	guid   string // "": unknown
}

const placeForm = "m.%d:%d map %d guid %s"

func (p place) String() string {
	return fmt.Sprintf(placeForm, p.file, p.offset, p.mapUID, cmp.Or(p.guid, "-"))
}

func parsePlace(s string) (p place, err error) {
	if _, err := fmt.Sscanf(s, placeForm, &p.file, &p.offset, &p.mapUID, &p.guid); err != nil || p.offset < 0 {
		return p, errForeign
	}
	p.guid = strings.TrimPrefix(p.guid, "-")
	return p, nil
}

var errForeign = errors.New("the message was not listed by this source")

// openPlace opens an mdbox message: where it was, where the map says that it is
// now, or wherever its GUID stands.
func (o *opening) openPlace(p place) (io.ReadCloser, error) {
	r, err := o.openAt(p.location, p.guid)
	if err == nil || !again(err) {
		return r, err
	}
	if m, mapErr := o.box.a.loadMap(); mapErr == nil && p.mapUID != 0 {
		if at, mapErr := o.box.a.find(o.ctx, m, p.mapUID, p.guid); mapErr == nil && at != p.location {
			if r, err = o.openAt(at, p.guid); err == nil || !again(err) {
				return r, err
			}
		}
	}
	if at, searchErr := o.box.a.search(o.ctx, p.guid); searchErr == nil {
		return o.openAt(at, p.guid)
	}
	return nil, err
}

// again tells whether a message may stand somewhere else.
func again(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, mailstore.ErrDamaged) && !errors.Is(err, errOutside)
}

// openAt opens the message at a location of the storage.
func (o *opening) openAt(at location, guid string) (io.ReadCloser, error) {
	o.name, o.at = path.Join(storageDir, fmt.Sprintf("m.%d", at.file)), at.offset
	return o.read(guid)
}

// read opens the file and checks what stands there; a GUID of "" fits any.
func (o *opening) read(guid string) (_ io.ReadCloser, err error) {
	f, closeFile, err := o.box.a.open(o.name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeFile()
		}
	}()
	d, err := openFile(f, sizeOf(f))
	if err != nil && (o.at == 0 || !errors.Is(err, mailstore.ErrDamaged)) {
		return nil, err // the place of an sdbox message follows from the first line
	}
	at := o.at
	if at == 0 {
		at = d.first
	}
	e, err := d.entry(at)
	switch {
	case err != nil:
		return nil, err
	case guid != "" && !strings.EqualFold(e.guid, guid):
		return nil, damaged("another message stands where %s should", guid)
	case e.outside:
		return nil, fmt.Errorf("%w: %w", mailstore.ErrDamaged, errOutside)
	}
	return &mail{
		Reader:  atrest.NewReader(io.NewSectionReader(d, e.body, e.size), e.plain),
		file:    f,
		problem: o.box.a.problem(o.box.name, o.path(), nil),
	}, nil
}

var errOutside = errors.New("its attachments are kept in files of their own (mail_attachment_dir), which are not read: back this user up over IMAP")

// vanished tells whether the message was deleted since it was listed: the index
// does not name it any more, or there is no index and the file is gone.
func (o *opening) vanished() bool {
	ix, err := o.box.readIndex()
	if err != nil {
		return o.box.a.opt.Kind == Single && !o.exists()
	}
	return o.msg.UID != 0 && ix.Find(uint32(o.msg.UID)) == nil
}

func (o *opening) exists() bool {
	_, closeFile, err := o.box.a.open(o.name)
	if err == nil {
		closeFile()
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// altHint says that a missing file may be where nobody looked.
func (a *account) altHint() string {
	if a.alt != nil {
		return ""
	}
	if to, err := a.root.Readlink(altLink); err == nil {
		return fmt.Sprintf("; Dovecot keeps some mail in %q: add ALT=", to)
	}
	return ""
}

// A mail reads one message.
type mail struct {
	*atrest.Reader
	file    *os.File
	problem *mailstore.Problem
}

// Read reads on; an error names the file.
func (m *mail) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	pr := *m.problem
	pr.Err = err
	return n, &pr
}

// Close closes the file.
func (m *mail) Close() error { return errors.Join(m.Reader.Close(), m.file.Close()) }
