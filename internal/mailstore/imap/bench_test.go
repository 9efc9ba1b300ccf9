package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"salvor/internal/mailstore/imap/wire"
	"salvor/internal/testenv/dovecot"
)

// BenchmarkFirstPass lists and fetches one account of 5,000 messages, as a first
// backup does.
func BenchmarkFirstPass(b *testing.B) {
	server := dovecot.Start(b, dovecot.Options{})
	const messages = 5000
	bytes := fill(b, server, messages)
	src := open(b, server.Port, Options{User: "alice"})
	pass(b, src, "alice", nil) // Dovecot's indexes are made once
	b.Run("all", func(b *testing.B) {
		b.SetBytes(bytes)
		start := time.Now()
		for range b.N {
			c := pass(b, src, "alice", nil)
			if len(c.bodies) != messages || len(c.failed)+len(c.problems) > 0 {
				b.Fatalf("%d bodies, %v, %q", len(c.bodies), c.failed, c.problems)
			}
		}
		b.ReportMetric(float64(messages*b.N)/time.Since(start).Seconds(), "messages/s")
	})
	b.Run("bare", func(b *testing.B) { // what the server can give: no listing, nothing kept
		b.SetBytes(bytes)
		for range b.N {
			bare(b, src)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		tokens := pass(b, src, "alice", nil).tokens()
		for b.Loop() {
			if c := pass(b, src, "alice", tokens); len(c.bodies) > 0 {
				b.Fatalf("%d bodies", len(c.bodies))
			}
		}
	})
}

// bare fetches all bodies with one command for each folder, and drops them.
func bare(b *testing.B, src *Source) {
	c, err := src.login(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n := 0
	for _, box := range []string{"INBOX", "Work"} {
		if _, err := c.Examine(b.Context(), box); err != nil {
			b.Fatal(err)
		}
		p, err := c.Fetch(b.Context(), wire.FetchQuery{UIDs: "1:*", Items: "BODY.PEEK[]", Yield: func(*wire.Fetched) error { n++; return nil }})
		if err == nil {
			_, err = p.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if n != 5000 {
		b.Fatalf("%d bodies", n)
	}
}

// fill puts letters of 1 to 30 KB into a Maildir.
func fill(b testing.TB, server *dovecot.Server, messages int) (bytes int64) {
	b.Helper()
	for n := range messages {
		dir := server.Home("alice") + "/Maildir"
		if n%2 == 1 {
			dir += "/.Work"
		}
		if n < 2 {
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
					b.Fatal(err)
				}
			}
		}
		text := letter(n)
		for range n % 12 {
			text += letter(n)
		}
		bytes += int64(len(text))
		name := fmt.Sprintf("%d.M%dP1.test:2,S", 1_000_000_000+n, n)
		if err := os.WriteFile(filepath.Join(dir, "cur", name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	server.Chown("home")
	return bytes
}
