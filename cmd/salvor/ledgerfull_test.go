package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestLedgerOnFullDisk: where the vault has no room for a ledger there is no
// incident, and what was brought back meanwhile is brought back once.
// It needs to mount a small tmpfs.
func TestLedgerOnFullDisk(t *testing.T) {
	w := newWorld(t)
	disk := w.path("disk")
	must(t, os.Mkdir(disk, 0o700))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Logf("no tmpfs: %v", err)
		return
	}
	t.Cleanup(func() { must(t, syscall.Unmount(disk, 0)) })
	w.env = append(w.env, "SALVOR_VAULT="+disk+"/vault")
	source := "maildir:" + w.path("mail", "%u")
	cur := w.path("mail", "alice", "cur")
	must(t, os.MkdirAll(cur, 0o700))
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(cur, fmt.Sprint(i, ":2,S")), fmt.Appendf(nil, "Subject: %d\n\nhello\n", i), 0o600))
	}
	w.run("init")
	w.run("backup", "--quiet", source, "--min-free-space", "1")

	ballast := filepath.Join(disk, "ballast")
	fill := func() {
		t.Helper()
		f, err := os.Create(ballast)
		must(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		must(t, f.Close())
	}
	open := []string{"incident", "open", "fire", "--source", source, "--index", "none"}
	fill()
	w.fails(1, "no space left", open...)
	must(t, os.Remove(ballast))
	if got := w.run("incident", "list", "--json"); got != "" {
		t.Fatalf("there is an incident that could not be written: %s", got)
	}
	w.run(open...)

	back := append([]string{"restore", "--all", "--incident", "fire", "--to"}, "maildir:"+w.path("back", "%u"))
	fill()
	w.fails(1, "no space left", back...)
	must(t, os.Remove(ballast))
	if got := w.totalsOf("fire"); got["uncertain"] != 40 || got["restored_maybe_deleted"] != 0 {
		t.Errorf("the ledger of which nothing was written says %v", got)
	}
	w.run(back...)
	if got := w.totalsOf("fire"); got["uncertain"] != 0 || got["restored_maybe_deleted"] != 40 {
		t.Errorf("in the end the ledger says %v", got)
	}
	files, err := filepath.Glob(w.path("back", "alice", "*", "*:2,S"))
	if err != nil || len(files) != 40 {
		t.Errorf("%d messages are back, %v", len(files), err)
	}
}
