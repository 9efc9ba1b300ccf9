package main

import (
	"context"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
)

// printTotals writes the states that there are, those that make up the total
// first.
func (a *app) printTotals(t *incident.Totals) error {
	out := a.newTable("STATE", ">MESSAGES", "MEANING")
	for _, line := range []struct {
		name    string
		n       int64
		meaning string
	}{
		{"present", t.Present, "on the server, whole"},
		{"restored", t.Restored, "brought back from the vault"},
		{"restored_maybe_deleted", t.RestoredMaybeDeleted, "brought back to be safe"},
		{"redelivered", t.Redelivered, "found again, delivered with a new UID"},
		{"owed", t.Owed, "existed, and nobody has the content yet"},
		{"lost", t.Lost, "given up by name"},
		{"held", t.Held, "in the vault, not brought back yet"},
		{"uncertain", t.Uncertain, "in the vault, and maybe deleted by its user"},
		{"total", t.Total, ""},
		{"deleted", t.Deleted, "by its user; not in the total"},
		{"junk", t.Junk, "in Junk folders, which no backup takes; not in the total"},
	} {
		if line.n == 0 && line.name != "total" && line.name != "owed" {
			continue
		}
		if err := out.row(line.name, counted64(line.n), line.meaning); err != nil {
			return err
		}
	}
	return out.flush()
}

// incidentWords is an incident with its totals. Marks and Gates are nil in a list.
type incidentWords struct {
	*incident.Totals
	*catalog.ClaimMarks
	Gates    *incident.GateCounts `json:"gates,omitempty"`
	Source   string               `json:"source"`
	Index    string               `json:"index"` // "": nothing survived
	At       time.Time            `json:"at"`
	OpenedAt time.Time            `json:"opened_at"`
	OpenedBy string               `json:"opened_by"`
	ClosedAt *time.Time           `json:"closed_at"`
	Run      uint64               `json:"run"` // the last backup by At
	Kept     string               `json:"kept"`
	KeptSum  string               `json:"kept_sha256"`
	Problems []string             `json:"problems"`
}

func wordsOfIncident(i *catalog.Incident, t *incident.Totals) incidentWords {
	w := incidentWords{Totals: t, Source: i.Source, Index: i.Index, At: i.At, OpenedAt: i.OpenedAt, OpenedBy: i.OpenedBy, Run: i.Run, Kept: i.Kept,
		Problems: append([]string{}, i.Problems...)}
	if !i.ClosedAt.IsZero() {
		w.ClosedAt = &i.ClosedAt
	}
	if !i.KeptSum.IsZero() {
		w.KeptSum = i.KeptSum.String()
	}
	return w
}

func (a *app) incidentShow(ctx context.Context, c *cli.Context) error {
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	totals, err := incident.Count(ctx, s.catalog, c.Args().First())
	if err != nil {
		return incidentHint(err)
	}
	i, _, err := s.catalog.Incident(totals.Name)
	if err != nil {
		return err
	}
	marks, err := s.catalog.ClaimMarks(ctx, i.Name)
	if err != nil {
		return err
	}
	gates, err := incident.CountGateStates(ctx, s.catalog, i.Name)
	if err != nil {
		return err
	}
	if a.json {
		w := wordsOfIncident(&i, totals)
		w.ClaimMarks, w.Gates = &marks, gates
		return a.printJSON(w)
	}
	a.print("incident %s, %s, by %s", i.Name, incidentState(&i), i.OpenedBy)
	a.print("source   %s, as the backup had it at %s (run %d)", i.Source, moment(i.At), i.Run)
	a.print("index    %s", first(i.Index, "none: nothing survived"))
	if i.Kept != "" {
		a.print("copy     %s, SHA256SUMS %s", i.Kept, i.KeptSum)
	}
	for _, p := range i.Problems {
		a.print("problem: %s", p)
	}
	if err := a.printTotals(totals); err != nil {
		return err
	}
	a.printMarks(&marks, gates)
	return nil
}

// printMarks writes what there is of marks and gates.
func (a *app) printMarks(m *catalog.ClaimMarks, g *incident.GateCounts) {
	if m.InFlight+m.InDoubt > 0 {
		a.print("of what is owed, %d may be on their way, %d are in doubt", m.InFlight, m.InDoubt)
	}
	if m.TakenOut > 0 {
		a.print("taken out of the server's index: %d", m.TakenOut)
	}
	if g.Down+g.Web+g.IMAP > 0 {
		a.print("gates: %d down, %d web, %d imap; %s dangling", g.Down, g.Web, g.IMAP, counted(g.Dangling, "message"))
	}
}

func incidentState(i *catalog.Incident) string {
	if i.ClosedAt.IsZero() {
		return "open since " + moment(i.OpenedAt)
	}
	return "closed " + moment(i.ClosedAt)
}

func (a *app) incidentList(ctx context.Context, c *cli.Context) error {
	q := catalog.ClaimQuery{Incident: c.Args().First(), User: c.String("user"), State: catalog.ClaimState(c.String("state"))}
	if q.State != "" && !slices.Contains(catalog.ClaimStates, q.State) {
		return usagef("--state %s: there is no such state, only %v", q.State, catalog.ClaimStates)
	}
	doubt := c.Bool("doubt")
	if q.Incident == "" && (q.User != "" || q.State != "" || doubt) {
		return usagef("--user, --state and --doubt choose messages of one incident: name it")
	}
	if doubt && q.State == "" {
		q.State = catalog.ClaimOwed // nothing else can be
	}
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	if q.Incident == "" {
		return a.listIncidents(ctx, s)
	}
	if _, ok, err := s.catalog.Incident(q.Incident); err != nil {
		return err
	} else if !ok {
		return incidentHint(incident.ErrUnknown)
	}
	t := a.newTable("USER", "FOLDER", ">UID", "STATE", "FLAGS", "DATE", ">SIZE", "REASON")
	err = s.catalog.Claims(ctx, q, func(claim *catalog.Claim) error {
		switch {
		case doubt && !claim.Doubt:
			return nil
		case a.json:
			return a.printJSON(wordsOfClaim(claim))
		}
		return t.row(claim.User, claim.Folder, counted64(claim.UID), string(claim.State), flagLetters(claim.Flags), moment(claim.InternalDate),
			size(claim.Size), remarkOf(claim))
	})
	if err != nil || a.json {
		return err
	}
	return t.flush()
}

func (a *app) listIncidents(ctx context.Context, s *session) error {
	t := a.newTable("NAME", "STATE", ">OWED", ">TOTAL", "SOURCE")
	none := true
	err := s.catalog.Incidents(ctx, func(i *catalog.Incident) error {
		none = false
		totals, err := incident.Count(ctx, s.catalog, i.Name)
		if err != nil {
			return incidentHint(err)
		}
		if a.json {
			return a.printJSON(wordsOfIncident(i, totals))
		}
		return t.row(i.Name, incidentState(i), counted64(totals.Owed), counted64(totals.Total), i.Source)
	})
	if err != nil || a.json {
		return err
	}
	if none {
		a.say("There is no incident.")
		return nil
	}
	return t.flush()
}
