package report

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Public is what may be told to everybody: sums and hours, nobody's name, folder
// or message, and not the incident's name either, which is the operator's word.
type Public struct {
	LossAt    time.Time `json:"loss_at"`
	WrittenAt time.Time `json:"written_at"`
	Open      bool      `json:"open"`
	Messages  Numbers   `json:"messages"`
	Users     Noticing  `json:"users"`
	// MissingBetween are the hours from which mail is missing or lost: at most
	// eight spans, widened to full hours.
	MissingBetween []Hours `json:"missing_between"`
	Undated        int64   `json:"undated"` // messages missing or lost of which nobody knows when they came
}

// Hours is a span of full hours.
type Hours struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Noticing counts users by what they will notice. One user may count in
// several, but for Nothing.
type Noticing struct {
	All          int64 `json:"all"`
	Nothing      int64 `json:"nothing"`
	MaybeDeleted int64 `json:"maybe_deleted"`
	EmptyFolders int64 `json:"empty_folders"`
	Missing      int64 `json:"missing"`
	Waiting      int64 `json:"waiting"`
	Late         int64 `json:"late"`
	GivenUp      int64 `json:"given_up"`
}

func (n *Noticing) add(p *Page) {
	n.All++
	for _, c := range []struct {
		into  *int64
		found bool
	}{
		{&n.Nothing, p.complete()}, {&n.MaybeDeleted, len(p.MaybeDeleted) > 0}, {&n.EmptyFolders, len(p.EmptyFolders) > 0}, {&n.Missing, len(p.Missing) > 0},
		{&n.Waiting, len(p.Waiting) > 0}, {&n.Late, len(p.Late) > 0}, {&n.GivenUp, len(p.GivenUp) > 0},
	} {
		if c.found {
			*c.into++
		}
	}
}

// Public adds all pages up.
func (r *Report) Public(ctx context.Context) (*Public, error) {
	p := &Public{LossAt: r.Incident.At.In(r.zone), WrittenAt: r.now().In(r.zone), Open: r.Incident.ClosedAt.IsZero(), MissingBetween: []Hours{}}
	var hours spans
	err := r.Pages(ctx, func(page *Page) error {
		p.Messages.add(page.Messages)
		p.Users.add(page)
		for _, parts := range [][]Part{page.Missing, page.GivenUp} {
			for _, part := range parts {
				p.Undated += part.Undated
				hours.addAll(part.Between)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range wholeHours(hours.reduce(looseSpans)) {
		p.MissingBetween = append(p.MissingBetween, Hours{s.From.In(r.zone), s.To.In(r.zone)})
	}
	return p, r.total(p.Messages)
}

func (s *spans) addAll(list []Span) {
	s.list = append(s.list, list...)
	if len(s.list) >= looseSpans {
		s.reduce(looseSpans / 2)
	}
}

func (p *Public) title() string { return "The state of the mail" }

func (p *Public) head() []string {
	return []string{"Written " + moment(p.WrittenAt) + ". " + zoneWords(p.LossAt)}
}

func (p *Public) sections() []section {
	n, u := p.Messages, p.Users
	lost := section{Title: "What happened", Words: []string{fmt.Sprintf("On %s a mail server failed. It concerns %d %s with %s.", dayAndHour(p.LossAt), u.All,
		plural(u.All, "user", "users"), messages(n.Total))}}
	if !p.Open {
		lost.Words = append(lost.Words, "The work on it is finished.")
	}
	mail := section{Title: "The mail"}
	for _, line := range []struct {
		n     int64
		words string
	}{
		{n.Back, "there again"}, {n.RestoredMaybeDeleted, "of these, there to be safe: their users may have deleted them"}, {n.Redelivered, "of these, found later"},
		{n.Held + n.Uncertain, "in the backup, not put back yet"}, {n.Owed, "still missing"}, {n.InDoubt, "of these, maybe there already"}, {n.Lost, "lost"},
	} {
		if line.n > 0 {
			mail.Items = append(mail.Items, item{messages(line.n), line.words})
		}
	}
	users := section{Title: "What users will notice"}
	for _, line := range []struct {
		n     int64
		words string
	}{
		{u.Nothing, "nothing"}, {u.MaybeDeleted, "mail may be back although it was deleted"}, {u.EmptyFolders, "folders start empty, such as those with junk mail"},
		{u.Waiting, "mail is still to be put back"}, {u.Missing, "mail is missing"}, {u.Late, "mail came back late and may show as new"}, {u.GivenUp, "mail is lost"},
	} {
		if line.n > 0 {
			users.Items = append(users.Items, item{fmt.Sprintf("%d %s", line.n, plural(line.n, "user", "users")), line.words})
		}
	}
	all := []section{lost, mail, users}
	if n.Owed+n.Lost > 0 {
		all = append(all, p.hours())
	}
	return all
}

func (p *Public) hours() section {
	s := section{Title: "When the missing mail came"}
	for _, h := range p.MissingBetween {
		s.Words = append(s.Words, "From "+span(Span{From: h.From, To: h.To})+".")
	}
	if p.Undated > 0 {
		s.Words = append(s.Words, fmt.Sprintf("Of %s the time is not known.", messages(p.Undated)))
	}
	return s
}

// WriteText writes the summary as plain text.
func (p *Public) WriteText(w io.Writer) error { return writeText(w, p.title(), p.head(), p.sections()) }

// WriteHTML writes the summary as one HTML file.
func (p *Public) WriteHTML(w io.Writer) error {
	return writeHTML(w, leaf{Title: p.title(), Sections: p.sections(), Foot: p.head()[0]})
}
