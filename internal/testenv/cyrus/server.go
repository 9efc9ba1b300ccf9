// Package cyrus starts a real Cyrus IMAP on the loopback interface for tests,
// each server in a directory of its own, and knows where it keeps what on disk.
// Only tests call it. A machine without Cyrus fails the test with a hint: a
// test against a real server that is skipped proves nothing.
package cyrus

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"salvor/internal/testenv/certs"
	"salvor/internal/testenv/daemon"
	"salvor/internal/testenv/imaptest"
)

// A Layout is how mailboxes become directories.
type Layout int

const (
	// UUID is the layout of 3.6 and later: uuid/A/B/AB….
	UUID Layout = iota
	// Legacy is the layout before it, by hashed names: b/user/bob/Work.
	Legacy
)

// Metafiles is the value of metapartition_files that moves all metadata.
const Metafiles = "header index cache expunge squat annotations"

// Options of a server. The zero value has users without a domain, names like
// user/alice/Work, and the metadata beside the messages.
type Options struct {
	Layout Layout
	// VirtualDomains makes users such as alice@example.org.
	VirtualDomains bool
	// DotSeparator makes names such as user.alice.Work.
	DotSeparator bool
	// Metafiles names the metadata that is kept apart, below Meta: a value of
	// metapartition_files, such as the constant Metafiles. "" is none.
	Metafiles string
	// Partitions are further ones, besides "default".
	Partitions []string
	// TLS makes the server listen at TLSPort too, and offer STARTTLS.
	TLS *certs.Pair
	// Config is further lines for imapd.conf. A setting in it replaces that of
	// the same name. @DIR@ stands for the server's directory.
	Config string
}

// A Server is a running Cyrus. AddUser makes its users.
type Server struct {
	Dir     string // holds everything that the server writes
	Port    int    // IMAP
	TLSPort int    // IMAP over TLS from the start, with Options.TLS

	t       testing.TB
	root    string // of the unpacked packages
	opt     Options
	owner   daemon.Owner
	process *daemon.Process
}

// Password is everybody's.
const Password = "secret"

// The administrators, who may also log in as anybody else (SASL PLAIN).
const (
	Admin  = "admin"
	Backup = "backup"
)

const hint = "hint: .ci/setup unpacks one, or let SALVOR_CYRUS_ROOT name a directory with usr/lib/cyrus/bin in it"

// Start starts a server, which the end of the test stops.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	root, err := find()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: daemon.Dir(t, "sc"), t: t, root: root, opt: o, owner: daemon.MailOwner(t)}
	s.makeTree()
	s.servePasswords()
	t.Cleanup(s.Stop)
	s.Restart()
	return s
}

// find gives the directory that .ci/setup has unpacked Cyrus into.
func find() (string, error) {
	places := []string{os.Getenv("SALVOR_CYRUS_ROOT")}
	if places[0] == "" {
		places = []string{"/var/cache/salvor-test/cyrus"}
		if home, err := os.UserHomeDir(); err == nil {
			places = append(places, filepath.Join(home, ".cache", "salvor-test", "cyrus"))
		}
	}
	for _, p := range places {
		if _, err := os.Stat(filepath.Join(p, "usr/lib/cyrus/bin/imapd")); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("Cyrus is needed for this test, and not in %s; %s", strings.Join(places, " or "), hint)
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

// makeTree makes the directories that Cyrus expects to find.
func (s *Server) makeTree() {
	s.t.Helper()
	dirs := []string{"etc", "home"}
	for _, sub := range strings.Fields("db log lock msg proc quota socket sync user") {
		dirs = append(dirs, "conf/"+sub)
	}
	for _, p := range s.partitions() {
		dirs = append(dirs, s.Spool(p), s.Meta(p))
	}
	for _, d := range dirs {
		if !filepath.IsAbs(d) {
			d = s.path(d)
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.opt.TLS != nil {
		if err := s.opt.TLS.Write(s.path("etc/cert.pem"), s.path("etc/key.pem")); err != nil {
			s.t.Fatal(err)
		}
	}
	s.owner.Own(s.t, s.Dir)
}

// Restart stops the server, if it runs, and starts it again, at other ports.
func (s *Server) Restart() {
	s.t.Helper()
	var err error
	for range 3 { // another process may take the port first
		s.Stop()
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("start Cyrus: %v\n%s", err, s.Log())
}

func (s *Server) start() error {
	ports := daemon.FreePorts(s.t, 2)
	s.Port, s.TLSPort = ports[0], ports[1]
	for name, text := range map[string]string{"imapd.conf": s.imapdConf(), "cyrus.conf": s.cyrusConf()} {
		if err := os.WriteFile(s.path("etc/"+name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	log, err := os.Create(s.path("cyrus.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("master", "-M", s.path("etc/cyrus.conf"), "-p", s.path("conf/master.pid"))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := daemon.Start(cmd, s.owner.Credential())
	if err != nil {
		return err
	}
	s.process = p
	return p.AwaitGreeting(s.Port, filepath.Base(s.Dir))
}

// Stop stops the server and waits until it is gone.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
		s.process = nil
	}
}

// command is one of Cyrus's programs, with this server's configuration.
func (s *Server) command(tool string, args ...string) *exec.Cmd {
	libraries, _ := filepath.Glob(filepath.Join(s.root, "usr/lib/*-linux-gnu"))
	cmd := exec.Command(filepath.Join(s.root, "usr/lib/cyrus/bin", tool), append([]string{"-C", s.ConfigFile()}, args...)...)
	cmd.Dir = s.path("home")
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	return cmd
}

// Run runs one of Cyrus's programs (reconstruct, cyr_expire, ctl_mboxlist …) as
// the server's user and gives what it prints. It fails the test when the
// program does; TryRun does not.
func (s *Server) Run(tool string, args ...string) string {
	s.t.Helper()
	out, err := s.TryRun(tool, args...)
	if err != nil {
		s.t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	return out
}

// TryRun runs one of Cyrus's programs, as Run does, and gives its failure too.
func (s *Server) TryRun(tool string, args ...string) (string, error) {
	cmd := s.command(tool, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: s.owner.Credential()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Chown gives a tree below Dir to the user whom Cyrus runs as.
func (s *Server) Chown(path string) {
	s.t.Helper()
	if !filepath.IsAbs(path) {
		path = s.path(path)
	}
	s.owner.Own(s.t, path)
}

// Log is what the server's processes have printed since the last start. It is
// little: Cyrus says most to syslog only.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.path("cyrus.log"))
	return string(b)
}

// Addr is where the server speaks IMAP.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

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

// LoginAdmin opens a connection as an administrator.
func (s *Server) LoginAdmin() *imaptest.Client {
	s.t.Helper()
	return s.Login(Admin)
}

// LoginAs opens a connection as the user, with an administrator's password.
func (s *Server) LoginAs(user, admin string) *imaptest.Client {
	s.t.Helper()
	return s.Dial().AuthPlain(user, admin, Password)
}
