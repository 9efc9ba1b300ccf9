package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"salvor/internal/durable"
	"salvor/internal/objstore/object"
)

const (
	// maxAge is how old a temporary file must be to be a crashed writer's: far
	// longer than writing one object takes.
	maxAge = 24 * time.Hour
	// maxSweep bounds how many temporary files one Put looks at.
	maxSweep = 10000
	// maxTries bounds how often Put starts over when the object that was in
	// its way has vanished by the time it is compared.
	maxTries = 3
)

// Put implements object.Store.
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	err := object.CheckName(name)
	if err == nil {
		err = object.CheckSize(int64(len(body)))
	}
	if err == nil {
		err = s.put(ctx, name, body)
	}
	return s.explain("put", name, err)
}

func (s *Store) put(ctx context.Context, name string, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.holds(ctx, name, body)
	if !errors.Is(err, object.ErrNotExist) {
		return err
	}
	if err := s.makeDirs(path.Dir(name)); err != nil {
		return s.lost(err)
	}
	tmp, err := s.temp(ctx, body)
	if err != nil {
		return s.lost(err)
	}
	err = s.publish(ctx, tmp, name, body)
	if err != nil {
		// A name that cannot be removed is a day-old leftover tomorrow; the
		// cause is what the caller needs to hear.
		_ = s.write.Remove(tmp)
	}
	return s.lost(err)
}

// publish gives the synced file tmp its name, unless another writer was first.
func (s *Store) publish(ctx context.Context, tmp, name string, body []byte) error {
	for range maxTries {
		err := s.write.Publish(tmp, name)
		if err == nil {
			// The rename is an entry of the directory; before it is synced a
			// power cut can take the object away again.
			return s.write.Sync(path.Dir(name))
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = s.holds(ctx, name, body)
		if !errors.Is(err, object.ErrNotExist) {
			if err == nil {
				_ = s.write.Remove(tmp) // as in put
			}
			return err
		}
	}
	return fmt.Errorf("%w: it comes and goes while it is written", object.ErrUnavailable)
}

// lost is for an error while writing: a directory that was there a moment ago
// and is not any more must not look like a missing object.
func (s *Store) lost(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = map[string]bool{".": true}
	return fmt.Errorf("%w: a directory was removed meanwhile: %w", object.ErrUnavailable, err)
}

// temp writes body to a new, synced file below tmpDir.
func (s *Store) temp(ctx context.Context, body []byte) (string, error) {
	if err := s.makeDirs(tmpDir); err != nil {
		return "", err
	}
	s.sweep(ctx)
	tmp := tmpDir + "/" + rand.Text()
	return tmp, durable.Fill(ctx, s.write, tmp, body, filePerm)
}

// makeDirs makes the directory dir durable, with its parents. A directory that
// is there already is synced once, too: its maker may have died before that.
func (s *Store) makeDirs(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle(dir)
}

func (s *Store) settle(dir string) error {
	if s.settled[dir] {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.settle(parent); err != nil {
		return err
	}
	if err := s.write.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A new directory is an entry of its parent: without this a power cut can
	// take it away with all that was synced inside.
	if err := s.write.Sync(parent); err != nil {
		return err
	}
	s.settled[dir] = true
	return nil
}

// holds returns nil when the object is there with the bytes body, and makes it
// durable: whoever wrote it may have died before its last sync. Otherwise
// ErrExists or ErrNotExist.
func (s *Store) holds(ctx context.Context, name string, body []byte) error {
	f, info, err := s.open(name)
	if err != nil {
		return notThere(err)
	}
	defer f.Close()
	if info.Size() != int64(len(body)) {
		return object.ErrExists
	}
	if err := same(ctx, f, body); err != nil {
		return err
	}
	if err := s.makeDirs(path.Dir(name)); err != nil {
		return err
	}
	if err := s.write.Sync(name); err != nil {
		return notThere(err)
	}
	return s.write.Sync(path.Dir(name))
}

// same compares what r still has to give with body.
func same(ctx context.Context, r io.Reader, body []byte) error {
	buf := make([]byte, min(len(body), stride))
	for len(body) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(len(body), len(buf))]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		if !bytes.Equal(part, body[:len(part)]) {
			return object.ErrExists
		}
		body = body[len(part):]
	}
	return nil
}

// sweep removes, once per Store, what crashed writers left. Its errors cost
// space, not mail, and whatever ails the directory the Put that called it
// reports next; so they end the sweep and nothing more.
func (s *Store) sweep(ctx context.Context) {
	s.mu.Lock()
	swept := s.swept
	s.swept = true
	s.mu.Unlock()
	if swept {
		return
	}
	d, err := s.root.Open(tmpDir)
	if err != nil {
		return
	}
	defer d.Close()
	entries, _ := d.ReadDir(maxSweep)
	if len(entries) == 0 {
		return
	}
	now, err := s.now()
	if err != nil {
		return
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		s.sweepOne(tmpDir+"/"+e.Name(), now)
	}
}

func (s *Store) sweepOne(name string, now time.Time) {
	info, err := s.root.Lstat(name)
	if err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > maxAge {
		_ = s.write.Remove(name) // another process may have been faster
	}
}

// now is the file system's clock: what it writes into a new file.
func (s *Store) now() (time.Time, error) {
	tmp := tmpDir + "/" + rand.Text()
	f, err := s.write.Create(tmp, filePerm)
	if err != nil {
		return time.Time{}, err
	}
	// A byte, synced: a network file system sets the time when it gets data.
	_, err = f.Write([]byte{0})
	err = errors.Join(err, f.Sync(), f.Close())
	var info os.FileInfo
	if err == nil {
		info, err = s.root.Lstat(tmp)
	}
	if rerr := s.write.Remove(tmp); err == nil {
		err = rerr
	}
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Now implements object.Clock; the clock is the file system's, which on a
// network file system is the server's. It writes and removes a small file.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	now, err := time.Time{}, ctx.Err()
	if err == nil {
		err = s.makeDirs(tmpDir)
	}
	if err == nil {
		now, err = s.now()
	}
	return now, s.explain("ask the clock of", "", s.lost(err))
}
