package found

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"salvor/internal/mailstore/deliver"
)

// A pack is a sequence of frames, see docs/format.md, "Packs of findings". A frame is a header
// line of headerLen bytes, the content, and a line feed. The length of the header
// is fixed so that it can be written when the content is there, and be found in
// front of a content.
const (
	headerTag = "salvor-found 2 "
	sizeWidth = 19 // digits of the largest int64
	headerLen = len(headerTag) + 2*sha256.Size + 1 + sizeWidth + 1
)

// header is the line in front of a content with this SHA-256 (64 hex digits).
func header(sum string, size int64) string {
	return fmt.Sprintf("%s%s %*d\n", headerTag, sum, sizeWidth, size)
}

// unfinished stands where the header of a content will be whose end has not come.
var unfinished = strings.Repeat(" ", headerLen-1) + "\n"

// A frame is a content in a pack.
type frame struct {
	sum      string // its SHA-256, in hex, as its header says
	at, size int64  // where in the pack the content begins, and its bytes
}

// end is where the next frame begins.
func (f *frame) end() int64 { return f.at + f.size + 1 }

// parseHeader reads a header line; ok is false where b is none.
func parseHeader(b []byte) (sum string, size int64, ok bool) {
	text := string(b)
	if len(text) != headerLen || !strings.HasPrefix(text, headerTag) {
		return "", 0, false
	}
	sum, number := text[len(headerTag):][:2*sha256.Size], text[headerLen-1-sizeWidth:headerLen-1]
	size, err := strconv.ParseInt(strings.TrimLeft(number, " "), 10, 64)
	// Of all ways to write these there is one.
	ok = err == nil && size >= 0 && isHex(sum, 2*sha256.Size) && text == header(sum, size)
	return sum, size, ok
}

// frames calls yield for each frame of a pack of length bytes, in order. What makes
// no sense it passes over, up to the next header line: end is where the last frame
// ends that is whole. It compares no checksums; whoever relies on a frame does.
func frames(r io.ReaderAt, length int64, yield func(frame) error) (end int64, err error) {
	s := &search{r: r, length: length}
	for off := int64(0); off < length; {
		f, ok, err := frameAt(r, off, length)
		if err != nil {
			return end, err
		}
		if ok {
			if err := yield(f); err != nil {
				return end, err
			}
			off, end = f.end(), f.end()
			continue
		}
		if off, err = s.next(off + 1); err != nil {
			return end, err
		}
	}
	return end, nil
}

// frameAt reads the frame that begins at off; ok is false where none does that ends
// within the pack.
func frameAt(r io.ReaderAt, off, length int64) (f frame, ok bool, err error) {
	b := make([]byte, headerLen)
	if off > length-int64(headerLen) {
		return f, false, nil
	}
	if _, err := r.ReadAt(b, off); err != nil {
		return f, false, err
	}
	f.at = off + int64(headerLen)
	if f.sum, f.size, ok = parseHeader(b); !ok || f.size >= length-f.at {
		return f, false, nil
	}
	if _, err := r.ReadAt(b[:1], f.end()-1); err != nil {
		return f, false, err
	}
	return f, b[0] == '\n', nil
}

// A search looks for header lines. What it has read serves several of them: a mail
// that is full of such lines is not read once for each.
type search struct {
	r      io.ReaderAt
	length int64
	buf    []byte
	off    int64 // of buf
}

const searchWindow = 64 << 10

// next gives the first place from off on where a header may begin; length where
// there is none.
func (s *search) next(off int64) (int64, error) {
	for {
		if ahead := off - s.off; ahead >= 0 && ahead < int64(len(s.buf)) {
			if i := bytes.Index(s.buf[ahead:], []byte(headerTag)); i >= 0 {
				return off + int64(i), nil
			}
			off = max(off, s.off+int64(len(s.buf)-len(headerTag)+1))
		}
		if s.length-off < int64(headerLen) {
			return s.length, nil
		}
		if s.buf == nil {
			s.buf = make([]byte, searchWindow)
		}
		s.off, s.buf = off, s.buf[:min(searchWindow, s.length-off)]
		if _, err := s.r.ReadAt(s.buf, off); err != nil {
			return 0, err
		}
	}
}

// The packs of a result directory are numbered from 1 on.
const (
	packEnd  = ".pack"
	maxPacks = 999_999
)

func packName(number int) string { return fmt.Sprintf("%s/%06d%s", mailDir, number, packEnd) }

// packNumber gives a pack's number; 0: it is no name of a pack.
func packNumber(name string) int {
	digits, ok := strings.CutSuffix(path.Base(name), packEnd)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > maxPacks || packName(n) != name {
		return 0
	}
	return n
}

// openContent opens a content in a pack. ErrCorrupt where its header is another;
// what is read is compared with the checksum.
func openContent(root *os.Root, name string, want frame) (*proved, error) {
	file, err := deliver.OpenRegular(root, name)
	if err != nil {
		return nil, err
	}
	head := make([]byte, headerLen)
	_, err = file.ReadAt(head, want.at-int64(headerLen))
	if err == nil && string(head) != header(want.sum, want.size) || errors.Is(err, io.EOF) {
		err = ErrCorrupt
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &proved{file: file, in: io.NewSectionReader(file, want.at, want.size), want: want, sum: sha256.New()}, nil
}

// A proved reader compares what it has read with what was promised.
type proved struct {
	file *os.File
	in   *io.SectionReader
	want frame
	sum  hash.Hash
	size int64
}

func (p *proved) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	if errors.Is(err, io.EOF) && (p.size != p.want.size || hex.EncodeToString(p.sum.Sum(nil)) != p.want.sum) {
		return n, ErrCorrupt
	}
	return n, err
}

func (p *proved) Close() error { return p.file.Close() }
