package vault

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"salvor/chunk"
	"salvor/internal/parity"
)

// Bounds of Config.PackSize, in stored bytes, and what Create takes for 0.
const (
	MinPackSize     = 16 << 20
	MaxPackSize     = 64 << 20
	DefaultPackSize = 16 << 20
)

const (
	configName    = "config"
	configText    = "vault"
	vaultIDLen    = 32 // hexadecimal digits
	maxRecipients = 64
)

// Config is what is fixed for the life of a vault (section "config").
type Config struct {
	ID         string // 32 hexadecimal digits
	Version    int    // of the format: 1
	Created    time.Time
	Root       RootPublic
	Recipients []string     // age recipients, all of one sort
	Cutting    chunk.Params // how messages are cut
	PackSize   int64        // stored bytes at which a pack is full
	// Layout and Targets say how the vault is spread; no Targets: it lies in one
	// store, without parity.
	Layout  parity.Layout
	Targets []Target
	// Lock says how objects are locked in their store; zero: they are not.
	Lock LockRule
}

// AgeRecipients are the Recipients, parsed; ErrRecipients when they are
// malformed or mixed.
func (c Config) AgeRecipients() ([]age.Recipient, error) {
	return parseRecipients(c.Recipients)
}

// postQuantum tells which sort of recipients the vault has.
func (c Config) postQuantum() bool {
	return len(c.Recipients) > 0 && isHybrid(c.Recipients[0])
}

func isHybrid(recipient string) bool { return strings.HasPrefix(recipient, "age1pq1") }

// parseRecipients accepts X25519 or hybrid recipients, never both: an object
// would be only as safe as the weaker of them, and age refuses to make it.
func parseRecipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 || len(texts) > maxRecipients {
		return nil, fmt.Errorf("%w: want 1 to %d of them, not %d", ErrRecipients, maxRecipients, len(texts))
	}
	var parsed []age.Recipient
	seen := map[string]bool{}
	for n, s := range texts {
		if strings.HasPrefix(strings.ToUpper(s), "AGE-SECRET-KEY") {
			return nil, fmt.Errorf("%w: number %d is a secret key; give the public age1... line", ErrRecipients, n+1)
		}
		if isHybrid(s) != isHybrid(texts[0]) {
			return nil, fmt.Errorf("%w: age1pq1... (post-quantum) and age1... (X25519) cannot be mixed", ErrRecipients)
		}
		r, canonical, err := parseRecipient(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %.70q is no age1... or age1pq1... recipient", ErrRecipients, s)
		}
		if canonical != s || seen[s] {
			return nil, fmt.Errorf("%w: %.70q is written oddly or given twice", ErrRecipients, s)
		}
		seen[s] = true
		parsed = append(parsed, r)
	}
	return parsed, nil
}

func parseRecipient(s string) (age.Recipient, string, error) {
	if isHybrid(s) {
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			return nil, "", err
		}
		return r, r.String(), nil
	}
	r, err := age.ParseX25519Recipient(s)
	if err != nil {
		return nil, "", err
	}
	return r, r.String(), nil
}

// validate says what no config may have, whoever signed it.
func (c Config) validate() error {
	if err := c.Cutting.Validate(); err != nil {
		return err
	}
	if c.PackSize < MinPackSize || c.PackSize > MaxPackSize {
		return fmt.Errorf("pack size %d: want %d to %d", c.PackSize, MinPackSize, MaxPackSize)
	}
	if err := c.validateTargets(); err != nil {
		return err
	}
	if err := c.validateLock(); err != nil {
		return err
	}
	_, err := c.AgeRecipients()
	return err
}

func (c Config) validateTargets() error {
	if len(c.Targets) == 0 {
		return nil
	}
	seen := map[string]bool{}
	for _, t := range c.Targets {
		if len(t.ID) != targetIDLen || checkValue(t.URL) != nil || seen[t.ID] || seen[t.URL] {
			return fmt.Errorf("target %.100q: named twice, or not well", t.URL)
		}
		seen[t.ID], seen[t.URL] = true, true
	}
	if c.Layout.Targets != len(c.Targets) {
		return fmt.Errorf("%w: %d targets, not %d", parity.ErrLayout, len(c.Targets), c.Layout.Targets)
	}
	return c.Layout.Validate()
}

func (c Config) marshal(root *RootKey) []byte {
	w := newText(configText)
	w.line("id", c.ID)
	w.line("created", formatTime(c.Created))
	w.line("root", hex.EncodeToString(c.Root[:]))
	for _, r := range c.Recipients {
		w.line("recipient", r)
	}
	w.line("cutting", c.Cutting.String())
	w.line("pack-size", strconv.FormatInt(c.PackSize, 10))
	if c.Lock.Days > 0 {
		w.line("lock", c.Lock.String())
	}
	if len(c.Targets) > 0 {
		w.line("parity", c.Layout.String())
	}
	for _, t := range c.Targets {
		w.line("target", t.ID+" "+t.URL)
	}
	return w.sign(root.key)
}

// parseConfig reads and verifies a config by the root key that it names
// itself. Whether that is the right root is the caller's question.
func parseConfig(b []byte) (Config, error) {
	t, err := parseText(configName, configText, b)
	if err != nil {
		return Config{}, err
	}
	c := Config{Version: 1}
	c.ID = t.vaultID("id")
	c.Created = t.time("created")
	t.hex(c.Root[:], "root")
	for v, ok := t.next("recipient"); ok; v, ok = t.next("recipient") {
		c.Recipients = append(c.Recipients, v)
	}
	cutting := t.one("cutting")
	c.PackSize = int64(t.number("pack-size"))
	lock, locks := t.next("lock")
	layout, spread := t.next("parity")
	for v, ok := t.next("target"); ok && spread; v, ok = t.next("target") {
		var raw [targetIDLen / 2]byte
		id, url, _ := strings.Cut(v, " ")
		if parseHex(raw[:], id) != nil {
			t.fail("an id and a URL in a line %q", "target")
		}
		c.Targets = append(c.Targets, Target{ID: id, URL: url})
	}
	if err := t.done(); err != nil {
		return Config{}, err
	}
	if err := t.verify(ed25519.PublicKey(c.Root[:]), c.Root.String()); err != nil {
		return Config{}, err
	}
	if err := c.Cutting.UnmarshalText([]byte(cutting)); err != nil || c.Cutting.String() != cutting {
		return Config{}, &DamageError{Object: configName, Offset: -1, Expected: "cutting parameters", Err: err}
	}
	if locks {
		if c.Lock, err = ParseLockRule(lock); err != nil {
			return Config{}, &DamageError{Object: configName, Offset: -1, Expected: "a rule for locks", Err: err}
		}
	}
	if spread {
		if c.Layout, err = parity.ParseLayout(layout, len(c.Targets)); err != nil {
			return Config{}, &DamageError{Object: configName, Offset: -1, Expected: "a layout of parity", Err: err}
		}
	}
	if err := c.validate(); err != nil {
		return Config{}, &DamageError{Object: configName, Offset: -1, Expected: "usable values", Err: err}
	}
	return c, nil
}

// vaultID takes a line that holds a vault's id.
func (t *text) vaultID(key string) string {
	var raw [vaultIDLen / 2]byte
	t.hex(raw[:], key)
	return hex.EncodeToString(raw[:])
}
