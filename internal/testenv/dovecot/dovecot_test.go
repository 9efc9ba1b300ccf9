package dovecot

import (
	"bytes"
	"crypto/tls"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/daemon"
	"salvor/internal/testenv/imaptest"
)

var when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)

const letter = "Subject: x\r\n\r\nbody\r\n"

func TestServer(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	c := s.Login("alice")
	c.Append("INBOX", letter, when, `\Seen`, "work")
	c.Create("a b")
	f := c.Examine("INBOX")
	want := []imaptest.Message{{UID: 1, Flags: []string{`\Seen`, "work"}, InternalDate: when, Body: letter}}
	for i := range f.Messages {
		f.Messages[i].InternalDate = f.Messages[i].InternalDate.UTC()
	}
	if !reflect.DeepEqual(f.Messages, want) || f.UIDNext != 2 || f.UIDValidity == 0 {
		t.Errorf("folder %+v", f)
	}
	if got := c.List(); !reflect.DeepEqual(got, []string{"INBOX", "a b"}) {
		t.Errorf("list %q", got)
	}
	c.Close()
	before := s.process.PID()
	s.Restart()
	if got := daemon.Group(before); len(got) != 0 {
		t.Errorf("still running: %v", got)
	}
	if got := s.Login("alice").Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("after a restart: %+v", got)
	}
}

// What the mail locations and the compression leave on disk.
func TestStored(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opt   Options
		files string // of which there is one, relative to the home directory
		in    string // what it has in it
	}{
		{"maildir", Options{}, "Maildir/cur/*", "body\n"},
		{"sdbox", Options{Location: "sdbox:~/sdbox"}, "sdbox/mailboxes/INBOX/dbox-Mails/u.1", "body\n"},
		{"mdbox", Options{Location: "mdbox:~/mdbox"}, "mdbox/storage/m.1", "body\n"},
		{"gz", Options{Compress: "gz"}, "Maildir/cur/*", "\x1f\x8b"},
		{"bz2", Options{Compress: "bz2"}, "Maildir/cur/*", "BZh"},
		{"zstd", Options{Compress: "zstd"}, "Maildir/cur/*", "\x28\xb5\x2f\xfd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, tt.opt)
			c := s.Login("alice")
			c.Append("INBOX", letter, when, `\Seen`)
			if got := c.Examine("INBOX").Messages; len(got) != 1 || got[0].Body != letter {
				t.Errorf("messages %+v", got)
			}
			found, err := filepath.Glob(filepath.Join(s.Home("alice"), tt.files))
			if err != nil || len(found) != 1 {
				t.Fatalf("files %q in\n%s", found, tree(s.Home("alice")))
			}
			if b, err := os.ReadFile(found[0]); err != nil || !bytes.Contains(b, []byte(tt.in)) {
				t.Errorf("%s: %q, %v", found[0], b, err)
			}
		})
	}
}

func tree(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
		b.WriteString(p + "\n")
		return nil
	})
	return b.String()
}

func TestLogins(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Masters: []string{"backup"}})
	for _, tt := range []struct{ authzid, authcid, password, want string }{
		{"", "alice", Password, "OK"},
		{"", "alice", "wrong", "NO"},
		{"alice", "backup", Password, "OK"},
		{"alice", "backup", "wrong", "NO"},
		{"alice", "bob", Password, "NO"},
	} {
		if got := s.Dial().TryPlain(tt.authzid, tt.authcid, tt.password); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	s.Dial().Login("alice*backup", Password).Append("INBOX", letter, when)
	if _, got := s.Dial().Try("LOGIN alice*bob %s", Password); !strings.HasPrefix(got, "NO") {
		t.Errorf("bob as alice: %s", got)
	}
	if got := s.LoginAs("alice", "backup").Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	s := Start(t, Options{TLS: ca.Server()})
	s.DialTLS(ca.Client()).Login("alice", Password).Append("INBOX", letter, when)
	c := s.Dial()
	c.StartTLS(ca.Client())
	if got := c.Login("alice", Password).Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
	for name, tt := range map[string]struct {
		pair   *certs.Pair
		client *tls.Config
	}{
		"certificate has expired": {ca.Expired(), ca.Client()},
		"is valid for mail":       {ca.OtherName(), ca.Client()},
		"unknown authority":       {ca.Server(), certs.New(t).Client()},
	} {
		bad := Start(t, Options{TLS: tt.pair})
		c, err := tls.Dial("tcp", bad.TLSAddr(), tt.client)
		if err == nil {
			c.Close()
			t.Errorf("%s: the client has nothing against it", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQuotaAndACL(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Quota: "*:messages=1", ACL: true})
	c := s.Login("alice")
	c.Append("INBOX", letter, when)
	if _, got := c.Try("APPEND INBOX {%d}\r\n%s", len(letter), letter); !strings.HasPrefix(got, "NO [OVERQUOTA]") {
		t.Errorf("the message over the limit: %s", got)
	}
	c.Create("Work")
	c.Do("SETACL Work bob lr")
	if got := c.Do("GETACL Work"); len(got) != 1 || !strings.Contains(got[0].Text, "bob lr") {
		t.Errorf("%+v", got)
	}
}
