//go:build !linux

package s3gw

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the server.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
