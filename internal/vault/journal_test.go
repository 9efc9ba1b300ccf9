package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"filippo.io/age"

	"salvor/chunk"
)

func (f *fixture) journal(kind ObjectKind, lines []string) []Object {
	f.t.Helper()
	j, err := f.v.NewJournal(f.t.Context(), kind)
	if err != nil {
		f.t.Fatal(err)
	}
	for i, line := range lines {
		if i%2 == 0 {
			line += "\n"
		}
		if err := j.Line([]byte(line)); err != nil {
			f.t.Fatal(err)
		}
	}
	objects, err := j.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	return objects
}

func (f *fixture) lines(o Object, ids ...age.Identity) (lines []string, err error) {
	err = f.v.ReadJournal(f.t.Context(), o, ids, func(b []byte) error {
		lines = append(lines, string(b))
		return nil
	})
	return lines, err
}

func TestJournal(t *testing.T) {
	for _, o := range []IdentityOptions{{}, {PostQuantum: true}} {
		f := newFixtureWith(t, o)
		second := f.newHost("mx2", RoleBackup)
		want := []string{`{"put":"user"}`, "x", strings.Repeat("long ", 100000)}
		for _, kind := range []ObjectKind{ObjectJournal, ObjectCheckpoint} {
			objects := f.journal(kind, want)
			if len(objects) != 1 || objects[0].Kind != kind {
				t.Fatalf("objects %v", objects)
			}
			for _, id := range []age.Identity{f.id.Key(), f.host.Metadata(), second.Metadata()} {
				got, err := f.lines(objects[0], id)
				if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
					t.Errorf("%s: %d lines, %v", kind, len(got), err)
				}
			}
			if err := f.v.CheckObject(t.Context(), objects[0]); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestJournalOfNothing(t *testing.T) {
	f := newFixture(t)
	if objects := f.journal(ObjectJournal, nil); objects != nil || len(f.store.names("journals/")) != 0 {
		t.Errorf("objects %v, stored %v", objects, f.store.names("journals/"))
	}
}

func TestJournalIsSplit(t *testing.T) {
	f := newFixture(t)
	r := rand.New(rand.NewSource(1))
	var want []string
	for range 40 {
		b := make([]byte, 500<<10)
		r.Read(b)
		want = append(want, fmt.Sprintf("%x", b))
	}
	objects := f.journal(ObjectCheckpoint, want)
	if len(objects) != 2 {
		t.Errorf("%d objects", len(objects))
	}
	var got []string
	for _, o := range objects {
		if o.Size > 16<<20 {
			t.Errorf("an object of %d bytes", o.Size)
		}
		lines, err := f.lines(o, f.host.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lines...)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Error("other lines came back")
	}
}

func TestJournalRefusesOddRows(t *testing.T) {
	f := newFixture(t)
	for _, row := range []string{"", "\n", "a\nb", "a\n\n"} {
		j, err := f.v.NewJournal(t.Context(), ObjectJournal)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Line([]byte(row)); err == nil {
			t.Errorf("row %q accepted", row)
		}
		if _, err := j.Close(); err == nil {
			t.Errorf("closed after row %q", row)
		}
	}
	if _, err := f.v.NewJournal(t.Context(), ObjectPack); err == nil {
		t.Error("a pack as a journal")
	}
}

func TestRevokedHostReadsNoMore(t *testing.T) {
	f := newFixture(t)
	h := f.newHost("stolen", RoleBackup)
	if err := f.v.Revoke(t.Context(), f.id.Root(), h.ID(), 0, testTime); err != nil {
		t.Fatal(err)
	}
	objects := f.journal(ObjectJournal, []string{"x"})
	if _, err := f.lines(objects[0], h.Metadata()); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("read by a revoked host: %v", err)
	}
	if _, err := f.lines(objects[0]); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("read without identity: %v", err)
	}
}

// forge stores a plaintext as an object, encrypted as salvor would: anybody
// can do that who knows the recipients.
func (f *fixture) forge(kind ObjectKind, plain []byte) Object {
	f.t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, f.v.recipients...)
	if err != nil {
		f.t.Fatal(err)
	}
	w.Write(plain)
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	o := Object{Kind: kind, ID: chunk.Sum(b.Bytes()), Size: int64(b.Len())}
	f.store.set(o.Name(), b.Bytes())
	return o
}

func (f *fixture) plain(o Object) []byte {
	f.t.Helper()
	r, err := age.Decrypt(bytes.NewReader(f.store.objects[o.Name()]), f.id.Key())
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}
