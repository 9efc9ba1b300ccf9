package cyrus

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"salvor/internal/mailstore/cyrus/header"
	"salvor/internal/mailstore/cyrus/index"
)

// racy is how long a file without modification sequences must have been left
// alone before its time can be trusted to tell the next change: file systems
// stamp with the granularity of a clock tick, some of two seconds.
const racy = 3 * time.Second

// A look is what a mailbox's index says of it without its records.
type look struct {
	raw    []byte // the header's bytes
	header index.Header
	id     fileID
	beside fileID         // cyrus.header
	old    fileID         // cyrus.expunge
	files  string         // the directories of the messages, see filesToken
	meta   *header.Header // cyrus.header where it had to be read, else nil
	lost   string         // why the index is no evidence
}

// partitionOf finds the partition of a mailbox; its places may still be missing.
func (c *config) partitionOf(b *box) (*partition, error) {
	if p := c.partition(b.partition); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("its partition %q is not in %s", b.partition, c.file)
}

// openIndex opens a mailbox's index.
func (c *config) openIndex(b *box) (*os.File, error) {
	p, err := c.partitionOf(b)
	if err != nil {
		return nil, err
	}
	if p.index.root == nil {
		return nil, p.index.err
	}
	return openFile(p.index.root, path.Join(b.dir, indexName))
}

// look reads the index's header only: what a night costs where nothing has
// changed.
func (c *config) look(b *box) *look {
	l := &look{}
	settle(func() bool {
		l.read(c, b)
		return l.lost == "" || l.id.quiet()
	})
	l.files = c.filesToken(b)
	p := c.partition(b.partition)
	if p == nil || p.header.root == nil {
		return l
	}
	name := path.Join(b.dir, headerName)
	l.beside, _ = stat(p.header.root, name)
	if b.id == "" || b.acl == "" {
		l.meta, _ = readHeader(p.header.root, name)
	}
	if l.header.Version < 12 && p.expunge.root != nil {
		l.old, _ = stat(p.expunge.root, path.Join(b.dir, expungeName))
	}
	return l
}

func (l *look) read(c *config, b *box) {
	*l = look{}
	f, err := c.openIndex(b)
	if err != nil {
		l.lost = "cyrus.index cannot be read: " + err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			l.lost = "cyrus.index is missing"
		}
		if _, part := c.partitionOf(b); part != nil {
			l.lost = part.Error()
		}
		return
	}
	defer f.Close()
	if l.id, err = identify(f); err != nil {
		l.lost = "cyrus.index cannot be read: " + err.Error()
		return
	}
	buf := make([]byte, index.MaxHeader)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		l.lost = "cyrus.index cannot be read: " + err.Error()
		return
	}
	if l.header, err = index.DecodeHeader(buf[:n]); err != nil {
		l.lost = "cyrus.index is damaged: " + err.Error()
		return
	}
	h := &l.header
	l.raw = buf[:h.StartOffset]
	switch {
	case h.Check == index.Bad:
		l.lost = "cyrus.index is damaged: the checksum of its header is wrong"
	case uint64(l.id.size) < uint64(h.StartOffset)+uint64(h.RecordSize)*uint64(h.NumRecords):
		l.lost = fmt.Sprintf("cyrus.index is damaged: it is too short for its %d records", h.NumRecords)
	case b.uidValidity(h) == 0:
		l.lost = "cyrus.index is damaged: it has no UIDVALIDITY"
	}
}

// uidValidity is the mailbox's UIDVALIDITY. That of a damaged header is only
// believed when mailboxes.db has none.
func (b *box) uidValidity(h *index.Header) uint32 {
	if h.Check != index.Good && b.validity != 0 && (h.Check == index.Bad || h.UIDValidity == 0) {
		return b.validity
	}
	return h.UIDValidity
}

// token is the mailbox's state, which also tells the directories of its messages
// from others, or from none. The header of an index has a sequence number of
// all changes (HIGHESTMODSEQ) and a checksum of cyrus.header; before version 12
// there is no such thing, and only the files' times tell. seen is the record of
// seen.db that belongs to it then.
func (l *look) token(seen string, now time.Time) string {
	if l.lost != "" {
		return ""
	}
	if !l.header.Version12() {
		for _, f := range []fileID{l.id, l.old, l.beside} {
			if f != (fileID{}) && now.Sub(time.Unix(0, f.mtime)) < racy {
				return ""
			}
		}
	}
	sum := sha1.New()
	sum.Write(l.raw)
	io.WriteString(sum, seen)
	return fmt.Sprintf("%s;%s;%s;%s%s", hex.EncodeToString(sum.Sum(nil)[:10]), l.id, l.beside, l.old, l.files)
}

// keepsExpunged tells whether a mailbox's index goes on naming expunged messages
// until cyr_expire cleans up, by default after days. So do all versions that keep
// them in cyrus.index, whether they keep the files too (expunge_mode "delayed",
// the default since 2.5) or not ("default" in 2.4, "semidelayed" since), except
// where told to remove both at once (imapd.conf(5)).
func (c *config) keepsExpunged(h *index.Header) bool {
	return h.Version12() && !strings.EqualFold(c.settings["expunge_mode"], "immediate")
}

// identity is the mailbox's, from mailboxes.db or cyrus.header.
func (l *look) identity(b *box) string {
	if b.id == "" && l.meta != nil {
		return l.meta.UniqueID
	}
	return b.id
}

// rights are the mailbox's ACL.
func (l *look) rights(b *box) string {
	if b.acl == "" && l.meta != nil {
		return l.meta.ACL
	}
	return b.acl
}
