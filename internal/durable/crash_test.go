package durable_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"salvor/internal/durable"
	"salvor/internal/objstore/crash"
)

// TestPowerCut cuts the power at every step of a write: the file is then the
// old one or the new one, and surely the new one when the write had returned.
func TestPowerCut(t *testing.T) {
	for _, test := range []struct {
		name  string
		old   string // "": there is none
		write func(durable.FS, string, []byte, fs.FileMode) error
	}{
		{"WriteFile new", "", durable.WriteOn},
		{"WriteFile over an old one", "the old key", durable.WriteOn},
		{"CreateFile", "", durable.CreateOn},
	} {
		t.Run(test.name, func(t *testing.T) {
			for steps := 0; ; steps++ {
				d, err := crash.New(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				if test.old != "" {
					if err := durable.WriteOn(d.Process(-1), "key", []byte(test.old), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				err = test.write(d.Process(steps), "key", []byte("the new key"), 0o600)
				if err != nil && !errors.Is(err, crash.ErrKilled) {
					t.Fatal(err)
				}
				for seed := range uint64(8) {
					got := survivor(t, d, rand.New(rand.NewPCG(seed, 0)))
					if got != "the new key" && (err == nil || got != test.old) {
						t.Errorf("after %d steps (%v), seed %d: the file holds %q", steps, err, seed, got)
					}
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if err == nil {
					return
				}
			}
		})
	}
}

// survivor is what the file holds after the power cut; "" when it is not there.
func survivor(t *testing.T, d *crash.Disk, luck *rand.Rand) string {
	t.Helper()
	dir := t.TempDir()
	if err := d.Survive(dir, luck); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(got)
}
