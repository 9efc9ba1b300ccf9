package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
)

// A HostKey is what a backup host holds for one vault: the writer key that
// signs its commits, and the metadata identity that opens journals and
// checkpoints, never packs. It also remembers which vault and root it is for,
// so that a replaced config is noticed.
type HostKey struct {
	vault      string
	root       RootPublic
	host       string
	writer     ed25519.PrivateKey
	metaSecret string
	meta       age.Identity
	metaPublic string
	warning    *ModeWarning
}

// NewHostKey makes a key for this vault, in memory. host names the machine for
// people.
func (v *Vault) NewHostKey(host string) (*HostKey, error) {
	if err := checkHost(host); err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	secret, err := newAgeKey(v.config.postQuantum())
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	h := &HostKey{vault: v.config.ID, root: v.config.Root, host: host, writer: key, metaSecret: secret}
	h.meta, h.metaPublic, err = parseAgeKey(secret)
	return h, err
}

// ReadHostKey reads what WriteFile wrote; fs.ErrNotExist where there is none.
func ReadHostKey(path string) (*HostKey, error) {
	b, warning, err := readSecretFile(path)
	if err != nil {
		return nil, fmt.Errorf("read host key: %w", err)
	}
	h, err := parseHostKey(b)
	if err != nil {
		return nil, fmt.Errorf("read host key %s: %w", path, err)
	}
	h.warning = warning
	return h, nil
}

// WriteFile writes the key, durably, mode 0600; fs.ErrExist where there is one.
func (h *HostKey) WriteFile(path string) error {
	var b bytes.Buffer
	b.WriteString("# salvor host key: writes to one vault and reads its journals, not its mail\n")
	fmt.Fprintf(&b, "vault %s\nroot %s\nhost %s\n", h.vault, h.root, h.host)
	fmt.Fprintf(&b, "writer-secret %s\n", hex.EncodeToString(h.writer.Seed()))
	fmt.Fprintf(&b, "metadata-secret %s\n", h.metaSecret)
	return writeSecretFile(path, b.Bytes())
}

// ID names the writer key.
func (h *HostKey) ID() WriterID { return writerID(h.public()) }

// Host is the machine's name.
func (h *HostKey) Host() string { return h.host }

// Metadata opens journals and checkpoints written after this key was certified.
func (h *HostKey) Metadata() age.Identity { return h.meta }

// Pin says which vault and root the key was made for.
func (h *HostKey) Pin() OpenOptions { return OpenOptions{Root: h.root, ID: h.vault} }

// Warning is not nil when the file can be read by others.
func (h *HostKey) Warning() *ModeWarning { return h.warning }

// Request is the public half, to be certified by the holder of the root key.
func (h *HostKey) Request() HostRequest {
	return HostRequest{vault: h.vault, writer: h.public(), metadata: h.metaPublic, host: h.host}
}

// String names the key without its secrets.
func (h *HostKey) String() string { return h.host + " " + h.ID().String() }

// GoString gives the same as String.
func (h *HostKey) GoString() string { return h.String() }

func (h *HostKey) public() ed25519.PublicKey { return h.writer.Public().(ed25519.PublicKey) }

// parseHostKey reads the lines of a host key file; no error repeats them.
func parseHostKey(b []byte) (*HostKey, error) {
	fields := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		if _, twice := fields[key]; twice {
			return nil, errors.New("want every line once")
		}
		fields[key] = value
	}
	if len(fields) != 5 {
		return nil, errors.New("want the lines vault, root, host, writer-secret and metadata-secret")
	}
	h := &HostKey{vault: fields["vault"], host: fields["host"], metaSecret: fields["metadata-secret"]}
	var id [vaultIDLen / 2]byte
	seed := make([]byte, ed25519.SeedSize)
	var errs [4]error
	errs[0] = parseHex(id[:], h.vault)
	h.root, errs[1] = ParseRootPublic(fields["root"])
	errs[2] = parseHex(seed, fields["writer-secret"])
	h.meta, h.metaPublic, errs[3] = parseAgeKey(h.metaSecret)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	h.writer = ed25519.NewKeyFromSeed(seed)
	return h, checkHost(h.host)
}

func checkHost(host string) error {
	if len(host) > 255 || checkValue(host) != nil || strings.Contains(host, " ") {
		return fmt.Errorf("host name %.40q: want 1 to 255 printable characters without spaces", host)
	}
	return nil
}

// A HostRequest is the public half of a HostKey: what a certificate is about.
type HostRequest struct {
	vault    string
	writer   ed25519.PublicKey
	metadata string
	host     string
}

const requestPrefix = "salvor-host"

// ParseHostRequest reads the line that String writes.
func ParseHostRequest(s string) (HostRequest, error) {
	var r HostRequest
	f := strings.Fields(s)
	if len(f) != 5 || f[0] != requestPrefix {
		return r, fmt.Errorf("host request: want the line that begins with %s", requestPrefix)
	}
	var id [vaultIDLen / 2]byte
	r = HostRequest{vault: f[1], writer: make([]byte, ed25519.PublicKeySize), metadata: f[3], host: f[4]}
	if err := errors.Join(parseHex(id[:], f[1]), parseHex(r.writer, f[2]), checkHost(r.host)); err != nil {
		return r, fmt.Errorf("host request: %w", err)
	}
	if _, _, err := parseRecipient(r.metadata); err != nil {
		return r, fmt.Errorf("host request: %w", ErrRecipients)
	}
	return r, nil
}

// ID names the writer key that the request is for.
func (r HostRequest) ID() WriterID { return writerID(r.writer) }

// Host is the machine's name.
func (r HostRequest) Host() string { return r.host }

// String gives one line that can be copied to the machine with the root key.
func (r HostRequest) String() string {
	return strings.Join([]string{requestPrefix, r.vault, hex.EncodeToString(r.writer), r.metadata, r.host}, " ")
}
