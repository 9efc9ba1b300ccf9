package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// session is an opened vault with what is at hand for it.
type session struct {
	vault   *vault.Vault // nil: it did not answer
	ids     *vault.Identities
	host    *vault.HostKey // nil: this host has none
	catalog *catalog.Catalog
	// replica: the vault is a copy, which may be behind the one that it follows.
	replica bool
	// behind says why the catalog could not be brought up to the vault's head;
	// nil when it was.
	behind error
}

func (s *session) history() *history.History {
	return &history.History{Vault: s.vault, Catalog: s.catalog, Host: s.host, Keys: s.ids.Keys}
}

// openVault opens the vault and what belongs to it on this host, without its
// catalog.
func (a *app) openVault(ctx context.Context) (*session, error) {
	ids, err := a.readIdentities(ctx)
	if err != nil {
		return nil, err
	}
	store, err := a.openStore(ctx, objstore.Options{})
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(ctx, store, vault.OpenOptions{})
	if err != nil {
		return nil, a.whereVault(err)
	}
	a.tellTroubles(v)
	s := &session{vault: v, ids: ids}
	if s.replica, err = v.IsReplica(ctx); err != nil {
		return nil, a.whereVault(err)
	}
	if err := checkRoot(v.Config(), ids); err != nil {
		return nil, a.whereVault(err)
	}
	if _, err := ids.Root(v.Config().Root); err != nil && a.settings.named && !opens(ids, v.Config()) {
		return nil, a.whereVault(fmt.Errorf("%w: the identity given belongs to another vault", vault.ErrNoIdentity))
	}
	s.host, err = vault.ReadHostKey(a.hostKeyPath(v.ID()))
	if errors.Is(err, fs.ErrNotExist) {
		if err := a.refuseStranger(s); err != nil {
			return nil, a.whereVault(err)
		}
		return s, a.rememberVault(s)
	}
	if err != nil {
		return nil, err
	}
	if w := s.host.Warning(); w != nil {
		a.warn("salvor: warning: %s", w.String())
	}
	// The host has seen this vault before: it must be signed by the same root.
	if s.vault, err = vault.Open(ctx, store, s.host.Pin()); err != nil {
		return nil, a.whereVault(err)
	}
	return s, a.rememberVault(s)
}

// rememberVault notes where the vault lies, but not where a copy does, and tells
// the vault what this host knows of it. A copy may not have the newest
// revocations yet.
func (a *app) rememberVault(s *session) error {
	if s.replica {
		return nil
	}
	st, err := a.readState()
	if err != nil {
		return err
	}
	s.vault.KnowRevoked(st.Revoked[s.vault.ID()])
	return a.remember(s.vault.ID())
}

// refuseStranger refuses a vault in the place of another one that this host has
// seen there, when no key at hand speaks for it: anybody can make a vault that
// is sound in itself, with mail that he has written.
func (a *app) refuseStranger(s *session) error {
	st, err := a.readState()
	if err != nil {
		return err
	}
	known := st.Vaults[a.settings.vault]
	if known == "" || known == s.vault.ID() {
		return nil
	}
	if _, err := s.ids.Root(s.vault.Config().Root); err == nil {
		return nil
	}
	return withHint(fmt.Errorf("%w: here was vault %s, now there is %s, of which this host has no key", vault.ErrNotAuthentic, known, s.vault.ID()),
		"if that is right, give the identity of the new one once with --identity; else somebody replaced the vault: docs/runbook.md, \"Something is not authentic\"")
}

// openStore opens the store that the vault's URL names.
func (a *app) openStore(ctx context.Context, o objstore.Options) (objstore.Store, error) {
	return a.openStoreAt(ctx, a.settings.vault, o)
}

// openStoreAt opens the store of another vault than --vault, or of that one.
// That of a vault with parity is opened by the URL of any of its targets.
func (a *app) openStoreAt(ctx context.Context, url string, o objstore.Options) (objstore.Store, error) {
	store, err := a.openPlain(ctx, url, o)
	if err != nil {
		store = nil
	}
	if spread, ok, serr := a.openSpread(ctx, url, store, o); ok || serr != nil {
		return spread, serr
	}
	return store, err
}

// openPlain opens one store.
func (a *app) openPlain(ctx context.Context, url string, o objstore.Options) (objstore.Store, error) {
	o.CredentialsFile = first(o.CredentialsFile, a.settings.config.CredentialsFor(url))
	o.Waiting = func(patience time.Duration, err error) {
		a.warn("salvor: warning: the store does not answer, trying again for up to %v: %v", patience, err)
	}
	store, err := objstore.Open(ctx, url, o)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", url, vault.ErrNoVault, err)
	}
	return store, err
}

// whereVault adds the vault's place to an error.
func (a *app) whereVault(err error) error {
	return fmt.Errorf("%s: %w", a.settings.vault, err)
}

// checkRoot refuses a vault whose recipients we hold, but which another root
// signed: a forgery, or an identity file that was put together by hand.
func checkRoot(c vault.Config, ids *vault.Identities) error {
	if _, err := ids.Root(c.Root); err == nil || len(ids.Roots) == 0 || !opens(ids, c) {
		return nil
	}
	return withHint(fmt.Errorf("%w: it is encrypted to the identity at hand, but another root key signed its config", vault.ErrNotAuthentic),
		"if that is right (init --recipient), give the identity that was made with the vault as well: --identity A --identity B; else somebody replaced the vault")
}

// opens tells whether one of the identities reads the vault. Others may be at
// hand, for other vaults of the same host.
func opens(ids *vault.Identities, c vault.Config) bool {
	return slices.ContainsFunc(ids.Recipients, func(r string) bool { return slices.Contains(c.Recipients, r) })
}

func (a *app) hostKeyPath(id string) string {
	return filepath.Join(a.settings.state, "host-"+id+".key")
}

func (a *app) catalogPath(id string) string {
	return first(a.settings.catalog, filepath.Join(a.settings.data, "catalog-"+id+".db"))
}

// copyCatalogPath is where the catalog of a copy is kept, apart from that of the
// vault that it follows, which may be ahead.
func (a *app) copyCatalogPath(id string) string {
	sum := sha256.Sum256([]byte(a.settings.vault))
	return filepath.Join(a.settings.data, "catalog-"+id+"-copy-"+hex.EncodeToString(sum[:8])+".db")
}

// openCatalog opens the vault's catalog, made when it is not there: the vault
// fills it. What this host remembers of the vault's head outlives the catalog;
// it does not hold for a copy, which has the head that was copied last.
func (a *app) openCatalog(ctx context.Context, s *session) error {
	path := a.catalogPath(s.vault.ID())
	if s.replica && !a.settings.catalogNamed {
		path = a.copyCatalogPath(s.vault.ID())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	c, err := catalog.Open(path, catalog.Options{})
	if err != nil {
		return err
	}
	s.catalog = c
	if s.replica {
		a.onClose(c.Close)
		return nil
	}
	a.onClose(func() error { return errors.Join(a.rememberHead(s), a.rememberRevoked(s), c.Close()) })
	head, err := c.Head()
	if err != nil || head.Number > 0 {
		return err
	}
	return a.checkKnownHead(ctx, s)
}

// openWriter opens vault and catalog for a command that commits. The engines
// bring the catalog up to date themselves, under the lease.
func (a *app) openWriter(ctx context.Context) (*session, error) {
	s, err := a.openVault(ctx)
	if err != nil {
		return nil, err
	}
	if s.replica {
		return nil, a.whereVault(vault.ErrReplica)
	}
	if err := mayWrite(s.vault); err != nil {
		return nil, a.whereVault(err)
	}
	if err := a.ensureHostKey(ctx, s); err != nil {
		return nil, err
	}
	return s, a.openCatalog(ctx, s)
}

// openUnless opens a writer, but for a dry run what reads: it must leave the
// store as it is.
func (a *app) openUnless(ctx context.Context, dry bool) (*session, error) {
	if dry {
		return a.openFollowed(ctx)
	}
	return a.openWriter(ctx)
}

// openFollowed opens vault and catalog, and brings the catalog up to the
// vault's head.
func (a *app) openFollowed(ctx context.Context) (*session, error) {
	s, err := a.openVault(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.openCatalog(ctx, s); err != nil {
		return nil, err
	}
	return s, a.follow(ctx, s)
}

// openReader opens vault and catalog for a command that reads mail. When the
// newest commits cannot be followed (a damaged one, a vault that was rolled
// back) it goes on with what the catalog knew, which was verified when it was
// learned, and every message proves itself by its hash.
func (a *app) openReader(ctx context.Context) (*session, error) {
	s, err := a.openFollowed(ctx)
	var damage *vault.DamageError
	lost := errors.Is(err, vault.ErrRolledBack) || errors.Is(err, vault.ErrNotAuthentic) || errors.As(err, &damage)
	if lost && s != nil {
		return a.goOn(s, err)
	}
	return s, err
}

// openAnswers opens the catalog for a command that only asks it. It answers
// also while the vault does not, and says so.
func (a *app) openAnswers(ctx context.Context) (*session, error) {
	s, err := a.openReader(ctx)
	if errors.Is(err, objstore.ErrUnavailable) || errors.Is(err, objstore.ErrDenied) || errors.Is(err, vault.ErrNoVault) ||
		errors.Is(err, history.ErrNoKey) {
		return a.goOn(s, err)
	}
	return s, err
}

// goOn uses the catalog as it is, and says why.
func (a *app) goOn(s *session, cause error) (*session, error) {
	if s == nil || s.catalog == nil {
		var err error
		if s, err = a.openOffline(); err != nil {
			return nil, cause // the vault is what the operator asked about
		}
	}
	head, err := s.catalog.Head()
	if err != nil {
		return nil, err
	}
	if head.Number == 0 {
		return nil, cause
	}
	s.behind = cause
	line, hint := explain(cause)
	a.warn("salvor: warning: this is what the catalog knew at commit %d; the vault could not be asked: %s", head.Number, line)
	if hint != "" {
		a.warn("hint: %s", hint)
	}
	return s, nil
}

// openOffline opens the catalog of a vault that cannot be reached.
func (a *app) openOffline() (*session, error) {
	st, err := a.readState()
	if err != nil {
		return nil, err
	}
	path := first(a.settings.catalog, a.catalogPath(st.Vaults[a.settings.vault]))
	c, err := catalog.Open(path, catalog.Options{MustExist: true})
	if err != nil {
		return nil, err
	}
	a.onClose(c.Close)
	return &session{catalog: c, ids: &vault.Identities{}}, nil
}

// follow replays what the catalog does not know yet.
func (a *app) follow(ctx context.Context, s *session) error {
	head, err := s.catalog.Head()
	if err != nil {
		return err
	}
	n, err := s.history().Follow(ctx)
	if err != nil {
		return a.whereVault(err)
	}
	if n > 0 && head.Number == 0 {
		a.say("salvor: built the catalog %s from the vault", s.catalog.Path())
	} else if n > 0 && a.verbose {
		a.say("salvor: the catalog learned %s from the vault", counted(n, "commit"))
	}
	return nil
}

// ensureHostKey lets this host write. Where it has no key for the vault and
// the vault's root key is at hand, it makes and certifies one.
func (a *app) ensureHostKey(ctx context.Context, s *session) error {
	if s.host != nil {
		return nil
	}
	root, err := s.ids.Root(s.vault.Config().Root)
	if err != nil {
		return withHint(a.whereVault(history.ErrNoWriter),
			"`salvor key add` makes one; it needs the identity once, or a word from who has it")
	}
	if s.host, err = a.makeHostKey(ctx, s.vault, root, allRoles); err != nil {
		return err
	}
	a.say("salvor: this host had no key for the vault; made %s (writer %s)", a.hostKeyPath(s.vault.ID()), shortID(s.host.ID()))
	return nil
}

var allRoles = []vault.Role{vault.RoleBackup, vault.RoleUpkeep, vault.RoleDecide}

// makeHostKey makes, keeps and certifies a key. The file comes first: a
// certified key that nobody holds would be encrypted to for ever.
func (a *app) makeHostKey(ctx context.Context, v *vault.Vault, root *vault.RootKey, roles []vault.Role) (*vault.HostKey, error) {
	key, err := a.newHostKey(v)
	if err != nil {
		return nil, err
	}
	if err := v.Certify(ctx, root, key.Request(), roles, a.now()); err != nil {
		return nil, errors.Join(err, os.Remove(a.hostKeyPath(v.ID())))
	}
	return key, nil
}

func (a *app) newHostKey(v *vault.Vault) (*vault.HostKey, error) {
	key, err := v.NewHostKey(hostName())
	if err != nil {
		return nil, err
	}
	return key, key.WriteFile(a.hostKeyPath(v.ID()))
}

func shortID(id vault.WriterID) string { return id.String()[:16] }

// hostName names this machine for people.
func hostName() string {
	if h, err := os.Hostname(); err == nil && h != "" {
		return clean(h)
	}
	return "localhost"
}
