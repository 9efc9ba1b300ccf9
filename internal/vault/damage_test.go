package vault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"salvor/chunk"
	"salvor/internal/objstore"
)

// Every object read from a store is hostile: each row damages one object in
// one way. forged tells that the damage is a well-made object under its right
// name, as somebody could make it who knows the recipients: then the hash fits
// and something else must notice.
var damages = []struct {
	name   string
	change func(plain []byte) []byte // nil: see stored
	stored func(b []byte) []byte     // nil result: the object is gone
	want   error                     // nil: a DamageError
}{
	{name: "flipped bit in the age header", stored: flipAt(40)},
	{name: "flipped bit in the middle", stored: flipAt(-1)},
	{name: "flipped bit at the end", stored: flipAt(-2)},
	{name: "truncated by a byte", stored: func(b []byte) []byte { return b[:len(b)-1] }},
	{name: "truncated to a quarter", stored: func(b []byte) []byte { return b[:len(b)/4] }},
	{name: "lengthened", stored: func(b []byte) []byte { return append(bytes.Clone(b), 0) }},
	{name: "empty", stored: func([]byte) []byte { return []byte{} }},
	{name: "missing", stored: func([]byte) []byte { return nil }, want: objstore.ErrNotExist},
	{name: "other kind", change: firstLine("pack", "parcel", "journal", "pack", "checkpoint", "journal")},
	{name: "new version", change: firstLine(" 1 ", " 2 "), want: ErrVersion},
	{name: "other vault", change: otherVault, want: ErrNotAuthentic},
	{name: "no header", change: func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }},
	{name: "only a header", change: func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }},
	{name: "plaintext cut short", change: func(b []byte) []byte { return b[:len(b)-5] }},
	{name: "plaintext flipped", change: flipAt(-1)},
	{name: "nothing in it", change: func([]byte) []byte { return nil }},
}

func flipAt(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		switch at {
		case -1:
			b[len(b)/2] ^= 4
		case -2:
			b[len(b)-1] ^= 4
		default:
			b[at] ^= 4
		}
		return b
	}
}

func firstLine(oldnew ...string) func([]byte) []byte {
	return func(b []byte) []byte {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		return []byte(strings.NewReplacer(oldnew...).Replace(string(line)) + "\n" + string(rest))
	}
}

func otherVault(b []byte) []byte {
	line, rest, _ := bytes.Cut(b, []byte{'\n'})
	return []byte(string(line[:len(line)-vaultIDLen]) + strings.Repeat("0", vaultIDLen) + "\n" + string(rest))
}

// damaged gives a fixture in which one object was damaged, and its name now.
func (f *fixture) damaged(o Object, i int) (*fixture, Object) {
	g := *f
	g.store = f.store.clone()
	g.v = &Vault{store: g.store, config: f.v.config, recipients: f.v.recipients}
	d := damages[i]
	if d.change != nil {
		return &g, g.forge(o.Kind, d.change(f.plain(o)))
	}
	b := d.stored(g.store.objects[o.Name()])
	g.store.set(o.Name(), b)
	if b == nil {
		delete(g.store.objects, o.Name())
	}
	return &g, o
}

func checkDamage(t *testing.T, what string, i int, err error) {
	t.Helper()
	var d *DamageError
	want := damages[i].want
	if want == nil && !errors.As(err, &d) || want != nil && !errors.Is(err, want) {
		t.Errorf("%s, %s: %v, want %v", damages[i].name, what, err, want)
	}
	if want == objstore.ErrNotExist && !errors.As(err, &d) {
		t.Errorf("%s, %s: %v is no damage", damages[i].name, what, err)
	}
}

func TestDamagedPacks(t *testing.T) {
	f := newFixture(t)
	// One frame of short chunks fills the middle of the pack, so that every
	// damage there is in it.
	b := prose(1, 60000)
	ref := messageRef(b)
	got := f.pack(map[chunk.Ref][]byte{ref: b}, []chunk.Ref{ref})
	for i, d := range damages {
		g, o := f.damaged(got.packs[0].Object(), i)
		r := g.reader(ReaderOptions{})
		_, err := r.CheckPack(t.Context(), o)
		checkDamage(t, "CheckPack", i, err)
		if d.stored != nil {
			checkDamage(t, "CheckObject", i, g.v.CheckObject(t.Context(), o))
		}
		l := got.locations[ref]
		l.Pack, l.PackSize = o.ID, o.Size
		if d.name == "plaintext cut short" || d.name == "lengthened" {
			continue // the frame is whole, and reading it need not notice
		}
		_, err = r.Chunk(t.Context(), l, ref, nil)
		checkDamage(t, "Chunk", i, err)
	}
}

func TestDamagedFooters(t *testing.T) {
	f := newFixture(t)
	b := prose(1, 1000)
	got := f.pack(map[chunk.Ref][]byte{dataRef(b): b}, []chunk.Ref{dataRef(b)})
	plain := f.plain(got.packs[0].Object())
	start := len(f.v.header(ObjectPack))
	stored := got.packs[0].Frames[0].Stored
	c, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	with := func(footer string) []byte {
		z := c.enc.EncodeAll([]byte(footer), nil)
		return append(append(bytes.Clone(plain[:start+int(stored)]), z...), fmt.Sprintf(trailerFormat, len(z), len(footer))...)
	}
	frame := fmt.Sprintf("frame zstd %d 1000\n", stored)
	good := with(frame + "data 1000\n")
	if info, err := f.reader(ReaderOptions{}).CheckPack(t.Context(), f.forge(ObjectPack, good)); err != nil || info.Frames[0].Chunks[0].ID != dataRef(b).ID {
		t.Fatalf("a footer made by hand: %+v, %v", info, err)
	}
	for name, p := range map[string][]byte{
		"no footer":         append(bytes.Clone(plain[:start+int(stored)]), fmt.Sprintf(trailerFormat, 0, 0)...),
		"footer too long":   append(bytes.Clone(plain[:len(plain)-trailerSize]), fmt.Sprintf(trailerFormat, len(plain), 50)...),
		"footer is huge":    append(bytes.Clone(plain[:len(plain)-trailerSize]), fmt.Sprintf("footer %d 12345\n", int64(1)<<60)...),
		"footer bomb":       append(bytes.Clone(plain[:len(plain)-trailerSize]), fmt.Sprintf(trailerFormat, 60, 99999999999)...),
		"spaces in trailer": append(bytes.Clone(plain[:len(plain)-trailerSize]), fmt.Sprintf("footer %12d %11d\n", 50, 50)...),
		"empty":             with(""),
		"frame too long":    with(fmt.Sprintf("frame zstd %d 1000\ndata 1000\n", stored+1)),
		"frame too short":   with(fmt.Sprintf("frame zstd %d 1000\ndata 1000\n", stored-1)),
		"negative":          with(fmt.Sprintf("frame zstd %d 1000\nframe raw -5 0\ndata 1000\n", stored+5)),
		"plain too long":    with(fmt.Sprintf("frame zstd %d 1001\ndata 1001\n", stored)),
		"plain too short":   with(fmt.Sprintf("frame zstd %d 999\ndata 999\n", stored)),
		"plain is huge":     with(fmt.Sprintf("frame zstd %d 99999999999\ndata 99999999999\n", stored)),
		"chunks too short":  with(frame + "data 999\n"),
		"chunks too long":   with(frame + "data 1000\ndata 1\n"),
		"chunk outside":     with("data 1000\n" + frame),
		"no id":             with(frame + "message 1000\n"),
		"id of data":        with(frame + "data 1000 " + dataRef(b).ID.String() + "\n"),
		"odd kind":          with(frame + "letter 1000\n"),
		"odd number":        with(frame + "data 01000\n"),
		"unknown line":      with("comment\n" + frame + "data 1000\n"),
		"raw, not zstd":     with(fmt.Sprintf("frame raw %d 1000\ndata 1000\n", stored)),
	} {
		o := f.forge(ObjectPack, p)
		var d *DamageError
		if info, err := f.reader(ReaderOptions{}).CheckPack(t.Context(), o); !errors.As(err, &d) {
			t.Errorf("%s: CheckPack gives %+v, %v", name, info, err)
		}
		if _, err := f.reader(ReaderOptions{}).Footer(t.Context(), o); err == nil && !strings.Contains(name, "plain too") && name != "raw, not zstd" {
			t.Errorf("%s: Footer accepts it", name)
		}
	}
	if _, err := f.reader(ReaderOptions{}).CheckPack(t.Context(), f.forge(ObjectPack, with(fmt.Sprintf("frame lz4 %d 1000\ndata 1000\n", stored)))); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown method: %v", err)
	}
}

func TestDamagedJournals(t *testing.T) {
	f := newFixture(t)
	lines := strings.Split(string(prose(1, 50000)), "\n")
	lines = append([]string{"first"}, lines...)
	for i, line := range lines {
		lines[i] = "row " + line
	}
	for _, kind := range []ObjectKind{ObjectJournal, ObjectCheckpoint} {
		object := f.journal(kind, lines)[0]
		for i := range damages {
			g, o := f.damaged(object, i)
			_, err := g.lines(o, f.id.Key())
			if damages[i].name == "only a header" {
				continue // no rows, and a header: nothing is wrong with that
			}
			if damages[i].name == "lengthened" {
				continue // only the bytes that the commit names are read
			}
			checkDamage(t, string(kind), i, err)
		}
	}
}

// A journal that is named as a checkpoint, or the other way round, is refused.
func TestKindsAreNotTakenForOneAnother(t *testing.T) {
	f := newFixture(t)
	o := f.journal(ObjectJournal, []string{"x"})[0]
	b := f.store.objects[o.Name()]
	for _, kind := range []ObjectKind{ObjectCheckpoint, ObjectPack} {
		as := Object{Kind: kind, ID: o.ID, Size: o.Size}
		f.store.set(as.Name(), b)
	}
	var d *DamageError
	if _, err := f.lines(Object{Kind: ObjectCheckpoint, ID: o.ID, Size: o.Size}, f.id.Key()); !errors.As(err, &d) {
		t.Errorf("journal as checkpoint: %v", err)
	}
	if _, err := f.reader(ReaderOptions{}).CheckPack(t.Context(), Object{Kind: ObjectPack, ID: o.ID, Size: o.Size}); !errors.As(err, &d) {
		t.Errorf("journal as pack: %v", err)
	}
	if _, err := f.lines(Object{Kind: ObjectPack, ID: o.ID, Size: o.Size}, f.id.Key()); err == nil {
		t.Error("a pack was read as a journal")
	}
}

// Any flipped bit anywhere in a pack is found by CheckObject and CheckPack, and
// never gives wrong bytes.
func TestAnyFlippedBit(t *testing.T) {
	f := newFixture(t)
	b := prose(1, 3000)
	ref := messageRef(b)
	got := f.pack(map[chunk.Ref][]byte{ref: b}, []chunk.Ref{ref})
	o := got.packs[0].Object()
	whole := f.store.objects[o.Name()]
	r := rand.New(rand.NewSource(7))
	for range 300 {
		bit := r.Intn(8 * len(whole))
		bad := bytes.Clone(whole)
		bad[bit/8] ^= 1 << (bit % 8)
		f.store.set(o.Name(), bad)
		if err := f.v.CheckObject(t.Context(), o); err == nil {
			t.Fatalf("bit %d: CheckObject finds nothing", bit)
		}
		if _, err := f.reader(ReaderOptions{}).CheckPack(t.Context(), o); err == nil {
			t.Fatalf("bit %d: CheckPack finds nothing", bit)
		}
		if back, err := f.reader(ReaderOptions{}).Chunk(t.Context(), got.locations[ref], ref, nil); err == nil && !bytes.Equal(back, b) {
			t.Fatalf("bit %d: wrong bytes", bit)
		}
	}
}

func TestObjects(t *testing.T) {
	f := newFixture(t)
	b := prose(1, 1000)
	got := f.pack(map[chunk.Ref][]byte{dataRef(b): b}, []chunk.Ref{dataRef(b)})
	o := got.packs[0].Object()
	f.store.set("packs/zz/odd", []byte("x"))
	f.store.set("packs/00/"+o.ID.String(), []byte("in the wrong place"))
	var ours, foreign int
	err := f.v.Objects(t.Context(), ObjectPack, func(s Stored) error {
		switch {
		case s.Foreign:
			foreign++
		case s.Object == o && s.Name == o.Name():
			ours++
		}
		return nil
	})
	if err != nil || ours != 1 || foreign != 2 {
		t.Errorf("%d ours, %d foreign, %v", ours, foreign, err)
	}
	if err := f.v.Delete(t.Context(), o); err != nil {
		t.Error(err)
	}
	if err := f.v.CheckObject(t.Context(), o); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("after Delete: %v", err)
	}
	if err := f.v.Delete(t.Context(), o); err != nil {
		t.Errorf("second Delete: %v", err)
	}
}
