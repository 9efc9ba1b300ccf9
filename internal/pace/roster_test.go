package pace

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func list(t *testing.T, dir string) []Running {
	t.Helper()
	all, err := Roster(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// eventually waits for what a second brings.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("in ten seconds: not %s", what)
}

func TestRoster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "running")
	if all := list(t, dir); len(all) != 0 {
		t.Fatalf("nobody runs: %v", all)
	}
	l := NewLimiter(Rate{Messages: 200})
	var mu sync.Mutex
	var told []Rate
	note := ""
	e, err := Enlist(dir, "restore imaps://new", l, func() string { mu.Lock(); defer mu.Unlock(); return note },
		func(r Rate) { mu.Lock(); defer mu.Unlock(); told = append(told, r) })
	if err != nil {
		t.Fatal(err)
	}
	all := list(t, dir)
	if len(all) != 1 || all[0].PID != os.Getpid() || all[0].Command != "restore imaps://new" || all[0].Pace != "200msg/s" || time.Since(all[0].Since) > time.Minute {
		t.Fatalf("got %+v", all)
	}
	for _, path := range []string{dir, filepath.Join(dir, strconv.Itoa(os.Getpid())+runningSuffix)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	for _, want := range []Rate{{Messages: 50, Bytes: 2e6}, {}, {Messages: 0.25}} {
		if err := Order(dir, os.Getpid(), want); err != nil {
			t.Fatal(err)
		}
		eventually(t, want.String(), func() bool { return l.Rate() == want && list(t, dir)[0].Pace == want.String() })
	}
	mu.Lock()
	if len(told) != 3 {
		t.Errorf("told of %v", told)
	}
	note = "the destination is slow"
	mu.Unlock()
	eventually(t, "a note", func() bool { return list(t, dir)[0].Note == "the destination is slow" })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if all := list(t, dir); len(all) != 0 {
		t.Errorf("after the end: %+v", all)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What a killed process leaves is recognised and goes, its order too.
func TestRosterOfTheDead(t *testing.T) {
	dir := t.TempDir()
	dead, err := json.Marshal(Running{PID: 1, Command: "restore", Pace: "1msg/s"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"1" + runningSuffix: string(dead), "1" + orderSuffix: "5msg/s",
		"2" + runningSuffix: "torn {", "notes.txt": "somebody else's", "x" + runningSuffix: "no number"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all := list(t, dir); len(all) != 0 {
		t.Errorf("got %+v", all)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// An order that is none changes nothing, and one of before my time is not mine.
func TestBadOrders(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, strconv.Itoa(os.Getpid())+orderSuffix)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(mine, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1msg/s")
	l := NewLimiter(Rate{Messages: 7})
	e, err := Enlist(dir, "backup", l, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, text := range []string{"", "20 furlongs", strings.Repeat("9", 3*longestFile), "-1msg/s"} {
		write(text)
		eventually(t, "order removed", func() bool { _, err := os.Stat(mine); return os.IsNotExist(err) })
		if l.Rate() != (Rate{Messages: 7}) {
			t.Errorf("%.20q was taken for %v", text, l.Rate())
		}
	}
}

// Whoever looks while others come and go sees them or does not, and throws
// nobody out who lives.
func TestRosterUnderLooks(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for range 3 {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := Roster(dir); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 30 {
		e, err := Enlist(dir, "restore", NewLimiter(Rate{}), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if all := list(t, dir); len(all) != 1 {
			t.Fatalf("I live, and the roster says %+v", all)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	looking.Wait()
}
