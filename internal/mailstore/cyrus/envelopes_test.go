package cyrus

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/cyrus"
)

// A surviving cache tells the envelopes of messages whose files are gone, as the
// server itself still does; a damaged one tells nothing, and nothing else fails.
func TestEnvelopes(t *testing.T) {
	for _, o := range []cyrus.Options{{}, {Metafiles: cyrus.Metafiles}, {Metafiles: "index"}, {Layout: cyrus.Legacy, Metafiles: cyrus.Metafiles}} {
		t.Run(fmt.Sprint(o.Layout, o.Metafiles), func(t *testing.T) {
			t.Parallel()
			s := cyrus.Start(t, o)
			s.AddUser("alice")
			c := s.Login("alice")
			for i := range 3 {
				c.Append("INBOX", fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: =?utf-8?q?%d?=\r\nFrom: A <a@b.c>\r\n\r\nx\r\n", i+1, i+1), time.Time{})
			}
			c.Select("INBOX")
			c.Expunge("2")
			want := map[string]string{}
			for _, r := range c.Do("UID FETCH 1:* (UID ENVELOPE)") {
				if uid := regexp.MustCompile(`UID (\d+)`).FindStringSubmatch(r.Text); uid != nil && len(r.Literals) == 0 {
					_, envelope, _ := strings.Cut(r.Text, "ENVELOPE ")
					want[uid[1]] = strings.TrimSuffix(envelope, ")")
				}
			}
			if len(want) != 2 {
				t.Fatalf("the server says %q", want)
			}
			meta := s.MetaDirectory("alice", "INBOX")
			if strings.Contains(o.Metafiles, "index") && !strings.Contains(o.Metafiles, "cache") {
				meta = s.Directory("alice", "INBOX")
			}
			for uid := range want {
				remove(t, s.MessageFile("alice", "INBOX", map[string]uint32{"1": 1, "3": 3}[uid]))
			}
			compareEnvelopes(t, s, true, want)
			compareEnvelopes(t, s, false, nil)
			file := filepath.Join(meta, cacheName)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b {
				b[i] ^= 0x55
			}
			write(t, file, b)
			compareEnvelopes(t, s, true, nil)
			write(t, file, nil)
			compareEnvelopes(t, s, true, nil)
			remove(t, file)
			compareEnvelopes(t, s, true, nil)
		})
	}
}

// compareEnvelopes compares what is told of alice's INBOX with what the server
// said of it, by UID.
func compareEnvelopes(t *testing.T, s *cyrus.Server, asked bool, want map[string]string) {
	t.Helper()
	src, err := Open(Options{ConfigFile: s.ConfigFile(), Envelopes: asked})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	inbox := list1(t, src, "alice")["INBOX"]
	if inbox.err != nil || len(inbox.messages) != 2 || len(inbox.expunged) != 1 || inbox.expunged[0].Envelope != "" {
		t.Fatalf("%+v", inbox)
	}
	for _, m := range inbox.messages {
		uid := fmt.Sprint(m.UID)
		id := "<" + uid + "@example.org>"
		if want == nil {
			id = ""
		}
		if m.Envelope != want[uid] || m.MessageID != id {
			t.Errorf("UID %s: %q, %q, want %q", uid, m.MessageID, m.Envelope, want[uid])
		}
	}
}
