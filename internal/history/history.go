// Package history keeps a vault and its catalog together. The vault's chain of
// commits is what happened; the catalog is the view of it that can be asked
// questions. Follow brings the catalog up to the vault's head, Begin starts
// the next commit on top of it.
//
// Invariants: rows reach the catalog only as lines of a journal, through the
// same code in a live run and in a replay. Objects are durable before the
// commit that names them, the commit before the catalog's own transaction. So
// a catalog may lag behind its vault (a kill, a restored copy, work done from
// another host) but never be ahead of it, and Follow heals any lag.
//
// The engines that write (internal/backup, internal/upkeep) and the commands
// that read call this; nothing here knows what a run is about.
package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"filippo.io/age"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// ErrNoKey says that nothing at hand opens the journals that the catalog has
// to replay.
var ErrNoKey = errors.New("no key at hand opens the vault's journals")

// ErrNoWriter says that this host has no writer key for the vault.
var ErrNoWriter = errors.New("this host has no writer key for the vault")

// History is a vault with its catalog.
type History struct {
	Vault   *vault.Vault
	Catalog *catalog.Catalog
	// Host signs commits; nil on a host that only reads.
	Host *vault.HostKey
	// Keys open journals: the operator's identities where they are at hand.
	// The host's metadata identity is used without being listed here.
	Keys []age.Identity
	// LeaseTTL is how long a lease lives without a sign of its holder; 0: the
	// vault's default.
	LeaseTTL time.Duration
	// LeaseWait is how long Exclusive waits for another writer that is alive; 0:
	// not longer than it takes to see that it is.
	LeaseWait time.Duration
}

func (h *History) keys() []age.Identity {
	keys := append([]age.Identity(nil), h.Keys...)
	if h.Host != nil {
		keys = append(keys, h.Host.Metadata())
	}
	return keys
}

// Follow replays into the catalog the commits that it does not know yet and
// says how many they were. A catalog older than the journals that the vault
// still has starts over from the last checkpoint. With an error the catalog
// stands at the last commit before what could not be read.
func (h *History) Follow(ctx context.Context) (int, error) {
	head, err := h.Catalog.Head()
	if err != nil {
		return 0, err
	}
	if head.Vault != "" && head.Vault != h.Vault.ID() {
		return 0, fmt.Errorf("catalog belongs to vault %s, this is vault %s: %w", head.Vault, h.Vault.ID(), catalog.ErrForeign)
	}
	commits, broken := h.pending(ctx, head)
	if len(commits) == 0 || broken != nil && ctx.Err() != nil {
		return 0, broken
	}
	n, err := h.catchUp(ctx, head, commits)
	if err == nil {
		err = broken // the chain is good up to there
	}
	return n, err
}

func (h *History) catchUp(ctx context.Context, head catalog.Head, commits []*vault.Commit) (int, error) {
	if len(h.keys()) == 0 {
		return 0, fmt.Errorf("replay %d commits: %w", len(commits), ErrNoKey)
	}
	last := lastCheckpoint(commits)
	if last < 0 || head.Number > 0 && h.journalsThere(ctx, commits[:last+1]) {
		n, err := h.replayAll(ctx, commits)
		var damage *vault.DamageError
		if n > last || !errors.As(err, &damage) {
			return n, err
		}
		// A journal is damaged for which the checkpoint stands: such a one is
		// not repaired any more.
	}
	if err := h.replay(ctx, commits[last], replayCheckpoint); err != nil {
		return 0, err
	}
	n, err := h.replayAll(ctx, commits[last+1:])
	return last + 1 + n, err
}

// replayAll applies the journals of commits and says of how many it could.
func (h *History) replayAll(ctx context.Context, commits []*vault.Commit) (int, error) {
	for i, c := range commits {
		if err := h.replay(ctx, c, replayJournals); err != nil {
			return i, err
		}
	}
	return len(commits), nil
}

// pending reads the commits after head. Each is some hundred bytes, a vault
// grows by a few a night: ten years fit into a few megabytes.
func (h *History) pending(ctx context.Context, head catalog.Head) ([]*vault.Commit, error) {
	var out []*vault.Commit
	err := h.Vault.Commits(ctx, vault.Head(head), func(c *vault.Commit) error {
		out = append(out, c)
		return nil
	})
	return out, err
}

func lastCheckpoint(commits []*vault.Commit) int {
	for i := len(commits) - 1; i >= 0; i-- {
		if len(commits[i].Checkpoints) > 0 {
			return i
		}
	}
	return -1
}

// journalsThere tells whether the journals before a checkpoint still exist;
// they are erased some time after it.
func (h *History) journalsThere(ctx context.Context, commits []*vault.Commit) bool {
	for _, c := range commits {
		for _, j := range c.Journals {
			if _, err := h.Vault.Store().Get(ctx, j.Name(), 0, 1); errors.Is(err, objstore.ErrNotExist) || errors.Is(err, fs.ErrNotExist) {
				return false
			}
		}
	}
	return true
}

type replayWhat int

const (
	replayJournals   replayWhat = iota
	replayCheckpoint            // clear the catalog first, and take the checkpoint for all before it
)

// replay applies one commit in one transaction.
func (h *History) replay(ctx context.Context, c *vault.Commit, what replayWhat) error {
	tx, err := h.Catalog.Begin(ctx)
	if err != nil {
		return err
	}
	// Another process of this host may have been faster, since the head was read.
	if head, err := tx.Head(); err != nil || head.Number > c.Number || head == catalog.Head(c.Head()) {
		return errors.Join(err, tx.Rollback())
	}
	objects := c.Journals
	if what == replayCheckpoint {
		objects = c.Checkpoints
		err = tx.Clear()
	}
	if err == nil {
		_, err = h.Lines(ctx, objects, tx.Apply)
	}
	if err == nil {
		return tx.Commit(catalog.Head(c.Head()))
	}
	return errors.Join(fmt.Errorf("replay commit %d: %w", c.Number, err), tx.Rollback())
}

// Lines gives the rows of journals or of a checkpoint, in order, and says how
// many they were.
func (h *History) Lines(ctx context.Context, objects []vault.Object, yield func([]byte) error) (n int, err error) {
	for _, o := range objects {
		err = h.Vault.ReadJournal(ctx, o, h.keys(), func(line []byte) error {
			n++
			return yield(line)
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// A Change is the next commit in the making: the catalog's transaction, the
// journal of its rows, and the packs. It ends with Commit or Abandon.
type Change struct {
	Tx *catalog.Tx

	h       *History
	kind    vault.CommitKind
	base    vault.Head
	journal *vault.JournalWriter
	packer  *vault.Packer
	mu      sync.Mutex // guards commit.Packs, which the packer's goroutine fills
	commit  vault.Commit
}

// Begin starts a commit on top of the catalog's head; call Follow before. It is
// vault.ErrNotAuthentic where this host may not write such a commit. A context
// that is cancelled later does not stop the journal: Commit decides.
func (h *History) Begin(ctx context.Context, kind vault.CommitKind) (*Change, error) {
	if h.Host == nil {
		return nil, ErrNoWriter
	}
	head, err := h.Catalog.Head()
	if err != nil {
		return nil, err
	}
	journal, err := h.Vault.NewJournal(Grace(ctx), vault.ObjectJournal)
	if err != nil {
		return nil, err
	}
	base := vault.Head(head)
	base.Vault = h.Vault.ID()
	if err := h.Vault.MayCommit(ctx, h.Host, base, kind); err != nil {
		return nil, err
	}
	tx, err := h.Catalog.Begin(ctx)
	if err != nil {
		return nil, err
	}
	tx.Journal(journal.Line)
	return &Change{Tx: tx, h: h, kind: kind, base: base, journal: journal}, nil
}

// Number is the number that the commit will have.
func (c *Change) Number() uint64 { return c.base.Number + 1 }

// Packer gives the change's packer, made when it is first asked for. Packs and
// frames reach the catalog as they become durable; what refers to their chunks
// belongs into the packer's After.
func (c *Change) Packer(ctx context.Context) (*vault.Packer, error) {
	if c.packer != nil {
		return c.packer, nil
	}
	p, err := c.h.Vault.NewPacker(ctx, vault.PackerOptions{Stored: c.stored})
	if err != nil {
		return nil, err
	}
	c.packer = p
	return p, nil
}

func (c *Change) stored(p vault.PackInfo) error {
	c.mu.Lock()
	c.commit.Packs = append(c.commit.Packs, p.Object())
	c.mu.Unlock()
	rows := make([]catalog.Row, 0, len(p.Frames)+1)
	rows = append(rows, catalog.Pack{ID: p.ID, Size: p.Size, Commit: c.Number(), CreatedAt: time.Now().UTC()})
	for _, f := range p.Frames {
		rows = append(rows, frameRow(p.ID, f))
	}
	return c.Tx.Put(rows...)
}

func frameRow(pack chunk.ID, f vault.FrameInfo) catalog.Frame {
	row := catalog.Frame{Pack: pack, Offset: f.Offset, Stored: f.Stored, Plain: f.Plain, Method: f.Method,
		Chunks: make([]catalog.FrameChunk, len(f.Chunks))}
	for i, ch := range f.Chunks {
		row.Chunks[i] = catalog.FrameChunk(ch)
	}
	return row
}

// Flush makes everything that was added to the packer durable and known to the
// catalog's transaction; a later Packer starts a new pack.
func (c *Change) Flush() error {
	if c.packer == nil {
		return nil
	}
	p := c.packer
	c.packer = nil
	return p.Close()
}

// Condemn lets the commit condemn objects: from then on they are absent for
// deduplication, and a later prune erases them.
func (c *Change) Condemn(objects ...vault.Object) {
	c.commit.Condemned = append(c.commit.Condemned, objects...)
}

// Erased lets the commit say which condemned objects were erased.
func (c *Change) Erased(objects ...vault.Object) {
	c.commit.Erased = append(c.commit.Erased, objects...)
}

// Checkpoints names the checkpoint objects that stand for all journals so far.
func (c *Change) Checkpoints(objects ...vault.Object) {
	c.commit.Checkpoints = append(c.commit.Checkpoints, objects...)
}

// Commit writes packs, journal and commit object in this order and then
// commits the catalog. When somebody else was faster it returns
// vault.ErrLostRace, and nothing has happened. A context that is cancelled
// meanwhile does not leave it half done; see Grace.
func (c *Change) Commit(ctx context.Context, now time.Time) (vault.Head, error) {
	ctx = Grace(ctx)
	err := c.Flush()
	if err == nil {
		c.commit.Journals, err = c.journal.Close()
	}
	if err != nil {
		return vault.Head{}, errors.Join(err, c.Tx.Rollback())
	}
	c.commit.Kind, c.commit.Time = c.kind, now
	head, err := c.h.Vault.Commit(ctx, c.h.Host, c.base, &c.commit)
	if err != nil {
		return vault.Head{}, errors.Join(err, c.Tx.Rollback())
	}
	if err := c.Tx.Commit(catalog.Head(head)); err != nil {
		return head, fmt.Errorf("commit %d stands in the vault, but the catalog could not take it (the next command replays it): %w", head.Number, err)
	}
	return head, nil
}

// Abandon throws the change away. Packs that were stored already are named by
// no commit; a later prune erases them.
func (c *Change) Abandon() error {
	if c.packer != nil {
		c.packer.Abort()
		c.packer = nil
	}
	return c.Tx.Rollback()
}

// Cutting gives the vault's fixed parameters of cutting.
func (c *Change) Cutting() chunk.Params { return c.h.Vault.Config().Cutting }

// StoredBytes is how much the packs of this change have grown the vault so far.
func (c *Change) StoredBytes() int64 {
	var n int64
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.commit.Packs {
		n += p.Size
	}
	return n
}
