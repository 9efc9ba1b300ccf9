package cyrus

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// A seenState says which messages a user has seen in mailboxes whose index does
// not say so itself, those before version 12.
type seenState struct {
	records map[string]string // values of seen.db, by the mailbox's identity
	path    string
	err     error
}

// seenState reads the user's seen.db. Without one nothing has been seen.
func (s *Source) seenState(a *account) *seenState {
	st := &seenState{records: map[string]string{}}
	conf, err := os.OpenRoot(s.c.dir)
	if err != nil {
		st.path, st.err = s.c.dir, err
		return st
	}
	defer conf.Close()
	db, path, err := s.userDatabase(conf, a, "seen")
	st.path, st.err = path, err
	if db == nil || err != nil {
		return st
	}
	st.err = damage(db)
	for _, r := range db.Records {
		st.records[string(r.Key)] = string(r.Value)
	}
	return st
}

// token is what a mailbox's state needs to know.
func (s *seenState) token(id string) string {
	if s.err != nil {
		return "?"
	}
	return s.records[id]
}

// uids gives the messages that were seen in a mailbox: the last word of "1
// <last read> <last UID> <last change> <set of UIDs>" (Cyrus, imap/seen_db.c,
// parse_data).
func (s *seenState) uids(id string) uidSet {
	words := strings.Fields(s.records[id])
	if len(words) < 5 || words[0] != "1" {
		return nil
	}
	return parseUIDs(words[4])
}

// A uidSet is a set of UIDs: ranges that rise and do not touch.
type uidSet []uidRange

type uidRange struct{ first, last uint32 }

// parseUIDs reads "1:7,9". Parts that make no sense are left out.
func parseUIDs(text string) uidSet {
	var s uidSet
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 32)
		b, err2 := strconv.ParseUint(last, 10, 32)
		if last == "*" {
			b, err2 = 1<<32-1, nil
		}
		if err1 == nil && err2 == nil && a <= b {
			s = append(s, uidRange{uint32(a), uint32(b)})
		}
	}
	slices.SortFunc(s, func(x, y uidRange) int { return int(int64(x.first) - int64(y.first)) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && r.first <= out[n-1].last {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// has tells whether a UID is in the set.
func (s uidSet) has(uid uint32) bool {
	_, found := slices.BinarySearchFunc(s, uid, func(r uidRange, uid uint32) int {
		switch {
		case r.last < uid:
			return -1
		case r.first > uid:
			return 1
		}
		return 0
	})
	return found
}
