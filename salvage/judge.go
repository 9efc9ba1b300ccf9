package salvage

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"time"

	"salvor/chunk"
	"salvor/salvage/found"
	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// A message is mail that was found, with everything that was learnt from reading
// it once.
type message struct {
	source  string
	how     string
	paths   []string // that lead to it, the likeliest first
	inode   uint64
	offset  int64
	extents []fsys.Extent
	date    time.Time
	name    string // what its store called its file, where a container tells
	within  owner  // whose the container is that it was found in

	id      chunk.ID // of the wire form
	sha1    chunk.SHA1
	wire    int64
	size    int64
	missing []volume.Range
	facts   facts
	shape   shape
	why     string         // of a shape that is not whole
	zeros   bool           // there are sectors of zeros in it
	foreign bool           // something else begins where a block does
	blank   []volume.Range // these

	// sized: the file system says how long it is. current: it is no older version
	// of a file that there is a newer record of.
	sized, current bool
	// guess, in a piece of a whole file: how its bytes came together is a guess
	// that only a hash can prove.
	guess bool
	// sound: its record stands in its table, as of a file that is there, and no other
	// one claims its blocks.
	sound bool
	// taken: a file that is there claims some of its blocks, and its own record says
	// that it is gone, or older.
	taken bool
	// block is how far apart places are, in bytes, at which something foreign may begin.
	block int64
	// live: the file is there, by its record and by a path from the root. rest: only
	// its beginning was found.
	live, rest bool

	// named: a name for it stands in a directory. A removed file's record may look as
	// if it were there.
	named  bool
	begins bool    // as mail does
	claims []int64 // the owed messages that it is
	// mayWait: it will be judged once more, when more directories are known.
	mayWait bool
}

// facts are what the header tells.
type facts struct {
	messageID, from, subject string
	sender                   string // the address in From
	draft                    bool   // no trace of transport
	// arrived is when the last server on the way took it; else its Date.
	arrived    time.Time
	recipients []string // likeliest owner first
}

// A shape is what the structure tells.
type shape int

const (
	whole  shape = iota // it closes as it should
	likely              // nothing speaks against it, and nothing can vouch for it
	broken              // parts are missing, or foreign
)

// judge says what a message is. keep tells whether its bytes are wanted.
func (e *engine) judge(ctx context.Context, m *message) (f found.Finding, keep bool, err error) {
	f = found.Finding{
		Size: m.size, WireSize: m.wire, SHA256: m.id.String(), SHA1: hex.EncodeToString(m.sha1[:]),
		Date: m.date, MessageID: m.facts.messageID, From: m.facts.from, Subject: m.facts.subject,
		Source: m.source, How: m.how, Inode: m.inode, Offset: m.offset, Extents: m.extents, Missing: m.missing, Places: 1,
	}
	if m.wire == m.size {
		f.SHA256Stored = f.SHA256 // every line ends in CRLF
	}
	if len(m.paths) > 0 {
		f.Path = m.paths[0]
	}
	places := m.places()
	later, err := e.settle(m.source, places)
	if err != nil {
		return f, false, err
	}
	f.Name = m.baseName(places)
	m.whose(&f, places)
	e.byHeader(m, &f)
	for _, step := range []func(context.Context, *message, []place, *found.Finding) (bool, error){
		e.owedByHash, e.owedByName, e.heldByVault, e.deletedByUser, e.leftOver, e.owedByMessageID, e.leftOfHeld,
	} {
		done, err := step(ctx, m, places, &f)
		if err != nil {
			return f, false, err
		}
		if done && f.Class == found.Damaged && m.mayWait && later {
			return f, false, errLater
		}
		if done {
			return f, f.Class == found.Matched || f.Class == found.Damaged, nil
		}
	}
	if m.mayWait && later && e.o.Incident != "" {
		return f, false, errLater
	}
	m.unclaimed(&f)
	return f, m.worthKeeping(), e.likelyOwed(m, &f)
}

// places reads all paths.
func (m *message) places() (out []place) {
	for _, p := range m.paths {
		if at := readPath(p); at.user != "" || at.name != "" || at.uid != 0 {
			out = append(out, at)
		}
	}
	if m.within.user != "" {
		out = append(out, place{owner: m.within})
	}
	return out
}

func (m *message) baseName(places []place) string {
	if m.name != "" {
		return m.name
	}
	for _, p := range places {
		if p.name != "" {
			return p.name
		}
	}
	if len(m.paths) > 0 {
		return path.Base(m.paths[0])
	}
	return ""
}

// whose fills in the owner that a path or, failing that, the header tells.
func (m *message) whose(f *found.Finding, places []place) {
	for _, p := range places {
		if p.user != "" {
			f.User, f.Folder, f.UID, f.UserBy = p.user, p.folder, p.uid, p.by
			return
		}
	}
}

// byHeader fills in the owner that the header names, of those that are known.
func (e *engine) byHeader(m *message, f *found.Finding) {
	if f.User != "" {
		return
	}
	people := m.facts.recipients
	if m.facts.draft { // nobody delivered it: it is its sender's copy
		people = append([]string{m.facts.sender}, people...)
	}
	for _, address := range people {
		if user := e.ofUser(address); user != "" {
			f.User, f.UserBy = user, "header"
			return
		}
	}
}

// owedByHash: size and SHA-1 are those of an owed message. Nothing else proves as
// much, so it is asked first, and outweighs whatever a deletion or a path says.
func (e *engine) owedByHash(ctx context.Context, m *message, places []place, f *found.Finding) (bool, error) {
	if len(m.missing) > 0 {
		return false, nil
	}
	wants, err := e.notes.bySum(m.sha1)
	if err != nil {
		return false, err
	}
	wants = slices.DeleteFunc(wants, func(w want) bool { return w.size != m.wire && w.size != m.size })
	if len(wants) == 0 {
		return false, nil
	}
	m.claim(f, wants, places, found.Verified, "its size and SHA-1 are those that the index promises")
	for _, w := range wants {
		if err := e.learn(m.source, places, w.user, w.folder, w.uid); err != nil {
			return false, err
		}
	}
	_, err = e.owedByName(ctx, m, places, f)
	return true, err
}

// claim makes a finding a match. Of several owed messages the one that stood where
// this one was found is named.
func (m *message) claim(f *found.Finding, wants []want, places []place, g found.Grade, why string) {
	w := wants[0]
	for _, other := range wants {
		if slices.ContainsFunc(places, func(p place) bool { return p.user == other.user && p.folder == other.folder && p.uid == other.uid }) {
			w = other
			break
		}
	}
	f.Class, f.Grade, f.Why, f.Claim = found.Matched, g, why, w.id
	for _, w := range wants {
		m.claims = append(m.claims, w.id)
	}
	f.User, f.Folder, f.UID, f.UserBy = w.user, w.folder, w.uid, "ledger"
	if w.name != "" {
		f.Name = w.name
	}
	if len(wants) > 1 {
		f.Why = fmt.Sprintf("%s; %d owed messages are this one", f.Why, len(wants))
	}
}

// owedByName: its store called its file so, which Maildir does once in the world,
// or it is the file of that UID in that folder; and its size is the one that the
// index promises, which knows no SHA-1 to ask for more.
func (e *engine) owedByName(_ context.Context, m *message, places []place, f *found.Finding) (bool, error) {
	if m.incomplete() || m.guess || !m.begins {
		return false, nil
	}
	wants, err := e.inPlace(places, f.Name)
	if err != nil {
		return false, err
	}
	wants = slices.DeleteFunc(wants, func(w want) bool {
		return !w.sha1.IsZero() || w.size != m.size && w.size != m.wire || w.contradicts(m.wire)
	})
	if len(wants) == 0 {
		return false, nil
	}
	if f.Class == found.Matched { // by its hash: it is these messages as well
		for _, w := range wants {
			m.claims = append(m.claims, w.id)
		}
		return true, nil
	}
	m.claim(f, wants, places, found.Verified, "its name and size are those that the index promises")
	return true, nil
}

// inPlace gives the owed messages whose file this may be: by its name, or by its
// directory and its UID. A file may have several names.
func (e *engine) inPlace(places []place, name string) (wants []want, err error) {
	seen := map[int64]bool{}
	add := func(more []want, err error) error {
		for _, w := range more {
			if !seen[w.id] {
				seen[w.id] = true
				wants = append(wants, w)
			}
		}
		return err
	}
	if err := add(e.notes.byName(name)); err != nil {
		return nil, err
	}
	for _, p := range places {
		if err := add(e.notes.byName(p.name)); err != nil {
			return nil, err
		}
		if p.user != "" && p.uid != 0 {
			if err := add(e.notes.byPlace(p.owner)); err != nil {
				return nil, err
			}
		}
	}
	return wants, nil
}

// leftOver: it stands in the place of an owed message, and is not it: what is left
// of it. An older version of a file proves nothing.
func (e *engine) leftOver(_ context.Context, m *message, places []place, f *found.Finding) (bool, error) {
	if m.how == howTree && len(m.missing) == 0 && m.shape == broken {
		m.missing = m.blank // who repaired it filled with zeros what could not be read
		f.Missing = m.blank
	}
	if !m.current {
		return false, nil
	}
	wants, err := e.inPlace(places, f.Name)
	if err != nil || len(wants) == 0 {
		return false, err
	}
	w := wants[0]
	m.claim(f, wants[:1], places, found.Partial, "")
	f.Class = found.Damaged
	switch {
	case len(m.missing) > 0:
		f.Why = fmt.Sprintf("an owed message of %d bytes, of which %d cannot be read", m.size, total(m.missing))
	case w.size != m.size && w.size != m.wire:
		f.Why = fmt.Sprintf("the file of an owed message of %d bytes, but it has %d", w.size, m.size)
	default:
		f.Why = "the file of an owed message, but something else stands in its blocks"
	}
	return true, nil
}

// owedByMessageID: the same Message-ID and size. A Message-ID alone is no
// identity: copies differ.
func (e *engine) owedByMessageID(_ context.Context, m *message, places []place, f *found.Finding) (bool, error) {
	if m.facts.messageID == "" {
		return false, nil
	}
	wants, err := e.notes.byMessageID(bareID(m.facts.messageID))
	if err != nil {
		return false, err
	}
	if f.UserBy == "path" { // copies for several users have the same Message-ID
		wants = slices.DeleteFunc(wants, func(w want) bool { return w.user != f.User })
	}
	if len(wants) > 0 && m.incomplete() {
		m.claim(f, wants[:1], places, found.Partial, "what is left of an owed message, by its Message-ID")
		f.Class = found.Damaged
		return true, nil
	}
	wants = slices.DeleteFunc(wants, func(w want) bool { return !w.sha1.IsZero() || w.size != m.wire && w.size != m.size })
	if len(wants) == 0 || m.guess && m.shape != whole {
		return false, nil
	}
	m.claim(f, wants, places, found.Consistent, "its Message-ID and size are those that the index promises")
	return true, nil
}

// likelyOwed says of mail that nothing proves to be owed that it may be: of all
// owed messages exactly one has this size, and no SHA-1 that could say more; it has
// the user that the header names, and came on that day. A deleted message may have
// been of that size too, so that only a person can tell.
func (e *engine) likelyOwed(m *message, f *found.Finding) error {
	if m.incomplete() || f.User == "" || m.size < leastSize {
		return nil
	}
	wants, err := e.notes.wanted("WHERE size IN (?, ?) LIMIT 2", m.size, m.wire)
	if err != nil || len(wants) != 1 || !wants[0].sha1.IsZero() || wants[0].user != f.User || !near(m.facts.arrived, wants[0].date) {
		return err
	}
	w := wants[0]
	f.Folder, f.UID = w.folder, w.uid
	f.Why = fmt.Sprintf("%s; its size, user and day are those of the owed message %d", f.Why, w.id)
	return nil
}

// leastSize is the size, in bytes, from which on a size says something: shorter
// messages are of the same size too often.
const leastSize = 1024

// near tells whether a message may have come into its mailbox when its header says.
func near(header, mailbox time.Time) bool {
	return !header.IsZero() && !mailbox.IsZero() && header.Sub(mailbox).Abs() < 24*time.Hour
}

// incomplete tells whether something is known to be missing.
func (m *message) incomplete() bool {
	return len(m.missing) > 0 || m.rest || m.shape == broken && (!m.live || m.zeros || m.foreign)
}

// strange tells whether it is only the structure that is not as it should be, of a file
// whose record stands where it should and whose blocks nobody else claims: mailers write
// such mail.
func (m *message) strange() bool {
	return m.sound && len(m.missing) == 0 && !m.rest && !m.zeros && !m.foreign
}

// unclaimed grades what nobody is known to have lost.
func (m *message) unclaimed(f *found.Finding) {
	switch {
	case len(m.missing) > 0:
		f.Class, f.Grade = found.Damaged, found.Partial
		f.Why = fmt.Sprintf("%d of its %d bytes cannot be read", total(m.missing), m.size)
	case m.incomplete() && !m.strange():
		f.Class, f.Grade, f.Why = found.Damaged, found.Partial, "it is not whole: "+m.why
	case m.sized && m.current && m.named && m.shape == whole && !m.guess:
		f.Class, f.Grade, f.Why = found.Unknown, found.Consistent, "the file system knows its name and size, and its structure closes"
	case m.sized && m.current && !m.guess:
		f.Class, f.Grade, f.Why = found.Unknown, found.Plausible, "the file system knows its size; "+m.why
	default:
		f.Class, f.Grade, f.Why = found.Unknown, found.Plausible, "found by its content; "+cmp.Or(m.why, "it looks whole")
	}
}

// worthKeeping tells whether unclaimed mail is kept. An older version of a file
// that is there is not: the newer one was found. Nor is what stands where a file was
// that is gone, and does not begin as mail, or is not whole and lies where a file is
// that is there: that is another's by now.
func (m *message) worthKeeping() bool {
	return m.current && (m.begins || m.live || len(m.missing) > 0) && (m.shape == whole || !m.taken)
}

func total(missing []volume.Range) (n int64) {
	for _, r := range missing {
		n += r.Len
	}
	return n
}
