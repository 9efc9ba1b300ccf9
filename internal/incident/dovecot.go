package incident

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/userpath"
)

// ofMaildir is the index of Maildirs: what Dovecot keeps of them below CONTROL=
// and INDEX=, or beside the messages where these are not set. open opens it.
func ofMaildir(url string, o maildir.Options, open func(maildir.Options) (mailstore.Source, error)) *Index {
	places := []struct {
		name     string
		template **userpath.Template
		read     bool // it holds some of the metadata
	}{
		{"maildir", &o.Root, o.Control == nil || o.Index == nil},
		{"inbox", &o.Inbox, o.Control == nil || o.Index == nil},
		{"control", &o.Control, true},
		{"index", &o.Index, true},
	}
	x := &Index{URL: url, KeysTravel: true, Apart: apartFrom(o.Control, o.Root, o.Inbox) && apartFrom(o.Index, o.Root, o.Inbox)}
	for _, p := range places {
		if *p.template == nil {
			continue
		}
		t := treeOf(p.name, *p.template)
		if !p.read { // it may be on the disk that is dying
			t.Dir = ""
		}
		x.Trees = append(x.Trees, t)
	}
	x.Open = func(dir string) (mailstore.Source, error) {
		if dir == "" {
			return open(o)
		}
		moved := o
		for _, m := range []struct {
			name     string
			template **userpath.Template
		}{{"maildir", &moved.Root}, {"inbox", &moved.Inbox}, {"control", &moved.Control}, {"index", &moved.Index}} {
			if *m.template != nil {
				*m.template = (*m.template).Moved(filepath.Join(dir, m.name))
			}
		}
		return open(moved)
	}
	return x
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
// messages nor anything that leads to no user.
func treeOf(name string, t *userpath.Template) Tree {
	return Tree{
		Name: name, Dir: t.Fixed(),
		Keep: func(p string) bool {
			leads, inside := t.Leads(p)
			return leads && inside && isDovecots(path.Base(p))
		},
		Skip: func(p string) bool {
			leads, inside := t.Leads(p)
			return !leads || inside && slices.Contains([]string{"cur", "new", "tmp"}, path.Base(p))
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
