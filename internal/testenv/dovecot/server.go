// Package dovecot starts a real Dovecot 2.3 on the loopback interface for
// tests, each server in a directory of its own, and speaks enough IMAP to fill
// its mailboxes and to see what it makes of ours. Only tests call it. A machine
// without Dovecot fails the test with a hint: a test against a real server that
// is skipped proves nothing.
package dovecot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
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

	t   testing.TB
	opt Options
	cmd *exec.Cmd
	uid int
	gid int
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
	s := &Server{t: t, opt: o, uid: os.Getuid(), gid: os.Getgid()}
	s.makeDir()
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

// memory is a file system in memory, where there is one: Dovecot syncs much.
const memory = "/dev/shm"

// makeDir makes the server's directory: a short name, as socket paths end at
// 108 bytes, and open to the user whom Dovecot runs mail as.
func (s *Server) makeDir() {
	dir, err := os.MkdirTemp(memory, "sd")
	if err != nil {
		dir, err = os.MkdirTemp("", "sd")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	s.Dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if s.uid == 0 { // Dovecot serves no mail as root
		u, err := user.Lookup("mail")
		if err != nil {
			s.t.Fatal(err)
		}
		s.uid, _ = strconv.Atoi(u.Uid)
		s.gid, _ = strconv.Atoi(u.Gid)
	}
	for _, sub := range []string{"home", "etc"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Chown("home")
}

// Home is a user's home directory.
func (s *Server) Home(user string) string { return filepath.Join(s.Dir, "home", user) }

// Chown gives a tree below Dir to the user whom Dovecot runs mail as.
func (s *Server) Chown(path string) {
	s.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
	}
	err := filepath.Walk(path, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, s.uid, s.gid)
	})
	if err != nil {
		s.t.Fatal(err)
	}
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := s.path("etc/dovecot.conf")
	if err := os.WriteFile(conf, s.config(), 0o644); err != nil {
		return err
	}
	var out bytes.Buffer
	s.cmd = exec.Command(program("dovecot"), "-F", "-c", conf)
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	return s.awaitGreeting(&out)
}

func (s *Server) awaitGreeting(out *bytes.Buffer) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", s.addr(), time.Second)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err == nil && strings.HasPrefix(line, "* OK") {
			return nil
		}
	}
	return errors.New("no greeting")
}

func (s *Server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Stop stops the server and waits until it is gone.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	pid := s.cmd.Process.Pid
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }()
	syscall.Kill(-pid, syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		syscall.Kill(-pid, syscall.SIGKILL)
		<-done
	}
	s.cmd = nil
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
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {{.UID}}
mail_gid = {{.GID}}
mail_home = {{.Dir}}/home/%u
mail_location = {{.Location}}
mail_fsync = never
{{if not .Root}}default_internal_user = {{.User}}
default_internal_group = {{.Group}}
default_login_user = {{.User}}
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
  args = uid={{.UID}} gid={{.GID}} home={{.Dir}}/home/%u allow_all_users=yes
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
	me := "nobody"
	group := "nogroup"
	if u, err := user.Current(); err == nil {
		me = u.Username
		if g, err := user.LookupGroupId(u.Gid); err == nil {
			group = g.Name
		}
	}
	var b bytes.Buffer
	err := conf.Execute(&b, map[string]any{
		"Dir": s.Dir, "UID": s.uid, "GID": s.gid, "Port": s.Port, "Password": Password, "Root": os.Getuid() == 0,
		"User": me, "Group": group, "Config": s.opt.Config,
		"Location": strings.ReplaceAll(s.opt.Location, "@DIR@", s.Dir),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}
