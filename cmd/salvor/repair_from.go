package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"salvor/internal/objstore"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// repairFlags are those of check that repair.
func repairFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "repair", Usage: "put right what is damaged, as far as there is something to do it from"},
		&cli.StringFlag{Name: "from", Usage: "with --repair: another copy of the vault, to fetch from; a `VAULT` as in salvor copy"},
	}
}

// openSecond opens the copy of the vault that --from names; nil when it names
// none.
func (a *app) openSecond(ctx context.Context, c *cli.Context, s *session) (*vault.Vault, error) {
	url := c.String("from")
	if url == "" {
		return nil, nil
	}
	if !c.Bool("repair") {
		return nil, usagef("--from needs --repair")
	}
	if a.samePlace(url) {
		return nil, usagef("--from: %s is the vault itself", url)
	}
	store, err := a.openStoreAt(ctx, url, objstore.Options{})
	if err != nil {
		return nil, err
	}
	own := s.vault.Config()
	second, err := vault.Open(ctx, store, vault.OpenOptions{Root: own.Root, ID: own.ID})
	if errors.Is(err, vault.ErrNotAuthentic) {
		return nil, withHint(fmt.Errorf("%s: %w", url, err), "--from wants a copy of the vault that is repaired")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return second, nil
}

// openToCheck opens vault and catalog as openFollowed does. Where there is
// another copy of the vault, its chain of commits is mended first: it could not
// be followed otherwise. It names what was mended.
func (a *app) openToCheck(ctx context.Context, c *cli.Context) (s *session, second *vault.Vault, mended []string, err error) {
	if s, err = a.openVault(ctx); err != nil {
		return nil, nil, nil, err
	}
	if second, err = a.openSecond(ctx, c, s); err != nil {
		return nil, nil, nil, err
	}
	if second != nil {
		if mended, err = s.vault.MendChain(ctx, second); err != nil {
			return nil, nil, nil, a.whereVault(err)
		}
	}
	if err := a.openCatalog(ctx, s); err != nil {
		return nil, nil, nil, err
	}
	return s, second, mended, a.follow(ctx, s)
}

// noteMended adds what was mended before the check to its report.
func noteMended(r *upkeep.CheckReport, mended []string) {
	for _, name := range mended {
		r.Damaged = append(r.Damaged, upkeep.Damage{Object: name, What: "it was missing or damaged"})
		r.Repaired = append(r.Repaired, name)
	}
}
