package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"salvor/catalog"
)

// A Change is what a hook is told: a user's gate has another state than the hook
// has been told of last.
type Change struct {
	Incident, User string
	Before         catalog.GateState // "": it was never told of the user
	State          catalog.GateState
}

// A Hook is told of changes. It has taken one when it returns nil.
type Hook func(context.Context, Change) error

const (
	// hookTime bounds one run of a hook; what it leaves behind in its process group
	// is killed as well.
	hookTime = 30 * time.Second
	// hookWait is how long the output of a hook that has ended is waited for.
	hookWait = time.Second
	// hookText bounds what is kept of what a hook says.
	hookText = 400
)

// Shell gives the hook that runs a command of the shell for each change, which it
// finds in SALVOR_INCIDENT, SALVOR_USER, SALVOR_GATE and SALVOR_GATE_BEFORE: never
// in its arguments. "" is no hook.
func Shell(command string) Hook {
	if command == "" {
		return nil
	}
	return func(ctx context.Context, c Change) error { return run(ctx, command, c, hookTime) }
}

func run(ctx context.Context, command string, c Change, limit time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(environment(os.Environ()), "SALVOR_INCIDENT="+c.Incident, "SALVOR_USER="+c.User,
		"SALVOR_GATE="+string(c.State), "SALVOR_GATE_BEFORE="+string(c.Before))
	var said head
	cmd.Stdout, cmd.Stderr = &said, &said // standard input is /dev/null
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != syscall.ESRCH {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.WaitDelay = hookWait
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it has ended well, and left somebody running
		err = nil
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("on-gate: it was killed after %v", limit)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("on-gate: %w%s", err, said.words())
}

// environment leaves salvor's own settings out, which may be secrets, and the
// credentials of a bucket.
func environment(all []string) (out []string) {
	for _, v := range all {
		if !strings.HasPrefix(v, "SALVOR_") && !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "MINIO_") {
			out = append(out, v)
		}
	}
	return out
}

// A head keeps the beginning of what is written.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), hookText-len(*h))]...)
	return len(p), nil
}

// words are the first line.
func (h head) words() string {
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(h), "?")), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}
