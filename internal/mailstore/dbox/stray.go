package dbox

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dovecot/index"
)

// A log that was cut off between two records looks whole. What it has lost shows
// in mail that is there and that no index lists: files of an sdbox folder,
// messages of mdbox's map that are in use. A server that is just adding or
// removing mail leaves some for a moment, too; so what is found is looked at
// again, and only what stays counts.
const (
	looks     = 4
	maxLooks  = 50
	lookAgain = 60 * time.Millisecond
	// arriving is how young a file may be that its index need not list yet. It is
	// the time of the last change, which a copy by a hard link makes new.
	arriving = time.Minute
)

// unlisted gives the numbers of the files of an sdbox folder that its index does
// not list, rising. Files that are being removed become fewer from look to look.
func (b box) unlisted(ctx context.Context, ix *index.Index) []uint32 {
	found := b.unlistedNow(ix)
	for look, alike := 1, 1; alike < looks; look++ {
		if len(found) == 0 || look == maxLooks || ctx.Err() != nil {
			return nil
		}
		time.Sleep(lookAgain)
		again, err := b.readIndex()
		if err != nil {
			return nil // which is said elsewhere
		}
		before, now := len(found), b.unlistedNow(again)
		found = slices.DeleteFunc(found, func(uid uint32) bool {
			_, there := slices.BinarySearch(now, uid)
			return !there
		})
		if alike++; len(found) < before {
			alike = 1
		}
	}
	return found
}

func (b box) unlistedNow(ix *index.Index) (uids []uint32) {
	for _, root := range b.a.roots() {
		entries, _ := readDir(root, b.mails()) // one that is missing makes the messages damaged
		for _, e := range entries {
			uid, ok := numbered(e.Name(), "u.")
			if !ok || ix.Find(uid) != nil {
				continue
			}
			info, err := root.Lstat(path.Join(b.mails(), e.Name()))
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if st, ok := statOf(info); ok && b.a.opt.now().Sub(time.Unix(0, unix.TimespecToNsec(unix.Timespec(st.Ctim)))) > arriving {
				uids = append(uids, uid)
			}
		}
	}
	return compactSorted(uids)
}

// unlistedText says what the files mean.
func unlistedText(uids []uint32) string {
	return fmt.Sprintf("messages are there that dovecot.index does not list (%d, the first is u.%d): it has lost changes", len(uids), uids[0])
}

// strays gives the messages that mdbox's map says are in use and that none of
// the claimed ones is. Where a folder's index is lost, they are that folder's.
func (l *lister) strays() map[uint32]bool {
	if l.a.opt.Kind == Single || l.anyLost {
		return nil
	}
	m, err := l.a.loadMap()
	if err != nil {
		return nil // no message can be told from those that were removed
	}
	out := map[uint32]bool{}
	for i := range m.Records {
		r := &m.Records[i]
		if _, refs, ok := mapRecord(r); ok && refs > 0 && !l.claimed[r.UID] {
			out[r.UID] = true
		}
	}
	if len(out) > 0 {
		l.claimElsewhere(out)
	}
	return out
}

// claimElsewhere takes away the messages of folders that lie beside mailboxes/
// and use the same storage, as those of the plugin lazy_expunge do
// (MAILBOXDIR=expunged).
func (l *lister) claimElsewhere(stray map[uint32]bool) {
	seen := 0
	for _, root := range compactRoots(l.a.root, l.a.index) {
		// What cannot be read claims nothing, and so is not hidden.
		_ = fs.WalkDir(root.FS(), ".", func(dir string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || !e.IsDir():
				return nil
			case dir == mailboxesDir || dir == storageDir || strings.Count(dir, "/") > maxDepth:
				return fs.SkipDir
			}
			if seen++; seen > maxFolders {
				return fs.SkipAll
			}
			if ix, err := index.Read(root, dir, indexName, "mdbox"); err == nil {
				for i := range ix.Records {
					delete(stray, mapUID(&ix.Records[i]))
				}
			}
			return nil
		})
	}
}

func compactRoots(mail, index *os.Root) []*os.Root {
	if index == nil || index == mail {
		return []*os.Root{mail}
	}
	return []*os.Root{mail, index}
}

// describeAll describes all folders. All of a user's mdbox are lost when one of
// their indexes, nobody knows which, has lost messages.
func (l *lister) describeAll(ctx context.Context) ([]mailstore.Mailbox, error) {
	var stray map[uint32]bool
	for look := 1; ; look++ {
		boxes, err := l.describeOnce(ctx)
		if err != nil {
			return nil, err
		}
		now := l.strays()
		if stray == nil {
			stray = now
		}
		maps.DeleteFunc(stray, func(uid uint32, _ bool) bool { return !now[uid] })
		if len(stray) == 0 {
			return boxes, nil
		}
		if look == looks {
			why := fmt.Sprintf("%s has messages in use that no folder's index lists (%d): one has lost changes", mapName, len(stray))
			l.problem("", l.a.mapPath(), fmt.Errorf("%s; doveadm force-resync finds them", why))
			for i := range boxes {
				boxes[i].Lost = why
			}
			return boxes, nil
		}
		time.Sleep(lookAgain)
	}
}

func (l *lister) describeOnce(ctx context.Context) (boxes []mailstore.Mailbox, err error) {
	l.problems, l.claimed, l.anyLost = nil, map[uint32]bool{}, false
	names := l.folders(ctx)
	l.lacking = l.a.lacking()
	subscribed := l.subscriptions()
	ids := map[string]bool{}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m := l.describe(ctx, l.a.box(n))
		m.Subscribed = subscribed[n]
		if ids[m.ObjectID] { // a copied folder brings its original's GUID along
			m.ObjectID = ""
		}
		ids[m.ObjectID] = true
		boxes = append(boxes, m)
	}
	return boxes, nil
}

// judge says in what a folder's index that can be read is not to be trusted.
func (l *lister) judge(ctx context.Context, b box, ix *index.Index) (lost string) {
	if l.a.opt.Kind == Multi {
		for i := range ix.Records {
			l.claimed[mapUID(&ix.Records[i])] = true
		}
	} else if uids := b.unlisted(ctx, ix); len(uids) > 0 {
		lost = unlistedText(uids)
	}
	if ix.Torn != "" {
		lost = "dovecot.index is damaged: " + ix.Torn
		l.anyLost = true
	}
	if lost != "" {
		l.problem(b.name, b.indexPath(), fmt.Errorf("%s; doveadm force-resync repairs it", lost))
	}
	return lost
}
