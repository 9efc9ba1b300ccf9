package found

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"testing"
)

// BenchmarkKeep keeps messages as a salvage does: with their checksums known, and
// made durable now and then.
func BenchmarkKeep(b *testing.B) {
	const messages, size, commit = 10_000, 20 << 10, 4000
	body := bytes.Repeat([]byte("All work and no play makes Jack a dull boy. \r\n"), size/40)[:size]
	nth := func(i int) []byte {
		binary.BigEndian.PutUint64(body, uint64(i))
		return body
	}
	sums := make([]string, messages)
	for i := range sums {
		sum := sha256.Sum256(nth(i))
		sums[i] = hex.EncodeToString(sum[:])
	}
	ctx := context.Background()
	b.SetBytes(messages * size)
	for b.Loop() {
		b.StopTimer()
		w, err := Create(filepath.Join(b.TempDir(), "results"), head, noFloor)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for i, sum := range sums {
			f := &Finding{Class: Unknown, Grade: Plausible, Size: size, SHA256Stored: sum}
			if err := w.Keep(ctx, f, bytes.NewReader(nth(i))); err != nil {
				b.Fatal(err)
			}
			if i%commit == commit-1 {
				if err := w.Sync(ctx); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
