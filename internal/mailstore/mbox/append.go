package mbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore/deliver"
)

// Adding to an mbox that mail is delivered to can only be done in place, and a
// kill in the middle would leave half a message. So what is to be added is made
// durable first, in a file beside the mbox whose name tells where it goes:
//
//	.salvor-append-OFFSET-NAME
//
// Who finds such a file compares: what the mbox has from OFFSET on is the
// beginning of the file, and is completed; or all of it, and the file has done
// its duty; or something else, because others have written meanwhile, and then
// half a message stays and is restored once more.
const appendPrefix = ".salvor-append-"

func appendName(file string, offset int64) string {
	return path.Join(path.Dir(file), fmt.Sprintf("%s%d-%s", appendPrefix, offset, path.Base(file)))
}

// flush adds what waits to the folder's file.
func (a *account) flush(ctx context.Context, b *box) error {
	if err := a.append(ctx, b); err != nil {
		return fmt.Errorf("add to folder %q of %q: %w", b.name, a.home.user, err)
	}
	return nil
}

func (a *account) append(ctx context.Context, b *box) error {
	f, unlock, err := a.lockFile(ctx, b.file)
	if err != nil {
		return err
	}
	defer unlock()
	defer f.Close()
	st, err := stat(f)
	if err != nil {
		return err
	}
	if err := deliver.Sync(a.home.root); err != nil {
		return err
	}
	intent := appendName(b.file, st.Size)
	if err := a.home.root.Rename(b.tmp, intent); err != nil {
		return err
	}
	b.tmp = ""
	return a.complete(f, intent, st.Size, st.Size)
}

// addition is what has to stand from offset on: an intent, and before it what
// the message before needs to stay what it is.
func addition(f *os.File, in io.Reader, offset int64) (io.Reader, error) {
	tail, err := readTail(f, offset)
	if err != nil {
		return nil, err
	}
	return io.MultiReader(strings.NewReader(joint(tail)), in), nil
}

// lockFile opens an mbox for writing under the locks that mail programs take.
func (a *account) lockFile(ctx context.Context, file string) (f *os.File, unlock func(), err error) {
	undot, err := deliver.Lock(ctx, a.home.root, file)
	if err != nil {
		return nil, nil, err
	}
	f, err = a.home.root.OpenFile(file, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err == nil {
		var st unix.Stat_t
		if st, err = stat(f); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			err = fmt.Errorf("%s is no regular file", file)
		}
		if err == nil {
			err = lockExclusive(ctx, f, time.Now().Add(time.Minute))
		}
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		undot()
		return nil, nil, err
	}
	return f, undot, nil
}

// lockExclusive waits for programs that use fcntl locks.
func lockExclusive(ctx context.Context, f *os.File, deadline time.Time) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// complete copies the rest of an intent to the mbox, from where the mbox ends.
func (a *account) complete(f *os.File, intent string, offset, end int64) error {
	in, err := deliver.OpenRegular(a.home.root, intent)
	if err != nil {
		return err
	}
	defer in.Close()
	text, err := addition(f, in, offset)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, text, end-offset); err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(f, end), text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return a.home.root.Remove(intent)
}

// recover finishes what a killed salvor was adding, and clears its temporary
// files.
func (a *account) recover(ctx context.Context, b *box) error {
	d, err := a.home.root.OpenFile(path.Dir(b.file), deliver.DirFlags, 0)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, n := range names {
		at := path.Join(path.Dir(b.file), n)
		rest, isIntent := strings.CutPrefix(n, appendPrefix)
		offset, name, _ := strings.Cut(rest, "-")
		switch {
		case isIntent && name == path.Base(b.file):
			if err := a.redo(ctx, b.file, at, offset); err != nil {
				return err
			}
		case deliver.Stale(n):
			if err := a.home.root.Remove(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// redo completes one intent.
func (a *account) redo(ctx context.Context, file, intent, number string) error {
	offset, err := strconv.ParseInt(number, 10, 64)
	if err != nil || offset < 0 {
		return a.home.root.Remove(intent)
	}
	f, unlock, err := a.lockFile(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()
	defer f.Close()
	in, err := deliver.OpenRegular(a.home.root, intent)
	if err != nil { // whoever held the lock before has done it
		return nil
	}
	st, err := stat(f)
	begun := false
	if err == nil && st.Size >= offset {
		var text io.Reader
		if text, err = addition(f, in, offset); err == nil {
			begun, err = isPrefix(io.NewSectionReader(f, offset, st.Size-offset), text)
		}
	}
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	if !begun {
		return a.home.root.Remove(intent)
	}
	return a.complete(f, intent, offset, st.Size)
}

// isPrefix tells whether whole begins with part.
func isPrefix(part, whole io.Reader) (bool, error) {
	p, w := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(part, p)
		if n == 0 && errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, err := io.ReadFull(whole, w[:n])
		if m < n {
			return false, nil
		}
		if err != nil || !bytes.Equal(p[:n], w[:n]) {
			return false, err
		}
	}
}
