// Package mailgen makes mail that nobody has written: whole Maildir++ trees of
// users who write to each other, quote, forward, attach, file and delete, with
// the sizes and the repetitions of real mail. The same options and seed give
// the same bytes on every machine.
//
// What it imitates, since backup programs differ by it: a message that went to
// several people stands in several mailboxes with different headers and the
// same parts; attachments come back in forwards and in changed versions; text
// follows Zipf's law and quotes earlier text; most attached bytes do not
// compress. Sizes follow a measured corpus: median 8 KB, mean 80 KB outside of
// Junk, largest 18 MB, a fifth with attachments, each attached byte held 2.15
// times.
//
// On disk it writes what Dovecot 2.3 writes: names with S= and W=, flags and
// keyword letters, dovecot-uidlist version 3, dovecot-keywords, subscriptions,
// modification times as internal dates. Day applies one day's changes to such
// a tree.
//
// Tests and internal/bench use it; nothing of salvor itself does. It keeps no
// message in memory that it has written.
package mailgen
