// Package dovecot starts a real Dovecot 2.3 on the loopback interface for
// tests, each server in a directory of its own. Only tests call it. A machine
// without Dovecot fails the test with a hint: a test against a real server that
// is skipped proves nothing.
package dovecot

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/daemon"
	"salvor/internal/testenv/imaptest"
)

// Options of a server. The zero value is a Maildir++ in each user's home.
type Options struct {
	// Location is mail_location; "" means maildir:~/Maildir. @DIR@ stands for
	// the server's directory.
	Location string
	// Masters are users who may log in as anybody: with SASL PLAIN, or by the
	// name alice*master.
	Masters []string
	// TLS makes the server listen at TLSPort too, and offer STARTTLS.
	TLS *certs.Pair
	// Quota is every user's quota_rule, such as *:storage=1M; "" means no quota.
	Quota string
	// ACL has folders with access control lists.
	ACL bool
	// Compress is how messages are stored: gz, bz2 or zstd; "" is as they are.
	Compress string
	// Config is further configuration, put before the settings of IMAP alone.
	Config string
}

// A Server is a running Dovecot. Any user name may log in, with Password, which is the
// masters' too.
type Server struct {
	Dir     string // holds everything that the server writes
	Port    int    // IMAP
	TLSPort int    // IMAP over TLS from the start, with Options.TLS

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
	s.writeSecrets()
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
	ports := daemon.FreePorts(s.t, 2)
	s.Port, s.TLSPort = ports[0], ports[1]
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

// Addr is where the server speaks IMAP.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Stop stops the server and waits until it is gone.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
		s.process = nil
	}
}

// TLSAddr is where it speaks IMAP over TLS.
func (s *Server) TLSAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.TLSPort) }

// Dial opens a connection on which nobody is logged in.
func (s *Server) Dial() *imaptest.Client {
	s.t.Helper()
	return imaptest.Dial(s.t, s.Addr(), nil)
}

// DialTLS opens one over TLS.
func (s *Server) DialTLS(secure *tls.Config) *imaptest.Client {
	s.t.Helper()
	return imaptest.Dial(s.t, s.TLSAddr(), secure)
}

// Login opens a connection as the user.
func (s *Server) Login(user string) *imaptest.Client {
	s.t.Helper()
	return s.Dial().Login(user, Password)
}

// LoginAs opens a connection as the user, with a master's password.
func (s *Server) LoginAs(user, master string) *imaptest.Client {
	s.t.Helper()
	return s.Dial().AuthPlain(user, master, Password)
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
