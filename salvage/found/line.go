package found

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
)

// MaxLine is how long a line of found.jsonl may be, in bytes.
const MaxLine = 4 << 20

// Bounds on what a finding says, so that its line stays below MaxLine.
const (
	maxText    = 4096  // bytes of a text: what a header or a name on a disk needs, and less than who forges one would like
	maxExtents = 16384 // places that are told; more of them are provenance that nobody reads
	maxMissing = 16384 // gaps that are told apart
)

// Classes and Grades are all that there are, best first.
var (
	Classes = []Class{Matched, Held, Tombstoned, Unknown, Damaged}
	Grades  = []Grade{Verified, Consistent, Plausible, Partial}
)

// Kept tells whether the bytes of findings of this class are kept.
func (c Class) Kept() bool { return c == Matched || c == Unknown || c == Damaged }

// idDigits is how much of the SHA-256 is the ID.
const idDigits = 16

// NewID gives the ID of bytes with this SHA-256 (64 hex digits): its beginning,
// and a number where another content has taken that.
func NewID(stored string, taken func(id string) bool) string {
	id := stored[:min(idDigits, len(stored))]
	for n := 2; taken(id); n++ {
		id = stored[:idDigits] + "-" + strconv.Itoa(n)
	}
	return id
}

// appendLine writes a finding as a line of found.jsonl.
func appendLine(b *bytes.Buffer, f *Finding) error {
	out, err := f.Bounded()
	if err != nil {
		return err
	}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// Bounded gives the finding as it is written down: too many extents are cut short,
// and too many gaps become one from there on, so that nothing unknown is passed off
// as known. The error says what is wrong with it.
func (f *Finding) Bounded() (*Finding, error) {
	out := *f
	for _, s := range []*string{&out.Why, &out.User, &out.Folder, &out.Name, &out.MessageID, &out.From, &out.Subject, &out.Source, &out.Path} {
		*s = cutText(*s)
	}
	if y := out.Date.Year(); y < 0 || y > 9999 { // JSON knows no other years
		out.Date = time.Time{}
	}
	if len(out.Extents) > maxExtents {
		out.Extents = out.Extents[:maxExtents]
	}
	if len(out.Missing) > maxMissing {
		rest := out.Missing[maxMissing-1:]
		out.Missing = append(slices.Clone(out.Missing[:maxMissing-1]), volume.Range{Off: rest[0].Off, Len: rest[len(rest)-1].End() - rest[0].Off})
	}
	if err := out.check(); err != nil {
		return nil, fmt.Errorf("finding %q: %w", f.ID, err)
	}
	return &out, nil
}

// cutText bounds a text, and makes it one that JSON can hold.
func cutText(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// decodeLine reads a line of found.jsonl. Fields that it does not know it passes
// over.
func decodeLine(line []byte) (*Finding, error) {
	f := &Finding{}
	if err := json.Unmarshal(line, f); err != nil {
		return nil, fmt.Errorf("it is not the JSON of a finding: %w", err)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// check says what is wrong with a finding.
func (f *Finding) check() error {
	switch {
	case !validID(f.ID, f.SHA256Stored):
		return fmt.Errorf("its id is no beginning of its stored_sha256")
	case !slices.Contains(Classes, f.Class):
		return fmt.Errorf("class %.20q is unknown", f.Class)
	case !slices.Contains(Grades, f.Grade):
		return fmt.Errorf("grade %.20q is unknown", f.Grade)
	case f.File != "" && f.File != fileOf(f.SHA256Stored):
		return fmt.Errorf("file %.100q is not where its bytes belong", f.File)
	case f.SHA256 != "" && !isHex(f.SHA256, 64) || f.SHA1 != "" && !isHex(f.SHA1, 40):
		return errors.New("a checksum is none")
	case f.Size < 0 || f.WireSize < 0 || f.Places < 0 || f.Claim < 0:
		return errors.New("a number is below zero")
	}
	end := int64(0)
	for _, m := range f.Missing {
		if m.Len <= 0 || m.Off < end || m.Len > math.MaxInt64-m.Off || m.End() > f.Size {
			return errors.New("what is missing does not lie in the message, in order")
		}
		end = m.End()
	}
	if (f.Class == Damaged) != (f.Grade == Partial) {
		return fmt.Errorf("class %s does not go with grade %s", f.Class, f.Grade)
	}
	if len(f.Missing) > 0 && f.Class != Damaged {
		return errors.New("what lacks bytes is damaged")
	}
	return checkExtents(f.Extents)
}

func checkExtents(extents []fsys.Extent) error {
	for _, e := range extents {
		if e.Off < 0 || e.Len < 0 || e.Logical < 0 {
			return errors.New("an extent is below zero")
		}
	}
	return nil
}

func validID(id, stored string) bool {
	if !isHex(stored, 64) || len(id) < idDigits || id[:idDigits] != stored[:idDigits] {
		return false
	}
	if len(id) == idDigits {
		return true
	}
	n, err := strconv.ParseUint(id[idDigits+1:], 10, 32)
	return err == nil && id[idDigits] == '-' && n > 1 && strconv.FormatUint(n, 10) == id[idDigits+1:]
}

// isHex tells whether s is n hex digits, in lower case.
func isHex(s string, n int) bool {
	if len(s) != n || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// fileOf is where the bytes with this SHA-256 are kept in a result directory.
func fileOf(stored string) string { return mailDir + "/" + stored[:2] + "/" + stored }
