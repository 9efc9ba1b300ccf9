package cyrus

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/imaptest"
)

func stateOf(t *testing.T, src *Source, name string) string {
	t.Helper()
	b := list1(t, src, "alice")[name]
	if b == nil || b.State == "" {
		t.Fatalf("%s: %+v", name, b)
	}
	return b.State
}

// A mailbox's state stays when nothing happens, and changes with everything
// that Messages would tell.
func TestState(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	src := openSource(t, s.ConfigFile())
	state, other := stateOf(t, src, "INBOX"), stateOf(t, src, "Work")
	if again := stateOf(t, src, "INBOX"); again != state {
		t.Errorf("nothing happened, and %s became %s", state, again)
	}
	c := s.Login("alice")
	c.Examine("INBOX") // reading is no change
	if again := stateOf(t, src, "INBOX"); again != state {
		t.Errorf("it was read, and %s became %s", state, again)
	}
	c.Select("INBOX")
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"a flag", func() { c.Store("1", "+FLAGS", `\Answered`) }},
		{"a keyword", func() { c.Store("1", "+FLAGS", "known-to-nobody") }},
		{"seen", func() { c.Store("1", "-FLAGS", `\Seen`) }},
		{"a new message", func() { c.Append("INBOX", body(50), when) }},
		{"an expunge", func() { c.Expunge("3") }},
		{"a copy", func() { c.Do("UID COPY 1 INBOX") }},
		{"a move away", func() { c.Do("UID MOVE 2 Junk") }},
		{"what has been expunged is cleaned up", func() { s.Run("cyr_expire", "-E", "1", "-X", "0", "-D", "0") }},
	} {
		change.do()
		now := stateOf(t, src, "INBOX")
		if now == state {
			t.Errorf("%s does not change the state", change.what)
		}
		state = now
	}
	if now := stateOf(t, src, "Work"); now != other {
		t.Errorf("the state of Work became %s, it was %s", now, other)
	}
}

// A folder that is renamed keeps its identity, its state and its messages'.
func TestRename(t *testing.T) {
	for _, layout := range []cyrus.Layout{cyrus.UUID, cyrus.Legacy} {
		t.Run(fmt.Sprint(layout), func(t *testing.T) {
			t.Parallel()
			s := filled(t, cyrus.Options{Layout: layout})
			src := openSource(t, s.ConfigFile())
			before := list1(t, src, "alice")["Work/2024/Deep"]
			s.Login("alice").Do("RENAME Work/2024 Archive")
			after := list1(t, src, "alice")["Archive/Deep"]
			if after == nil || after.ObjectID != before.ObjectID || len(after.messages) != 3 {
				t.Fatalf("%+v", after)
			}
			for i, m := range after.messages {
				if old := before.messages[i]; m.ObjectID != old.ObjectID || m.State != old.State || m.SHA1 != old.SHA1 {
					t.Errorf("%+v was %+v", m, old)
				}
				if got, err := read1(src, before.Mailbox, before.messages[i]); layout == cyrus.UUID && (err != nil || got != body(10+i)) {
					t.Errorf("by the old name: %q, %v", got, err)
				}
			}
		})
	}
}

// While a client delivers, flags, moves and expunges, every listing is whole
// and holds every message that was there throughout.
func TestLivingServer(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.AddUser("alice")
	c := s.Login("alice")
	c.Create("Other")
	for i := range 20 {
		c.Append("INBOX", body(i), when)
	}
	src := openSource(t, s.ConfigFile())
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer close(done)
		c.Select("INBOX")
		for i := range 25 {
			c.Append("INBOX", body(100+i), when, fmt.Sprintf("kw%d", i))
			c.Store("1:20", []string{"+FLAGS", "-FLAGS"}[i%2], `\Flagged`, fmt.Sprintf("kw%d", i))
			c.Do("UID MOVE %d Other", 21+i)
			c.Create(fmt.Sprintf("Made/%d", i))
			c.Do("RENAME %s %s", imaptest.Quote(fmt.Sprintf("Made/%d", i)), imaptest.Quote(fmt.Sprintf("Renamed %d", i)))
		}
	}()
	rounds := 0
	for running := true; running; rounds++ {
		select {
		case <-done:
			running = false
		default:
		}
		if got := users(t, src, true); len(got) != 1 {
			t.Fatalf("users %q", got)
		}
		inbox := list1(t, src, "alice")["INBOX"]
		if inbox.Lost != "" || inbox.err != nil || len(inbox.messages) < 20 {
			t.Fatalf("round %d: lost %q, %d messages, %v", rounds, inbox.Lost, len(inbox.messages), inbox.err)
		}
		for i, m := range inbox.messages[:20] {
			if got, err := read1(src, inbox.Mailbox, m); err != nil || got != body(i) {
				t.Fatalf("UID %d: %q, %v", m.UID, got, err)
			}
		}
	}
	wg.Wait()
	if rounds < 3 {
		t.Errorf("only %d rounds", rounds)
	}
}

// Reading leaves no trace: no file is written, and no access time changes.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{})
	s.Stop()
	long := time.Now().Add(-100 * time.Hour)
	type trace struct {
		atime, mtime, ctime unix.Timespec
		size                int64
	}
	each := func(f func(path string) error) {
		err := filepath.Walk(s.Dir, func(path string, info os.FileInfo, err error) error {
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			return f(path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func() map[string]trace {
		out := map[string]trace{}
		each(func(path string) error {
			var st unix.Stat_t
			err := unix.Stat(path, &st)
			out[path] = trace{st.Atim, st.Mtim, st.Ctim, st.Size}
			return err
		})
		return out
	}
	// Access times older than a day are those that relatime sets.
	each(func(path string) error { return os.Chtimes(path, long, long) })
	before := look()
	src := openSource(t, s.ConfigFile())
	users(t, src, true)
	for _, b := range list1(t, src, "alice") {
		for _, m := range append(b.messages, b.expunged...) {
			if _, err := read1(src, b.Mailbox, m); err != nil {
				t.Error(err)
			}
		}
	}
	after := look()
	for path, was := range before {
		now := after[path]
		if filepath.Base(path) == "imapd.conf" { // read by its name as any program does
			now.atime = was.atime
		}
		if now != was {
			t.Errorf("%s: %+v became %+v", path, was, now)
		}
	}
	if len(after) != len(before) || len(before) < 40 {
		t.Errorf("%d files became %d", len(before), len(after))
	}
}
