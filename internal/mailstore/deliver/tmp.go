package deliver

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var sequence atomic.Uint64

// Next numbers what this process makes, from 1.
func Next() uint64 { return sequence.Add(1) }

// Host is this host's name as it may stand in a Maildir file name.
var Host = hostName()

func hostName() string {
	h, err := os.Hostname()
	if err != nil || h == "" {
		return "localhost"
	}
	h = strings.NewReplacer("/", `\057`, ":", `\072`, ",", "_").Replace(h)
	return h[:min(len(h), 64)]
}

// tmpPrefix marks our temporary files: .salvor-PID-HOST-N. Every program takes
// them for hidden.
const tmpPrefix = ".salvor-"

// TmpName is a name that no other salvor uses.
func TmpName() string {
	return fmt.Sprintf("%s%d-%s-%d", tmpPrefix, os.Getpid(), Host, Next())
}

// Stale tells whether a name is that of a temporary file of a salvor that is
// dead.
func Stale(name string) bool {
	rest, ok := strings.CutPrefix(name, tmpPrefix)
	if !ok {
		return false
	}
	pid, rest, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(pid)
	return err == nil && strings.HasPrefix(rest, Host+"-") && n != os.Getpid() && !Alive(n)
}

// Alive tells whether a process of this host exists.
func Alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
