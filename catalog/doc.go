// Package catalog knows who has which message where, since when and until
// when, and in which pack of the vault its pieces lie.
//
// The vault is the truth and the catalog a view of it: one SQLite file on the
// backup host that can be thrown away and rebuilt. What a run changes is a
// series of rows. The same rows, as JSON lines (docs/format.md, "Catalog
// rows"), are the run's journal in the vault; so a live run (Tx.Put,
// Tx.Delete) and a rebuild (Tx.Apply) go through the same code, and a rebuilt
// catalog answers every query as the lost one did.
//
// It does no more than that: it reads no mail, stores no content, knows no
// object store, makes no decision about retention and never looks at the
// clock. The engines (backup, restore, upkeep, incident) use it, and any
// program that wants to look into a backup may.
//
// # Use
//
// Open gives a Catalog, whose methods are the queries; each sees what was
// committed last, also while a transaction writes. Begin starts the one
// transaction that writes; its queries see its own rows. Queries that can
// return many rows call a function for each of them and keep none.
//
//	c, err := catalog.Open("catalog.db", catalog.Options{MustExist: true})
//	...
//	err = c.Entries(ctx, catalog.Query{Subject: "invoice"}, func(e *catalog.Entry) error {
//		fmt.Println(e.User, e.Folder, e.UID, e.Subject)
//		return nil
//	})
//
// # Invariants
//
//   - The head (the last commit of the vault that was applied) changes in the
//     same SQLite transaction as the rows, and only after the vault has that
//     commit. The catalog may be behind the vault, never ahead of it. That is
//     why synchronous=NORMAL is enough: a power cut may take the last
//     transactions back as a whole, and the next writer applies them again.
//   - A record's mailbox and content, a content's chunks and a long part's
//     data chunks are always there; no row is removed while another needs it.
//   - Reference counts are derived from contents and parts and never come from
//     outside. A chunk that loses its last reference leaves the index at once,
//     so nothing new is built on it; its bytes stay in the pack as dead bytes.
//   - Memory does not grow with the number of rows: page caches are bounded and
//     a long transaction spills into the write-ahead log.
//   - The file, its log and its index are readable by their owner alone (0600)
//     and deleted rows are overwritten (secure_delete).
package catalog
