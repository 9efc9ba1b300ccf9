package cyrus

import (
	"encoding/binary"
	"io"
	"net"
	"os"
)

func (s *Server) passwordSocket() string { return s.path("conf/socket/mux") }

// servePasswords is the saslauthd that Cyrus asks whether a password is right.
func (s *Server) servePasswords() {
	s.t.Helper()
	l, err := net.Listen("unix", s.passwordSocket())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	if err := os.Chmod(s.passwordSocket(), 0o777); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			go func() {
				defer c.Close()
				_ = answer(c)
			}()
		}
	}()
}

// answer reads a question, which is user, password, service and realm, each a
// string behind its length, and says whether this is the password.
func answer(c io.ReadWriter) error {
	var asked [4]string
	for i := range asked {
		var n uint16
		if err := binary.Read(c, binary.BigEndian, &n); err != nil {
			return err
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		asked[i] = string(b)
	}
	verdict := "NO"
	if asked[1] == Password {
		verdict = "OK"
	}
	_, err := c.Write(append([]byte{0, byte(len(verdict))}, verdict...))
	return err
}
