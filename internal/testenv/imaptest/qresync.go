package imaptest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Cache is what a client that resynchronises quickly (RFC 7162) remembers of a
// folder. The zero value remembers nothing.
type Cache struct {
	UIDValidity uint32
	ModSeq      uint64
	Flags       map[uint32]string // by UID, sorted, without \Recent
}

// Clone gives a copy that other changes do not reach.
func (k Cache) Clone() Cache {
	k.Flags = maps.Clone(k.Flags)
	return k
}

var (
	okValidity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	okModSeq   = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	vanished   = regexp.MustCompile(`^\* VANISHED (?:\(EARLIER\) )?([\d:,]+)$`)
)

// Sync opens a folder and brings the cache up to date: by what the server tells of
// changes alone, if the cache knows the folder, else by listing all of it.
func (c *Client) Sync(folder string, k *Cache) {
	c.t.Helper()
	c.Do("ENABLE QRESYNC")
	known := ""
	if k.UIDValidity != 0 {
		known = fmt.Sprintf(" (QRESYNC (%d %d))", k.UIDValidity, k.ModSeq)
	}
	heard := c.Do("SELECT %s%s", Quote(folder), known)
	for _, r := range heard {
		if m := okValidity.FindStringSubmatch(r.Text); m != nil && m[1] != fmt.Sprint(k.UIDValidity) {
			n, _ := strconv.ParseUint(m[1], 10, 32)
			*k = Cache{UIDValidity: uint32(n), Flags: map[uint32]string{}}
			heard = append(heard, c.Do("UID FETCH 1:* (FLAGS)")...)
		}
	}
	k.Hear(heard)
}

// Hear applies what a server has told of the folder that is open.
func (k *Cache) Hear(heard []Response) {
	for _, r := range heard {
		if m := okModSeq.FindStringSubmatch(r.Text); m != nil {
			k.ModSeq, _ = strconv.ParseUint(m[1], 10, 64)
		}
		if m := vanished.FindStringSubmatch(r.Text); m != nil {
			k.remove(m[1])
		}
		uid, flags := fetchUID.FindStringSubmatch(r.Text), fetchFlags.FindStringSubmatch(r.Text)
		if strings.Contains(r.Text, " FETCH (") && uid != nil && flags != nil {
			n, _ := strconv.ParseUint(uid[1], 10, 32)
			words := slices.DeleteFunc(strings.Fields(flags[1]), func(f string) bool { return f == `\Recent` })
			slices.Sort(words)
			k.Flags[uint32(n)] = strings.Join(words, " ")
		}
	}
}

// remove forgets a set of UIDs.
func (k *Cache) remove(set string) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		from, _ := strconv.ParseUint(first, 10, 32)
		to, _ := strconv.ParseUint(last, 10, 32)
		maps.DeleteFunc(k.Flags, func(uid uint32, _ string) bool { return uint64(uid) >= from && uint64(uid) <= to })
	}
}
