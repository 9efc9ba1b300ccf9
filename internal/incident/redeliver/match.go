package redeliver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/progress"
)

// A match is an owed message whose content was found.
type match struct {
	claim        int64
	user, folder string
	content      *content
	grade        catalog.Grade
}

// A candidate is what may be an owed message's content.
type candidate struct {
	match
	uid     uint32
	why     string
	several bool // there are other contents that may be as well
}

// A matcher holds contents against the ledger. It remembers what was matched, not
// what was found.
type matcher struct {
	catalog  *catalog.Catalog
	incident string
	user     string // "": everybody
	unknown  func(Content)
	report   *Report
	meter    progress.Meter
	finger   finger

	found map[int64]*match
	maybe map[int64]*candidate
	// sent lists what may be on its way since an earlier run, by what was sent;
	// evidence is what of it was found again.
	sent     map[chunk.ID][]int64
	evidence map[int64]*content
	asked    []*content // by their IDs
}

func newMatcher(c *catalog.Catalog, o *Options, r *Report) *matcher {
	return &matcher{catalog: c, incident: o.Name, user: o.User, meter: o.Meter, unknown: o.Unknown, report: r, finger: finger{sums: chunk.NewWireHasher()},
		found: map[int64]*match{}, maybe: map[int64]*candidate{}, sent: map[chunk.ID][]int64{}, evidence: map[int64]*content{}}
}

// take looks at everything that a source has.
func (m *matcher) take(ctx context.Context, s Source) error {
	err := m.claims(ctx, catalog.ClaimQuery{Sent: true}, func(c *catalog.Claim) { m.sent[c.SentSum] = append(m.sent[c.SentSum], c.ID) })
	if err != nil {
		return err
	}
	return s.Contents(ctx, func(c Content) error {
		read, err := m.finger.read(ctx, c)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			m.report.Unreadable++
			m.report.note("%s cannot be read: %v", c.Place, err)
			return nil
		}
		m.meter.Add(1, read.is)
		return m.consider(ctx, read)
	})
}

// consider finds the claims to a content, and counts it.
func (m *matcher) consider(ctx context.Context, c *content) error {
	if c.Asked != nil {
		m.ask(c)
		return nil
	}
	sure, err := m.certain(ctx, c)
	if err != nil {
		return err
	}
	sent := m.sent[c.id]
	for _, id := range sent {
		m.evidence[id] = c
	}
	if len(sure) == 0 && len(sent) == 0 {
		return m.uncertain(ctx, c)
	}
	matched, held, deleted, unknown := len(sent) > 0, false, false, false
	for i := range sure {
		switch claim := &sure[i]; {
		case m.user != "" && claim.User != m.user:
			matched = true // somebody else's business
		case claim.State == catalog.ClaimDeleted:
			deleted = true
		case claim.State == catalog.ClaimJunk || claim.State == catalog.ClaimLost: // nobody has it
			unknown = true
		case claim.State != catalog.ClaimOwed || m.found[claim.ID] != nil:
			held = true
		case claim.Doubt || claim.InFlight():
			matched = true
		default:
			m.found[claim.ID] = &match{claim: claim.ID, user: claim.User, folder: claim.Folder, content: c, grade: catalog.GradeCertain}
			matched = true
		}
	}
	switch {
	case matched:
	case held:
		m.report.AlreadyHeld++
	case deleted:
		m.report.Deleted++
	case unknown:
		m.nobodys(c)
	}
	return nil
}

// nobodys counts what nobody is owed.
func (m *matcher) nobodys(c *content) {
	m.report.Unknown++
	if m.unknown != nil {
		m.unknown(c.Content)
	}
}

// certain lists the claims that this content is surely meant by: those with its
// SHA-1 and, of those whose SHA-1 nobody knows, those that their store called by
// the name of its file. The size is the same.
func (m *matcher) certain(ctx context.Context, c *content) (out []catalog.Claim, err error) {
	err = m.claims(ctx, catalog.ClaimQuery{SHA1: c.sha1}, func(claim *catalog.Claim) {
		if c.sized(claim.Size) {
			out = append(out, *claim)
		}
	})
	if err != nil || c.Name == "" {
		return out, err
	}
	return out, m.claims(ctx, catalog.ClaimQuery{Name: c.Name}, func(claim *catalog.Claim) {
		if claim.SHA1.IsZero() && c.sized(claim.Size) && c.named(claim.Name) {
			out = append(out, *claim)
		}
	})
}

// named tells whether a content may have had this file name: Dovecot writes the size
// of the wire form into it (",W="), which together with the file's own says how many
// lines there are. Other bytes of the same size seldom have as many.
func (c *content) named(name string) bool {
	for _, field := range strings.Split(name, ",") {
		if text, ok := strings.CutPrefix(field, "W="); ok {
			size, err := strconv.ParseInt(text, 10, 64)
			return err != nil || size == c.wire
		}
	}
	return true
}

func (m *matcher) claims(ctx context.Context, q catalog.ClaimQuery, each func(*catalog.Claim)) error {
	q.Incident = m.incident
	return m.catalog.Claims(ctx, q, func(c *catalog.Claim) error {
		each(c)
		return nil
	})
}

// uncertain handles what is no claim's content for sure.
func (m *matcher) uncertain(ctx context.Context, c *content) error {
	probable, why, err := m.probable(ctx, c)
	if err != nil {
		return err
	}
	for i := range probable {
		claim := &probable[i]
		if old := m.maybe[claim.ID]; old != nil {
			old.several = old.several || old.content.id != c.id
			continue
		}
		m.maybe[claim.ID] = &candidate{match: match{claim: claim.ID, user: claim.User, folder: claim.Folder, content: c, grade: catalog.GradeProbable},
			uid: claim.UID, why: why}
	}
	if len(probable) > 0 {
		return nil
	}
	// What the vault has of it as a finding only is nobody's mail.
	has, err := m.catalog.HasRecords(c.id)
	if err != nil {
		return err
	}
	if has {
		m.report.AlreadyHeld++
		return nil
	}
	m.nobodys(c)
	return nil
}

// near is how far two dates of one message may be from each other: one was
// written by its sender.
const near = 24 * time.Hour

// probable lists the owed messages that this content may be: those with its
// Message-ID and size, of about its date; or the only one with its size that came
// in the very second in which its file was written.
func (m *matcher) probable(ctx context.Context, c *content) (out []catalog.Claim, why string, err error) {
	mine := func(claim *catalog.Claim) bool {
		return claim.State == catalog.ClaimOwed && !claim.Doubt && !claim.InFlight() && c.sized(claim.Size) && !claim.InternalDate.IsZero() &&
			(m.user == "" || claim.User == m.user)
	}
	if c.messageID != "" {
		err = m.claims(ctx, catalog.ClaimQuery{MessageID: c.messageID}, func(claim *catalog.Claim) {
			if mine(claim) && (claim.InternalDate.Sub(c.date).Abs() <= near || claim.InternalDate.Sub(c.Date).Abs() <= near) {
				out = append(out, *claim)
			}
		})
		if err != nil || len(out) > 0 {
			return out, "it has the same Message-ID and size, and about the same date", err
		}
	}
	if c.Date.IsZero() {
		return nil, "", nil
	}
	for _, size := range slices.Compact([]int64{c.wire, c.lf}) {
		if size == 0 {
			continue
		}
		err = m.claims(ctx, catalog.ClaimQuery{OwedSize: size}, func(claim *catalog.Claim) {
			other := claim.MessageID != "" && c.messageID != "" && claim.MessageID != c.messageID
			if mine(claim) && !other && claim.InternalDate.Unix() == c.Date.Unix() && len(out) < 2 {
				out = append(out, *claim)
			}
		})
		if err != nil {
			return nil, "", err
		}
	}
	if len(out) > 1 {
		return nil, "", nil
	}
	return out, "it has the same size, and its file is of the second in which the message came", nil
}

// conclude takes the probable matches in, or counts and lists them.
func (m *matcher) conclude(accept bool) {
	for _, id := range slices.Sorted(maps.Keys(m.maybe)) {
		c := m.maybe[id]
		if m.found[id] != nil {
			continue
		}
		if accept && !c.several {
			m.found[id] = &c.match
			continue
		}
		m.report.Probable++
		if why := c.why; c.several {
			m.report.note("probable, but not the only one: %s for message %s of %s", c.content.Place, uidIn(c.folder, c.uid), c.user)
		} else {
			m.report.note("probable: %s is message %s of %s: %s", c.content.Place, uidIn(c.folder, c.uid), c.user, why)
		}
	}
	m.maybe = nil
}

// uidIn names a message.
func uidIn(folder string, uid uint32) string { return fmt.Sprintf("%d in %q", uid, folder) }
