package replicate

import (
	"context"

	"salvor/internal/vault"
)

// A line is a vault's chain of commits, verified, and what it says about
// objects. A commit is a few hundred bytes and names few objects: the nights of
// ten years fit in memory.
type line struct {
	commits []*vault.Commit
	objects []vault.Object // that the last commit needs, in the order in which they were named
	// erased are objects that are gone for good, with the number of the commit
	// that condemned each.
	erased map[vault.Object]uint64
}

func readLine(ctx context.Context, v *vault.Vault) (line, error) {
	var l line
	err := v.Commits(ctx, vault.Head{}, func(c *vault.Commit) error {
		l.commits = append(l.commits, c)
		return nil
	})
	l.judge()
	return l, err
}

// judge goes through the commits and sorts out what the last one needs. What
// was condemned is needed by nobody: readers that follow the chain do not ask
// for it.
func (l *line) judge() {
	condemned := map[vault.Object]uint64{}
	l.erased = map[vault.Object]uint64{}
	for _, c := range l.commits {
		for _, list := range [][]vault.Object{c.Packs, c.Journals, c.Checkpoints} {
			for _, o := range list {
				delete(condemned, bare(o))
				delete(l.erased, bare(o))
			}
		}
		for _, o := range c.Condemned {
			condemned[o] = c.Number
		}
		for _, o := range c.Erased {
			l.erased[o] = condemned[o]
		}
	}
	for _, kind := range []vault.ObjectKind{vault.ObjectPack, vault.ObjectJournal, vault.ObjectCheckpoint} {
		for _, c := range l.commits {
			for _, o := range c.Named(kind) {
				if _, gone := condemned[bare(o)]; !gone {
					l.objects = append(l.objects, o)
				}
			}
		}
	}
}

func (l *line) head(id string) vault.Head {
	if len(l.commits) == 0 {
		return vault.Head{Vault: id}
	}
	return l.commits[len(l.commits)-1].Head()
}

// bare is the object as commits that condemn it name it.
func bare(o vault.Object) vault.Object { return vault.Object{Kind: o.Kind, ID: o.ID} }
