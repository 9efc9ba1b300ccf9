package imap

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
	"salvor/internal/testenv/imaptest"
)

// While mail is delivered, flagged, moved and expunged, nothing is taken for a
// message without content, and what is there throughout is listed once.
func TestInspectLiving(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (port int, login func() *imaptest.Client){
		"dovecot": func(t *testing.T) (int, func() *imaptest.Client) {
			s := dovecot.Start(t, dovecot.Options{})
			return s.Port, func() *imaptest.Client { return s.Login("alice") }
		},
		"sdbox": func(t *testing.T) (int, func() *imaptest.Client) {
			s := dovecot.Start(t, dovecot.Options{Location: "sdbox:~/sdbox"})
			return s.Port, func() *imaptest.Client { return s.Login("alice") }
		},
		"cyrus, files go at once": func(t *testing.T) (int, func() *imaptest.Client) {
			s := cyrus.Start(t, cyrus.Options{Config: "expunge_mode: immediate"})
			s.AddUser("alice")
			return s.Port, func() *imaptest.Client { return s.Login("alice") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, login := start(t)
			c := login()
			c.Create("Work")
			for n := range 120 {
				c.Append("INBOX", letter(n), when)
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				c.Select("INBOX")
				for n := 1; n <= 45; n++ {
					select {
					case <-stop:
						return
					default:
					}
					c.Append("INBOX", letter(200+n), when)
					c.Store("91:120", []string{"+FLAGS", "-FLAGS"}[n%2], `\Flagged`)
					c.Expunge(fmt.Sprint(n))
					c.Do("UID MOVE %d Work", 45+n)
				}
			}()
			l := liveAt(t, port, "alice", "alice")
			for range 12 {
				seen := map[mailstore.UID]int{}
				st, got := inspect(t, l, "INBOX")
				for _, m := range got {
					if seen[m.UID]++; m.Dangling || m.UID >= st.UIDNext {
						t.Errorf("%+v in %+v", m, st)
					}
				}
				for uid := mailstore.UID(91); uid <= 120; uid++ {
					if seen[uid] != 1 {
						t.Errorf("UID %d is listed %d times", uid, seen[uid])
					}
				}
			}
			close(stop)
			<-stopped
		})
	}
}

// Whatever is asked for ends with its context.
func TestLiveCancelled(t *testing.T) {
	t.Parallel()
	f := newFake(t, mailbox("INBOX", 3))
	f.announces("UIDPLUS")
	asks := map[string]func(ctx context.Context, l *live) error{
		"Mailboxes": func(ctx context.Context, l *live) error {
			return l.Mailboxes(ctx, func(mailstore.Mailbox) error { return nil })
		},
		"Inspect": func(ctx context.Context, l *live) error {
			_, err := l.Inspect(ctx, "INBOX", func(mailstore.Inspected) error { return nil })
			return err
		},
		"Body":   func(ctx context.Context, l *live) error { _, err := l.Body(ctx, "INBOX", 1); return err },
		"Remove": func(ctx context.Context, l *live) error { return l.Remove(ctx, "INBOX", 7, []mailstore.UID{1}) },
		"Stand":  func(ctx context.Context, l *live) error { _, err := l.Stand(ctx, "INBOX"); return err },
		"Make":   func(ctx context.Context, l *live) error { return l.Make(ctx, mailstore.Mailbox{Name: "New"}) },
		"Append": func(ctx context.Context, l *live) error {
			_, err := l.Append(ctx, delivery("INBOX", letter(1)))
			return err
		},
		"Find": func(ctx context.Context, l *live) error {
			return l.Find(ctx, "INBOX", mailstore.Sought{}, func(mailstore.Found) error { return nil })
		},
	}
	for name, ask := range asks {
		l := fakeLive(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		f.spoils(func(c *fakeConn, verb, args string) bool { // it hangs at whatever comes
			cancel()
			return true
		})
		began := time.Now()
		if err := ask(ctx, l); !errors.Is(err, context.Canceled) || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		if err := ask(ctx, l); !errors.Is(err, context.Canceled) {
			t.Errorf("%s once more: %v", name, err)
		}
		f.spoils(nil)
	}
}
