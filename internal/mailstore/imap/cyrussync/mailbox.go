package cyrussync

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"salvor/chunk"
)

// A Mailbox is one with all its records, as SYNCAPPLY MAILBOX takes it.
type Mailbox struct {
	// Name is Cyrus' own, as in "user.alice.Work" or "example.org!user.alice".
	Name          string
	UniqueID      string // its directory; the MAILBOXID of IMAP
	Partition     string
	ACL           string // identifier, tab, rights, tab, and so on
	UIDValidity   uint32
	LastUID       uint32
	HighestModSeq uint64
	LastUpdated   int64 // of all records, in seconds since 1970
	// SpecialUse is that of RFC 6154 for User, "" for none.
	SpecialUse, User string
	Records          []Record
}

// A Record is one message of a Mailbox. Its content is known by its GUID.
type Record struct {
	UID    uint32
	ModSeq uint64
	// Flags are system flags and keywords, none of them twice, in capitals or not.
	Flags []string
	Date  uint32 // INTERNALDATE, in seconds since 1970; not 0, which Cyrus takes for none
	Size  uint32 // in bytes
	GUID  chunk.SHA1
}

// emptyAnnotCRC is SYNC_CRC_ANNOT of a mailbox without annotations of messages.
const emptyAnnotCRC = 12345678

// SyncCRC is the checksum over the records by which Cyrus makes sure that it
// has made what was meant.
func (m *Mailbox) SyncCRC() uint32 {
	var all uint32
	var line []byte
	for i := range m.Records {
		r := &m.Records[i]
		var flags uint32
		for _, f := range r.Flags {
			flags ^= crc32.ChecksumIEEE([]byte(strings.ToLower(f)))
		}
		line = fmt.Appendf(line[:0], "%d %d %d (%d) %d %s", r.UID, r.ModSeq, m.LastUpdated, flags, r.Date, r.GUID)
		all ^= crc32.ChecksumIEEE(line)
	}
	return all
}

var errOrder = errors.New("no record that Cyrus can take: out of order, beyond the mailbox's numbers, empty or without a date")

// WriteApply writes the arguments of SYNCAPPLY that make the mailbox. Its
// records must be in ascending order of their UIDs, and not be empty messages.
// A server that finds another checksum says so (IMAP_SYNC_CHECKSUM) when it has
// written the mailbox already.
func (m *Mailbox) WriteApply(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "MAILBOX %%(UNIQUEID %s MBOXNAME %s SYNC_CRC %d SYNC_CRC_ANNOT %d LAST_UID %d HIGHESTMODSEQ %d",
		astring(m.UniqueID), astring(m.Name), m.SyncCRC(), emptyAnnotCRC, m.LastUID, m.HighestModSeq)
	// Nothing is \Recent to the clients that come now.
	fmt.Fprintf(b, " RECENTUID %d RECENTTIME %d LAST_APPENDDATE %d POP3_LAST_LOGIN 0 UIDVALIDITY %d PARTITION %s ACL %s OPTIONS P",
		m.LastUID, m.LastUpdated, m.LastUpdated, m.UIDValidity, astring(m.Partition), astring(m.ACL))
	b.WriteString(" CREATEDMODSEQ 1")
	if m.SpecialUse != "" {
		fmt.Fprintf(b, " ANNOTATIONS (%%(ENTRY /specialuse USERID %s MODSEQ 0 VALUE %s))", astring(m.User), astring(m.SpecialUse))
	}
	b.WriteString(" RECORD (")
	last := uint32(0)
	for i := range m.Records {
		r := &m.Records[i]
		if r.UID <= last || r.UID > m.LastUID || r.ModSeq > m.HighestModSeq || r.Size == 0 || r.Date == 0 {
			return fmt.Errorf("mailbox %q, UID %d: %w", m.Name, r.UID, errOrder)
		}
		last = r.UID
		if i > 0 {
			b.WriteByte(' ')
		}
		r.write(b, m.LastUpdated)
	}
	b.WriteString("))")
	return b.Flush()
}

// write writes one record.
func (r *Record) write(b *bufio.Writer, updated int64) {
	fmt.Fprintf(b, "%%(UID %d MODSEQ %d LAST_UPDATED %d FLAGS (%s) INTERNALDATE %d SIZE %d GUID %s)",
		r.UID, r.ModSeq, updated, strings.Join(r.Flags, " "), r.Date, r.Size, r.GUID)
}

// WriteRestore writes the arguments of SYNCRESTORE that append a message, left
// with SYNCAPPLY MESSAGE before, to a mailbox that is there.
func WriteRestore(w io.Writer, mailbox string, r Record, updated int64) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "MAILBOX %%(MBOXNAME %s RECORD (", astring(mailbox))
	r.write(b, updated)
	b.WriteString("))")
	return b.Flush()
}

// WriteNames writes the arguments of SYNCGET that ask for what, such as
// MAILBOXES or UNIQUEIDS, by name.
func WriteNames(w io.Writer, what string, names ...string) error {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = astring(n)
	}
	_, err := fmt.Fprintf(w, "%s (%s)", what, strings.Join(quoted, " "))
	return err
}

// WriteUser writes the arguments of SYNCGET that ask for a user's mailboxes.
func WriteUser(w io.Writer, user string) error {
	_, err := io.WriteString(w, "USER "+astring(user))
	return err
}

// WriteSubscribe writes the arguments of SYNCAPPLY that subscribe a user to a
// mailbox, which need not be there.
func WriteSubscribe(w io.Writer, user, mailbox string) error {
	_, err := fmt.Fprintf(w, "SUB %%(USERID %s MBOXNAME %s)", astring(user), astring(mailbox))
	return err
}

// AppendFile appends a content to what SYNCAPPLY MESSAGE is to leave with the
// session, which begins with MessagesHead and ends with MessagesEnd.
func AppendFile(dst []byte, partition string, guid chunk.SHA1, content []byte) []byte {
	if len(dst) > len(MessagesHead) {
		dst = append(dst, ' ')
	}
	dst = append(dst, "%{"...)
	dst = append(dst, partition...)
	dst = append(dst, ' ')
	dst = hex.AppendEncode(dst, guid[:])
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(content)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, content...)
}

// What stands before and after the contents of SYNCAPPLY MESSAGE.
const (
	MessagesHead = "MESSAGE ("
	MessagesEnd  = ")"
)

// astring writes a string as the server's parser takes it: quoted, or as a
// literal when it holds what no quoted string can.
func astring(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") || !ascii(s) {
		return fmt.Sprintf("{%d+}\r\n%s", len(s), s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// An Info is what SYNCGET tells of a mailbox beside its records.
type Info struct {
	Name, UniqueID, Partition, ACL string
	LastUID, UIDValidity           uint32
	HighestModSeq                  uint64
}

// InfoOf reads the value of a MAILBOX answer.
func InfoOf(v Value) (Info, error) {
	i := Info{Name: v.Get("MBOXNAME").Text(), UniqueID: v.Get("UNIQUEID").Text(), Partition: v.Get("PARTITION").Text(), ACL: v.Get("ACL").Text()}
	if v.Kind != Map || i.Name == "" {
		return Info{}, errors.New("dlist: it tells of no mailbox")
	}
	for _, n := range []struct {
		key  string
		into *uint32
	}{{"LAST_UID", &i.LastUID}, {"UIDVALIDITY", &i.UIDValidity}} {
		got, err := v.Get(n.key).Uint(32)
		if err != nil {
			return Info{}, fmt.Errorf("dlist: %s of %q: %w", n.key, i.Name, err)
		}
		*n.into = uint32(got)
	}
	var err error
	if i.HighestModSeq, err = v.Get("HIGHESTMODSEQ").Uint(63); err != nil {
		return Info{}, fmt.Errorf("dlist: HIGHESTMODSEQ of %q: %w", i.Name, err)
	}
	return i, nil
}
