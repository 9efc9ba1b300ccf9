package diskimage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A Mounted is an image that is mounted.
type Mounted struct {
	// Dir is where.
	Dir  string
	gone bool
}

// errNeedsRoot is what who cannot mount is told.
var errNeedsRoot = errors.New("mounting an image needs root and loop devices: run these tests as root, or in a container that may mount")

// Mount mounts an image to be written to, for a test that puts a server on it; it
// is unmounted when the test ends, or before by Unmount. Who cannot mount
// fails the test.
func Mount(t testing.TB, image string) *Mounted {
	t.Helper()
	m, err := mount(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.unmount(); err != nil {
			t.Fatal(err)
		}
	})
	return m
}

// Unmount unmounts the image; all that was written is in it then.
func (m *Mounted) Unmount(t testing.TB) {
	t.Helper()
	if err := m.unmount(); err != nil {
		t.Fatal(err)
	}
}

// Look mounts an image read-only while f looks at it, in a directory.
func Look(image string, f func(dir string) error) error {
	m, err := mount(image, "ro")
	if err != nil {
		return err
	}
	return errors.Join(f(m.Dir), m.unmount())
}

func mount(image string, options ...string) (*Mounted, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("mount %s: %w", image, errNeedsRoot)
	}
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	r, err := open(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "salvor-mnt-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	options = append([]string{"loop"}, options...)
	if _, ok := r.(*xfs); ok {
		options = append(options, "nouuid") // copies of an image have the same
	}
	if err := command("mount", "-o", strings.Join(options, ","), image, dir); err != nil {
		os.Remove(dir)
		return nil, errors.Join(err, errNeedsRoot)
	}
	return &Mounted{Dir: dir}, nil
}

// unmount tries for some seconds: what indexes or watches disks may look in.
func (m *Mounted) unmount() (err error) {
	if m.gone {
		return nil
	}
	for range 30 {
		if err = command("umount", m.Dir); err == nil {
			m.gone = true
			return os.Remove(m.Dir)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return errors.Join(err, command("umount", "-l", m.Dir))
}

// command runs a program; what it says is part of the error.
func command(name string, args ...string) error {
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if _, err := exec.LookPath(name); err == nil {
			break
		}
		if _, err := os.Stat(dir + name); err == nil {
			name = dir + name
		}
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s (hint: Debian packages e2fsprogs, xfsprogs)", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
