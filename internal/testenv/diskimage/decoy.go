package diskimage

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// What stands beside the mail: files that a server keeps, which grow with every
// delivery and so lie in pieces between the messages. cyrus.cache holds headers,
// which look like beginnings of mail and are none.

// Sizes of version 10 of cyrus.index.
const (
	indexHeader = 96
	indexRecord = 88
	cachedHead  = 600
)

// cyrusFiles begins cyrus.header and cyrus.index.
func (f *folder) cyrusFiles(dir string) error {
	id := crc32.ChecksumIEEE([]byte(f.dir))
	head := fmt.Sprintf("\xa1\x02\x8b\x0dCyrus mailbox header\n\"The best thing about this system was that it had lots of goals.\"\n\t--Jim Morris on Andrew\nuser.%s\t%08x%08x\n\n%s\tlrswipkxtecda\t\n",
		f.user, id, firstDate, f.user)
	index := make([]byte, indexHeader)
	for at, v := range map[int]uint32{4: 0, 8: 10, 12: indexHeader, 16: indexRecord, 44: firstDate} {
		binary.BigEndian.PutUint32(index[at:], v)
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "cyrus.header"), []byte(head), 0o600),
		os.WriteFile(filepath.Join(dir, "cyrus.index"), index, 0o600))
}

// maildirFiles begins dovecot-uidlist.
func (f *folder) maildirFiles(dir string) error {
	head := fmt.Sprintf("3 V%d N1 G%08x%024x\n", firstDate, crc32.ChecksumIEEE([]byte(f.dir)), firstDate)
	return os.WriteFile(filepath.Join(dir, "dovecot-uidlist"), []byte(head), 0o600)
}

// record notes a message in its folder's index.
func (f *folder) record(root string, m *Message, stored []byte) error {
	dir := filepath.Join(root, f.dir)
	if f.store == Maildir {
		return grow(filepath.Join(dir, "dovecot-uidlist"), fmt.Appendf(nil, "%d :%s\n", m.UID, m.Name))
	}
	be := binary.BigEndian
	r := make([]byte, indexRecord)
	be.PutUint32(r, m.UID)
	for _, at := range []int{4, 8, 20, 28} {
		be.PutUint32(r[at:], uint32(m.Date.Unix()))
	}
	be.PutUint32(r[12:], uint32(m.Size))
	guid, err := hex.DecodeString(m.SHA1)
	copy(r[60:], guid)
	head := stored[:min(len(stored), cachedHead)]
	item := be.AppendUint32(nil, uint32(len(head)))
	item = append(append(item, head...), make([]byte, -len(head)&3)...)
	return errors.Join(err, grow(filepath.Join(dir, "cyrus.index"), r), grow(filepath.Join(dir, "cyrus.cache"), item))
}

func grow(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// rewrite packs cyrus.index and cyrus.cache, which then lie somewhere else. It
// drops the oldest share: nobody reads these records.
func (f *folder) rewrite(root string, share float64) error {
	for _, name := range []string{"cyrus.index", "cyrus.cache"} {
		name = filepath.Join(root, f.dir, name)
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			b = b[int(float64(len(b))*share):]
			err = errors.Join(os.WriteFile(name+".NEW", b, 0o600), os.Rename(name+".NEW", name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
