package wire

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// drip is a server that sends a greeting and then a text again and again, with
// a pause.
func drip(t *testing.T, greeting, text string, pause time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for _, err = c.Write([]byte(greeting)); err == nil; _, err = c.Write([]byte(text)) {
			time.Sleep(pause)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestSlowCommand(t *testing.T) {
	t.Parallel()
	c, err := Dial(t.Context(), Options{Addr: drip(t, "* OK [CAPABILITY IMAP4rev1] hi\r\n", "* OK x\r\n", 20*time.Millisecond), Security: Insecure, Idle: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(1700 * time.Millisecond) // nothing is awaited: no time runs
	start := time.Now()
	err = c.Noop(t.Context())
	var slow *Slow
	if !errors.As(err, &slow) || !IsBroken(err) || IsHungUp(err) || time.Since(start) < 1400*time.Millisecond || time.Since(start) > 8*time.Second {
		t.Errorf("Noop: %v after %v", err, time.Since(start))
	}
}

// STARTTLS may be preceded by answers, but not by any number of them.
func TestSlowGreeting(t *testing.T) {
	t.Parallel()
	_, err := Dial(t.Context(), Options{Addr: drip(t, "* OK hi\r\n", "* OK x\r\n", 30*time.Millisecond), Security: StartTLS, Idle: 300 * time.Millisecond})
	var dialing *DialError
	if !errors.As(err, &dialing) || !strings.Contains(err.Error(), "not come to an end with its greeting within 1.5s") {
		t.Errorf("Dial: %v", err)
	}
}

// What comes at a fair speed has all the time that it needs, and each command a
// time of its own.
func TestFairSpeed(t *testing.T) {
	t.Parallel()
	lines := []string{"S: * OK [CAPABILITY IMAP4rev1] hi"}
	for _, tag := range []string{"a1", "a2"} {
		lines = append(lines, "C: "+tag+" NOOP")
		for range 40 { // two seconds, of which silence would be taken for one and a half
			lines = append(lines, "wait", "S: * OK "+strings.Repeat("y", 4000))
		}
		lines = append(lines, "S: "+tag+" OK .")
	}
	c, err := Dial(t.Context(), Options{Addr: script(t, lines...), Security: Insecure, Idle: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := c.Noop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
