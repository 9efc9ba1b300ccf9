package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/parity"
	"salvor/internal/vault"
)

// creation says what vault to make.
type creation struct {
	recipients  []string // empty: the identity's own
	postQuantum bool     // for a new identity
	makeBucket  bool     // where an S3 bucket is not there
	targets     []string // URLs to spread the vault over; empty: it lies in one place
	layout      parity.Layout
	lock        vault.LockRule // zero: nothing is locked
	lockRemains time.Duration  // how long deleted mail remains then
}

// created is what was made.
type created struct {
	Vault       string   `json:"vault"`
	URL         string   `json:"url"`
	Recipients  []string `json:"recipients"`
	Root        string   `json:"root"`
	Identity    string   `json:"identity"`
	NewIdentity bool     `json:"new_identity"`
	// Reads tells whether that identity reads the vault, and not only says who
	// may write to it.
	Reads   bool   `json:"identity_reads"`
	HostKey string `json:"host_key"`
	// Parity says how the vault is spread; nil: it lies in one place.
	Parity *createdParity `json:"parity,omitempty"`
	// Lock says how its objects are locked; nil: they are not.
	Lock *createdLock `json:"lock,omitempty"`
}

// createdParity is a layout, and how many targets may be lost.
type createdParity struct {
	Layout         string   `json:"layout"`
	Targets        []string `json:"targets"`
	MayLoseReading int      `json:"may_lose_reading"`
	MayLoseWriting int      `json:"may_lose_writing"`
}

// createVault makes a vault with an identity (the one at hand, or a new one)
// and a key for this host. The identity's file comes first: nothing may be
// encrypted to a key that is not on the disk.
func (a *app) createVault(ctx context.Context, o creation) (*created, error) {
	path := a.placeForIdentity()
	ids, err := a.readIdentities(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids.Keys) > 0 && o.postQuantum {
		return nil, usagef("--post-quantum is for a new identity; one is there already")
	}
	place, err := a.openNew(ctx, o)
	if err != nil {
		return nil, err
	}
	made := &created{URL: a.settings.vault, Identity: first(a.settings.identities...)}
	if len(ids.Keys) == 0 {
		if ids, err = a.createIdentity(ctx, path, o.postQuantum); err != nil {
			return nil, err
		}
		made.Identity, made.NewIdentity = path, true
	}
	if len(ids.Roots) == 0 {
		return nil, usagef("the identity holds no root key: it was not made by salvor; give it as --recipient, and let salvor make an identity for the root key")
	}
	cutting, err := chunk.NewParams()
	if err != nil {
		return nil, err
	}
	recipients := o.recipients
	if len(recipients) == 0 {
		recipients = ids.Recipients
	}
	v, err := place.create(ctx, vault.CreateOptions{Root: ids.Roots[0], Recipients: recipients, Cutting: cutting, Created: a.now(), Lock: o.lock})
	if errors.Is(err, vault.ErrVaultExists) { // refuseVault has seen no config
		return nil, withHint(a.whereVault(err), "what is left of a vault without its config: bring the object config back from a copy, or name another place")
	}
	if err != nil {
		return nil, a.whereVault(err)
	}
	if _, err := a.makeHostKey(ctx, v, ids.Roots[0], allRoles); err != nil {
		return nil, err
	}
	made.Vault, made.Recipients, made.Root = v.ID(), v.Config().Recipients, v.Config().Root.String()
	made.HostKey = a.hostKeyPath(v.ID())
	if len(o.targets) > 0 {
		read, write := o.layout.MayLose()
		made.Parity = &createdParity{o.layout.String(), o.targets, read, write}
		if err := a.rememberTargets(a.settings.vault, v.Config()); err != nil {
			return nil, err
		}
	}
	made.Lock = a.lockMade(o)
	made.Reads = opens(ids, v.Config())
	return made, a.remember(v.ID())
}

// newPlace is where a vault is to be made.
type newPlace struct {
	store   objstore.Store
	layout  parity.Layout
	targets []vault.OpenTarget // empty: in the store
}

// openNew opens it, and refuses one where there is something already.
func (a *app) openNew(ctx context.Context, o creation) (p newPlace, err error) {
	if len(o.targets) > 0 {
		p.layout = o.layout
		p.targets, err = a.openNewTargets(ctx, o)
		return p, err
	}
	p.store, err = a.openStore(ctx, objstore.Options{Create: o.makeBucket || !strings.HasPrefix(a.settings.vault, "s3:"), Lock: o.lock.Days > 0})
	if err != nil {
		return p, err
	}
	if o.lock.Days > 0 {
		if err := vault.CanLock(ctx, p.store); err != nil {
			return p, a.whereVault(err)
		}
	}
	if err := refuseVault(ctx, p.store); err != nil {
		return p, a.whereVault(err)
	}
	return p, nil
}

func (p newPlace) create(ctx context.Context, o vault.CreateOptions) (*vault.Vault, error) {
	if len(p.targets) > 0 {
		return vault.CreateSpread(ctx, o, p.layout, p.targets)
	}
	return vault.Create(ctx, p.store, o)
}

// refuseVault looks for a vault before an identity is made for nothing.
func refuseVault(ctx context.Context, store objstore.Store) error {
	_, err := vault.Open(ctx, store, vault.OpenOptions{})
	if errors.Is(err, vault.ErrNoVault) {
		return nil
	}
	if err == nil {
		return vault.ErrVaultExists
	}
	return err
}

// placeForIdentity is where a new identity would go: the one file of
// --identity, when it does not exist yet, else the default.
func (a *app) placeForIdentity() string {
	files := a.settings.identities
	if len(files) == 1 && !exists(files[0]) && a.settings.command == "" {
		a.settings.identities = nil
		return files[0]
	}
	return a.settings.ownIdentity
}

// createIdentity makes an identity file.
func (a *app) createIdentity(ctx context.Context, path string, postQuantum bool) (*vault.Identities, error) {
	id, err := vault.NewIdentity(vault.IdentityOptions{PostQuantum: postQuantum, Created: a.now()})
	if err != nil {
		return nil, err
	}
	if err := id.WriteFile(path); err != nil {
		return nil, fmt.Errorf("make the identity: %w", err)
	}
	if err := a.noteIdentity(knownIdentity{Recipient: id.Recipient(), File: path}); err != nil {
		return nil, err
	}
	a.settings.identities = []string{path}
	return vault.ReadIdentities(ctx, vault.IdentitySources{Files: []string{path}})
}

func (a *app) noteIdentity(id knownIdentity) error {
	st, err := a.readState()
	if err != nil {
		return err
	}
	st.note(id)
	return a.writeState(st)
}

// tellCreated says what was made and what to do next.
func (a *app) tellCreated(m *created) {
	a.say("Made the vault %s (id %s).", m.URL, m.Vault)
	if p := m.Parity; p != nil {
		a.say("Parity %s over %s: any %d may be lost and all can be read, any %d may be lost and backups go on.",
			p.Layout, counted(len(p.Targets), "target"), p.MayLoseReading, p.MayLoseWriting)
	}
	a.tellLock(m.Lock)
	switch {
	case !m.Reads:
		a.say("The identity %s says who may write to it. It does not read the backup: the identities of\n"+
			"the recipients do. Keep both, in another place:", m.Identity)
		for _, r := range m.Recipients {
			a.say("  %s", r)
		}
	case m.NewIdentity:
		a.toldIdentity = true
		a.say("Made the identity %s.\n"+
			"  Only this file opens the backup and says who may write to it. Now:\n"+
			"  1. copy it to another place (a password store, a safe, another machine);\n"+
			"  2. show the copy to salvor:   salvor identity confirm COPY\n"+
			"  3. for a host that shall not read what it backs up: move it away from here.", m.Identity)
	case m.Identity != "":
		a.say("Used the identity %s.", m.Identity)
	}
	a.say("Made this host's key %s: it writes backups, and reads no mail.", filepath.Clean(m.HostKey))
}
