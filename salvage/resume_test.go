package salvage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/testenv/diskimage"
	"salvor/salvage/found"
	"salvor/salvage/volume"
)

// A patient is a damaged disk with work for every stage of a salvage, and what a
// salvage finds that nobody disturbs.
type patient struct {
	disk    *diskimage.Damaged
	catalog *catalog.Catalog
	want    string
}

func newPatient(t *testing.T) *patient {
	im := diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .15, Largest: 400e3, Seed: 7})
	p := &patient{disk: im.Harm(t, diskimage.Blocks5, 7)}
	p.catalog = ledger(t, p.disk)
	r := p.dig(t).run(t)
	p.want = r.summary()
	hows := map[string]bool{}
	for _, f := range r.finds {
		hows[string(f.Class)+" "+f.How] = true
	}
	if !hows["matched file"] || !hows["matched carved"] || !hows["damaged file"] || !hows["damaged carved"] {
		t.Fatalf("not everything is there to be found: %v, %+v", hows, r.report)
	}
	return p
}

func (p *patient) dig(t *testing.T) *dig {
	d := newDig(t, p.disk.Path)
	d.catalog, d.spec.Maps = p.catalog, map[string]string{p.disk.Path: p.disk.Map}
	return d
}

// summary is what two runs over the same disk have to agree on.
func (r *result) summary() string {
	var b strings.Builder
	all := maps.Clone(r.finds)
	for _, f := range sorted(all) {
		fmt.Fprintf(&b, "%s %s %s %q %q %s\n", f.SHA256Stored, f.Class, f.Grade, f.User, f.File, f.ID)
	}
	p := *r.report
	for _, s := range p.Sources {
		fmt.Fprintf(&b, "%+v\n", *s)
	}
	p.Sources = nil
	fmt.Fprintf(&b, "%+v\n", p)
	return b.String()
}

func sorted(finds map[string]found.Finding) (out []found.Finding) {
	for _, sum := range sortedKeys(finds) {
		out = append(out, finds[sum])
	}
	return out
}

// like compares a salvage that was disturbed with one that was not.
func (p *patient) like(t *testing.T, d *dig) {
	t.Helper()
	d.keeper, d.volume, d.progress = nil, nil, nil
	got := d.run(t).summary()
	if got == p.want {
		return
	}
	gone, come := difference(p.want, got)
	t.Errorf("%d lines are others than those of an undisturbed salvage\n- %s\n+ %s", len(gone)+len(come), strings.Join(gone, "\n- "), strings.Join(come, "\n+ "))
}

// difference gives the lines that only one of two texts has, some of them.
func difference(a, b string) (gone, come []string) {
	has := func(text, line string) bool { return strings.Contains("\n"+text, "\n"+line) }
	for line := range strings.Lines(a) {
		if !has(b, line) && len(gone) < 5 {
			gone = append(gone, strings.TrimSpace(line))
		}
	}
	for line := range strings.Lines(b) {
		if !has(a, line) && len(come) < 5 {
			come = append(come, strings.TrimSpace(line))
		}
	}
	return gone, come
}

// A stopper stops a salvage at the stage whose name contains a word, or after so
// many steps of whatever stage.
type stopper struct {
	stop   context.CancelFunc
	stage  string
	steps  atomic.Int64
	mu     sync.Mutex
	stages []string
}

func (s *stopper) Stage(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stages = append(s.stages, name)
	if s.stage != "" && strings.Contains(name, s.stage) {
		s.stop()
	}
}
func (s *stopper) Total(int64, int64) {}
func (s *stopper) Add(int64, int64) {
	if s.steps.Add(-1) == 0 {
		s.stop()
	}
}

// TestStopped stops a salvage where each stage begins and at random steps, and lets
// it go on: what comes out is what comes out undisturbed.
func TestStopped(t *testing.T) {
	p := newPatient(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	stopped := func(d *dig, stage string, steps int64) error {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		s := &stopper{stop: stop, stage: stage}
		s.steps.Store(steps)
		d.progress = s
		_, _, err := d.try(ctx)
		return err
	}
	t.Run("every stage", func(t *testing.T) {
		d := p.dig(t)
		for _, stage := range []string{": reading", ": names", ": files", ": what no file", ": fragments"} {
			if err := stopped(d, stage, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("stopped at%s: %v", stage, err)
			}
		}
		p.like(t, d)
	})
	t.Run("random steps", func(t *testing.T) {
		d, stops := p.dig(t), 0
		for range 12 {
			if err := stopped(d, "", 1+rng.Int64N(9)); err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				stops++
			}
		}
		if stops == 0 {
			t.Error("it was never stopped")
		}
		p.like(t, d)
	})
	t.Run("random times", func(t *testing.T) {
		d := p.dig(t)
		for range 6 {
			ctx, stop := context.WithTimeout(t.Context(), time.Duration(rng.Int64N(int64(500*time.Millisecond))))
			_, _, err := d.try(ctx)
			stop()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		p.like(t, d)
	})
}

// An ear hears what is read of a volume.
type ear struct {
	volume.Volume
	reads *[]volume.Range
	mu    *sync.Mutex
	each  func(n int) error
}

func (e ear) ReadAt(b []byte, off int64) ([]volume.Range, error) {
	e.mu.Lock()
	*e.reads = append(*e.reads, volume.Range{Off: off, Len: int64(len(b))})
	n := len(*e.reads)
	e.mu.Unlock()
	if err := e.each(n); err != nil {
		return nil, err
	}
	return e.Volume.ReadAt(b, off)
}

// listen puts an ear on a dig's volumes.
func (d *dig) listen(each func(n int) error) *[]volume.Range {
	reads := new([]volume.Range)
	d.volume = func(v volume.Volume) volume.Volume { return ear{v, reads, new(sync.Mutex), each} }
	return reads
}

// window is how much a sweep reads at once, and nothing else does.
const window = 4 << 20

// windows gives where a sweep has read.
func windows(reads []volume.Range) (out []int64) {
	for _, r := range reads {
		if r.Len == window {
			out = append(out, r.Off)
		}
	}
	return out
}

// TestSweepGoesOn stops a sweep in the middle: the next one reads on from there, and
// when everything is done nothing is swept any more.
func TestSweepGoesOn(t *testing.T) {
	p := newPatient(t)
	d := p.dig(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s := &stopper{stop: stop}
	s.steps.Store(7) // the first one is what was swept before
	d.progress = s
	first := d.listen(func(int) error { return nil })
	if _, _, err := d.try(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	d.progress = nil
	second := d.listen(func(int) error { return nil })
	if _, _, err := d.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, two := windows(*first), windows(*second)
	if len(one) < 6 || len(two) == 0 || two[0] < 5*window || len(two) > 16-5 {
		t.Errorf("read %v, and then %v", one, two)
	}
	third := d.listen(func(int) error { return nil })
	if _, _, err := d.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := windows(*third); len(again) > 0 {
		t.Errorf("read %v once more", again)
	}
	p.like(t, d)
}

// TestDiskGone lets a disk vanish at the n-th read: one error, and then, with the disk
// back, the result that there would have been.
func TestDiskGone(t *testing.T) {
	p := newPatient(t)
	gone := errors.New("the disk is gone")
	d := p.dig(t)
	for n, runs := 1, 0; ; n, runs = n*5/2+1, runs+1 {
		d.listen(func(at int) error {
			if at >= n {
				return gone
			}
			return nil
		})
		_, _, err := d.try(t.Context())
		if err == nil {
			if runs < 5 {
				t.Errorf("it was over after %d reads", n)
			}
			break
		}
		oneError(t, err, gone)
	}
	p.like(t, d)
}

// oneError checks that a cause is told, once, in a line, with what it was about.
func oneError(t *testing.T, err, cause error) {
	t.Helper()
	if text := err.Error(); !errors.Is(err, cause) || strings.Count(text, cause.Error()) != 1 || strings.Contains(text, "\n") {
		t.Errorf("the error is %q", text)
	}
}

// A failing keeper fails from its n-th call on.
type failing struct {
	found.Keeper
	left  *int
	cause error
}

func (f failing) step() error {
	if *f.left--; *f.left < 0 {
		return f.cause
	}
	return nil
}

func (f failing) Keep(ctx context.Context, x *found.Finding, r io.Reader) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Keeper.Keep(ctx, x, r)
}

func (f failing) Sync(ctx context.Context) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Keeper.Sync(ctx)
}

func (f failing) Finish(ctx context.Context, each func(func(*found.Finding) error) error) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Keeper.Finish(ctx, each)
}

// TestKeeperFails lets whoever keeps what is found fail at its n-th call, and from
// then on.
func TestKeeperFails(t *testing.T) {
	p := newPatient(t)
	cause := errors.New("the vault is gone")
	d := p.dig(t)
	for n, runs := 0, 0; ; n, runs = n*2+1, runs+1 {
		left := n
		d.keeper = func(k found.Keeper) found.Keeper { return failing{k, &left, cause} }
		_, _, err := d.try(t.Context())
		if err == nil {
			if runs < 5 {
				t.Errorf("it was over after %d calls", n)
			}
			break
		}
		oneError(t, err, cause)
	}
	p.like(t, d)
}

// TestDiskFull keeps and notes on a disk that is too small, and goes on when it has
// grown.
func TestDiskFull(t *testing.T) {
	p := newPatient(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	d := p.dig(t)
	d.out = filepath.Join(dir, "found")
	full := 0
	for size := 256; size <= 128<<10; size *= 2 {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", size)); err != nil {
			t.Fatal(err)
		}
		_, _, err := d.try(t.Context())
		if err == nil {
			break
		}
		if full++; strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "full") && !strings.Contains(err.Error(), "no space") && !errors.Is(err, found.ErrFull) {
			t.Errorf("%d KiB: the error is %q", size, err)
		}
	}
	if full < 3 {
		t.Errorf("it was full %d times", full)
	}
	p.like(t, d)
	if left, err := filepath.Glob(filepath.Join(d.out, "*aside*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(d.out, found.ListFile)); err != nil {
		t.Error(err)
	}
}
