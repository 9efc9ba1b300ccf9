package mailgen

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Demo writes the mail of testdata/demo: three users who plan a boat trip, with
// nested folders, a folder whose name is not ASCII, Junk, keywords, and one
// attachment that stands in several messages. It fits into a repository.
func Demo(ctx context.Context, root string) error {
	w, err := newWorld(Options{Root: root, Names: []string{"alice", "bob", "carol"}, Seed: 1877, Start: time.Date(2024, 10, 26, 7, 30, 0, 0, time.UTC)})
	if err != nil {
		return fmt.Errorf("make the demonstration's mail: %w", err)
	}
	d := &demo{world: w, chart: &file{seed: 7, kind: &fileKinds[1], size: 21000, name: "chart-of-the-bay.pdf"}}
	names := []string{"Alice Brook", "Bob Ferry", "Carol Haven"}
	for i, u := range w.users {
		u.name, u.html, u.drafts = names[i], false, "Entwürfe"
	}
	if err := w.furnish(); err != nil {
		return err
	}
	for _, step := range d.story() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.tell(step); err != nil {
			return fmt.Errorf("make the demonstration's mail: %w", err)
		}
	}
	if err := d.close(); err != nil {
		return err
	}
	return keepEmpty(root)
}

// keepEmpty puts a hidden file into every empty directory: git keeps no others,
// and a Maildir folder without cur is a broken one. Maildir readers pass over
// hidden files.
func keepEmpty(root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if list, err := os.ReadDir(path); err != nil || len(list) > 0 {
			return err
		}
		return os.WriteFile(filepath.Join(path, ".gitkeep"), nil, 0o600)
	})
}

type demo struct {
	*world
	chart *file
}

// A step is one letter and where its copies stand.
type step struct {
	from    string // a user, else an outsider's address
	to      []string
	subject string
	text    string
	files   []*file
	folders map[string]string // where a reader keeps it, INBOX unless said
	flags   string
	keyword string
	draft   bool
}

// story is the mail, in order.
func (d *demo) story() []step {
	chart := []*file{d.chart}
	return []step{
		{from: "alice", to: []string{"bob", "carol"}, subject: "Boat trip on Saturday",
			text: "Dear both,\n\nthe weather looks fine. Shall we meet at the pier at nine? The\nchart of the bay is attached, mind the sands in the north.\n\nAlice\n", files: chart, flags: "RS"},
		{from: "bob", to: []string{"alice"}, subject: "Re: Boat trip on Saturday",
			text: "Nine is good. I bring bread, cheese and the big thermos.\n\nBob\n\n> Shall we meet at the pier at nine?\n", flags: "S"},
		{from: "carol", to: []string{"bob"}, subject: "Fwd: Boat trip on Saturday",
			text: "Bob, you asked for the chart again: here it is.\n\nCarol\n", files: chart, flags: "FS", keyword: "work-todo", folders: map[string]string{"bob": "Archive/2024"}},
		{from: "harbour@pier.example", to: []string{"alice", "carol"}, subject: "Your berth is reserved",
			text: "Good morning,\n\nberth 12 is yours from Friday evening until Sunday. Please pay the\nfee at the kiosk.\n\nThe harbour master\n", flags: "S", folders: map[string]string{"alice": "Archive/2024"}},
		{from: "weather@coast.example", to: []string{"alice", "bob", "carol"}, subject: "Forecast for the weekend",
			text: "Saturday: wind south-west 3, later 4, dry.\nSunday: wind west 5, showers.\n", flags: "S"},
		{from: "prize@lottery.invalid", to: []string{"alice", "bob"}, subject: "You have WON!!!",
			text: "Answer at once and send us the number of your account.\n", folders: map[string]string{"alice": "Junk", "bob": "Junk"}},
		{from: "alice", to: []string{"harbour@pier.example"}, subject: "Re: Your berth is reserved",
			text: "Thank you, we arrive on Friday at six.\n\nAlice\n", flags: "S"},
		{from: "carol", to: []string{"alice"}, subject: "Life jackets",
			text: "I found three life jackets in the shed, one of them is a little\nmouldy. Should I buy a new one?\n\nCarol\n"},
		{from: "bob", to: []string{"alice", "carol"}, subject: "Shopping list",
			text: "bread\ncheese\napples\nlamp oil\nrope, 20 m\n", flags: "S", folders: map[string]string{"carol": "Trash"}},
		{from: "alice", to: []string{"bob"}, subject: "Notes for the log book", text: "Left the pier at 9:10 with\n", draft: true, flags: "DS"},
	}
}

// tell delivers a step's copies.
func (d *demo) tell(s step) error {
	d.now = d.now.Add(3*time.Hour + 17*time.Minute)
	d.number++
	l := &letter{from: d.find(s.from), subject: s.subject, text: []byte(s.text), files: s.files, when: d.now}
	l.id = fmt.Sprintf("<%d.boat@%s>", d.number, domain(l.from.address))
	for _, name := range s.to {
		l.to = append(l.to, d.find(name))
	}
	content, err := d.press.content(l, d.rng)
	if err != nil {
		return err
	}
	for _, u := range d.users {
		folder := s.folders[filepath.Base(u.account.dir)]
		switch {
		case u.person == l.from && s.draft:
			err = d.put(u, u.drafts, delivery{rest: content, when: d.now, flags: s.flags}, l)
		case u.person == l.from:
			err = d.put(u, "Sent", delivery{rest: content, when: d.now, flags: "S"}, l)
		case has(l.to, u.person) && !s.draft:
			if folder == "" {
				folder = "INBOX"
			}
			d.trace = trace(d.trace[:0], l, u.person, d.now, d.rng)
			err = d.put(u, folder, delivery{trace: d.trace, rest: content, when: d.now, flags: s.flags, keyword: s.keyword}, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// find gives a user by name, or makes an outsider of an address.
func (d *demo) find(name string) *person {
	for _, u := range d.users {
		if filepath.Base(u.account.dir) == name {
			return u.person
		}
	}
	r := rand.New(rand.NewPCG(uint64(len(name)), 3))
	p := newPerson(r, d.press.text, "x", "y")
	p.name, p.address, p.html = name, name, false
	return p
}
