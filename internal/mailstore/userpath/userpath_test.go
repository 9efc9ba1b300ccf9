package userpath

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"salvor/internal/mailstore"
)

func parse(t *testing.T, path string) *Template {
	t.Helper()
	tpl, err := Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func mkdirs(t *testing.T, root string, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// discover gives "user=path" with paths relative to root.
func discover(t *testing.T, root, pattern string) ([]string, error) {
	t.Helper()
	var got []string
	err := parse(t, filepath.Join(root, pattern)).Discover(context.Background(), func(p Place) error {
		rel, _ := filepath.Rel(root, p.Path)
		got = append(got, p.User+"="+rel)
		return nil
	})
	return got, err
}

func TestDiscover(t *testing.T) {
	for _, c := range []struct {
		name, pattern string
		dirs          []string
		want          []string
	}{
		{"user", "%u", []string{"alice", "bob@example.org"}, []string{"alice=alice", "bob@example.org=bob@example.org"}},
		{"below", "%u/Maildir", []string{"alice/Maildir", "bob", "carol/Maildir"}, []string{"alice=alice/Maildir", "carol=carol/Maildir"}},
		{"domain", "%d/%n", []string{"example.org/alice", "example.org/bob", "b.example/alice"},
			[]string{"alice@b.example=b.example/alice", "alice@example.org=example.org/alice", "bob@example.org=example.org/bob"}},
		{"text around", "mail-%n.box/m", []string{"mail-alice.box/m", "mail-bob/m", "alice.box/m"}, []string{"alice=mail-alice.box/m"}},
		{"both in one", "%n@%d/Maildir", []string{"a@b/Maildir", "a@b@c/Maildir", "x/Maildir"},
			[]string{"a@b=a@b/Maildir", "a@b@c=a@b@c/Maildir"}},
		{"domain and user", "%d/%u", []string{"b/a@b", "b/a@c", "b/a"}, []string{"a@b=b/a@b"}},
		{"the same variable twice", "%n/x-%n", []string{"a/x-a", "a/x-b"}, []string{"a=a/x-a"}},
		{"percent", "100%%/%u", []string{"100%/alice"}, []string{"alice=100%/alice"}},
		{"fixed", "one/Maildir", []string{"one/Maildir"}, []string{"=one/Maildir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			mkdirs(t, root, c.dirs...)
			got, err := discover(t, root, c.pattern)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
			for _, g := range got {
				user, rel, _ := strings.Cut(g, "=")
				if p, err := parse(t, filepath.Join(root, c.pattern)).Find(user); err != nil || p.Path != filepath.Join(root, rel) {
					t.Errorf("Find(%q) = %+v, %v", user, p, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, path := range []string{"", "/x/%d/Maildir", "/x/%h/Maildir", "/x/%"} {
		if _, err := Parse(path); err == nil {
			t.Errorf("Parse(%q) succeeded", path)
		}
	}
}

func TestPathRefusesHostileUsers(t *testing.T) {
	tpl := parse(t, "/srv/%d/%n/Maildir")
	for _, user := range []string{"../x", "a/b@c", "..@c", "a@..", "", "a", "@b", "a@", "a\x00@b", strings.Repeat("a", 256) + "@b"} {
		if p, err := tpl.Path(user); err == nil {
			t.Errorf("Path(%q) = %q", user, p)
		}
	}
	if p, err := tpl.Path("x@y@z"); err != nil || p != "/srv/z/x@y/Maildir" {
		t.Errorf("Path = %q, %v", p, err)
	}
}

// A destination takes any user name, and stays below its fixed part.
func TestCreateRoot(t *testing.T) {
	base := t.TempDir()
	tpl := parse(t, filepath.Join(base, "mail/%u/Maildir"))
	seen := map[string]string{}
	for _, user := range []string{"alice", "../x", "..", "a/b", "a\x00", "new\nline", strings.Repeat("a", 300), `\x2f`, "ü@example.org"} {
		r, err := tpl.CreateRoot(user)
		if err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		r.Close()
		rel, _ := filepath.Rel(base, r.Name())
		if parts := strings.Split(rel, "/"); len(parts) != 3 || parts[0] != "mail" || parts[2] != "Maildir" || seen[rel] != "" {
			t.Errorf("%q got %q", user, rel)
		}
		seen[rel] = user
	}
	got, err := discover(t, base, "mail/%u/Maildir")
	if err != nil || len(got) != len(seen) || !slices.Contains(got, "alice=mail/alice/Maildir") {
		t.Errorf("discovered %q, %v", got, err)
	}
}

// A directory's odd name is shown without its odd bytes, and leads back.
func TestOddNames(t *testing.T) {
	base := t.TempDir()
	mkdirs(t, base, "a\nb", "\xff")
	got, err := discover(t, base, "%u")
	if want := []string{`a\x0ab=a` + "\nb", `\xff=` + "\xff"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if p, err := parse(t, filepath.Join(base, "%u")).Find(`a\x0ab`); err != nil || filepath.Base(p.Path) != "a\nb" {
		t.Errorf("found %+v, %v", p, err)
	}
}

// A link that the operator made is followed, one that a user made is not.
func TestLinks(t *testing.T) {
	root := t.TempDir()
	mkdirs(t, root, "home/bob/Maildir", "disk2/alice/Maildir", "home/eve")
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(root, "home", name)); err != nil {
			t.Fatal(err)
		}
	}
	link("../disk2/alice", "alice")
	link(filepath.Join(root, "home/bob"), "robert")
	link("loop", "loop")
	link("../bob/Maildir", "eve/Maildir")
	foreign := os.Lchown(filepath.Join(root, "home/eve/Maildir"), 12345, 12345) == nil
	got, err := discover(t, root, "home/%u/Maildir")
	want := []string{"alice=disk2/alice/Maildir", "bob=home/bob/Maildir", "eve=home/bob/Maildir", "robert=home/bob/Maildir"}
	var inc *mailstore.Incomplete
	if !errors.As(err, &inc) {
		t.Fatalf("err = %v, want the loop to be reported", err)
	}
	if foreign {
		want = slices.Delete(want, 2, 3)
		if len(inc.Problems) != 2 || !strings.Contains(inc.Problems[0].Error(), "uid 12345") {
			t.Errorf("problems: %v", inc.Problems)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r, err := parse(t, filepath.Join(root, "home/%u/Maildir")).OpenRoot("alice")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Name() != filepath.Join(root, "disk2/alice/Maildir") {
		t.Errorf("root is %s", r.Name())
	}
}

// A copy's template finds in the copy what the original found where it was.
func TestMoved(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir, "mail/example.org/alice/Maildir", "copy%of/example.org/alice/Maildir")
	at := parse(t, dir+"/mail/%d/%n/Maildir").Moved(dir + "/copy%of")
	p, err := at.Find("alice@example.org")
	if err != nil || p.Path != dir+"/copy%of/example.org/alice/Maildir" || !at.Variable() || at.Fixed() != dir+"/copy%of" {
		t.Errorf("%+v, %v", p, err)
	}
	if again := parse(t, at.String()); again.String() != at.String() || again.Fixed() != at.Fixed() {
		t.Errorf("%q becomes %q", at, again)
	}
	if one := parse(t, dir+"/mail/alice").Moved("/x"); one.Variable() || one.Fixed() != "/x" || one.String() != "/x" {
		t.Errorf("%+v", one)
	}
}

func TestLeads(t *testing.T) {
	for path, want := range map[string][2]bool{
		".": {true, false}, "example.org": {true, false}, "example.org/alice": {true, false}, "example.org/alice/Maildir": {true, false},
		"example.org/alice/Maildir/.Work": {true, true}, "a@b": {}, "example.org/alice/other": {}, "example.org/alice/Maildir2/cur": {},
	} {
		if leads, inside := parse(t, "/mail/%d/%n/Maildir").Leads(path); leads != want[0] || inside != want[1] {
			t.Errorf("%q: %v, %v", path, leads, inside)
		}
	}
	if leads, inside := parse(t, "/mail/alice").Leads("anything/below"); !leads || !inside {
		t.Error("without variables everything below is the user's")
	}
}

// A directory of a user's that somebody made as root and was killed before it
// could be given away is given to whom the one above belongs; one with something
// in it is left alone.
func TestCreateRootGivesAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root makes directories for others")
		return
	}
	base := t.TempDir()
	for _, d := range []string{"ann/Maildir", "bob/Maildir/cur", "cid"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"ann", "bob", "cid"} {
		if err := os.Chown(filepath.Join(base, user), 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	template, err := Parse(base + "/%u/Maildir")
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]uint32{"ann": 4711, "bob": 0, "cid": 4711} {
		root, err := template.CreateRoot(user)
		if err != nil {
			t.Fatal(err)
		}
		info, err := root.Stat(".")
		root.Close()
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != want {
			t.Errorf("%s: %+v, %v", user, info.Sys(), err)
		}
	}
}
