package salvage_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
	"salvor/salvage/found"
)

// BenchmarkSalvage salvages an aged disk whose superblocks are gone, without an
// index.
func BenchmarkSalvage(b *testing.B) {
	image := diskimage.Build(b, diskimage.Options{Seed: 1, Aged: true, Size: 256 << 20, Cycles: 3})
	d := image.Harm(b, diskimage.Headers, 1)
	info, err := os.Stat(d.Path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	began := processor(b)
	for b.Loop() {
		sources, err := salvage.Open(context.Background(), salvage.Spec{Sources: []string{d.Path}, NoMaps: true})
		if err != nil {
			b.Fatal(err)
		}
		out := filepath.Join(b.TempDir(), "found")
		w, err := found.Create(out, found.Head{Version: 1, Started: time.Now(), Sources: sources.Names}, found.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := salvage.Run(context.Background(), salvage.Options{Volumes: sources.Volumes, Work: out, Keeper: w, Progress: stages{b, time.Now(), new(string)}}); err != nil {
			b.Fatal(err)
		}
		w.Close()
		sources.Close()
	}
	b.ReportMetric((processor(b)-began).Seconds()/float64(b.N), "cpu-s/op")
}

// processor is how long this process has computed: on a busy machine it says more than
// the clock.
func processor(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stages tells how long each stage took.
type stages struct {
	t     testing.TB
	began time.Time
	last  *string
}

func (s stages) Stage(name string) { s.t.Logf("%6.2f s %s", time.Since(s.began).Seconds(), name) }
func (stages) Total(_, _ int64)    {}
func (stages) Add(_, _ int64)      {}
