package vault

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"salvor/chunk"
)

// signedSeeds gives one text of each kind, made by a vault of fixed keys.
func signedSeeds(t testing.TB) (v *Vault, texts [][]byte) {
	root := rootFromSeed(bytes.Repeat([]byte{1}, 32))
	f := newFixture(t)
	c := f.v.config
	c.Root = root.Public()
	v = &Vault{config: c, store: f.store}
	commit := &Commit{Vault: c.ID, Number: 3, Kind: CommitPrune, Time: testTime, Packs: []Object{someObject(ObjectPack, 1)},
		Condemned: []Object{bare(someObject(ObjectJournal, 2))}}
	return v, [][]byte{c.marshal(root), commit.marshal(root.key), f.store.objects[certName(f.host.ID())], f.store.objects[configName]}
}

func FuzzConfig(f *testing.F) {
	_, texts := signedSeeds(f)
	for _, b := range texts {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b)
		if err == nil && c.validate() != nil {
			t.Errorf("accepted %+v", c)
		}
		mustBeTyped(t, err)
	})
}

func FuzzCommit(f *testing.F) {
	_, texts := signedSeeds(f)
	for _, b := range texts {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, text, err := parseCommit("commits/x", b)
		mustBeTyped(t, err)
		if err != nil {
			return
		}
		// One spelling only: what was parsed is written as the same bytes.
		again := c.marshal(rootFromSeed(make([]byte, 32)).key)
		if body := again[:bytes.LastIndex(again, []byte(signatureKey))]; !bytes.Equal(body, text.body) {
			t.Errorf("parsed\n%s\nwritten\n%s", text.body, body)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	v, texts := signedSeeds(f)
	for _, b := range texts {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := v.parseCert("keys/x", WriterID{}, b)
		mustBeTyped(t, err)
		_, err = v.parseRevocation("keys/x.revoked", WriterID{}, b)
		mustBeTyped(t, err)
		parseHolder(b)
	})
}

func mustBeTyped(t *testing.T, err error) {
	var d *DamageError
	if err != nil && !errors.As(err, &d) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("untyped error: %v", err)
	}
}

func FuzzFooter(f *testing.F) {
	f.Add([]byte("frame zstd 100 1000\ndata 400\nmessage 600 "+chunk.ID{}.String()+"\nframe raw 5 5\npart 5 "+chunk.ID{1}.String()+"\n"), int64(100), int64(205))
	f.Add([]byte("frame raw 0 0\n"), int64(0), int64(0))
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	dec, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, start, end int64) {
		parseFooter(dec, b, 1000, start, end)
		frames, err := parseFooter(dec, enc.EncodeAll(b, nil), int64(len(b)), start, end)
		if err != nil {
			return
		}
		out := marshalFooter(enc, frames)
		tail, err := parseTrailer(out[len(out)-trailerSize:])
		if err != nil || tail.stored != int64(len(out)-trailerSize) {
			t.Fatalf("trailer %+v, %v", tail, err)
		}
		plain, err := decodeFrame(dec, nil, out[:tail.stored], methodZstd, tail.plain)
		if err != nil || !bytes.Equal(plain, b) && !bytes.Equal(plain, append(b, '\n')) {
			t.Errorf("written again: %q, %v", plain, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	fix := newFixture(f)
	o := fix.journal(ObjectJournal, []string{"one", "two"})[0]
	f.Add(fix.plain(o)[len(fix.v.header(ObjectJournal)):])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain := io.MultiReader(bytes.NewReader([]byte(fix.v.header(ObjectJournal))), bytes.NewReader(b))
		n := 0
		err := fix.v.readLines(t.Context(), o, plain, func([]byte) error {
			if n++; n > 1000 {
				return io.EOF
			}
			return nil
		})
		if err != io.EOF {
			mustBeTyped(t, err)
		}
	})
}

func FuzzHostKeyAndIdentity(f *testing.F) {
	f.Add([]byte("vault 00\nroot x\nhost y\nwriter-secret z\nmetadata-secret w\n"))
	f.Add([]byte(rootSecretLine + "00\nAGE-SECRET-KEY-1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseHostKey(b)
		(&Identities{}).parse(b)
		ParseHostRequest(string(b))
	})
}
