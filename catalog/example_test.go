package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"salvor/catalog"
	"salvor/chunk"
)

// A run puts rows and keeps their lines as its journal; another catalog applies
// the journal and answers the same questions.
func Example() {
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	head := catalog.Head{Vault: "example", Number: 1, Hash: chunk.Sum([]byte("the commit"))}

	// What a backup of one message writes.
	night := time.Date(2024, 5, 1, 2, 30, 0, 0, time.UTC)
	message := chunk.Ref{Kind: chunk.KindMessage, ID: chunk.Sum([]byte("a message"))}
	pack := catalog.Pack{ID: chunk.Sum([]byte("a pack")), Size: 4096, Commit: 1, CreatedAt: night}
	rows := []catalog.Row{
		pack,
		catalog.Frame{Pack: pack.ID, Offset: 64, Stored: 200, Plain: 300, Method: catalog.MethodZstd,
			Chunks: []catalog.FrameChunk{{Kind: message.Kind, ID: message.ID, Offset: 0, Size: 300}}},
		catalog.Content{ID: message.ID, Size: 310, From: "Bob <bob@example.org>", Subject: "The invoice"},
		catalog.User{Name: "alice", FirstRun: 1, FirstSeen: night, LastRun: 1},
		catalog.Mailbox{ID: 1, User: "alice", Name: "INBOX", UIDValidity: 1714530600},
		catalog.Record{ID: 1, Mailbox: 1, UID: 7, Content: message.ID, Flags: []string{`\Seen`},
			InternalDate: night, FirstRun: 1, FirstSeen: night},
		catalog.Run{Number: 1, Kind: "backup", Started: night, Finished: night.Add(time.Minute)},
	}

	var journal bytes.Buffer
	write(ctx, filepath.Join(dir, "live.db"), head, func(tx *catalog.Tx) error {
		tx.Journal(func(line []byte) error { _, err := journal.Write(line); return err })
		return tx.Put(rows...)
	})
	write(ctx, filepath.Join(dir, "rebuilt.db"), head, func(tx *catalog.Tx) error {
		for line := range bytes.Lines(journal.Bytes()) {
			if err := tx.Apply(line); err != nil {
				return err
			}
		}
		return nil
	})

	c, err := catalog.Open(filepath.Join(dir, "rebuilt.db"), catalog.Options{MustExist: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = c.Entries(ctx, catalog.Query{From: "BOB@", Subject: "invoice"}, func(e *catalog.Entry) error {
		fmt.Println(e.User, e.Folder, e.UID, e.Flags, e.Subject, e.Where.FrameOffset)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: alice INBOX 7 [\Seen] The invoice 64
}

// write opens a catalog and runs one transaction.
func write(ctx context.Context, path string, head catalog.Head, do func(*catalog.Tx) error) {
	c, err := catalog.Open(path, catalog.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	tx, err := c.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(head); err != nil {
		log.Fatal(err)
	}
}
