// Package daemon is what the servers that tests start have in common: a
// directory in memory, a port, a process group of their own that ends with the
// test and leaves nobody behind, and the wait for a greeting. Only packages
// below internal/testenv call it.
package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An Owner is the user whom a server runs as.
type Owner struct {
	UID, GID    int
	Name, Group string
}

// MailOwner is who a mail server runs as: oneself or, as mail servers refuse to
// serve mail as root, the user mail.
func MailOwner(t testing.TB) Owner {
	t.Helper()
	u, err := user.Current()
	if err == nil && u.Uid == "0" {
		u, err = user.Lookup("mail")
	}
	if err != nil {
		t.Fatal(err)
	}
	o := Owner{Name: u.Username}
	o.UID, _ = strconv.Atoi(u.Uid)
	o.GID, _ = strconv.Atoi(u.Gid)
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	o.Group = g.Name
	return o
}

// Credential makes a process run as the owner; nil when it does so anyway.
func (o Owner) Credential() *syscall.Credential {
	if os.Getuid() == o.UID {
		return nil
	}
	return &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
}

// Own gives a tree to the owner.
func (o Owner) Own(t testing.TB, path string) {
	t.Helper()
	for {
		// What vanishes meanwhile was renamed by a server at work: it is there under
		// another name, which a second walk finds.
		moved := false
		err := filepath.Walk(path, func(p string, _ os.FileInfo, err error) error {
			if err == nil {
				err = os.Lchown(p, o.UID, o.GID)
			}
			if p != path && errors.Is(err, fs.ErrNotExist) {
				moved, err = true, nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !moved {
			return
		}
	}
}

// memory is a file system in memory, where there is one: mail servers sync much.
const memory = "/dev/shm"

// Dir makes a directory that goes with the test: its name is short, as socket
// paths end at 108 bytes, and everybody may enter it.
func Dir(t testing.TB, prefix string) string {
	t.Helper()
	// A test that has run salvor in this process may have left its umask behind,
	// and the server, as another user, could not read what we make for it.
	syscall.Umask(0o022)
	dir, err := os.MkdirTemp(memory, prefix)
	if err != nil {
		dir, err = os.MkdirTemp("", prefix)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// FreePorts gives ports that nobody listens at. Until a server does, another
// process may: then its start fails, and has to be tried again.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// A Process is a running server and its children.
type Process struct {
	pid  int
	done chan struct{} // closed when the server itself has ended
	err  error         // how it ended; valid when done is closed
}

// spawner runs functions on a thread that never ends. The signal that a server
// gets with the death of its parent comes with that of the very thread that has
// started it, and Go ends threads now and then.
var spawner = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// Start starts a server as the leader of a process group: some send their
// signals to the whole group. It ends with the test's process, however that
// ends.
func Start(cmd *exec.Cmd, as *syscall.Credential) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &Process{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	return p, nil
}

// Stop ends the group and waits until nobody of it runs any more. It asks more
// than once, as a child that has just been started may miss the signal. A
// leader whose children have all gone has nothing left to do: Dovecot's sleeps
// up to a second then, and is not waited for.
func (p *Process) Stop() {
	for try := range 1000 {
		if try%5 == 0 {
			_ = syscall.Kill(-p.pid, syscall.SIGTERM)
		}
		time.Sleep(5 * time.Millisecond)
		switch running := Group(p.pid); {
		case len(running) == 0:
			<-p.done
			return
		case try >= 5 && len(running) == 1 && running[0] == p.pid:
			_ = p.kill()
		}
	}
	_ = p.kill()
	<-p.done
}

func (p *Process) kill() error { return syscall.Kill(-p.pid, syscall.SIGKILL) }

// PID is the server's, and its group's.
func (p *Process) PID() int { return p.pid }

// Group gives the processes of a group that run.
func Group(pgid int) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		// After the name in parentheses: state, parent, group.
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(pgid) && f[0] != "Z" && f[0] != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// AwaitGreeting waits until a server greets at a port with a line that has the
// given word in it, by which a test knows its own server. It gives up when the
// server ends.
func (p *Process) AwaitGreeting(port int, word string) error {
	last := errors.New("nobody listens")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once (%v)", p.err)
		default:
		}
		line, err := greeting(port)
		switch {
		case err != nil:
			last = err
		case strings.Contains(line, word):
			return nil
		default:
			return fmt.Errorf("port %d is another server's: %q", port, line)
		}
	}
	return fmt.Errorf("no greeting: %w", last)
}

func greeting(port int) (string, error) {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return bufio.NewReader(c).ReadString('\n')
}
