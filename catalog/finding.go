package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"salvor/chunk"
)

// FindingClasses are the classes of findings that are kept in a vault: it is owed,
// and proved to be; nobody claims it; it is not whole.
var FindingClasses = []string{"matched", "unknown", "damaged"}

// Finding is a message, or what is left of one, that a salvage found for an
// incident. Key: Incident and ID. Its incident and content must be there. It ends
// with its incident: closing deletes it.
//
// It says what package salvage/found says of a finding in a result directory; the
// fields that are not explained here are explained there.
type Finding struct {
	Incident string `json:"incident"`
	ID       string `json:"id"`
	// Salvage names the salvage that found it: what another one finds does not
	// replace it.
	Salvage string `json:"salvage"`
	Class   string `json:"class"` // one of FindingClasses
	Grade   string `json:"grade"`
	Why     string `json:"why,omitempty"`

	User   string `json:"user,omitempty"`
	UserBy string `json:"user_by,omitempty"`
	Folder string `json:"folder,omitempty"`
	UID    uint32 `json:"uid,omitempty"`
	Claim  int64  `json:"claim,omitempty"`

	// Content holds its bytes. Stored, StoredSize and LineEnds say how they were
	// found, as in a Record.
	Content    chunk.ID       `json:"content"`
	Stored     chunk.ID       `json:"stored,omitzero"`
	StoredSize int64          `json:"stored_size"`
	LineEnds   chunk.LineEnds `json:"line_ends,omitempty"`
	Name       string         `json:"name,omitempty"`
	Date       time.Time      `json:"date,omitzero"`
	MessageID  string         `json:"message_id,omitempty"`
	From       string         `json:"from,omitempty"`
	Subject    string         `json:"subject,omitempty"`

	Source  string          `json:"source,omitempty"`
	How     string          `json:"how,omitempty"`
	Path    string          `json:"path,omitempty"`
	Inode   int64           `json:"inode,omitempty"` // the 64 bits of it
	Offset  int64           `json:"offset"`
	Extents []FindingExtent `json:"extents,omitempty"`
	Missing []FindingGap    `json:"missing,omitempty"`
	Places  int64           `json:"places,omitempty"`
}

// FindingExtent is where bytes of a finding stood.
type FindingExtent struct {
	At        int64 `json:"at"`  // in the file
	Off       int64 `json:"off"` // on the volume
	Len       int64 `json:"len"`
	Unwritten bool  `json:"unwritten,omitempty"`
}

// FindingGap is what is unknown of a finding, in stored bytes.
type FindingGap struct {
	Off int64 `json:"off"`
	Len int64 `json:"len"`
}

func (Finding) rowName() string { return "finding" }

func (r Finding) normal() (Row, error) {
	var c checks
	c.that(r.Incident != "", "no incident")
	c.that(r.ID != "", "no id")
	c.that(slices.Contains(FindingClasses, r.Class), "unknown class")
	c.that(!r.Content.IsZero(), "no content")
	c.counts(r.Claim, r.StoredSize, r.Places)
	if r.Stored.IsZero() {
		r.Stored = r.Content
	}
	for _, s := range []*string{&r.Why, &r.MessageID, &r.From, &r.Subject} {
		*s = clip(*s, MaxHeader)
	}
	r.Date = utc(r.Date)
	return c.row(r)
}

func (r Finding) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.text("id", r.ID)
	return o.close()
}

func (r Finding) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("incident", r.Incident)
	o.text("id", r.ID)
	o.text("salvage", r.Salvage)
	o.text("class", r.Class)
	o.text("grade", r.Grade)
	o.textz("why", r.Why)
	o.textz("user", r.User)
	o.textz("user_by", r.UserBy)
	o.textz("folder", r.Folder)
	o.intz("uid", int64(r.UID))
	o.intz("claim", r.Claim)
	o.hash("content", r.Content[:])
	if r.Stored != r.Content {
		o.hash("stored", r.Stored[:])
	}
	o.int("stored_size", r.StoredSize)
	o.textz("line_ends", string(r.LineEnds))
	o.textz("name", r.Name)
	o.timez("date", r.Date)
	o.textz("message_id", r.MessageID)
	o.textz("from", r.From)
	o.textz("subject", r.Subject)
	o.textz("source", r.Source)
	o.textz("how", r.How)
	o.textz("path", r.Path)
	o.intz("inode", r.Inode)
	o.int("offset", r.Offset)
	if len(r.Extents) > 0 {
		o.name("extents")
		o.b = appendList(o.b, r.Extents, appendExtent)
	}
	if len(r.Missing) > 0 {
		o.name("missing")
		o.b = appendList(o.b, r.Missing, appendGap)
	}
	o.intz("places", r.Places)
	return o.close()
}

func appendExtent(b []byte, e FindingExtent) []byte {
	o := newObject(b)
	o.int("at", e.At)
	o.int("off", e.Off)
	o.int("len", e.Len)
	o.truez("unwritten", e.Unwritten)
	return o.close()
}

func appendGap(b []byte, g FindingGap) []byte {
	o := newObject(b)
	o.int("off", g.Off)
	o.int("len", g.Len)
	return o.close()
}

func (r Finding) put(t *Tx) error {
	incident, err := t.incidentOf(r, r.Incident)
	if err != nil {
		return err
	}
	content, err := t.wantContent(r, r.Content)
	if err != nil {
		return err
	}
	return t.w.prep("INSERT OR REPLACE INTO finding VALUES (?" + strings.Repeat(", ?", 28) + ")").int(incident).text(r.ID).text(r.Salvage).
		text(r.Class).text(r.Grade).text(r.Why).text(r.User).text(r.UserBy).text(r.Folder).int(int64(r.UID)).int(r.Claim).
		int(content).blob(r.Content[:]).blob(r.Stored[:]).int(r.StoredSize).text(string(r.LineEnds)).text(r.Name).time(r.Date).
		text(r.MessageID).text(r.From).text(r.Subject).text(r.Source).text(r.How).text(r.Path).int(r.Inode).int(r.Offset).
		blob(appendList(nil, r.Extents, appendExtent)).blob(appendList(nil, r.Missing, appendGap)).int(r.Places).run()
}

func (r Finding) remove(t *Tx) error {
	id, found, err := t.w.incidentID(r.Incident)
	if err != nil || !found {
		return err
	}
	return t.w.prep("DELETE FROM finding WHERE incident = ? AND id = ?").int(id).text(r.ID).run()
}

const findingColumns = `i.name, f.id, f.salvage, f.class, f.grade, f.why, f.user, f.user_by, f.folder, f.uid, f.claim, f.content_id, f.stored,
	f.stored_size, f.line_ends, f.name, f.date, f.message_id, f.sender, f.subject, f.source, f.how, f.path, f.inode, f.offset, f.extents,
	f.missing, f.places`

func scanFinding(r row) *Finding {
	f := &Finding{Incident: r.text(0), ID: r.text(1), Salvage: r.text(2), Class: r.text(3), Grade: r.text(4), Why: r.text(5), User: r.text(6),
		UserBy: r.text(7), Folder: r.text(8), UID: uint32(r.int(9)), Claim: r.int(10), Content: r.id(11), Stored: r.id(12), StoredSize: r.int(13),
		LineEnds: chunk.LineEnds(r.text(14)), Name: r.text(15), Date: r.time(16), MessageID: r.text(17), From: r.text(18), Subject: r.text(19),
		Source: r.text(20), How: r.text(21), Path: r.text(22), Inode: r.int(23), Offset: r.int(24), Places: r.int(27)}
	// They were written by put, as they are in a journal; what somebody has spoiled
	// in the file is where something stood, and no more.
	_ = json.Unmarshal(r.blob(25), &f.Extents)
	_ = json.Unmarshal(r.blob(26), &f.Missing)
	if len(f.Extents) == 0 {
		f.Extents = nil
	}
	if len(f.Missing) == 0 {
		f.Missing = nil
	}
	return f
}

// FindingQuery chooses findings of one incident. The zero fields choose all.
type FindingQuery struct {
	Incident string
	User     string
	Salvage  string
	// After: only findings with a higher ID, so that a walk can be gone on with.
	After string
}

// Findings lists what was found for an incident, by ID.
func (q queries) Findings(ctx context.Context, w FindingQuery, yield func(*Finding) error) error {
	return q.list("list findings of an incident", func(c *conn) error { return c.findings(ctx, w, yield) })
}

func (c *conn) findings(ctx context.Context, w FindingQuery, yield func(*Finding) error) error {
	where := ""
	args := []string{w.Incident}
	for _, cond := range []struct{ sql, value string }{{" AND f.user = ?", w.User}, {" AND f.salvage = ?", w.Salvage}, {" AND f.id > ?", w.After}} {
		if cond.value != "" {
			where += cond.sql
			args = append(args, cond.value)
		}
	}
	return stream(ctx, c, "SELECT "+findingColumns+" FROM incident i CROSS JOIN finding f ON f.incident = i.id WHERE i.name = ?"+where+" ORDER BY f.id",
		func(st *stmt) {
			for _, a := range args {
				st.text(a)
			}
		}, scanFinding, yield)
}

// Finding gives one finding; ok is false when there is none.
func (q queries) Finding(incident, id string) (f Finding, ok bool, err error) {
	err = q.look("read finding from catalog", func(c *conn) (err error) {
		ok, err = c.prep("SELECT " + findingColumns + " FROM incident i CROSS JOIN finding f ON f.incident = i.id WHERE i.name = ? AND f.id = ?").
			text(incident).text(id).one(func(r row) { f = *scanFinding(r) })
		return err
	})
	return f, ok, err
}

// HasFindings tells whether any finding has this content.
func (q queries) HasFindings(content chunk.ID) (has bool, err error) {
	err = q.look("look for findings of a content", func(c *conn) error {
		k, found, err := c.chunk(chunk.Ref{Kind: chunk.KindMessage, ID: content})
		if err != nil || !found {
			return err
		}
		has, err = c.prep("SELECT 1 FROM finding WHERE content = ? LIMIT 1").int(k.id).one(func(row) {})
		return err
	})
	return has, err
}

// SameRow tells whether two rows say the same.
func SameRow(a, b Row) bool {
	x, errA := a.normal()
	y, errB := b.normal()
	return errA == nil && errB == nil && bytes.Equal(x.appendRow(nil), y.appendRow(nil))
}

// DropContent deletes a content that no record and no finding has any more; one that
// is held stays.
func (t *Tx) DropContent(content chunk.ID) error {
	for _, held := range []func(chunk.ID) (bool, error){t.HasRecords, t.HasFindings} {
		if has, err := held(content); has || err != nil {
			return err
		}
	}
	return t.Delete(Content{ID: content})
}

// dropBatch is how many findings are in memory at a time.
const dropBatch = 1024

// DropFindings deletes the findings that w chooses, and the contents that nothing
// else has.
func (t *Tx) DropFindings(ctx context.Context, w FindingQuery) error {
	for {
		var batch []Finding
		err := t.Findings(ctx, w, func(f *Finding) error {
			if batch = append(batch, Finding{Incident: f.Incident, ID: f.ID, Content: f.Content}); len(batch) == dropBatch {
				return ErrStop
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, f := range batch {
			if err := t.Delete(f); err != nil {
				return err
			}
			if err := t.DropContent(f.Content); err != nil {
				return err
			}
		}
		if len(batch) < dropBatch {
			return nil
		}
	}
}
