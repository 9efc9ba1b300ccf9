package incident

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dbox"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/stores"
)

// ofURL is the index that a URL names, which opens into options for the test.
func ofURL(t *testing.T, url string, opened *maildir.Options) *Index {
	t.Helper()
	o, ok, err := stores.MaildirOptions(url, stores.Options{})
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	return ofMaildir(url, o, func(o maildir.Options) (mailstore.Source, error) {
		*opened = o
		return nil, errors.New("no more is needed")
	})
}

// Only an index that lies outside of the mail outlives it, and of the mail then
// nothing is looked at.
func TestMaildirTrees(t *testing.T) {
	for _, tt := range []struct {
		url, trees string
		apart      bool
	}{
		{"maildir:/mail/%u", "maildir=/mail", false},
		{"maildir:/mail/%u:CONTROL=/c/%u", "maildir=/mail control=/c", false},
		{"maildir:/mail/%u:INDEX=/i/%u", "maildir=/mail index=/i", false},
		{"maildir:/mail/%d/%n/Maildir:CONTROL=/c/%d/%n:INDEX=/i/%u", "maildir= control=/c index=/i", true},
		{"maildir:/mail/%u:CONTROL=/x/%u/c:INDEX=/x/%u/i:INBOX=/in/%u", "maildir= inbox= control=/x index=/x", true},
		{"maildir:/mail/%u:INDEX=/x/%u/i:INBOX=/in/%u", "maildir=/mail inbox=/in index=/x", false},
		{"maildir:/mail/%u/Maildir:CONTROL=/mail/%u/control:INDEX=/i/%u", "maildir= control=/mail index=/i", false},
		{"maildir:/mail/%u:CONTROL=/mail/control/%u:INDEX=/mail2/%u", "maildir= control=/mail/control index=/mail2", false},
		{"maildir:/mail/data/%u:CONTROL=/mail:INDEX=/i/%u", "maildir= control=/mail index=/i", false},
		{"maildir:/mail/%u:CONTROL=/mailcontrol/%u:INDEX=/mail2/%u", "maildir= control=/mailcontrol index=/mail2", true},
		{"maildir:/mail/alice:CONTROL=/c/alice:INDEX=/i/alice", "maildir= control=/c/alice index=/i/alice", true},
	} {
		var opened maildir.Options
		x := ofURL(t, tt.url, &opened)
		var trees []string
		for _, tree := range x.Trees {
			trees = append(trees, tree.Name+"="+tree.Dir)
		}
		if got := strings.Join(trees, " "); got != tt.trees || x.Apart != tt.apart {
			t.Errorf("%s: %q, apart %v", tt.url, got, x.Apart)
		}
	}
}

func TestDboxTrees(t *testing.T) {
	for _, tt := range []struct {
		url, trees       string
		apart, travelled bool
	}{
		{"mdbox:/mail/%u", "dbox=/mail", false, true},
		{"sdbox:/mail/%u:INDEX=/i/%u", "dbox= index=/i", true, false},
		{"mdbox:/mail/%u:INDEX=/i/%u:CONTROL=/c/%u:ALT=/alt/%u", "dbox= control=/c index=/i", true, true},
		{"mdbox:/mail/%u:INDEX=/alt/%u/i:ALT=/alt/%u", "dbox= index=/alt", false, true},
	} {
		o, ok, err := stores.DboxOptions(tt.url, stores.Options{})
		if err != nil || !ok {
			t.Fatalf("%v, %v", ok, err)
		}
		var moved dbox.Options
		x := ofDbox(tt.url, o, func(o dbox.Options) (mailstore.Source, error) { moved = o; return nil, nil })
		var trees []string
		for _, tree := range x.Trees {
			trees = append(trees, tree.Name+"="+tree.Dir)
			if tree.Dir != "" && tree.Dir != "/alt" && (tree.Skip("u/mailboxes/new") || !tree.Keep("u/storage/dovecot.map.index") || tree.Keep("u/storage/m.1") && tree.Dir == "/mail") {
				t.Errorf("%s: %s keeps the wrong files", tt.url, tree.Name)
			}
		}
		if got := strings.Join(trees, " "); got != tt.trees || x.Apart != tt.apart || x.KeysTravel != tt.travelled || x.KeysNumbered == tt.travelled {
			t.Errorf("%s: %q, %+v", tt.url, got, x)
		}
		_, _ = x.Open("/keep")
		if moved.Root.String() != "/keep/dbox/%u" || o.Index != nil && moved.Index.Fixed() != "/keep/index" || moved.Alt != nil {
			t.Errorf("%s: %+v", tt.url, moved)
		}
	}
}

func TestMaildirKeeps(t *testing.T) {
	var opened maildir.Options
	x := ofURL(t, "maildir:/mail/%d/%n/Maildir", &opened)
	tree := x.Trees[0]
	for p, want := range map[string]string{
		"example.org": "enter", "example.org/alice/Maildir": "enter", "example.org/new/Maildir": "enter", "example.org/alice/Maildir/.Work": "enter",
		"example.org/alice/Maildir/cur": "", "example.org/alice/Maildir/.Work/new": "", "example.org/alice/photos": "", "a@b": "",
		"example.org/alice/Maildir/dovecot-uidlist": "keep", "example.org/alice/Maildir/.Work/dovecot.index.log.2": "keep",
		"example.org/alice/Maildir/subscriptions": "keep", "example.org/alice/dovecot.x": "", "example.org/alice/Maildir/.Work/x": "enter",
	} {
		got := ""
		switch {
		case tree.Keep(p):
			got = "keep"
		case !tree.Skip(p):
			got = "enter"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	if !tree.Link("example.org/alice/Maildir") || tree.Link("example.org/alice/Maildir/.Work") || tree.Link("example.org/alice/other") {
		t.Error("links")
	}
}

// A copy is opened with the templates that lead into it; one that a link leads
// out of is reported, not followed.
func TestMaildirCopy(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"control/alice/.INBOX/dovecot-uidlist": "3 V7 N2\n1 :1.a,S=5,W=6\n", "control/alice/.INBOX/cur/1.a": "mail", "control/.x/1": "?",
		"index/alice/.INBOX/dovecot.index.log": "x", "elsewhere/dovecot-uidlist": "secret",
	} {
		file := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, []byte(text), 0o600))
	}
	must(t, os.Symlink("../elsewhere", filepath.Join(dir, "control/bob")))
	var opened maildir.Options
	x := ofURL(t, "maildir:/nowhere/%u:CONTROL="+dir+"/control/%u:INDEX="+dir+"/index/%u", &opened)
	c, err := keepCopy(t.Context(), filepath.Join(dir, "keep"), x)
	if err != nil || c.Files != 4 || len(c.problems) != 1 || !strings.Contains(c.problems[0], "control/bob was not copied: it is a symbolic link") {
		t.Fatalf("%+v, %v", c, err)
	}
	_, _ = x.Open(c.Dir)
	src, err := maildir.OpenIndex(opened)
	must(t, err)
	var got []string
	must(t, src.Users(t.Context(), func(u mailstore.User) error { got = append(got, u.Name); return nil }))
	must(t, src.Mailboxes(t.Context(), mailstore.User{Name: "alice"}, func(b mailstore.Mailbox) error {
		_ = src.Messages(t.Context(), b, func(m mailstore.Message) error { got = append(got, m.Key); return nil })
		return nil
	}))
	if fmt.Sprint(got) != "[alice 1.a,S=5,W=6]" {
		t.Errorf("%q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
