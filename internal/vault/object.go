package vault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// ObjectKind says what an object named by its hash holds.
type ObjectKind string

// The kinds of objects that commits name.
const (
	ObjectPack       ObjectKind = "pack"
	ObjectJournal    ObjectKind = "journal"
	ObjectCheckpoint ObjectKind = "checkpoint"
)

// maxObject bounds the stored bytes of any object that is named by its hash:
// a full pack of MaxPackSize and one more frame of MaxChunk.
const maxObject = MaxPackSize + MaxChunk + 16<<20

// An Object is a stored object that commits name.
type Object struct {
	Kind ObjectKind
	ID   chunk.ID // SHA-256 of the stored bytes
	Size int64    // stored bytes; 0 where a commit condemns or erases it
}

// Name is where the object lies in the store.
func (o Object) Name() string {
	id := o.ID.String()
	if o.Kind == ObjectPack {
		return o.Kind.prefix() + id[:2] + "/" + id
	}
	return o.Kind.prefix() + id
}

func (k ObjectKind) prefix() string { return string(k) + "s/" }

func (k ObjectKind) known() bool {
	return k == ObjectPack || k == ObjectJournal || k == ObjectCheckpoint
}

// parseObjectName gives the object of a name, without its size.
func parseObjectName(kind ObjectKind, name string) (Object, bool) {
	id, err := chunk.ParseID(name[strings.LastIndexByte(name, '/')+1:])
	o := Object{Kind: kind, ID: id}
	if err != nil || o.Name() != name {
		return Object{Kind: kind}, false // a hash in a wrong place must not lead to the right one
	}
	return o, true
}

// header is the first line of the plaintext of an encrypted object.
func (v *Vault) header(kind ObjectKind) string {
	return fmt.Sprintf("salvor %s 1 %s\n", kind, v.config.ID)
}

// checkHeader compares the first line of a plaintext with what it must be.
// line may hold more than the line.
func (v *Vault) checkHeader(object string, kind ObjectKind, line []byte) error {
	want := v.header(kind)
	if len(line) >= len(want) && string(line[:len(want)]) == want {
		return nil
	}
	got, _, _ := strings.Cut(string(line), "\n")
	f := strings.Split(got, " ")
	if len(f) != 4 || f[0] != "salvor" || f[1] != string(kind) {
		return damagef(object, "a salvor %s", kind)
	}
	if f[2] != "1" {
		return fmt.Errorf("read %s: %w %.20q of %s: a newer salvor is needed", object, ErrVersion, f[2], kind)
	}
	return fmt.Errorf("read %s: %w: it is of vault %.40q", object, ErrNotAuthentic, f[3])
}

// Stored is an object as it lies in the store, whether a commit names it or
// not.
type Stored struct {
	Object
	Name     string
	Modified time.Time // by the store's clock
	Foreign  bool      // the name is none that salvor writes; ID is zero
}

// Objects lists what lies in the store of one kind, in the order of names.
func (v *Vault) Objects(ctx context.Context, kind ObjectKind, yield func(Stored) error) error {
	if !kind.known() {
		return fmt.Errorf("list objects: kind %.40q is unknown", string(kind))
	}
	return v.store.List(ctx, kind.prefix(), func(i objstore.Info) error {
		o, ok := parseObjectName(kind, i.Name)
		o.Size = i.Size
		return yield(Stored{Object: o, Name: i.Name, Modified: i.Modified, Foreign: !ok})
	})
}

// Delete removes an object, with what repairs put aside of it; nil when it is
// not there. Whether it may go is the caller's business (docs/format.md,
// section "Order of deleting").
func (v *Vault) Delete(ctx context.Context, o Object) error {
	asides, err := v.asides(ctx, o.Name())
	for i := 0; err == nil && i < len(asides); i++ {
		err = v.store.Delete(ctx, asides[i])
	}
	if err != nil {
		return err
	}
	return v.store.Delete(ctx, o.Name())
}

// fetch reads a whole object and compares it with its size and name.
func (v *Vault) fetch(ctx context.Context, o Object) ([]byte, error) {
	b, err := getListed(ctx, v.store, objstore.Info{Name: o.Name(), Size: o.Size}, maxObject)
	if err != nil {
		return nil, err
	}
	if chunk.ID(sha256.Sum256(b)) != o.ID {
		return nil, damagef(o.Name(), "the SHA-256 that is its name")
	}
	return b, nil
}

// CheckObject reads a whole object and compares its SHA-256 with its name. It
// needs no identity. A *DamageError says what is wrong.
func (v *Vault) CheckObject(ctx context.Context, o Object) error {
	if err := v.checkSize(ctx, o); err != nil {
		return err
	}
	src := &objectReader{ctx: ctx, store: v.store, o: o, hash: sha256.New()}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return err
	}
	if chunk.ID(src.hash.Sum(nil)) != o.ID {
		return damagef(o.Name(), "the SHA-256 that is its name")
	}
	return nil
}

// checkSize compares the size that a commit names with the store's.
func (v *Vault) checkSize(ctx context.Context, o Object) error {
	s, ok := v.store.(objstore.Stater)
	if !ok {
		return nil
	}
	info, err := s.Stat(ctx, o.Name())
	if err != nil {
		return readError(o.Name(), err)
	}
	if info.Size != o.Size {
		return damagef(o.Name(), "%d bytes, not %d", o.Size, info.Size)
	}
	return nil
}
