package s3gw

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the server, and ends it with the
// test's process, however that ends.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
