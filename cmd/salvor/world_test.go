package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/vault"
)

// world is a home of its own for the real binary.
type world struct {
	t    *testing.T
	dir  string
	env  []string
	exec string
}

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "salvor-bin-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "salvor")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = errors.New(string(out))
	}
	return path, err
})

// binaryDir is what TestMain removes when the tests are over.
var binaryDir string

func newWorld(t *testing.T) *world {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatalf("build salvor: %v", err)
	}
	dir := t.TempDir()
	return &world{t: t, dir: dir, exec: path, env: append(os.Environ(), "HOME="+dir, "TZ=UTC",
		"XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))}
}

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

func (w *world) identity() string { return w.path("config", "salvor", "identity.txt") }
func (w *world) vault() string    { return w.path("data", "salvor", "vault") }

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.exec, args...)
	cmd.Env = w.env
	return cmd
}

// run runs salvor; an exit code that is not 0 ends the test.
func (w *world) run(args ...string) string {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("salvor %q: %v\n%s%s", args, err, &out, &errs)
	}
	return out.String()
}

// killed runs salvor and kills it after a while. It tells whether it was still
// running then.
func (w *world) killed(after time.Duration, args ...string) bool {
	w.t.Helper()
	cmd := w.command(args...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return exit != nil && exit.ExitCode() == -1
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refOf(c vault.ChunkInfo) chunk.Ref { return chunk.Ref{Kind: c.Kind, ID: c.ID} }

func exitOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
