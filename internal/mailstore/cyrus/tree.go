package cyrus

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus/header"
	"salvor/internal/mailstore/deliver"
)

// maxDepth bounds how deep mailboxes lie in each other; names in Cyrus have at
// most 490 bytes.
const maxDepth = 256

// A tree is what the partitions' directories tell of mailboxes when
// mailboxes.db does not.
type tree struct {
	c        *config
	ctx      context.Context
	boxes    []*box
	problems []*mailstore.Problem
	taken    map[string]string // path of the mailbox that has a name
}

// scan looks through all partitions. A mailbox's name is in its cyrus.header
// (3.6), or is its path.
func (c *config) scan(ctx context.Context) (*tree, error) {
	t := &tree{c: c, ctx: ctx, taken: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(c.partitions)) {
		p := c.partitions[name]
		dirs := map[string]bool{}
		for _, pl := range p.places() {
			if pl.root == nil || pl == p.archive {
				continue
			}
			if err := t.walk(pl, ".", 0, dirs); err != nil {
				return nil, err
			}
		}
		for _, dir := range slices.Sorted(maps.Keys(dirs)) {
			t.add(p, dir)
		}
	}
	return t, ctx.Err()
}

// maxTreeProblems bounds what is said of the partitions.
const maxTreeProblems = 1000

func (t *tree) problem(path string, err error) {
	if len(t.problems) == maxTreeProblems {
		err = errors.New("more is wrong than is said here")
	}
	if len(t.problems) > maxTreeProblems {
		return
	}
	t.problems = append(t.problems, &mailstore.Problem{Path: path, Err: err})
}

// walk collects the directories that hold a mailbox's files.
func (t *tree) walk(pl *place, dir string, depth int, found map[string]bool) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		t.problem(path.Join(pl.path, dir), errors.New("directories are nested too deep"))
		return nil
	}
	d, err := pl.root.OpenFile(dir, deliver.DirFlags, 0)
	if err != nil {
		t.problem(path.Join(pl.path, dir), err)
		return nil
	}
	var below []string
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			switch name := e.Name(); {
			case e.IsDir() && !strings.HasSuffix(name, "."): // "stage." and "sync." are Cyrus's own
				below = append(below, name)
			case !found[dir] && isBoxFile(name):
				found[dir] = true
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.problem(path.Join(pl.path, dir), err)
			}
			break
		}
	}
	d.Close()
	slices.Sort(below)
	for _, name := range below {
		if err := t.walk(pl, path.Join(dir, name), depth+1, found); err != nil {
			return err
		}
	}
	return nil
}

// isBoxFile tells whether a file is what a mailbox consists of.
func isBoxFile(name string) bool {
	if name == headerName || name == indexName {
		return true
	}
	number, ok := strings.CutSuffix(name, ".")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// add names the mailbox in a directory.
func (t *tree) add(p *partition, dir string) {
	full := path.Join(p.header.path, dir)
	h, err := readHeader(p.header.root, path.Join(dir, headerName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.problem(path.Join(full, headerName), err)
	}
	if h == nil {
		h = &header.Header{}
	}
	byID := strings.HasPrefix(dir, "uuid/")
	var n boxName
	switch {
	case byID && h.Name != "":
		n = t.c.parseInternal(h.Name)
	case byID:
		t.problem(full, errors.New("the name of the mailbox is unknown: its cyrus.header is missing or damaged"))
		return
	default:
		var ok bool
		if n, ok = t.c.nameOfDir(dir); !ok {
			return
		}
	}
	if !n.usable() || !isMail(h.Type) || h.Type == "" && special(&n) {
		return
	}
	e := entry{id: h.UniqueID, partition: p.name, acl: h.ACL}
	b := t.c.newBox(n, e, byID)
	b.dir = dir
	key := b.account + "\x00" + b.folder
	if other := t.taken[key]; other != "" {
		t.problem(full, errors.New("it says that it is "+b.name.full()+", and so does "+other))
		return
	}
	t.taken[key] = full
	t.boxes = append(t.boxes, b)
}

// special tells mailboxes that hold calendars and the like by their names,
// where no type is known.
func special(n *boxName) bool {
	if len(n.levels) == 0 {
		return false
	}
	switch n.levels[0] {
	case "#calendars", "#addressbooks", "#drive", "#notifications", "#sieve", "#jmap", "#jmapnotification", "#jmapsubmission", "#jmappushsubscription":
		return true
	}
	return false
}

// nameOfDir is the inverse of legacyDir. It also takes a directory for what it
// is when the letter that hashing adds is there or missing against imapd.conf.
func (c *config) nameOfDir(dir string) (boxName, bool) {
	elems := strings.Split(dir, "/")
	domain := ""
	if elems[0] == "domain" {
		elems = unhashed(elems[1:], 1)
		if len(elems) == 0 {
			return boxName{}, false
		}
		domain, elems = elems[0], elems[1:]
	}
	levels := slices.Clone(unhashed(elems, 2))
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, "^", ".")
	}
	if len(levels) < 2 || levels[0] != "user" {
		return boxName{}, false
	}
	return c.assemble(domain, levels), true
}

// unhashed leaves out a first element that is the letter of the hashed name,
// which stands at an index behind it.
func unhashed(elems []string, name int) []string {
	if len(elems) > name && len(elems[0]) == 1 && elems[name] != "" {
		s := strings.ReplaceAll(elems[name], "^", ".")
		if elems[0] == hashLetter(s, false) || elems[0] == hashLetter(s, true) {
			return elems[1:]
		}
	}
	return elems
}
