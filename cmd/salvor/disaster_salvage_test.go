package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/diskimage"
)

// TestSalvageOfCyrus is the story with the disk still there: a Cyrus with its
// metadata apart, its messages on an ext4 volume that loses its superblocks,
// descriptors and some sectors. What the backup has is filled in, the rest is
// owed, salvaged out of the volume, and delivered. What stood in the bad sectors is
// reported, and nothing else is missing.
func TestSalvageOfCyrus(t *testing.T) {
	old := syscall.Umask(0o022) // see TestIncidentOnCyrus
	t.Cleanup(func() { syscall.Umask(old) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 6))
	w, s := newWorld(t).withPassword(), cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	source := "cyrus:" + s.ConfigFile()

	image := w.path("disk.img")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 96<<20))
	if out, err := exec.Command("/usr/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-g", "8192", image).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	s.Stop()
	mounted := diskimage.Mount(t, image)
	spool := s.Spool("default")
	must(t, os.RemoveAll(spool))
	must(t, os.Symlink(mounted.Dir, spool))
	s.Chown(mounted.Dir)
	s.Restart()

	at := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	var lives []*life
	for i := range 6 {
		l := newLife(i, seed)
		lives = append(lives, l)
		s.AddUser(l.user)
		c := s.Login(l.user)
		l.evening(c, at)
		c.Close()
	}
	w.run("init", "--quiet")
	w.run("backup", "--quiet", source)
	for _, l := range lives {
		c := s.Login(l.user)
		l.backup(c)
		c.Close()
	}
	time.Sleep(time.Second) // messages of the night are later than the run
	for _, l := range lives {
		c := s.Login(l.user)
		l.night(c, at)
		c.Close()
	}

	s.Stop()
	mounted.Unmount(t)
	must(t, os.Remove(spool))
	must(t, os.Mkdir(spool, 0o755))
	s.Chown(spool)
	lost := w.damage(t, image, lives)
	before, err := os.ReadFile(image)
	must(t, err)
	gap := 0
	for _, l := range lives {
		gap += len(l.gap())
	}

	w.openKilled(rng, source)
	s.Restart() // the new server, with the metadata that survived
	server := "imap://admin@" + s.Addr()
	opened := w.totalsOf("fire")
	if opened["owed"] != float64(gap) {
		t.Errorf("opened: %v, want %d owed", opened, gap)
	}
	w.until(rng, 0, []int{0}, "incident", "fill", "fire", "--to", source)
	hash := planIn(t, w.until(rng, 0, []int{0, 3}, "incident", "owe", "fire", "--to", server, "--dry-run", "--json"))
	args := []string{"incident", "owe", "fire", "--to", server, "--plan", hash, "--settle", "0s"}
	for _, l := range lives {
		args = append(args, "--accept", l.user)
	}
	w.until(rng, 0, []int{0}, args...)

	found := w.path("found")
	out := w.until(rng, 3, []int{3}, "salvage", image, "--incident", "fire", "--out", found, "--json") // 3: the bad sectors
	report := oneObject(t, []byte(out))
	if report["owed"] != float64(gap) || report["owed_found"] != float64(gap-lost) || report["owed_unreadable"] != float64(lost) {
		t.Errorf("salvaged: %s\nwant %d of %d found, and the other %d unreadable", out, gap-lost, gap, lost)
	}
	sum := 0.0
	for _, class := range []string{"matched", "already_held", "tombstoned", "unknown", "damaged", "superseded"} {
		sum += report[class].(float64)
	}
	if report["candidates"] != sum {
		t.Errorf("%v candidates, and the classes make %v", report["candidates"], sum)
	}
	after, err := os.ReadFile(image)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the image is not what it was")
	}
	dry := oneObject(t, []byte(w.until(rng, 0, []int{0}, "redeliver", "--incident", "fire", "--from", found, "--to", server, "--dry-run", "--json")))
	if dry["delivered"] != float64(gap-lost) {
		t.Errorf("from the directory: %v, want %d delivered", dry, gap-lost)
	}

	// The same into the vault, and from there to the server.
	stored := oneObject(t, []byte(w.until(rng, 3, []int{3}, "salvage", image, "--incident", "fire", "--json")))
	for _, key := range []string{"candidates", "matched", "already_held", "tombstoned", "unknown", "damaged", "owed_found", "owed_unreadable"} {
		if stored[key] != report[key] {
			t.Errorf("into the vault: %s %v, into a directory %v", key, stored[key], report[key])
		}
	}
	w.redeliverKept(rng, lives, opened, "vault", server, s.Login)
	closeIncident(t, w)
}

// damage destroys what tells where things are, and makes the first sectors of some
// owed messages unreadable, with a map. It gives how many owed messages are lost
// with that; all others count as kept.
func (w *world) damage(t *testing.T, image string, lives []*life) (lost int) {
	t.Helper()
	disk, err := os.ReadFile(image)
	must(t, err)
	var bad []int
	for i, l := range lives {
		for n, m := range l.gap() {
			id := m.body[strings.Index(m.body, "Message-ID:"):][:40]
			if n == 0 && i%2 == 0 {
				for from := 0; ; {
					at := bytes.Index(disk[from:], []byte(id))
					if at < 0 {
						break
					}
					bad = append(bad, (from+at)/4096*4096)
					from += at + 1
				}
				lost++
				continue
			}
			l.kept[m.body] = true
		}
	}
	slices.Sort(bad)
	bad = slices.Compact(bad)
	if len(bad) < lost {
		t.Fatalf("%d of %d messages are on the disk", len(bad), lost)
	}
	// ext4 keeps its superblock at 1 KiB and copies of it, with all descriptors, at
	// the beginning of some groups (sparse_super).
	for _, group := range []int{0, 1} {
		clear(disk[group*8192*4096:][:32<<10])
	}
	var lines strings.Builder
	fmt.Fprintf(&lines, "# Mapfile. Created by GNU ddrescue version 1.27\n0x%X + 1\n", len(disk))
	end := 0
	for _, b := range bad {
		copy(disk[b:b+512], bytes.Repeat([]byte{0}, 512))
		fmt.Fprintf(&lines, "0x%X 0x%X +\n0x%X 0x200 -\n", end, b-end, b)
		end = b + 512
	}
	fmt.Fprintf(&lines, "0x%X 0x%X +\n", end, len(disk)-end)
	must(t, os.WriteFile(image, disk, 0o600))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(image), "disk.img.map"), []byte(lines.String()), 0o600))
	return lost
}
