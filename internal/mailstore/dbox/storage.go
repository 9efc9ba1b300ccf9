package dbox

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dovecot/index"
)

// A location is where a message stands in mdbox's storage.
type location struct {
	file   uint32 // m.<file>
	offset int64
}

// storage is what is known of an mdbox's storage: its map, and what a search
// through all of its files has found. Both are read when they are needed and
// kept while their files do not change.
type storage struct {
	mu sync.Mutex

	mapState string
	messages *index.Index
	mapErr   error

	scanState string
	scannedAt time.Time
	scanned   *scanned

	claimedAt time.Time
	claimed   *claims
}

// fresh is for how long a search is good for others, while files change.
const fresh = 30 * time.Second

// scanned is the result of a search.
type scanned struct {
	byGUID   map[string]location
	entries  []stored // each GUID once, in the order of the files
	problems []*mailstore.Problem
}

// stored is a message that a search has found.
type stored struct {
	guid, mailbox string
	location      location
}

// mapPath is the map's path for people.
func (a *account) mapPath() string {
	if a.index == nil {
		return a.opt.Index.String()
	}
	return filepath.Join(a.index.Name(), storageDir, mapName)
}

// loadMap reads the map, if it has changed since it was read, or may have.
func (a *account) loadMap() (*index.Index, error) {
	if a.index == nil {
		return nil, fs.ErrNotExist
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	var state strings.Builder
	for _, name := range []string{mapName, mapName + ".log"} {
		if !(box{a: a}).stat(&state, a.index, path.Join(storageDir, name)) {
			state.Reset()
			break
		}
	}
	s := &a.store
	if state.Len() == 0 || s.mapState != state.String() {
		s.messages, s.mapErr = index.Read(a.index, storageDir, mapName, "map", "ref")
		if s.mapErr == nil && s.messages.Torn != "" {
			s.messages, s.mapErr = nil, errors.New(s.messages.Torn)
		}
		s.mapState = state.String()
	}
	return s.messages, s.mapErr
}

// mapRecord is a record of the map: file, offset, size, and in how many folders
// the message stands.
func mapRecord(r *index.Record) (at location, refs uint16, ok bool) {
	m, ref := r.Data(0), r.Data(1)
	if len(m) < 12 || len(ref) < 2 {
		return at, 0, false
	}
	at = location{file: binary.LittleEndian.Uint32(m), offset: int64(binary.LittleEndian.Uint32(m[4:]))}
	return at, binary.LittleEndian.Uint16(ref), at.file != 0
}

// scan searches all files of the storage.
func (a *account) scan(ctx context.Context) (*scanned, error) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	ids, state, problems := a.files()
	if old := &a.store; old.scanned != nil && (state != "" && old.scanState == state || a.opt.now().Sub(old.scannedAt) < fresh) {
		return old.scanned, nil
	}
	s := &scanned{byGUID: map[string]location{}, problems: problems}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a.scanFile(s, id)
	}
	a.store.scanned, a.store.scanState, a.store.scannedAt = s, state, a.opt.now()
	return s, nil
}

var errEnough = fmt.Errorf("more than %d messages", maxMessages)

func (a *account) scanFile(s *scanned, id uint32) {
	name := fmt.Sprintf("m.%d", id)
	problem := func(err error) {
		s.problems = append(s.problems, a.problem("", filepath.Join(a.root.Name(), storageDir, name), err))
	}
	f, closeFile, err := a.open(path.Join(storageDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return // purged meanwhile: its messages stand in a later file
	}
	if err != nil {
		problem(err)
		return
	}
	defer closeFile()
	mail, err := openFile(f, sizeOf(f))
	if err != nil {
		problem(err)
	}
	err = mail.scan(func(e entry) error {
		guid := strings.ToLower(e.guid)
		if _, known := s.byGUID[guid]; known && guid != "" {
			return nil // just being moved to another file
		}
		if len(s.entries) >= maxMessages {
			return errEnough
		}
		at := location{id, e.offset}
		s.byGUID[guid] = at
		s.entries = append(s.entries, stored{guid: guid, mailbox: e.mailbox, location: at})
		return nil
	}, problem)
	if err != nil {
		problem(err)
	}
}

// files gives the numbers of all files, rising, and a token of them, "" where
// one has changed lately.
func (a *account) files() (ids []uint32, state string, problems []*mailstore.Problem) {
	var token strings.Builder
	settled := true
	for _, root := range a.roots() {
		entries, err := readDir(root, storageDir)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && root == a.alt) {
			problems = append(problems, a.problem("", filepath.Join(root.Name(), storageDir), err))
		}
		for _, e := range entries {
			if id, ok := numbered(e.Name(), "m."); ok {
				ids = append(ids, id)
				settled = (box{a: a}).stat(&token, root, path.Join(storageDir, e.Name())) && settled
			}
		}
	}
	if settled {
		state = token.String()
	}
	return compactSorted(ids), state, problems
}

// numbered gives the number of a name like u.5 or m.12.
func numbered(name, prefix string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0 && digits[0] != '0'
}

// lacking names the files of the storage that are not there although the map has
// messages in them, or says that there is no map: both are to be told every time.
func (a *account) lacking() string {
	if a.opt.Kind == Single {
		return ""
	}
	m, err := a.loadMap()
	if err != nil {
		return "no map"
	}
	ids, _, _ := a.files()
	there := make(map[uint32]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	var missing []uint32
	for i := range m.Records {
		if at, refs, ok := mapRecord(&m.Records[i]); ok && refs > 0 && !there[at.file] {
			missing = append(missing, at.file)
			there[at.file] = true
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprint("missing ", missing)
}

// find says where a message stands: by the map or, where there is none that can
// be read (nil), by its GUID.
func (a *account) find(ctx context.Context, m *index.Index, uid uint32, guid string) (location, error) {
	if m == nil {
		return a.search(ctx, guid)
	}
	r := m.Find(uid)
	if r == nil {
		return location{}, damaged("%s has no message %d", mapName, uid)
	}
	if at, _, ok := mapRecord(r); ok {
		return at, nil
	}
	return location{}, damaged("%s does not say where message %d is", mapName, uid)
}

// search finds a message in all files by its GUID.
func (a *account) search(ctx context.Context, guid string) (location, error) {
	s, err := a.scan(ctx)
	if err != nil {
		return location{}, err
	}
	if at, ok := s.byGUID[guid]; ok && guid != "" {
		return at, nil
	}
	return location{}, damaged("no file of the storage holds the message %s", guid)
}

// mapUID is the number of a folder's message in the map.
func mapUID(r *index.Record) uint32 {
	if d := r.Data(0); len(d) >= 4 {
		return binary.LittleEndian.Uint32(d)
	}
	return 0
}

// guidOf is the GUID that a folder's index promises of a message, "" for none:
// old versions of Dovecot wrote none there.
func guidOf(r *index.Record) string {
	d := r.Data(1)
	if len(d) != 16 || strings.Trim(string(d), "\x00") == "" {
		return ""
	}
	return hex.EncodeToString(d)
}

// received is the date of a message, or that of its file.
func received(e entry, f *os.File) time.Time {
	if !e.arrived.IsZero() {
		return e.arrived
	}
	if info, err := f.Stat(); err == nil {
		return info.ModTime()
	}
	return time.Time{}
}
