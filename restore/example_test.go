package restore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/restore"
)

// printer is a destination that only says what it gets.
type printer struct{}

func (printer) Account(ctx context.Context, user string) (restore.Account, error) {
	return printer{}, nil
}

func (printer) Mailbox(ctx context.Context, box restore.Mailbox) error {
	fmt.Printf("folder %s, UIDVALIDITY %d\n", box.Name, box.UIDValidity)
	return nil
}

func (printer) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	return nil // an empty one
}

func (printer) Add(ctx context.Context, d restore.Delivery) (restore.UID, error) {
	fmt.Printf("%s: UID %d %v: %q\n", d.Mailbox, d.UID, d.Flags, d.Stored)
	return d.UID, nil
}

func (printer) Close(ctx context.Context) error { return nil }

// pieces stands for the vault.
type pieces map[chunk.Ref][]byte

func (p pieces) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	return p[ref], nil
}

func ExampleUser() {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	defer os.RemoveAll(dir)
	c, err := catalog.Open(filepath.Join(dir, "catalog.db"), catalog.Options{})
	check(err)
	defer c.Close()
	vault := backUp(c, "Subject: hello\n\nworld\n")

	report, err := restore.User(context.Background(), "alice", restore.Options{
		Catalog:     c,
		Chunks:      vault,
		Destination: printer{},
		Into:        "RESTORED",
	})
	check(err)
	fmt.Printf("%d restored, %d failed\n", report.Messages, report.Failed)
	// Output:
	// folder RESTORED/INBOX, UIDVALIDITY 7
	// RESTORED/INBOX: UID 42 [\Seen]: "Subject: hello\n\nworld\n"
	// 1 restored, 0 failed
}

// backUp is what the nightly run does, for a message short enough to have no
// parts beside its recipe.
func backUp(c *catalog.Catalog, stored string) pieces {
	cutter, err := chunk.NewCutter(chunk.DefaultParams())
	check(err)
	m := cutter.Cut([]byte(stored))
	tx, err := c.Begin(context.Background())
	check(err)
	check(tx.Put(
		catalog.Pack{ID: chunk.Sum([]byte("pack")), Size: 1000, Commit: 1},
		catalog.Frame{Pack: chunk.Sum([]byte("pack")), Stored: 500, Plain: int64(len(m.Recipe)), Method: catalog.MethodZstd,
			Chunks: []catalog.FrameChunk{{Kind: chunk.KindMessage, ID: m.ID, Size: int64(len(m.Recipe))}}},
		catalog.Content{ID: m.ID, SHA1: m.SHA1, Size: m.Size},
		catalog.User{Name: "alice", FirstRun: 1},
		catalog.Mailbox{ID: 1, User: "alice", Name: "INBOX", UIDValidity: 7, FirstRun: 1},
		catalog.Record{ID: 1, Mailbox: 1, UID: 42, Content: m.ID, Stored: m.Stored, StoredSize: m.StoredSize, LineEnds: m.LineEnds,
			Flags: []string{`\Seen`}, InternalDate: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), FirstRun: 1},
	))
	check(tx.Commit(catalog.Head{Vault: "example", Number: 1, Hash: chunk.Sum([]byte("commit"))}))
	return pieces{{Kind: chunk.KindMessage, ID: m.ID}: append([]byte(nil), m.Recipe...)}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
