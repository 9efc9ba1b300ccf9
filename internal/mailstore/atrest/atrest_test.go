package atrest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"salvor/internal/mailstore"
)

// mail is long enough for every compressor to need several blocks.
var mail = func() string {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "line %d of a message, %x\n", i, i*i*7919)
	}
	return b.String()
}()

// compressors are the programs that make the forms that are decoded.
var compressors = map[Form][]string{
	Gzip: {"gzip", "-6", "-c"}, Bzip2: {"bzip2", "-1", "-c"}, Zstd: {"zstd", "-q", "-c"},
}

func compress(t testing.TB, f Form, text string) []byte {
	t.Helper()
	args := compressors[f]
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\nhint: apt-get install %s", args, err, args[0])
	}
	return out
}

func TestDecodes(t *testing.T) {
	for form := range compressors {
		for _, text := range []string{"", "x", "Subject: x\n\nbody\n", mail} {
			file := compress(t, form, text)
			for _, promised := range []int64{-1, int64(len(text))} {
				r := NewReader(bytes.NewReader(file), promised)
				got, err := io.ReadAll(r)
				if string(got) != text || err != nil || r.AtRest() != form {
					t.Errorf("%s, %d bytes, promised %d: %d bytes, %v, form %q", form, len(text), promised, len(got), err, r.AtRest())
				}
			}
			if len(text) > 1000 {
				continue // byte by byte it would take too long
			}
			if err := iotest.TestReader(NewReader(bytes.NewReader(file), -1), []byte(text)); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
}

// Two streams, one after the other, are one message, as for Dovecot.
func TestSeveralStreams(t *testing.T) {
	for form := range compressors {
		file := append(compress(t, form, "one, "), compress(t, form, "two")...)
		got, err := io.ReadAll(NewReader(bytes.NewReader(file), -1))
		if string(got) != "one, two" || err != nil {
			t.Errorf("%s: %q, %v", form, got, err)
		}
	}
}

// zstd's highest levels want more memory than others.
func TestWideWindow(t *testing.T) {
	cmd := exec.Command("zstd", "-q", "--ultra", "-22", "-c")
	cmd.Stdin = strings.NewReader(mail[:1000]) // of a length that zstd does not know
	file, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var h zstd.Header
	if err := h.Decode(file); err != nil || h.WindowSize <= window {
		t.Fatalf("window %d, %v", h.WindowSize, err)
	}
	r := NewReader(bytes.NewReader(file), 1000)
	if got, err := io.ReadAll(r); string(got) != mail[:1000] || err != nil || r.AtRest() != Zstd {
		t.Errorf("%d bytes, %v, %s", len(got), err, r.AtRest())
	}
}

// What is no compressed mail is read byte for byte, and said to be what it is.
func TestAsItIs(t *testing.T) {
	tail := strings.Repeat("\x00\xff tail", 100)
	for _, c := range []struct {
		file string
		form Form
	}{
		{"", Plain}, {"B", Plain}, {"BZh", Plain}, {"BZhang wrote\n", Plain}, {"From: x\n\nbody\n", Plain}, {"\x1f", Plain},
		{"CRYPTED\x03", Plain}, {"Dovecot-LZ4 is not a header\n", Plain},
		{"CRYPTED\x03\x07" + tail, Encrypted}, {"CRYPTED\x03\x07", Encrypted},
		{"\xfd7zXZ\x00" + tail, XZ}, {"Dovecot-LZ4\x0d\x2a\x9b\xc5" + tail, LZ4},
		{"\x1f\x8b", Undecodable}, {"\x1f\x8b" + tail, Undecodable}, {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + "\xff" + tail, Undecodable},
		{"BZh9", Undecodable}, {"BZh9 is how this message begins\n" + tail, Undecodable}, {"\x28\xb5\x2f\xfd" + tail, Undecodable}, {"\x28\xb5\x2f\xfd", Undecodable},
	} {
		for _, promised := range []int64{-1, 0, 5, 1 << 40} {
			r := NewReader(bytes.NewReader([]byte(c.file)), promised)
			got, err := io.ReadAll(r)
			if string(got) != c.file || err != nil || r.AtRest() != c.form {
				t.Errorf("%.20q: %d of %d bytes, %v, form %q, want %q", c.file, len(got), len(c.file), err, r.AtRest(), c.form)
			}
			if c.form.Opaque() != (c.form != Plain) {
				t.Errorf("%q: opaque %v", c.form, c.form.Opaque())
			}
		}
		if err := iotest.TestReader(NewReader(bytes.NewReader([]byte(c.file)), -1), []byte(c.file)); err != nil {
			t.Errorf("%.20q: %v", c.file, err)
		}
	}
}

// A stream that is cut off, altered, or longer than promised is damaged, and
// nothing is made up.
func TestDamaged(t *testing.T) {
	for form := range compressors {
		whole := compress(t, form, mail)
		altered := bytes.Clone(whole)
		altered[len(whole)*9/10] ^= 0x10
		for name, c := range map[string]struct {
			file     []byte
			promised int64
		}{
			"cut":       {whole[:len(whole)*9/10], -1},
			"last byte": {whole[:len(whole)-1], -1},
			"altered":   {altered, -1},
			"garbage":   {append(bytes.Clone(whole), "garbage that follows"...), -1},
			"long":      {whole, int64(len(mail)) - 1},
			"empty":     {whole, 0},
		} {
			got, err := io.ReadAll(NewReader(bytes.NewReader(c.file), c.promised))
			if !errors.Is(err, mailstore.ErrDamaged) || name != "altered" && !strings.HasPrefix(mail, string(got)) {
				t.Errorf("%s, %s: %d bytes, %v", form, name, len(got), err)
			}
			if c.promised >= 0 && int64(len(got)) > c.promised {
				t.Errorf("%s, %s: %d bytes", form, name, len(got))
			}
		}
	}
}

// A small file that would fill the memory gives no more than is promised.
func TestBomb(t *testing.T) {
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		for range 256 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range [][]byte{gz.Bytes(), zs.Bytes()} {
		n, err := io.Copy(io.Discard, NewReader(bytes.NewReader(file), 1000))
		if !errors.Is(err, mailstore.ErrDamaged) || n > 1000 {
			t.Errorf("%d bytes of %d gave %d, %v", len(file), 256<<20, n, err)
		}
	}
}

// failing is a file on a disk that breaks.
type failing struct {
	*bytes.Reader
	after int
}

var errDisk = errors.New("input/output error")

func (f *failing) Read(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return f.Reader.Read(p)
}

// An error of the disk is not taken for damage of the stream.
func TestDiskError(t *testing.T) {
	for form := range compressors {
		file := compress(t, form, mail)
		for _, after := range []int{0, 20 << 10, 60 << 10} {
			f := &failing{Reader: bytes.NewReader(file), after: after}
			if _, err := io.ReadAll(NewReader(f, -1)); !errors.Is(err, errDisk) || errors.Is(err, mailstore.ErrDamaged) {
				t.Errorf("%s, after %d bytes: %v", form, after, err)
			}
		}
	}
}

func TestClose(t *testing.T) {
	for form := range compressors {
		r := NewReader(bytes.NewReader(compress(t, form, mail)), -1)
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%s: read %d after Close, %v", form, n, err)
		}
	}
}

// FuzzReader checks that bounds hold whatever a file is, and that a file which
// is read as it is comes whole.
func FuzzReader(f *testing.F) {
	for form := range compressors {
		b := compress(f, form, "Subject: x\n\nsome body, some body\n")
		f.Add(b, int64(-1), uint8(1))
		f.Add(b[:len(b)-3], int64(10), uint8(100))
	}
	f.Add([]byte("CRYPTED\x03\x07xx"), int64(3), uint8(7))
	f.Add([]byte("From: x\n\n"), int64(9), uint8(15))
	f.Fuzz(func(t *testing.T, b []byte, promised int64, step uint8) {
		r := NewReader(bytes.NewReader(b), promised)
		defer r.Close()
		// A hostile file may be a bomb: a promise keeps the fuzzer's time bounded.
		if promised < 0 || promised > 1<<20 {
			r.promise = 1 << 20
		}
		var got []byte
		var err error
		buf := make([]byte, int(step)+1)
		for err == nil {
			var n int
			n, err = r.Read(buf)
			got = append(got, buf[:n]...)
		}
		whole := r.AtRest() == Plain || r.AtRest().Opaque()
		switch {
		case whole && (!bytes.Equal(got, b) || !errors.Is(err, io.EOF)):
			t.Errorf("%q: %d of %d bytes, %v", r.AtRest(), len(got), len(b), err)
		case !whole && int64(len(got)) > r.promise:
			t.Errorf("%d bytes, promised %d", len(got), r.promise)
		case !errors.Is(err, io.EOF) && !errors.Is(err, mailstore.ErrDamaged):
			t.Errorf("error %v", err)
		}
	})
}
