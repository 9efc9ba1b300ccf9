package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Files says which file names a store takes for levels of folder names.
type Files struct {
	Encoding Encoding
	// Forbidden are characters that no name may hold, beside "/" and controls.
	Forbidden string
	// Reserved tells names that mean something else; nil for none but "." and
	// "..".
	Reserved func(disk string) bool
}

// MaxFile is the longest file name that file systems take, in bytes.
const MaxFile = 255

// MaxLevels is how deep folders are written as directories in each other.
const MaxLevels = 32

// TooDeep tells whether a folder has more levels than directories are made for;
// the whole name is then hashed.
func TooDeep(name string) bool { return strings.Count(name, "/") >= MaxLevels }

// Name gives the file name for one level of a folder's name, or for a user's
// name. It never fails, and no two levels have the same: a level that can be
// written so that DecodeLevel gives it back is written so, any other becomes a
// readable part and the start of its SHA-256 (see Hashed).
func (f Files) Name(level string) string {
	if f.fits(level) {
		return f.Encoding.EncodeLevel(level)
	}
	return f.Hashed(level)
}

func (f Files) fits(level string) bool {
	if !f.Encoding.Roundtrip(level) || hashed.MatchString(level) {
		return false
	}
	disk := f.Encoding.EncodeLevel(level)
	if disk == "." || disk == ".." || len(disk) > MaxFile || strings.ContainsAny(disk, f.Forbidden) {
		return false
	}
	for i := range len(disk) {
		if disk[i] < 0x20 || disk[i] == 0x7f {
			return false
		}
	}
	return f.Reserved == nil || !f.Reserved(disk)
}

// hashed is what names made by Hashed end in. Others that do so are hashed
// again, so that nobody can choose a name that is another's.
var hashed = regexp.MustCompile(`~[0-9a-f]{12}$`)

// maxReadable is the most that Hashed keeps of a name, in bytes.
const maxReadable = 60

// Hashed gives a file name that is made of some of the text, and of its hash.
func (f Files) Hashed(text string) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len()+utf8.RuneLen(r) > maxReadable {
			break
		}
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -_@+", r)) {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	sum := sha256.Sum256([]byte(text))
	name := f.Encoding.encodeText(b.String() + "~" + hex.EncodeToString(sum[:6]))
	if f.Reserved != nil && f.Reserved(name) {
		return "_" + name
	}
	return name
}
