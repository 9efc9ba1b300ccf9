// Package wire speaks IMAP (RFC 9051, RFC 3501) as a client: connections with
// TLS and authentication, commands in flight side by side, answers handed to
// the command that they belong to, UID sets, and the dozen commands that a
// backup and a restore need. Commands that it has no function for can be built
// with NewCommand and their answers read as values or, where a server leaves
// IMAP's grammar (Cyrus' replication verbs), as raw text and literals.
//
// It knows no mailstore and no names but those on the wire (modified UTF-7 is
// the caller's, see package folder). Packages imap's source and destination
// call it.
//
// Everything that a server sends is bounded: the text and the literals of one
// answer, what comes between two answers that somebody waits for, nesting, and
// the time in which nothing arrives. What breaks a bound breaks the connection,
// with an error that names the server and the bound. Secrets never stand in
// errors.
package wire
