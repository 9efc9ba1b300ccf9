package vault

import (
	"crypto/ed25519"
	"fmt"
	"strconv"
	"strings"
	"time"

	"salvor/chunk"
)

// CommitKind says what sort of change a commit makes; it decides which roles
// may write it and what it may name.
type CommitKind string

// The kinds of commits.
const (
	CommitBackup     CommitKind = "backup"     // what a night found
	CommitPrune      CommitKind = "prune"      // expiry, condemning, erasing, repacking
	CommitDecision   CommitKind = "decision"   // what an operator decided
	CommitForget     CommitKind = "forget"     // one user erased at once
	CommitCheckpoint CommitKind = "checkpoint" // all rows written anew
	CommitKey        CommitKind = "key"        // writers changed
)

const (
	commitsPrefix = "commits/"
	commitText    = "commit"
	commitDigits  = 20
)

// A Commit makes the objects that it names part of the vault (section
// "commits").
type Commit struct {
	Vault    string
	Number   uint64 // from 1 on, without gaps
	Previous chunk.ID
	Kind     CommitKind
	Time     time.Time // by the writer's clock
	Writer   WriterID

	Packs       []Object
	Journals    []Object // in the order in which their rows are applied
	Checkpoints []Object // all rows as they are with this commit; in order
	Condemned   []Object // not to be used any more, to be erased after the grace
	Erased      []Object // condemned before; deleted from here on

	Hash chunk.ID // SHA-256 of the commit's bytes, signature included
}

// Head is the point in the chain that the commit makes.
func (c *Commit) Head() Head { return Head{Vault: c.Vault, Number: c.Number, Hash: c.Hash} }

// Named are the objects of one kind that the commit makes part of the vault.
func (c *Commit) Named(kind ObjectKind) []Object {
	switch kind {
	case ObjectPack:
		return c.Packs
	case ObjectJournal:
		return c.Journals
	}
	return c.Checkpoints
}

func commitName(number uint64) string {
	return fmt.Sprintf("%s%0*d", commitsPrefix, commitDigits, number)
}

// parseCommitName gives the number of a commit's name.
func parseCommitName(name string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, commitsPrefix), 10, 63)
	if err != nil || n == 0 || commitName(n) != name {
		return 0, damagef(name, "no other objects among the commits")
	}
	return n, nil
}

// commitRule is what a kind of commit needs and may hold.
type commitRule struct {
	roles   []Role // one of them is needed
	removes []Role // to condemn or erase; nil: never
	packs   bool
	journal bool
	check   bool
}

var commitRules = map[CommitKind]commitRule{
	CommitBackup:     {roles: []Role{RoleBackup}, packs: true, journal: true},
	CommitPrune:      {roles: []Role{RoleUpkeep}, removes: []Role{RoleUpkeep}, packs: true, journal: true},
	CommitDecision:   {roles: []Role{RoleDecide}, journal: true},
	CommitForget:     {roles: []Role{RoleDecide}, removes: []Role{RoleDecide}, packs: true, journal: true, check: true},
	CommitCheckpoint: {roles: []Role{RoleBackup, RoleUpkeep}, removes: []Role{RoleUpkeep}, check: true},
	CommitKey:        {roles: []Role{RoleDecide}, journal: true},
}

// allow says whether w may write c, and whether c holds what its kind may.
func (w *writer) allow(c *Commit) error {
	rule, ok := commitRules[c.Kind]
	if !ok {
		return fmt.Errorf("%w: commit kind %.40q", ErrVersion, string(c.Kind))
	}
	removes := len(c.Condemned)+len(c.Erased) > 0
	switch {
	case w.Revoked != nil && c.Number > w.Revoked.Last:
		return fmt.Errorf("%w: writer %s (%s) is revoked after commit %d", ErrNotAuthentic, w.Writer, w.Host, w.Revoked.Last)
	case !w.has(rule.roles...), removes && !w.has(rule.removes...):
		return fmt.Errorf("%w: writer %s (%s) has no role for this %s commit", ErrNotAuthentic, w.Writer, w.Host, c.Kind)
	case len(c.Packs) > 0 && !rule.packs, len(c.Journals) > 0 && !rule.journal, len(c.Checkpoints) > 0 && !rule.check:
		return fmt.Errorf("%w: a %s commit may not name such objects", ErrNotAuthentic, c.Kind)
	}
	return nil
}

// marshal gives the commit's bytes.
func (c *Commit) marshal(key ed25519.PrivateKey) []byte {
	w := newText(commitText)
	w.line("vault", c.Vault)
	w.line("number", strconv.FormatUint(c.Number, 10))
	w.line("previous", c.Previous.String())
	w.line("kind", string(c.Kind))
	w.line("time", formatTime(c.Time))
	w.line("writer", c.Writer.String())
	for _, list := range [][]Object{c.Packs, c.Journals, c.Checkpoints} {
		for _, o := range list {
			w.line(string(o.Kind), o.ID.String()+" "+strconv.FormatInt(o.Size, 10))
		}
	}
	for _, o := range c.Condemned {
		w.line("condemn", string(o.Kind)+" "+o.ID.String())
	}
	for _, o := range c.Erased {
		w.line("erased", string(o.Kind)+" "+o.ID.String())
	}
	return w.sign(key)
}

// check says what no commit may hold: a list of the wrong kind, or an object
// twice.
func (c *Commit) check() error {
	seen := map[Object]bool{}
	for _, list := range []struct {
		kind    ObjectKind // "": any
		objects []Object
	}{{ObjectPack, c.Packs}, {ObjectJournal, c.Journals}, {ObjectCheckpoint, c.Checkpoints}, {"", c.Condemned}, {"", c.Erased}} {
		for _, o := range list.objects {
			if !o.Kind.known() || list.kind != "" && (o.Kind != list.kind || o.Size <= 0 || o.Size > maxObject) {
				return fmt.Errorf("%s of %d bytes: wrong kind or size", o.Name(), o.Size)
			}
			key := Object{Kind: o.Kind, ID: o.ID}
			if seen[key] {
				return fmt.Errorf("%s: named twice", o.Name())
			}
			seen[key] = true
		}
	}
	return nil
}

// parseCommit takes a commit apart, without verifying it.
func parseCommit(name string, b []byte) (*Commit, *text, error) {
	t, err := parseText(name, commitText, b)
	if err != nil {
		return nil, nil, err
	}
	c := &Commit{Hash: chunk.Sum(b)}
	c.Vault = t.vaultID("vault")
	c.Number = t.number("number")
	t.hex(c.Previous[:], "previous")
	c.Kind = CommitKind(t.one("kind"))
	c.Time = t.time("time")
	t.hex(c.Writer[:], "writer")
	c.Packs = t.objects(ObjectPack)
	c.Journals = t.objects(ObjectJournal)
	c.Checkpoints = t.objects(ObjectCheckpoint)
	c.Condemned = t.references("condemn")
	c.Erased = t.references("erased")
	if err := t.done(); err != nil {
		return nil, nil, err
	}
	if err := c.check(); err != nil {
		return nil, nil, &DamageError{Object: name, Offset: -1, Expected: "sound lists of objects", Err: err}
	}
	return c, t, nil
}

// objects takes the lines "<kind> <id> <size>".
func (t *text) objects(kind ObjectKind) (all []Object) {
	for v, ok := t.next(string(kind)); ok; v, ok = t.next(string(kind)) {
		digits, size, _ := strings.Cut(v, " ")
		o := Object{Kind: kind}
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != size || parseHex(o.ID[:], digits) != nil {
			t.fail("an id and a size in a line %q", string(kind))
			return nil
		}
		o.Size = n
		all = append(all, o)
	}
	return all
}

// references takes the lines "<key> <kind> <id>".
func (t *text) references(key string) (all []Object) {
	for v, ok := t.next(key); ok; v, ok = t.next(key) {
		kind, digits, _ := strings.Cut(v, " ")
		o := Object{Kind: ObjectKind(kind)}
		if parseHex(o.ID[:], digits) != nil {
			t.fail("a kind and an id in a line %q", key)
			return nil
		}
		all = append(all, o)
	}
	return all
}
