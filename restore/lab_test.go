package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/objstore/dir"
	"salvor/internal/vault"
)

// A lab is a vault and a catalog in temporary directories, filled by hand as a
// backup would.
type lab struct {
	t       testing.TB
	dir     string // of the vault
	vault   *vault.Vault
	keys    []age.Identity
	catalog *catalog.Catalog
	cutter  *chunk.Cutter
	number  uint64
	boxes   map[string]int64 // ids by user and folder
	users   map[string]bool
}

// begun is when the first backup of every lab ran; each one takes an hour.
var begun = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

func newLab(t testing.TB) *lab {
	t.Helper()
	identity, err := vault.NewIdentity(vault.IdentityOptions{})
	check(t, err)
	l := &lab{t: t, dir: filepath.Join(t.TempDir(), "vault"), keys: []age.Identity{identity.Key()},
		boxes: map[string]int64{}, users: map[string]bool{}}
	store, err := dir.Open(t.Context(), l.dir, dir.Options{Create: true})
	check(t, err)
	params, err := chunk.NewParams()
	check(t, err)
	l.vault, err = vault.Create(t.Context(), store, vault.CreateOptions{
		Root: identity.Root(), Recipients: []string{identity.Recipient()}, Cutting: params})
	check(t, err)
	l.cutter, err = chunk.NewCutter(params)
	check(t, err)
	l.catalog, err = catalog.Open(filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, l.catalog.Close()) })
	return l
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A mail is one record to be backed up.
type mail struct {
	user, folder string
	uid          uint32
	stored       string
	flags        []string
	record       func(*catalog.Record) // changes the row before it is put
}

// backup puts the mails into the vault, in one pack for each call unless they
// are many, and their rows into the catalog.
func (l *lab) backup(mails ...mail) {
	l.t.Helper()
	l.number++
	tx, err := l.catalog.Begin(l.t.Context())
	check(l.t, err)
	var cut []chunk.Message
	for _, c := range l.pack(tx, mails) {
		cut = append(cut, c)
	}
	for i, m := range mails {
		l.putContent(tx, &cut[i])
		l.putRecord(tx, m, &cut[i])
	}
	check(l.t, tx.Commit(catalog.Head{Vault: l.vault.ID(), Number: l.number, Hash: chunk.Sum([]byte{byte(l.number)})}))
}

// pack stores the chunks of the mails and puts the rows of the packs.
func (l *lab) pack(tx *catalog.Tx, mails []mail) []chunk.Message {
	p, err := l.vault.NewPacker(l.t.Context(), vault.PackerOptions{Stored: func(p vault.PackInfo) error {
		return putPack(tx, p, l.number)
	}})
	check(l.t, err)
	var cut []chunk.Message
	for _, m := range mails {
		c := l.cutter.Cut([]byte(m.stored))
		l.add(tx, p, chunk.Ref{Kind: chunk.KindMessage, ID: c.ID}, c.Recipe)
		kept := *c
		kept.Recipe, kept.Parts = nil, nil
		for _, part := range c.Parts {
			l.addPart(tx, p, part)
			kept.Parts = append(kept.Parts, chunk.Part{ID: part.ID, Data: slices.Clone(part.Data)})
		}
		cut = append(cut, kept)
	}
	check(l.t, p.Close())
	return cut
}

func (l *lab) addPart(tx *catalog.Tx, p *vault.Packer, part chunk.Part) {
	pieces := l.cutter.Split(part.Data)
	var ids []chunk.ID
	for _, piece := range pieces {
		ids = append(ids, chunk.Sum(piece))
		l.add(tx, p, chunk.Ref{Kind: chunk.KindData, ID: chunk.Sum(piece)}, piece)
	}
	if len(pieces) > 1 {
		l.add(tx, p, chunk.Ref{Kind: chunk.KindPart, ID: part.ID}, chunk.EncodePartList(ids, int64(len(part.Data))))
	}
}

func (l *lab) add(tx *catalog.Tx, p *vault.Packer, ref chunk.Ref, data []byte) {
	known, err := tx.HasChunk(ref)
	check(l.t, err)
	if !known {
		check(l.t, p.Add(ref, data))
	}
}

func putPack(tx *catalog.Tx, p vault.PackInfo, number uint64) error {
	if err := tx.Put(catalog.Pack{ID: p.ID, Size: p.Size, Commit: number}); err != nil {
		return err
	}
	for _, f := range p.Frames {
		row := catalog.Frame{Pack: p.ID, Offset: f.Offset, Stored: f.Stored, Plain: f.Plain, Method: f.Method}
		for _, c := range f.Chunks {
			row.Chunks = append(row.Chunks, catalog.FrameChunk(c))
		}
		if err := tx.Put(row); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) putContent(tx *catalog.Tx, c *chunk.Message) {
	row := catalog.Content{ID: c.ID, SHA1: c.SHA1, Size: c.Size}
	for _, part := range c.Parts {
		ref := chunk.Ref{Kind: chunk.KindData, ID: part.ID}
		if pieces := l.cutter.Split(part.Data); len(pieces) > 1 {
			ref.Kind = chunk.KindPart
			list := catalog.Part{ID: part.ID, Size: int64(len(part.Data))}
			for _, piece := range pieces {
				list.Chunks = append(list.Chunks, chunk.Sum(piece))
			}
			check(l.t, tx.Put(list))
		}
		row.Parts = append(row.Parts, ref)
	}
	check(l.t, tx.Put(row))
}

func (l *lab) time() time.Time { return begun.Add(time.Duration(l.number) * time.Hour) }

func (l *lab) putRecord(tx *catalog.Tx, m mail, c *chunk.Message) {
	if !l.users[m.user] {
		l.users[m.user] = true
		check(l.t, tx.Put(catalog.User{Name: m.user, FirstRun: l.number, FirstSeen: l.time()}))
	}
	key := m.user + "\x00" + m.folder
	if l.boxes[key] == 0 {
		l.boxes[key] = l.putMailbox(tx, catalog.Mailbox{User: m.user, Name: m.folder, UIDValidity: 7, Subscribed: true})
	}
	id, err := tx.NextID(catalog.RecordIDs)
	check(l.t, err)
	r := catalog.Record{ID: id, Mailbox: l.boxes[key], UID: m.uid, Key: fmt.Sprintf("%d.host", m.uid),
		Content: c.ID, Stored: c.Stored, StoredSize: c.StoredSize, LineEnds: c.LineEnds, Flags: m.flags,
		InternalDate: begun.AddDate(0, 0, -int(m.uid)), FirstRun: l.number, FirstSeen: l.time()}
	if m.record != nil {
		m.record(&r)
	}
	check(l.t, tx.Put(r))
}

func (l *lab) putMailbox(tx *catalog.Tx, m catalog.Mailbox) int64 {
	var err error
	m.ID, err = tx.NextID(catalog.MailboxIDs)
	check(l.t, err)
	m.FirstRun, m.FirstSeen = l.number, l.time()
	check(l.t, tx.Put(m))
	return m.ID
}

// change runs fn in a transaction of its own.
func (l *lab) change(fn func(*catalog.Tx)) {
	l.t.Helper()
	l.number++
	tx, err := l.catalog.Begin(l.t.Context())
	check(l.t, err)
	fn(tx)
	check(l.t, tx.Commit(catalog.Head{Vault: l.vault.ID(), Number: l.number, Hash: chunk.Sum([]byte{byte(l.number)})}))
}

// adapter makes a vault's reader the engine's Chunks.
type adapter struct{ *vault.Reader }

func (a adapter) Chunk(ctx context.Context, at catalog.Location, ref chunk.Ref, room []byte) ([]byte, error) {
	return a.Reader.Chunk(ctx, vault.Location(at), ref, room)
}

func (l *lab) options(to Destination) Options {
	l.t.Helper()
	r, err := l.vault.NewReader(l.keys, vault.ReaderOptions{})
	check(l.t, err)
	return Options{Catalog: l.catalog, Chunks: adapter{r}, Destination: to, To: "memory"}
}

// packs gives the files of the vault's packs, in the order of their names.
func (l *lab) packs() []string {
	var files []string
	check(l.t, filepath.WalkDir(filepath.Join(l.dir, "packs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	return files
}

// damage changes a pack's file.
func damage(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	check(t, err)
	check(t, os.Chmod(file, 0o600))
	check(t, os.WriteFile(file, change(b), 0o600))
}

// A memory is a destination for tests. It keeps what it was given and stores
// as its real counterparts do: present is what it holds.
type memory struct {
	mu    sync.Mutex
	users map[string]*memoryAccount
	// These are asked before each Add, Mailbox, Present and Close.
	adding  func(Delivery) error
	opening func(Mailbox) error
	looking func(mailbox string) error
	closing func() error
}

type memoryAccount struct {
	to     *memory
	boxes  map[string]Mailbox
	mails  map[string][]Delivery
	closed int
}

func newMemory() *memory { return &memory{users: map[string]*memoryAccount{}} }

var errReadOnly = errors.New("read-only file system")

func (m *memory) Account(ctx context.Context, user string) (Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[user] == nil {
		m.users[user] = &memoryAccount{to: m, boxes: map[string]Mailbox{}, mails: map[string][]Delivery{}}
	}
	return m.users[user], nil
}

func (a *memoryAccount) Mailbox(ctx context.Context, box Mailbox) error {
	if a.to.opening != nil {
		if err := a.to.opening(box); err != nil {
			return err
		}
	}
	if _, there := a.boxes[box.Name]; !there {
		a.boxes[box.Name] = box
	}
	return nil
}

func (a *memoryAccount) Present(ctx context.Context, mailbox string, yield func(chunk.ID) error) error {
	if a.to.looking != nil {
		if err := a.to.looking(mailbox); err != nil {
			return err
		}
	}
	for _, d := range a.mails[mailbox] {
		id, _, _ := chunk.WireSums(d.Stored)
		if err := yield(id); err != nil {
			return err
		}
	}
	return nil
}

func (a *memoryAccount) Add(ctx context.Context, d Delivery) (UID, error) {
	if _, there := a.boxes[d.Mailbox]; !there {
		return 0, fmt.Errorf("no mailbox %q", d.Mailbox)
	}
	if a.to.adding != nil {
		if err := a.to.adding(d); err != nil {
			return 0, err
		}
	}
	if id, _, _ := chunk.WireSums(d.Stored); id != d.Content {
		return 0, fmt.Errorf("stored bytes are %s, want %s", id, d.Content)
	}
	// The LF form of a message and its wire form have the same wire form,
	// unless a line of it ends in CR CR LF.
	d.Stored, d.LF = bytes.Clone(d.Stored), bytes.Clone(d.LF)
	a.mails[d.Mailbox] = append(a.mails[d.Mailbox], d)
	return d.UID, nil
}

func (a *memoryAccount) Close(ctx context.Context) error {
	a.closed++
	if a.to.closing != nil {
		return a.to.closing()
	}
	return ctx.Err()
}

// texts gives the messages of a user by folder, sorted.
func (m *memory) texts(user string) map[string][]string {
	all := map[string][]string{}
	if m.users[user] == nil {
		return all
	}
	for folder, mails := range m.users[user].mails {
		for _, d := range mails {
			all[folder] = append(all[folder], string(d.Stored))
		}
		slices.Sort(all[folder])
	}
	return all
}

func sameTexts(t *testing.T, got, want map[string][]string) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %d folders, want %d:\n got %.2000q\nwant %.2000q", len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
	}
}
