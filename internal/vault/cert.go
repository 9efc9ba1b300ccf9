package vault

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvor/internal/objstore"
)

// A Role is something that a writer key may do.
type Role string

// The roles of writer keys.
const (
	RoleBackup Role = "backup" // write what a night found
	RoleUpkeep Role = "upkeep" // condemn and erase
	RoleDecide Role = "decide" // write operators' decisions
)

const (
	keysPrefix     = "keys/"
	revokedSuffix  = ".revoked"
	certText       = "key"
	revocationText = "revocation"
)

// A Certificate says, signed by the root, who may write to the vault and who
// may read its journals (section "keys").
type Certificate struct {
	Writer   WriterID
	Host     string
	Metadata string // age recipient of journals and checkpoints
	Roles    []Role // sorted
	Created  time.Time
	Revoked  *Revocation // nil while it stands
}

// A Revocation ends a certificate: commits of that writer with higher numbers
// than Last are not authentic.
type Revocation struct {
	Last    uint64
	Created time.Time
}

// writer is a certificate with its public key.
type writer struct {
	Certificate
	public ed25519.PublicKey
}

func (w *writer) has(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(w.Roles, r) })
}

// Certify lets a writer key write with these roles. Certifying the same thing
// again changes nothing; another thing for the same key is refused by the
// store (a new key is made instead).
func (v *Vault) Certify(ctx context.Context, root *RootKey, r HostRequest, roles []Role, at time.Time) error {
	err := v.checkRequest(root, r)
	if err == nil {
		err = v.RefuseReplica(ctx)
	}
	if err != nil {
		return fmt.Errorf("certify %s: %w", r.host, err)
	}
	roles, err = sortRoles(roles)
	if err != nil {
		return fmt.Errorf("certify %s: %w", r.host, err)
	}
	if old, err := v.writer(ctx, r.ID()); err == nil && slices.Equal(old.Roles, roles) && old.Host == r.host && old.Revoked == nil {
		return nil // certified before, at another time
	}
	w := newText(certText)
	w.line("vault", v.config.ID)
	w.line("writer", hex.EncodeToString(r.writer))
	w.line("host", r.host)
	w.line("metadata", r.metadata)
	for _, role := range roles {
		w.line("role", string(role))
	}
	w.line("created", formatTime(at))
	if err := v.store.Put(ctx, certName(r.ID()), w.sign(root.key)); err != nil {
		return fmt.Errorf("certify %s: %w", r.host, err)
	}
	v.forgetWriters()
	return nil
}

func (v *Vault) checkRequest(root *RootKey, r HostRequest) error {
	if root.Public() != v.config.Root {
		return fmt.Errorf("%w: %s is not the root key of this vault", ErrNotAuthentic, root.Public())
	}
	if r.vault != v.config.ID {
		return fmt.Errorf("%w: the key was made for vault %s", ErrNotAuthentic, r.vault)
	}
	if isHybrid(r.metadata) != v.config.postQuantum() {
		return fmt.Errorf("%w: the host's metadata recipient is not of the vault's sort", ErrRecipients)
	}
	return nil
}

func sortRoles(roles []Role) ([]Role, error) {
	roles = slices.Clone(roles)
	slices.Sort(roles)
	roles = slices.Compact(roles)
	for _, r := range roles {
		if r != RoleBackup && r != RoleUpkeep && r != RoleDecide {
			return nil, fmt.Errorf("role %.40q: want backup, upkeep or decide", string(r))
		}
	}
	if len(roles) == 0 {
		return nil, errors.New("no role was given")
	}
	return roles, nil
}

// Revoke ends a writer key. last is the number of its last commit that is to
// be believed.
func (v *Vault) Revoke(ctx context.Context, root *RootKey, id WriterID, last uint64, at time.Time) error {
	if root.Public() != v.config.Root {
		return fmt.Errorf("revoke %s: %w: %s is not the root key of this vault", id, ErrNotAuthentic, root.Public())
	}
	if err := v.RefuseReplica(ctx); err != nil {
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	w := newText(revocationText)
	w.line("vault", v.config.ID)
	w.line("writer", id.String())
	w.line("last", strconv.FormatUint(last, 10))
	w.line("created", formatTime(at))
	if err := v.store.Put(ctx, certName(id)+revokedSuffix, w.sign(root.key)); err != nil {
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	v.forgetWriters()
	return nil
}

// Certificates lists all certificates, verified, ordered by writer.
func (v *Vault) Certificates(ctx context.Context) ([]Certificate, error) {
	writers, err := v.loadWriters(ctx)
	if err != nil {
		return nil, err
	}
	var all []Certificate
	for _, w := range writers {
		all = append(all, w.Certificate)
	}
	slices.SortFunc(all, func(a, b Certificate) int { return cmp.Compare(a.Writer.String(), b.Writer.String()) })
	return all, nil
}

// writer gives one certificate, from memory where it was read before.
func (v *Vault) writer(ctx context.Context, id WriterID) (*writer, error) {
	v.mu.Lock()
	w := v.writers[id]
	v.mu.Unlock()
	if w != nil {
		return w, nil
	}
	writers, err := v.loadWriters(ctx)
	if err != nil {
		return nil, err
	}
	if w = writers[id]; w == nil {
		return nil, fmt.Errorf("%w: the vault holds no certificate of writer %s", ErrNotAuthentic, id)
	}
	return w, nil
}

func (v *Vault) forgetWriters() {
	v.mu.Lock()
	v.writers = nil
	v.mu.Unlock()
}

// loadWriters reads all of keys/ and remembers it.
func (v *Vault) loadWriters(ctx context.Context) (map[WriterID]*writer, error) {
	var found []objstore.Info
	err := v.store.List(ctx, keysPrefix, func(i objstore.Info) error {
		found = append(found, i)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	writers := map[WriterID]*writer{}
	for _, i := range found { // a certificate sorts before its revocation
		b, err := getListed(ctx, v.store, i, maxSmallText)
		if err != nil {
			return nil, err
		}
		if err := v.addKeyObject(writers, i.Name, b); err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	v.writers = writers
	v.mu.Unlock()
	return writers, nil
}

func (v *Vault) addKeyObject(writers map[WriterID]*writer, name string, b []byte) error {
	id, revoked, err := parseKeyName(name)
	if err != nil {
		return err
	}
	if !revoked {
		w, err := v.parseCert(name, id, b)
		writers[id] = w
		return err
	}
	r, err := v.parseRevocation(name, id, b)
	if err != nil {
		return err
	}
	if writers[id] == nil {
		return damagef(name, "a certificate beside it")
	}
	writers[id].Revoked = r
	return nil
}

func certName(id WriterID) string { return keysPrefix + id.String() }

func parseKeyName(name string) (WriterID, bool, error) {
	digits, revoked := strings.CutSuffix(strings.TrimPrefix(name, keysPrefix), revokedSuffix)
	id, err := ParseWriterID(digits)
	if err != nil {
		return id, false, damagef(name, "no other objects among the keys")
	}
	return id, revoked, nil
}

func (v *Vault) parseCert(name string, id WriterID, b []byte) (*writer, error) {
	t, err := parseText(name, certText, b)
	if err != nil {
		return nil, err
	}
	w := &writer{public: make([]byte, ed25519.PublicKeySize)}
	vault := t.vaultID("vault")
	t.hex(w.public, "writer")
	w.Host = t.one("host")
	w.Metadata = t.one("metadata")
	for s, ok := t.next("role"); ok; s, ok = t.next("role") {
		w.Roles = append(w.Roles, Role(s))
	}
	w.Created = t.time("created")
	if err := t.done(); err != nil {
		return nil, err
	}
	if err := v.verifyRoot(t, vault); err != nil {
		return nil, err
	}
	w.Writer = writerID(w.public)
	if w.Writer != id {
		return nil, fmt.Errorf("verify %s: %w: it is the certificate of %s", name, ErrNotAuthentic, w.Writer)
	}
	sorted, err := sortRoles(w.Roles)
	if err != nil || !slices.Equal(sorted, w.Roles) {
		return nil, &DamageError{Object: name, Offset: -1, Expected: "known roles in order", Err: err}
	}
	if _, _, err := parseRecipient(w.Metadata); err != nil || isHybrid(w.Metadata) != v.config.postQuantum() {
		return nil, damagef(name, "a metadata recipient of the vault's sort")
	}
	return w, nil
}

func (v *Vault) parseRevocation(name string, id WriterID, b []byte) (*Revocation, error) {
	t, err := parseText(name, revocationText, b)
	if err != nil {
		return nil, err
	}
	r := &Revocation{}
	var of WriterID
	vault := t.vaultID("vault")
	t.hex(of[:], "writer")
	r.Last = t.number("last")
	r.Created = t.time("created")
	if err := t.done(); err != nil {
		return nil, err
	}
	if err := v.verifyRoot(t, vault); err != nil {
		return nil, err
	}
	if of != id {
		return nil, fmt.Errorf("verify %s: %w: it is the revocation of %s", name, ErrNotAuthentic, of)
	}
	return r, nil
}

// verifyRoot checks that the root signed t, for this vault.
func (v *Vault) verifyRoot(t *text, vault string) error {
	if vault != v.config.ID {
		return fmt.Errorf("verify %s: %w: it is of vault %s", t.object, ErrNotAuthentic, vault)
	}
	return t.verify(v.config.Root[:], "the root key")
}
