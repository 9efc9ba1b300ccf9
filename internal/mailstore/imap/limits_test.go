package imap

import (
	"strings"
	"testing"
	"time"
)

// A body that is much larger than its promised size is not even begun, also
// when it is asked for alone.
func TestLiteralBeyondPromise(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 100), mailbox("Work", 5))
	f.spoil = fetching(33, func(c *fakeConn) {
		c.say("* 33 FETCH (UID 33 BODY[] {900000000}")
		c.Write(make([]byte, 2<<20))
	})
	got := pass(t, f.source(Options{ReadTimeout: 2 * time.Second}), "alice", nil)
	err := got.failed["INBOX/7.33"]
	if err == nil || !strings.Contains(err.Error(), "a literal of 900000000 bytes, at most 104") {
		t.Errorf("%v", err)
	}
	if len(got.bodies) != 104 || len(got.failed) != 1 {
		t.Errorf("%d bodies, failures %v", len(got.bodies), got.failed)
	}
}

func TestLiteralLimit(t *testing.T) {
	for size, want := range map[int64]int64{-1: 10 << 20, 0: 1 << 20, 465: 1<<20 + 930, 4 << 20: 9 << 20, 6 << 20: 10 << 20, 1 << 62: 10 << 20} {
		if got := literalLimit(size, 10<<20); got != want {
			t.Errorf("a message of %d bytes: %d, want %d", size, got, want)
		}
	}
}
