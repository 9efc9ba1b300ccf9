package report

import (
	"cmp"
	"context"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/internal/mailstore/folder"
)

// A Page is what one user will notice of an incident. Lists are by folder, and
// never nil.
type Page struct {
	Incident string    `json:"incident"`
	User     string    `json:"user"`
	LossAt   time.Time `json:"loss_at"`
	// BackupAt is when the last backup before the loss began; zero: nobody knows.
	BackupAt  time.Time `json:"backup_at,omitzero"`
	WrittenAt time.Time `json:"written_at"`
	Open      bool      `json:"open"` // somebody still works on it
	// Access is how far the user may come in: "down", "web" or "imap"; "" nobody
	// has found out.
	Access   catalog.GateState `json:"access"`
	Messages Numbers           `json:"messages"`
	// MaybeDeleted is mail that the user may have deleted, and that is there again
	// or will be.
	MaybeDeleted []Part `json:"maybe_deleted"`
	// EmptyFolders begin without the mail that was in them.
	EmptyFolders []Empty `json:"empty_folders"`
	Missing      []Part  `json:"missing"`  // nobody has found it yet
	Waiting      []Part  `json:"waiting"`  // in the backup, not there yet
	Late         []Part  `json:"late"`     // found later, delivered as new mail
	GivenUp      []Part  `json:"given_up"` // nobody looks for it any more
	// Unlisted: the list of the user's messages was lost as well, in part or as a
	// whole. What came after BackupAt may be missing without anybody knowing of it.
	Unlisted bool `json:"unlisted"`
}

// A Part is some mail of a folder.
type Part struct {
	Folder string `json:"folder"`
	// NowFolder is where it is now, where that is another folder.
	NowFolder string `json:"now_folder,omitempty"`
	Messages  int64  `json:"messages"`
	// Back is how many of them are there again; InDoubt how many may be.
	Back    int64 `json:"back"`
	InDoubt int64 `json:"in_doubt"`
	// Between is when they came: at most eight spans, in order. Undated is of how
	// many nobody knows.
	Between []Span `json:"between"`
	Undated int64  `json:"undated"`
}

// An Empty is a folder that begins empty.
type Empty struct {
	Folder string `json:"folder"`
	// Why is "junk" (no backup takes it), "left out" (this one did not), or
	// "nothing came back".
	Why      string `json:"why"`
	Messages int64  `json:"messages"` // that were in it; 0: nobody has counted them
}

// The reasons of an Empty.
const (
	WhyJunk    = "junk"
	WhyLeftOut = "left out"
	WhyNothing = "nothing came back"
)

// maker makes a page.
type maker struct {
	page    *Page
	folders map[string]*contents
	parts   [sections]map[where]*gathered
}

// contents is what became of a folder.
type contents struct{ back, coming, gone, junk int64 }

// where is a folder, and the one where its mail is now; "" the same.
type where struct{ folder, now string }

type gathered struct {
	messages, back, doubt int64
	times                 spans
}

// The parts of a page that are lists of folders.
const (
	maybeDeleted = iota
	missing
	waiting
	late
	givenUp
	sections
)

func (r *Report) makePage(ctx context.Context, user string) (*Page, error) {
	i := &r.Incident
	p := &Page{Incident: i.Name, User: user, LossAt: i.At.In(r.zone), WrittenAt: r.now().In(r.zone), Open: i.ClosedAt.IsZero(), EmptyFolders: []Empty{}}
	m := &maker{page: p, folders: map[string]*contents{}}
	for n := range m.parts {
		m.parts[n] = map[where]*gathered{}
	}
	if run, ok, err := r.c.Run(i.Run); err != nil {
		return nil, err
	} else if ok {
		p.BackupAt = run.Started.In(r.zone)
	}
	if gate, ok, err := r.c.Gate(i.Name, user); err != nil {
		return nil, err
	} else if ok {
		p.Access = gate.State
	}
	err := r.c.Claims(ctx, catalog.ClaimQuery{Incident: i.Name, User: user}, func(c *catalog.Claim) error {
		m.claim(c)
		return nil
	})
	if err == nil {
		err = m.empty(ctx, r.c)
	}
	if err != nil {
		return nil, err
	}
	for n, into := range []*[]Part{&p.MaybeDeleted, &p.Missing, &p.Waiting, &p.Late, &p.GivenUp} {
		*into = partsOf(m.parts[n], r.zone)
	}
	p.Unlisted = i.Index == "" || len(p.MaybeDeleted) > 0
	return p, nil
}

// claim takes one message. One with a state that nobody knows is missing in the
// numbers then, which do not add up.
func (m *maker) claim(c *catalog.Claim) {
	m.page.Messages.count(c.State, 1)
	f := m.folders[c.Folder]
	if f == nil {
		f = &contents{}
		m.folders[c.Folder] = f
	}
	switch c.State {
	case catalog.ClaimPresent, catalog.ClaimRestored:
		f.back++
	case catalog.ClaimRestoredMaybe:
		f.back++
		m.part(maybeDeleted, c).back++
	case catalog.ClaimRedelivered:
		f.back++
		m.part(late, c).back++
	case catalog.ClaimHeld:
		f.coming++
		m.part(waiting, c)
	case catalog.ClaimUncertain:
		f.coming++
		m.part(maybeDeleted, c)
	case catalog.ClaimOwed:
		f.gone++
		g := m.part(missing, c)
		if c.Doubt || c.InFlight() {
			g.doubt++
			m.page.Messages.InDoubt++
		}
	case catalog.ClaimLost:
		f.gone++
		m.part(givenUp, c)
	case catalog.ClaimJunk:
		f.junk++
	}
}

// part counts a message in a list.
func (m *maker) part(n int, c *catalog.Claim) *gathered {
	at := where{folder: c.Folder}
	if back(c.State) && c.NowFolder != c.Folder {
		at.now = c.NowFolder
	}
	g := m.parts[n][at]
	if g == nil {
		g = &gathered{}
		m.parts[n][at] = g
	}
	g.messages++
	g.times.add(c.InternalDate)
	return g
}

// empty finds the folders that begin empty: by the ledger, and by what the
// backup has left out.
func (m *maker) empty(ctx context.Context, c *catalog.Catalog) error {
	empties := map[string]Empty{}
	for name, f := range m.folders {
		if !m.page.Open { // nobody brings it any more
			f.gone, f.coming = f.gone+f.coming, 0
		}
		switch {
		case f.back+f.coming > 0:
		case f.junk > 0:
			empties[name] = Empty{name, WhyJunk, f.junk}
		case f.gone > 0:
			empties[name] = Empty{name, WhyNothing, f.gone}
		}
	}
	err := c.Mailboxes(ctx, m.page.User, func(b *catalog.Mailbox) error {
		f := m.folders[b.Name]
		if b.Excluded == "" || b.GoneRun != 0 || f != nil && f.back+f.coming > 0 {
			return nil
		}
		e, known := empties[b.Name]
		if !known {
			e.Messages = int64(b.Messages)
		}
		e.Folder, e.Why = b.Name, WhyLeftOut
		if b.Excluded == folder.ReasonJunk {
			e.Why = WhyJunk
		}
		empties[b.Name] = e
		return nil
	})
	for _, e := range empties {
		m.page.EmptyFolders = append(m.page.EmptyFolders, e)
	}
	slices.SortFunc(m.page.EmptyFolders, func(a, b Empty) int { return cmp.Compare(a.Folder, b.Folder) })
	return err
}

func partsOf(found map[where]*gathered, zone *time.Location) []Part {
	out := []Part{}
	for at, g := range found {
		out = append(out, Part{Folder: at.folder, NowFolder: at.now, Messages: g.messages, Back: g.back, InDoubt: g.doubt,
			Between: g.times.in(zone), Undated: g.times.undated})
	}
	slices.SortFunc(out, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.NowFolder, b.NowFolder))
	})
	return out
}

// complete tells whether the user will notice nothing.
func (p *Page) complete() bool {
	return !p.Unlisted && p.Messages.Back == p.Messages.Total && len(p.MaybeDeleted)+len(p.EmptyFolders)+len(p.Late) == 0
}
