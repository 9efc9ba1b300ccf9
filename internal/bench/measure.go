package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A figure is what one run of a program cost.
type figure struct {
	wall, cpu   float64 // seconds
	peak        int64   // resident bytes
	read, reads int64   // bytes that were read, and calls that read them
	server      float64 // seconds of processor time of the server behind it
	messages    int     // that were restored
}

// run runs a command line in a directory and measures it with its children.
func run(ctx context.Context, dir string, env, args []string) (figure, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(clean(os.Environ()), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var words bytes.Buffer
	cmd.Stderr = &words
	err := forgetPeak()
	start := time.Now()
	if err == nil {
		err = cmd.Start()
	}
	var f figure
	if err == nil {
		f.read, f.reads = awaitReads(cmd.Process.Pid)
		f.wall = time.Since(start).Seconds()
		err = cmd.Wait()
	}
	if err != nil {
		said := words.String()
		return f, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said[max(0, len(said)-500):])
	}
	f.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.peak = usage.Maxrss << 10 // getrusage(2): kilobytes
	}
	return f, nil
}

// forgetPeak makes this process's own peak of memory what it uses now: a child
// begins with the peak of its parent (execve(2) keeps ru_maxrss).
func forgetPeak() error {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200) // proc(5)
}

// awaitReads waits until a process ends and gives how much it has read, without
// what its children have: what the system knows of that goes with the process.
func awaitReads(pid int) (bytes, calls int64) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	file := fmt.Sprintf("/proc/%d/io", pid)
	for name, n := range map[string]*int64{"rchar": &bytes, "syscr": &calls} {
		*n, _ = strconv.ParseInt(field(file, name), 10, 64)
	}
	return bytes, calls
}

// clean takes out what would lead a program away from its own directory.
func clean(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "SALVOR_") && !strings.HasPrefix(e, "RESTIC_") && !strings.HasPrefix(e, "BORG_") && !strings.HasPrefix(e, "XDG_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// settle writes out what earlier runs have left behind, and empties the cache
// for a cold run.
func (s *settings) settle() error {
	syscall.Sync()
	if !s.cold {
		return nil
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0o200); err != nil {
		return fmt.Errorf("empty the page cache: %w (hint: -cold needs root)", err)
	}
	return nil
}

// size counts files and their bytes below a directory, where keep says so.
func size(dir string, keep func(path string) bool) (files int, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || keep != nil && !keep(path) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		bytes += info.Size()
		return nil
	})
	return files, bytes, err
}

// isMail says whether a file is a message outside of Junk.
func isMail(path string) bool {
	dir := filepath.Base(filepath.Dir(path))
	folder := filepath.Base(filepath.Dir(filepath.Dir(path)))
	return (dir == "cur" || dir == "new") && folder != ".Junk" && !strings.HasPrefix(folder, ".Junk.")
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := append([]float64(nil), all...)
	sort.Float64s(sorted)
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// machine describes where the figures are from.
func machine(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, ", field("/proc/cpuinfo", "model name"), cores())
	var kb float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f", &kb); err == nil {
		fmt.Fprintf(&b, "%.0f GiB of memory, ", kb/(1<<20))
	}
	var u syscall.Utsname
	if err := syscall.Uname(&u); err == nil {
		fmt.Fprintf(&b, "Linux %s, ", text(u.Release[:]))
	}
	fmt.Fprintf(&b, "%s", fileSystem(dir))
	return b.String()
}

func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "?"
	}
	for _, line := range strings.Split(string(b), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

func cores() int {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	return strings.Count(string(b), "processor\t:")
}

func text[T int8 | uint8](chars []T) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// fileSystem names the file system of a directory as /proc/mounts does.
func fileSystem(dir string) string {
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "?"
	}
	best, kind := "", "?"
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && len(f[1]) >= len(best) && (f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/")) {
			best, kind = f[1], f[2]
		}
	}
	return kind
}
