package found

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// framed is a content as it stands in a pack.
func framed(body string) string {
	return header(fmt.Sprintf("%x", sha256.Sum256([]byte(body))), int64(len(body))) + body + "\n"
}

// die leaves a directory as a run that is killed does; the kernel drops the lock of
// the dead, here we do.
func (w *Writer) die() {
	w.lock.Close()
	w.index.db.Close()
	if w.pack != nil {
		w.pack.file.Close()
	}
	w.root.Close()
}

// there tells whether a writer finds a content again without being given it.
func there(t *testing.T, w *Writer, body string) bool {
	t.Helper()
	missing := errors.New("it is asked for")
	err := w.Keep(t.Context(), finding(body, Unknown), failing{missing})
	if err != nil && !errors.Is(err, missing) {
		t.Fatal(err)
	}
	return err == nil
}

// keepAll keeps contents, and gives their findings.
func keepAll(t *testing.T, w *Writer, bodies []string) (all []*Finding) {
	t.Helper()
	for _, body := range bodies {
		f := finding(body, Unknown)
		keep(t, w, f, body)
		all = append(all, f)
	}
	return all
}

// holds checks that the findings' bytes are in a directory.
func holds(t *testing.T, dir string, all []*Finding, bodies []string) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, f := range all {
		if b, err := content(d, f); err != nil || string(b) != bodies[i] {
			t.Errorf("%s at %d holds %.100q, not %.100q: %v", f.File, f.At, b, bodies[i], err)
		}
	}
}

func readPack(t *testing.T, dir string, number int) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, packName(number)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writePack(t *testing.T, dir string, number int, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, packName(number)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// some are contents with which a reader of packs may have trouble.
var some = []string{"one\n", "", "Subject: x\n\n" + framed("forged") + "end", "no end of line", "\n", strings.Repeat(headerTag, 9)}

func TestPackLooksAsWritten(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	finish(t, w, keepAll(t, w, some)...)
	want := ""
	for _, body := range some {
		want += framed(body)
	}
	if got := readPack(t, dir, 1); string(got) != want {
		t.Errorf("the pack is %q", got)
	}
}

// A pack that ends anywhere is gone on with: what is whole in it is found again,
// nothing else is, and what follows is in its place.
func TestTornAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	finish(t, w, keepAll(t, w, some)...)
	whole := readPack(t, dir, 1)
	for n := range len(whole) + 1 {
		writePack(t, dir, 1, whole[:n])
		w := create(t, dir, noFloor)
		held, end := int64(0), 0
		for _, body := range some {
			if end += len(framed(body)); end <= n {
				held += int64(len(body))
			}
			if has := there(t, w, body); has != (end <= n) {
				t.Errorf("cut at %d: the content that ends at %d is there: %v", n, end, has)
			}
		}
		// The letter that holds a frame may be torn behind that one.
		if forged := int64(len("forged")); w.Held() != held && w.Held() != held+forged {
			t.Errorf("cut at %d: %d bytes are held of %d", n, w.Held(), held)
		}
		all := keepAll(t, w, some)
		if err := w.pack.flush(); err != nil {
			t.Fatal(err)
		}
		w.die() // a thousand syncs would take longer than all the rest
		holds(t, dir, all, some)
	}
	if err := create(t, dir, noFloor).Close(); err != nil {
		t.Fatal(err)
	}
	owned(t, dir)
}

// After a power cut anything may stand where nothing was durable yet, and all that
// was is there, also where nonsense stands between.
func TestAnythingBehindWhatWasDurable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	base := t.TempDir()
	for n := range 60 {
		dir := filepath.Join(base, fmt.Sprint(n))
		w := create(t, dir, noFloor)
		w.limit = 400
		var bodies []string
		for i := range 12 {
			bodies = append(bodies, fmt.Sprintf("Subject: %d\n\n%s", i, strings.Repeat("text\n", rng.IntN(60))))
		}
		bodies[5] = some[2]
		durable := rng.IntN(len(bodies))
		all := keepAll(t, w, bodies[:durable])
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		from, last := int64(0), 1
		if w.pack != nil {
			from, last = w.pack.size, w.pack.number
		}
		keepAll(t, w, bodies[durable:])
		if err := w.pack.flush(); err != nil {
			t.Fatal(err)
		}
		w.die()
		if last == w.pack.number { // what is in packs before the last is durable
			spoil(t, dir, last, from, rng)
		}
		w = create(t, dir, noFloor)
		for _, body := range bodies[:durable] {
			if !there(t, w, body) {
				t.Errorf("%q is gone, of %d durable ones", body, durable)
			}
		}
		again := keepAll(t, w, bodies)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, slices.Concat(all, again), slices.Concat(bodies[:durable], bodies))
		if t.Failed() {
			return
		}
	}
}

// spoil does to the end of a pack what a power cut may do.
func spoil(t *testing.T, dir string, number int, from int64, rng *rand.Rand) {
	b := readPack(t, dir, number)
	for range rng.IntN(4) {
		tail := b[from:]
		if len(tail) == 0 {
			break
		}
		at := rng.IntN(len(tail))
		some := tail[at : at+rng.IntN(len(tail)-at)]
		switch rng.IntN(3) {
		case 0:
			clear(some)
		case 1:
			for i := range some {
				some[i] = byte(rng.Uint32())
			}
		case 2:
			b = b[:from+int64(at)]
		}
	}
	writePack(t, dir, number, b)
}

// A header stands for nothing where its content never reached the disk, or where a
// letter only claims to be one.
func TestHeadersAreNotBelieved(t *testing.T) {
	victim := "Subject: victim\n\ntext\n"
	forged := strings.Replace(framed(victim), "text", "lies", 1)
	for what, pack := range map[string]string{
		"zeros":                strings.Replace(framed(victim), "text", "\x00\x00\x00\x00", 1),
		"forged, whole letter": framed("Subject: x\n\n" + forged),
		"forged, torn letter":  framed("Subject: x\n\n" + forged)[50:],
		"forged, behind":       framed(victim) + framed("Subject: x\n\n" + forged)[50:],
	} {
		dir := t.TempDir()
		w := create(t, dir, noFloor)
		w.die()
		writePack(t, dir, 1, []byte(pack))
		for range 2 {
			w = create(t, dir, noFloor)
			all := keepAll(t, w, []string{victim})
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, all, []string{victim})
		}
		w = create(t, dir, noFloor)
		if before := len(readPack(t, dir, 1)); !there(t, w, victim) || w.Close() != nil || len(readPack(t, dir, 1)) != before {
			t.Errorf("%s: it is kept again and again", what)
		}
	}
}

// Packs are of bounded size; those before the last are read and never written to,
// whatever has become of them.
func TestSeveralPacks(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	w.limit = 300
	bodies := slices.Clone(some)
	for i := range 20 {
		bodies = append(bodies, strings.Repeat(fmt.Sprintf("line of %d\n", i), 1+i))
	}
	all := keepAll(t, w, bodies)
	packs, held := w.pack.number, w.Held()
	finish(t, w, all...)
	holds(t, dir, all, bodies)
	owned(t, dir)
	for n := 1; n <= packs; n++ {
		b := readPack(t, dir, n)
		frames := bytes.Count(b, []byte(headerTag))
		if n < packs && len(b) < 300 || len(b) > 1000 || frames == 0 {
			t.Errorf("pack %d has %d bytes", n, len(b))
		}
	}
	if packs < 5 {
		t.Fatalf("there are %d packs", packs)
	}
	first := readPack(t, dir, 1)
	first[3] ^= 1 // in the first header
	writePack(t, dir, 1, first)

	w = create(t, dir, noFloor)
	defer w.Close()
	if w.Held() != held-int64(len(bodies[0])) || there(t, w, bodies[0]) {
		t.Errorf("%d bytes are held, of %d", w.Held(), held)
	}
	for _, body := range bodies[1:] {
		if !there(t, w, body) {
			t.Errorf("%q is not found again", body)
		}
	}
	again := keepAll(t, w, bodies[:1])
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again[0].File != packName(packs) || !bytes.Equal(readPack(t, dir, 1), first) {
		t.Errorf("kept in %s", again[0].File)
	}
	holds(t, dir, slices.Concat(again, all[1:]), bodies)
}

// What is refused, for whatever reason and however long it is, leaves nothing.
func TestNothingOfWhatIsRefused(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, Options{MaxBytes: 8 << 20, MinFree: -1})
	defer w.Close()
	all := keepAll(t, w, some)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, held := readPack(t, dir, 1), w.Held()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	broken := errors.New("I/O error")
	for _, size := range []int{3, packBuffer - headerLen, packBuffer, 3*packBuffer + 5} {
		body := strings.Repeat("x", size)
		unknown := finding(body, Unknown)
		unknown.SHA256Stored = ""
		for _, test := range []struct {
			ctx     context.Context
			f       *Finding
			content io.Reader
			want    error
		}{
			{t.Context(), finding(body, Unknown), strings.NewReader(body + "y"), ErrChanged},
			{t.Context(), finding(body, Unknown), strings.NewReader(body[1:]), ErrChanged},
			{t.Context(), finding(body, Unknown), io.MultiReader(strings.NewReader(body), failing{broken}), broken},
			{t.Context(), unknown, io.MultiReader(strings.NewReader(body), failing{broken}), broken},
			{t.Context(), unknown, io.MultiReader(strings.NewReader(body), strings.NewReader(strings.Repeat("y", 9<<20))), ErrFull},
			{stopped, finding(body, Unknown), strings.NewReader(body), context.Canceled},
		} {
			if err := w.Keep(test.ctx, test.f, test.content); !errors.Is(err, test.want) || test.f.File != "" {
				t.Errorf("%d bytes, kept in %q: %v, not %v", size, test.f.File, err, test.want)
			}
			if err := w.Sync(t.Context()); err != nil || w.Held() != held || !bytes.Equal(readPack(t, dir, 1), before) {
				t.Fatalf("%d bytes, %v: something was left, %d bytes are held: %v", size, test.want, w.Held(), err)
			}
		}
	}
	all = append(all, keepAll(t, w, []string{"after"})...)
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, all, append(slices.Clone(some), "after"))
}

// Nobody needs to know a checksum beforehand, however long the content is.
func TestChecksumsThatNobodyKnows(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	bodies := append(slices.Clone(some), strings.Repeat("long\n", packBuffer), "after")
	var all []*Finding
	for range 2 {
		for _, body := range bodies {
			f := &Finding{Class: Unknown, Grade: Plausible}
			keep(t, w, f, body)
			f.ID = f.SHA256Stored[:idDigits]
			all = append(all, f)
		}
	}
	finish(t, w, all[:0]...)
	holds(t, dir, all, slices.Concat(bodies, bodies))
	want := 0
	for _, body := range bodies {
		want += len(framed(body))
	}
	if got := len(readPack(t, dir, 1)); got != want {
		t.Errorf("the pack has %d bytes, not %d", got, want)
	}
}

// A killed run leaves a frame whose end never came, longer than what is written at
// once.
func TestAKilledRunIsGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	w := create(t, dir, noFloor)
	bodies := []string{"Subject: durable\n", "Subject: written\n", strings.Repeat("long\n", packBuffer)}
	keepAll(t, w, bodies[:2])
	dead := errors.New("killed")
	half := io.MultiReader(strings.NewReader(bodies[2][:2*packBuffer]), reader(func() error {
		w.die()
		return dead
	}))
	if err := w.Keep(t.Context(), finding(bodies[2], Unknown), half); !errors.Is(err, dead) {
		t.Fatal(err)
	}
	if n := len(readPack(t, dir, 1)); n < 2*packBuffer {
		t.Fatalf("%d bytes were left", n)
	}
	w = create(t, dir, noFloor)
	if w.Held() != int64(len(bodies[0])+len(bodies[1])) || !there(t, w, bodies[0]) || !there(t, w, bodies[1]) || there(t, w, bodies[2]) {
		t.Errorf("%d bytes are counted", w.Held())
	}
	all := keepAll(t, w, bodies)
	finish(t, w, all...)
	owned(t, dir)
	holds(t, dir, all, bodies)
}

// A reader does something when it is read.
type reader func() error

func (r reader) Read([]byte) (int, error) { return 0, r() }
