package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"salvor/catalog"
)

// A section is a part of a page in words; the same for text and HTML.
type section struct {
	Title string
	Words []string // paragraphs
	Items []item
	After []string // paragraphs below the items
}

// An item is a folder and what is said of it.
type item struct{ Folder, Words string }

// sections says in plain words what the user will notice.
func (p *Page) sections() []section {
	all := []section{p.happened(), p.now()}
	for _, s := range []section{p.wordsMaybeDeleted(), p.wordsEmpty(), p.wordsMissing(), p.wordsLate(), p.wordsGivenUp()} {
		if len(s.Items) > 0 {
			all = append(all, s)
		}
	}
	if p.Unlisted && !p.BackupAt.IsZero() {
		all = append(all, p.wordsUnlisted())
	}
	return all
}

// wordsUnlisted says what nobody can list.
func (p *Page) wordsUnlisted() section {
	return section{Title: "Mail that nobody can list", Words: []string{fmt.Sprintf(
		"Not all of the list of your messages could be relied upon. What came in between the last backup, %s, and the failure may be missing without standing on this page. "+
			"If somebody wrote to you in these hours and you cannot find it, ask them to send it again.", dayAndHour(p.BackupAt))}}
}

func (p *Page) happened() section {
	s := section{Title: "What happened", Words: []string{
		fmt.Sprintf("On %s the server that held your mail failed.", dayAndHour(p.LossAt))}}
	if !p.BackupAt.IsZero() {
		s.Words[0] += fmt.Sprintf(" The last backup before that was made on %s.", dayAndHour(p.BackupAt))
	}
	if p.Open {
		s.Words = append(s.Words, "Your mail is being brought back from a backup and from what else can be saved. This page says how far that is; it is not finished yet.")
	} else {
		s.Words = append(s.Words, "What could be brought back from a backup and from elsewhere is there again. The work is finished.")
	}
	if access := map[catalog.GateState]string{
		catalog.GateDown: "You cannot get at your mail yet: it is still being put back.",
		catalog.GateWeb:  "For now your mail is best read over the web; mail programs on computers and phones follow when everything is in order.",
	}[p.Access]; access != "" && p.Open {
		s.Words = append(s.Words, access)
	}
	return s
}

func (p *Page) now() section {
	n := p.Messages
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	switch {
	case n.Total == 0:
		say("None of your messages were affected.")
	case n.Back == n.Total:
		say("You had %s. All of them are there.", messages(n.Total))
	default:
		say("You had %s. Of these, %s there now.", messages(n.Total), are(n.Back))
	}
	if coming := n.Held + n.Uncertain; coming > 0 && p.Open {
		say("%s in the backup and will be put back.", more(coming))
	} else if coming > 0 {
		say("%s in the backup and not put back; ask for them if you need them.", more(coming))
	}
	if n.Owed > 0 {
		say("%s still missing.", are(n.Owed))
	}
	if n.Lost > 0 {
		say("%s lost.", are(n.Lost))
	}
	if n.Deleted > 0 {
		say("%s that you had deleted %s deleted.", messages(n.Deleted), plural(n.Deleted, "stays", "stay"))
	}
	if p.complete() {
		say("You should notice nothing.")
	}
	return section{Title: "Your mail now", Words: []string{strings.Join(said, " ")}}
}

func (p *Page) wordsMaybeDeleted() section {
	s := section{Title: "Mail that may be back although you deleted it"}
	notYet := ", not put back"
	if p.Open {
		notYet += " yet"
	}
	var back int64
	for _, f := range p.MaybeDeleted {
		back += f.Back
		words := messages(f.Messages)
		switch waiting := f.Messages - f.Back; {
		case waiting == 0:
		case f.Back == 0:
			words += notYet
		default:
			words += fmt.Sprintf(", %d of them%s", waiting, strings.TrimPrefix(notYet, ","))
		}
		s.Items = append(s.Items, item{name(f), words})
	}
	undecided := "It could not be decided whether you had deleted these messages. "
	switch {
	case p.Open || back > 0:
		s.Words = []string{undecided + "To be safe, they are brought back."}
		s.After = []string{"If you do not want them, you may delete them again."}
	default:
		s.Words = []string{undecided + "They are in the backup; ask for them if you need them."}
	}
	return s
}

func (p *Page) wordsEmpty() section {
	s := section{Title: "Folders that start empty"}
	for _, e := range p.EmptyFolders {
		words := map[string]string{
			WhyJunk:    "junk mail is not part of the backup",
			WhyLeftOut: "this folder is not part of the backup",
			WhyNothing: "nothing that was in it has come back",
		}[e.Why]
		if e.Messages > 0 {
			words += fmt.Sprintf(" (%s)", messages(e.Messages))
		}
		s.Items = append(s.Items, item{e.Folder, words})
	}
	return s
}

func (p *Page) wordsMissing() section {
	s := section{Title: "Mail that is still missing"}
	for _, f := range p.Missing {
		words := messages(f.Messages) + cameBetween(f)
		if f.InDoubt > 0 {
			words += fmt.Sprintf("; %d of them may be there already", f.InDoubt)
		}
		s.Items = append(s.Items, item{name(f), words})
	}
	if p.Open {
		s.After = []string{"What is found will be put into its folder. If somebody wrote to you in these hours and you cannot find it, ask them to send it again."}
	}
	return s
}

func (p *Page) wordsLate() section {
	s := section{Title: "Mail that came back late",
		Words: []string{"These messages were found later and put into their folders. They have a new number there, so your mail program may show them as new."}}
	for _, f := range p.Late {
		words := messages(f.Messages) + cameBetween(f)
		if f.NowFolder != "" {
			words += ", now in " + printable(f.NowFolder)
		}
		s.Items = append(s.Items, item{f.Folder, words})
	}
	return s
}

func (p *Page) wordsGivenUp() section {
	s := section{Title: "Mail that is lost",
		After: []string{"Nobody looks for these any more. If somebody wrote to you in these hours, ask them to send it again."}}
	for _, f := range p.GivenUp {
		s.Items = append(s.Items, item{name(f), messages(f.Messages) + cameBetween(f)})
	}
	return s
}

// name is the folder where mail is.
func name(f Part) string {
	if f.NowFolder != "" {
		return f.NowFolder
	}
	return f.Folder
}

// cameBetween says when messages came.
func cameBetween(f Part) string {
	var times []string
	for _, s := range f.Between {
		times = append(times, span(s))
	}
	var b strings.Builder
	if len(times) > 0 {
		b.WriteString(", from " + strings.Join(times, ", and from "))
	}
	switch {
	case f.Undated == 0:
	case f.Undated == f.Messages:
		b.WriteString(", from a time that is not known")
	default:
		fmt.Fprintf(&b, "; of %d the time is not known", f.Undated)
	}
	return b.String()
}

// span says when, in the zone of its times.
func span(s Span) string {
	from, to := moment(s.From), moment(s.To)
	switch {
	case from == to:
		return from
	case s.From.Format(time.DateOnly) == s.To.Format(time.DateOnly):
		return from + " to " + s.To.Format("15:04")
	}
	return from + " to " + to
}

// moment is a time as people write it.
func moment(t time.Time) string { return t.Format("2 January 2006, 15:04") }

// dayAndHour is moment in a sentence.
func dayAndHour(t time.Time) string { return t.Format("2 January 2006 at 15:04") }

// zoneWords names the zone that all times of a page are in.
func zoneWords(t time.Time) string {
	words := "Times are UTC" + t.Format("-07:00")
	if city := t.Location().String(); city != "Local" && city != "UTC" {
		words = fmt.Sprintf("Times are those of %s (UTC%s when the server failed)", city, t.Format("-07:00"))
	}
	return words + "."
}

func messages(n int64) string { return fmt.Sprintf("%d %s", n, plural(n, "message", "messages")) }

func are(n int64) string { return fmt.Sprintf("%d %s", n, plural(n, "is", "are")) }

func more(n int64) string { return fmt.Sprintf("%d more %s", n, plural(n, "is", "are")) }

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// printable replaces what is no character to be seen: controls, overrides of the
// text's direction, bytes that are no UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029 {
			return utf8.RuneError
		}
		return r
	}, s)
}
