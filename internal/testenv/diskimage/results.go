package diskimage

import (
	"bufio"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// A finding is what this package needs of a line of found.jsonl. It is read from
// the description of a result directory and not with salvor's code.
type finding struct {
	ID           string `json:"id"`
	Class        string `json:"class"`
	Grade        string `json:"grade"`
	User         string `json:"user"`
	Folder       string `json:"folder"`
	Size         int64  `json:"size"`
	WireSize     int64  `json:"wire_size"`
	SHA256Stored string `json:"stored_sha256"`
	SHA256       string `json:"sha256"`
	SHA1         string `json:"sha1"`
	File         string `json:"file"`
}

// Results reads a result directory of `salvor salvage`. What a finding says of its
// bytes is held against the bytes that were kept. Findings of the given grades, or
// of all but "partial" if none is given, count as whole, unless they are of the
// class "damaged"; those of the class "tombstoned", which are offered to nobody,
// are left out.
func Results(dir string, grades ...string) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		f, err := os.Open(filepath.Join(dir, "found.jsonl"))
		if err != nil {
			yield(Result{}, err)
			return
		}
		defer f.Close()
		last := ""
		for d := json.NewDecoder(bufio.NewReader(f)); ; {
			var x finding
			err := d.Decode(&x)
			if errors.Is(err, io.EOF) {
				return
			}
			var r Result
			if err == nil {
				r, err = x.result(dir, grades)
				if x.ID <= last && r.Lie == "" {
					r.Lie = "out of order"
				}
				last = x.ID
			}
			if x.Class == "tombstoned" {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (x *finding) result(dir string, grades []string) (Result, error) {
	r := Result{Name: x.ID, SHA1: x.SHA1, Size: x.Size, User: x.User, Folder: x.Folder, Owed: x.Class == "matched",
		Whole: x.Class != "damaged" && x.Grade != "partial"}
	if len(grades) > 0 {
		r.Whole = r.Whole && slices.Contains(grades, x.Grade)
	}
	if x.File == "" { // already held, or deleted by its user: not kept
		if x.Class == "matched" || x.Class == "unknown" {
			r.Lie = "offered, and its bytes were not kept"
		}
		return r, nil
	}
	if !filepath.IsLocal(x.File) {
		return r, fmt.Errorf("%s: the file %q is not in the result directory", x.ID, x.File)
	}
	b, err := os.ReadFile(filepath.Join(dir, x.File))
	if err != nil {
		return r, err
	}
	wire := wireForm(b)
	switch {
	case int64(len(b)) != x.Size || int64(len(wire)) != x.WireSize:
		r.Lie = fmt.Sprintf("%d bytes, %d on the wire; it says %d, %d", len(b), len(wire), x.Size, x.WireSize)
	case digest256(b) != x.SHA256Stored || digest256(wire) != x.SHA256 || digest1(wire) != x.SHA1:
		r.Lie = "its digests are of other bytes"
	case filepath.Base(x.File) != x.SHA256Stored:
		r.Lie = "its file has another name than its digest"
	}
	r.SHA1, r.Size = digest1(wire), int64(len(b))
	return r, nil
}

// Tree reads what another tool has written: files below directories, each of
// which it means to be a whole message or nothing at all. What skip says of a file
// may leave it out.
func Tree(dirs []string, skip func(path string) bool) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		for _, dir := range dirs {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() || skip != nil && skip(path) {
					return err
				}
				r, err := ofFile(path)
				if !yield(r, err) {
					return errStop
				}
				return nil
			})
			if errors.Is(err, errStop) {
				return
			}
			if err != nil && !yield(Result{}, err) {
				return
			}
		}
	}
}

var errStop = errors.New("stop")

// ofFile digests a file of any size.
func ofFile(path string) (Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	sum := sha1.New()
	b := make([]byte, 64<<10)
	last := byte(0)
	r := Result{Name: path, Whole: true}
	for {
		n, err := f.Read(b)
		r.Size += int64(n)
		if n > 0 && last == '\r' && b[0] == '\n' {
			sum.Write([]byte{'\n'}) // its CR has gone before
			last = b[n-1]
			sum.Write(wireForm(b[1:n]))
		} else if n > 0 {
			last = b[n-1]
			sum.Write(wireForm(b[:n]))
		}
		if errors.Is(err, io.EOF) {
			r.SHA1 = hex.EncodeToString(sum.Sum(nil))
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
}
