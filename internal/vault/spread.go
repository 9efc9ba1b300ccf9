package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/parity"
)

// ErrForeign says that a store is none of a vault's targets: it holds another
// one, or something else.
var ErrForeign = errors.New("it is no target of this vault")

const (
	targetIDLen = 16 // hexadecimal digits
	targetName  = parity.OwnPrefix + "target"
	fillingName = parity.OwnPrefix + "filling"
	targetText  = "salvor target 1\n"
)

// A Target is one of the stores that a vault with parity is spread over.
type Target struct {
	ID  string // 16 hexadecimal digits; the target knows it too, wherever it is mounted
	URL string // where it was when the vault was made
}

// wholeName tells the objects that every target gets a copy of: all but those
// that are named by their content.
func wholeName(name string) bool {
	return !hashedName(name) && !strings.HasPrefix(name, asidePrefix)
}

// SpreadConfig reads the config of a vault with parity from one of its
// targets; ok is false for any other store.
func SpreadConfig(ctx context.Context, st objstore.Store) (c Config, ok bool, err error) {
	b, err := getUnlisted(ctx, st, configName, maxSmallText)
	if errors.Is(err, objstore.ErrNotExist) {
		return Config{}, false, nil
	}
	if err != nil {
		return Config{}, false, err
	}
	body, ok := parity.Unwrap(b)
	if !ok { // a plain vault, a plain copy of one with parity, or damage that Open tells of
		return Config{}, false, nil
	}
	if c, err = parseConfig(body); err != nil {
		return Config{}, false, err
	}
	return c, len(c.Targets) > 0, nil
}

// IsTarget tells whether a store says of itself that it is a target, of
// whichever vault.
func IsTarget(ctx context.Context, st objstore.Store) bool {
	_, err := getUnlisted(ctx, st, targetName, maxSmallText)
	return err == nil
}

// TargetHints are the URLs of targets that a store's config names, even where
// it is damaged. They are places to look at and prove nothing.
func TargetHints(ctx context.Context, st objstore.Store) (urls []string) {
	b, err := getUnlisted(ctx, st, configName, maxSmallText)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "target" && objstore.CheckURL(words[2]) == nil {
			urls = append(urls, words[2])
		}
	}
	return urls
}

// OpenTarget is the store of one of Config.Targets, or why there is none.
type OpenTarget struct {
	URL   string // as it was opened, for messages
	Store objstore.Store
	Err   error
}

// Spread puts the store of a vault with parity together: opened are its
// targets in the order of Config.Targets, and then what else may be one. Each
// is known by what it says of itself, so two disks that changed places are told
// apart. A target that holds something else counts as away; one that holds
// nothing was replaced.
func (c Config) Spread(ctx context.Context, opened []OpenTarget) (*parity.Store, error) {
	all := make([]parity.Target, len(c.Targets))
	var empty []int
	for i, o := range opened[:len(all)] {
		at, blank, err := -1, false, o.Err
		if err == nil {
			at, blank, err = c.recognize(ctx, o.Store)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && at < 0:
			empty = append(empty, i)
		case err == nil && all[at].Store != nil:
			err = fmt.Errorf("%w: %s is the same one", ErrForeign, all[at].Label)
		case err == nil:
			all[at] = parity.Target{Label: o.URL, Store: o.Store, Blank: blank}
		}
		if err != nil && all[i].Store == nil {
			all[i] = parity.Target{Label: o.URL, Err: err}
		}
	}
	for _, o := range opened[len(all):] {
		if at, blank, err := c.recognize(ctx, o.Store); err == nil && at >= 0 && all[at].Store == nil {
			all[at] = parity.Target{Label: o.URL, Store: o.Store, Blank: blank}
		}
	}
	for _, i := range empty {
		if all[i].Store == nil {
			all[i] = parity.Target{Label: opened[i].URL, Store: opened[i].Store, Blank: true}
		}
	}
	for i := range all {
		if all[i].Label == "" { // its place is taken by one that changed places with nobody
			all[i] = parity.Target{Label: c.Targets[i].URL, Err: fmt.Errorf("%w: another one lies there", ErrForeign)}
		}
	}
	return parity.New(parity.Options{Layout: c.Layout, Targets: all, Whole: wholeName,
		Sum: func(name string) ([32]byte, bool) { o, ok := objectOf(name); return o.ID, ok }})
}

// recognize tells which target a store is, -1 for an empty one, and whether it
// is still being filled.
func (c Config) recognize(ctx context.Context, st objstore.Store) (at int, blank bool, err error) {
	for _, name := range []string{targetName, fillingName} {
		b, err := getUnlisted(ctx, st, name, maxSmallText)
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		if err != nil {
			return -1, false, err
		}
		for i := range c.Targets {
			if string(b) == c.targetMark(i) {
				return i, name == fillingName, nil
			}
		}
		return -1, false, fmt.Errorf("%w: it is a target of another one", ErrForeign)
	}
	some, err := anything(ctx, st)
	if err == nil && some != "" {
		err = fmt.Errorf("%w: it holds %s", ErrForeign, some)
	}
	return -1, false, err
}

// targetMark is what the target says of itself.
func (c Config) targetMark(i int) string {
	return targetText + "vault " + c.ID + "\ntarget " + c.Targets[i].ID + "\n"
}

// anything names an object of a store, "" when there is none.
func anything(ctx context.Context, st objstore.Store) (some string, err error) {
	errFound := errors.New("found")
	err = st.List(ctx, "", func(i objstore.Info) error {
		some = i.Name
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return some, err
}

// CreateSpread makes an empty vault with parity over targets, all of which
// must be there and empty. o is as for Create.
func CreateSpread(ctx context.Context, o CreateOptions, layout parity.Layout, targets []OpenTarget) (*Vault, error) {
	c := newConfig(o)
	c.Layout = layout
	for _, t := range targets {
		c.Targets = append(c.Targets, Target{ID: randomHex(targetIDLen / 2), URL: t.URL})
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	for i, t := range targets {
		err := prepareTarget(ctx, t.Store)
		if err == nil {
			err = t.Store.Put(ctx, targetName, []byte(c.targetMark(i)))
		}
		if err != nil {
			return nil, fmt.Errorf("create vault: target %d (%s): %w", i+1, t.URL, err)
		}
	}
	st, err := c.Spread(ctx, targets)
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if err := st.Put(ctx, configName, c.marshal(o.Root)); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	for _, t := range st.Troubles() {
		return nil, fmt.Errorf("create vault: target %s: %w", t.Target, t.Err)
	}
	return newVault(ctx, st, c)
}

// prepareTarget makes sure that a store is empty, but for what an init that
// was cut off has left, and that it creates only if absent.
func prepareTarget(ctx context.Context, st objstore.Store) error {
	if err := Vacant(ctx, st); err != nil {
		return err
	}
	if err := st.Delete(ctx, targetName); err != nil && !errors.Is(err, objstore.ErrDenied) {
		return err
	}
	return proveConditional(ctx, st)
}

// Vacant is ErrVaultExists unless a store holds nothing but what an init that
// was cut off has left.
func Vacant(ctx context.Context, st objstore.Store) error {
	err := st.List(ctx, "", func(i objstore.Info) error {
		if i.Name == targetName || strings.HasPrefix(i.Name, probePrefix) {
			return nil
		}
		return fmt.Errorf("%w: it holds %s", ErrVaultExists, i.Name)
	})
	return err
}

// Troubles are the targets of a vault with parity that do not do their part;
// none for any other vault.
func (v *Vault) Troubles() []parity.Trouble {
	if st, ok := v.store.(*parity.Store); ok {
		return st.Troubles()
	}
	return nil
}

// ScrubOptions say how deep Scrub looks and whether it repairs.
type ScrubOptions struct {
	Named  func(Object) bool // the objects that commits name; others are not looked at
	Deep   func(Object) bool // of these, the ones that are read; nil: none
	Repair bool
	Done   func(bytes int64) // called for every object, with what was read
}

// Scrub compares what lies on the targets of a vault with parity with what
// should, and repairs it; a target that was replaced is filled, and takes part
// again when it has everything. filled names those. It needs no identity. In
// any other vault it does nothing.
func (v *Vault) Scrub(ctx context.Context, o ScrubOptions, yield func(parity.Finding) error) (filled []string, err error) {
	st, ok := v.store.(*parity.Store)
	if !ok {
		return nil, nil
	}
	mark := func(slot int, name string) error {
		return st.Target(slot).Put(ctx, name, []byte(v.config.targetMark(slot)))
	}
	for _, slot := range st.Blank() {
		if o.Repair {
			if err := mark(slot, fillingName); err != nil {
				return nil, fmt.Errorf("fill target %s: %w", v.config.Targets[slot].URL, err)
			}
		}
	}
	full, err := st.Scrub(ctx, parity.ScrubOptions{Repair: o.Repair, Workers: 2,
		Only: func(name string) bool {
			object, ok := objectOf(name)
			return ok && o.Named(object) || wholeName(name) && !strings.HasPrefix(name, leasePrefix)
		},
		Deep: func(name string) bool {
			object, ok := objectOf(name)
			return ok && o.Deep != nil && o.Deep(object)
		},
		Fits: func(name string, body []byte) bool {
			object, ok := objectOf(name)
			return !ok || chunk.Sum(body) == object.ID
		},
		Done: func(_ string, bytes int64) {
			if o.Done != nil {
				o.Done(bytes)
			}
		},
	}, yield)
	for _, slot := range full {
		if err := mark(slot, targetName); err != nil {
			return filled, fmt.Errorf("fill target %s: %w", v.config.Targets[slot].URL, err)
		}
		if err := st.Target(slot).Delete(ctx, fillingName); err != nil {
			return filled, err
		}
		st.Filled(slot)
		filled = append(filled, st.Label(slot))
	}
	return filled, err
}

// objectOf gives the object that a name stands for, if it is one named by its
// content.
func objectOf(name string) (Object, bool) {
	for _, k := range []ObjectKind{ObjectPack, ObjectJournal, ObjectCheckpoint} {
		if o, ok := parseObjectName(k, name); ok && strings.HasPrefix(name, k.prefix()) {
			return o, true
		}
	}
	return Object{}, false
}
