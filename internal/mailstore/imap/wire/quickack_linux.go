package wire

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledge has the kernel tell the other side at once what has arrived. Cyrus
// sends an answer in two pieces and keeps the second back until the first is
// acknowledged, which takes 40 ms unless asked for; that is no promise, and so
// its failure is none.
func acknowledge(c net.Conn) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}
