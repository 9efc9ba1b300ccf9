package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/internal/config"
	"salvor/internal/upkeep"
)

func (a *app) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Category: categoryRead,
		Usage: "last runs, users late or failing, bytes held, what needs a person",
		Description: `Exit code 0 also when something needs a person; "attention" in the JSON is empty
when nothing does. salvor ack sets aside what somebody knows of.`,
		UsageText: "salvor status\nsalvor status --json | jq -r '.attention[]'",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "late", Usage: "name users without a good run for `TIME`; else 26h"},
		}, retentionFlags()...),
		Action: a.action(0, 0, a.status),
	}
}

func (a *app) ackCommand() *cli.Command {
	return &cli.Command{
		Name: "ack", Category: categoryKeep, ArgsUsage: "[WORDS]...",
		Usage: "acknowledge what status shows, so that only new problems stand out",
		Description: `Each WORDS is a part of the line to acknowledge. What is acknowledged stays in
status, apart from what is new, until it is over.`,
		UsageText: "salvor ack 'user \"bob\"'\nsalvor ack --all",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "acknowledge everything that status shows now"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be acknowledged"},
		},
		Action: a.action(0, 100, a.ack),
	}
}

func (a *app) readStatus(ctx context.Context, c *cli.Context, s *session) (*upkeep.Status, error) {
	policy, err := a.policy(c)
	if err != nil {
		return nil, err
	}
	o := upkeep.StatusOptions{Now: a.now(), Policy: policy}
	if text := c.String("late"); text != "" {
		if o.Late, err = config.ParseDuration(text); err != nil {
			return nil, usagef("--late: %w", err)
		}
	}
	if s.vault != nil && !s.replica { // nothing extends the locks of a copy
		o.Lock, o.Created, o.LocksMissing = s.vault.Config().Lock, s.vault.Config().Created, s.vault.LocksMissing()
	}
	words, err := a.identityWarning(s)
	if err != nil {
		return nil, err
	}
	if words != "" {
		o.Extra = append(o.Extra, words)
	}
	o.Extra = append(o.Extra, troubleWords(s.vault)...)
	if s.behind != nil {
		line, _ := explain(s.behind)
		o.Extra = append(o.Extra, "the vault could not be asked: "+line)
	}
	st, err := upkeep.ReadStatus(ctx, s.catalog, o)
	if err == nil && st.Vault == "" && s.vault != nil { // before the first commit
		st.Vault, st.Head.Vault = s.vault.ID(), s.vault.ID()
	}
	return st, err
}

func (a *app) status(ctx context.Context, c *cli.Context) error {
	s, err := a.openAnswers(ctx)
	if err != nil {
		return err
	}
	st, err := a.readStatus(ctx, c, s)
	if err != nil {
		return err
	}
	if a.json {
		layout, targets := a.spreadOf(s.vault)
		return a.printJSON(struct {
			*upkeep.Status
			Head    headWords `json:"head"`
			Parity  string    `json:"parity,omitempty"`
			Targets []string  `json:"targets,omitempty"`
		}{st, headWords(st.Head), layout, targets})
	}
	a.print("vault    %s (id %s, commit %d)", a.settings.vault, st.Vault, st.Head.Number)
	if layout, targets := a.spreadOf(s.vault); layout != "" {
		a.print("parity   %s over %s", layout, strings.Join(targets, ", "))
	}
	a.print("users    %d", st.Users)
	a.print("mail     %s, %s; %s deleted and still kept", counted(st.Messages.Live, "message"), size(st.Bytes.Content), counted(st.Messages.DeletedKept, "message"))
	a.print("stored   %s, of which %s wait to be erased%s", size(st.Bytes.Stored), size(st.Bytes.ToErase), since(st))
	a.printLocks(st.Lock)
	a.printLastDrill(st.Drill)
	if err := a.printRuns(st.Runs); err != nil {
		return err
	}
	a.printLeftOut(st.Excluded)
	a.printList("Known (acknowledged):", st.Acknowledged)
	a.printList("Needs a person:", st.Attention)
	if len(st.Attention) == 0 {
		a.print("\nNothing needs a person.")
	}
	return nil
}

func since(st *upkeep.Status) string {
	if st.EraseSince == nil {
		return ""
	}
	return " (the oldest since " + moment(*st.EraseSince) + ")"
}

func (a *app) printRuns(runs []catalog.Run) error {
	a.print("")
	t := a.newTable(">RUN", "WHAT", "BEGAN", ">TOOK", ">SEEN", ">NEW", ">GONE", ">FAILED", "REMARK")
	for _, r := range runs {
		var remarks []string
		if r.Partial {
			remarks = append(remarks, "interrupted")
		}
		if r.Clock != "" {
			remarks = append(remarks, "clock in doubt")
		}
		if len(r.Held) > 0 {
			remarks = append(remarks, "held: "+strings.Join(r.Held, ", "))
		}
		if len(r.Problems) > 0 {
			remarks = append(remarks, r.Problems[0])
		}
		err := t.row(fmt.Sprint(r.Number), r.Kind, moment(r.Started), seconds(r.Finished.Sub(r.Started).Seconds()),
			fmt.Sprint(r.Seen), fmt.Sprint(r.New), fmt.Sprint(r.Gone), fmt.Sprint(r.Failed), strings.Join(remarks, "; "))
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// printLeftOut adds up the excluded folders; --verbose names them.
func (a *app) printLeftOut(folders []upkeep.Folder) {
	if len(folders) == 0 {
		return
	}
	messages := 0
	for _, f := range folders {
		messages += f.Messages
	}
	a.print("\nleft out %s with %s", counted(len(folders), "folder"), counted(messages, "message"))
	if !a.verbose {
		return
	}
	for _, f := range folders {
		a.print("  %s %s (%s, %s)", f.User, f.Folder, f.Why, counted(f.Messages, "message"))
	}
}

func (a *app) printList(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	a.print("\n%s", title)
	for _, l := range lines {
		a.print("- %s", clean(l))
	}
}

func (a *app) ack(ctx context.Context, c *cli.Context) error {
	words := c.Args().Slice()
	if (len(words) == 0) != c.Bool("all") {
		return usagef("name what to acknowledge by some of its words, or use --all")
	}
	s, err := a.openUnless(ctx, c.Bool("dry-run"))
	if err != nil {
		return err
	}
	if err := a.follow(ctx, s); err != nil {
		return err
	}
	st, err := a.readStatus(ctx, c, s)
	if err != nil {
		return err
	}
	chosen, err := choose(st.Attention, words)
	if err != nil {
		return err
	}
	if len(chosen) > 0 && !c.Bool("dry-run") {
		if err := upkeep.Ack(ctx, s.history(), chosen, operator(), hostName(), a.now()); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(map[string]any{"acknowledged": chosen, "dry_run": c.Bool("dry-run")})
	}
	a.printList("Acknowledged:", chosen)
	if len(chosen) == 0 {
		a.say("There is nothing to acknowledge.")
	}
	return nil
}

// choose gives the lines that hold one of the words; without words all.
func choose(lines, words []string) ([]string, error) {
	chosen := []string{}
	found := make([]bool, len(words))
	for _, l := range lines {
		take := len(words) == 0
		for i, w := range words {
			if strings.Contains(strings.ToLower(l), strings.ToLower(w)) {
				take, found[i] = true, true
			}
		}
		if take {
			chosen = append(chosen, l)
		}
	}
	for i, ok := range found {
		if !ok {
			return nil, withHint(fmt.Errorf("%q: %w", words[i], errNoAttention), "`salvor status` shows what there is")
		}
	}
	return chosen, nil
}

var errNoAttention = errors.New("nothing in the status has these words")
