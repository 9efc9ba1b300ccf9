package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/diskimage"
)

// salvaged salvages with the real binary, and gives what two runs have to agree on:
// the list, but for when the files were put there, and the report.
func salvaged(w *world, out string, args ...string) string {
	w.t.Helper()
	cmd := w.command(append([]string{"salvage", "--json", "--out", out}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if code := exitOf(err); code != 0 && code != exitIncomplete {
		w.t.Fatalf("salvor salvage %q: %v\n%s", args, err, &errs)
	}
	var report map[string]any
	must(w.t, json.Unmarshal(text, &report))
	list, err := os.ReadFile(filepath.Join(out, "found.jsonl"))
	must(w.t, err)
	for line := range bytes.Lines(list) {
		f := oneObject(w.t, line)
		kept, err := os.ReadFile(filepath.Join(out, f["file"].(string)))
		must(w.t, err)
		if sum := fmt.Sprintf("%x", sha256.Sum256(kept)); sum != f["stored_sha256"] {
			w.t.Errorf("%v was kept as other bytes", f["id"])
		}
	}
	again, err := json.Marshal(report)
	must(w.t, err)
	return string(list) + string(again)
}

// TestSalvageKilled kills salvages of a damaged disk again and again; what comes out
// in the end is what comes out undisturbed, and the disk is what it was.
func TestSalvageKilled(t *testing.T) {
	w := newWorld(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 9))
	d := diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .15, Largest: 400e3, Seed: 7}).Harm(t, diskimage.Blocks5, 7)
	before, err := os.ReadFile(d.Path)
	must(t, err)
	began := time.Now()
	source := []string{d.Path, "--map", d.Map}
	want := salvaged(w, w.path("undisturbed"), source...)
	took := time.Since(began)
	if !strings.Contains(want, `"how":"carved"`) || !strings.Contains(want, `"how":"file"`) {
		t.Fatalf("the disk is not damaged as it should be: %.2000s", want)
	}
	out, killed := w.path("killed"), 0
	for range 12 { // each gets a little further
		if w.killed(time.Duration(rng.Int64N(int64(took)/4)), append([]string{"salvage", "--out", out}, source...)...) {
			killed++
		}
	}
	if killed < 3 {
		t.Errorf("only %d salvages were killed", killed)
	}
	if got := salvaged(w, out, source...); got != want {
		t.Errorf("after %d kills another result:\n%s", killed, firstDifference(want, got))
	}
	left, err := filepath.Glob(filepath.Join(out, "*", ".salvor-*"))
	must(t, err)
	more, err := filepath.Glob(filepath.Join(out, ".salvor-*"))
	must(t, err)
	if left = append(left, more...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	after, err := os.ReadFile(d.Path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the disk is not what it was")
	}
	t.Logf("killed %d times within %v", killed, took)
}

// firstDifference gives the first line that two texts do not share.
func firstDifference(a, b string) string {
	one, two := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(one), len(two)) {
		if one[i] != two[i] {
			return "- " + one[i] + "\n+ " + two[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(one), len(two))
}

// TestSalvageReadsOnly salvages a disk that nobody may write to, of which the kernel
// refuses every write, and an array of such.
func TestSalvageReadsOnly(t *testing.T) {
	w := newWorld(t)
	d := diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .05, Largest: 100e3, Seed: 8})
	dir := t.TempDir()
	must(t, syscall.Mount(filepath.Dir(d.Path), dir, "", syscall.MS_BIND, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(dir, 0)) })
	must(t, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	image := filepath.Join(dir, filepath.Base(d.Path))
	if err := os.WriteFile(image, nil, 0o600); err == nil {
		t.Fatal("it can be written to")
	}
	if out := salvaged(w, w.path("found"), image); strings.Count(out, "\n") == 0 {
		t.Error("nothing was found")
	}
}

// TestSalvageDiskFull keeps what is found on a disk that is too small: one line says
// so, and with more room the same command goes on.
func TestSalvageDiskFull(t *testing.T) {
	w := newWorld(t)
	d := diskimage.Build(t, diskimage.Options{Size: 64 << 20, Fill: .15, Largest: 400e3, Seed: 7})
	out := w.path("found")
	w.fails(exitFailed, "no more is kept", "salvage", d.Path, "--out", out, "--max-bytes", "1M")
	cmd := w.command("salvage", d.Path, "--out", out, "--max-bytes", "1M")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); exitOf(err) != exitFailed {
		t.Errorf("exit %v", err)
	}
	if text := errs.String(); strings.Count(text, "no more is kept") != 1 {
		t.Errorf("it says\n%s", text)
	}
	if got, want := salvaged(w, out, d.Path), salvaged(w, w.path("other"), d.Path); got != want {
		t.Errorf("after a full disk another result:\n%s", firstDifference(want, got))
	}
}
