package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/durable"
	"salvor/internal/vault"
)

func (a *app) catalogCommand() *cli.Command {
	return &cli.Command{
		Name: "catalog", Category: categoryKeep,
		Usage:     "rebuild the catalog from the vault, or say where it stands",
		UsageText: "salvor catalog rebuild",
		Subcommands: []*cli.Command{{
			Name:  "rebuild",
			Usage: "make the catalog anew from the vault alone",
			Description: `For a new backup host, or a catalog file that is damaged. It needs the identity, or
this host's key. The new catalog takes the old one's place when it is whole. It is
refused when this host has seen commits that the vault does not have any more.
After a disaster, say which vault is expected: --root-key names the file with the
root's public key (a line that begins with salvor-root-; salvor identity show prints
it), --expect-head the newest commit, as the last run reported it.`,
			UsageText: "salvor catalog rebuild --identity /media/usb/salvor-identity.txt",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "root-key", Usage: "`FILE` with the root's public key that must have signed the vault"},
				&cli.StringFlag{Name: "expect-head", Usage: "`HASH` of a commit that the vault must have (its beginning will do)"},
			},
			Action: a.action(0, 0, a.catalogRebuild),
		}, {
			Name:      "info",
			Usage:     "say which commit the catalog knows, and which the vault has",
			UsageText: "salvor catalog info",
			Action:    a.action(0, 0, a.catalogInfo),
		}},
	}
}

func (a *app) catalogRebuild(ctx context.Context, c *cli.Context) error {
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	if err := expectRoot(s.vault.Config(), c.String("root-key")); err != nil {
		return a.whereVault(err)
	}
	head, err := a.expectHead(ctx, s.vault, c.String("expect-head"))
	if err != nil {
		return err
	}
	path := a.catalogPath(s.vault.ID())
	fresh := path + ".rebuilding"
	if err := removeCatalog(fresh); err != nil {
		return err
	}
	if c.String("expect-head") == "" {
		if err := a.refuseOlder(ctx, s, path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if s.catalog, err = catalog.Open(fresh, catalog.Options{}); err != nil {
		return err
	}
	a.onClose(s.catalog.Close)
	meter := a.meter()
	meter.Stage("rebuild the catalog")
	_, err = s.history().Follow(ctx)
	a.closeDisplay()
	if cerr := a.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(a.whereVault(err), removeCatalog(fresh))
	}
	// The old one goes first: a half-replaced catalog is an absent one, which
	// the next command builds again.
	if err := removeCatalog(path); err != nil {
		return err
	}
	if err := rename(fresh, path); err != nil {
		return err
	}
	st, err := a.readState()
	if err != nil {
		return err
	}
	st.Heads[s.vault.ID()] = headWords(head)
	if err := a.writeState(st); err != nil {
		return err
	}
	a.say("Built %s, up to commit %d (%s).", path, head.Number, head.Hash)
	if a.json {
		return a.printJSON(map[string]any{"catalog": path, "head": head.Number, "hash": head.Hash, "vault": s.vault.ID()})
	}
	return nil
}

// refuseOlder keeps a catalog that knows commits which the vault has lost: it
// is the last to remember them. An unusable catalog knows nothing.
func (a *app) refuseOlder(ctx context.Context, s *session, path string) error {
	err := a.checkKnownHead(ctx, s)
	if old, openErr := catalog.Open(path, catalog.Options{MustExist: true}); err == nil && openErr == nil {
		known, headErr := old.Head()
		if headErr == nil && known.Vault == s.vault.ID() {
			err = a.hasCommit(ctx, s.vault, vault.Head(known))
		}
		err = errors.Join(err, old.Close())
	}
	if err == nil {
		return nil
	}
	head, headErr := s.vault.Head(ctx)
	if headErr != nil {
		return err
	}
	return withHint(err, fmt.Sprintf("the catalog knows what the vault has lost: keep a copy of it. To go on with the vault as it is: --expect-head %s; "+
		"docs/runbook.md, \"The vault was rolled back\"", head.Hash))
}

// expectRoot compares the vault's root with the one that the operator knows.
func expectRoot(c vault.Config, path string) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return usagef("--root-key: %w", err)
	}
	for _, word := range strings.Fields(string(b)) {
		root, err := vault.ParseRootPublic(word)
		if err != nil {
			continue
		}
		if root != c.Root {
			return fmt.Errorf("%w: signed by %s, expected %s", vault.ErrNotAuthentic, c.Root, root)
		}
		return nil
	}
	return usagef("--root-key: %s holds no public root key (salvor-root-...)", path)
}

// expectHead looks for the commit that the operator knows of. It may be older
// than the newest one.
func (a *app) expectHead(ctx context.Context, v *vault.Vault, hash string) (vault.Head, error) {
	head, err := v.Head(ctx)
	if err != nil || hash == "" {
		return head, err
	}
	if len(hash) < 8 || len(hash) > 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return head, usagef("--expect-head: %q is no hash of a commit, nor 8 or more digits of its beginning", hash)
	}
	found := false
	err = v.Commits(ctx, vault.Head{}, func(c *vault.Commit) error {
		found = found || strings.HasPrefix(c.Hash.String(), hash)
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: none of its %d commits is %s", vault.ErrRolledBack, head.Number, hash)
	}
	if err != nil {
		return head, a.whereVault(err)
	}
	return head, nil
}

// removeCatalog removes a catalog's files.
func removeCatalog(path string) error {
	for _, name := range []string{path + "-wal", path + "-shm", path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// rename gives a file another name in its directory, durably.
func rename(from, to string) error {
	root, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer root.Close()
	dir := durable.NewRoot(root)
	if err := dir.Replace(filepath.Base(from), filepath.Base(to)); err != nil {
		return err
	}
	return dir.Sync(".")
}

func (a *app) catalogInfo(ctx context.Context, _ *cli.Context) error {
	s, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	newest, err := s.vault.Head(ctx)
	if err != nil {
		return a.whereVault(err)
	}
	path := a.catalogPath(s.vault.ID())
	cat, err := catalog.Open(path, catalog.Options{MustExist: true})
	if err != nil {
		return err
	}
	a.onClose(cat.Close)
	known, err := cat.Head()
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			File   string   `json:"file"`
			Bytes  int64    `json:"bytes"`
			Vault  string   `json:"vault"`
			Commit uint64   `json:"commit"`
			Hash   chunk.ID `json:"hash"`
			Newest uint64   `json:"newest_commit"`
		}{path, info.Size(), s.vault.ID(), known.Number, known.Hash, newest.Number})
	}
	a.print("file      %s (%s)", path, size(info.Size()))
	a.print("vault     %s", s.vault.ID())
	a.print("knows     commit %d (%s)", known.Number, known.Hash)
	a.print("the vault has %s", counted(newest.Number, "commit"))
	return nil
}
