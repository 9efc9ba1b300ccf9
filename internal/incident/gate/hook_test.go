package gate

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A hook that hangs is killed with all that it has started.
func TestHookHangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	err := run(t.Context(), "sleep 100 & echo $! > "+file+"; wait", Change{Incident: "fire", User: "ann"}, 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "killed after 300ms") || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // init reaps it in its own time
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d lives: %v", pid, syscall.Kill(pid, syscall.SIGKILL))
}
