package found

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// A failingFile fails at the call at which left comes to zero; a write before has
// written half.
type failingFile struct {
	packFile
	left  *int
	cause error
}

func (f failingFile) fails() bool {
	*f.left--
	return *f.left == 0
}

func (f failingFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fails() {
		n, err := f.packFile.WriteAt(b[:len(b)/2], off)
		return n, errors.Join(err, f.cause)
	}
	return f.packFile.WriteAt(b, off)
}

func (f failingFile) Sync() error {
	if f.fails() {
		return f.cause
	}
	return f.packFile.Sync()
}

func (f failingFile) Truncate(n int64) error {
	if f.fails() {
		return f.cause
	}
	return f.packFile.Truncate(n)
}

func (f failingFile) Close() error {
	err := f.packFile.Close()
	if f.fails() {
		return f.cause
	}
	return err
}

// The disk fails at the first, second, ... n-th call, until a run gets through: what
// was durable stays, one error is told, nothing goes on as if nothing had been, and
// the next run completes it.
func TestDiskFailsAtTheNthCall(t *testing.T) {
	var bodies []string
	for i := range 4 {
		bodies = append(bodies, fmt.Sprintf("Subject: %d\n\n%s", i, strings.Repeat("x", i*packBuffer/2)))
	}
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		n := 1
		for ; ; n++ {
			dir := t.TempDir()
			w := create(t, dir, noFloor)
			left := n
			w.limit, w.wrap = packBuffer, func(f packFile) packFile { return failingFile{f, &left, cause} }
			durable, err := failingRun(w, bodies)
			if left > 0 {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if err == nil || !errors.Is(err, cause) || errors.Is(err, ErrFull) != (cause == syscall.ENOSPC) || strings.Contains(err.Error(), "\n") {
				t.Errorf("call %d: %v", n, err)
			}
			w = create(t, dir, noFloor)
			for _, body := range bodies[:durable] {
				if !there(t, w, body) {
					t.Errorf("call %d: %.20q was durable and is gone", n, body)
				}
			}
			all := keepAll(t, w, bodies)
			finish(t, w, all...)
			holds(t, dir, all, bodies)
			owned(t, dir)
		}
		if n < 12 {
			t.Errorf("%v: there were only %d calls", cause, n)
		}
	}
}

// failingRun keeps all it can, and says how many contents were durable before
// something failed.
func failingRun(w *Writer, bodies []string) (durable int, err error) {
	ctx := context.Background()
	for i, body := range bodies {
		changed := w.Keep(ctx, finding(body, Unknown), strings.NewReader(body+"y"))
		if err == nil && !errors.Is(changed, ErrChanged) {
			err = changed
		}
		if kept := w.Keep(ctx, finding(body, Unknown), strings.NewReader(body)); err == nil {
			err = kept
		}
		synced := w.Sync(ctx)
		if err == nil && synced == nil {
			durable = i + 1
		}
		if err == nil {
			err = synced
		} else if synced == nil && w.pack != nil && w.pack.err != nil {
			err = fmt.Errorf("a sync after it gives nothing: %w", err)
		}
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	return durable, err
}
