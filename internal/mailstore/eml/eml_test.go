package eml

import (
	"context"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/userpath"
)

var (
	ctx  = context.Background()
	when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
)

func create(t *testing.T, dir string) *Destination {
	t.Helper()
	tpl, err := userpath.Parse(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Create(tpl)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// restore puts messages into a folder, as the engine does: max(0, wanted -
// present) of each.
func restore(t *testing.T, d *Destination, user, mailbox string, uid mailstore.UID, bodies ...string) (added int) {
	t.Helper()
	a, err := d.Account(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Mailbox(ctx, mailstore.Mailbox{User: user, Name: mailbox}); err != nil {
		t.Fatal(err)
	}
	have := map[chunk.ID]int{}
	if err := a.Present(ctx, mailbox, func(id chunk.ID) error { have[id]++; return nil }); err != nil {
		t.Fatal(err)
	}
	for i, b := range bodies {
		id, _, _ := chunk.WireSums([]byte(b))
		if have[id]--; have[id] >= 0 {
			continue
		}
		del := mailstore.Delivery{Mailbox: mailbox, Stored: []byte(b), LF: []byte(b), Content: id, InternalDate: when}
		if uid != 0 {
			del.UID = uid + mailstore.UID(i)
		}
		if _, err := a.Add(ctx, del); err != nil {
			t.Fatal(err)
		}
		added++
	}
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return added
}

func tree(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			files = append(files, rel)
			if !info.ModTime().Equal(when) {
				t.Errorf("%s has time %v", rel, info.ModTime())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	return files
}

func TestRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	d := create(t, dir)
	bodies := []string{"a\n", "b\r\n", "a\n"}
	for i, want := range []int{3, 0} {
		if got := restore(t, d, "alice", "Work/2024", 7, bodies...); got != want {
			t.Errorf("run %d added %d", i, got)
		}
	}
	restore(t, d, "alice", "Work/2024", 8, "another\n")
	restore(t, d, "alice", "INBOX", 0, "nameless\n")
	id, _, _ := chunk.WireSums([]byte("nameless\n"))
	want := "alice/INBOX/" + id.String()[:12] + ".eml alice/Work/2024/7.eml alice/Work/2024/8-2.eml alice/Work/2024/8.eml alice/Work/2024/9.eml"
	if got := strings.Join(tree(t, dir), " "); got != want {
		t.Errorf("files\n%s, want\n%s", got, want)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "alice/Work/2024/8.eml")); string(b) != "b\r\n" {
		t.Errorf("8.eml is %q", b)
	}
	n := 0
	if err := d.Look(ctx, "alice", "Work/2024", func(chunk.ID) error { n++; return nil }); err != nil || n != 4 {
		t.Errorf("looked at %d, %v", n, err)
	}
	if err := d.Look(ctx, "bob", "INBOX", nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bob")); err == nil {
		t.Error("a look has made a directory")
	}
}

// Whatever users and folders are called, nothing leaves the directory and no
// two are taken for each other.
func TestHostileNames(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "out")
	odd := []string{"../x", "..", ".", "a\x00b", "new\nline", strings.Repeat("x", 300), "/etc", "a//b", "", strings.Repeat("long/", 80), "5.eml", ".hidden", `\x2e\x2e`, "a/../../b"}
	d := create(t, dir)
	for _, user := range odd[:len(odd)-1] {
		restore(t, d, user, "INBOX", 1, "user "+user+"\n")
	}
	for _, name := range odd {
		restore(t, d, "alice", name, 1, "folder "+name+"\n")
	}
	if got, want := len(tree(t, dir)), 2*len(odd)-1; got != want {
		t.Errorf("%d files, want %d: %q", got, want, tree(t, dir))
	}
	if e, _ := os.ReadDir(base); len(e) != 1 {
		t.Errorf("something was written outside: %v", e)
	}
}

// What a killed restore left is cleared, and a link is not followed out.
func TestLeftovers(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "out")
	d := create(t, dir)
	restore(t, d, "alice", "INBOX", 1, "a\n")
	stale := filepath.Join(dir, "alice/INBOX", ".salvor-999999999-"+host()+"-1")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	restore(t, d, "alice", "INBOX", 1, "a\n")
	if _, err := os.Lstat(stale); err == nil {
		t.Error("a temporary file of a dead process is still there")
	}
	if err := os.Symlink(base, filepath.Join(dir, "alice/Out")); err != nil {
		t.Fatal(err)
	}
	a, err := d.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(ctx)
	if err := a.Mailbox(ctx, mailstore.Mailbox{Name: "Out/x"}); err == nil {
		t.Error("a link was followed out of the directory")
	}
}

func host() string {
	h, _ := os.Hostname()
	return h
}

func TestRenumbers(t *testing.T) {
	for validity, want := range map[uint32]string{0: "", 7: "an .eml file has no UID"} {
		why, err := create(t, t.TempDir()).Renumbers(ctx, "alice", mailstore.Mailbox{Name: "Work", UIDValidity: validity})
		if why != want || err != nil {
			t.Errorf("UIDVALIDITY %d: %q, %v", validity, why, err)
		}
	}
}
