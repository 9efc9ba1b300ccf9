package mailgen

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// An account is one user's Maildir++ tree on disk.
type account struct {
	dir     string
	folders map[string]*folder // by name with "/" between the levels
}

// A folder is one mailbox on disk. What is not in memory is a message.
type folder struct {
	dir      string
	validity uint32
	next     uint32
	guid     string
	entries  []entry
	keywords []string // letter a is the first
	changed  bool
}

// An entry is one message: its file is sub/base+info.
type entry struct {
	uid  uint32
	base string
	info string // ":2,FS", "" in new/
}

func (e entry) file() string {
	if e.info == "" {
		return filepath.Join("new", e.base)
	}
	return filepath.Join("cur", e.base+e.info)
}

// newAccount makes a user's tree with an INBOX.
func newAccount(dir string) *account { return &account{dir: dir, folders: map[string]*folder{}} }

// folder gives a folder, made at its first use.
func (a *account) folder(name string, r *rand.Rand) (*folder, error) {
	if f := a.folders[name]; f != nil {
		return f, nil
	}
	f := &folder{dir: filepath.Join(a.dir, diskName(name)), next: 1, validity: uint32(1.1e9 + r.Float64()*5e8), changed: true}
	f.guid = fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(f.dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	a.folders[name] = f
	if name == "INBOX" {
		return f, nil
	}
	return f, os.WriteFile(filepath.Join(f.dir, "maildirfolder"), nil, 0o600)
}

// names gives the folders' names in order.
func (a *account) names() []string {
	all := make([]string, 0, len(a.folders))
	for name := range a.folders {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

// delivery is a message on its way into a folder.
type delivery struct {
	trace, rest []byte // the content in two pieces
	when        time.Time
	flags       string // Maildir's letters, sorted
	keyword     string // "" for none
	fresh       bool   // goes to new/
}

// deliver writes a message and gives its size.
func (f *folder) deliver(d delivery, r *rand.Rand) (int, error) {
	size := len(d.trace) + len(d.rest)
	lines := bytes.Count(d.trace, []byte{'\n'}) + bytes.Count(d.rest, []byte{'\n'})
	e := entry{uid: f.next, info: ":2," + d.flags + f.letter(d.keyword)}
	e.base = fmt.Sprintf("%d.M%dP%d.mx1,S=%d,W=%d", d.when.Unix(), r.IntN(1e6), 300+r.IntN(30000), size, size+lines)
	if d.fresh {
		e.info = ""
	}
	path := filepath.Join(f.dir, e.file())
	if err := writeFile(path, d.trace, d.rest); err != nil {
		return 0, err
	}
	f.next++
	f.entries = append(f.entries, e)
	f.changed = true
	return size, os.Chtimes(path, d.when, d.when)
}

func writeFile(path string, pieces ...[]byte) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// letter gives a keyword's letter in this folder, numbered at its first use.
func (f *folder) letter(keyword string) string {
	if keyword == "" {
		return ""
	}
	for i, k := range f.keywords {
		if k == keyword {
			return string(rune('a' + i))
		}
	}
	f.keywords = append(f.keywords, keyword)
	return string(rune('a' + len(f.keywords) - 1))
}

// close writes what Dovecot keeps beside the messages.
func (a *account) close() error {
	subscriptions := "V\t2\n\n"
	for _, name := range a.names() {
		f := a.folders[name]
		if f.changed {
			if err := f.writeIndex(); err != nil {
				return err
			}
			f.changed = false
		}
		if name != "INBOX" {
			subscriptions += strings.ReplaceAll(modifiedUTF7(name), "/", "\t") + "\n"
		}
	}
	return os.WriteFile(filepath.Join(a.dir, "subscriptions"), []byte(subscriptions), 0o600)
}

func (f *folder) writeIndex() error {
	if err := f.writeList(); err != nil {
		return err
	}
	if len(f.keywords) == 0 {
		return nil
	}
	var b strings.Builder
	for i, k := range f.keywords {
		fmt.Fprintf(&b, "%d %s\n", i, k)
	}
	return os.WriteFile(filepath.Join(f.dir, "dovecot-keywords"), []byte(b.String()), 0o600)
}

// writeList writes dovecot-uidlist, version 3.
func (f *folder) writeList() (err error) {
	w, err := os.Create(filepath.Join(f.dir, "dovecot-uidlist"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "3 V%d N%d G%s\n", f.validity, f.next, f.guid)
	for _, e := range f.entries {
		b.WriteString(strconv.FormatUint(uint64(e.uid), 10))
		b.WriteString(" :")
		b.WriteString(e.base)
		b.WriteByte('\n')
	}
	return b.Flush()
}

// diskName is a folder's directory in Maildir++: levels joined by ".".
func diskName(name string) string {
	if name == "INBOX" {
		return "."
	}
	return "." + strings.ReplaceAll(modifiedUTF7(name), "/", ".")
}

// modifiedUTF7 encodes a name as RFC 3501, section 5.1.3, says.
func modifiedUTF7(name string) string {
	var (
		out     strings.Builder
		pending []rune
	)
	encoding := base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
	flush := func() {
		if len(pending) == 0 {
			return
		}
		var b []byte
		for _, u := range utf16.Encode(pending) {
			b = append(b, byte(u>>8), byte(u))
		}
		out.WriteString("&" + encoding.EncodeToString(b) + "-")
		pending = pending[:0]
	}
	for _, c := range name {
		if c < 0x20 || c > 0x7e {
			pending = append(pending, c)
			continue
		}
		flush()
		out.WriteRune(c)
		if c == '&' {
			out.WriteByte('-')
		}
	}
	flush()
	return out.String()
}

// copyInto puts a file into a folder as a message, byte for byte.
func (f *folder) copyInto(path string, d delivery, r *rand.Rand) (int, error) {
	in, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if d.rest, err = io.ReadAll(in); err != nil {
		return 0, err
	}
	return f.deliver(d, r)
}
