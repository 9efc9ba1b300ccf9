// Package mbox reads and writes mailboxes that are one file each, as RFC 4155
// describes them: messages one after the other, each after a separator line
// "From sender date", with an empty line behind it.
//
// What a message is: the bytes after its separator line, up to but not with the
// last line end before the next separator line or the end of the file (an empty
// line stands there). Nothing within is changed: ">From " stays as it is, and
// headers such as Status, in which programs keep flags, are content. A line is a
// separator when it begins with "From " and ends in a date, at the start of the
// file or of any line; Content-Length is not believed.
//
// Writing: lines of a message that begin with "From " get a ">" in front, as
// every program would take them for separators. Messages that need it are
// quoted as in mboxrd, which can be undone, and are marked by the sender of
// their separator line (see quotedSender), so that they are read back as what
// they were. All others are written as they are. So what came from an mbox goes
// into an mbox byte for byte, and everything written is recognised again.
//
// Package stores opens both. The Source writes nothing; it holds a shared lock
// (fcntl) on a file while it lists it. A message is the same one for as long as
// only such headers change: programs rewrite them whenever mail is read. An
// account of the Destination is locked against other restores while it is open.
package mbox

import (
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/userpath"
)

// Options say where mboxes are.
type Options struct {
	// Root is a file (one folder), or a directory with a file for each folder;
	// with variables, one of either for each user.
	Root     *userpath.Template
	Encoding folder.Encoding
	// User names the only user of a Root without variables.
	User string
}

// childSuffix marks the directory that holds the folders below a folder, as in
// Thunderbird: the folder is the file "Work", its child "Work.sbd/2024".
const childSuffix = ".sbd"
