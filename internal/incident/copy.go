package incident

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/chunk"
	"salvor/internal/durable"
	"salvor/internal/mailstore/deliver"
)

// A Tree is a directory of the metadata.
type Tree struct {
	Name string // of the copy, below the incident's directory
	Dir  string // where it is; "" for one that holds nothing to be copied
	// Keep chooses files by their paths below Dir, Skip directories to leave out.
	// nil is all, and none.
	Keep, Skip func(path string) bool
	// Link names directories of which it is a problem, as of files that are to be
	// kept, that a symbolic link stands there: links are not followed. nil is none.
	Link func(path string) bool
	// Optional: nobody need be told that it is not there.
	Optional bool
}

// Copy is the copy of an index's metadata.
type Copy struct {
	Dir   string   `json:"dir"`
	Sum   chunk.ID `json:"sha256"` // of SHA256SUMS
	Files int      `json:"files"`
	Bytes int64    `json:"bytes"`
	// Again: an earlier try had made it.
	Again bool `json:"again,omitempty"`

	problems []string
}

const (
	// sumsFile lists the checksums of all others, as sha256sum(1) does. A copy
	// with its own name is whole: it is made under another one.
	sumsFile = "SHA256SUMS"
	// originFile names what was copied, unreadFile what could not be.
	originFile = "ORIGIN"
	unreadFile = "UNREAD"
	// partSuffix marks a copy in the making.
	partSuffix = ".part"
	// maxFile bounds what is believed to be a file of metadata.
	maxFile = 64 << 30
)

// keepCopy copies the metadata into a new directory, or finds it whole there.
// What cannot be read is a problem of the copy; what cannot be written is an
// error.
func keepCopy(ctx context.Context, dir string, index *Index) (*Copy, error) {
	parent, base := filepath.Split(dir)
	if err := durable.MkdirAll(filepath.Clean(parent), 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if _, err := root.Lstat(base); err == nil {
		return findCopy(ctx, root, base, dir, index)
	}
	part := base + partSuffix
	if err := root.RemoveAll(part); err != nil { // of a try that was killed
		return nil, err
	}
	if err := root.Mkdir(part, 0o700); err != nil {
		return nil, err
	}
	c, err := makeCopy(ctx, root, part, dir, index)
	if err != nil {
		return nil, errors.Join(err, root.RemoveAll(part))
	}
	if err := root.Rename(part, base); err != nil {
		return nil, err
	}
	return c, syncAll(root)
}

func makeCopy(ctx context.Context, parent *os.Root, part, dir string, index *Index) (*Copy, error) {
	root, err := parent.OpenRoot(part)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	sums, err := root.OpenFile(sumsFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer sums.Close()
	all := sha256.New()
	c := &copier{ctx: ctx, root: root, sums: bufio.NewWriter(io.MultiWriter(sums, all)), copy: &Copy{Dir: dir}}
	for _, t := range index.Trees {
		if err := c.tree(t); err != nil {
			return nil, err
		}
	}
	if c.copy.Files == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNothing, strings.Join(c.copy.problems, "; "))
	}
	if err := c.extras(dir, index); err != nil {
		return nil, err
	}
	if err := c.sums.Flush(); err != nil {
		return nil, err
	}
	c.copy.Sum = chunk.ID(all.Sum(nil))
	return c.copy, syncAll(root)
}

// syncAll makes everything on the file system durable: one call for a million
// small files.
func syncAll(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", root.Name(), err)
	}
	return nil
}

// A copier makes one copy.
type copier struct {
	ctx  context.Context
	root *os.Root
	sums *bufio.Writer
	copy *Copy
	made string // the directory that was made last
}

func (c *copier) problem(where string, err error) {
	if len(c.copy.problems) < maxProblems {
		c.copy.problems = append(c.copy.problems, fmt.Sprintf("%s was not copied: %v", where, err))
	}
}

// tree copies what can be read of a tree.
func (c *copier) tree(t Tree) error {
	if err := c.root.MkdirAll(t.Name, 0o700); err != nil {
		return err
	}
	if t.Dir == "" {
		return nil
	}
	from, err := os.OpenRoot(t.Dir)
	if err != nil {
		if !t.Optional {
			c.problem(t.Dir, err)
		}
		return nil
	}
	defer from.Close()
	return fs.WalkDir(from.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		where := filepath.Join(t.Dir, name)
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil:
			c.problem(where, err)
			return nil
		case d.IsDir():
			if t.Skip != nil && t.Skip(name) {
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0 && t.Link != nil && t.Link(name):
			c.problem(where, errors.New("it is a symbolic link"))
			return nil
		case t.Keep != nil && !t.Keep(name):
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			c.problem(where, errors.New("it is a symbolic link"))
			return nil
		case !d.Type().IsRegular():
			return nil // a socket
		}
		return c.file(from, name, where, path.Join(t.Name, name))
	})
}

// file copies a file. One that cannot be read leaves nothing behind.
func (c *copier) file(from *os.Root, name, where, to string) error {
	in, err := deliver.OpenRegular(from, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // else the server has removed it meanwhile
			c.problem(where, err)
		}
		return nil
	}
	defer in.Close()
	info, err := in.Stat()
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("it has %d bytes, more than any file of its kind", info.Size())
	}
	if err != nil {
		c.problem(where, err)
		return nil
	}
	if dir := path.Dir(to); dir != c.made {
		if err := c.root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		c.made = dir
	}
	unread, err := c.write(to, io.LimitReader(in, maxFile), info.ModTime())
	if unread != nil {
		c.problem(where, unread)
		return c.root.Remove(to)
	}
	return err
}

// write makes a file of the copy and notes its checksum. unread is what was
// wrong with the bytes' source, err with the copy.
func (c *copier) write(to string, from io.Reader, at time.Time) (unread, err error) {
	f, err := c.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	out := &sink{to: f, sum: sha256.New()}
	n, err := io.Copy(out, from)
	cerr := f.Close()
	switch {
	case out.err != nil || cerr != nil:
		return nil, errors.Join(out.err, cerr)
	case err != nil:
		return err, nil
	}
	if !at.IsZero() {
		if err := c.root.Chtimes(to, at, at); err != nil {
			return nil, err
		}
	}
	c.copy.Files++
	c.copy.Bytes += n
	_, err = c.sums.WriteString(sumLine(out.sum, to))
	return nil, err
}

// A sink writes and remembers its own errors, which are not its reader's.
type sink struct {
	to  io.Writer
	sum hash.Hash
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	s.sum.Write(p)
	n, err := s.to.Write(p)
	s.err = err
	return n, err
}

// extras writes what belongs to the copy and is none of the metadata's files.
func (c *copier) extras(dir string, index *Index) error {
	files := map[string]string{originFile: index.URL + "\n"}
	if len(c.copy.problems) > 0 {
		files[unreadFile] = strings.Join(c.copy.problems, "\n") + "\n"
	}
	if index.Files != nil {
		maps.Copy(files, index.Files(dir))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := c.write(name, strings.NewReader(files[name]), time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// escapes are those of sha256sum(1); a line with any begins with a backslash.
var (
	escapes   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	unescapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
)

func sumLine(sum hash.Hash, name string) string {
	return sumLineOf(hex.EncodeToString(sum.Sum(nil)), name)
}

func sumLineOf(sum, name string) string {
	line := sum + "  "
	if safe := escapes.Replace(name); safe != name {
		return `\` + line + safe + "\n"
	}
	return line + name + "\n"
}

func readSumLine(line string) (sum, name string, ok bool) {
	escaped, found := strings.CutPrefix(line, `\`)
	sum, name, ok = strings.Cut(escaped, "  ")
	if found {
		name = unescapes.Replace(name)
	}
	return sum, name, ok && len(sum) == 2*sha256.Size
}

// findCopy takes a copy that an earlier try has made, if it is whole and of the
// same metadata. It is never replaced: what was copied since may be worse.
func findCopy(ctx context.Context, parent *os.Root, base, dir string, index *Index) (*Copy, error) {
	root, err := parent.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	origin, err := root.ReadFile(originFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("something else is there (hint: choose another directory with --keep)")
	}
	if err != nil {
		return nil, err
	}
	if string(origin) != index.URL+"\n" {
		return nil, fmt.Errorf("the copy of another index is there, %q (hint: choose another directory with --keep)", strings.TrimSpace(string(origin)))
	}
	c := &Copy{Dir: dir, Again: true}
	unread, err := root.ReadFile(unreadFile)
	if err == nil {
		c.problems = strings.Split(strings.TrimSuffix(string(unread), "\n"), "\n")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := root.Open(sumsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := sha256.New()
	lines := bufio.NewScanner(io.TeeReader(f, all))
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.verify(root, lines.Text()); err != nil {
			return nil, err
		}
	}
	c.Sum = chunk.ID(all.Sum(nil))
	return c, lines.Err()
}

// verify compares a file of the copy with its checksum.
func (c *Copy) verify(root *os.Root, line string) error {
	sum, name, ok := readSumLine(line)
	if !ok {
		return fmt.Errorf("%s is damaged: %q", sumsFile, line)
	}
	f, err := deliver.OpenRegular(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return fmt.Errorf("%s is not what was copied: its SHA-256 is not that of %s (hint: move the directory away, or choose another one with --keep)", name, sumsFile)
	}
	c.Files++
	c.Bytes += n
	return nil
}
