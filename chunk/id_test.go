package chunk

import (
	"encoding/json"
	"testing"
)

func TestIDsAndKindsAsText(t *testing.T) {
	ref := Ref{KindData, Sum([]byte("abc"))}
	b, err := json.Marshal(ref)
	if want := `{"kind":"d","id":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}`; err != nil || string(b) != want {
		t.Fatalf("%s, %v, want %s", b, err, want)
	}
	var got Ref
	if err := json.Unmarshal(b, &got); err != nil || got != ref {
		t.Fatalf("%v, %v, want %v", got, err, ref)
	}
	if ref.ID.Short() != "ba7816bf" || ref.ID.IsZero() || !(ID{}).IsZero() {
		t.Fatalf("%s is short for %s", ref.ID.Short(), ref.ID)
	}
	if id, err := ParseID(ref.ID.String()); err != nil || id != ref.ID {
		t.Fatalf("%s, %v", id, err)
	}
	for _, s := range []string{"", "ba", "xyz", ref.ID.String() + "00", ref.ID.String()[1:] + "g"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q: parsed %s", s, id)
		}
		if h, err := ParseSHA1(s); err == nil {
			t.Errorf("%q: parsed %s", s, h)
		}
	}
	for _, s := range []string{`"x"`, `""`, `"dd"`} {
		if err := json.Unmarshal([]byte(s), &got.Kind); err == nil {
			t.Errorf("%s: read kind %s", s, got.Kind)
		}
	}
}
