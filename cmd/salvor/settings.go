package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/config"
	"salvor/internal/retention"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// globalFlags are accepted by every command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "configuration `FILE`; else /etc/salvor/salvor.toml or ~/.config/salvor/salvor.toml, where there is one", EnvVars: []string{config.EnvFile}},
		&cli.StringFlag{Name: "vault", Usage: "vault `URL`: a directory or s3://BUCKET/PREFIX?endpoint=..&region=..; else ~/.local/share/salvor/vault", EnvVars: []string{"SALVOR_VAULT"}},
		&cli.StringFlag{Name: "catalog", Usage: "catalog `FILE`; else ~/.local/share/salvor/catalog-<vault id>.db", EnvVars: []string{"SALVOR_CATALOG"}},
		&cli.StringSliceFlag{Name: "identity", Usage: "`FILE` with the identity that reads the vault; else ~/.config/salvor/identity.txt where it exists", EnvVars: []string{"SALVOR_IDENTITY_FILE"}},
		&cli.BoolFlag{Name: "json", Usage: "print results as JSON"},
		&cli.BoolFlag{Name: "quiet", Usage: "print errors and results only"},
		&cli.BoolFlag{Name: "verbose", Usage: "print more, and progress also where there is no terminal"},
		&cli.BoolFlag{Name: "no-progress", Usage: "draw no progress bars"},
	}
}

// settings are the global flags, the environment and the configuration file
// put together, the first of them winning.
type settings struct {
	config       *config.Config
	vault        string
	vaultNamed   bool // by flag, environment or file
	catalog      string
	catalogNamed bool // by flag or environment
	identities   []string
	named        bool   // the identities were asked for in this very command
	command      string // prints an identity
	data, conf   string // salvor's own directories
	state        string // where this host's keys are kept
	defaultVault string
	ownIdentity  string // the default identity file
}

// readSettings reads what holds for every command.
func (a *app) readSettings(c *cli.Context) error {
	a.json, a.quiet = c.Bool("json"), c.Bool("quiet")
	a.verbose, a.noProgress = c.Bool("verbose"), c.Bool("no-progress")
	cfg, err := a.readConfig(c.String("config"))
	if err != nil {
		return err
	}
	s := settings{config: cfg, command: first(a.getenv("SALVOR_IDENTITY_COMMAND"), cfg.IdentityCommand)}
	if s.data, s.conf, err = a.directories(); err != nil {
		return err
	}
	s.defaultVault = filepath.Join(s.data, "vault")
	s.ownIdentity = filepath.Join(s.conf, "identity.txt")
	s.vault = first(c.String("vault"), cfg.Vault)
	s.vaultNamed = s.vault != ""
	s.vault = first(s.vault, s.defaultVault)
	s.catalog = first(c.String("catalog"), cfg.Catalog)
	s.catalogNamed = c.String("catalog") != ""
	// The nightly service and an operator's shell have different homes. What the
	// configuration file names is the same for both, so the host's keys lie
	// beside its catalog.
	if s.state = s.data; cfg.Catalog != "" {
		s.state = filepath.Dir(cfg.Catalog)
	}
	s.identities = notEmpty(c.StringSlice("identity"))
	s.named = len(s.identities) > 0
	if len(s.identities) == 0 {
		s.identities = cfg.Identity
	}
	if len(s.identities) == 0 && s.command == "" && exists(s.ownIdentity) {
		s.identities = []string{s.ownIdentity}
	}
	a.settings = s
	return nil
}

// readConfig loads the configuration file that applies, if there is one.
func (a *app) readConfig(named string) (*config.Config, error) {
	path := named
	if path == "" {
		var err error
		if path, err = (config.Places{Getenv: a.getenv}).Find(); err != nil {
			return nil, &codeError{err: err, code: exitUsage}
		}
	}
	if path == "" {
		return config.Default(), nil
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, &codeError{err: err, code: exitUsage, hint: "`salvor config check " + path + "` lists what is wrong"}
	}
	return cfg, nil
}

// directories gives salvor's data and configuration directories, by the XDG
// Base Directory Specification.
func (a *app) directories() (data, conf string, err error) {
	home := a.getenv("HOME")
	dir := func(name, below string) (string, error) {
		if d := a.getenv(name); filepath.IsAbs(d) {
			return filepath.Join(d, "salvor"), nil
		}
		if !filepath.IsAbs(home) {
			return "", usagef("neither HOME nor %s is set", name)
		}
		return filepath.Join(home, below, "salvor"), nil
	}
	if data, err = dir("XDG_DATA_HOME", ".local/share"); err != nil {
		return "", "", err
	}
	conf, err = dir("XDG_CONFIG_HOME", ".config")
	return data, conf, err
}

// inUnit tells whether a service manager runs salvor: standard error goes to
// the journal (systemd.exec(5), $JOURNAL_STREAM). $INVOCATION_ID would not do:
// every shell in a desktop's terminal inherits one.
func (a *app) inUnit() bool {
	var dev, inode uint64
	if n, _ := fmt.Sscanf(a.getenv("JOURNAL_STREAM"), "%d:%d", &dev, &inode); n != 2 {
		return false
	}
	f, ok := a.stderr.(*os.File)
	if !ok {
		return false
	}
	d, i, ok := deviceInode(f)
	return ok && d == dev && i == inode
}

// readIdentities reads the identities at hand. Where none is configured it
// gives an empty set: a backup host needs none.
func (a *app) readIdentities(ctx context.Context) (*vault.Identities, error) {
	s := a.settings
	if len(s.identities) == 0 && s.command == "" {
		return &vault.Identities{}, nil
	}
	ids, err := vault.ReadIdentities(ctx, vault.IdentitySources{Files: s.identities, Command: s.command})
	if err != nil {
		return nil, &codeError{err: err, code: exitNoIdentity, hint: "look at --identity, SALVOR_IDENTITY_FILE, SALVOR_IDENTITY_COMMAND and the configuration file"}
	}
	for _, w := range ids.Warnings {
		a.warn("salvor: warning: %s", w.String())
	}
	return ids, nil
}

// retentionFlags are those of the commands that expire mail or say when.
func retentionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "keep-deleted", Usage: "keep deleted mail for `TIME` (7d, 48h); else as in the configuration file, or a week"},
		&cli.StringFlag{Name: "erase-grace", Usage: "erase what nothing needs any more after `TIME`; else as in the configuration file, or 24h"},
	}
}

// policy gives how long deleted mail is kept, and condemned objects.
func (a *app) policy(c *cli.Context) (upkeep.Policy, error) {
	cfg := a.settings.config
	keep, erase, tombstones := cfg.KeepDeleted, cfg.EraseGrace, cfg.TombstonesKeep
	for name, to := range map[string]*time.Duration{"keep-deleted": &keep, "erase-grace": &erase} {
		text := c.String(name)
		if text == "" {
			continue
		}
		d, err := config.ParseDuration(text)
		if err != nil {
			return upkeep.Policy{}, usagef("--%s: %w", name, err)
		}
		*to = d
	}
	// Where a zero means the default, the least time stands for none.
	p := upkeep.Policy{Retention: retention.Policy{Keep: max(keep, 1), Users: map[string]time.Duration{}},
		Erase: max(erase, 1), Tombstones: max(tombstones, 1)}
	for name, u := range cfg.Users {
		if u.KeepDeleted != nil {
			p.Retention.Users[name] = *u.KeepDeleted
		}
	}
	return p, nil
}

func (a *app) limits() retention.Limits {
	b := a.settings.config.Brake
	return retention.Limits{UserPercent: b.UserPercent, UserMessages: b.UserMessages, PartitionPercent: b.PartitionPercent}
}

// timeFlag reads a flag that holds a moment; the zero time when it is not set.
func (a *app) timeFlag(c *cli.Context, name string) (time.Time, error) {
	text := c.String(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := config.ParseTime(text, a.now())
	if err != nil {
		return t, usagef("--%s: %w", name, err)
	}
	return t, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func notEmpty(texts []string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
