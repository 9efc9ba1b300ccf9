package cyrus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/daemon"
)

var when = time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)

const letter = "Subject: x\r\n\r\nbody\r\n"

// Every layout keeps messages and metadata where the server's own tool and its
// documentation say.
func TestLayouts(t *testing.T) {
	for _, tt := range []struct {
		name         string
		opt          Options
		user, folder string
		spool, meta  string // relative to Dir; "" is the uuid layout's
	}{
		{"uuid", Options{}, "alice", "Work/2024", "", ""},
		{"uuid meta", Options{Metafiles: Metafiles}, "alice", "Work/2024", "", ""},
		{"legacy", Options{Layout: Legacy}, "alice", "Work/2024", "data/default/a/user/alice/Work/2024", "data/default/a/user/alice/Work/2024"},
		{"legacy domains", Options{Layout: Legacy, VirtualDomains: true, Metafiles: Metafiles}, "alice@example.org", "Work/2024",
			"data/default/domain/e/example.org/a/user/alice/Work/2024", "meta/default/domain/e/example.org/a/user/alice/Work/2024"},
		{"dots", Options{Layout: Legacy, DotSeparator: true, Metafiles: "index cache"}, "bob", "Work.2024",
			"data/default/b/user/bob/Work/2024", "meta/default/b/user/bob/Work/2024"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, tt.opt)
			s.AddUser(tt.user)
			c := s.Login(tt.user)
			c.Create(tt.folder)
			c.Append(tt.folder, letter, when, `\Seen`, "work")
			m := c.Examine(tt.folder).Messages
			if len(m) != 1 || m[0].Body != letter || !m[0].InternalDate.Equal(when) || !reflect.DeepEqual(m[0].Flags, []string{`\Seen`, "work"}) {
				t.Errorf("messages %+v", m)
			}
			spool, meta := s.path(tt.spool), s.path(tt.meta)
			if tt.spool == "" {
				status := c.Do("STATUS %s (MAILBOXID)", tt.folder)[0].Text
				_, id, _ := strings.Cut(status, "(MAILBOXID (")
				id = strings.TrimRight(id, ")")
				under := filepath.Join("uuid", id[:1], id[1:2], id)
				spool, meta = filepath.Join(s.Spool("default"), under), filepath.Join(s.Meta("default"), under)
			}
			if tt.opt.Metafiles == "" {
				meta = spool
			}
			file := s.MessageFile(tt.user, tt.folder, 1)
			if got, err := os.ReadFile(file); err != nil || string(got) != letter || file != filepath.Join(spool, "1.") {
				t.Errorf("file %s, wanted in %s: %q, %v", file, spool, got, err)
			}
			if _, err := os.Stat(filepath.Join(meta, "cyrus.index")); err != nil || s.MetaDirectory(tt.user, tt.folder) != meta {
				t.Errorf("metadata in %s: %v", s.MetaDirectory(tt.user, tt.folder), err)
			}
			c.Close()
			s.Restart()
			if got := s.Login(tt.user).Examine(tt.folder); len(got.Messages) != 1 || got.Messages[0].UID != 1 {
				t.Errorf("after a restart: %+v", got)
			}
		})
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	s.AddUser("alice")
	for _, tt := range []struct{ authzid, authcid, password, want string }{
		{"", "alice", Password, "OK"},
		{"", "alice", "wrong", "NO"},
		{"alice", Admin, Password, "OK"},
		{"alice", Backup, Password, "OK"},
		{"alice", Backup, "wrong", "NO"},
		{Admin, "alice", Password, "NO"},
	} {
		if got := s.Dial().TryPlain(tt.authzid, tt.authcid, tt.password); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	if _, got := s.Dial().Try("LOGIN alice wrong"); !strings.HasPrefix(got, "NO") {
		t.Error(got)
	}
	s.LoginAs("alice", Backup).Append("INBOX", letter, when)
	if _, got := s.LoginAdmin().Try("EXAMINE user/alice"); !strings.HasPrefix(got, "NO") {
		t.Errorf("an administrator's EXAMINE: %s", got)
	}
	if got := s.Login("alice").Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	s := Start(t, Options{TLS: ca.Server()})
	s.AddUser("alice")
	s.DialTLS(ca.Client()).Login("alice", Password).Append("INBOX", letter, when)
	c := s.Dial()
	c.StartTLS(ca.Client())
	if got := c.Login("alice", Password).Examine("INBOX"); len(got.Messages) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestTools(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Partitions: []string{"fast"}, Config: "expunge_mode: immediate\npopminpoll: 1"})
	s.AddUser("alice", "fast")
	c := s.Login("alice")
	for i := range 3 {
		c.Append("INBOX", fmt.Sprintf("Subject: %d\r\n\r\n\r\n", i), when)
	}
	c.Select("INBOX")
	c.Expunge("2")
	gone := s.MessageFile("alice", "INBOX", 2)
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(gone, s.Spool("fast")) {
		t.Errorf("expunged at once, in its partition: %s: %v", gone, err)
	}
	if err := os.Remove(s.MessageFile("alice", "INBOX", 3)); err != nil {
		t.Fatal(err)
	}
	if got := s.Run("reconstruct", "-n", "user/alice"); !strings.Contains(got, "uid 3 not found") {
		t.Errorf("reconstruct says %q", got)
	}
	if got := s.Run("ctl_mboxlist", "-d"); !strings.Contains(got, "user.alice") {
		t.Errorf("ctl_mboxlist says %q", got)
	}
	if out, err := s.TryRun("unexpunge", "-no-such-flag"); err == nil {
		t.Errorf("a wrong flag: %q", out)
	}
}

// Messages that no quoted string can hold, and several literals in a command.
func TestLiterals(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	s.AddUser("alice")
	c := s.Login("alice")
	nul := "Subject: {5}\r\n\r\na\x00b {7}\r\n"
	c.Append("INBOX", nul, when)
	c.Do("APPEND INBOX {%d}\r\n%s {%d}\r\n%s", len(letter), letter, len(letter), letter)
	m := c.Examine("INBOX").Messages
	if len(m) != 3 || m[0].Body != nul || m[2].Body != letter {
		t.Errorf("%+v", m)
	}
}

// Two servers know nothing of each other, and leave nothing behind.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	a, b := Start(t, Options{}), Start(t, Options{})
	a.AddUser("alice")
	b.AddUser("bob")
	idle := a.Login("alice")
	if _, got := b.Dial().Try("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=="); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	} else if got := b.Login("bob").List(); !reflect.DeepEqual(got, []string{"INBOX"}) {
		t.Errorf("bob has %q", got)
	}
	pid := a.process.PID()
	if len(daemon.Group(pid)) < 2 {
		t.Fatal("no children in the server's group")
	}
	a.Stop()
	if got := daemon.Group(pid); len(got) != 0 {
		t.Errorf("still running: %v", got)
	}
	if err := syscall.Kill(b.process.PID(), 0); err != nil {
		t.Errorf("the other server: %v", err)
	}
	_ = idle
}
