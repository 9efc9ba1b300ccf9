// Package index reads Dovecot's binary mailbox indexes: dovecot.index, and the
// transaction logs dovecot.index.log and dovecot.index.log.2, which hold what
// has happened since it was written. A young mailbox has a log only. Package
// dbox calls it, for mailboxes and for mdbox's map of its storage, and maildir to
// know what only an index tells.
//
// It reads what a backup needs: UIDVALIDITY, UIDs, flags, keywords and the
// extensions that the caller names. It locks nothing and writes nothing. An
// index that contradicts itself, or whose log is not there, is an error as a
// whole: flags and UIDs of a wrong state would be worse than none. One whose log
// was cut off is right as far as it goes, and says so (Index.Torn).
//
// The formats are those of Dovecot 2.3, src/lib-index/mail-index.h (version 7)
// and mail-transaction-log.h (version 1). Numbers are little-endian; indexes of
// big-endian machines are refused, as Dovecot does.
package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"time"

	"salvor/internal/mailstore/deliver"
	"salvor/internal/mailstore/folder"
)

// ErrBroken says that an index cannot be used as it is.
var ErrBroken = errors.New("the index is damaged")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// Flags are a message's system flags (src/lib-mail/mail-types.h).
type Flags byte

// The flags that stand in an index.
const (
	Answered Flags = 1 << iota
	Flagged
	Deleted
	Seen
	Draft
)

// Bounds on what is believed of one index.
const (
	maxFile     = 128 << 20
	maxRecords  = 2 << 20
	maxKeywords = 4096
	maxExts     = 64
	maxRecord   = 32 << 10 // bytes of an extension's part of a record, as in Dovecot
	maxExtHead  = 1 << 20
	maxChanges  = 256 << 20 // of records, by the logs
)

// slots is how many extensions a caller can ask for, and the keywords.
const slots = 3

const keywordsExt = "keywords"

// A Record is one message.
type Record struct {
	UID   uint32
	Flags Flags
	gone  bool // expunged by the log
	data  [slots][]byte
}

// An Index is what index and logs say together.
type Index struct {
	base     [baseSize]byte
	exts     []ext
	wanted   []string
	Keywords []string
	Records  []Record // by UID
	// Torn says where a log ends inside a record, "" for nowhere. What that log
	// had told behind it, such as that messages came, is lost then.
	Torn    string
	nextUID uint32
	id      uint32 // the same in an index and its logs
}

// ext is an extension: its part of the header, and what a log may do to it.
type ext struct {
	name       string
	resetID    uint32
	header     []byte
	recordSize int
	slot       int // in Record.data; -1: nobody wants it
}

// Offsets in the base header, struct mail_index_header.
const (
	baseSize       = 120
	atHeaderSize   = 4
	atRecordSize   = 8
	atCompat       = 12
	atIndexID      = 16
	atUIDValidity  = 24
	atNextUID      = 28
	atMessages     = 32
	atLogSeq       = 60
	atLogHead      = 68
	littleEndian   = 1
	extHeaderSize  = 16
	recordMinSize  = 5
	logAppendBytes = 8
)

var le = binary.LittleEndian

// UIDValidity is IMAP's; 0 in a mailbox that was never opened.
func (ix *Index) UIDValidity() uint32 { return le.Uint32(ix.base[atUIDValidity:]) }

// UIDNext is the UID that the next message will have.
func (ix *Index) UIDNext() uint32 { return ix.nextUID }

// Header is an extension's part of the header, nil where there is none.
func (ix *Index) Header(name string) []byte {
	for _, e := range ix.exts {
		if e.name == name {
			return e.header
		}
	}
	return nil
}

// Data is the i-th wanted extension's part of a record; it is nil, or shorter
// than the extension's type, where nothing was written.
func (r *Record) Data(i int) []byte { return r.data[i+1] }

// KeywordsOf gives the keywords of a record.
func (ix *Index) KeywordsOf(r *Record) []string {
	var out []string
	for i, b := range r.data[0] {
		for bit := range 8 {
			if n := i*8 + bit; b&(1<<bit) != 0 && n < len(ix.Keywords) {
				out = append(out, ix.Keywords[n])
			}
		}
	}
	return out
}

// Find gives the record of a UID, nil for none.
func (ix *Index) Find(uid uint32) *Record {
	i := sort.Search(len(ix.Records), func(i int) bool { return ix.Records[i].UID >= uid })
	if i < len(ix.Records) && ix.Records[i].UID == uid {
		return &ix.Records[i]
	}
	return nil
}

// readings is how often an index is read again because a server may be changing
// its files, pause how long the server gets to finish, and recent how old the
// last change is then at the most.
const (
	readings = 4
	pause    = 20 * time.Millisecond
	recent   = 2 * time.Second
)

// Read reads the index of this name ("dovecot.index") in a directory, and two
// extensions at the most. It returns fs.ErrNotExist where there is neither an
// index nor a log. A log whose end is just being written is not Torn.
func Read(root *os.Root, dir, name string, wanted ...string) (ix *Index, err error) {
	name = path.Join(dir, name)
	for range readings {
		ix, err = read(root, name, wanted)
		if unsure := errors.Is(err, ErrBroken) || err == nil && ix.Torn != ""; !unsure || !changing(root, name) {
			break
		}
		time.Sleep(pause)
	}
	return ix, err
}

// changing tells whether a file of an index has changed lately.
func changing(root *os.Root, name string) bool {
	for _, suffix := range []string{"", ".log", ".log.2"} {
		if info, err := root.Lstat(name + suffix); err == nil && time.Since(info.ModTime()) < recent {
			return true
		}
	}
	return false
}

func read(root *os.Root, name string, wanted []string) (*Index, error) {
	// The index first: what is written to it later stands in the logs, too.
	main, err := readFile(root, name)
	if err != nil {
		return nil, err
	}
	log, err := readFile(root, name+".log")
	if err != nil {
		return nil, err
	}
	old, err := readFile(root, name+".log.2")
	if err != nil {
		return nil, err
	}
	if main == nil && log == nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return Decode(main, log, old, wanted...)
}

// readFile reads a whole file; nil for one that is not there.
func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := deliver.OpenRegular(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = broken("%s is larger than %d bytes", path.Base(name), maxFile)
	}
	return b, err
}

// Decode reads an index out of the bytes of its files, nil for those that are
// not there. It keeps the bytes and changes them.
func Decode(main, log, old []byte, wanted ...string) (*Index, error) {
	if len(wanted) > slots-1 {
		return nil, fmt.Errorf("%d extensions are wanted, %d can be had", len(wanted), slots-1)
	}
	ix := &Index{wanted: wanted, nextUID: 1}
	start := position{}
	if main != nil {
		var err error
		if start, err = ix.decodeMain(main); err != nil {
			return nil, err
		}
	}
	if err := ix.replay(log, old, start); err != nil {
		return nil, err
	}
	ix.Records = slices.DeleteFunc(ix.Records, func(r Record) bool { return r.gone })
	return ix, nil
}

// decodeMain reads dovecot.index. The position is where the log goes on.
func (ix *Index) decodeMain(b []byte) (position, error) {
	if len(b) < baseSize {
		return position{}, broken("dovecot.index ends in its header")
	}
	copy(ix.base[:], b)
	baseLen, headLen := int64(le.Uint16(b[2:])), int64(le.Uint32(b[atHeaderSize:]))
	recordLen, count := int64(le.Uint32(b[atRecordSize:])), int64(le.Uint32(b[atMessages:]))
	switch {
	case b[0] != 7:
		return position{}, broken("dovecot.index has version %d, 7 is known", b[0])
	case b[atCompat]&littleEndian == 0:
		return position{}, broken("dovecot.index was written by a big-endian machine")
	case baseLen < baseSize || headLen < baseLen || headLen > int64(len(b)):
		return position{}, broken("dovecot.index has a header of %d bytes", headLen)
	case recordLen < recordMinSize || count > maxRecords || count*recordLen > int64(len(b))-headLen:
		return position{}, broken("dovecot.index has %d bytes, %d records of %d bytes do not fit", len(b), count, recordLen)
	}
	ix.id, ix.nextUID = le.Uint32(b[atIndexID:]), le.Uint32(b[atNextUID:])
	offsets, err := ix.decodeExts(b[:headLen], align8(int(baseLen)), int(recordLen))
	if err != nil {
		return position{}, err
	}
	ix.Records = make([]Record, 0, count)
	last := uint32(0)
	for at := headLen; len(ix.Records) < int(count); at += recordLen {
		raw := b[at : at+recordLen]
		r := Record{UID: le.Uint32(raw), Flags: Flags(raw[4])}
		if r.UID <= last || r.UID >= ix.nextUID {
			return position{}, broken("dovecot.index has UID %d after %d, and %d as the next", r.UID, last, ix.nextUID)
		}
		for i, e := range ix.exts {
			if e.slot >= 0 && e.recordSize > 0 {
				r.data[e.slot] = raw[offsets[i] : offsets[i]+e.recordSize : offsets[i]+e.recordSize]
			}
		}
		last = r.UID
		ix.Records = append(ix.Records, r)
	}
	return position{seq: le.Uint32(b[atLogSeq:]), offset: int64(le.Uint32(b[atLogHead:]))}, nil
}

// decodeExts reads the extensions' headers (struct mail_index_ext_header, name,
// data, the latter two padded to 8 bytes), and gives their offsets in a record.
func (ix *Index) decodeExts(head []byte, at, recordLen int) (offsets []int, err error) {
	for at+extHeaderSize <= len(head) {
		h := head[at:]
		size, nameSize := int64(le.Uint32(h)), int(le.Uint16(h[14:]))
		offset, recordSize := int(le.Uint16(h[8:])), int(le.Uint16(h[10:]))
		data := int64(at) + int64(align8(extHeaderSize+nameSize))
		end := data + (size+7)&^7
		if nameSize == 0 || end > int64(len(head)) || recordSize > 0 && offset+recordSize > recordLen {
			return nil, broken("dovecot.index has an extension that leads out of it")
		}
		header := head[data : data+size : data+size]
		if _, err := ix.addExt(string(h[extHeaderSize:extHeaderSize+nameSize]), le.Uint32(h[4:]), header, recordSize); err != nil {
			return nil, err
		}
		offsets = append(offsets, offset)
		at = int(end)
	}
	return offsets, ix.decodeKeywords()
}

// addExt adds an extension, whose number is its place in the list.
func (ix *Index) addExt(name string, resetID uint32, header []byte, recordSize int) (int, error) {
	if len(ix.exts) >= maxExts || recordSize >= maxRecord || ix.extNamed(name) >= 0 {
		return 0, broken("extension %.40q cannot be right", name)
	}
	e := ext{name: name, resetID: resetID, header: header, recordSize: recordSize, slot: -1}
	if name == keywordsExt {
		e.slot = 0
	}
	for i, w := range ix.wanted {
		if w == name {
			e.slot = i + 1
		}
	}
	ix.exts = append(ix.exts, e)
	return len(ix.exts) - 1, nil
}

func (ix *Index) extNamed(name string) int {
	for i, e := range ix.exts {
		if e.name == name {
			return i
		}
	}
	return -1
}

// decodeKeywords reads the header of the keywords: their number, for each an
// unused number and its name's offset, and then the names.
func (ix *Index) decodeKeywords() error {
	h := ix.Header(keywordsExt)
	if len(h) < 4 {
		return nil
	}
	count := int64(le.Uint32(h))
	if count > maxKeywords || 4+count*8 > int64(len(h)) {
		return broken("dovecot.index has %d keywords in %d bytes", count, len(h))
	}
	names := h[4+count*8:]
	for i := range count {
		at := int64(le.Uint32(h[4+i*8+4:]))
		if at >= int64(len(names)) {
			return broken("the name of keyword %d is not in dovecot.index", i)
		}
		name, _, ok := bytes.Cut(names[at:], []byte{0})
		if !ok {
			return broken("the name of keyword %d has no end", i)
		}
		ix.Keywords = append(ix.Keywords, string(name))
	}
	return nil
}

func align8(n int) int { return (n + 7) &^ 7 }

// Names gives a record's system flags as IMAP writes them, and its keywords,
// sorted.
func (ix *Index) Names(r *Record) []string {
	var out []string
	for _, f := range systemFlags {
		if r.Flags&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	for _, k := range ix.KeywordsOf(r) {
		out = append(out, folder.Clean(k))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var systemFlags = []struct {
	bit  Flags
	name string
}{{Answered, `\Answered`}, {Deleted, `\Deleted`}, {Draft, `\Draft`}, {Flagged, `\Flagged`}, {Seen, `\Seen`}}
