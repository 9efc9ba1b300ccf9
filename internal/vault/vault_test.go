package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// A fixture is a vault with an operator's identity and one certified host.
type fixture struct {
	t     testing.TB
	store *memStore
	id    *Identity
	v     *Vault
	host  *HostKey
	head  Head
}

var testTime = time.Date(2026, 11, 22, 3, 4, 5, 678, time.UTC)

func newFixture(t testing.TB) *fixture { return newFixtureWith(t, IdentityOptions{}) }

func newFixtureWith(t testing.TB, o IdentityOptions) *fixture {
	t.Helper()
	f := &fixture{t: t, store: newMem()}
	var err error
	if f.id, err = NewIdentity(o); err != nil {
		t.Fatal(err)
	}
	f.v, err = Create(t.Context(), f.store, CreateOptions{Root: f.id.Root(), Recipients: []string{f.id.Recipient()},
		Cutting: chunk.DefaultParams(), PackSize: MinPackSize, Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	f.host = f.newHost("mx1", RoleBackup, RoleUpkeep, RoleDecide)
	return f
}

func (f *fixture) newHost(name string, roles ...Role) *HostKey {
	f.t.Helper()
	h, err := f.v.NewHostKey(name)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.v.Certify(f.t.Context(), f.id.Root(), h.Request(), roles, testTime); err != nil {
		f.t.Fatal(err)
	}
	return h
}

func (f *fixture) commit(h *HostKey, c *Commit) {
	f.t.Helper()
	c.Time = testTime
	head, err := f.v.Commit(f.t.Context(), h, f.head, c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.head = head
}

// follow replays all commits from a head.
func (f *fixture) follow(after Head) ([]*Commit, error) {
	var all []*Commit
	err := f.v.Commits(f.t.Context(), after, func(c *Commit) error {
		all = append(all, c)
		return nil
	})
	return all, err
}

func (f *fixture) keys() []age.Identity { return []age.Identity{f.id.Key()} }

func TestCreateAndOpen(t *testing.T) {
	for _, o := range []IdentityOptions{{}, {PostQuantum: true}} {
		f := newFixtureWith(t, o)
		v, err := Open(t.Context(), f.store, f.host.Pin())
		if err != nil {
			t.Fatal(err)
		}
		got, want := v.Config(), f.v.Config()
		if got.ID != want.ID || got.Root != f.id.Root().Public() || !got.Created.Equal(testTime) ||
			got.Cutting != want.Cutting || got.PackSize != MinPackSize || got.Recipients[0] != f.id.Recipient() {
			t.Errorf("config %+v, want %+v", got, want)
		}
		if left := f.store.names("leases/"); len(left) != 0 {
			t.Errorf("the probe stays: %v", left)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	f := newFixture(t)
	good := CreateOptions{Root: f.id.Root(), Recipients: []string{f.id.Recipient()}, Cutting: chunk.DefaultParams()}
	hybrid, err := NewIdentity(IdentityOptions{PostQuantum: true})
	if err != nil {
		t.Fatal(err)
	}
	lostConfig := newMem()
	lostConfig.set("packs/ab/abcd", []byte("x"))
	secret := good
	secret.Recipients = []string{"AGE-SECRET-KEY-1QQQQ"}
	mixed := good
	mixed.Recipients = []string{f.id.Recipient(), hybrid.Recipient()}
	twice := good
	twice.Recipients = []string{f.id.Recipient(), f.id.Recipient()}
	none := good
	none.Recipients = nil
	small := good
	small.PackSize = 1 << 20
	for name, c := range map[string]struct {
		store objstore.Store
		o     CreateOptions
		want  error
	}{
		"existing":      {f.store, good, ErrVaultExists},
		"remains":       {lostConfig, good, ErrVaultExists},
		"overwriting":   {overwriting{newMem()}, good, ErrNotConditional},
		"secret":        {newMem(), secret, ErrRecipients},
		"mixed":         {newMem(), mixed, ErrRecipients},
		"twice":         {newMem(), twice, ErrRecipients},
		"no recipient":  {newMem(), none, ErrRecipients},
		"small packs":   {newMem(), small, nil},
		"no polynomial": {newMem(), CreateOptions{Root: f.id.Root(), Recipients: good.Recipients}, nil},
	} {
		_, err := Create(t.Context(), c.store, c.o)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET-KEY-1QQQQ") {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

// overwriting is a store that ignores the condition, as some S3 servers do.
type overwriting struct{ *memStore }

func (o overwriting) Put(_ context.Context, name string, b []byte) error {
	o.set(name, bytes.Clone(b))
	return nil
}

func TestOpenRefuses(t *testing.T) {
	f := newFixture(t)
	other := newFixture(t)
	config := f.store.objects[configName]
	change := func(old, new string) *memStore {
		m := f.store.clone()
		m.set(configName, bytes.Replace(config, []byte(old), []byte(new), 1))
		return m
	}
	attacker := newMem()
	attacker.set(configName, other.store.objects[configName])
	cut := newMem()
	cut.set(configName, config[:len(config)-10])
	big := newMem()
	big.set(configName, bytes.Repeat([]byte("a"), maxSmallText+1))
	for name, c := range map[string]struct {
		store objstore.Store
		want  error // nil: a DamageError
	}{
		"empty store":       {newMem(), ErrNoVault},
		"new version":       {change("salvor vault 1", "salvor vault 2"), ErrVersion},
		"other kind":        {change("salvor vault 1", "salvor commit 1"), nil},
		"changed recipient": {change(f.id.Recipient(), other.id.Recipient()), ErrNotAuthentic},
		"other root":        {attacker, ErrNotAuthentic},
		"unknown line":      {change("cutting ", "cuttings "), nil},
		"truncated":         {cut, nil},
		"too big":           {big, nil},
	} {
		_, err := Open(t.Context(), c.store, f.host.Pin())
		var d *DamageError
		if c.want == nil && !errors.As(err, &d) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Open(t.Context(), f.store, OpenOptions{ID: other.v.ID()}); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("other id: %v", err)
	}
}

func TestIdentityFile(t *testing.T) {
	for _, o := range []IdentityOptions{{}, {PostQuantum: true}} {
		id, err := NewIdentity(o)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "deep", "identity.txt")
		if err := id.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		if err := id.WriteFile(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second write: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		ids, err := ReadIdentities(t.Context(), IdentitySources{Files: []string{path}, Command: "cat '" + path + "'"})
		if err != nil {
			t.Fatal(err)
		}
		if len(ids.Keys) != 2 || ids.Recipients[0] != id.Recipient() || ids.Recipients[1] != id.Recipient() || len(ids.Warnings) != 0 {
			t.Errorf("read %+v", ids)
		}
		if root, err := ids.Root(id.Root().Public()); err != nil || root.Public() != id.Root().Public() {
			t.Errorf("root %v, %v", root, err)
		}
		if _, err := ids.Root(RootPublic{1}); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("other root: %v", err)
		}
		// The age program's own parser reads the file.
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := age.ParseIdentities(f); err != nil || len(keys) != 1 {
			t.Errorf("age reads %d keys, %v", len(keys), err)
		}
		f.Close()
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		ids, err = ReadIdentities(t.Context(), IdentitySources{Files: []string{path}})
		if err != nil || len(ids.Warnings) != 1 || !strings.Contains(ids.Warnings[0].String(), "chmod") {
			t.Errorf("readable by others: %+v, %v", ids, err)
		}
	}
}

func TestIdentityErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id, _ := NewIdentity(IdentityOptions{})
	secret := id.secret
	broken := secret[:len(secret)-3] + "QQQ"
	for name, c := range map[string]struct {
		from IdentitySources
		want error
	}{
		"nothing":     {IdentitySources{}, ErrNoIdentity},
		"no key":      {IdentitySources{Files: []string{write("a", "# only words\n")}}, ErrNoIdentity},
		"missing":     {IdentitySources{Files: []string{dir + "/none"}}, fs.ErrNotExist},
		"broken":      {IdentitySources{Files: []string{write("b", broken+"\n")}}, nil},
		"broken root": {IdentitySources{Files: []string{write("c", rootSecretLine+strings.ToUpper(broken)+"\n"+secret+"\n")}}, nil},
		"failing":     {IdentitySources{Command: "echo " + secret + "; exit 3"}, nil},
		"huge":        {IdentitySources{Command: "head -c 2000000 /dev/zero"}, nil},
	} {
		_, err := ReadIdentities(t.Context(), c.from)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && strings.Contains(strings.ToUpper(err.Error()), broken[20:40]) {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

func TestHostKeyFile(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "host.key")
	if err := f.host.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHostKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if h.ID() != f.host.ID() || h.Host() != "mx1" || h.Pin() != f.host.Pin() || h.Request().String() != f.host.Request().String() || h.Warning() != nil {
		t.Errorf("read %v, want %v", h, f.host)
	}
	r, err := ParseHostRequest(h.Request().String())
	if err != nil || r.ID() != h.ID() || r.Host() != "mx1" {
		t.Errorf("request %v, %v", r, err)
	}
	b, _ := os.ReadFile(path)
	for _, line := range strings.SplitAfter(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := parseHostKey([]byte(strings.Replace(string(b), line, "", 1))); err == nil {
			t.Errorf("read without the line %.10s", line)
		}
		if _, err := parseHostKey([]byte(string(b) + line)); err == nil {
			t.Errorf("read with the line %.10s twice", line)
		}
	}
	if _, err := ReadHostKey(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	f := newFixture(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, x := range []any{f.id, f.host, f.id.Root()} {
			s := strings.ToUpper(fmt.Sprintf(verb, x))
			if strings.Contains(s, "SECRET") || len(s) > 200 {
				t.Errorf("%s of %T prints %s", verb, x, s)
			}
		}
	}
}
