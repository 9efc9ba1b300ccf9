package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk fills the vault's disk in the middle of a backup: a clear error,
// and the vault is as it was. It mounts a small tmpfs; where it may not, a
// directory that takes no writes has to do.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	disk := w.path("disk")
	must(t, os.Mkdir(disk, 0o700))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Logf("no tmpfs (%v): only the refusal before the run is tested", err)
		w.refusesSmallDisk(disk)
		return
	}
	t.Cleanup(func() { must(t, syscall.Unmount(disk, 0)) })
	w.refusesSmallDisk(disk)
	source := "maildir:" + w.path("mail", "%u")
	w.run("backup", source, "--min-free-space", "1")
	before := w.run("ls", "alice", "--json")

	// Random bytes, so that nothing makes them small.
	big := make([]byte, 8<<20)
	f, err := os.Open("/dev/urandom")
	must(t, err)
	_, err = f.Read(big)
	must(t, err)
	must(t, f.Close())
	must(t, os.WriteFile(w.path("mail", "alice", "cur", "big:2,"), big, 0o600))
	w.fails(1, "no space left", "backup", "--quiet", source, "--min-free-space", "1")
	w.run("check", "--read-data")
	if after := w.run("ls", "alice", "--json"); after != before {
		t.Errorf("the listing changed:\n%s%s", before, after)
	}
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	must(t, os.Remove(w.path("mail", "alice", "cur", "big:2,")))
	w.same("alice", "back")
	w.run("backup", source, "--min-free-space", "1")
}

func (w *world) refusesSmallDisk(disk string) {
	w.t.Helper()
	w.letters("INBOX", "", "hello")
	w.env = append(w.env, "SALVOR_VAULT="+disk+"/vault")
	w.run("init")
	said := w.fails(1, "are wanted before a run begins", "backup", "--quiet", "maildir:"+w.path("mail", "%u"), "--min-free-space", "1000TB")
	if !strings.Contains(said, "hint: make room") {
		w.t.Errorf("no hint: %s", said)
	}
}

// TestRestoreCountsWhatIsThere fills the destination's disk: the report counts
// the messages that can be read there afterwards, and no others.
func TestRestoreCountsWhatIsThere(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox", "eml"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			cur := w.path("mail", "alice", "cur")
			must(t, os.MkdirAll(cur, 0o700))
			for i := range 60 {
				letter := fmt.Sprintf("Subject: %d\n\n%s", i, strings.Repeat(fmt.Sprintln("line", i), 6000))
				must(t, os.WriteFile(filepath.Join(cur, fmt.Sprint(i, ":2,")), []byte(letter), 0o600))
			}
			w.run("backup", "--create", "maildir:"+w.path("mail", "%u"))
			disk := w.path("disk")
			must(t, os.Mkdir(disk, 0o700))
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
				t.Logf("no tmpfs: %v", err)
				return
			}
			t.Cleanup(func() { must(t, syscall.Unmount(disk, 0)) })
			first := w.restored("alice", kind+":"+disk+"/alice")
			must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m,mode=0700"))
			second := w.restored("alice", kind+":"+disk+"/alice")
			if first.Messages != second.Skipped || second.Skipped+second.Messages != 60 {
				t.Errorf("the first run says that it restored %d; the second finds %d and adds %d", first.Messages, second.Skipped, second.Messages)
			}
		})
	}
}

// restored restores a user, whatever comes of it, and gives the report.
func (w *world) restored(user, to string) (r struct{ Messages, Skipped int }) {
	w.t.Helper()
	cmd := w.command("restore", user, "--to", to, "--json")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, &r); err != nil && len(out) > 0 { // nothing restored, nothing said
		w.t.Fatalf("restore prints %q: %v\n%s", out, err, &said)
	}
	return r
}
