package cyrussync

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"salvor/chunk"
	"salvor/internal/testenv/cyrus"
)

func guidOf(content string) chunk.SHA1 {
	_, sum, _ := chunk.WireSums([]byte(content))
	return sum
}

// made is a mailbox of odd messages, and their contents. None of them holds a
// bare LF, so that WireSums gives the hash of the bytes as they are.
func made() (*Mailbox, []string) {
	contents := []string{"Subject: a\r\n\r\nx\r\n", "no header at all", "Subject: nul\r\n\r\na\x00b\r\n", "\x00\xff\x80", "Subject: a\r\n\r\nx\r\n"}
	flags := [][]string{{`\Seen`, "Work", "$Junk"}, {`\Deleted`}, nil, {`\Answered`, `\Flagged`, `\Draft`}, {"work"}}
	m := &Mailbox{Name: "user.dave", UniqueID: "testuniqueid000000000001", Partition: "default", ACL: "dave\tlrswipkxtecdan\tbob\tlrs\t",
		UIDValidity: 1111111111, LastUID: 2000000, HighestModSeq: 1 << 40, LastUpdated: 1600000000}
	for i, c := range contents {
		m.Records = append(m.Records, Record{UID: uint32(5 + i*i*1000), ModSeq: uint64(1001 + i), Flags: flags[i], Date: uint32(1 + i*1000000000), Size: uint32(len(c)), GUID: guidOf(c)})
	}
	return m, contents
}

func messages(contents []string) string {
	b := []byte(MessagesHead)
	for _, c := range contents {
		b = AppendFile(b, "default", guidOf(c), []byte(c))
	}
	return string(append(b, MessagesEnd...))
}

func written(t *testing.T, m *Mailbox) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteApply(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A real Cyrus makes what was written, and gives it back with the checksum that
// is computed here.
func TestApply(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	admin := s.LoginAdmin()
	m, contents := made()
	admin.Do("SYNCAPPLY %s", messages(contents))
	admin.Do("SYNCAPPLY %s", written(t, m))
	r := admin.Do("SYNCGET FULLMAILBOX user.dave")
	v, err := Parse(parts(strings.TrimPrefix(r[0].Text, "* MAILBOX ")))
	if err != nil {
		t.Fatal(err)
	}
	info, err := InfoOf(v)
	want := Info{m.Name, m.UniqueID, m.Partition, m.ACL, m.LastUID, m.UIDValidity, m.HighestModSeq}
	if err != nil || info != want {
		t.Errorf("%+v, %v, want %+v", info, err, want)
	}
	if got := v.Get("SYNC_CRC").Text(); got != fmt.Sprint(m.SyncCRC()) {
		t.Errorf("SYNC_CRC %s, want %d", got, m.SyncCRC())
	}
	if got := v.Get("RECORD").Items; len(got) != len(m.Records) || got[3].Get("MODSEQ").Text() != "1004" {
		t.Errorf("records %+v", got)
	}
	inbox := s.LoginAs("dave", cyrus.Admin).Examine("INBOX")
	for i, got := range inbox.Messages {
		r := m.Records[i]
		if got.UID != r.UID || got.Body != contents[i] || got.InternalDate.Unix() != int64(r.Date) || len(got.Flags) != len(r.Flags) {
			t.Errorf("message %d: %+v, want %+v", i, got, r)
		}
	}
	// To the mailbox that is there, another one is added with a new UID.
	var b bytes.Buffer
	if err := WriteRestore(&b, "user.dave", Record{UID: 1, Size: 16, GUID: guidOf("no header at all"), Date: 7}, 8); err != nil {
		t.Fatal(err)
	}
	admin.Do("SYNCRESTORE %s", b.String())
	inbox = s.LoginAs("dave", cyrus.Admin).Examine("INBOX")
	if n := len(inbox.Messages); n != 6 || inbox.Messages[5].UID != 2000001 {
		t.Errorf("%d messages: %+v", n, inbox.Messages[n-1])
	}
}

// What the server would answer by killing its process is not written.
func TestWriteRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Mailbox){
		"order":    func(m *Mailbox) { m.Records[0].UID = 1 << 20 },
		"twice":    func(m *Mailbox) { m.Records[1].UID = m.Records[0].UID },
		"zero":     func(m *Mailbox) { m.Records[0].UID = 0 },
		"last uid": func(m *Mailbox) { m.LastUID = 5 },
		"modseq":   func(m *Mailbox) { m.HighestModSeq = 5 },
		"no date":  func(m *Mailbox) { m.Records[2].Date = 0 },
		"empty":    func(m *Mailbox) { m.Records[2].Size = 0 },
	} {
		m, _ := made()
		spoil(m)
		if err := m.WriteApply(&bytes.Buffer{}); !errors.Is(err, errOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
