package catalog

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"salvor/chunk"
)

// MaxHeader is the length in bytes after which a Content's From, To, Subject
// and MessageID are cut (at the start of a character).
const MaxHeader = 16 << 10

// maxFrame bounds a frame's lengths, so that products of two fit an int64.
const maxFrame = math.MaxInt32

var (
	firstTime = time.Unix(0, math.MinInt64).UTC()
	lastTime  = time.Unix(0, math.MaxInt64).UTC()
)

// utc brings t into the range that nanoseconds in an int64 can hold.
func utc(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t.Round(0).UTC()
}

func utcp(t *time.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	u := utc(*t)
	return &u
}

// clip cuts s after max bytes, at the start of a character.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for i := max; i > max-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:max]
}

// checks collects the first thing that is wrong with a row.
type checks struct{ err error }

func (c *checks) that(ok bool, what string) {
	if !ok && c.err == nil {
		c.err = errors.New(what)
	}
}

// counts wants numbers that SQLite can hold and that make sense as counts.
func (c *checks) counts(ns ...int64) {
	for _, n := range ns {
		c.that(n >= 0, "negative number")
	}
}

func (c *checks) numbers(ns ...uint64) {
	for _, n := range ns {
		c.that(n <= math.MaxInt64, "number too large")
	}
}

// row gives r, or the error with the row's name.
func (c *checks) row(r Row) (Row, error) {
	if c.err != nil {
		return nil, fmt.Errorf("%s row: %w", r.rowName(), c.err)
	}
	return r, nil
}

func (r User) normal() (Row, error) {
	var c checks
	c.that(r.Name != "", "no name")
	c.numbers(r.FirstRun, r.LastRun, r.LastGood, r.GoneRun)
	c.counts(int64(r.Failed))
	r.FirstSeen, r.LastGoodAt = utc(r.FirstSeen), utc(r.LastGoodAt)
	return c.row(r)
}

func (r Mailbox) normal() (Row, error) {
	var c checks
	c.that(r.ID > 0, "no id")
	c.that(r.User != "", "no user")
	c.numbers(r.FirstRun, r.FailedRun, r.GoneRun, r.HighestModSeq)
	c.counts(int64(r.Messages))
	r.FirstSeen, r.GoneAt = utc(r.FirstSeen), utcp(r.GoneAt)
	return c.row(r)
}

func (r Record) normal() (Row, error) {
	var c checks
	c.that(r.ID > 0, "no id")
	c.that(r.Mailbox > 0, "no mailbox")
	c.that(!r.Content.IsZero(), "no content")
	c.numbers(r.ModSeq, r.FirstRun, r.GoneRun)
	c.counts(r.StoredSize, r.Hold, r.MovedTo)
	if r.Stored.IsZero() {
		r.Stored = r.Content
	}
	r.InternalDate, r.FirstSeen, r.GoneAt = utc(r.InternalDate), utc(r.FirstSeen), utcp(r.GoneAt)
	r.Expunged = utc(r.Expunged)
	return c.row(r)
}

func (r Content) normal() (Row, error) {
	var c checks
	c.that(!r.ID.IsZero(), "no id")
	c.counts(r.Size)
	for _, p := range r.Parts {
		c.that(p.Kind == chunk.KindData || p.Kind == chunk.KindPart, "part that is neither data nor part")
	}
	r.From, r.To = clip(r.From, MaxHeader), clip(r.To, MaxHeader)
	r.Subject, r.MessageID = clip(r.Subject, MaxHeader), clip(r.MessageID, MaxHeader)
	r.Date = utcp(r.Date)
	return c.row(r)
}

func (r Part) normal() (Row, error) {
	var c checks
	c.that(!r.ID.IsZero(), "no id")
	c.counts(r.Size)
	return c.row(r)
}

func (r Pack) normal() (Row, error) {
	var c checks
	c.that(!r.ID.IsZero(), "no id")
	c.numbers(r.Commit, r.Condemned)
	c.counts(r.Size, r.DeadBytes)
	r.CreatedAt, r.CondemnedAt, r.DeadSince = utc(r.CreatedAt), utcp(r.CondemnedAt), utcp(r.DeadSince)
	return c.row(r)
}

func (r Frame) normal() (Row, error) {
	var c checks
	c.that(!r.Pack.IsZero(), "no pack")
	c.counts(r.Offset, r.Stored, r.Plain)
	c.that(r.Stored <= maxFrame && r.Plain <= maxFrame, "frame too large")
	c.that(r.Method == MethodZstd || r.Method == MethodRaw, "unknown method")
	for _, f := range r.Chunks {
		c.that(f.Kind == chunk.KindData || f.Kind == chunk.KindPart || f.Kind == chunk.KindMessage, "unknown kind of chunk")
		c.that(f.Offset >= 0 && f.Size >= 0 && f.Offset <= r.Plain && f.Size <= r.Plain-f.Offset, "chunk outside its frame")
	}
	return c.row(r)
}

func (r Run) normal() (Row, error) {
	var c checks
	c.that(r.Number > 0, "no number")
	c.numbers(r.Number)
	c.counts(int64(r.Users), int64(r.Mailboxes), r.Seen, r.New, r.Gone, r.Failed, r.BytesRead, r.BytesNew, r.BytesStored)
	r.Started, r.Finished = utc(r.Started), utc(r.Finished)
	return c.row(r)
}

func (r Hold) normal() (Row, error) {
	var c checks
	c.that(r.ID > 0, "no id")
	c.that(r.Verdict == "" || r.Verdict == Confirmed || r.Verdict == Rejected, "unknown verdict")
	c.numbers(r.Run)
	c.counts(r.Records)
	r.VerdictAt = utcp(r.VerdictAt)
	return c.row(r)
}

func (r Tombstone) normal() (Row, error) {
	var c checks
	c.that(r.User != "" && !r.Content.IsZero(), "no user or content")
	r.LastSeen, r.ExpiredAt, r.Until = utc(r.LastSeen), utc(r.ExpiredAt), utc(r.Until)
	return c.row(r)
}

func (r Ack) normal() (Row, error) {
	var c checks
	c.that(r.Attention != "", "no attention")
	r.At = utc(r.At)
	return c.row(r)
}

func (r Lock) normal() (Row, error) {
	var c checks
	c.counts(r.Left, r.Waiting, r.WaitingBytes)
	r.Until, r.Target, r.Began, r.WaitingUntil = utc(r.Until), utc(r.Target), utc(r.Began), utc(r.WaitingUntil)
	return c.row(r)
}

func (r Counter) normal() (Row, error) {
	var c checks
	_, ok := sequenceNamed(r.Table)
	c.that(ok, "unknown table")
	c.counts(r.Last)
	return c.row(r)
}
