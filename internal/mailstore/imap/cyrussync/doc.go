// Package cyrussync reads and writes what Cyrus' replication verbs say on the
// IMAP port (capability X-REPLICATION, from 3.0 on): dlists, and in them
// mailboxes with all their records. An administrator can so make a mailbox as
// it was, with its UIDs, UIDVALIDITY, modification sequences, flags and dates.
// It opens no connection; package imap sends what it writes.
//
// The verbs used here, and what is to be known about them (seen with 3.6.1):
//
//   - SYNCGET USER and SYNCGET MAILBOXES tell mailboxes without their records,
//     SYNCGET UNIQUEIDS who has an identity.
//   - SYNCAPPLY MESSAGE leaves contents with the session, in files of the named
//     partition. Naming one that the server does not have kills its process.
//   - SYNCAPPLY MAILBOX makes the mailbox out of contents left before. A record
//     whose content was not, or is empty, kills the server's process.
//   - SYNCRESTORE MAILBOX appends to a mailbox that is there, with new UIDs. For
//     one that is not there it takes the given UNIQUEID even when another
//     mailbox has it, whose directory the new one then shares: it is never
//     used for that here.
package cyrussync
