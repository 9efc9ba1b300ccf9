package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"salvor/internal/vault"
)

func (a *app) identityCommand() *cli.Command {
	return &cli.Command{
		Name: "identity", Category: categoryWrite,
		Usage:     "the key that reads the backup: confirm a copy of it, show its public half",
		UsageText: "salvor identity confirm /media/usb/salvor-identity.txt",
		Subcommands: []*cli.Command{{
			Name: "confirm", ArgsUsage: "FILE",
			Usage: "prove that a copy of the identity is kept elsewhere",
			Description: `FILE is the copy. It is read, compared with the vault's keys, and left as it is.
Until a copy was confirmed, every run says that there is none.
What is remembered is the fact alone, in ~/.local/share/salvor/state.json.`,
			UsageText: "salvor identity confirm /media/usb/salvor-identity.txt\nssh safe cat salvor-identity.txt | salvor identity confirm /dev/stdin",
			Action:    a.action(1, 1, a.identityConfirm),
		}, {
			Name: "show", ArgsUsage: "[FILE]",
			Usage:       "print the public parts of an identity",
			Description: "Prints the age recipient and the public root key, which are no secrets.",
			UsageText:   "salvor identity show",
			Action:      a.action(0, 1, a.identityShow),
		}},
	}
}

type identityWords struct {
	Recipients []string `json:"recipients"`
	Roots      []string `json:"roots"`
	Files      []string `json:"files"`
	Confirmed  bool     `json:"confirmed"`
}

// identityConfirm compares a copy with the vault that it shall open.
func (a *app) identityConfirm(ctx context.Context, c *cli.Context) error {
	path := c.Args().First()
	if err := a.refuseOriginal(path); err != nil {
		return err
	}
	ids, err := vault.ReadIdentities(ctx, vault.IdentitySources{Files: []string{path}})
	if err != nil {
		return &codeError{err: err, code: exitNoIdentity, hint: "this is no usable copy of an identity; make a new one before you rely on it"}
	}
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	config := s.vault.Config()
	recipient := ""
	for _, r := range ids.Recipients {
		if slices.Contains(config.Recipients, r) {
			recipient = r
		}
	}
	if recipient == "" {
		return &codeError{err: fmt.Errorf("%s: %w: its key is none of the vault's", path, vault.ErrNoIdentity),
			hint: "this file does not open " + a.settings.vault + "; copy the right one"}
	}
	if _, err := ids.Root(config.Root); err != nil {
		a.warn("salvor: warning: %s reads the backup, but does not hold the root key that says who may write", path)
	}
	now := a.now().UTC()
	if err := a.noteIdentity(knownIdentity{Recipient: recipient, File: path, Confirmed: &now}); err != nil {
		return err
	}
	a.say("Confirmed: %s opens %s.", path, a.settings.vault)
	if a.json {
		return a.printJSON(identityWords{Recipients: ids.Recipients, Roots: rootWords(ids), Files: []string{path}, Confirmed: true})
	}
	return nil
}

// refuseOriginal makes sure that a copy is one, and not the file in use.
func (a *app) refuseOriginal(path string) error {
	copied, err := os.Stat(path)
	if err != nil {
		return usagef("look at the copy: %w", err)
	}
	for _, used := range append([]string{a.settings.ownIdentity}, a.settings.identities...) {
		info, err := os.Stat(used)
		if err == nil && os.SameFile(info, copied) {
			return &codeError{err: fmt.Errorf("%s is the identity in use, not a copy of it", path), code: exitUsage,
				hint: "copy it to another place first, and give that copy"}
		}
		if err == nil && onOneDevice(info, copied) {
			a.say("salvor: note: the copy lies on the same disk as the identity; keep one that survives the disk")
			return nil
		}
	}
	return nil
}

func (a *app) identityShow(ctx context.Context, c *cli.Context) error {
	if c.NArg() == 1 {
		a.settings.identities, a.settings.command = []string{c.Args().First()}, ""
	}
	ids, err := a.readIdentities(ctx)
	if err != nil {
		return err
	}
	if len(ids.Keys) == 0 {
		return fmt.Errorf("%w: there is none at %s", vault.ErrNoIdentity, a.settings.ownIdentity)
	}
	st, err := a.readState()
	if err != nil {
		return err
	}
	words := identityWords{Recipients: ids.Recipients, Roots: rootWords(ids), Files: notEmpty(a.settings.identities)}
	for _, k := range st.Identities {
		if k.Confirmed != nil && slices.Contains(ids.Recipients, k.Recipient) {
			words.Confirmed = true
		}
	}
	if a.json {
		return a.printJSON(words)
	}
	for _, r := range words.Recipients {
		a.print("recipient  %s", r)
	}
	for _, r := range words.Roots {
		a.print("root key   %s", r)
	}
	if words.Confirmed {
		a.print("copy       confirmed")
	} else {
		a.print("copy       not confirmed on this host")
	}
	return nil
}

func rootWords(ids *vault.Identities) []string {
	out := []string{}
	for _, r := range ids.Roots {
		out = append(out, r.Public().String())
	}
	return out
}
