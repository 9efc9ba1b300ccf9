package chunk

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"
)

// golden is data that stays the same whatever Go does to math/rand.
func golden(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// The cut points of restic/chunker v0.4.0 are part of the vault's format: other
// ones would store every long part again.
func TestSplitCutsWhereItAlwaysDid(t *testing.T) {
	c := newCutter(t)
	var got []int
	for _, p := range c.Split(golden(4 << 20)) {
		got = append(got, len(p))
	}
	want := "[503487 484297 728754 795831 185698 154917 706034 303844 193776 137666]"
	if fmt.Sprint(got) != want {
		t.Errorf("pieces of %v, want %s", got, want)
	}
}

func smallParams() Params {
	p := DefaultParams()
	p.Min, p.Average, p.Max, p.Whole, p.Inline = 1<<10, 4<<10, 16<<10, 2<<10, minInline
	return p
}

func TestSplitKeepsItsBounds(t *testing.T) {
	rng := seeded(t)
	p := smallParams()
	c, err := NewCutter(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		part := make([]byte, rng.Intn(1<<rng.Intn(19)))
		if rng.Intn(4) > 0 {
			rng.Read(part)
		}
		pieces := c.Split(part)
		if len(part) <= p.Whole && len(pieces) != 1 {
			t.Fatalf("part of %d in %d pieces", len(part), len(pieces))
		}
		if !bytes.Equal(bytes.Join(pieces, nil), part) {
			t.Fatalf("the pieces of a part of %d are another one", len(part))
		}
		for i, piece := range pieces {
			if len(piece) > p.Max || len(piece) < p.Min && i < len(pieces)-1 {
				t.Fatalf("piece %d of %d has %d bytes", i, len(pieces), len(piece))
			}
		}
		if again, err := NewCutter(p); err != nil || len(again.Split(part)) != len(pieces) {
			t.Fatalf("a new cutter cuts otherwise than a used one")
		}
	}
}

func TestSplitFindsTheSamePiecesBehindAnInsertion(t *testing.T) {
	c := newCutter(t)
	part := make([]byte, 8<<20)
	rand.New(rand.NewSource(1)).Read(part)
	seen := map[ID]bool{}
	for _, p := range c.Split(part) {
		seen[Sum(p)] = true
	}
	all, found := 0, 0
	edited := append([]byte("something new at the start"), part...)
	for _, p := range c.Split(edited) {
		all++
		if seen[Sum(p)] {
			found++
		}
	}
	if found < all-2 {
		t.Errorf("%d of %d pieces found again", found, all)
	}
}

func TestParamsText(t *testing.T) {
	p := DefaultParams()
	text, err := p.MarshalText()
	if want := "polynomial=3da3358b4dc173 min=131072 average=262144 max=1048576 whole=262144 inline=768"; err != nil || string(text) != want {
		t.Fatalf("%q, %v, want %q", text, err, want)
	}
	q, err := NewParams()
	if err != nil || q.Validate() != nil || q.Polynomial == p.Polynomial {
		t.Fatalf("drew %v, %v", q, err)
	}
	text, _ = q.MarshalText()
	if err := p.UnmarshalText(text); err != nil || p != q {
		t.Fatalf("read %v, %v, want %v", p, err, q)
	}
	for _, s := range []string{
		"",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=262144",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=262144 inline=768 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=262144 inline=768 more=1",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=262144 inline=x",
		"polynomial=3da3358b4dc172 min=65536 average=262144 max=1048576 whole=262144 inline=768",
		"polynomial=7 min=65536 average=262144 max=1048576 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=32 average=262144 max=1048576 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262145 max=1048576 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=2097152 max=1048576 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=65535 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=99999999 whole=262144 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=-1 inline=768",
		"polynomial=3da3358b4dc173 min=65536 average=262144 max=1048576 whole=262144 inline=5",
	} {
		if err := p.UnmarshalText([]byte(s)); err == nil || p != q {
			t.Errorf("%q: read %v, %v", s, p, err)
		}
	}
	if _, err := (Params{}).MarshalText(); err == nil {
		t.Error("wrote zero Params")
	}
}
