package diskimage

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// remove lets half of the users be removed by mistake, and, for Removed, new mail
// come until a third of the room that they left is used again.
func (d *Damaged) remove() (err error) {
	for i := 0; i < len(people); i += 2 {
		d.Users = append(d.Users, people[i].user)
	}
	gone := func(user string) bool { return slices.Contains(d.Users, user) }
	m, err := mount(d.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	before, err := free(m.Dir)
	if err != nil {
		return err
	}
	for _, p := range people {
		if gone(p.user) {
			if err := os.RemoveAll(filepath.Join(m.Dir, p.dir)); err != nil {
				return err
			}
		}
	}
	d.split(gone)
	if d.Kind == RemovedClean {
		return nil
	}
	return d.renew(m.Dir, before, gone)
}

// split tells the removed mail from what others still have.
func (d *Damaged) split(gone func(user string) bool) {
	kept := map[string]bool{}
	for _, x := range d.Base.Messages {
		if !gone(x.User) {
			kept[x.SHA1] = true
			d.Others = append(d.Others, x)
		}
	}
	d.Targets = nil
	for _, x := range d.Base.Messages {
		if !kept[x.SHA1] {
			d.Targets = append(d.Targets, x)
		}
	}
}

// renewed is the share of the room of removed mail that new mail takes.
const renewed = 3 // a third

func (d *Damaged) renew(dir string, before int64, gone func(user string) bool) error {
	now, err := free(dir)
	if err != nil {
		return err
	}
	o := d.Base.Options
	s, err := newSpool(dir, d.Seed+99, now, o.Largest, gone)
	if err != nil {
		return err
	}
	s.sync = true
	for _, f := range s.folders {
		f.uid = 50000 // names that nobody has used
	}
	s.number = 1 << 20
	room := now - before
	err = errors.Join(s.fill(room/renewed, 0), s.end())
	d.Others = append(d.Others, s.messages()...)
	return err
}
