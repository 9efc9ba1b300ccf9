package mailgen

import (
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// A file is something that is attached. Its bytes are made anew from the seed
// whenever they are needed, so a corpus of any size needs no memory for them.
type file struct {
	seed    uint64
	kind    *fileKind
	size    int
	version int    // how often it was edited
	path    string // a real file instead
	name    string
}

// A fileKind says what the bytes of such files look like to a compressor.
type fileKind struct {
	suffix, mime string
	magic        string
	share        int // of all attachments, percent
	noise        int // percent of the bytes that do not compress
	filler       func(b []byte, r *rand.Rand, t *text, n int) []byte
}

var fileKinds = []fileKind{
	{".jpg", "image/jpeg", "\xff\xd8\xff\xe0\x00\x10JFIF\x00", 21, 99, zeros},
	{".pdf", "application/pdf", "%PDF-1.5\n%\xe2\xe3\xcf\xd3\n", 30, 76, objects},
	{".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "PK\x03\x04\x14\x00\x06\x00", 14, 90, markup},
	{".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "PK\x03\x04\x14\x00\x06\x00", 6, 90, markup},
	{".doc", "application/msword", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 7, 30, records},
	{".png", "image/png", "\x89PNG\r\n\x1a\n", 7, 98, zeros},
	{".csv", "text/csv", "id,name,date,amount,status\n", 6, 0, table},
	{".txt", "text/plain", "", 7, 0, prose},
	{".zip", "application/zip", "PK\x03\x04\x14\x00\x00\x00", 2, 99, zeros},
}

// largestFile gives, in base64, the 18 MB of the measured corpus's largest
// message.
const largestFile = 13 << 20

// newFile draws a file. Sizes are log-normal: many of some ten kilobytes, few
// of several megabytes that hold most of the bytes.
func newFile(r *rand.Rand, t *text) *file {
	size := int(math.Exp(math.Log(60e3) + 1.6*r.NormFloat64()))
	f := &file{seed: r.Uint64(), kind: drawKind(r), size: min(max(size, 300), largestFile)}
	f.name = t.word(r) + "-" + t.word(r) + f.kind.suffix
	return f
}

func drawKind(r *rand.Rand) *fileKind {
	n := r.IntN(100)
	for i := range fileKinds {
		if n -= fileKinds[i].share; n < 0 {
			return &fileKinds[i]
		}
	}
	return &fileKinds[0]
}

// edited is the next version of a file: most of its bytes are the same.
func (f *file) edited() *file {
	e := *f
	e.version++
	stem := f.name[:len(f.name)-len(filepath.Ext(f.name))]
	e.name = stem + "-v" + strconv.Itoa(e.version+1) + filepath.Ext(f.name)
	return &e
}

// A segment is a run of a file's bytes that an edit changes as a whole.
type segment struct {
	seed  uint64
	size  int
	noise bool
}

// segments cuts a file up and then applies its edits.
func (f *file) segments() []segment {
	r := rand.New(rand.NewPCG(f.seed, 1))
	var all []segment
	for left := f.size; left > 0; {
		s := segment{seed: r.Uint64(), size: min(left, 2000+r.IntN(60000)), noise: r.IntN(100) < f.kind.noise}
		all = append(all, s)
		left -= s.size
	}
	for range f.version {
		at := r.IntN(len(all))
		all[at].seed, all[at].size = r.Uint64(), all[at].size+r.IntN(500)
		all = append(all, segment{seed: r.Uint64(), size: 100 + r.IntN(4000), noise: f.kind.noise > 50})
	}
	return all
}

// bytes appends the file's content.
func (f *file) bytes(b []byte, t *text) ([]byte, error) {
	if f.path != "" {
		content, err := os.ReadFile(f.path)
		return append(b, content...), err
	}
	b = append(b, f.kind.magic...)
	for _, s := range f.segments() {
		r := rand.New(rand.NewPCG(s.seed, 2))
		if s.noise {
			b = noise(b, r, s.size)
			continue
		}
		end := len(b) + s.size
		b = f.kind.filler(b, r, t, s.size)
		b = b[:min(len(b), end)]
	}
	return b, nil
}

// noise appends bytes that do not compress, as of pictures and archives.
func noise(b []byte, r *rand.Rand, n int) []byte {
	end := len(b) + n
	for len(b) < end {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:end]
}

// zeros appends padding and tables of small numbers.
func zeros(b []byte, r *rand.Rand, _ *text, n int) []byte {
	for end := len(b) + n; len(b) < end; {
		b = append(b, 0, 0, 0, byte(r.IntN(16)))
	}
	return b
}

// objects appends what stands between the streams of a PDF.
func objects(b []byte, r *rand.Rand, _ *text, n int) []byte {
	for i, end := r.IntN(1000), len(b)+n; len(b) < end; i++ {
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, " 0 obj\n<< /Type /Annot /Subtype /Link /Rect [ "...)
		b = appendNumber(b, r)
		b = append(b, " 0 R ] /Border [ 0 0 0 ] >>\nendobj\n"...)
	}
	return b
}

// markup appends XML.
func markup(b []byte, r *rand.Rand, t *text, n int) []byte {
	for end := len(b) + n; len(b) < end; {
		b = append(b, `<w:p w:rsidR="00`...)
		b = appendNumber(b, r)
		b = append(b, `"><w:r><w:rPr><w:lang w:val="de-DE"/></w:rPr><w:t>`...)
		b = t.clause(b, r, 1+r.IntN(8))
		b = append(b, "</w:t></w:r></w:p>"...)
	}
	return b
}

// records appends what old office programs write: text in 512-byte sectors.
func records(b []byte, r *rand.Rand, t *text, n int) []byte {
	for end := len(b) + n; len(b) < end; {
		sector := len(b) + 512
		b = t.clause(b, r, 20+r.IntN(40))
		for len(b) < sector {
			b = append(b, 0)
		}
	}
	return b
}

// table appends lines of a spreadsheet export.
func table(b []byte, r *rand.Rand, t *text, n int) []byte {
	for i, end := r.IntN(10000), len(b)+n; len(b) < end; i++ {
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ',')
		b = append(b, t.word(r)...)
		b = append(b, ",2006-10-"...)
		b = append(b, byte('0'+r.IntN(3)), byte('0'+r.IntN(10)), ',')
		b = appendNumber(b, r)
		b = append(b, pick(r, []string{".00,open\n", ".50,open\n", ".99,paid\n"})...)
	}
	return b
}

func prose(b []byte, r *rand.Rand, t *text, n int) []byte { return t.paragraphs(b, r, n, 78) }

// readFiles lists the real files below a directory that could be attached.
func readFiles(dir string) ([]*file, error) {
	var all []*file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() >= 300 && info.Size() <= largestFile {
			kind := fileKind{suffix: filepath.Ext(path), mime: "application/octet-stream"}
			all = append(all, &file{path: path, name: d.Name(), size: int(info.Size()), kind: &kind})
		}
		return err
	})
	return all, err
}
