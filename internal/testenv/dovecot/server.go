// Package dovecot starts a real Dovecot 2.3 on the loopback interface for
// tests, each server in a directory of its own. Only tests call it. A machine
// without Dovecot fails the test with a hint: a test against a real server that
// is skipped proves nothing.
package dovecot

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"salvor/internal/testenv/daemon"
	"salvor/internal/testenv/imaptest"
)

// Options of a server. The zero value is a Maildir++ in each user's home.
type Options struct {
	// Location is mail_location; "" means maildir:~/Maildir. @DIR@ stands for
	// the server's directory.
	Location string
	// Config is further configuration, put at the end.
	Config string
}

// A Server is a running Dovecot. Any user name may log in, with Password.
type Server struct {
	Dir  string // holds everything that the server writes
	Port int

	t       testing.TB
	opt     Options
	owner   daemon.Owner
	process *daemon.Process
}

// Password is every user's.
const Password = "secret"

const hint = "hint: apt-get install dovecot-core dovecot-imapd"

// Start starts a server, which the end of the test stops.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if _, err := exec.LookPath(program("dovecot")); err != nil {
		t.Fatalf("Dovecot is needed for this test: %v\n%s", err, hint)
	}
	if o.Location == "" {
		o.Location = "maildir:~/Maildir"
	}
	s := &Server{Dir: daemon.Dir(t, "sd"), t: t, opt: o, owner: daemon.MailOwner(t)}
	for _, sub := range []string{"home", "etc"} {
		if err := os.Mkdir(s.path(sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Chown("home")
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// program finds Dovecot's programs, which are not in everybody's PATH.
func program(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if p := filepath.Join(dir, name); isFile(p) {
			return p
		}
	}
	return name
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// Home is a user's home directory.
func (s *Server) Home(user string) string { return filepath.Join(s.Dir, "home", user) }

// Chown gives a tree below Dir to the user whom Dovecot runs mail as.
func (s *Server) Chown(path string) {
	s.t.Helper()
	if !filepath.IsAbs(path) {
		path = s.path(path)
	}
	s.owner.Own(s.t, path)
}

// Restart stops the server, if it runs, and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	var err error
	for range 3 { // another process may take the port first
		if err = s.start(); err == nil {
			return
		}
		s.Stop()
	}
	log, _ := os.ReadFile(s.path("dovecot.log"))
	s.t.Fatalf("start Dovecot: %v\n%s", err, log)
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Server) start() error {
	s.Port = daemon.FreePorts(s.t, 1)[0]
	conf := s.path("etc/dovecot.conf")
	if err := os.WriteFile(conf, s.config(), 0o644); err != nil {
		return err
	}
	p, err := daemon.Start(exec.Command(program("dovecot"), "-F", "-c", conf), nil)
	if err != nil {
		return err
	}
	s.process = p
	return p.AwaitGreeting(s.Port, filepath.Base(s.Dir))
}

func (s *Server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Stop stops the server and waits until it is gone.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
		s.process = nil
	}
}

// Login opens a connection as the user.
func (s *Server) Login(user string) *imaptest.Client {
	s.t.Helper()
	return imaptest.Dial(s.t, s.addr(), nil).Login(user, Password)
}

// Doveadm runs doveadm and gives what it prints.
func (s *Server) Doveadm(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(program("doveadm"), append([]string{"-c", s.path("etc/dovecot.conf")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("doveadm %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// Log is what the server has logged so far.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.path("dovecot.log"))
	return string(b)
}

var conf = template.Must(template.New("dovecot.conf").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/dovecot.log
protocols = imap
listen = 127.0.0.1
login_greeting = {{.Name}}
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {{.Owner.UID}}
mail_gid = {{.Owner.GID}}
mail_home = {{.Dir}}/home/%u
mail_location = {{.Location}}
mail_fsync = never
{{if not .Root}}default_internal_user = {{.Owner.Name}}
default_internal_group = {{.Owner.Group}}
default_login_user = {{.Owner.Name}}
service anvil {
  chroot =
}
service imap-login {
  chroot =
}
service stats {
  chroot =
}
{{end}}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Junk {
    special_use = \Junk
    auto = no
  }
}
passdb {
  driver = static
  args = password={{.Password}}
}
userdb {
  driver = static
  args = uid={{.Owner.UID}} gid={{.Owner.GID}} home={{.Dir}}/home/%u allow_all_users=yes
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = {{.Port}}
  }
  inet_listener imaps {
    port = 0
  }
}
protocol imap {
  mail_max_userip_connections = 100
}
{{.Config}}
`))

func (s *Server) config() []byte {
	var b bytes.Buffer
	err := conf.Execute(&b, map[string]any{
		"Dir": s.Dir, "Name": filepath.Base(s.Dir), "Owner": s.owner, "Port": s.Port, "Password": Password, "Root": os.Getuid() == 0,
		"Config": s.opt.Config, "Location": strings.ReplaceAll(s.opt.Location, "@DIR@", s.Dir),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}
