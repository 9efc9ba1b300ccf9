package upkeep

import (
	"context"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/history"
	"salvor/internal/vault"
)

// past is what the chain of commits says about objects. A commit is a few
// hundred bytes and names few objects, so years of nights fit in memory; packs
// are kept as bare hashes.
type past struct {
	names      map[chunk.ID]bool // every object that some commit names and none erased
	waiting    map[vault.Object]time.Time
	checkpoint time.Time // of the last commit with a checkpoint; zero: none
	journals   []vault.Object
	objects    []vault.Object // every object that was ever named
	commits    int
}

type condemned struct {
	object vault.Object
	at     time.Time
}

func readPast(ctx context.Context, h *history.History) (past, error) {
	p := past{names: map[chunk.ID]bool{}, waiting: map[vault.Object]time.Time{}}
	err := h.Vault.Commits(ctx, vault.Head{}, func(c *vault.Commit) error {
		p.add(c)
		return nil
	})
	return p, err
}

func (p *past) add(c *vault.Commit) {
	p.commits++
	if len(c.Checkpoints) > 0 {
		p.checkpoint = c.Time
	}
	for _, list := range [][]vault.Object{c.Packs, c.Journals, c.Checkpoints} {
		for _, o := range list {
			p.names[o.ID] = true
			p.objects = append(p.objects, o)
			if o.Kind != vault.ObjectPack {
				p.journals = append(p.journals, o)
			}
		}
	}
	for _, o := range c.Condemned {
		p.waiting[o] = c.Time
	}
	for _, o := range c.Erased {
		delete(p.waiting, o)
		delete(p.names, o.ID)
	}
}

func (p *past) named(o vault.Object) bool { return p.names[o.ID] }

// condemned are the objects that wait for their grace to end.
func (p *past) condemned() (out []condemned) {
	for o, at := range p.waiting {
		out = append(out, condemned{o, at})
	}
	return out
}

// condemns tells whether a signed commit condemned the pack, and with that a
// writer who may. That its row says so proves nothing: any writer's journal can
// put rows.
func (p *past) condemns(pack catalog.Pack) bool {
	_, waits := p.waiting[vault.Object{Kind: vault.ObjectPack, ID: pack.ID}]
	return waits
}

// superseded are the journals and checkpoints that a new checkpoint replaces
// and that no commit has condemned yet.
func (p *past) superseded() (out []vault.Object) {
	for _, o := range p.journals {
		bare := vault.Object{Kind: o.Kind, ID: o.ID}
		if _, waits := p.waiting[bare]; !waits && p.names[o.ID] {
			out = append(out, bare)
		}
	}
	return out
}
