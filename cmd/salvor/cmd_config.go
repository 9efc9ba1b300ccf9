package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/internal/config"
	"salvor/internal/incident/redeliver"
	"salvor/internal/mailstore/stores"
	"salvor/internal/objstore"
	"salvor/internal/pace"
)

func (a *app) configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Category: categoryKeep,
		Usage:     "look over the configuration file, show what is in force",
		UsageText: "salvor config check /etc/salvor/salvor.toml",
		Subcommands: []*cli.Command{{
			Name: "check", ArgsUsage: "[FILE]",
			Usage:       "say what is wrong with a configuration file",
			Description: "Without FILE it looks over the one that would be used. It opens no vault and no mail.",
			UsageText:   "salvor config check /etc/salvor/salvor.toml",
			Action:      a.configCheck, // before anything else reads a wrong file
		}, {
			Name:        "show",
			Usage:       "print the settings in force",
			Description: "Prints what the flags, the environment and the configuration file add up to.",
			UsageText:   "salvor config show",
			Action:      a.action(0, 0, a.configShow),
		}},
	}
}

func (a *app) configCheck(c *cli.Context) error {
	if c.NArg() > 1 {
		return a.argumentError(c, "too many arguments")
	}
	path := first(c.Args().First(), c.String("config"))
	if path == "" {
		var err error
		if path, err = (config.Places{Getenv: a.getenv}).Find(); err != nil {
			return &codeError{err: err, code: exitUsage}
		}
	}
	if path == "" {
		return usagef("there is no configuration file, and none is needed")
	}
	if err := checkConfig(path); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			a.warn("%s", line)
		}
		return &codeError{err: fmt.Errorf("%s cannot be used: %s", path, counted(countErrors(err), "mistake")), code: exitUsage}
	}
	a.quiet = c.Bool("quiet")
	a.say("%s is fine.", path)
	if c.Bool("json") {
		return a.printJSON(map[string]any{"file": path, "ok": true})
	}
	return nil
}

// checkConfig looks over the file, and then whether its URLs name anything
// that salvor knows.
func checkConfig(path string) error {
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	var wrong []error
	check := func(key, url string, check func(string) error) {
		if url == "" {
			return
		}
		if err := check(url); err != nil {
			wrong = append(wrong, &config.Error{File: path, Key: key, Err: err})
		}
	}
	check("vault", c.Vault, objstore.CheckURL)
	check("source", c.Source, stores.CheckSource)
	return errors.Join(wrong...)
}

func countErrors(err error) int {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return len(many.Unwrap())
	}
	return 1
}

type configWords struct {
	File            string            `json:"file"`
	Vault           string            `json:"vault"`
	Catalog         string            `json:"catalog,omitempty"`
	Identity        []string          `json:"identity"`
	IdentityCommand bool              `json:"identity_command"`
	Source          string            `json:"source,omitempty"`
	ExcludeFolders  []string          `json:"exclude_folders"`
	JunkFolders     []string          `json:"junk_folders"`
	IncludeJunk     bool              `json:"include_junk"`
	KeepDeleted     string            `json:"keep_deleted"`
	EraseGrace      string            `json:"erase_grace"`
	TombstonesKeep  string            `json:"tombstones_keep"`
	RedeliverFolder string            `json:"redeliver_folder"`
	Pace            string            `json:"pace"`
	Rates           map[string]string `json:"rates,omitempty"`
	MinFreeSpace    int64             `json:"min_free_space"`
	Users           map[string]string `json:"users"`
	Brake           config.Brake      `json:"brake"`
}

func (a *app) configShow(_ context.Context, _ *cli.Context) error {
	s := a.settings
	w := configWords{File: s.config.File, Vault: s.vault, Catalog: s.catalog, Identity: append([]string{}, s.identities...),
		IdentityCommand: s.command != "", Source: s.config.Source,
		ExcludeFolders: append([]string{}, s.config.ExcludeFolders...), JunkFolders: append([]string{}, s.config.JunkFolders...),
		IncludeJunk: s.config.IncludeJunk, KeepDeleted: config.FormatDuration(s.config.KeepDeleted),
		EraseGrace: config.FormatDuration(s.config.EraseGrace), TombstonesKeep: config.FormatDuration(s.config.TombstonesKeep),
		RedeliverFolder: first(s.config.RedeliverFolder, redeliver.DefaultFolder), Pace: s.config.Pace.String(),
		Rates: map[string]string{}, MinFreeSpace: a.minFreeSpace(), Users: map[string]string{}, Brake: s.config.Brake}
	for store, r := range s.config.Rates {
		w.Rates[store] = r.String()
	}
	var users []string
	for name, u := range s.config.Users {
		if u.KeepDeleted != nil {
			w.Users[name] = config.FormatDuration(*u.KeepDeleted)
			users = append(users, name)
		}
	}
	if a.json {
		return a.printJSON(w)
	}
	sort.Strings(users)
	a.print("file             %s", first(w.File, "(none)"))
	a.print("vault            %s", w.Vault)
	a.print("catalog          %s", first(w.Catalog, s.data+"/catalog-<vault id>.db"))
	a.print("identity         %s", first(strings.Join(w.Identity, " "), "(none)"))
	a.print("source           %s", first(w.Source, "(given on the command line)"))
	a.print("exclude-folders  %q", w.ExcludeFolders)
	a.print("junk-folders     %q", w.JunkFolders)
	a.print("include-junk     %v", w.IncludeJunk)
	a.print("keep-deleted     %s", w.KeepDeleted)
	for _, u := range users {
		a.print("  for %s  %s", u, w.Users[u])
	}
	a.print("erase-grace      %s", w.EraseGrace)
	a.print("tombstones-keep  %s", w.TombstonesKeep)
	a.print("redeliver-folder %q", w.RedeliverFolder)
	a.print("pace             %s", w.Pace)
	for _, store := range slices.Sorted(maps.Keys(w.Rates)) {
		a.print("  for %s  %s", store, w.Rates[store])
	}
	a.print("min-free-space   %s", pace.FormatBytes(w.MinFreeSpace))
	a.print("brake            more than %g %% and %d messages of a user, %g %% of a partition", w.Brake.UserPercent, w.Brake.UserMessages, w.Brake.PartitionPercent)
	return nil
}
