// Package crash answers what would be left on a disk if the power failed now.
//
// A Disk is a directory in which a Process, an FS that may be killed after any
// step, does durable writes; the Disk remembers what of them was synced.
// Survive then builds the directory that a machine would find when it comes up
// again: what was synced is there for certain, all else by luck, or torn.
//
// The model is as unkind as POSIX allows: a file's bytes are safe only after
// the file, and a name only after its directory, was synced; unsynced changes
// of one directory survive each for itself. So a program that passes here
// leans on no habit of one file system. It is for tests only.
package crash

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"sync"

	"salvor/internal/durable"
	"salvor/internal/objstore/dir"
)

// ErrKilled is the error of every step of a process that was killed.
var ErrKilled = errors.New("the process was killed")

// Disk is a directory whose unsynced changes are known.
type Disk struct {
	root *os.Root
	real durable.FS

	mu  sync.Mutex
	top *node
}

// node is a file or directory, by whatever names it goes.
type node struct {
	isDir bool
	// A file's bytes as they are and as they were last synced.
	data, synced []byte
	// A directory's entries as they are and as they were last synced.
	now, safe map[string]*node
}

func newDir() *node {
	return &node{isDir: true, now: map[string]*node{}, safe: map[string]*node{}}
}

// New makes a Disk of an existing, empty directory, whose own name is safe.
func New(path string) (*Disk, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Disk{root: root, real: durable.NewRoot(root), top: newDir()}, nil
}

// Close closes the directory.
func (d *Disk) Close() error { return d.root.Close() }

// Process is a program that writes to a Disk. It implements durable.FS.
type Process struct {
	disk *Disk

	mu    sync.Mutex
	left  int // steps until it is killed; negative: it is not
	steps int
}

// Process starts a process that does so many steps and then is killed; a
// negative number lets it live.
func (d *Disk) Process(steps int) *Process { return &Process{disk: d, left: steps} }

// Steps is how many steps the process has done.
func (p *Process) Steps() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.steps
}

// Store is the process's object store in the Disk's directory.
func (p *Process) Store() *dir.Store { return dir.New(p.disk.root, p, p.disk.root.Name()) }

// step does one step on the real directory and, when that succeeds, in the
// model; it does neither when the process is dead.
func (p *Process) step(real func() error, model func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return ErrKilled
	}
	p.left--
	p.steps++
	// The Disk stays locked, so that the model sees the steps of several
	// processes in the order in which they happened.
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if err := real(); err != nil {
		return err
	}
	model()
	return nil
}

// find is the node of a name that the real directory has just accepted.
func (d *Disk) find(name string) *node {
	if name == "." {
		return d.top
	}
	return d.find(path.Dir(name)).now[path.Base(name)]
}

func (d *Disk) set(name string, n *node) { d.find(path.Dir(name)).now[path.Base(name)] = n }
func (d *Disk) unset(name string)        { delete(d.find(path.Dir(name)).now, path.Base(name)) }

// Create implements durable.FS.
func (p *Process) Create(name string, perm fs.FileMode) (durable.File, error) {
	f := &file{process: p, node: &node{}}
	err := p.step(func() (err error) {
		f.real, err = p.disk.real.Create(name, perm)
		return err
	}, func() { p.disk.set(name, f.node) })
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Mkdir implements durable.FS.
func (p *Process) Mkdir(name string, perm fs.FileMode) error {
	return p.step(func() error { return p.disk.real.Mkdir(name, perm) }, func() { p.disk.set(name, newDir()) })
}

// Publish implements durable.FS.
func (p *Process) Publish(from, to string) error {
	return p.step(func() error { return p.disk.real.Publish(from, to) }, func() { p.move(from, to) })
}

// Replace implements durable.FS.
func (p *Process) Replace(from, to string) error {
	return p.step(func() error { return p.disk.real.Replace(from, to) }, func() { p.move(from, to) })
}

func (p *Process) move(from, to string) {
	n := p.disk.find(from)
	p.disk.unset(from)
	p.disk.set(to, n)
}

// Remove implements durable.FS.
func (p *Process) Remove(name string) error {
	return p.step(func() error { return p.disk.real.Remove(name) }, func() { p.disk.unset(name) })
}

// Sync implements durable.FS. The real directory is not synced: the model
// knows what would be.
func (p *Process) Sync(name string) error {
	return p.step(func() error {
		if p.disk.find(name) == nil {
			return &fs.PathError{Op: "sync", Path: name, Err: fs.ErrNotExist}
		}
		return nil
	}, func() { p.disk.find(name).sync() })
}

func (n *node) sync() {
	n.synced = slices.Clone(n.data)
	n.safe = maps.Clone(n.now)
}

type file struct {
	process *Process
	node    *node
	real    durable.File
}

func (f *file) Write(b []byte) (n int, err error) {
	err = f.process.step(func() error {
		n, err = f.real.Write(b)
		return err
	}, func() { f.node.data = append(f.node.data, b...) })
	return n, err
}

func (f *file) Sync() error {
	return f.process.step(func() error { return nil }, f.node.sync)
}

// Close closes the file also for a dead process, as the system would.
func (f *file) Close() error { return f.real.Close() }

// Survive builds in the existing, empty directory path what the Disk would
// hold after a power cut. Without luck that is what was synced and nothing
// else; luck decides about everything that was not.
func (d *Disk) Survive(path string, luck *rand.Rand) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.top.build(root, ".", luck)
}

func (n *node) build(root *os.Root, name string, luck *rand.Rand) error {
	if !n.isDir {
		return root.WriteFile(name, n.left(luck), 0o600)
	}
	if name != "." {
		if err := root.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	entries := n.entries(luck)
	for _, base := range slices.Sorted(maps.Keys(entries)) {
		if err := entries[base].build(root, path.Join(name, base), luck); err != nil {
			return err
		}
	}
	return nil
}

// entries are what is left of a directory.
func (n *node) entries(luck *rand.Rand) map[string]*node {
	left := maps.Clone(n.safe)
	if luck == nil {
		return left
	}
	names := maps.Clone(n.safe)
	maps.Copy(names, n.now)
	for _, name := range slices.Sorted(maps.Keys(names)) { // in order, so that a seed gives the same again
		if n.now[name] == n.safe[name] || luck.IntN(2) == 0 {
			continue
		}
		if entry := n.now[name]; entry != nil {
			left[name] = entry
		} else {
			delete(left, name)
		}
	}
	return left
}

// left is what is left of a file's bytes. Those that were not synced may be
// lost, there, or there in part with a hole of zeros.
func (n *node) left(luck *rand.Rand) []byte {
	if luck == nil {
		return n.synced
	}
	data := slices.Clone(n.data)
	if len(data) <= len(n.synced) {
		return data // files are only ever appended to
	}
	switch luck.IntN(3) {
	case 0:
		return n.synced
	case 1:
		hole := len(n.synced) + luck.IntN(len(data)-len(n.synced))
		clear(data[hole:])
		return data[:hole+luck.IntN(len(data)-hole+1)]
	}
	return data
}
