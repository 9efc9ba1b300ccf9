package upkeep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/progress"
	"salvor/internal/vault"
)

// CheckOptions say how deep to look. The zero value checks the structure.
type CheckOptions struct {
	// ReadData reads every object and compares it with its name; with a Reader
	// also everything inside the packs.
	ReadData bool
	// Percent reads only so much of the packs, chosen by chance; 0 means all.
	Percent int
	Reader  *vault.Reader // nil where no identity is at hand
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
	Deep    bool    `json:"deep"`
	Strays  int     `json:"strays"` // objects that no commit names; prune erases them
	Seconds float64 `json:"seconds"`
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
	journals int // damaged journals and checkpoints
}

func (c *checker) run(ctx context.Context) error {
	past, err := readPast(ctx, c.h)
	if err != nil {
		return err
	}
	c.report.Objects += int64(past.commits)
	there, err := c.list(ctx, past)
	if err != nil {
		return err
	}
	todo, err := c.missing(ctx, past, there)
	if err == nil && c.o.ReadData {
		err = c.read(ctx, todo)
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
		var err error
		switch {
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

// read reads the objects, several at a time.
func (c *checker) read(ctx context.Context, todo []vault.Object) error {
	if c.o.Percent > 0 && c.o.Percent < 100 {
		rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		todo = todo[:(len(todo)*c.o.Percent+99)/100]
	}
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
		c.mu.Lock()
		c.verdicts[o.ID] = ""
		c.mu.Unlock()
	case err == nil:
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
		if err != nil {
			return err
		}
		return c.compare(ctx, info)
	}
	return c.h.Vault.CheckObject(ctx, o)
}

const missingObject = "the object is missing"

type damageKind int

const (
	bytesWrong  damageKind = iota
	bytesAbsent            // nothing in the vault can bring them back
)

// damaged notes a damaged object with the messages that need it. Without
// parity nothing else holds their bytes: they are lost unless the source still
// has them.
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
	if kind == bytesAbsent && d.Affected > 0 {
		c.report.Lost = append(c.report.Lost, d)
	}
	return nil
}
