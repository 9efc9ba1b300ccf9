package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/dovecot/index"
)

var _ mailstore.Renumberer = (*Destination)(nil)

// Why messages get new UIDs.
const (
	damagedUIDs  = "dovecot-uidlist is damaged and is left alone: Dovecot will give all messages new UIDs"
	indexedUIDs  = "Dovecot has indexed the folder, and refuses old UIDs; stop it and use --offline to keep them"
	validityUIDs = "the folder there has another UIDVALIDITY"
)

const stopIt = "stop the mail server, or lock the user out, before you restore with --offline"

// renumbers says why messages get new UIDs in a folder with this uidlist (nil:
// none) and so many messages; "" where they keep theirs.
func (o *Options) renumbers(u *uidWriter, m mailstore.Mailbox, indexed bool, messages int) string {
	switch {
	case u != nil && u.header.validity == 0:
		return damagedUIDs
	case indexed && !o.Offline && (u != nil || messages > 0):
		return indexedUIDs
	case u != nil && u.header.validity != m.UIDValidity && (!o.Offline || messages > 0):
		return validityUIDs
	}
	return ""
}

// Renumbers says why the messages of a folder will get new UIDs. A single
// message does so, too, where another one has its UID.
func (d *Destination) Renumbers(ctx context.Context, user string, m mailstore.Mailbox) (why string, err error) {
	if err := ctx.Err(); err != nil || m.UIDValidity == 0 {
		return "", err
	}
	s := Source{opt: d.opt}
	a, err := s.openAccount(user)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer a.Close()
	p := d.opt.targetOf(m.Name)
	used, err := a.used(p)
	if err != nil {
		return "", err
	}
	u, err := a.readUIDs(p, used)
	if err != nil {
		return "", err
	}
	return d.opt.renumbers(u, m, a.hasIndex(p), len(used)), nil
}

// used finds the base names in a folder; of one that is not there, none.
func (a *account) used(p place) (map[string]bool, error) {
	used := map[string]bool{}
	for _, sub := range []string{"new", "cur"} {
		d, err := a.rootOf(p).OpenFile(path.Join(p.dir, sub), deliver.DirFlags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names, err := readDir(d)
		d.Close()
		if err != nil {
			return nil, err
		}
		for _, e := range names {
			used[baseName(e.name)] = true
		}
	}
	return used, nil
}

// lockAge is for how long a lock counts that its holder does not touch: as long
// as for Dovecot.
const lockAge = 2 * time.Minute

// idle refuses a folder that a mail server can be seen to work on: it holds a
// lock, or has the folder's log open.
func (a *account) idle(p place) error {
	for name, root := range map[string]*os.Root{
		path.Join(p.index, "dovecot.index.log.lock"): a.indexOf(p),
		path.Join(p.index, "dovecot.index.lock"):     a.indexOf(p),
	} {
		if info, err := root.Lstat(name); err == nil && time.Since(info.ModTime()) < lockAge {
			return fmt.Errorf("%s is there: %s", filepath.Join(root.Name(), name), stopIt)
		}
	}
	name := path.Join(p.index, "dovecot.index.log")
	f, err := deliver.OpenRegular(a.indexOf(p), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// The kernel grants a read lease only while nobody has the file open for
	// writing (fcntl(2)). Where it grants none at all, nothing is known.
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("a mail server has %s open: %s", filepath.Join(a.indexOf(p).Name(), name), stopIt)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return err
	}
	return nil
}

// asideMark begins what is added to the names of files that are put aside.
const asideMark = ".salvor-"

// putAside renames Dovecot's indexes of a folder, and those that the account has
// of all its folders: they would make Dovecot refuse the old UIDs, and it makes
// new ones out of what stands beside the messages.
func (w *writer) putAside(b *box) error {
	suffix := asideMark + time.Now().UTC().Format("20060102T150405Z")
	folder, err := w.asideNames(w.account.indexOf(b.place), b.place.index, "dovecot.index", &suffix)
	if err != nil {
		return err
	}
	list, err := w.asideNames(w.account.index, ".", "dovecot.list.index", &suffix)
	if err != nil {
		return err
	}
	if n := w.onlyIndexed(b.place); n > 0 {
		w.notes = append(w.notes, mailstore.Note{
			User: w.account.user, Mailbox: b.place.name, Loss: true,
			What: fmt.Sprintf("%d messages had flags or keywords that stood only in Dovecot's index, which was put aside (dovecot.index*%s)", n, suffix),
		})
	}
	for _, name := range folder {
		if err := w.account.indexOf(b.place).Rename(name, name+suffix); err != nil {
			return err
		}
	}
	for _, name := range list {
		if err := w.account.index.Rename(name, name+suffix); err != nil {
			return err
		}
	}
	w.note(b.place.name, "Dovecot's index of the folder was put aside (dovecot.index*%s); Dovecot makes a new one, in which MODSEQs begin anew", suffix)
	return nil
}

// dirty marks a record whose flags are not in the message's name yet.
const dirty index.Flags = 0x80

// onlyIndexed counts the messages of which the folder's index knows flags or
// keywords that stand nowhere else: a Maildir has room for 26 keywords. Of an
// index that cannot be read nothing can be lost.
func (w *writer) onlyIndexed(p place) (n int) {
	ix, err := index.Read(w.account.indexOf(p), p.index, "dovecot.index")
	if err != nil {
		return 0
	}
	inNames := map[string]bool{}
	f, err := deliver.OpenRegular(w.account.controlOf(p), path.Join(p.control, keywordsName))
	if err == nil {
		defer f.Close()
		if k, err := readKeywords(f); err == nil {
			for _, name := range k {
				inNames[strings.ToLower(name)] = true
			}
		}
	}
	for i := range ix.Records {
		r := &ix.Records[i]
		outside := r.Flags&dirty != 0 || slices.ContainsFunc(ix.KeywordsOf(r), func(k string) bool { return !inNames[strings.ToLower(k)] })
		if outside {
			n++
		}
	}
	return n
}

// asideNames lists the files of a directory that begin with prefix and were not
// put aside before. Where a name is taken the suffix is made longer.
func (w *writer) asideNames(root *os.Root, dir, prefix string, suffix *string) (names []string, err error) {
	d, err := root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := readDir(d)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.name, *suffix) {
			*suffix += fmt.Sprintf("-%d", deliver.Next())
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.name, prefix) && !strings.Contains(e.name, asideMark) {
			names = append(names, path.Join(dir, e.name))
		}
	}
	return names, nil
}
