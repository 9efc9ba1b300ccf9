package cyrus

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// A Filler puts message files back into a Cyrus whose metadata survived. The
// server may run: it opens a message's file when somebody asks for it, so what is
// put back is there at once, without reconstruct, under the UID, with the flags
// and the modification sequence that the index has. It is seen by its SHA-1 (2.3.10
// and later) that a file is the right one, before that by its size.
type Filler struct {
	src   *Source
	batch deliver.Batch
	fit   map[*place]error
	notes []mailstore.Note
}

var (
	_ mailstore.Filler = (*Filler)(nil)
	_ mailstore.Noter  = (*Filler)(nil)
)

// OpenFiller opens a Cyrus to put files into it.
func OpenFiller(o Options) (*Filler, error) {
	src, err := Open(o)
	if err != nil {
		return nil, err
	}
	return &Filler{src: src, fit: map[*place]error{}}, nil
}

// Survey implements mailstore.Filler.
func (f *Filler) Survey(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox, mailstore.Message, mailstore.FileState) error) error {
	var problems []*mailstore.Problem
	collect := func(err error) error {
		var inc *mailstore.Incomplete
		if errors.As(err, &inc) {
			problems = append(problems, inc.Problems...)
			return nil
		}
		return err
	}
	err := f.src.Mailboxes(ctx, user, func(box mailstore.Mailbox) error {
		b, err := f.src.box(ctx, box)
		if err != nil {
			return err
		}
		if err := f.usable(b); err != nil {
			problems = append(problems, &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: b.dir, Err: err})
			return nil
		}
		return collect(f.src.messages(ctx, box, func(m mailstore.Message, wrong string) error {
			if !m.Expunged.IsZero() {
				return nil
			}
			state := mailstore.FileWhole
			switch wrong {
			case "":
			case missingFile:
				state = mailstore.FileMissing
			default:
				state = mailstore.FileOther
			}
			return yield(box, m, state)
		}))
	})
	if err = collect(err); err != nil {
		return err
	}
	return incomplete(problems)
}

// usable says why files cannot be put into a mailbox's partition: one that is not
// there is not made, for a disk may not be mounted.
func (f *Filler) usable(b *box) error {
	p, err := f.src.c.partitionOf(b)
	if err != nil {
		return err
	}
	for _, pl := range []*place{p.data, p.archive, p.index} {
		switch {
		case pl == nil:
			continue
		case pl.root == nil:
			return pl.err
		case p.index.root == nil:
			return p.index.err
		}
		if _, known := f.fit[pl]; !known {
			f.fit[pl] = deliver.FitOwner(pl.root, p.index.root)
		}
		if err := f.fit[pl]; err != nil {
			return err
		}
	}
	return nil
}

// Open implements mailstore.Filler.
func (f *Filler) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	opened, err := f.src.Open(ctx, box, m)
	if err != nil {
		return nil, err
	}
	b, err := f.src.box(ctx, box)
	if err == nil {
		err = f.usable(b)
	}
	if err == nil {
		p, _ := f.src.c.partitionOf(b) // usable has looked
		if r, ok := opened.(*reader); ok {
			err = deliver.FitFile(int(r.f.Fd()), p.index.root)
		}
	}
	if err != nil {
		return nil, errors.Join(&mailstore.Problem{User: box.User, Mailbox: box.Name, Path: m.Place, Err: err}, opened.Close())
	}
	return opened, nil
}

// Put implements mailstore.Filler.
func (f *Filler) Put(ctx context.Context, box mailstore.Mailbox, m mailstore.Message, stored []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	problem := func(err error) error {
		return &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: m.Place, Err: err}
	}
	uid, err := messageUID(m)
	if err != nil {
		return problem(err)
	}
	b, err := f.src.box(ctx, box)
	if err != nil {
		return err
	}
	if err := f.usable(b); err != nil {
		return problem(err)
	}
	body := promisedForm(m, stored)
	if body == nil {
		return &mailstore.Refusal{Why: fmt.Sprintf("it is not what the index promises for UID %d", uid)}
	}
	switch listed, err := f.src.stillListed(ctx, b, box, uid); {
	case err != nil:
		return problem(err)
	case !listed:
		return mailstore.ErrVanished
	}
	p, _ := f.src.c.partitionOf(b)
	pl := p.data
	if strings.HasPrefix(m.Place, archivedPrefix) && p.archive != nil {
		pl = p.archive
	}
	name := strconv.FormatUint(uint64(uid), 10) + "."
	wrong, err := f.inTheWay(b, pl, name, m)
	if err != nil {
		return err
	}
	if err := f.batch.Add(pl.root, b.dir, name, wrong, body, m.InternalDate, twinOf(m)); err != nil {
		return problem(err)
	}
	if wrong.Aside != "" {
		f.notes = append(f.notes, mailstore.Note{User: box.User, Mailbox: box.Name,
			What: fmt.Sprintf("what stood where the file of UID %d belongs is now %s", uid, filepath.Join(pl.path, b.dir, folder.Clean(wrong.Aside)))})
	}
	return nil
}

// inTheWay tells what stands where a message's file belongs. ErrPresent says that
// the file itself is there.
func (f *Filler) inTheWay(b *box, pl *place, name string, m mailstore.Message) (none deliver.Wrong, err error) {
	full := path.Join(b.dir, name)
	if _, err := pl.root.Lstat(full); errors.Is(err, fs.ErrNotExist) {
		return none, nil
	} else if err != nil {
		return none, err
	}
	if file, err := openFile(pl.root, full); err == nil {
		defer file.Close()
		sum := sha1.New()
		n, err := io.Copy(sum, io.LimitReader(file, m.Promised+1))
		if err == nil && n == m.Promised && (m.SHA1.IsZero() || chunk.SHA1(sum.Sum(nil)) == m.SHA1) {
			return none, mailstore.ErrPresent
		}
	}
	return deliver.Wrong{Dir: b.dir, Name: name, Aside: deliver.AsideName(name, time.Now())}, nil
}

// promisedForm gives the bytes of a message that its index promises: as they were
// stored somewhere, or with CRLF line ends. nil: they are not that message's.
func promisedForm(m mailstore.Message, stored []byte) []byte {
	if m.Promised < 0 {
		return nil
	}
	if fits(m, stored) {
		return stored
	}
	lf, _ := chunk.ToLF(nil, stored)
	if wire := chunk.ToWire(nil, lf); fits(m, wire) {
		return wire
	}
	return nil
}

// twinOf names the messages whose files may be links to one, as COPY makes them:
// else a volume would hold more than it did. "" where no hash says so.
func twinOf(m mailstore.Message) string {
	if m.SHA1.IsZero() {
		return ""
	}
	return string(m.SHA1[:]) + " " + strconv.FormatInt(m.InternalDate.Unix(), 10)
}

func fits(m mailstore.Message, body []byte) bool {
	return int64(len(body)) == m.Promised && (m.SHA1.IsZero() || sha1.Sum(body) == m.SHA1)
}

// Sync implements mailstore.Filler.
func (f *Filler) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failed, err := f.batch.Commit()
	if err != nil {
		return err
	}
	return unplaced(failed)
}

// unplaced makes what did not get its name a listing's problems; nil for none.
func unplaced(failed []*deliver.Unplaced) error {
	var problems []*mailstore.Problem
	for _, u := range failed {
		problems = append(problems, &mailstore.Problem{Path: u.Path, Err: u.Err})
	}
	return incomplete(problems)
}

// Notes tells what was put aside.
func (f *Filler) Notes() []mailstore.Note { return f.notes }

// Close drops what Sync was not called for, and closes the partitions.
func (f *Filler) Close() error {
	f.batch.Drop()
	return f.src.Close()
}
