package carve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"salvor/salvage/volume"
)

// on lays parts onto a disk, each from a block's beginning on.
func on(parts ...[]byte) *disk {
	var l layer
	for _, p := range parts {
		l.blocks(p)
	}
	return &l.disk
}

func follow(t testing.TB, d *disk, off int64, o Options) Piece {
	t.Helper()
	p, err := Follow(context.Background(), d, off, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFollow(t *testing.T) {
	pic := picture(300)
	n := int64(len(pic))
	half := len(pic) / block / 2 * block
	mboxFile := []byte("From a@example.org Mon Jul  1 10:00:00 2024\n" + letter + "\nFrom b@example.org Mon Jul  1 11:00:00 2024\n" + letter + ">From here\n\n")
	filled := padded([]byte(letter))
	text := []byte(letter + strings.Repeat("some text\n", 2000))
	rest := bytes.Repeat([]byte("x\n"), 3000)
	footed := padded(append(bytes.Clone(pic), "a list's footer\n"...)) // fills its blocks
	other, head := picture(400), "To: a@example.org\nX-Sender: y\nX-Long: "
	cached := []byte("Received: from a\r\nSubject: x\r\nFrom: a@example.org\r\nReferences: <1@a>\x00\x00\x01\x58Return-Path: <b@example.org>\r\nSubject: y\r\nDate: z\r\n")
	for _, c := range []struct {
		name    string
		disk    *disk
		o       Options
		len     int64
		why     Reason
		verdict Verdict
		brk     int64
	}{
		{"one block", on([]byte(letter), pic), Options{}, int64(len(letter)), ZeroTail, Whole, -1},
		{"blocks of 512", &disk{data: append(append([]byte(letter), make([]byte, 512-len(letter))...), pic...)}, Options{Block: 512}, int64(len(letter)), ZeroTail, Whole, -1},
		{"the block is smaller than is said", &disk{data: append(append([]byte(letter), make([]byte, 512-len(letter))...), pic...)}, Options{}, int64(len(letter)), ZeroTail, Whole, -1},
		{"picture", on(pic, rest), Options{}, n, ZeroTail, Whole, -1},
		{"exact, then a head", on(filled, []byte(letter)), Options{}, 4096, NextHead, Plausible, -1},
		{"exact, then binary", on(filled, bytes.Repeat([]byte{1, 2, 3, 200}, 1024)), Options{}, 4096, Foreign, Plausible, -1},
		{"exact, then zeros", on(filled, make([]byte, 8192)), Options{}, 4096, ZeroBlock, Plausible, -1},
		{"exact, at the end", on(filled), Options{}, 4096, VolumeEnd, Plausible, -1},
		{"exact, promised", on(filled, rest), Options{Sizes: []int64{77, 4096}}, 4096, Promised, Plausible, -1},
		{"a head within", on(pic[:half], []byte(letter), pic[half:]), Options{}, int64(half), NextHead, Broken, int64(half)},
		{"text within", on(pic[:half], rest[:block], pic[half:]), Options{}, int64(half), Misfit, Broken, int64(half)},
		{"binary within", on(pic[:half], bytes.Repeat([]byte{1, 2, 3, 200}, 1024), pic[half:]), Options{}, int64(half), Foreign, Broken, int64(half)},
		{"zeros within", on(with(pic, half, make([]byte, block))), Options{}, n, ZeroTail, Partial, -1},
		{"unknown within", &disk{data: on(pic).data, unknown: []volume.Range{{Off: int64(half), Len: 1024}}}, Options{}, n, ZeroTail, Partial, -1},
		{"unknown in a text", &disk{data: on(text).data, unknown: []volume.Range{{Off: 8192, Len: 512}}}, Options{}, 8192, UnknownNext, Broken, 8192},
		{"zeros, and then something else", on(pic[:half], make([]byte, block), []byte(letter)), Options{}, int64(half), UnknownNext, Broken, int64(half)},
		{"limit", on(text), Options{Limit: 8192}, 8192, AtLimit, Broken, -1},
		{"cut off", &disk{data: pic[:half+100]}, Options{}, int64(half) + 100, VolumeEnd, Broken, -1},
		{"mbox", on(mboxFile, pic), Options{}, int64(len(mboxFile)), ZeroTail, Plausible, -1},
		{"dbox", on([]byte(dboxFile), pic), Options{}, int64(len(dboxFile)), Promised, Plausible, -1},
		{"mdbox", on([]byte(dboxFile+dboxFile[16:]+dboxFile[16:]), pic), Options{}, int64(3*len(dboxFile) - 32), Promised, Plausible, -1},
		{"gzip", on(gzipped(pic), pic), Options{}, int64(len(gzipped(pic))), Stream, Whole, -1},
		{"two of gzip", on(append(gzipped([]byte(letter)), gzipped(pic)...)), Options{}, int64(len(gzipped([]byte(letter))) + len(gzipped(pic))), Stream, Whole, -1},
		{"bzip2", on(bzip2ed, pic), Options{}, int64(len(bzip2ed)), Stream, Whole, -1},
		{"bzip2 at the end", &disk{data: bzip2ed}, Options{}, int64(len(bzip2ed)), Stream, Whole, -1},
		{"zstd", on(zstded(pic), pic), Options{}, int64(len(zstded(pic))), Stream, Whole, -1},
		{"closed, and a footer to a block's end, then base64", on(footed, other[8192:16384]), Options{}, int64(len(footed)), BlockEnd, Plausible, -1},
		{"the same, then binary", on(footed, bytes.Repeat([]byte{1, 2, 3, 200}, 1024)), Options{}, int64(len(footed)), BlockEnd, Plausible, -1},
		{"the same, then a tail with its boundary", on(footed, []byte("text\n--=_aboundary--\n")), Options{}, int64(len(footed)), BlockEnd, Plausible, -1},
		{"the same, then more of it", on(footed, []byte("text\n")), Options{}, int64(len(footed)) + 5, ZeroTail, Plausible, -1},
		{"headers in a cyrus.cache", on(cached), Options{}, int64(len(cached)), ZeroTail, NotMail, -1},
		{"a cyrus.cache behind a header", on([]byte(head+strings.Repeat("x", block-len(head))), cached[3:]), Options{}, 4096, Misfit, Broken, 4096},
		{"no head", on([]byte("nothing")), Options{}, 0, "", NotMail, -1},
	} {
		p := follow(t, c.disk, 0, c.o)
		why := Reason("")
		if len(p.Ends) > 0 {
			why = p.Ends[0].Why
		}
		if p.Len != c.len || why != c.why || p.Verdict != c.verdict || p.Break != c.brk {
			t.Errorf("%s: %d %q %s (%s), break %d, want %d; ends %v", c.name, p.Len, why, p.Verdict, p.Why, p.Break, c.len, p.Ends)
		}
	}
	p := follow(t, on(pic[:half], rest), 0, Options{})
	if w := p.Want; len(w.Boundaries) != 1 || w.Boundaries[0] != "=_b0" || !w.Base64 || w.Width != 76 || w.CRLF || w.Column != int64(half-bytes.LastIndexByte(pic[:half], '\n')-1) || p.Sure > int64(half) {
		t.Errorf("%+v", p)
	}
	p = follow(t, &disk{data: on(pic).data, unknown: []volume.Range{{Off: int64(half), Len: 1024}}}, 0, Options{})
	if len(p.Holes) != 1 || p.Holes[0] != (volume.Range{Off: int64(half), Len: 1024}) {
		t.Errorf("%+v", p.Holes)
	}
}

// Broken containers say where they break, and Expand gives what is there.
func TestFollowBrokenContainers(t *testing.T) {
	pic := picture(300)
	long := fmt.Appendf(nil, "2 M1e C6b03387f\n\x01\x02N          %016x\n%s\n\x01\x03\nG1\n\n", len(pic), pic)
	packed := gzipped(pic)
	foreign := bytes.Repeat([]byte("x: y\n"), 4096/5+1)[:block]
	for _, c := range []struct {
		name string
		data []byte
		brk  int64
	}{
		{"dbox", append(bytes.Clone(long[:2*block]), foreign...), 2 * block},
		{"dbox, second", append(append([]byte(dboxFile), long[16:]...)[:2*block:2*block], foreign...), 2 * block},
		{"gzip", append(bytes.Clone(packed[:2*block]), foreign...), 2 * block},
	} {
		p := follow(t, on(c.data), 0, Options{})
		if p.Verdict != Broken || p.Break < 0 || p.Break > c.brk || p.Len <= 0 {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	d := on(long)
	d.unknown = []volume.Range{{Off: 8192, Len: 4096}}
	if p := follow(t, d, 0, Options{}); p.Verdict != Broken || len(p.Holes) != 1 || p.Len != int64(len(long)) {
		t.Errorf("dbox with a hole: %+v", p)
	}
}

// An end of the context, and of what can be read, is an error.
func TestFollowErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Follow(ctx, on(picture(300)), 0, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Follow(context.Background(), dead{on(picture(300))}, 0, Options{}); !errors.Is(err, errDead) {
		t.Error(err)
	}
	if _, err := Follow(context.Background(), on(picture(3)), 0, Options{Block: 1000}); err == nil {
		t.Error("a block of 1000 bytes")
	}
	for _, off := range []int64{-1, 1 << 50} {
		if p, err := Follow(context.Background(), on(picture(3)), off, Options{}); err != nil || p.Verdict != NotMail {
			t.Errorf("at %d: %+v, %v", off, p, err)
		}
	}
}

// A volume made of what looks like one header must not be read to its end from
// each of its blocks.
func TestFollowIsBounded(t *testing.T) {
	for _, line := range []string{"Received: from x\n", "X-Y: z\n", "Subject: x\n\nno line end in this block "} {
		b := []byte(strings.Repeat(line, block/len(line)+1))
		if strings.HasPrefix(line, "Subject") {
			b = append([]byte(line), bytes.Repeat([]byte("x"), block)...)
		}
		if p := follow(t, &disk{data: bytes.Repeat(b[:block], 1000)}, 0, Options{}); p.Len > (maxPassed+1)*block || p.Verdict == Whole {
			t.Errorf("%q: %d bytes, %s", line, p.Len, p.Verdict)
		}
	}
}

var errDead = errors.New("the disk is gone")

type dead struct{ *disk }

func (d dead) ReadAt(p []byte, off int64) ([]volume.Range, error) {
	if off > 0 {
		return nil, errDead
	}
	return d.disk.ReadAt(p, off)
}
