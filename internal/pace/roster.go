package pace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Running is a command of this host whose pace can be changed while it runs.
type Running struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	// Pace is the rate in force, as ParseRate reads it.
	Pace string `json:"pace"`
	// Note says what else holds it back; "" nothing.
	Note string `json:"note,omitempty"`
}

// The roster is a directory, for its owner alone. Each running command has a file
// PID.running in it that it keeps locked (flock) and writes; a file that is not
// locked is a dead process's. Who wants another pace puts it into PID.order, which
// the command reads within a second, obeys and removes. Nothing of it outlives
// the processes, so nothing is synced.
const (
	runningSuffix = ".running"
	orderSuffix   = ".order"
	glance        = time.Second // between two looks for orders
	longestFile   = 4096        // bytes of a file of the roster
)

// A Listing is a running command's own place in the roster.
type Listing struct {
	root    *os.Root
	file    *os.File
	self    Running
	written []byte
	quit    chan struct{}
	done    chan struct{}
}

// Enlist puts this process into the roster of a directory, made when it is not
// there, and has its limiter obey the orders that come. note is asked every
// second for Running.Note; changed is called after an order with the rate that
// holds from now on. Either may be nil. The Listing must be closed.
func Enlist(dir, command string, l *Limiter, note func() string, changed func(Rate)) (*Listing, error) {
	e := &Listing{self: Running{PID: os.Getpid(), Command: command, Since: time.Now().UTC().Truncate(time.Second)},
		quit: make(chan struct{}), done: make(chan struct{})}
	if err := e.open(dir); err != nil {
		return nil, fmt.Errorf("make the pace adjustable: %w", err)
	}
	look := func() {
		if order, ok := e.order(); ok {
			l.Set(order)
			if changed != nil {
				changed(order)
			}
		}
		now := e.self
		now.Pace = l.Rate().String()
		if note != nil {
			now.Note = note()
		}
		e.publish(now)
	}
	look()
	go func() {
		defer close(e.done)
		t := time.NewTicker(glance)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				look()
			case <-e.quit:
				return
			}
		}
	}()
	return e, nil
}

func (e *Listing) open(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if e.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	err = syscall.EWOULDBLOCK
	for try := 0; try < 50 && errors.Is(err, syscall.EWOULDBLOCK); try++ {
		if try > 0 {
			time.Sleep(glance / 50)
		}
		err = e.claim()
	}
	if err != nil {
		return errors.Join(err, e.root.Close())
	}
	// An order for a process of the same number before.
	_ = e.root.Remove(e.name(orderSuffix))
	return nil
}

// claim makes and locks the process's file. Somebody who looks at it in between
// takes it for a dead one's, and removes it: then it is to be tried again, which
// EWOULDBLOCK says. When it goes on, a process of the same number in another
// container has the file.
func (e *Listing) claim() error {
	f, err := e.root.OpenFile(e.name(runningSuffix), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(&fs.PathError{Op: "lock", Path: filepath.Join(e.root.Name(), e.name(runningSuffix)), Err: err}, f.Close())
	}
	mine, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = e.root.Stat(e.name(runningSuffix)); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
			err = syscall.EWOULDBLOCK
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	e.file = f
	return nil
}

func (e *Listing) name(suffix string) string { return strconv.Itoa(e.self.PID) + suffix }

// order takes the order that has come, if there is one. What cannot be read is
// no order.
func (e *Listing) order() (Rate, bool) {
	text, err := readSmall(e.root, e.name(orderSuffix))
	if err != nil {
		return Rate{}, false
	}
	_ = e.root.Remove(e.name(orderSuffix)) // or it is obeyed again, which changes nothing
	r, err := ParseRate(string(text))
	return r, err == nil && len(text) > 0
}

// publish writes what others shall see, with one write and always of the same
// length, so that nobody reads half of it. A full disk does not stop the command:
// others then see the pace of before.
func (e *Listing) publish(r Running) {
	text, err := json.Marshal(r)
	if err != nil || len(text) >= longestFile || string(text) == string(e.written) {
		return
	}
	page := slices.Grow(slices.Clone(text), longestFile)
	for len(page) < longestFile {
		page = append(page, '\n')
	}
	if _, err := e.file.WriteAt(page, 0); err == nil {
		e.written = text
	}
}

// Close takes the process off the roster.
func (e *Listing) Close() error {
	close(e.quit)
	<-e.done
	return errors.Join(e.root.Remove(e.name(runningSuffix)), e.file.Close(), e.root.Close())
}

// Roster gives the commands that run, by process id, and removes what dead ones
// have left. A directory that is not there has none.
func Roster(dir string) ([]Running, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for running commands: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("look for running commands: %w", err)
	}
	var all []Running
	for _, entry := range entries {
		number, is := strings.CutSuffix(entry.Name(), runningSuffix)
		pid, err := strconv.Atoi(number)
		if !is || err != nil {
			continue
		}
		r, alive, err := look(root, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("look at running command %d: %w", pid, err)
		}
		if alive && r.PID == pid {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Running) int { return a.PID - b.PID })
	return all, nil
}

// look reads one command's file and tells whether its process lives.
func look(root *os.Root, name string) (r Running, alive bool, err error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil // it has just ended
	}
	if err != nil {
		return r, false, err
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		// One that has ended took its name away before it let go, and another may have
		// the name by now.
		if stillNamed(f, root, name) {
			pid := strings.TrimSuffix(name, runningSuffix)
			_ = root.Remove(pid + orderSuffix)
			_ = root.Remove(name) // whoever looks next tries again
		}
		return r, false, nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return r, false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, longestFile))
	if err != nil {
		return r, false, err
	}
	// One that cannot be read has not written it yet.
	return r, json.Unmarshal(text, &r) == nil, nil
}

// stillNamed tells whether a name stands for an open file.
func stillNamed(f *os.File, root *os.Root, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := root.Stat(name)
	return err == nil && os.SameFile(mine, now)
}

// Order tells a running command to keep another pace from now on. It does not
// wait for it: Roster shows when the command has obeyed.
func Order(dir string, pid int, r Rate) error {
	if err := order(dir, strconv.Itoa(pid)+orderSuffix, r.String()); err != nil {
		return fmt.Errorf("set the pace of running command %d: %w", pid, err)
	}
	return nil
}

func order(dir, name, text string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	half := name + "." + strconv.Itoa(os.Getpid())
	if err := root.WriteFile(half, []byte(text), 0o600); err != nil {
		return errors.Join(err, root.Remove(half))
	}
	// Root may order a service about that runs as another user.
	if info, err := root.Stat("."); err == nil && os.Geteuid() == 0 {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := root.Lchown(half, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	}
	return root.Rename(half, name)
}

func readSmall(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, longestFile))
}
