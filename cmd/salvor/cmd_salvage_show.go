package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/stow"
	"salvor/restore"
	"salvor/salvage/found"
)

func (a *app) salvageShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", ArgsUsage: "[DIR] [ID]", Usage: "list what a salvage has found, or look at one finding",
		Description: `Lists the findings in the result directory DIR or, with --incident, those that are in
the vault. With the ID of one, or its beginning, it shows where that was found, what
is missing of it, and its main headers, with control characters made visible.
--headers shows all of its header, --raw prints exactly its bytes, with zeros for
what is missing.

CLASS is matched (it is owed, and proved to be), already_held, tombstoned (its user
deleted it), unknown (nobody claims it) or damaged. GRADE is verified, consistent,
plausible or partial.`,
		UsageText: "salvor salvage show /root/rescued --class unknown --user alice\nsalvor salvage show --incident server3 --class damaged --json\n" +
			"salvor salvage show /root/rescued 3f2a --headers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "incident", Usage: "what was put into the vault for the incident `NAME`"},
			&cli.StringSliceFlag{Name: "class", Usage: "only findings of this `CLASS` (repeatable)"},
			&cli.StringSliceFlag{Name: "grade", Usage: "only findings of this `GRADE` (repeatable)"},
			&cli.StringFlag{Name: "user", Usage: "only what is, or seems to be, mail of `USER`"},
			&cli.StringFlag{Name: "from", Usage: "only with `TEXT` in the From field"},
			&cli.StringFlag{Name: "subject", Usage: "only with `TEXT` in the subject"},
			&cli.BoolFlag{Name: "headers", Usage: "all of the header of the one with this ID"},
			&cli.BoolFlag{Name: "raw", Usage: "print the bytes of the one with this ID, and nothing else"},
		},
		Action: a.action(0, 2, a.salvageShow),
	}
}

// A catch is where findings are kept.
type catch struct {
	findings func(ctx context.Context, yield func(*found.Finding, error) error) error
	open     func(ctx context.Context, f *found.Finding) (io.ReadCloser, error)
	close    func() error
}

func (a *app) salvageShow(ctx context.Context, c *cli.Context) error {
	args := c.Args().Slice()
	var where catch
	var err error
	if c.String("incident") != "" {
		where, err = a.catchOfIncident(ctx, c.String("incident"), len(args) > 0)
	} else if len(args) > 0 {
		where, err = catchOfDir(args[0])
		args = args[1:]
	} else {
		err = withHint(usagef("where are the findings?"), "as in: salvor salvage show DIR, or salvor salvage show --incident NAME")
	}
	if err != nil {
		return err
	}
	defer where.close()
	switch one := c.Bool("raw") || c.Bool("headers"); {
	case len(args) > 1:
		return usagef("too many arguments: with --incident, only an ID")
	case len(args) == 1:
		return a.showFinding(ctx, c, where, args[0])
	case one:
		return usagef("--raw and --headers are of one finding: name its ID")
	}
	return a.listFindings(ctx, c, where)
}

func catchOfDir(dir string) (catch, error) {
	d, err := found.Open(dir)
	if errors.Is(err, found.ErrNone) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return catch{}, withHint(usagef("%w", err), "name the directory that salvor salvage --out was given")
	}
	if err != nil {
		return catch{}, err
	}
	return catchInDir(d), nil
}

func catchInDir(d *found.Dir) catch {
	return catch{findings: d.Findings, close: d.Close,
		open: func(_ context.Context, f *found.Finding) (io.ReadCloser, error) { return d.Content(f) }}
}

// catchOfIncident is what the vault has for an incident. Listing it needs no
// identity, reading does.
func (a *app) catchOfIncident(ctx context.Context, name string, read bool) (catch, error) {
	s, err := a.openReader(ctx)
	if err != nil {
		return catch{}, err
	}
	_, ok, err := s.catalog.Incident(name)
	if err == nil && !ok {
		err = incidentHint(fmt.Errorf("%q: %w", name, incident.ErrUnknown))
	}
	if err != nil {
		return catch{}, err
	}
	var chunks restore.Chunks
	if read {
		reader, err := a.mustRead(s)
		if err != nil {
			return catch{}, err
		}
		chunks = s.history().Chunks(reader)
	}
	return catchInVault(s.catalog, chunks, name), nil
}

func catchInVault(c *catalog.Catalog, chunks restore.Chunks, name string) catch {
	read := func(ctx context.Context, e *catalog.Entry) ([]byte, error) { return restore.Message(ctx, c, chunks, e) }
	return catch{findings: stow.Findings(c, name), open: stow.Open(c, name, read), close: func() error { return nil }}
}

// find gives the finding whose ID is, or begins with, id.
func (w catch) find(ctx context.Context, id string) (*found.Finding, error) {
	return found.Find(id, func(yield func(*found.Finding) error) error {
		return w.findings(ctx, func(f *found.Finding, err error) error {
			if err != nil {
				return nil // somebody else's line
			}
			return yield(f)
		})
	})
}

// chosenFindings makes a filter of the flags.
func chosenFindings(c *cli.Context) (func(*found.Finding) bool, error) {
	for _, class := range c.StringSlice("class") {
		if !slices.Contains(found.Classes, found.Class(class)) {
			return nil, usagef("--class %s: it is one of %s", class, joined(found.Classes))
		}
	}
	for _, grade := range c.StringSlice("grade") {
		if !slices.Contains(found.Grades, found.Grade(grade)) {
			return nil, usagef("--grade %s: it is one of %s", grade, joined(found.Grades))
		}
	}
	has := func(text, flag string) bool {
		return strings.Contains(strings.ToLower(decodeWords(text)), strings.ToLower(c.String(flag)))
	}
	return func(f *found.Finding) bool {
		classes, grades, user := c.StringSlice("class"), c.StringSlice("grade"), c.String("user")
		return (len(classes) == 0 || slices.Contains(classes, string(f.Class))) && (len(grades) == 0 || slices.Contains(grades, string(f.Grade))) &&
			(user == "" || f.User == user) && has(f.From, "from") && has(f.Subject, "subject")
	}, nil
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}

func (a *app) listFindings(ctx context.Context, c *cli.Context, where catch) error {
	chosen, err := chosenFindings(c)
	if err != nil {
		return err
	}
	t := a.newTable("ID", "CLASS", "GRADE", "USER", "FOLDER", "DATE", ">SIZE", "FROM", "SUBJECT")
	wrong, listed := 0, 0
	err = where.findings(ctx, func(f *found.Finding, err error) error {
		if err != nil {
			wrong++
			a.warn("salvor: %v", err)
			return nil
		}
		if !chosen(f) {
			return nil
		}
		listed++
		if a.json {
			return a.printJSON(f)
		}
		return t.row(f.ID, string(f.Class), string(f.Grade), ownerOf(f), first(f.Folder, "-"), moment(f.Date), size(f.Size), sender(decodeWords(f.From)),
			decodeWords(f.Subject))
	})
	if err != nil {
		return err
	}
	if !a.json && listed > 0 {
		err = t.flush()
	} else if !a.json {
		a.say("no such findings")
	}
	if err == nil && wrong > 0 {
		return incompletef("%s of the list could not be read", counted(wrong, "line"))
	}
	return err
}

// ownerOf names whose a finding is; "?" behind the name: only its header says so.
func ownerOf(f *found.Finding) string {
	if f.User != "" && f.UserBy == "header" {
		return f.User + "?"
	}
	return first(f.User, "-")
}

func (a *app) showFinding(ctx context.Context, c *cli.Context, where catch, id string) error {
	f, err := where.find(ctx, id)
	if errors.Is(err, found.ErrNoFinding) || errors.Is(err, found.ErrAmbiguous) {
		return withHint(err, "`salvor salvage show` without an ID lists them")
	}
	if err != nil {
		return err
	}
	if c.Bool("raw") {
		// Read twice, so that nothing is printed that is not what was kept.
		if err = copyFinding(ctx, where, f, io.Discard); err == nil {
			err = copyFinding(ctx, where, f, a.out)
		}
		return err
	}
	head, err := headOf(ctx, where, f)
	if err != nil && !errors.Is(err, found.ErrNotKept) {
		return err
	}
	if c.Bool("headers") && err != nil {
		return err
	}
	return a.printFinding(f, head, c.Bool("headers"))
}

func copyFinding(ctx context.Context, where catch, f *found.Finding, to io.Writer) error {
	r, err := where.open(ctx, f)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, r)
	return errors.Join(err, r.Close())
}

// headOf reads the beginning of a finding, where its header is.
func headOf(ctx context.Context, where catch, f *found.Finding) ([]byte, error) {
	r, err := where.open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxHeaderBytes))
}

func (a *app) printFinding(f *found.Finding, head []byte, all bool) error {
	header, _ := splitMessage(head)
	if a.json {
		return a.printJSON(struct {
			*found.Finding
			Headers map[string][]string `json:"headers"`
		}{f, decodedHeaders(header)})
	}
	if all {
		_, err := fmt.Fprintln(a.out, strings.TrimRight(cleanText(strings.ReplaceAll(headerText(head), "\r\n", "\n")), "\n"))
		return err
	}
	for _, name := range shownHeaders {
		for _, value := range header[name] {
			a.print("%-11s %s", name+":", decodeWords(value))
		}
	}
	line := func(name, format string, args ...any) { a.print("%-11s %s", name+":", fmt.Sprintf(format, args...)) }
	line("Finding", "%s, %s, %s: %s", f.ID, f.Class, f.Grade, f.Why)
	if f.User != "" {
		line("Owner", "%s, folder %s, by %s", f.User, first(f.Folder, "-"), first(f.UserBy, "-"))
	}
	line("Bytes", "%d, of %s, SHA-256 %s", f.Size, moment(f.Date), f.SHA256Stored)
	for i, m := range f.Missing {
		if i == maxGaps {
			line("Missing", "and %d more stretches", len(f.Missing)-i)
			break
		}
		line("Missing", "bytes %d to %d", m.Off, m.End()-1)
	}
	line("Found", "%s, %s, at byte %d, inode %d, in %s", f.Source, f.How, f.Offset, f.Inode, counted(f.Places, "place"))
	if f.Path != "" {
		line("Path", "%s", f.Path)
	}
	return nil
}

// maxGaps is how many gaps are shown of a damaged message.
const maxGaps = 20

// headerText is a message up to its first empty line.
func headerText(message []byte) string {
	text := string(message)
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := strings.Index(text, end); i >= 0 {
			text = text[:i+len(end)/2]
		}
	}
	return text
}
