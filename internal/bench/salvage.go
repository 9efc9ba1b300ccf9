package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/testenv/diskimage"
)

// longest is how long one tool may work on one disk.
const longest = 20 * time.Minute

// A rescue is what one tool made of one damaged disk.
type rescue struct {
	figure
	*diskimage.Report
	words string // why there is no figure
}

// A wreck is one damaged disk and what all tools made of it.
type wreck struct {
	disk    string
	damage  diskimage.Kind
	limit   *diskimage.Limit
	speed   float64 // of reading it from one end to the other, bytes/s
	size    int64
	rescues map[string]*rescue
}

// compareSalvage makes aged disks full of mail, damages them, and lets every tool
// bring back what it can. Each begins with nothing of the disk in the page cache.
// No tool is given an index of the mail.
func (s *settings) compareSalvage(ctx context.Context, b *strings.Builder) error {
	tools, err := s.rescuers()
	if err != nil {
		return err
	}
	kinds, err := s.kinds()
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "Machine: %s.\n\n", machine(s.dir))
	for _, t := range tools {
		fmt.Fprintf(b, "- %s: %s\n", t.name, t.about)
	}
	b.WriteString("\n")
	var all []*wreck
	for _, disk := range strings.Split(s.disks, ",") {
		dir := filepath.Join(s.dir, disk)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		say("making %s of %d MiB", disk, s.image)
		im, err := diskimage.Make(dir, diskimage.Options{FS: disk, Size: int64(s.image) << 20, Seed: s.seed, Aged: true})
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "Disk: %s.\n\n", im)
		for _, kind := range kinds {
			w, err := s.wreck(ctx, im, kind, tools)
			if err != nil {
				return err
			}
			all = append(all, w)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	writeRescues(b, all, tools)
	return nil
}

// kinds are the damages asked for; of arrays there is no single disk for the other
// tools.
func (s *settings) kinds() (kinds []diskimage.Kind, err error) {
	known := map[string]diskimage.Kind{}
	for _, k := range diskimage.Kinds {
		if !k.RAID() {
			known[string(k)] = k
			kinds = append(kinds, k)
		}
	}
	if s.damages == "all" {
		return kinds, nil
	}
	kinds = nil
	for _, name := range strings.Split(s.damages, ",") {
		if known[name] == "" {
			return nil, fmt.Errorf("no damage is called %q", name)
		}
		kinds = append(kinds, known[name])
	}
	return kinds, nil
}

// wreck damages a disk and lets all tools at it.
func (s *settings) wreck(ctx context.Context, im *diskimage.Image, kind diskimage.Kind, tools []*rescuer) (*wreck, error) {
	dir := filepath.Join(filepath.Dir(im.Path), "damaged")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d, err := im.Damage(dir, kind, s.seed)
	if err != nil {
		return nil, err
	}
	w := &wreck{disk: im.Options.FS, damage: kind, rescues: map[string]*rescue{}}
	if w.limit, err = d.Limit(); err != nil {
		return nil, err
	}
	if w.size, w.speed, err = readThrough(d.Path); err != nil {
		return nil, err
	}
	say("%s, %s: %s; read at %.0f MB/s", w.disk, kind, w.limit, w.speed/1e6)
	for _, t := range tools {
		if t.disk != "" && t.disk != w.disk {
			continue
		}
		r, err := s.rescue(ctx, d, w.limit, t)
		if err != nil {
			return nil, fmt.Errorf("%s on %s, %s: %w", t.name, w.disk, kind, err)
		}
		w.rescues[t.name] = r
		if r.words != "" {
			say("%-12s %s", t.name, r.words)
			continue
		}
		messages, bytes := r.Recall()
		say("%-12s %6.2f s %6d MB  %6.2f %% (%6.2f %% of bytes), %d no message", t.name, r.wall, r.peak/1e6, 100*messages, 100*bytes, r.False)
		if t.name == "salvor" {
			for _, x := range r.Examples {
				say("%-12s %s", "", x)
			}
		}
	}
	return w, nil
}

// rescue lets one tool work.
func (s *settings) rescue(ctx context.Context, d *diskimage.Damaged, limit *diskimage.Limit, t *rescuer) (*rescue, error) {
	out := filepath.Join(filepath.Dir(d.Path), t.name)
	if err := os.MkdirAll(out, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	disk := d.Path
	if t.repairs {
		disk = filepath.Join(out, "copy.img")
		if _, err := run(ctx, out, nil, []string{"cp", "--sparse=always", d.Path, disk}); err != nil {
			return nil, err
		}
	}
	if err := forget(disk); err != nil {
		return nil, err
	}
	limited, stop := context.WithTimeout(ctx, longest)
	defer stop()
	f, err := run(limited, out, nil, t.line(s, disk, d.Map, out))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := &rescue{figure: f}
	if err == nil {
		r.Report, err = t.score(d, limit, disk, out)
	}
	if err != nil {
		if t.name == "salvor" {
			return nil, err
		}
		r.words = "failed: " + short(err)
	}
	return r, nil
}

// short tells how a tool ended, or else what went wrong, within a table.
func short(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Error()
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(line[:min(len(line), 120)], "|", "/")
}

// forget puts a file out of the page cache: first it is written to the disk, as
// only clean pages can be dropped.
func forget(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}

// readThrough reads a file from one end to the other, with nothing of it in the
// page cache.
func readThrough(path string) (size int64, speed float64, err error) {
	if err := forget(path); err != nil {
		return 0, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	start := time.Now()
	for {
		n, err := f.Read(b)
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return size, float64(size) / time.Since(start).Seconds(), nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
}
