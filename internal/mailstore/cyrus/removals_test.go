package cyrus

import (
	"testing"

	"salvor/internal/mailstore/cyrus/index"
	"salvor/internal/testenv/cyrus"
)

// A mailbox is said to tell removals exactly where the server's index goes on
// naming what was expunged.
func TestTellsRemovals(t *testing.T) {
	for _, tt := range []struct {
		config string
		want   bool
	}{
		{"", true},
		{"expunge_mode: delayed", true},
		{"expunge_mode: semidelayed", true},
		{"expunge_mode: immediate", false},
	} {
		t.Run(tt.config, func(t *testing.T) {
			t.Parallel()
			s := cyrus.Start(t, cyrus.Options{Config: tt.config})
			s.AddUser("alice")
			c := s.Login("alice")
			for i := range 3 {
				c.Append("INBOX", body(i), when)
			}
			c.Select("INBOX")
			c.Expunge("2")
			c.Close()
			s.Stop()
			inbox := list1(t, openSource(t, s.ConfigFile()), "alice")["INBOX"]
			if named := len(inbox.expunged) == 1; inbox.TellsRemovals != tt.want || named != tt.want || len(inbox.messages) != 2 {
				t.Errorf("says %v; %d are named as expunged, %d as there", inbox.TellsRemovals, len(inbox.expunged), len(inbox.messages))
			}
		})
	}
	for version, want := range map[uint32]bool{10: false, 12: true, 13: true, 20: true} {
		if got := (&config{}).keepsExpunged(&index.Header{Version: version}); got != want {
			t.Errorf("version %d: %v", version, got)
		}
	}
}
