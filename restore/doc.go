// Package restore puts mail out of the vault back into a mail store: a server,
// a user, a folder, a message; as it is, as it was, or what was deleted.
//
// User restores one user, All many of them side by side, Message fetches a
// single message to be shown. The package reads the catalog to find out what
// belongs where, the vault through Chunks, and writes to a Destination. It
// keeps nothing, decides nothing about retention, never reads a mail store's
// files itself and never writes to vault or catalog. cmd/salvor calls it, and
// any program that has a catalog and a way to read chunks may.
//
// # The order of work
//
// All begins the users in the order given; MakePlan makes one of who misses mail
// most. For each user one query streams the selected records in the order in which
// their message chunks lie in the packs, or with Options.NewestFirst INBOX and the
// newest mail first, in blocks that keep that order. A backup writes what belongs to one
// user together, so packs are read from front to back and a compressed frame is
// decoded once, as long as it is needed while it is in the reader's cache; only
// pieces shared with mail of another time or user are looked for elsewhere.
// Workers fetch, rebuild and prove messages; one loop per user decides what is needed, hands
// out the work and adds the results in the order of the stream. All calls of an
// Account come from that loop, and what is added does not depend on how fast
// the workers were.
//
// # What is restored
//
// Presence is counted. For each folder and content, wanted is how many of the
// selected records hold it, present how many copies the destination holds when
// the folder is first met; max(0, wanted - present) copies are added. Hence
// restoring again adds nothing, a restore that was interrupted is completed by
// running it again, and of two equal messages both come back into an empty
// folder. Wanted counts the selected records only: when a user deleted one of
// two equal messages, restoring what was deleted into the folder that still
// holds the other one adds nothing.
//
// What vanished from the source and is held by the brake (nobody has said that
// its user deleted it) belongs to a restore of what is there, and is counted as
// Report.MaybeDeleted. What only moved is restored where it is now.
//
// # What a caller wishes for
//
// With Options.Choose the caller lists the messages instead of a query: a Wish is
// a content, of whomever, and where it belongs. Options.Settled is told what
// became of each. What was added counts only when the account is closed; until
// then about six bytes are kept of it. Accounts are not closed in between: some
// destinations put a folder into its place as a whole, and a second beginning
// would cost the original UIDs. What a kill leaves untold is found as Present by
// the next restore.
//
// Invariants:
//
//   - Additive: nothing at the destination is overwritten, changed or removed.
//   - Nothing is added unless the SHA-256 of its stored bytes is the record's.
//     A backup hashes them and the wire form, whose SHA-256 is the content's
//     id, at the same time; to hash the wire form again would prove no more.
//   - A message that is damaged or missing in the vault fails alone and by
//     name. An error of the destination ends that user's restore only.
//   - Memory is bounded whatever the number of messages: a window of entries, a
//     budget of bytes over all users, 36 bytes for each message that a folder of
//     the destination already holds, and six for each that is added to it.
//   - The engine syncs nothing; Account.Close makes everything durable at once
//     and is called also after an error or when the context has ended.
package restore
