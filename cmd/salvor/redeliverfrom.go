package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/urfave/cli/v2"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident/redeliver"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
	"salvor/restore"
	"salvor/salvage/found"
)

// redeliverFrom opens what --from names; end closes it.
func (a *app) redeliverFrom(ctx context.Context, c *cli.Context, s *session, o *redeliver.Options) (end func() error, err error) {
	from := first(c.String("from"), "vault")
	end = func() error { return nil }
	if from == "vault" {
		reader, err := a.mustRead(s)
		if err != nil {
			return nil, err
		}
		chunks := s.history().Chunks(reader)
		later := redeliver.Vault{Catalog: s.catalog, Incident: o.Name, Read: func(ctx context.Context, id chunk.ID) ([]byte, error) {
			return wireFromVault(ctx, s.catalog, chunks, id)
		}}
		salvaged, err := a.resultsOf(ctx, c, catchInVault(s.catalog, chunks, o.Name), o.Name)
		if err != nil {
			return nil, err
		}
		o.From = redeliver.Sources{salvaged, later}
		return end, nil
	}
	results, err := found.Open(from)
	if err == nil {
		if o.From, err = a.resultsOf(ctx, c, catchInDir(results), results.Head().Incident); err != nil {
			return nil, errors.Join(err, results.Close())
		}
		return results.Close, nil
	}
	if !errors.Is(err, found.ErrNone) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if len(c.StringSlice("damaged"))+len(c.StringSlice("finding")) > 0 || c.String("folder") != "" {
		return nil, withHint(usagef("--damaged, --finding and --folder are for what salvor salvage has found"), "--from names its result directory, or is vault")
	}
	if stores.CheckSource(from) == nil {
		source, err := stores.OpenSource(from, a.storeOptions("", notEmpty([]string{o.User})))
		if err != nil {
			return nil, storeError(err)
		}
		if closer, ok := source.(io.Closer); ok {
			end = closer.Close
		}
		o.From = redeliver.Store{Source: source}
		return end, nil
	}
	dir, err := redeliver.OpenDir(from)
	if err != nil {
		return nil, withHint(usagef("--from: %w", err), "name a directory, mbox:FILE, a mail store as for backup, or vault")
	}
	o.From = dir
	return dir.Close, nil
}

// resultsOf reads what a salvage has found.
func (a *app) resultsOf(ctx context.Context, c *cli.Context, from catch, incident string) (redeliver.Source, error) {
	r := redeliver.Results{Findings: from.findings, Open: from.open, Foreign: incident != c.String("incident"), User: c.String("user"), Folder: c.String("folder")}
	for _, ask := range []struct {
		flag  string
		class found.Class
		to    *[]string
	}{{"damaged", found.Damaged, &r.Damaged}, {"finding", found.Unknown, &r.Named}} {
		for _, id := range c.StringSlice(ask.flag) {
			f, err := from.find(ctx, id)
			if err != nil {
				return nil, withHint(usagef("--%s: %w", ask.flag, err), fmt.Sprintf("`salvor salvage show --class %s` lists them", ask.class))
			}
			if f.Class != ask.class {
				return nil, withHint(usagef("--%s: finding %s is %s, not %s", ask.flag, f.ID, f.Class, ask.class),
					"--damaged is for what is not whole, --finding for what is unknown; what is owed needs neither")
			}
			*ask.to = append(*ask.to, f.ID)
		}
	}
	return r, nil
}

// wireFromVault reads a content in its wire form.
func wireFromVault(ctx context.Context, c *catalog.Catalog, chunks restore.Chunks, id chunk.ID) ([]byte, error) {
	content, ok, err := c.Content(id)
	if err != nil {
		return nil, err
	}
	where, there, err := c.Locate(chunk.Ref{Kind: chunk.KindMessage, ID: id})
	if err != nil {
		return nil, err
	}
	if !ok || !there {
		return nil, fmt.Errorf("content %s: %w", id, mailstore.ErrVanished)
	}
	e := &catalog.Entry{Record: catalog.Record{Content: id, Stored: id, StoredSize: content.Size, LineEnds: chunk.EndsCRLF},
		Size: content.Size, SHA1: content.SHA1, Where: where}
	return restore.Message(ctx, c, chunks, e)
}
