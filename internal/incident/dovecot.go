package incident

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dbox"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/userpath"
)

// ofMaildir is the index of Maildirs: what Dovecot keeps of them below CONTROL=
// and INDEX=, or beside the messages where these are not set. open opens it.
func ofMaildir(url string, o maildir.Options, open func(maildir.Options) (mailstore.Source, error)) *Index {
	beside := o.Control == nil || o.Index == nil
	x := &Index{URL: url, KeysTravel: true, Apart: apartFrom(o.Control, o.Root, o.Inbox) && apartFrom(o.Index, o.Root, o.Inbox)}
	x.Trees = treesOf([]string{"cur", "new", "tmp"}, []tree{{"maildir", o.Root, beside}, {"inbox", o.Inbox, beside}, {"control", o.Control, true}, {"index", o.Index, true}})
	x.Open = func(dir string) (mailstore.Source, error) {
		if dir == "" {
			return open(o)
		}
		moved := o
		moved.Root, moved.Inbox = movedTo(dir, "maildir", o.Root), movedTo(dir, "inbox", o.Inbox)
		moved.Control, moved.Index = movedTo(dir, "control", o.Control), movedTo(dir, "index", o.Index)
		return open(moved)
	}
	return x
}

// ofDbox is the index of dboxes, which lies below INDEX=, or beside the messages.
// An mdbox's messages keep their GUIDs in other folders; an sdbox's have none.
func ofDbox(url string, o dbox.Options, open func(dbox.Options) (mailstore.Source, error)) *Index {
	x := &Index{URL: url, KeysTravel: o.Kind == dbox.Multi, KeysNumbered: o.Kind == dbox.Single, Apart: apartFrom(o.Index, o.Root, o.Alt)}
	x.Trees = treesOf(nil, []tree{{"dbox", o.Root, o.Index == nil}, {"control", o.Control, true}, {"index", o.Index, true}})
	x.Open = func(dir string) (mailstore.Source, error) {
		if dir == "" {
			return open(o)
		}
		moved := o
		moved.Root, moved.Control, moved.Index = movedTo(dir, "dbox", o.Root), movedTo(dir, "control", o.Control), movedTo(dir, "index", o.Index)
		moved.Alt = nil
		return open(moved)
	}
	return x
}

// A tree is users' places; read: they hold some of the metadata.
type tree struct {
	name  string
	place *userpath.Template // nil: there is none
	read  bool
}

// treesOf are what is copied of users' places. What holds nothing to be copied is
// not even looked into: it may be on the disk that is dying.
func treesOf(skip []string, trees []tree) (out []Tree) {
	for _, p := range trees {
		if p.place == nil {
			continue
		}
		t := treeOf(p.name, p.place, skip)
		if !p.read {
			t.Dir = ""
		}
		out = append(out, t)
	}
	return out
}

// movedTo is a template in a copy.
func movedTo(dir, name string, t *userpath.Template) *userpath.Template {
	if t == nil {
		return nil
	}
	return t.Moved(filepath.Join(dir, name))
}

// apartFrom tells whether what lies below a template lives longer than the
// messages below others: neither lies in the other, as the operator has named
// them. nil is the first of the others.
func apartFrom(t *userpath.Template, others ...*userpath.Template) bool {
	for _, other := range others {
		if other != nil && (t == nil || within(t.Fixed(), other.Fixed()) || within(other.Fixed(), t.Fixed())) {
			return false
		}
	}
	return true
}

// within tells whether a path is a directory or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// treeOf is what is copied of users' places: the files of Dovecot's, and neither
// messages, which are below directories to skip or have other names, nor anything
// that leads to no user.
func treeOf(name string, t *userpath.Template, skip []string) Tree {
	return Tree{
		Name: name, Dir: t.Fixed(),
		Keep: func(p string) bool {
			leads, inside := t.Leads(p)
			return leads && inside && isDovecots(path.Base(p))
		},
		Skip: func(p string) bool {
			leads, inside := t.Leads(p)
			return !leads || inside && slices.Contains(skip, path.Base(p))
		},
		Link: func(p string) bool {
			leads, inside := t.Leads(p)
			return leads && !inside
		},
	}
}

// isDovecots tells the files that Dovecot keeps of folders and users.
func isDovecots(name string) bool {
	return strings.HasPrefix(name, "dovecot") || name == "subscriptions" || name == "courierimapuiddb"
}
