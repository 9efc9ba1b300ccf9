package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func TestOpenErrors(t *testing.T) {
	sqliteFile := func(script string) func(string) error {
		return func(path string) error {
			db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
			if err != nil {
				return err
			}
			return errors.Join(sqlitex.ExecuteScript(db, script, nil), db.Close())
		}
	}
	file := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want error
	}{
		"nothing":              {func(string) error { return nil }, ErrNotExist},
		"a directory":          {func(path string) error { return os.Mkdir(path, 0o700) }, ErrDamaged},
		"text":                 {file(strings.Repeat("not a database, but long enough for a header\n", 50)), ErrDamaged},
		"zeroes":               {file(strings.Repeat("\x00", 8192)), ErrDamaged},
		"another program's":    {sqliteFile("CREATE TABLE bookmarks (url TEXT)"), ErrDamaged},
		"newer":                {sqliteFile("PRAGMA application_id = 0x73616c76; PRAGMA user_version = 99; CREATE TABLE head (x)"), ErrSchema},
		"tables and no schema": {sqliteFile("PRAGMA application_id = 0x73616c76; CREATE TABLE head (x)"), ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.db")
			must(t, c.make(path))
			before, _ := os.ReadFile(path)
			_, err := Open(path, Options{MustExist: true})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "hint: ") {
				t.Fatalf("%v, want %v with path and hint", err, c.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestDamage flips bytes all over a catalog: it opens or says that it is
// damaged, and every answer is right or an error.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.db")
	c, err := Open(path, Options{})
	must(t, err)
	apply(t, c, sample()...)
	must(t, c.Close())
	good, err := os.ReadFile(path)
	must(t, err)
	broken := filepath.Join(dir, "broken.db")
	for at := 0; at < len(good); at += 1021 {
		bad := append([]byte(nil), good...)
		for i := at; i < min(at+64, len(bad)); i++ {
			bad[i] ^= 0xa5
		}
		must(t, os.WriteFile(broken, bad, 0o600))
		readAll(t, broken)
	}
	for _, size := range []int{0, 50, 100, 8192, len(good) / 2, len(good) - 1} {
		must(t, os.WriteFile(broken, good[:size], 0o600))
		readAll(t, broken)
	}
}

// readAll must not panic.
func readAll(t *testing.T, path string) {
	c, err := Open(path, Options{})
	if err == nil {
		err = c.Dump(ctx, func([]byte) error { return nil })
		err = errors.Join(err, c.Entries(ctx, Query{}, func(*Entry) error { return nil }))
		must(t, c.Close())
	}
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrSchema) && sqlite.ErrCode(err) == sqlite.ResultError {
		t.Logf("%v", err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func TestFileModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "c.db")
	c, err := Open(path, Options{})
	must(t, err)
	apply(t, c, sample()...)
	wantPrivate(t, path)
	must(t, os.Chmod(path, 0o644)) // as after a copy by hand
	must(t, c.Close())
	c, err = Open(path, Options{})
	must(t, err)
	apply(t, c, Ack{Attention: "again"})
	wantPrivate(t, path)
	must(t, c.Close())
}

func wantPrivate(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %o", info.Name(), info.Mode().Perm())
		}
	}
}

func TestHead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	c, err := Open(path, Options{})
	must(t, err)
	if h, err := c.Head(); err != nil || h != (Head{}) {
		t.Fatalf("new catalog: %v, %v", h, err)
	}
	apply(t, c, Ack{Attention: "x"})
	want := Head{Vault: "v", Number: 1, Hash: testID("commit 1")}
	must(t, c.Close())
	c = reopen(t, path)
	if h, err := c.Head(); err != nil || h != want {
		t.Fatalf("%v, %v, want %v", h, err, want)
	}
	for name, try := range map[string]struct {
		head Head
		want error
	}{
		"another vault": {Head{Vault: "w", Number: 2}, ErrForeign},
		"back":          {Head{Vault: "v", Number: 0, Hash: want.Hash}, ErrRow},
		"another one":   {Head{Vault: "v", Number: 1, Hash: testID("other")}, ErrRow},
		"too high":      {Head{Vault: "v", Number: 1 << 63}, ErrRow},
	} {
		tx := begin(t, c)
		must(t, tx.Put(Ack{Attention: name}))
		if err := tx.Commit(try.head); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
		if strings.Contains(dump(t, c), name) {
			t.Errorf("%s: committed all the same", name)
		}
	}
	tx := begin(t, c)
	must(t, tx.Commit(want)) // the same again
}

// TestOtherProcess: a second opening stands for a second process.
func TestOtherProcess(t *testing.T) {
	c := newCatalog(t)
	other, err := Open(c.Path(), Options{MustExist: true, Wait: 50 * time.Millisecond})
	must(t, err)
	defer func() { must(t, other.Close()) }()
	tx := begin(t, c)
	must(t, tx.Put(sample()...))
	if _, err := other.Begin(ctx); !errors.Is(err, ErrBusy) {
		t.Fatalf("%v, want ErrBusy", err)
	}
	if got := dump(t, other); got != "" {
		t.Errorf("the other process sees uncommitted rows: %s", got)
	}
	commit(t, tx)
	if got, want := dump(t, other), dump(t, c); got != want {
		t.Error(firstDifference(got, want))
	}
	apply(t, other, Ack{Attention: "from the other side"})
	if got, want := dump(t, c), dump(t, other); got != want {
		t.Error(firstDifference(got, want))
	}
}

func TestClosed(t *testing.T) {
	c := newCatalog(t)
	tx := begin(t, c)
	must(t, tx.Rollback())
	must(t, tx.Rollback())
	for what, err := range map[string]error{
		"Put":    tx.Put(Ack{Attention: "x"}),
		"Apply":  tx.Apply([]byte(`{"put":"ack","row":{"attention":"x"}}`)),
		"Commit": tx.Commit(Head{Vault: "v", Number: 1}),
		"Users":  tx.Users(ctx, func(*User) error { return nil }),
		"Clear":  tx.Clear(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
	must(t, c.Close())
	must(t, c.Close())
	if _, err := c.Begin(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Begin: %v", err)
	}
	if _, err := c.Head(); !errors.Is(err, ErrClosed) {
		t.Errorf("Head: %v", err)
	}
}

// TestDeletedIsOverwritten looks for the bytes of a deleted row in the file and
// its log.
func TestDeletedIsOverwritten(t *testing.T) {
	c := newCatalog(t)
	secret := strings.Repeat("a very private subject ", 20)
	pack := testID("pack")
	apply(t, c, Pack{ID: pack, Size: 1}, frame(pack, 0, message(pack)), Content{ID: pack, Subject: secret})
	if !onDisk(t, c.Path(), secret) {
		t.Fatal("the test does not find what is there")
	}
	tx := begin(t, c)
	must(t, tx.Delete(Content{ID: pack}))
	commit(t, tx)
	if onDisk(t, c.Path(), "very private") {
		t.Error("a deleted subject is still in the file or its log")
	}
}

func onDisk(t *testing.T, path, what string) bool {
	found := false
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		must(t, err)
		found = found || strings.Contains(string(b), what)
	}
	return found
}

// TestMigration opens a catalog of today's with a schema that is one ahead.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	c, err := Open(path, Options{})
	must(t, err)
	apply(t, c, sample()...)
	want := dump(t, c)
	must(t, c.Close())
	ours := migrations
	defer func() { migrations = ours }()
	migrations = append(ours[:len(ours):len(ours)], "CREATE TABLE later (x INTEGER) STRICT; this is no SQL")
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("schema ", len(migrations))) {
		t.Fatalf("a migration that fails: %v", err)
	}
	migrations[len(ours)] = "CREATE TABLE later (x INTEGER) STRICT"
	for range 2 {
		c, err = Open(path, Options{})
		must(t, err)
		if got := dump(t, c); got != want {
			t.Fatal(firstDifference(got, want))
		}
		must(t, c.Close())
	}
	migrations = ours
	if _, err := Open(path, Options{}); !errors.Is(err, ErrSchema) {
		t.Fatalf("%v, want ErrSchema", err)
	}
}
