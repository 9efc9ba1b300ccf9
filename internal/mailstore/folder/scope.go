package folder

import (
	"fmt"
	"strings"

	"salvor/internal/mailstore"
)

// The reasons why a mailbox is out of scope.
const (
	ReasonJunk     = "junk"
	ReasonExcluded = "excluded"
)

// A Scope says which folders a backup takes. The zero value takes all but
// those that hold junk.
type Scope struct {
	IncludeJunk bool
	Exclude     []Pattern
	// JunkNames are further names of junk folders.
	JunkNames []string
}

// Decide gives the reason why a mailbox is left out, "" when it is taken.
func (s *Scope) Decide(box mailstore.Mailbox) (reason string) {
	for _, p := range s.Exclude {
		if p.Match(box.Name) {
			return ReasonExcluded
		}
	}
	if !s.IncludeJunk && box.Name != Inbox && IsJunk(box.Name, box.SpecialUse, s.JunkNames...) {
		return ReasonJunk
	}
	return ""
}

// DecideAll decides on all mailboxes of one user. It also knows that what lies
// under a folder whose special use is \Junk is junk, whatever its name is.
func (s *Scope) DecideAll(boxes []mailstore.Mailbox) []string {
	var junk []string
	for _, b := range boxes {
		if strings.EqualFold(b.SpecialUse, Junk) && b.Name != Inbox {
			junk = append(junk, b.Name+"/")
		}
	}
	out := make([]string, len(boxes))
	for i, b := range boxes {
		out[i] = s.Decide(b)
		for _, j := range junk {
			if out[i] == "" && !s.IncludeJunk && strings.HasPrefix(b.Name, j) {
				out[i] = ReasonJunk
			}
		}
	}
	return out
}

// A Pattern names folders, as in IMAP's LIST: * is anything, % anything but a
// level's end. Case does not count. A pattern without wildcards means the
// folder and all that lies under it.
type Pattern string

// ParsePatterns checks patterns.
func ParsePatterns(list []string) ([]Pattern, error) {
	var out []Pattern
	for _, s := range list {
		if strings.Trim(s, "/") == "" {
			return nil, fmt.Errorf("folder pattern %q is empty", s)
		}
		out = append(out, Pattern(strings.Trim(s, "/")))
	}
	return out, nil
}

// Match tells whether a folder's name fits the pattern.
func (p Pattern) Match(name string) bool {
	pattern, name := foldCase(string(p)), foldCase(name)
	if !strings.ContainsAny(pattern, "*%") {
		return name == pattern || strings.HasPrefix(name, pattern+"/")
	}
	return wild(pattern, name)
}

func foldCase(s string) string { return strings.ToLower(nfc(s)) }

// wild matches with one place to come back to for each kind of wildcard: a
// later wildcard makes going back to an earlier one of the same kind useless,
// so the time is bounded by the product of the lengths.
func wild(p, s string) bool {
	starP, starS, pctP, pctS := -1, 0, -1, 0
	i, j := 0, 0
	for {
		switch {
		case i < len(p) && p[i] == '*':
			starP, starS, pctP = i, j, -1
			i++
			continue
		case i < len(p) && p[i] == '%':
			pctP, pctS = i, j
			i++
			continue
		case i < len(p) && j < len(s) && p[i] == s[j]:
			i, j = i+1, j+1
			continue
		case i == len(p) && j == len(s):
			return true
		}
		switch {
		case pctP >= 0 && pctS < len(s) && s[pctS] != '/':
			pctS++
			i, j = pctP+1, pctS
		case starP >= 0 && starS < len(s):
			starS++
			i, j, pctP = starP+1, starS, -1
		default:
			return false
		}
	}
}

// IsTrash tells whether a mailbox is where deleted mail goes.
func (s *Scope) IsTrash(box mailstore.Mailbox) bool { return IsTrash(box.Name, box.SpecialUse) }
