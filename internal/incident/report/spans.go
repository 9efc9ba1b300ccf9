package report

import (
	"slices"
	"time"
)

// A Span is a time between two messages that belong together: no gap in it is
// long.
type Span struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Messages int64     `json:"messages"`
}

// spans collects times and keeps them as few spans. Dates come out of indexes and
// headers, so they may be any.
type spans struct {
	gap     time.Duration // up to which two belong together
	list    []Span
	undated int64
}

const (
	shortGap = time.Hour
	// looseSpans bounds the spans that are in memory, mostSpans those that a page
	// shows for a folder.
	looseSpans = 4096
	mostSpans  = 8
	// longestGap is one at which all of catalog's times make fewer than mostSpans.
	longestGap = 1 << 61
)

func (s *spans) add(t time.Time) {
	if t.IsZero() {
		s.undated++
		return
	}
	s.list = append(s.list, Span{t, t, 1})
	if len(s.list) >= looseSpans {
		s.reduce(looseSpans / 2)
	}
}

// reduce merges until there are at most so many; the gaps that stay are the
// longest ones.
func (s *spans) reduce(most int) []Span {
	if s.gap == 0 {
		s.gap = shortGap
	}
	for s.merge(); len(s.list) > most && s.gap < longestGap; s.merge() {
		s.gap *= 2
	}
	return s.list
}

func (s *spans) merge() {
	slices.SortFunc(s.list, func(a, b Span) int { return a.From.Compare(b.From) })
	merged := s.list[:0]
	for _, next := range s.list {
		if last := len(merged) - 1; last >= 0 && next.From.Sub(merged[last].To) <= s.gap {
			merged[last].Messages += next.Messages
			if next.To.After(merged[last].To) {
				merged[last].To = next.To
			}
			continue
		}
		merged = append(merged, next)
	}
	s.list = merged
}

// in gives the spans in a time zone.
func (s *spans) in(zone *time.Location) []Span {
	out := slices.Clone(s.reduce(mostSpans))
	for i := range out {
		out[i].From, out[i].To = out[i].From.In(zone), out[i].To.In(zone)
	}
	return out
}

// wholeHours widens the spans to full hours.
func wholeHours(list []Span) []Span {
	wide := spans{}
	for _, s := range list {
		from, to := s.From.Truncate(time.Hour), s.To.Truncate(time.Hour)
		wide.list = append(wide.list, Span{from, to.Add(time.Hour), s.Messages})
	}
	return wide.reduce(mostSpans)
}
