package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// A Filler puts message files back into Maildirs of which Dovecot's CONTROL= and
// INDEX= survived. The server must be stopped, and must not have run since the
// loss: it takes a file that is missing for one that its user has deleted. Then
// there is nothing left to be filled, as the index names nothing.
//
// A file gets the name that the uidlist has, with the letters of the flags and
// keywords that the index has, and the message's date as its time. That it is the
// right one is seen by its size.
type Filler struct {
	x       *Index
	account *account // that of the last user
	made    bool     // his folders are there
	files   map[string]map[string]standing
	words   map[string]*keywords
	batch   deliver.Batch
	notes   []mailstore.Note
}

var (
	_ mailstore.Filler = (*Filler)(nil)
	_ mailstore.Noter  = (*Filler)(nil)
)

// standing is a file that stands in a folder under a message's base name.
type standing struct {
	dir, name string // dir is cur or new
	put       bool   // by Put
}

// OpenFiller opens Maildirs to put files into them.
func OpenFiller(o Options) (*Filler, error) {
	x, err := OpenIndex(o)
	if err != nil {
		return nil, err
	}
	return &Filler{x: x}, nil
}

// enter makes a user the one at hand.
func (f *Filler) enter(user string) error {
	if f.account != nil && f.account.user == user {
		return nil
	}
	f.batch.Drop() // its roots are about to be closed
	a, err := f.x.openAccount(user)
	if err != nil {
		return &mailstore.Problem{User: user, Path: f.x.opt.Root.String(), Err: err}
	}
	f.leave()
	f.account, f.made = a, false
	f.files, f.words = map[string]map[string]standing{}, map[string]*keywords{}
	return nil
}

func (f *Filler) leave() {
	if f.account != nil {
		f.account.Close()
	}
	f.account = nil
}

// Survey implements mailstore.Filler.
func (f *Filler) Survey(ctx context.Context, user mailstore.User, yield func(mailstore.Mailbox, mailstore.Message, mailstore.FileState) error) error {
	if err := f.enter(user.Name); err != nil {
		return err
	}
	places, problems := f.x.places(ctx, f.account)
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := f.x.read(f.account, p)
		if !r.there() {
			continue
		}
		problems = append(problems, r.problems()...)
		more, err := f.surveyFolder(ctx, r, yield)
		if err != nil {
			return err
		}
		problems = append(problems, more...)
	}
	return addProblems(nil, problems)
}

func (f *Filler) surveyFolder(ctx context.Context, r *reading, yield func(mailstore.Mailbox, mailstore.Message, mailstore.FileState) error) ([]*mailstore.Problem, error) {
	p := r.place
	if f.account.indexOf(p) != nil {
		if err := f.account.idle(p); err != nil {
			return nil, r.problem(err)
		}
	}
	delete(f.files, p.dir)
	files, err := f.filesOf(p)
	if err != nil {
		return []*mailstore.Problem{r.problem(err)}, nil
	}
	cache, done := r.openCache()
	defer done()
	box := r.mailbox()
	for _, l := range r.lines() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		state := mailstore.FileMissing
		if there, ok := files[l.base]; ok {
			state = f.state(p, there, l.size)
		}
		if err := yield(box, r.message(l, cache), state); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// filesOf reads the names in a folder, once.
func (f *Filler) filesOf(p place) (map[string]standing, error) {
	if files := f.files[p.dir]; files != nil {
		return files, nil
	}
	files := map[string]standing{}
	root := f.account.rootOf(p)
	for _, dir := range []string{"new", "cur"} {
		if root == nil {
			break
		}
		d, err := root.OpenFile(path.Join(p.dir, dir), deliver.DirFlags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries, err := readDir(d)
		d.Close()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.name[0] != '.' {
				files[baseName(e.name)] = standing{dir: dir, name: e.name}
			}
		}
	}
	f.files[p.dir] = files
	return files, nil
}

// state compares a file with the size that is promised of the mail in it: the
// file itself may be compressed.
func (f *Filler) state(p place, there standing, promised int64) mailstore.FileState {
	file, err := deliver.OpenRegular(f.account.rootOf(p), path.Join(p.dir, there.dir, there.name))
	if err != nil {
		return mailstore.FileOther
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return mailstore.FileOther
	}
	if promised < 0 || info.Size() == promised {
		return mailstore.FileWhole
	}
	mail := atrest.NewReader(file, promised)
	defer mail.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(mail, promised+1))
	if err == nil && (n == promised || mail.AtRest().Opaque()) {
		return mailstore.FileWhole
	}
	return mailstore.FileOther
}

// Open implements mailstore.Filler.
func (f *Filler) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), f.enter(box.User)); err != nil {
		return nil, err
	}
	p := f.x.opt.placeOf(box.Name)
	files, err := f.filesOf(p)
	if err != nil {
		return nil, err
	}
	there, ok := files[folder.UTF8.EncodeLevel(m.Key)]
	if !ok {
		return nil, mailstore.ErrVanished
	}
	b, err := f.account.openBox(p)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r, err := b.openFile(there.name, there.dir == "new")
	problem := mailstore.Problem{User: box.User, Mailbox: box.Name, Path: path.Join(b.path, there.dir, there.name), Err: err}
	if err == nil && f.account.control != nil {
		if err = deliver.FitFile(r.fd, f.account.control); err != nil {
			r.Close()
		}
		problem.Err = err
	}
	if err != nil {
		return nil, &problem
	}
	return newMail(r, m.Promised, problem), nil
}

// Put implements mailstore.Filler.
func (f *Filler) Put(ctx context.Context, box mailstore.Mailbox, m mailstore.Message, stored []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.enter(box.User); err != nil {
		return err
	}
	p := f.x.opt.placeOf(box.Name)
	problem := func(err error) error {
		return &mailstore.Problem{User: box.User, Mailbox: box.Name, Path: m.Key, Err: err}
	}
	base := folder.UTF8.EncodeLevel(m.Key)
	if !isBase(base) {
		return &mailstore.Refusal{Why: fmt.Sprintf("no file can have the name that the index gives UID %d", m.UID)}
	}
	body := promisedForm(base, m.Promised, stored)
	if body == nil {
		return &mailstore.Refusal{Why: fmt.Sprintf("its size is not what the index promises for UID %d", m.UID)}
	}
	if err := f.makeFolders(ctx); err != nil {
		return problem(err)
	}
	files, err := f.filesOf(p)
	if err != nil {
		return problem(err)
	}
	var wrong deliver.Wrong
	if there, ok := files[base]; ok {
		if there.put || f.state(p, there, m.Promised) == mailstore.FileWhole {
			return mailstore.ErrPresent
		}
		wrong = deliver.Wrong{Dir: path.Join(p.dir, there.dir), Name: there.name, Aside: deliver.AsideName(there.name, time.Now())}
	}
	words, err := f.keywordsOf(p)
	if err != nil {
		return problem(err)
	}
	name := base + infoFor(words.letters(m.Flags))
	if err := f.batch.Add(f.account.rootOf(p), path.Join(p.dir, "cur"), name, wrong, body, m.InternalDate, ""); err != nil {
		return problem(err)
	}
	files[base] = standing{dir: "cur", name: name, put: true}
	if wrong.Aside != "" {
		f.notes = append(f.notes, mailstore.Note{User: box.User, Mailbox: box.Name,
			What: fmt.Sprintf("what stood where UID %d belongs is now %s", m.UID, filepath.Join(f.account.rootOf(p).Name(), wrong.Dir, folder.Clean(wrong.Aside)))})
	}
	return nil
}

// isBase tells whether a name that an index tells can be a message's base name.
// Unlike safeBase it takes odd ones, as long as they mean this file.
func isBase(base string) bool {
	return base != "" && len(base) <= maxBase && base[0] != '.' && !strings.ContainsAny(base, "/:\x00\n")
}

// promisedForm gives the bytes of a message whose sizes are those that the index
// and the name promise (S= is the file's, W= that with CRLF); nil where there are
// none. Where nothing is promised, nothing can be wrong; nor of a file that is
// encrypted, as the sizes are those of the mail in it.
func promisedForm(base string, size int64, stored []byte) []byte {
	if atrest.Detect(stored).Opaque() {
		return stored
	}
	lf, _ := chunk.ToLF(nil, stored)
	wire := promisedWire(base)
	for _, body := range [][]byte{stored, lf} {
		if len(body) > 0 && (size < 0 || int64(len(body)) == size) && (wire < 0 || wireSize(body) == wire) {
			return body
		}
	}
	return nil
}

// promisedWire is the size that a base name promises in its field W=, else -1.
func promisedWire(base string) int64 {
	_, fields, _ := strings.Cut(base, ",")
	for _, f := range strings.Split(fields, ",") {
		if v, ok := strings.CutPrefix(f, "W="); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}

// makeFolders makes the user's Maildir with all folders that the index has, also
// those without messages: Dovecot lists what has a directory.
func (f *Filler) makeFolders(ctx context.Context) error {
	if f.made {
		return nil
	}
	a := f.account
	if a.control == nil {
		return errors.New("its dovecot-uidlist is not there")
	}
	for _, missing := range []struct {
		root **os.Root
		make func(string) (*os.Root, error)
	}{{&a.root, f.x.opt.Root.CreateRoot}, {&a.inbox, f.createInbox}} {
		if *missing.root != nil {
			continue
		}
		root, err := missing.make(a.user)
		if err != nil {
			return err
		}
		*missing.root = root
	}
	for _, root := range []*os.Root{a.root, a.inbox} {
		if err := deliver.FitOwner(root, a.control); err != nil {
			return err
		}
	}
	places, _ := f.x.places(ctx, a) // what could not be listed, Survey has told
	w := &writer{opt: &f.x.opt, account: a, owner: deliver.OwnerOf(a.root)}
	for _, p := range places {
		if r := f.x.read(a, p); !r.there() && p.name != folder.Inbox {
			continue
		}
		if _, err := w.makeFolder(&box{place: p}); err != nil {
			return err
		}
	}
	f.made = true
	return nil
}

// createInbox makes the place of INBOX, which is the Maildir's own root unless
// INBOX= says otherwise.
func (f *Filler) createInbox(user string) (*os.Root, error) {
	if f.x.opt.Inbox == nil {
		return f.account.root, nil
	}
	return f.x.opt.Inbox.CreateRoot(user)
}

// keywordsOf reads a folder's letters for keywords, once.
func (f *Filler) keywordsOf(p place) (*keywords, error) {
	if k := f.words[p.dir]; k != nil {
		return k, nil
	}
	k := &keywords{}
	if control := f.account.controlOf(p); control != nil {
		file, err := deliver.OpenRegular(control, path.Join(p.control, keywordsName))
		if err == nil {
			k, err = readKeywords(file)
			file.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	f.words[p.dir] = k
	return k, nil
}

// letters gives the letters of flags. A keyword that has none stands in Dovecot's
// index alone, as it did before.
func (k *keywords) letters(flags []string) (out []byte) {
	for _, flag := range flags {
		letter := systemLetter(flag)
		for i, word := range k {
			if strings.EqualFold(word, flag) && word != "" {
				letter = 'a' + byte(i)
			}
		}
		if letter != 0 {
			out = append(out, letter)
		}
	}
	return out
}

// Sync implements mailstore.Filler.
func (f *Filler) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	failed, err := f.batch.Commit()
	if err == nil && len(failed) == 0 {
		return nil
	}
	clear(f.files) // they are to be read anew
	var problems []*mailstore.Problem
	for _, u := range failed {
		problems = append(problems, &mailstore.Problem{Path: u.Path, Err: u.Err})
	}
	if err == nil {
		err = addProblems(nil, problems)
	}
	return err
}

// Notes tells what was put aside.
func (f *Filler) Notes() []mailstore.Note { return f.notes }

// Close drops what Sync was not called for, and closes directories.
func (f *Filler) Close() error {
	f.batch.Drop()
	f.leave()
	return nil
}
