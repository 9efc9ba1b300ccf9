package diskimage

import (
	"fmt"
	"iter"
	"strings"
)

// A Result is one thing that a salvage, or another tool, has found.
type Result struct {
	Name string // for people: an ID, a path
	SHA1 string // of the wire form, of the bytes that are there
	Size int64  // of them
	// Whole: the tool says that this is a whole message.
	Whole bool
	// Owed: the tool says that it is known to be missing.
	Owed         bool
	User, Folder string // "": the tool does not say
	// Lie is what it says of itself that is not so; "" for none.
	Lie string
}

// A Report is a judgement on results. A message counts once, however often it was
// found.
type Report struct {
	Disk   string // file system
	Damage Kind
	Tool   string
	*Limit

	Found      int   // targets that came back whole, byte for byte
	FoundBytes int64 // of them, in the form of the wire
	Unlikely   int   // of these, those that the limit says cannot be there
	Others     int   // whole messages that are there, but were not to be found
	Again      int   // results with the bytes of an earlier one
	Partial    int   // results that the tool calls damaged

	// False are results called whole that are no message of this disk; Old those that
	// are a message which its user had deleted, OldOwed of which the tool even says
	// that they are owed.
	False, Old, OldOwed int
	// Examples of what is false or a lie.
	Examples []string
	Lies     int

	// Owners of the targets that were found: by user, and by user and folder.
	UserRight, UserWrong, UserNone       int
	FolderRight, FolderWrong, FolderNone int
}

// Score judges results by what is true. It finds out the limit first, if it is
// not given (nil).
func (d *Damaged) Score(tool string, limit *Limit, results iter.Seq2[Result, error]) (*Report, error) {
	if limit == nil {
		var err error
		if limit, err = d.Limit(); err != nil {
			return nil, err
		}
	}
	r := &Report{Disk: d.Base.Options.FS, Damage: d.Kind, Tool: tool, Limit: limit}
	known := d.known()
	for x, err := range results {
		if err != nil {
			return nil, err
		}
		r.add(x, known[x.SHA1])
	}
	for _, k := range known {
		r.owners(k)
	}
	return r, nil
}

// A truth is one content.
type truth struct {
	target, other bool
	places        []Message
	found         bool
	claims        []Result // of whose it is
}

// known gives all contents that are or were on the disk, by the SHA-1 of the wire
// form.
func (d *Damaged) known() map[string]*truth {
	all := map[string]*truth{}
	of := func(m Message) *truth {
		if all[m.SHA1] == nil {
			all[m.SHA1] = &truth{}
		}
		return all[m.SHA1]
	}
	for _, m := range d.Base.Expunged {
		of(m)
	}
	for _, m := range d.Targets {
		k := of(m)
		k.target, k.places = true, append(k.places, m)
	}
	for _, m := range d.Others {
		k := of(m)
		k.other, k.places = true, append(k.places, m)
	}
	return all
}

const mostExamples = 5

func (r *Report) example(format string, args ...any) {
	if len(r.Examples) < mostExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

func (r *Report) add(x Result, k *truth) {
	if x.Lie != "" {
		r.Lies++
		r.example("%s: %s", x.Name, x.Lie)
	}
	switch {
	case !x.Whole:
		r.Partial++
		return
	case k == nil:
		r.False++
		r.example("%s (%d bytes) is no message of this disk", x.Name, x.Size)
		return
	case !k.target && !k.other:
		r.Old++
		if x.Owed {
			r.OldOwed++
			r.example("%s (%d bytes) was deleted by its user", x.Name, x.Size)
		}
		return
	}
	k.claims = append(k.claims, x)
	if k.found {
		r.Again++
		return
	}
	k.found = true
	if !k.target {
		r.Others++
		return
	}
	r.Found++
	r.FoundBytes += k.places[0].WireSize
	if !r.whole[x.SHA1] {
		r.Unlikely++
	}
}

// owners judges whose a message was said to be: right if any of the claims is.
func (r *Report) owners(k *truth) {
	if !k.target || !k.found {
		return
	}
	user, folder := silent, silent
	for _, c := range k.claims {
		u, f := silent, silent
		if c.User != "" {
			u, f = wrong, wrong
			for _, m := range k.places {
				if sameUser(c.User, m.User) {
					u = right
					if strings.EqualFold(c.Folder, m.Folder) {
						f = right
					}
				}
			}
		}
		if c.Folder == "" {
			f = silent
		}
		user, folder = max(user, u), max(folder, f)
	}
	for _, x := range []struct {
		how                verdict
		right, wrong, none *int
	}{{user, &r.UserRight, &r.UserWrong, &r.UserNone}, {folder, &r.FolderRight, &r.FolderWrong, &r.FolderNone}} {
		switch x.how {
		case right:
			*x.right++
		case wrong:
			*x.wrong++
		default:
			*x.none++
		}
	}
}

type verdict int

const (
	silent verdict = iota // nobody said
	wrong
	right
)

// sameUser: a user may be called with or without the domain, which a path does not
// always tell.
func sameUser(a, b string) bool {
	x, inX, hasX := strings.Cut(a, "@")
	y, inY, hasY := strings.Cut(b, "@")
	return x == y && (inX == inY || !hasX || !hasY)
}

// Recall gives the shares of the limit that were found, by messages and by bytes,
// between 0 and 1.
func (r *Report) Recall() (messages, bytes float64) {
	if r.Messages == 0 {
		return 1, 1
	}
	return float64(r.Found) / float64(r.Messages), float64(r.FoundBytes) / float64(r.Bytes)
}

// Floors are what a report must reach.
type Floors struct {
	Messages, Bytes float64 // recall of the limit, 0 to 1
	Users, Folders  float64 // right owners of what was found, 0 to 1
	False, Old      int     // at most so many; -1: any number
}

// Below says in words what falls short of the floors; nothing if all is well. No
// report may hold lies, or owed messages that nobody is owed.
func (r *Report) Below(f Floors) (short []string) {
	messages, bytes := r.Recall()
	say := func(format string, args ...any) { short = append(short, fmt.Sprintf(format, args...)) }
	if messages < f.Messages {
		say("%d of the %d messages that are there were found, %.2f %% (at least %.2f %%)", r.Found, r.Messages, 100*messages, 100*f.Messages)
	}
	if bytes < f.Bytes {
		say("%.2f %% of the bytes that are there were found (at least %.2f %%)", 100*bytes, 100*f.Bytes)
	}
	if share := float64(r.UserRight) / float64(max(r.Found, 1)); r.Found > 0 && share < f.Users {
		say("%d of %d users right, %d wrong (at least %.1f %% right)", r.UserRight, r.Found, r.UserWrong, 100*f.Users)
	}
	if share := float64(r.FolderRight) / float64(max(r.Found, 1)); r.Found > 0 && share < f.Folders {
		say("%d of %d folders right, %d wrong (at least %.1f %% right)", r.FolderRight, r.Found, r.FolderWrong, 100*f.Folders)
	}
	if f.False >= 0 && r.False > f.False {
		say("%d called whole that are no messages (at most %d): %s", r.False, f.False, strings.Join(r.Examples, "; "))
	}
	if f.Old >= 0 && r.Old > f.Old {
		say("%d that their users had deleted (at most %d)", r.Old, f.Old)
	}
	if r.OldOwed > 0 {
		say("%d are called owed that their users had deleted: %s", r.OldOwed, strings.Join(r.Examples, "; "))
	}
	if r.Lies > 0 {
		say("%d results are not what they say: %s", r.Lies, strings.Join(r.Examples, "; "))
	}
	return short
}

// Table prints reports in Markdown.
func Table(reports []*Report) string {
	var b strings.Builder
	b.WriteString("| damage | disk | tool | physical limit: messages (bytes) | found of it (bytes) | false wholes | deleted before | partial | users right / wrong / not said | folders right |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range reports {
		messages, bytes := r.Recall()
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f %% (%.1f %%) | %.2f %% (%.1f %%) | %d | %d | %d | %d / %d / %d | %d |\n", r.Damage, r.Disk, r.Tool,
			percent(int64(r.Messages), int64(r.Targets)), percent(r.Bytes, r.TargetBytes), 100*messages, 100*bytes,
			r.False, r.Old, r.Partial, r.UserRight, r.UserWrong, r.UserNone, r.FolderRight)
	}
	return b.String()
}
