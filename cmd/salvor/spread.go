package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"salvor/internal/objstore"
	"salvor/internal/parity"
	"salvor/internal/vault"
)

// openSpread opens the vault with parity of which url names a target, or named
// one when this host saw it last: the target itself may be away. store is what
// lies at url, nil when it could not be opened. ok is false when url names no
// such vault.
func (a *app) openSpread(ctx context.Context, url string, store objstore.Store, o objstore.Options) (_ objstore.Store, ok bool, err error) {
	st, err := a.readState()
	if err != nil {
		return nil, false, err
	}
	c, ok, err := a.spreadConfig(ctx, store)
	named := ok
	if !ok && store != nil && !vault.IsTarget(ctx, store) && !a.vacant(ctx, store) {
		return nil, false, nil // a plain vault, or something that is none
	}
	for _, other := range a.otherTargets(ctx, st.Targets[url], store) {
		if ok || ctx.Err() != nil {
			break
		}
		if other == url {
			continue
		}
		if store, err = a.openPlain(ctx, other, objstore.Options{}); err == nil {
			c, ok, err = a.spreadConfig(ctx, store)
		}
	}
	if !ok || ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	o.Create = false // a target that is not there is away, and nothing to be made
	opened := a.openTargets(ctx, c, o)
	if named {
		// Mounted at another place, say, on the night after.
		opened = append(opened, vault.OpenTarget{URL: url, Store: store})
	}
	whole, err := c.Spread(ctx, opened)
	if err != nil {
		return nil, true, err
	}
	read, _ := c.Layout.MayLose()
	if err := bearable(whole.Troubles(), read, c.Layout, "read"); err != nil {
		return nil, true, fmt.Errorf("%s: %w", url, err)
	}
	return whole, true, a.rememberTargets(url, c)
}

// otherTargets are where the other targets of a vault may lie, of which one is
// away or damaged: where they were last, what the configuration says, and what
// can still be read of a damaged config. Whatever lies there is looked at like
// any other vault.
func (a *app) otherTargets(ctx context.Context, known []string, store objstore.Store) (urls []string) {
	urls = append(known[:len(known):len(known)], a.settings.config.TargetURLs()...)
	if store != nil {
		for _, url := range vault.TargetHints(ctx, store) {
			urls = append(urls, a.settings.config.URLFor(url))
		}
	}
	return urls
}

// bearable refuses, in one line, what would fail for each object because more
// targets are away than may be.
func bearable(away []parity.Trouble, most int, l parity.Layout, used string) error {
	if len(away) <= most {
		return nil
	}
	var words []string
	for _, t := range away {
		why := "it is empty"
		if !t.Blank {
			why, _ = explain(t.Err)
		}
		words = append(words, t.Target+" ("+why+")")
	}
	return withHint(fmt.Errorf("%w: %s of %d away, and %s can be %s with at most %d away: %s", objstore.ErrUnavailable,
		counted(len(away), "target"), l.Targets, l, used, most, strings.Join(words, ", ")),
		"bring them back, or say in the configuration where they are now ([targets.\"OLD-URL\"], url); nothing is lost meanwhile. docs/runbook.md, \"A target is away\"")
}

// mayWrite refuses to begin what could not be written.
func mayWrite(v *vault.Vault) error {
	l := v.Config().Layout
	if len(v.Config().Targets) == 0 {
		return nil
	}
	_, write := l.MayLose()
	return bearable(v.Troubles(), write, l, "written to")
}

func (a *app) spreadConfig(ctx context.Context, store objstore.Store) (vault.Config, bool, error) {
	if store == nil {
		return vault.Config{}, false, nil
	}
	return vault.SpreadConfig(ctx, store)
}

// vacant tells whether nothing lies in a store, as in a target that was
// replaced.
func (a *app) vacant(ctx context.Context, store objstore.Store) bool {
	return vault.Vacant(ctx, store) == nil
}

var errNoTarget = errors.New("there is no such directory or bucket")

// openTargets opens all targets of a vault, those on servers at the same time.
func (a *app) openTargets(ctx context.Context, c vault.Config, o objstore.Options) []vault.OpenTarget {
	all := make([]vault.OpenTarget, len(c.Targets))
	var wg sync.WaitGroup
	for i, t := range c.Targets {
		wg.Go(func() {
			url := a.settings.config.URLFor(t.URL)
			all[i] = vault.OpenTarget{URL: url}
			own := o
			own.CredentialsFile = a.settings.config.CredentialsFor(t.URL)
			all[i].Store, all[i].Err = a.openPlain(ctx, url, own)
			if errors.Is(all[i].Err, objstore.ErrNotExist) {
				all[i].Err = errNoTarget
			}
		})
	}
	wg.Wait()
	return all
}

// rememberTargets notes where the vault's other targets are, for the day on
// which the one that is named is away.
func (a *app) rememberTargets(url string, c vault.Config) error {
	st, err := a.readState()
	if err != nil {
		return err
	}
	var urls []string
	for _, t := range c.Targets {
		urls = append(urls, a.settings.config.URLFor(t.URL))
	}
	changed := false
	for _, name := range append([]string{url}, urls...) {
		changed = changed || !slices.Equal(st.Targets[name], urls)
		st.Targets[name] = urls
	}
	if !changed {
		return nil
	}
	if err := a.writeState(st); err != nil {
		a.warn("salvor: warning: %v", err) // as in remember
	}
	return nil
}

// spreadOf gives a vault's layout and where its targets are now; "" for a
// vault without parity.
func (a *app) spreadOf(v *vault.Vault) (layout string, targets []string) {
	if v == nil || len(v.Config().Targets) == 0 {
		return "", nil
	}
	for _, t := range v.Config().Targets {
		targets = append(targets, a.settings.config.URLFor(t.URL))
	}
	return v.Config().Layout.String(), targets
}

// tellTroubles says in a line each which targets are away.
func (a *app) tellTroubles(v *vault.Vault) {
	for _, t := range troubleWords(v) {
		if !slices.Contains(a.toldTroubles, t) {
			a.warn("salvor: warning: %s", t)
			a.toldTroubles = append(a.toldTroubles, t)
		}
	}
}

// tellUnerased says where something that was to be erased still lies.
func (a *app) tellUnerased(v *vault.Vault) {
	for _, t := range v.Troubles() {
		if !t.Blank {
			a.warn("salvor: warning: target %s was away: its part of what was erased goes with the first prune more than a day after it is back", t.Target)
		}
	}
}

// troubleWords are the lines about targets that do not do their part.
func troubleWords(v *vault.Vault) (all []string) {
	if v == nil {
		return nil
	}
	for _, t := range v.Troubles() {
		if t.Blank {
			all = append(all, fmt.Sprintf("target %s is empty: if it replaces a lost one, `salvor check --repair` fills it; if not, is its disk mounted?", t.Target))
			continue
		}
		line, _ := explain(t.Err)
		all = append(all, fmt.Sprintf("target %s is away: %s", t.Target, line))
	}
	return all
}

// parityLayout reads --parity and --target; ok is false where there is none.
func parityLayout(text string, targets []string, single bool) (l parity.Layout, ok bool, err error) {
	if text == "" && len(targets) == 0 {
		return l, false, nil
	}
	if text == "" || len(targets) == 0 {
		return l, false, usagef("--parity and --target belong together, as in --parity 4+2 --target /mnt/a --target /mnt/b --target /mnt/c")
	}
	if l, err = parity.ParseLayout(text, len(targets)); err != nil {
		return l, false, &codeError{err: fmt.Errorf("--parity: %w", err), code: exitUsage}
	}
	if read, _ := l.MayLose(); read == 0 && !single {
		return l, false, &codeError{err: fmt.Errorf("--parity %s on %s survives the loss of none", l, counted(len(targets), "target")), code: exitUsage,
			hint: "name more targets, or more parity; --single-target-parity makes it all the same, against rot alone"}
	}
	return l, true, nil
}

// readTargets reads the flags of init about parity. The vault goes by the name
// of its first target unless another one is named.
func (a *app) readTargets(c *cli.Context, o *creation) error {
	layout, ok, err := parityLayout(c.String("parity"), c.StringSlice("target"), c.Bool("single-target-parity"))
	if err != nil || !ok {
		return err
	}
	o.layout = layout
	for _, url := range c.StringSlice("target") {
		if url, err = absolute(url); err != nil {
			return usagef("--target: %w", err)
		}
		if slices.Contains(o.targets, url) {
			return usagef("--target: %s is named twice", url)
		}
		o.targets = append(o.targets, url)
	}
	if !a.settings.vaultNamed {
		a.settings.vault = o.targets[0]
	}
	if own, err := absolute(a.settings.vault); err != nil || !slices.Contains(o.targets, own) {
		return usagef("--vault: %s is none of the targets; leave it out, or name one of them", a.settings.vault)
	}
	return nil
}

// absolute makes a target's path one that means the same everywhere.
func absolute(url string) (string, error) {
	if strings.HasPrefix(url, "s3:") || strings.HasPrefix(url, "file:") {
		return url, objstore.CheckURL(url)
	}
	if err := objstore.CheckURL(url); err != nil {
		return "", err
	}
	return filepath.Abs(url)
}

// openNewTargets opens the targets of a vault that is to be made, all of which
// must be empty.
func (a *app) openNewTargets(ctx context.Context, o creation) (all []vault.OpenTarget, err error) {
	for _, url := range o.targets {
		store, err := a.openPlain(ctx, url, objstore.Options{Create: o.makeBucket || !strings.HasPrefix(url, "s3:")})
		if err == nil {
			err = vault.Vacant(ctx, store)
		}
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", url, err)
		}
		all = append(all, vault.OpenTarget{URL: url, Store: store})
	}
	return all, nil
}
