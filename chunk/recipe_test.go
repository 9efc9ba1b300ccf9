package chunk

import (
	"encoding/binary"
	"strings"
	"testing"
)

// recipeBytes writes a recipe from numbers (as varints) and strings.
func recipeBytes(fields ...any) []byte {
	b := []byte{recipeVersion}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.AppendUvarint(b, uint64(f))
		case string:
			b = append(b, f...)
		}
	}
	return b
}

const (
	tagSkeleton = int(segmentSkeleton)
	tagRaw      = int(segmentRaw)
	tagBase64   = int(segmentBase64)
)

func TestParseRecipeRefusesNonsense(t *testing.T) {
	id := strings.Repeat("i", 32)
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"another version":             {2, 0, 0},
		"no size":                     recipeBytes(),
		"no count":                    recipeBytes(0),
		"count without segments":      recipeBytes(0, 1),
		"count beyond all bytes":      recipeBytes(0, 1<<40, id),
		"segment without length":      recipeBytes(0, 1, tagSkeleton, "x"),
		"segment of unknown kind":     recipeBytes(1, 1, 1<<2|3, id),
		"skeleton missing":            recipeBytes(5, 1, 5<<2|tagSkeleton, "abcd"),
		"skeleton left over":          recipeBytes(3, 1, 3<<2|tagSkeleton, "abcd"),
		"size too small":              recipeBytes(3, 1, 4<<2|tagSkeleton, "abcd"),
		"size too large":              recipeBytes(5, 1, 4<<2|tagSkeleton, "abcd"),
		"size beyond all messages":    recipeBytes(1<<41, 1, 1<<41<<2|tagRaw, id),
		"sum beyond all messages":     recipeBytes(1<<40, 2, 1<<39<<2|tagRaw, id, 1<<40<<2|tagRaw, id),
		"part without id":             recipeBytes(4, 1, 4<<2|tagRaw),
		"part with half an id":        recipeBytes(4, 1, 4<<2|tagRaw, id[:31]),
		"base64 without width":        recipeBytes(4, 1, 3<<2|tagBase64),
		"base64 of another size":      recipeBytes(3, 1, 3<<2|tagBase64, 0, id),
		"base64 of an enormous width": recipeBytes(4, 1, 3<<2|tagBase64, 1<<31, id),
		"number longer than needed":   append([]byte{recipeVersion, 0x80, 0x00}, 0),
		"number longer than 64 bits":  append([]byte{recipeVersion}, strings.Repeat("\xff", 11)...),
		"longer than any":             make([]byte, MaxRecipe+1),
	} {
		if r, err := ParseRecipe(b); err == nil || r != nil {
			t.Errorf("%s: took %v, %v", name, r, err)
		}
	}
}

func TestParseRecipeReadsWhatItShould(t *testing.T) {
	id, id2 := strings.Repeat("i", 32), strings.Repeat("j", 32)
	b := recipeBytes(2+5+9+5+1, 5, 2<<2|tagSkeleton, 5<<2|tagRaw, id, 6<<2|tagBase64, 7, id2, 5<<2|tagRaw, id, 1<<2|tagSkeleton, "abc")
	r, err := ParseRecipe(b)
	if err != nil {
		t.Fatal(err)
	}
	refs := r.Parts()
	if r.Size() != 22 || len(refs) != 2 || string(refs[0].ID[:]) != id || refs[0].Size != 5 || refs[1].Size != 6 {
		t.Fatalf("size %d, parts %v", r.Size(), refs)
	}
	lf, err := r.Rebuild([]byte("before "), func(ref PartRef) ([]byte, error) {
		return []byte("ABCDEF")[:ref.Size], nil
	})
	if want := "before abABCDEQUJDREV\nGABCDEc"; err != nil || string(lf) != want {
		t.Fatalf("%q, %v, want %q", lf, err, want)
	}
}

// A recipe that declares a terabyte gets no memory on trust.
func TestRebuildTakesNoMemoryOnTrust(t *testing.T) {
	b := recipeBytes(1<<40, 1, 1<<40<<2|tagRaw, strings.Repeat("i", 32))
	r, err := ParseRecipe(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rebuild(nil, func(PartRef) ([]byte, error) { return []byte("x"), nil }); err == nil {
		t.Fatal("took a part of one byte for one of a terabyte")
	}
}

func TestPartList(t *testing.T) {
	ids := []ID{Sum([]byte("a")), Sum([]byte("b"))}
	b := EncodePartList(ids, 1000)
	got, size, err := DecodePartList(b)
	if err != nil || size != 1000 || len(got) != 2 || got[0] != ids[0] || got[1] != ids[1] {
		t.Fatalf("%v %d %v", got, size, err)
	}
	id := strings.Repeat("i", 32)
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"another version":      {2, 1, 1},
		"no size":              recipeBytes(),
		"no count":             recipeBytes(1),
		"no chunks":            recipeBytes(0, 0),
		"chunk missing":        recipeBytes(5, 2, id),
		"chunk too many":       recipeBytes(5, 1, id, id),
		"half a chunk":         recipeBytes(5, 1, id[1:]),
		"bytes left over":      recipeBytes(5, 1, id, "x"),
		"count that overflows": recipeBytes(5, 1<<59, id),
		"empty chunks":         recipeBytes(1, 2, id, id),
		"chunks too long":      recipeBytes(maxChunk*2+1, 2, id, id),
	} {
		if ids, _, err := DecodePartList(b); err == nil {
			t.Errorf("%s: took %v", name, ids)
		}
	}
}
