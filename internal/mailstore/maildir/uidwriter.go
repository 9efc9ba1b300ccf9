package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// A uidWriter keeps the dovecot-uidlist of a folder that no server has indexed.
type uidWriter struct {
	header  uidHeader
	lines   []uidText
	taken   map[mailstore.UID]bool
	keep    bool // the source's UIDs are right here
	changed bool
	stat    fileStat // of the file as it was read or written last
}

// uidText is a line, its text as it follows the UID.
type uidText struct {
	uid  mailstore.UID
	text string
}

// chooseUIDs decides who numbers the messages of a folder.
func (w *writer) chooseUIDs(b *box, m mailstore.Mailbox) error {
	u, err := w.account.readUIDs(b.place, b.used)
	if err != nil {
		return err
	}
	indexed := w.account.hasIndex(b.place)
	if why := w.opt.renumbers(u, m, indexed, len(b.used)); why == damagedUIDs {
		w.note(m.Name, "%s", why)
		return nil
	} else if indexed && why != "" {
		return nil // Dovecot numbers the messages
	}
	switch {
	case indexed && w.opt.Offline:
		if err := w.account.idle(b.place); err != nil {
			return err
		}
	case indexed: // it has lost its uidlist and all messages
		if err := w.putAside(b); err != nil {
			return err
		}
	}
	if u == nil || w.opt.Offline && u.header.validity != m.UIDValidity && len(b.used) == 0 {
		u = w.newUIDs(m, u)
		// An index is put aside only for messages that come back.
		u.changed = !indexed || !w.opt.Offline
	}
	u.keep = u.header.validity == m.UIDValidity
	if u.keep {
		u.header.next = max(u.header.next, m.UIDNext)
	}
	b.uids = u
	return nil
}

// newUIDs begins a uidlist, in the place of an old one or of none.
func (w *writer) newUIDs(m mailstore.Mailbox, old *uidWriter) *uidWriter {
	u := &uidWriter{taken: map[mailstore.UID]bool{}}
	u.header = uidHeader{validity: m.UIDValidity, next: max(1, m.UIDNext)}
	if u.header.validity == 0 {
		u.header.validity = uint32(time.Now().Unix())
	}
	if old != nil {
		u.stat, u.header.guid = old.stat, old.header.guid
	}
	if isHex(m.ObjectID, 32) && !w.guidInUse(m.ObjectID) {
		u.header.guid = m.ObjectID
		w.guids[m.ObjectID] = true
	}
	return u
}

// guidInUse tells whether another folder of the account has a GUID, as when
// mail is restored beside the folder that it came from.
func (w *writer) guidInUse(guid string) bool {
	if w.guids == nil {
		w.guids = map[string]bool{}
		l := folderLister{s: &Source{opt: *w.opt}, a: w.account}
		for _, p := range l.find(context.Background()) {
			f, err := deliver.OpenRegular(w.account.controlOf(p), path.Join(p.control, uidlistName))
			if err != nil {
				continue
			}
			if info, err := f.Stat(); err == nil {
				sum, _ := peekUIDList(f, info.Size())
				w.guids[sum.guid] = true
			}
			f.Close()
		}
	}
	return w.guids[guid]
}

// readUIDs reads the folder's uidlist; nil where there is none, without a
// UIDVALIDITY where it is damaged. Lines without a file are left out.
func (a *account) readUIDs(p place, used map[string]bool) (*uidWriter, error) {
	if a.controlOf(p) == nil {
		return nil, nil
	}
	f, err := deliver.OpenRegular(a.controlOf(p), path.Join(p.control, uidlistName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	u := &uidWriter{taken: map[mailstore.UID]bool{}}
	if err := unix.Fstat(int(f.Fd()), &u.stat.Stat_t); err != nil {
		return nil, err
	}
	sum, err := readUIDList(f, func(l uidLine) {
		if used[string(l.base)] {
			u.lines = append(u.lines, uidText{l.uid, l.textV3()})
			u.taken[l.uid] = true
		}
	})
	if errors.Is(err, errNoUIDList) || err == nil && sum.bad != "" {
		return &uidWriter{}, nil
	}
	u.header = sum.uidHeader
	u.header.next = sum.uidNext()
	return u, err
}

// take gives a message its UID: its own where that is right here and free, else
// the next.
func (u *uidWriter) take(want mailstore.UID, base string) mailstore.UID {
	uid := want
	if !u.keep || uid == 0 || u.taken[uid] {
		uid = mailstore.UID(u.header.next)
		for uid != 0 && u.taken[uid] {
			uid++
		}
		if uid == 0 { // all are used up; the server will have to begin anew
			return 0
		}
	}
	if n := uint32(uid) + 1; n > u.header.next {
		u.header.next = n
	}
	u.taken[uid] = true
	u.lines = append(u.lines, uidText{uid, ":" + base})
	u.changed = true
	return uid
}

// text is the whole file.
func (u *uidWriter) text() []byte {
	sort.Slice(u.lines, func(i, j int) bool { return u.lines[i].uid < u.lines[j].uid })
	var b bytes.Buffer
	fmt.Fprintf(&b, "3 V%d N%d", u.header.validity, u.header.next)
	if u.header.guid != "" {
		fmt.Fprintf(&b, " G%s", u.header.guid)
	}
	b.WriteByte('\n')
	for _, l := range u.lines {
		fmt.Fprintf(&b, "%d %s\n", l.uid, l.text)
	}
	return b.Bytes()
}

// writeUIDs writes the uidlist under a temporary name. If a server has begun to
// use the folder meanwhile, its numbers count and ours are dropped.
func (w *writer) writeUIDs(b *box) (commit func() error, err error) {
	if b.uids == nil || !b.uids.changed {
		return nil, nil
	}
	root, name := w.account.controlOf(b.place), path.Join(b.place.control, uidlistName)
	var now fileStat
	if f, err := deliver.OpenRegular(root, name); err == nil {
		now.there = unix.Fstat(int(f.Fd()), &now.Stat_t) == nil
		f.Close()
	}
	same := now.Ino == b.uids.stat.Ino && now.Mtim == b.uids.stat.Mtim && now.Size == b.uids.stat.Size
	indexed := w.account.hasIndex(b.place)
	switch {
	case w.opt.Offline && !same:
		return nil, fmt.Errorf("%s changed while the folder was restored offline: %s", path.Join(root.Name(), name), stopIt)
	case w.opt.Offline:
		if err := w.account.idle(b.place); err != nil {
			return nil, err
		}
	case !same || indexed:
		w.note(b.place.name, "a mail server opened the folder while it was restored, and gives the messages new UIDs")
		b.uids = nil
		return nil, nil
	}
	rename, err := w.owner.Replace(root, name, b.uids.text())
	if err != nil {
		return nil, err
	}
	return func() error {
		if indexed { // first: it would make Dovecot refuse what the list says
			if err := w.putAside(b); err != nil {
				return err
			}
		}
		if err := rename(); err != nil {
			return err
		}
		f, err := deliver.OpenRegular(root, name)
		if err != nil {
			return err
		}
		defer f.Close()
		b.uids.changed = false
		return unix.Fstat(int(f.Fd()), &b.uids.stat.Stat_t)
	}, nil
}
