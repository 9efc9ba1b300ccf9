package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/internal/pace"
)

func TestLoadExample(t *testing.T) {
	c, err := Load("../../docs/salvor.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	month := 30 * day
	want := Default()
	want.File = "../../docs/salvor.example.toml"
	want.Vault = "/srv/backup/mail"
	want.Catalog = "/var/lib/salvor/catalog.db"
	want.Source = "maildir:/var/vmail/%d/%n/Maildir"
	want.ExcludeFolders = []string{"Cache/*"}
	want.JunkFolders = []string{"Quarantine"}
	want.RedeliverFolder = "Recovered"
	want.MinFreeSpace = 2e9
	want.Users["bob@example.org"] = User{KeepDeleted: &month}
	want.Targets["s3://mail-backup/server3"] = Target{CredentialsFile: "/etc/salvor/s3.credentials"}
	want.Rates["imaps://admin@new.example.org"] = pace.Rate{Messages: 300, Bytes: 30e6}
	want.Targets["/mnt/c/mail"] = Target{URL: "/media/newdisk/mail"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if c.KeepDeletedFor("bob@example.org") != month || c.KeepDeletedFor("carol") != week {
		t.Error("keep-deleted by user is wrong")
	}
	for url, want := range map[string]string{
		"s3://mail-backup/server3":                                   "/etc/salvor/s3.credentials",
		"s3://mail-backup/server3?endpoint=https://s3.example.org:1": "/etc/salvor/s3.credentials",
		"s3://mail-backup/server33":                                  "",
	} {
		if got := c.CredentialsFor(url); got != want {
			t.Errorf("%s: credentials in %q, want %q", url, got, want)
		}
	}
}

// Every key that a file may hold is explained in the example.
func TestExampleNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/salvor.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]string{names(topKeys), names(brakeKeys), names(userKeys), names(targetKeys)} {
		for _, key := range keys {
			if !strings.Contains(string(text), "\n"+key+" = ") && !strings.Contains(string(text), "\n# "+key+" = ") {
				t.Errorf("the example does not show %s", key)
			}
		}
	}
}

func TestParseAllKeys(t *testing.T) {
	c, err := parse("x.toml", []byte(`
vault = "s3://b/p?endpoint=http://127.0.0.1:7070"
identity = "/k/one"
identity-command = "cat /k"
user = "alice"
include-junk = true
erase-grace = "0"
tombstones-keep = "4w"
pace = "10msg/s,1MiB/s"
on-gate = "exit 1"
min-free-space = 1000
[brake]
user-percent = 12.5
user-messages = 0
partition-percent = 5
[users]
eve.keep-deleted = "0"
[rates]
"imaps://admin@" = "5msg/s"
"imaps://admin@new" = "unlimited"
"maildir:/srv/" = "1MB/s"
[users."a.b@c"]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File, want.Vault = "x.toml", "s3://b/p?endpoint=http://127.0.0.1:7070"
	want.Identity, want.IdentityCommand, want.User = []string{"/k/one"}, "cat /k", "alice"
	want.IncludeJunk, want.EraseGrace, want.TombstonesKeep = true, 0, 28*day
	want.OnGate = "exit 1"
	want.Pace, want.MinFreeSpace = pace.Rate{Messages: 10, Bytes: 1 << 20}, 1000
	want.Rates["imaps://admin@"], want.Rates["imaps://admin@new"], want.Rates["maildir:/srv/"] = pace.Rate{Messages: 5}, pace.Rate{}, pace.Rate{Bytes: 1e6}
	want.Brake = Brake{UserPercent: 12.5, PartitionPercent: 5}
	want.Users["eve"], want.Users["a.b@c"] = User{KeepDeleted: new(time.Duration)}, User{}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	for store, want := range map[string]string{
		"imaps://admin@old.example.org": "5msg/s", "imaps://admin@new.example.org": "unlimited", "maildir:/srv/x/%u": "1MB/s",
		"imap://admin@old": "10msg/s,1048.576kB/s", "maildir:/srv": "10msg/s,1048.576kB/s", "": "10msg/s,1048.576kB/s",
	} {
		if got := c.PaceFor(store).String(); got != want {
			t.Errorf("the pace for %q is %s, want %s", store, got, want)
		}
	}
	if c.KeepDeletedFor("eve") != 0 {
		t.Error("a user's own zero is not taken")
	}
}

func TestWrongLines(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\nvalt = \"/x\"", `f.toml:2: valt: unknown key (did you mean "vault"?)`},
		{"keep_deleted = \"3d\"", `f.toml:1: keep_deleted: unknown key (did you mean "keep-deleted"?)`},
		{"zzzzqqq = 1", `f.toml:1: zzzzqqq: unknown key`},
		{"[brake]\n\nuser-percnt = 3", `f.toml:3: brake.user-percnt: unknown key (did you mean "user-percent"?)`},
		{"[user.x]\nkeep-deleted = \"3d\"", `f.toml:1: user: must be a string`},
		{"[usrs.x]\nkeep-deleted = \"3d\"", `f.toml:1: usrs: unknown key (did you mean "users"?)`},
		{"[users.\"a b\"]\nkeep = \"3d\"", `f.toml:2: users."a b".keep: unknown key`},
		{"[users.bob]\nkeep-deleted = \"3x\"", `f.toml:2: users."bob".keep-deleted: "3x" is no duration`},
		{"[targets.\"s3://b\"]\ncredentials-file = \"x\"", `f.toml:2: targets."s3://b".credentials-file: must be an absolute path, not "x"`},
		{"[targets.\"s3://b\"]\nsecret-key = \"x\"", `f.toml:2: targets."s3://b".secret-key: unknown key`},
		{"users = 3", `f.toml:1: users: must be a table: [users]`},
		{"[users]\nbob = \"3d\"", `f.toml:2: users."bob": must be a table`},
		{"[[brake]]\nuser-percent = 3", `brake: must be a table: [brake]`},
		{"keep-deleted = 7", `f.toml:1: keep-deleted: must be a duration in quotes, as in "168h" or "7d", not a number`},
		{"keep-deleted = \"-3d\"", `"-3d" is no duration`},
		{"vault = [\"/x\"]", `f.toml:1: vault: must be a string, not a list`},
		{"vault = \"backup\"", `f.toml:1: vault: must be an absolute path, not "backup"`},
		{"catalog = \"a:b\"", `f.toml:1: catalog: must be an absolute path, not "a:b"`},
		{"source = \"imaps://admin:geheim@host\"", `f.toml:1: source: holds a password`},
		{"user = \"a\\u0000b\"", `f.toml:1: user: must not hold a NUL`},
		{"identity = [\"/a\", \"b\"]", `f.toml:1: identity: item 2: must be an absolute path, not "b"`},
		{"identity = [\"/a\", 3]", `f.toml:1: identity: item 2: must be a string, not a number`},
		{"exclude-folders = \"Junk\"", `f.toml:1: exclude-folders: must be a list of strings, as in ["one", "two"], not a string`},
		{"exclude-folders = [\"\"]", `f.toml:1: exclude-folders: item 1: must not be empty`},
		{"include-junk = \"yes\"", `f.toml:1: include-junk: must be true or false, not a string`},
		{"pace = \"20/s\"", `f.toml:1: pace: "20/s" is no rate`},
		{"pace = 20", `f.toml:1: pace: must be a rate in quotes`},
		{"rates = \"1msg/s\"", `f.toml:1: rates: must be a table: [rates]`},
		{"[rates]\n\"imaps://x\" = 5", `f.toml:2: rates."imaps://x": must be a rate in quotes`},
		{"[rates]\n\"imaps://x\" = \"fast\"", `f.toml:2: rates."imaps://x": "fast" is no rate`},
		{"[rates]\n\"imaps://a:geheim@x\" = \"1msg/s\"", `f.toml:2: rates: holds a password`},
		{"[rates]\nnew = \"1msg/s\"", `f.toml:2: rates: must be an absolute path, not "new"`},
		{"min-free-space = -1", `f.toml:1: min-free-space: must be a size, as in "2GB", not a number`},
		{"min-free-space = \"2 gigs\"", `f.toml:1: min-free-space: "2 gigs" is no size`},
		{"[brake]\nuser-percent = nan", `f.toml:2: brake.user-percent: must be more than 0`},
		{"[brake]\nuser-percent = 101", `f.toml:2: brake.user-percent: must be more than 0 and at most 100 percent`},
		{"[brake]\nuser-percent = true", `f.toml:2: brake.user-percent: must be a number of percent, not true or false`},
		{"[brake]\nuser-messages = 1.5", `f.toml:2: brake.user-messages: must be a whole number, not a number`},
		{"[brake]\nuser-messages = -1", `f.toml:2: brake.user-messages: must be between 0 and`},
		{"vault = ", `f.toml:1: `},
		{"a = 1\nvault = \"/x\"\nvault = \"/y\"", `f.toml:3: `},
	} {
		_, err := parse("f.toml", []byte(c.text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestAllWrongLinesAtOnceInOrder(t *testing.T) {
	_, err := parse("f.toml", []byte("pace = \"x\"\nvalt = 1\n[brake]\nfoo = 1\nuser-percent = 0\n"))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Fatalf("got %d lines, want 4:\n%v", len(lines), err)
	}
	for i, prefix := range []string{"f.toml:1: pace", "f.toml:2: valt", "f.toml:4: brake.foo", "f.toml:5: brake.user-percent"} {
		if !strings.HasPrefix(lines[i], prefix) {
			t.Errorf("line %d is %q, want %q", i, lines[i], prefix)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(big); err == nil || !strings.Contains(err.Error(), "not a configuration file") {
		t.Errorf("big file: %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	system, own := filepath.Join(dir, "etc.toml"), filepath.Join(dir, "xdg", "salvor", "salvor.toml")
	home := filepath.Join(dir, "home", ".config", "salvor", "salvor.toml")
	env := map[string]string{"HOME": filepath.Join(dir, "home"), "XDG_CONFIG_HOME": filepath.Join(dir, "xdg")}
	places := Places{Getenv: func(k string) string { return env[k] }, System: system}
	expect := func(want string) {
		t.Helper()
		if got, err := places.Find(); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	write := func(file string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	expect("")
	write(home)
	expect("") // XDG_CONFIG_HOME is set, so ~/.config is not looked at
	write(own)
	expect(own)
	env["XDG_CONFIG_HOME"] = "relative"
	expect(home)
	write(system)
	expect(system)
	env[EnvFile] = own
	expect(own)
	env[EnvFile] = filepath.Join(dir, "none")
	if _, err := places.Find(); err == nil || !strings.Contains(err.Error(), EnvFile) {
		t.Errorf("a named file that is missing: %v", err)
	}
	env[EnvFile], places.System = "", filepath.Join(own, "below-a-file")
	if _, err := places.Find(); err == nil {
		t.Error("a place that cannot be looked at is passed over")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("vault = \"/x\"\n[brake]\nuser-percent = 3\n[users.x]\nkeep-deleted = \"1d\"")
	f.Add("[[users]]\nx = [1, {a = 2}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("f", []byte(text))
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
	})
}
