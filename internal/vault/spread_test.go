package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/parity"
)

// spreadVault makes a vault over targets in memory.
func spreadVault(t *testing.T, layout parity.Layout) (*Vault, []*memStore, *Identity) {
	t.Helper()
	id, err := NewIdentity(IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var disks []*memStore
	var targets []OpenTarget
	for i := range layout.Targets {
		disks = append(disks, newMem())
		targets = append(targets, OpenTarget{URL: fmt.Sprintf("/mnt/disk %d", i+1), Store: disks[i]})
	}
	o := CreateOptions{Root: id.Root(), Recipients: []string{id.Recipient()}, Cutting: chunk.DefaultParams()}
	v, err := CreateSpread(t.Context(), o, layout, targets)
	if err != nil {
		t.Fatal(err)
	}
	return v, disks, id
}

var twoPlusOne = parity.Layout{Data: 2, Parity: 1, Targets: 3}

// reopen opens the vault by its disks in the order given; nil is away.
func reopenSpread(t *testing.T, c Config, disks ...*memStore) (*Vault, error) {
	t.Helper()
	var targets []OpenTarget
	for i, d := range disks {
		o := OpenTarget{URL: c.Targets[i].URL, Err: objstore.ErrNotExist}
		if d != nil {
			o.Store, o.Err = d, nil
		}
		targets = append(targets, o)
	}
	st, err := c.Spread(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	return Open(t.Context(), st, OpenOptions{Root: c.Root, ID: c.ID})
}

func TestSpreadConfig(t *testing.T) {
	v, disks, _ := spreadVault(t, twoPlusOne)
	for _, d := range disks {
		c, ok, err := SpreadConfig(t.Context(), d)
		if err != nil || !ok || c.ID != v.ID() || c.Layout != twoPlusOne || !slices.Equal(c.Targets, v.Config().Targets) {
			t.Errorf("read %+v, %v, %v", c, ok, err)
		}
	}
	if _, ok, err := SpreadConfig(t.Context(), newMem()); ok || err != nil {
		t.Errorf("an empty store is a target: %v", err)
	}
}

// TestPlainConfigKeepsItsForm is about vaults without parity: nothing in them
// says so.
func TestPlainConfigKeepsItsForm(t *testing.T) {
	v, _, id := spreadVault(t, twoPlusOne)
	c := v.Config()
	with := string(c.marshal(id.Root()))
	if strings.Count(with, "\ntarget ") != 3 || !strings.Contains(with, "\nparity 2+1\n") {
		t.Errorf("config:\n%s", with)
	}
	c.Targets, c.Layout = nil, parity.Layout{}
	if plain := string(c.marshal(id.Root())); strings.Contains(plain, "parity") || strings.Contains(plain, "target") {
		t.Errorf("config of a plain vault:\n%s", plain)
	}
}

func TestBadSpreads(t *testing.T) {
	v, _, id := spreadVault(t, twoPlusOne)
	for name, spoil := range map[string]func(*Config){
		"twice the same URL": func(c *Config) { c.Targets[1].URL = c.Targets[0].URL },
		"twice the same id":  func(c *Config) { c.Targets[1].ID = c.Targets[0].ID },
		"a short id":         func(c *Config) { c.Targets[1].ID = "ab" },
		"no id":              func(c *Config) { c.Targets[1].ID = "" },
		"a URL with a line":  func(c *Config) { c.Targets[1].URL = "a\nb" },
		"no data":            func(c *Config) { c.Layout.Data = 0 },
		"too many shards":    func(c *Config) { c.Layout.Data = 300 },
	} {
		c := v.Config()
		c.Targets = slices.Clone(c.Targets)
		spoil(&c)
		if _, err := parseConfig(c.marshal(id.Root())); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestTargetsAreKnown mounts disks elsewhere, replaces one, and puts foreign
// ones in their places.
func TestTargetsAreKnown(t *testing.T) {
	v, disks, _ := spreadVault(t, twoPlusOne)
	c := v.Config()
	other, foreign, _ := spreadVault(t, twoPlusOne)
	_ = other
	strange := newMem()
	if err := strange.Put(t.Context(), "photos/1.jpg", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		disks []*memStore
		want  []string // of the troubles
	}{
		{"as made", disks, nil},
		{"changed places", []*memStore{disks[2], disks[0], disks[1]}, nil},
		{"one away", []*memStore{disks[0], nil, disks[2]}, []string{"/mnt/disk 2: does not exist"}},
		{"one replaced", []*memStore{disks[0], newMem(), disks[2]}, []string{"/mnt/disk 2: blank"}},
		{"one of another vault", []*memStore{disks[0], foreign[1], disks[2]}, []string{"/mnt/disk 2: it is no target of this vault: it is a target of another one"}},
		{"something else", []*memStore{disks[0], strange, disks[2]}, []string{"/mnt/disk 2: it is no target of this vault: it holds photos/1.jpg"}},
		{"one twice", []*memStore{disks[0], disks[0], disks[2]}, []string{"/mnt/disk 2: it is no target of this vault: /mnt/disk 1 is the same one"}},
	} {
		v, err := reopenSpread(t, c, test.disks...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, tr := range v.Troubles() {
			if tr.Blank {
				got = append(got, tr.Target+": blank")
			} else {
				got = append(got, tr.Target+": "+tr.Err.Error())
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: troubles %q, want %q", test.name, got, test.want)
		}
	}
	if names := strange.names(""); !slices.Equal(names, []string{"photos/1.jpg"}) {
		t.Errorf("salvor wrote to somebody else's disk: %v", names)
	}
	if _, err := reopenSpread(t, c, disks[0], nil, nil); !errors.Is(err, objstore.ErrUnavailable) {
		t.Errorf("with two of three away: %v", err)
	}
}

// TestForgedTargetLosesTheVote has a target that somebody took over: it has a
// config of his own, of another root.
func TestForgedTargetLosesTheVote(t *testing.T) {
	v, disks, _ := spreadVault(t, twoPlusOne)
	_, forged, _ := spreadVault(t, twoPlusOne)
	disks[1].objects[configName] = forged[1].objects[configName]
	again, err := reopenSpread(t, v.Config(), disks...)
	if err != nil || again.ID() != v.ID() {
		t.Fatalf("open: %v", err)
	}
	var found []parity.Finding
	_, err = again.Scrub(t.Context(), ScrubOptions{Named: func(Object) bool { return true }, Repair: true}, func(f parity.Finding) error {
		found = append(found, f)
		return nil
	})
	if err != nil || len(found) != 1 || !found[0].Repaired || found[0].Object != configName {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestReplacedTargetVotesWhenFull fills a disk, the first time not to the end.
func TestReplacedTargetVotesWhenFull(t *testing.T) {
	v, disks, id := spreadVault(t, twoPlusOne)
	key, err := v.NewHostKey("host")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Certify(t.Context(), id.Root(), key.Request(), []Role{RoleBackup}, v.Config().Created); err != nil {
		t.Fatal(err)
	}
	fresh := newMem()
	disks[2] = fresh
	scrub := func(v *Vault) []string {
		t.Helper()
		filled, err := v.Scrub(t.Context(), ScrubOptions{Named: func(Object) bool { return true }, Repair: true}, func(parity.Finding) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return filled
	}
	fresh.before = func(op, name string) error {
		if op == "put" && strings.HasPrefix(name, keysPrefix) {
			return objstore.ErrFull
		}
		return nil
	}
	v, err = reopenSpread(t, v.Config(), disks...)
	if err != nil {
		t.Fatal(err)
	}
	if filled := scrub(v); len(filled) > 0 {
		t.Errorf("filled %v, though a key is missing", filled)
	}
	fresh.before = nil
	if v, err = reopenSpread(t, v.Config(), disks...); err != nil {
		t.Fatal(err)
	}
	if tr := v.Troubles(); len(tr) != 1 || !tr[0].Blank {
		t.Errorf("a half filled target counts: %+v", tr)
	}
	if filled := scrub(v); len(filled) != 1 {
		t.Errorf("filled %v", filled)
	}
	if v, err = reopenSpread(t, v.Config(), nil, disks[1], fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := v.writer(t.Context(), key.ID()); err != nil {
		t.Errorf("the key on the new disk: %v", err)
	}
	if slices.Contains(fresh.names(""), fillingName) {
		t.Error("the mark of filling is still there")
	}
}

// TestCutOffCreate begins to make a vault and fails at each write in turn; the
// next try succeeds.
func TestCutOffCreate(t *testing.T) {
	id, err := NewIdentity(IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := CreateOptions{Root: id.Root(), Recipients: []string{id.Recipient()}, Cutting: chunk.DefaultParams()}
	for nth := 1; ; nth++ {
		var targets []OpenTarget
		puts, configs := 0, 0
		for i := range 3 {
			d := newMem()
			d.before = func(op, name string) error {
				if op == "put" {
					if puts++; puts == nth {
						return context.Canceled
					}
					if name == configName {
						configs++
					}
				}
				return nil
			}
			targets = append(targets, OpenTarget{URL: fmt.Sprint("/", i), Store: d})
		}
		_, err := CreateSpread(t.Context(), o, twoPlusOne, targets)
		if err == nil {
			break
		}
		if configs > 0 {
			continue // there is a vault now, which the next try does not touch
		}
		puts = 1000
		if _, err := CreateSpread(t.Context(), o, twoPlusOne, targets); err != nil {
			t.Errorf("after write %d failed: %v", nth, err)
		}
	}
}
