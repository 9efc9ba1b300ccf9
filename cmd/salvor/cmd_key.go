package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/vault"
)

func (a *app) keyCommand() *cli.Command {
	return &cli.Command{
		Name: "key", Category: categoryKeep,
		Usage: "who may write to the vault: add a host, list, revoke",
		Description: `Every host that writes has a key of its own, which the root key (kept in the
identity file) has certified. It signs backups and reads journals, never mail.`,
		UsageText: "salvor key list",
		Subcommands: []*cli.Command{{
			Name:  "add",
			Usage: "let this host write to the vault, or the one that asked with --request",
			Description: `With the identity at hand, this host gets its key at once. Without it, the host
makes its key and prints a line; whoever holds the identity runs
salvor key add --request 'THAT LINE', and the host may write.
A host that joins without the identity has to see it once, to build its catalog.`,
			UsageText: "salvor key add --identity /media/usb/salvor-identity.txt\nsalvor key add --request 'salvor-host 4f1c... backup2' --role backup",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "request", Usage: "certify another host by the `LINE` that it printed"},
				&cli.StringSliceFlag{Name: "role", Usage: "what it may do: `ROLE` is backup, upkeep or decide; else all"},
			},
			Action: a.action(0, 0, a.keyAdd),
		}, {
			Name:      "list",
			Usage:     "list the hosts that may write",
			UsageText: "salvor key list",
			Action:    a.action(0, 0, a.keyList),
		}, {
			Name: "revoke", ArgsUsage: "WRITER",
			Usage: "take a host's key back",
			Description: `WRITER is the id that salvor key list shows, or its beginning. What the host
has written up to commit --last stays good, by default everything up to now.
It needs the identity.`,
			UsageText: "salvor key revoke 5f0c9a1e --yes",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "last", Usage: "number of the `COMMIT` that is the key's last good one"},
				&cli.BoolFlag{Name: "yes", Usage: "do it"},
				&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be revoked"},
			},
			Action: a.action(1, 1, a.keyRevoke),
		}},
	}
}

func (a *app) keyAdd(ctx context.Context, c *cli.Context) error {
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	roles := allRoles
	if names := c.StringSlice("role"); len(names) > 0 {
		roles = nil
		for _, n := range names {
			roles = append(roles, vault.Role(n))
		}
	}
	root, rootErr := s.ids.Root(s.vault.Config().Root)
	if line := c.String("request"); line != "" {
		if rootErr != nil {
			return a.whereVault(rootErr)
		}
		return a.certifyRequest(ctx, s, root, line, roles)
	}
	if rootErr != nil {
		return a.requestKey(s)
	}
	if s.host == nil {
		if s.host, err = a.newHostKey(s.vault); err != nil {
			return err
		}
	}
	return a.certify(ctx, s, root, s.host.Request(), roles)
}

func (a *app) certifyRequest(ctx context.Context, s *session, root *vault.RootKey, line string, roles []vault.Role) error {
	request, err := vault.ParseHostRequest(line)
	if err != nil {
		return &codeError{err: err, code: exitUsage}
	}
	return a.certify(ctx, s, root, request, roles)
}

func (a *app) certify(ctx context.Context, s *session, root *vault.RootKey, request vault.HostRequest, roles []vault.Role) error {
	if err := s.vault.Certify(ctx, root, request, roles, a.now()); err != nil {
		return a.whereVault(err)
	}
	a.say("%s (writer %s) may now write to %s as %s.", request.Host(), shortID(request.ID()), a.settings.vault, roleWords(roles))
	if a.json {
		return a.printJSON(map[string]any{"writer": request.ID(), "host": request.Host(), "roles": roles})
	}
	return nil
}

// requestKey makes the host's key and prints what is to be certified.
func (a *app) requestKey(s *session) error {
	if s.host == nil {
		key, err := a.newHostKey(s.vault)
		if err != nil {
			return err
		}
		s.host = key
	}
	line := s.host.Request().String()
	a.say("This host has its key, but the root key that certifies it is not at hand.\n" +
		"Run this where the vault's identity is:")
	if a.json {
		return a.printJSON(map[string]any{"writer": s.host.ID(), "host": s.host.Host(), "request": line})
	}
	a.print("salvor key add --vault %s --request '%s'", a.settings.vault, line)
	return nil
}

type keyWords struct {
	Writer   vault.WriterID `json:"writer"`
	Host     string         `json:"host"`
	Roles    []vault.Role   `json:"roles"`
	Created  time.Time      `json:"created"`
	Here     bool           `json:"here"`
	Revoked  *time.Time     `json:"revoked"`
	LastGood uint64         `json:"last_good_commit,omitempty"`
}

func (a *app) keyList(ctx context.Context, _ *cli.Context) error {
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	certs, err := s.vault.Certificates(ctx)
	if err != nil {
		return a.whereVault(err)
	}
	t := a.newTable("WRITER", "HOST", "ROLES", "SINCE", "")
	for _, cert := range certs {
		w := keyWords{Writer: cert.Writer, Host: cert.Host, Roles: cert.Roles, Created: cert.Created}
		w.Here = s.host != nil && s.host.ID() == cert.Writer
		remark := ""
		if w.Here {
			remark = "this host"
		}
		if cert.Revoked != nil {
			w.Revoked, w.LastGood = &cert.Revoked.Created, cert.Revoked.Last
			remark = fmt.Sprintf("revoked %s, good up to commit %d", moment(cert.Revoked.Created), cert.Revoked.Last)
		}
		if a.json {
			err = a.printJSON(w)
		} else {
			err = t.row(shortID(cert.Writer), cert.Host, roleWords(cert.Roles), moment(cert.Created), remark)
		}
		if err != nil {
			return err
		}
	}
	if a.json {
		return nil
	}
	return t.flush()
}

func (a *app) keyRevoke(ctx context.Context, c *cli.Context) error {
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	root, err := s.ids.Root(s.vault.Config().Root)
	if err != nil {
		return a.whereVault(err)
	}
	cert, err := a.findWriter(ctx, s, c.Args().First())
	if err != nil {
		return err
	}
	head, err := s.vault.Head(ctx)
	if err != nil {
		return a.whereVault(err)
	}
	last := head.Number
	if known, ok := s.vault.Revoked()[cert.Writer]; ok { // it was revoked before, and somebody removed that
		last = known
	}
	if text := c.String("last"); text != "" {
		if last, err = strconv.ParseUint(text, 10, 64); err != nil {
			return usagef("--last: %q is no commit number", text)
		}
	}
	what := fmt.Sprintf("the key of %s (writer %s); its commits up to %d stay good", cert.Host, shortID(cert.Writer), last)
	if n, err := believed(ctx, s.vault, cert.Writer, last); err == nil && n < head.Number {
		what += fmt.Sprintf(", and the vault would end with commit %d", n)
	}
	if c.Bool("dry-run") {
		a.say("Would revoke %s.", what)
		return nil
	}
	if !c.Bool("yes") {
		return &codeError{err: fmt.Errorf("would revoke %s", what), code: exitUsage, hint: "add --yes to do it; it cannot be taken back"}
	}
	if err := s.vault.Revoke(ctx, root, cert.Writer, last, a.now()); err != nil {
		return a.whereVault(err)
	}
	a.say("Revoked %s.", what)
	n, err := believed(ctx, s.vault, cert.Writer, last)
	if err != nil && !errors.Is(err, vault.ErrNotAuthentic) {
		return a.whereVault(err)
	}
	if n < head.Number {
		a.warn("salvor: warning: the vault ends with commit %d now, and nobody can write to it: commit %d is the key's, and all after it was built on it; "+
			"docs/runbook.md, \"A writer key was stolen\"", n, n+1)
	}
	if a.json {
		if err := a.printJSON(map[string]any{"writer": cert.Writer, "host": cert.Host, "last_good_commit": last}); err != nil {
			return err
		}
	}
	return a.rememberRevoked(s)
}

// believed gives the number of the last commit before the first one that a
// revocation takes away: what follows it was built on it.
func believed(ctx context.Context, v *vault.Vault, id vault.WriterID, last uint64) (n uint64, err error) {
	end := errors.New("end")
	err = v.Commits(ctx, vault.Head{}, func(c *vault.Commit) error {
		if c.Writer == id && c.Number > last {
			return end
		}
		n = c.Number
		return nil
	})
	if errors.Is(err, end) {
		err = nil
	}
	return n, err
}

// findWriter finds a certificate by its writer id or the beginning of it.
func (a *app) findWriter(ctx context.Context, s *session, prefix string) (vault.Certificate, error) {
	certs, err := s.vault.Certificates(ctx)
	if err != nil {
		return vault.Certificate{}, a.whereVault(err)
	}
	certs = slices.DeleteFunc(certs, func(c vault.Certificate) bool { return !strings.HasPrefix(c.Writer.String(), prefix) })
	switch {
	case len(prefix) < 8:
		return vault.Certificate{}, usagef("%q: give at least 8 letters of the writer's id", prefix)
	case len(certs) == 1:
		return certs[0], nil
	case len(certs) > 1:
		return vault.Certificate{}, usagef("%q fits %d writers", prefix, len(certs))
	}
	return vault.Certificate{}, &codeError{err: fmt.Errorf("the vault knows no writer %q", prefix), code: exitUsage, hint: "`salvor key list` shows them"}
}

func roleWords(roles []vault.Role) string {
	var words []string
	for _, r := range roles {
		words = append(words, string(r))
	}
	return strings.Join(words, ", ")
}
