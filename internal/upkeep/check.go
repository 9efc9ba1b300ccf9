package upkeep

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/parity"
	"salvor/internal/progress"
	"salvor/internal/vault"
)

// CheckOptions say how deep to look. The zero value checks the structure.
type CheckOptions struct {
	// ReadData reads every object and compares it with its name; with a Reader
	// also everything inside the packs.
	ReadData bool
	// Percent reads only about so much of the objects; 0 means all. Which ones
	// follows from their hash and Part: who counts Part up from check to check has
	// read everything after Parts(Percent) of them.
	Percent, Part int
	Reader        *vault.Reader // nil where no identity is at hand
	// Repair puts right what the parity of a vault with several targets can put
	// right, and fills targets that were replaced.
	Repair bool
	// Second is another copy of the vault, from which damaged and missing
	// objects are fetched; nil repairs nothing.
	Second  *vault.Vault
	Meter   progress.Meter
	Workers int
	Now     func() time.Time
}

// Damage is one damaged object and the messages that cannot be restored
// because of it.
type Damage struct {
	Object   string            `json:"object"`
	What     string            `json:"what"`
	Messages []AffectedMessage `json:"messages,omitempty"` // the first maxAffected
	Affected int64             `json:"affected"`           // how many there are
}

// AffectedMessage names a message in a damaged object.
type AffectedMessage struct {
	User   string `json:"user"`
	Folder string `json:"folder"`
	UID    uint32 `json:"uid"`
}

// maxCovered bounds CheckReport.Covered.
const maxCovered = 100

// maxAffected bounds the messages named for each damaged object.
const maxAffected = 1000

// CheckReport is what a check found.
type CheckReport struct {
	Objects   int64    `json:"objects"`
	BytesRead int64    `json:"bytes_read"`
	Damaged   []Damage `json:"damaged"`
	Repaired  []string `json:"repaired"`
	// Lost are those of Damaged whose bytes are not there any more though
	// messages need them.
	Lost []Damage `json:"lost"`
	// Deep: the insides of the packs were read, not only their outside.
	Deep bool `json:"deep"`
	// Covered are the first maxCovered objects that somebody overwrote or hid in a
	// vault with locks; what they were before is still read.
	Covered []string `json:"covered,omitempty"`
	Strays  int      `json:"strays"` // objects that no commit names; prune erases them
	Seconds float64  `json:"seconds"`
}

// Check follows the chain of commits and looks whether every object that it
// names is there and as it should be.
func Check(ctx context.Context, h *history.History, o CheckOptions) (*CheckReport, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	started := o.Now()
	c := &checker{h: h, o: o, verdicts: map[chunk.ID]string{}, report: &CheckReport{Damaged: []Damage{}, Repaired: []string{}, Lost: []Damage{}, Deep: o.ReadData && o.Reader != nil}}
	err := c.run(ctx)
	c.report.Seconds = o.Now().Sub(started).Seconds()
	if err != nil {
		return c.report, fmt.Errorf("check: %w", err)
	}
	return c.report, nil
}

type checker struct {
	h      *history.History
	o      CheckOptions
	mu     sync.Mutex
	report *CheckReport
	// verdicts says of each pack that was looked at what is wrong with it; ""
	// when it was read and is whole.
	verdicts map[chunk.ID]string
	journals int                       // damaged journals and checkpoints
	broken   []vault.Object            // whose bytes are missing or wrong
	hopeless map[string]parity.Finding // by name, what is left of them on the targets
}

func (c *checker) run(ctx context.Context) error {
	past, err := readPast(ctx, c.h)
	if err != nil {
		return err
	}
	c.report.Objects += int64(past.commits)
	err = c.h.Vault.Covered(ctx, func(name string) error {
		if c.report.Covered = append(c.report.Covered, name); len(c.report.Covered) == maxCovered {
			return catalog.ErrStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, catalog.ErrStop) {
		return err
	}
	if err := c.scrub(ctx, past); err != nil {
		return err
	}
	there, err := c.list(ctx, past)
	if err != nil {
		return err
	}
	unread, err := c.missing(ctx, past, there)
	if err == nil {
		unread, err = c.choose(unread)
	}
	if err == nil && len(unread) > 0 {
		err = c.read(ctx, unread)
	}
	if err == nil {
		err = c.healFrom(ctx)
	}
	if err != nil {
		return err
	}
	if err := c.mark(ctx); err != nil {
		return err
	}
	return c.replaceJournals(ctx)
}

// list takes stock of what lies in the store.
func (c *checker) list(ctx context.Context, past past) (map[vault.Object]int64, error) {
	there := map[vault.Object]int64{}
	for _, kind := range []vault.ObjectKind{vault.ObjectPack, vault.ObjectJournal, vault.ObjectCheckpoint} {
		err := c.h.Vault.Objects(ctx, kind, func(s vault.Stored) error {
			c.report.Objects++
			if s.Foreign || !past.named(s.Object) {
				c.report.Strays++
				return nil
			}
			there[vault.Object{Kind: s.Kind, ID: s.ID}] = s.Size
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// missing reports named objects that are absent or have the wrong size, and
// returns the others. What waits to be erased may be gone already.
func (c *checker) missing(ctx context.Context, past past, there map[vault.Object]int64) ([]vault.Object, error) {
	var todo []vault.Object
	for _, o := range past.objects {
		bare := vault.Object{Kind: o.Kind, ID: o.ID}
		if _, waits := past.waiting[bare]; waits || !past.named(o) {
			continue
		}
		size, ok := there[bare]
		hopeless, err := c.unreadable(ctx, o)
		switch {
		case hopeless || err != nil:
		case !ok:
			err = c.damaged(ctx, o, missingObject, bytesAbsent)
		case size < o.Size:
			err = c.damaged(ctx, o, fmt.Sprintf("%d bytes, the commit says %d", size, o.Size), bytesAbsent)
		case size != o.Size:
			err = c.damaged(ctx, o, fmt.Sprintf("%d bytes, the commit says %d", size, o.Size), bytesWrong)
		default:
			todo = append(todo, o)
		}
		if err != nil {
			return nil, err
		}
	}
	return todo, nil
}

// Parts is in how many parts a vault is read with a Percent.
func Parts(percent int) int {
	if percent <= 0 || percent >= 100 {
		return 1
	}
	return (99 + percent) / percent
}

// due tells whether an object is in the part that is to be read.
func (c *checker) due(o vault.Object) bool {
	return c.o.ReadData && int(binary.BigEndian.Uint32(o.ID[:]))%Parts(c.o.Percent) == c.o.Part%Parts(c.o.Percent)
}

// choose gives the objects that are to be read: packs that are marked damaged in
// any case, for they may have been put right, and those that are due.
func (c *checker) choose(todo []vault.Object) ([]vault.Object, error) {
	var chosen []vault.Object
	for _, o := range todo {
		p, ok, err := c.markOf(o)
		if err != nil {
			return nil, err
		}
		if c.due(o) || ok && p.Damaged != "" {
			chosen = append(chosen, o)
		}
	}
	return chosen, nil
}

// read reads the objects, several at a time.
func (c *checker) read(ctx context.Context, todo []vault.Object) error {
	var total int64
	for _, o := range todo {
		total += o.Size
	}
	c.o.Meter.Stage("check")
	c.o.Meter.Total(int64(len(todo)), total)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan vault.Object)
	var wg sync.WaitGroup
	for range c.o.Workers {
		wg.Go(func() {
			for o := range work {
				if err := c.object(ctx, o); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, o := range todo {
		select {
		case work <- o:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

func (c *checker) object(ctx context.Context, o vault.Object) error {
	err := c.look(ctx, o)
	var damage *vault.DamageError
	switch {
	case err == nil && o.Kind == vault.ObjectPack:
		if err := c.whole(o); err != nil {
			return err
		}
	case err == nil:
	case errors.Is(err, errInside):
		if err := c.damaged(ctx, o, err.Error(), bytesInside); err != nil {
			return err
		}
	case errors.As(err, &damage):
		if err := c.damaged(ctx, o, damage.Error(), bytesWrong); err != nil {
			return err
		}
	case errors.Is(err, objstore.ErrNotExist):
		if err := c.damaged(ctx, o, missingObject, bytesAbsent); err != nil {
			return err
		}
	default:
		return err
	}
	c.mu.Lock()
	c.report.BytesRead += o.Size
	c.mu.Unlock()
	c.o.Meter.Add(1, o.Size)
	return nil
}

func (c *checker) look(ctx context.Context, o vault.Object) error {
	if o.Kind == vault.ObjectPack && c.o.Reader != nil {
		info, err := c.o.Reader.CheckPack(ctx, o)
		if err == nil {
			err = c.compare(ctx, info)
		}
		var damage *vault.DamageError
		if errors.As(err, &damage) && c.h.Vault.CheckObject(ctx, o) == nil {
			return fmt.Errorf("%w: %w", errInside, err)
		}
		return err
	}
	return c.h.Vault.CheckObject(ctx, o)
}

const missingObject = "the object is missing"

// errInside begins what is said of a pack whose bytes are the ones that were
// stored: no other copy of it is better, and who cannot look inside cannot say
// that it is whole.
var errInside = errors.New("it was stored with a fault inside")

// whole notes that a pack was found as it should be.
func (c *checker) whole(o vault.Object) error {
	p, _, err := c.markOf(o)
	if err != nil || c.o.Reader == nil && strings.HasPrefix(p.Damaged, errInside.Error()) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdicts[o.ID] = ""
	return nil
}

// markOf gives a pack's row in the catalog, and whether there is one.
func (c *checker) markOf(o vault.Object) (catalog.PackUse, bool, error) {
	if o.Kind != vault.ObjectPack {
		return catalog.PackUse{}, false, nil
	}
	return c.h.Catalog.Pack(o.ID)
}

type damageKind int

const (
	bytesWrong  damageKind = iota
	bytesAbsent            // nothing in the vault can bring them back
	bytesInside            // the right bytes, but no good inside
)

// damaged notes a damaged object with the messages that need it. Without
// parity nothing else here holds their bytes: they are lost unless the source or
// another copy still has them.
func (c *checker) damaged(ctx context.Context, o vault.Object, what string, kind damageKind) error {
	d := Damage{Object: o.Name(), What: what}
	if o.Kind == vault.ObjectPack {
		err := c.h.Catalog.Entries(ctx, catalog.Query{InPacks: []chunk.ID{o.ID}}, func(e *catalog.Entry) error {
			if d.Affected++; len(d.Messages) < maxAffected {
				d.Messages = append(d.Messages, AffectedMessage{User: e.User, Folder: e.Folder, UID: e.UID})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Kind == vault.ObjectPack {
		c.verdicts[o.ID] = what
	} else {
		c.journals++
	}
	c.report.Damaged = append(c.report.Damaged, d)
	if kind != bytesInside {
		c.broken = append(c.broken, o)
	}
	if kind == bytesAbsent && d.Affected > 0 {
		c.report.Lost = append(c.report.Lost, d)
	}
	return nil
}
