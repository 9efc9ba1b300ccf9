// Package vault is the backup as it lies in object storage: encrypted packs of
// chunks, the journals of what each run learned, and the signed, numbered
// commits that make a run exist. docs/format.md is its description, byte by
// byte; every "section" named here is one of that document.
//
// It does: identities, writer keys and their certificates; config; commits
// (write, verify, follow); packs (compress, encrypt, cut, read by range,
// check); journals and checkpoints; the lease. It does not know what mail is,
// what a row in a journal means, what may be deleted, or where a chunk lies:
// the catalog says that, and the engines (internal/backup, restore,
// internal/upkeep) put the two together.
//
// Invariants, from which the order of writing, reading and deleting follows:
//
//   - Objects are immutable and created only if absent. A pack, journal or
//     checkpoint is named by the SHA-256 of its stored bytes.
//   - A commit is written after everything it names is durable. Nothing exists
//     for a reader until a commit names it.
//   - Safety rests on commit N being created only if absent, by a writer that
//     has followed the chain up to N-1. The lease only saves work.
//   - Everything that was read is hostile until it is verified: sizes and
//     counts are bounded before memory is taken for them, and nothing panics.
//
// Authenticity: age does not say who wrote, so whoever knows a recipient can
// make a valid age file. Therefore a reader accepts only objects that a signed
// commit names, as the kind that it names: packs are reached through the
// catalog, whose rows come from journals, which commits name. Each plaintext
// begins with its kind, version and vault id, and each signed text with its
// own first line, so that none can be taken for another.
package vault
