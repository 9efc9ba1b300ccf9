package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/incident/report"
)

const formatCSV = "csv"

func (a *app) incidentReportCommand() *cli.Command {
	return &cli.Command{
		Name: "report", ArgsUsage: "NAME", Usage: "what users will notice: a page for each, a CSV of all, a summary for the public",
		Description: `A page tells a user in plain words how many messages came back, which may be back
although they were deleted, which folders start empty, and from which hours mail is
still missing. --out DIR writes one for every user and an index; without --user and
--out, the summary for the public is shown, or with --json a page a line.

--format csv is the whole incident, one message a line. A cell that a spreadsheet
would take for a formula begins with an apostrophe. --public has sums and hours only.

Nothing is written of a ledger that does not add up.`,
		UsageText: "salvor incident report server3 --user alice\nsalvor incident report server3 --format html --out /root/pages --timezone Europe/Berlin\n" +
			"salvor incident report server3 --format csv --out /root/server3.csv\nsalvor incident report server3 --public --format html > status.html",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "only the page of `USER`"},
			&cli.StringFlag{Name: "format", Usage: "`FORMAT`: text, html, json or csv; else text, with --json and without --out json"},
			&cli.BoolFlag{Name: "public", Usage: "a summary that names nobody and nothing"},
			&cli.StringFlag{Name: "out", Usage: "write to `PATH`: a directory for the pages of all users, else a file"},
			&cli.StringFlag{Name: "timezone", Usage: "give times as in `ZONE`, as in Europe/Berlin; else as on this host"},
		},
		Action: a.action(1, 1, a.incidentReport),
	}
}

// reportWords is the answer of --json where the report itself went to a file.
type reportWords struct {
	Incident string `json:"incident"`
	Out      string `json:"out"`
	Format   string `json:"format"`
	Pages    int    `json:"pages"`
}

func (a *app) incidentReport(ctx context.Context, c *cli.Context) error {
	user, out, public := c.String("user"), c.String("out"), c.Bool("public")
	format := c.String("format")
	if format == "" {
		format = string(report.Text)
		if a.json && out == "" {
			format = string(report.JSON)
		}
	}
	switch report.Format(format) {
	case report.Text, report.HTML, report.JSON, formatCSV:
	default:
		return usagef("--format %s: there is no such format, only text, html, json and csv", format)
	}
	if public && user != "" || format == formatCSV && (public || user != "") {
		return usagef("--user, --public and --format csv are three different reports: choose one")
	}
	if format == string(report.HTML) && user == "" && out == "" && !public {
		return withHint(usagef("the pages of all users are many files"), "name a directory with --out, or a user with --user")
	}
	var o report.Options
	if name := c.String("timezone"); name != "" {
		var err error
		if o.Zone, err = time.LoadLocation(name); err != nil {
			return withHint(usagef("--timezone %s: this host knows no such zone", name), "as in Europe/Berlin or UTC")
		}
	}
	o.Now = a.now
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	r, err := report.Open(ctx, s.catalog, c.Args().First(), o)
	if err != nil {
		return incidentHint(err)
	}
	w := &reportWriter{a: a, r: r, f: report.Format(format), out: out}
	switch {
	case format == formatCSV:
		err = w.to(func(to io.Writer) error { return r.CSV(ctx, to) })
	case user != "":
		err = w.user(ctx, user)
	case public:
		err = w.public(ctx)
	case out != "":
		err = w.all(ctx)
	case format == string(report.JSON):
		err = r.Pages(ctx, func(p *report.Page) error { return a.printJSON(p) })
	default:
		a.print("incident %s", r.Incident.Name)
		a.print("")
		if err = w.public(ctx); err == nil {
			a.say("salvor: the pages of users: --user USER, or --out DIR for all")
		}
	}
	if errors.Is(err, report.ErrNoUser) {
		return withHint(err, "`salvor incident list NAME` names them")
	}
	return incidentHint(err)
}

// A reportWriter brings reports where they belong.
type reportWriter struct {
	a   *app
	r   *report.Report
	f   report.Format
	out string
}

// to writes one report to standard output or to a file.
func (w *reportWriter) to(write func(io.Writer) error) error {
	if w.out == "" {
		return write(w.a.out)
	}
	if err := report.WriteFile(w.out, write); err != nil {
		return err
	}
	return w.wrote(1)
}

func (w *reportWriter) user(ctx context.Context, user string) error {
	p, err := w.r.Page(ctx, user)
	if err != nil {
		return err
	}
	if w.out == "" && w.f == report.JSON {
		return w.a.printJSON(p)
	}
	return w.to(func(to io.Writer) error { return w.f.Write(to, p) })
}

func (w *reportWriter) public(ctx context.Context) error {
	p, err := w.r.Public(ctx)
	if err != nil {
		return err
	}
	if w.out == "" && w.f == report.JSON {
		return w.a.printJSON(p)
	}
	return w.to(func(to io.Writer) error { return w.f.Write(to, p) })
}

// all writes the pages of all users.
func (w *reportWriter) all(ctx context.Context) error {
	n, err := w.r.WriteDir(ctx, w.out, w.f)
	if err != nil {
		return err
	}
	return w.wrote(n)
}

func (w *reportWriter) wrote(pages int) error {
	if w.a.json {
		return w.a.printJSON(reportWords{Incident: w.r.Incident.Name, Out: w.out, Format: string(w.f), Pages: pages})
	}
	w.a.say("salvor: wrote %s to %s", counted(pages, "report"), w.out)
	return nil
}
