package dbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/dovecot/index"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// An Index lists dboxes by their indexes, whether or not the messages' files are
// there: it is for what INDEX= had on another volume. It tells UIDs, flags and
// keys, of which an mdbox's are the messages' GUIDs, and dates that clients have
// asked for; it knows no sizes.
type Index struct{ opt Options }

var _ mailstore.Source = (*Index)(nil)

// OpenIndex opens the indexes of dboxes. Their directory must be there, that of
// the messages need not be.
func OpenIndex(o Options) (*Index, error) {
	x := &Index{opt: o}
	info, err := os.Stat(x.place().Fixed())
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", x.place().Fixed())
	}
	return x, err
}

// place is where the indexes are.
func (x *Index) place() *userpath.Template {
	if x.opt.Index != nil {
		return x.opt.Index
	}
	return x.opt.Root
}

// Users lists the users of whom there is an index.
func (x *Index) Users(ctx context.Context, yield func(mailstore.User) error) error {
	partition := x.opt.Root.Fixed()
	if !x.opt.Root.Variable() {
		return yield(mailstore.User{Name: x.opt.User, Partition: partition})
	}
	return x.place().Discover(ctx, func(p userpath.Place) error {
		if !p.Dir || !isDbox(p.Path) {
			return nil
		}
		return yield(mailstore.User{Name: p.User, Partition: partition})
	})
}

// with calls f with the user's open directories.
func (x *Index) with(user string, f func(*account) error) error {
	a := &account{opt: &x.opt, user: user}
	var err error
	if a.root, err = x.place().OpenRoot(user); err == nil {
		defer func() { a.close() }()
		if a.index, a.control = a.root, a.root; x.opt.Index != nil {
			a.index, err = x.place().OpenRoot(user) // another one: indexes lie otherwise beside messages
		}
	}
	if err == nil && x.opt.Control != nil {
		if a.control, err = x.opt.Control.OpenRoot(user); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if a.control == nil || err != nil {
			a.control = nil
		}
	}
	if err != nil {
		return &mailstore.Problem{User: user, Path: x.place().String(), Err: err}
	}
	return f(a)
}

// Mailboxes lists the folders that have an index.
func (x *Index) Mailboxes(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox) error) error {
	return x.with(user.Name, func(a *account) error {
		l := &lister{a: a, found: map[string]bool{}}
		l.walk(ctx, a.index, mailboxesDir, "", 0)
		delete(l.found, folder.Inbox)
		names := []string{folder.Inbox}
		for name := range l.found {
			names = append(names, name)
		}
		slices.Sort(names[1:])
		subscribed := l.subscriptions()
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := a.box(name)
			ix, err := x.read(b)
			box := mailstore.Mailbox{User: a.user, Name: name, Subscribed: subscribed[name], Written: b.written()}
			switch {
			case err != nil:
				box.Lost = lost(err)
			case ix.Torn != "":
				box.Lost = "dovecot.index is damaged: " + ix.Torn
			}
			if err == nil {
				box.UIDValidity, box.UIDNext, box.ObjectID = ix.UIDValidity(), ix.UIDNext(), guidOfBox(a.opt.Kind, ix)
			}
			if err := yield(box); err != nil {
				return err
			}
		}
		return incomplete(l.problems)
	})
}

// read reads a folder's index.
func (x *Index) read(b box) (*index.Index, error) {
	return index.Read(b.a.index, b.index(), indexName, "guid", index.CacheExt)
}

// written is when the folder's index was last written.
func (b box) written() (last time.Time) {
	for _, suffix := range []string{"", ".log", ".log.2"} {
		if info, err := b.a.index.Stat(path.Join(b.index(), indexName+suffix)); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// Messages lists what the index of a folder says is there, by UID.
func (x *Index) Messages(ctx context.Context, m mailstore.Mailbox, yield func(mailstore.Message) error) error {
	return x.with(m.User, func(a *account) error {
		b := a.box(m.Name)
		ix, err := x.read(b)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the folder is Lost
			}
			return incomplete([]*mailstore.Problem{a.problem(m.Name, b.indexPath(), err)})
		}
		var cache *index.Cache
		if f, err := deliver.OpenRegular(a.index, path.Join(b.index(), indexName+".cache")); err == nil {
			defer f.Close()
			cache, _ = ix.OpenCache(f) // one that cannot be used is as good as none
		}
		copies := map[string]int{}
		for i := range ix.Records {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := &ix.Records[i]
			msg := mailstore.Message{UID: mailstore.UID(r.UID), Flags: ix.Names(r), Size: -1, Promised: -1, InternalDate: cache.Received(r, 1)}
			msg.Key = keyOf(a.opt.Kind, r)
			if copies[msg.Key]++; copies[msg.Key] > 1 {
				msg.Key += "/" + strconv.Itoa(copies[msg.Key])
			}
			if err := yield(msg); err != nil {
				return err
			}
		}
		if ix.Torn != "" {
			return incomplete([]*mailstore.Problem{a.problem(m.Name, b.indexPath(), errors.New(ix.Torn))})
		}
		return nil
	})
}

// keyOf is the key that a Source gives a message. The GUID was asked for first.
func keyOf(kind Kind, r *index.Record) string {
	guid := r.Data(0)
	switch {
	case kind == Single:
		return fmt.Sprintf("u.%d", r.UID)
	case len(guid) != 16 || strings.Trim(string(guid), "\x00") == "":
		return fmt.Sprintf("uid.%d", r.UID)
	}
	return fmt.Sprintf("%x", guid)
}

// Open opens nothing: an index has no messages.
func (x *Index) Open(_ context.Context, m mailstore.Mailbox, msg mailstore.Message) (io.ReadCloser, error) {
	return nil, &mailstore.Problem{User: m.User, Mailbox: m.Name, Path: msg.Key, Err: errors.New("an index holds no messages")}
}
