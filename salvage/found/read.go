package found

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"salvor/internal/mailstore/deliver"
)

var (
	// ErrNone: a directory is no result directory.
	ErrNone = errors.New("it is no result directory of a salvage")
	// ErrUnfinished: the salvage has not come to its end, and has written no list.
	ErrUnfinished = errors.New("the salvage into it did not come to its end (hint: run it again; it goes on from where it was)")
	// ErrNotKept: the bytes of a finding are not in the directory.
	ErrNotKept = errors.New("its bytes were not kept")
	// ErrCorrupt: kept bytes are not those that were kept.
	ErrCorrupt = errors.New("its bytes are not those that were kept")
	// ErrNoFinding: what is asked for is no finding.
	ErrNoFinding = errors.New("there is no such finding")
	// ErrAmbiguous: what is asked for is the beginning of several findings' IDs.
	ErrAmbiguous = errors.New("several findings begin so")
)

// A Dir is a result directory that is read. Its methods are safe for concurrent use.
type Dir struct {
	root *os.Root
	head Head
}

// Open opens a result directory. ErrNone where it is none.
func Open(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	head, err := readHead(root)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("result directory %s: %w", dir, err)
	}
	return &Dir{root: root, head: head}, nil
}

// Close closes the directory: none of its contents can be opened any more.
func (d *Dir) Close() error { return d.root.Close() }

// Head says what the directory is.
func (d *Dir) Head() Head { return d.head }

// Name is the directory's path.
func (d *Dir) Name() string { return d.root.Name() }

const maxHead = 1 << 20

func readHead(root *os.Root) (h Head, err error) {
	f, err := deliver.OpenRegular(root, HeadFile)
	if errors.Is(err, fs.ErrNotExist) {
		return h, ErrNone
	}
	if err != nil {
		return h, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHead))
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("%s makes no sense: %w", HeadFile, err)
	}
	if h.Version != Version {
		return h, fmt.Errorf("%s says version %d, this program knows %d (hint: use a newer salvor)", HeadFile, h.Version, Version)
	}
	return h, nil
}

// A LineError says that a line of the list makes no sense.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s, line %d: %v", ListFile, e.Line, e.Err) }

// Unwrap gives the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Findings calls yield for every finding, by ID, and stops at yield's first error,
// which it returns. A line that makes no sense is yielded as a *LineError, without
// a finding. ErrUnfinished where there is no list yet.
func (d *Dir) Findings(ctx context.Context, yield func(*Finding, error) error) error {
	f, err := deliver.OpenRegular(d.root, ListFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("result directory %s: %w", d.Name(), ErrUnfinished)
	}
	if err != nil {
		return fmt.Errorf("result directory %s: %w", d.Name(), err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	var line []byte
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var long bool
		line, long, err = readLine(in, line[:0])
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s in %s: %w", ListFile, d.Name(), err)
		}
		end := err != nil
		if !end || len(line) > 0 || long {
			finding, err := oneLine(line, long, end)
			if err != nil {
				err = &LineError{n, err}
			}
			if err := yield(finding, err); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

func oneLine(line []byte, long, cut bool) (*Finding, error) {
	switch {
	case long:
		return nil, fmt.Errorf("it is longer than %d bytes", MaxLine)
	case cut:
		return nil, errors.New("it is cut off")
	}
	return decodeLine(line)
}

// readLine reads a line without its end, and drops one that is too long.
func readLine(in *bufio.Reader, line []byte) (_ []byte, long bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > MaxLine; long {
			line = line[:0]
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), long, err
	}
}

// Find gives the finding whose ID is, or begins with, id. ErrNoFinding,
// ErrAmbiguous.
func (d *Dir) Find(ctx context.Context, id string) (*Finding, error) {
	return Find(id, func(yield func(*Finding) error) error {
		return d.Findings(ctx, func(f *Finding, err error) error {
			if err != nil { // some other finding's line
				return nil
			}
			return yield(f)
		})
	})
}

// Find looks for the finding whose ID is, or begins with, id among those that each
// yields. ErrNoFinding, ErrAmbiguous.
func Find(id string, each func(yield func(*Finding) error) error) (found *Finding, err error) {
	several := false
	err = each(func(f *Finding) error {
		switch {
		case f.ID == id:
			found, several = f, false
			return errFound
		case strings.HasPrefix(f.ID, id):
			several = found != nil
			found = f
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return nil, err
	case found == nil || id == "":
		return nil, fmt.Errorf("%.40q: %w", id, ErrNoFinding)
	case several:
		return nil, fmt.Errorf("%.40q: %w", id, ErrAmbiguous)
	}
	return found, nil
}

var errFound = errors.New("found")

// Content opens the bytes of a finding, as they were found. They are compared with
// their checksum while they are read: where the last read gives ErrCorrupt, none of
// them may be used. ErrNotKept.
func (d *Dir) Content(f *Finding) (io.ReadCloser, error) {
	if f.File == "" || f.check() != nil {
		return nil, fmt.Errorf("finding %s: %w", f.ID, ErrNotKept)
	}
	file, err := deliver.OpenRegular(d.root, f.File)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", f.ID, err)
	}
	return &proved{file: file, want: f, sum: sha256.New()}, nil
}

// A proved reader compares what it has read with what was promised.
type proved struct {
	file *os.File
	want *Finding
	sum  hash.Hash
	size int64
}

func (p *proved) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	p.sum.Write(b[:n])
	if p.size += int64(n); p.size > p.want.Size || errors.Is(err, io.EOF) && !p.whole() {
		return n, fmt.Errorf("finding %s: %w", p.want.ID, ErrCorrupt)
	}
	return n, err
}

func (p *proved) whole() bool {
	return p.size == p.want.Size && hex.EncodeToString(p.sum.Sum(nil)) == p.want.SHA256Stored
}

func (p *proved) Close() error { return p.file.Close() }
