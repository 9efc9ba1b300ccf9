package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// While mail is delivered, flagged, moved and expunged, every message that is
// there throughout comes home, and no other is reported as damaged.
func TestLivingServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (port int, login func() *imaptest.Client){
		"dovecot": func(t *testing.T) (int, func() *imaptest.Client) {
			s := dovecot.Start(t, dovecot.Options{})
			return s.Port, func() *imaptest.Client { return s.Login("alice") }
		},
		"cyrus": func(t *testing.T) (int, func() *imaptest.Client) {
			s := cyrus.Start(t, cyrus.Options{})
			s.AddUser("alice")
			return s.Port, func() *imaptest.Client { return s.Login("alice") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, login := start(t)
			c := login()
			c.Create("Work")
			stays := map[string]bool{}
			for n := range 200 {
				text := letter(n) + "first\r\n"
				c.Append([]string{"INBOX", "Work"}[n%2], text, when)
				if n%2 == 1 || n >= 40 {
					stays[text] = true
				}
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				c.Select("INBOX")
				for n := 1; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					c.Append("INBOX", letter(n)+"later\r\n", when)
					c.Do("NOOP")
					c.Store("21:60", []string{"+FLAGS", "-FLAGS"}[n%2], `\Flagged`)
					if n <= 10 {
						c.Expunge(fmt.Sprint(n))
						c.Do("UID MOVE %d Work", 10+n)
					}
				}
			}()
			src := open(t, port, Options{User: "alice"})
			var tokens map[string]string
			found := map[string]bool{}
			for range 6 {
				got := pass(t, src, "alice", tokens)
				for key, err := range got.failed {
					if !errors.Is(err, mailstore.ErrVanished) {
						t.Errorf("%s: %v", key, err)
					}
				}
				if len(got.problems) > 0 {
					t.Errorf("problems %q", got.problems)
				}
				for _, body := range got.bodies {
					found[body] = true
				}
				tokens = got.tokens()
			}
			close(stop)
			<-stopped
			for text := range stays {
				if !found[text] {
					t.Errorf("missed %.60q", text)
				}
			}
			// At last, when all is quiet, the tokens of a run still lead to the truth.
			last := pass(t, src, "alice", tokens)
			last.clean(t)
			if n := len(c.Examine("INBOX").Messages); len(last.messages["INBOX"]) != n {
				t.Errorf("%d messages, want %d", len(last.messages["INBOX"]), n)
			}
		})
	}
}

// A context that ends frees whoever waits, and the source closes at once.
func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 50))
	f.spoil = func(_ *fakeConn, verb, args string) bool {
		return verb == "UID FETCH" && strings.Contains(args, "BODY")
	}
	src := f.source(Options{ReadTimeout: time.Minute})
	box, all := listed(t, src, "INBOX")
	for _, m := range all {
		src.Prefetch(box, m)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := src.Open(ctx, box, all[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open: %v", err)
	}
	f.spoils(func(_ *fakeConn, verb, _ string) bool { return verb == "UID SEARCH" || verb == "UID FETCH" })
	if err := src.Messages(ctx, box, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Messages: %v", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := src.Open(t.Context(), box, all[1])
		waiting <- err
	}()
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	src.Close()
	if err := <-waiting; !errors.Is(err, errClosed) || time.Since(start) > 3*time.Second {
		t.Errorf("Open of a source that closes: %v after %v", err, time.Since(start))
	}
}

// What the engine's own callback says comes back as it is.
func TestYieldStops(t *testing.T) {
	t.Parallel()
	src := newFake(t, mailbox("INBOX", 50)).source(Options{})
	box, _ := listed(t, src, "INBOX")
	enough, n := errors.New("enough"), 0
	err := src.Messages(t.Context(), box, func(mailstore.Message) error {
		if n++; n == 7 {
			return enough
		}
		return nil
	})
	if err != enough || n != 7 {
		t.Errorf("%v after %d", err, n)
	}
}

// Readers that are many small users behind the listing cost no connections.
func TestReadersLagBehind(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 5))
	src := f.source(Options{Separator: "*"})
	type job struct {
		box mailstore.Mailbox
		m   mailstore.Message
	}
	var jobs []job
	const users = 20
	for i := range users {
		box := mailstore.Mailbox{User: fmt.Sprint("user", i), Name: "INBOX", UIDValidity: 7}
		if err := src.Mailboxes(t.Context(), mailstore.User{Name: box.User}, func(mailstore.Mailbox) error { return nil }); err != nil {
			t.Fatal(err)
		}
		err := src.Messages(t.Context(), box, func(m mailstore.Message) error {
			src.Prefetch(box, m)
			jobs = append(jobs, job{box, m})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, j := range jobs {
		if body, err := read(t.Context(), src, j.box, j.m); err != nil || body != "INBOX"+letter(int(j.m.UID)-1) {
			t.Errorf("%s %s: %v", j.box.User, j.m.Key, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logins > 1+2*users {
		t.Errorf("%d logins for %d users", f.logins, users)
	}
	if len(src.sessions) > openSessions+2 {
		t.Errorf("%d sessions", len(src.sessions))
	}
}
