package catalog

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"salvor/chunk"
)

var ctx = context.Background()

var night = time.Date(2024, 5, 1, 2, 30, 0, 123456789, time.UTC)

func testID(format string, args ...any) chunk.ID { return chunk.Sum(fmt.Appendf(nil, format, args...)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newCatalog opens an empty catalog of its own.
func newCatalog(t testing.TB) *Catalog {
	t.Helper()
	return reopen(t, filepath.Join(t.TempDir(), "catalog.db"))
}

func reopen(t testing.TB, path string) *Catalog {
	t.Helper()
	c, err := Open(path, Options{})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func begin(t testing.TB, c *Catalog) *Tx {
	t.Helper()
	tx, err := c.Begin(ctx)
	must(t, err)
	t.Cleanup(func() { must(t, tx.Rollback()) })
	return tx
}

// commit ends tx with the next head.
func commit(t testing.TB, tx *Tx) {
	t.Helper()
	h, err := tx.Head()
	must(t, err)
	must(t, tx.Commit(Head{Vault: "v", Number: h.Number + 1, Hash: testID("commit %d", h.Number+1)}))
}

// apply puts rows in a transaction of their own.
func apply(t testing.TB, c *Catalog, rows ...Row) {
	t.Helper()
	tx := begin(t, c)
	must(t, tx.Put(rows...))
	commit(t, tx)
}

type dumperOf interface {
	Dump(context.Context, func([]byte) error) error
}

func dump(t testing.TB, c dumperOf) string {
	t.Helper()
	var b bytes.Buffer
	must(t, c.Dump(ctx, func(line []byte) error { b.Write(line); return nil }))
	return b.String()
}

func data(format string, args ...any) chunk.Ref {
	return chunk.Ref{Kind: chunk.KindData, ID: testID(format, args...)}
}

// frame packs chunks of 100 bytes.
func frame(pack chunk.ID, offset int64, refs ...chunk.Ref) Frame {
	f := Frame{Pack: pack, Offset: offset, Stored: int64(50 * len(refs)), Plain: int64(100 * len(refs)), Method: MethodZstd}
	for i, r := range refs {
		f.Chunks = append(f.Chunks, FrameChunk{Kind: r.Kind, ID: r.ID, Offset: int64(100 * i), Size: 100})
	}
	return f
}

func message(id chunk.ID) chunk.Ref { return chunk.Ref{Kind: chunk.KindMessage, ID: id} }

// sample is one user with one message in two folders, one of them deleted.
func sample() []Row {
	pack, m, part := testID("pack"), testID("message"), testID("part")
	d1, d2 := data("d1"), data("d2")
	gone := night.Add(48 * time.Hour)
	return []Row{
		Run{Number: 1, Kind: "backup", Started: night, Finished: night.Add(time.Minute)},
		Run{Number: 3, Kind: "backup", Started: gone, Problems: []string{"a\nb"}},
		Pack{ID: pack, Size: 1000, Commit: 1, CreatedAt: night},
		frame(pack, 10, d1, d2, message(m)),
		frame(pack, 300, chunk.Ref{Kind: chunk.KindPart, ID: part}),
		Part{ID: part, Size: 200, Chunks: []chunk.ID{d1.ID, d2.ID, d1.ID}},
		Content{ID: m, SHA1: chunk.SHA1{1, 2}, Size: 321, Parts: []chunk.Ref{d1, {Kind: chunk.KindPart, ID: part}},
			From: "Jörg <j@example.org>", To: "a@b", Subject: "Straße 100%", MessageID: "<x_1@y>", Date: &night},
		User{Name: "alice", Partition: "p1", FirstRun: 1, LastRun: 3},
		Mailbox{ID: 1, User: "alice", Name: "INBOX", UIDValidity: 7},
		Mailbox{ID: 2, User: "alice", Name: "Sent", SpecialUse: `\Sent`},
		Record{ID: 1, Mailbox: 1, UID: 5, Key: "k\xff1", Content: m, Stored: testID("lf"), StoredSize: 300, LineEnds: "lf",
			Flags: []string{`\Seen`, "work"}, InternalDate: night, FirstRun: 1, FirstSeen: night},
		Record{ID: 2, Mailbox: 2, UID: 9, Content: m, StoredSize: 321, InternalDate: night, FirstRun: 1, FirstSeen: night,
			GoneRun: 3, GoneAt: &gone},
		Hold{ID: 1, User: "alice", Run: 3, Reason: "why", Records: 4},
		Tombstone{User: "bob", Content: testID("old"), Until: gone},
		Ack{Attention: "x", At: gone, By: "op"},
		Lock{Until: gone, Target: gone, Began: gone, Next: "packs/00", Left: 1, Waiting: 2, WaitingBytes: 3, WaitingUntil: gone},
		Incident{Name: "fire", Source: "s", Index: "cyrus:/etc/imapd.conf", At: night, OpenedAt: gone, OpenedBy: "op", Head: 7, HeadHash: testID("head"),
			Run: 1, Kept: "/keep", KeptSum: testID("sums"), Claims: 2, Problems: []string{"a\nb"}},
		Claim{Incident: "fire", ID: 1, User: "alice", Folder: "INBOX", UIDValidity: 7, UID: 5, State: ClaimHeld, Content: m, SHA1: chunk.SHA1{1, 2},
			Size: 321, Flags: []string{`\Seen`}, InternalDate: night, MessageID: "<x_1@y>", Record: 1},
		Claim{Incident: "fire", ID: 2, User: "carol\xff", Folder: "INBOX", UIDValidity: 7, UID: 6, State: ClaimOwed, Reason: "why",
			Name: "1.M2P3.host,S=5,W=6", Envelope: `(NIL "s")`, SettledAt: gone, NowStore: "imap://h", NowFolder: "INBOX", NowValidity: 7, NowUID: 9,
			Grade: GradeProbable, TakenAt: gone, SentAt: gone, SentStore: "imap://h", SentFolder: "INBOX", SentValidity: 7, SentNext: 8,
			SentOrder: 1, SentSum: testID("sent"), Doubt: true},
		Gate{Incident: "fire", User: "alice", State: GateWeb, Reason: "why", Store: "imap://h", Dangling: 2, CheckedAt: gone, Told: GateDown},
		Finding{Incident: "fire", ID: "0123456789abcdef", Salvage: "s", Class: "damaged", Grade: "partial", Why: "why", User: "alice\xff", UserBy: "path",
			Folder: "INBOX", UID: 3, Claim: 2, Content: m, Stored: testID("lf"), StoredSize: 300, LineEnds: "lf", Name: "1.M2", Date: night,
			MessageID: "<x@y>", From: "f", Subject: "s", Source: "disk", How: "file", Path: "/u/\n", Inode: -1, Offset: 4096,
			Extents: []FindingExtent{{At: 1, Off: 2, Len: 3, Unwritten: true}, {Off: 5}}, Missing: []FindingGap{{Off: 1, Len: 2}}, Places: 2},
		Drill{At: gone, Seconds: 1.5, Users: 1, Messages: 2, Bytes: 3, Failed: 4, DataAt: night, Store: "maildir:/x", Problems: []string{"p"}},
	}
}

func TestSampleRoundTrip(t *testing.T) {
	c := newCatalog(t)
	apply(t, c, sample()...)
	want := dump(t, c)
	d := newCatalog(t)
	tx := begin(t, d)
	for _, line := range bytes.SplitAfter([]byte(want), []byte("\n")) {
		if len(line) > 0 {
			must(t, tx.Apply(line))
		}
	}
	commit(t, tx)
	if got := dump(t, d); got != want {
		t.Fatalf("dump of the rebuilt catalog:\n%s\nwant:\n%s", got, want)
	}
}
