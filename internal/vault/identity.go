package vault

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"salvor/internal/durable"
)

const (
	rootSecretLine = "# salvor-root-secret: "
	maxIdentity    = 1 << 20 // bytes of an identity file
)

// A RootKey is the secret half of a vault's root key.
type RootKey struct{ key ed25519.PrivateKey }

// Public gives the half that everybody may know.
func (r *RootKey) Public() RootPublic {
	return RootPublic(r.key.Public().(ed25519.PublicKey))
}

// String gives the public half, so that no secret is printed by accident.
func (r *RootKey) String() string { return r.Public().String() }

// GoString gives the public half.
func (r *RootKey) GoString() string { return r.String() }

func rootFromSeed(seed []byte) *RootKey {
	return &RootKey{key: ed25519.NewKeyFromSeed(seed)}
}

// IdentityOptions says what NewIdentity makes.
type IdentityOptions struct {
	PostQuantum bool      // age's hybrid of ML-KEM and X25519 (needs age 1.3 or newer everywhere)
	Created     time.Time // zero: now
}

// An Identity is an operator's new identity: an age key pair that reads the
// vault, and the root key that says who may write. Both stand in one file,
// which the age program reads as it is.
type Identity struct {
	secret, recipient string
	key               age.Identity
	root              *RootKey
	created           time.Time
}

// NewIdentity makes an identity in memory.
func NewIdentity(o IdentityOptions) (*Identity, error) {
	if o.Created.IsZero() {
		o.Created = time.Now()
	}
	secret, err := newAgeKey(o.PostQuantum)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	key, recipient, err := parseAgeKey(secret)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	return &Identity{secret: secret, recipient: recipient, key: key, root: rootFromSeed(seed), created: o.Created}, nil
}

// Recipient is the public half of the age key.
func (i *Identity) Recipient() string { return i.recipient }

// Root is the root key.
func (i *Identity) Root() *RootKey { return i.root }

// Key opens what was encrypted to Recipient.
func (i *Identity) Key() age.Identity { return i.key }

// String gives the recipient, so that no secret is printed by accident.
func (i *Identity) String() string { return i.recipient }

// GoString gives the recipient.
func (i *Identity) GoString() string { return i.recipient }

// WriteFile writes the identity file, durably, mode 0600. An existing file is
// left as it is: errors.Is(err, fs.ErrExist).
func (i *Identity) WriteFile(path string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# created: %s\n", formatTime(i.created.Truncate(time.Second)))
	fmt.Fprintf(&b, "# public key: %s\n", i.recipient)
	b.WriteString("# This is the only key to a salvor vault. Without this file nobody reads the backup:\n" +
		"# keep a copy in another place, and do not leave it on the backup host for good.\n")
	fmt.Fprintf(&b, "# root key: %s\n", i.root.Public())
	fmt.Fprintf(&b, "%s%s\n", rootSecretLine, hex.EncodeToString(i.root.key.Seed()))
	b.WriteString(i.secret + "\n")
	return writeSecretFile(path, b.Bytes())
}

// IdentitySources says where identities come from.
type IdentitySources struct {
	Files   []string // each is read; one that does not exist is an error
	Command string   // run by sh -c; its standard output is an identity file
}

// Identities are what an operator has at hand.
type Identities struct {
	Keys       []age.Identity
	Recipients []string // the public halves of Keys, in the same order
	Roots      []*RootKey
	Warnings   []ModeWarning
}

// ReadIdentities reads all sources; with none, or no key in them, it is
// ErrNoIdentity. No error repeats what stands in a file.
func ReadIdentities(ctx context.Context, from IdentitySources) (*Identities, error) {
	ids := &Identities{}
	for _, path := range from.Files {
		b, warning, err := readSecretFile(path)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		if warning != nil {
			ids.Warnings = append(ids.Warnings, *warning)
		}
		if err := ids.parse(b); err != nil {
			return nil, fmt.Errorf("read identity %s: %w", path, err)
		}
	}
	if from.Command != "" {
		b, err := runIdentityCommand(ctx, from.Command)
		if err != nil {
			return nil, fmt.Errorf("run the identity command: %w", err)
		}
		if err := ids.parse(b); err != nil {
			return nil, fmt.Errorf("read what the identity command printed: %w", err)
		}
	}
	if len(ids.Keys) == 0 {
		return nil, fmt.Errorf("%w: none was given (--identity, SALVOR_IDENTITY_FILE or SALVOR_IDENTITY_COMMAND)", ErrNoIdentity)
	}
	return ids, nil
}

// Root gives the secret half of a root key, or ErrNoIdentity.
func (i *Identities) Root(public RootPublic) (*RootKey, error) {
	for _, r := range i.Roots {
		if r.Public() == public {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: none of the identities holds the secret of %s", ErrNoIdentity, public)
}

// parse reads the age keys and the root secret of one file.
func (i *Identities) parse(b []byte) error {
	found := false
	for n, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if digits, ok := strings.CutPrefix(line, rootSecretLine); ok {
			seed := make([]byte, ed25519.SeedSize)
			if err := parseHex(seed, strings.TrimSpace(digits)); err != nil {
				return fmt.Errorf("line %d: root secret: %w", n+1, err)
			}
			i.Roots = append(i.Roots, rootFromSeed(seed))
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, recipient, err := parseAgeKey(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		i.Keys, i.Recipients, found = append(i.Keys, key), append(i.Recipients, recipient), true
	}
	if !found {
		return fmt.Errorf("%w: there is no AGE-SECRET-KEY line", ErrNoIdentity)
	}
	return nil
}

func newAgeKey(postQuantum bool) (string, error) {
	if postQuantum {
		k, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", err
		}
		return k.String(), nil
	}
	k, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	return k.String(), nil
}

// errKey replaces age's own errors, which quote parts of the key.
var errKey = errors.New("not a valid AGE-SECRET-KEY-1 or AGE-SECRET-KEY-PQ-1 line")

// parseAgeKey gives a secret key and its recipient.
func parseAgeKey(secret string) (age.Identity, string, error) {
	if strings.HasPrefix(secret, "AGE-SECRET-KEY-PQ-1") {
		k, err := age.ParseHybridIdentity(secret)
		if err != nil {
			return nil, "", errKey
		}
		return k, k.Recipient().String(), nil
	}
	k, err := age.ParseX25519Identity(secret)
	if err != nil {
		return nil, "", errKey
	}
	return k, k.Recipient().String(), nil
}

func runIdentityCommand(ctx context.Context, command string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // it may ask for a passphrase
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	if len(out) > maxIdentity {
		return nil, fmt.Errorf("it printed more than %d bytes", maxIdentity)
	}
	return out, nil
}

// readSecretFile reads a bounded file and says when others could, too.
func readSecretFile(path string) ([]byte, *ModeWarning, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxIdentity {
		return nil, nil, fmt.Errorf("%s: more than %d bytes", path, maxIdentity)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return b, &ModeWarning{Path: path, Mode: info.Mode()}, nil
	}
	return b, nil, nil
}

// writeSecretFile creates a 0600 file, its directory 0700 where there is none,
// durably: what is encrypted to a key must not outlive the only copy of it.
func writeSecretFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.CreateFile(path, b, 0o600)
}
