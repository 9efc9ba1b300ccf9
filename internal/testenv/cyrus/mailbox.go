package cyrus

import (
	"fmt"
	"path/filepath"
	"strings"

	"salvor/internal/testenv/imaptest"
)

// AddUser makes a user's INBOX, in the default partition or in the one named.
func (s *Server) AddUser(name string, partition ...string) {
	s.t.Helper()
	c := s.LoginAdmin()
	defer c.Close()
	command := "CREATE " + imaptest.Quote(s.Mailbox(name, "INBOX"))
	if len(partition) > 0 {
		command += " " + partition[0]
	}
	c.Do("%s", command)
}

// Mailbox is an administrator's name for a user's folder, which is given as the
// user sees it.
func (s *Server) Mailbox(user, folder string) string {
	separator := "/"
	if s.opt.DotSeparator {
		separator = "."
	}
	name, domain, virtual := strings.Cut(user, "@")
	box := "user" + separator + name
	if folder != "INBOX" {
		box += separator + strings.TrimPrefix(folder, "INBOX"+separator)
	}
	if virtual {
		box += "@" + domain
	}
	return box
}

// Directory is where a folder's messages are.
func (s *Server) Directory(user, folder string) string {
	s.t.Helper()
	return s.mbpath("-D", user, folder)
}

// MetaDirectory is where a folder's metadata is, as far as it is kept apart.
func (s *Server) MetaDirectory(user, folder string) string {
	s.t.Helper()
	return s.mbpath("-M", user, folder)
}

func (s *Server) mbpath(what, user, folder string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Run("mbpath", what, s.Mailbox(user, folder)))
}

// MessageFile is the file of a message.
func (s *Server) MessageFile(user, folder string, uid uint32) string {
	s.t.Helper()
	return filepath.Join(s.Directory(user, folder), fmt.Sprintf("%d.", uid))
}
