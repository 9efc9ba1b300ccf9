package catalog

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"salvor/chunk"
)

// load is a first backup as the catalog sees it: messages of two parts each on
// average, one of which is known in every fourth message, in mailboxes of 200
// messages, 500 messages to a pack.
type load struct {
	b  *testing.B
	tx *Tx
	n  int

	rows []Row
	refs []chunk.Ref
}

func hashOf(kind byte, n int) (id chunk.ID) {
	var b [9]byte
	b[0] = kind
	binary.LittleEndian.PutUint64(b[1:], uint64(n))
	return chunk.Sum(b[:])
}

func (l *load) has(ref chunk.Ref) bool {
	has, err := l.tx.HasChunk(ref)
	must(l.b, err)
	return has
}

func (l *load) message(i int) {
	if i%200 == 0 {
		must(l.b, l.tx.Put(User{Name: fmt.Sprintf("user%d", i/2000)},
			Mailbox{ID: int64(i/200 + 1), User: fmt.Sprintf("user%d", i/2000), Name: fmt.Sprintf("folder%d", i/200), UIDValidity: 9}))
	}
	m := message(hashOf('m', i))
	l.has(m)
	c := Content{ID: m.ID, Size: 70000, From: "Somebody Somewhere <somebody@example.org>",
		To:      "Alice <alice@example.org>, Bob <bob@example.org>",
		Subject: "Re: the minutes of the meeting of last week and what follows", MessageID: "<20240501023000.12345@mail.example.org>", Date: &night}
	copy(c.SHA1[:], m.ID[:])
	for p := range 1 + i%2 + i%3/2 {
		k := i*3 + p
		if p == 1 && i%4 == 0 {
			k = i / 2 * 3
		}
		d := chunk.Ref{Kind: chunk.KindData, ID: hashOf('d', k)}
		if !l.has(d) {
			l.refs = append(l.refs, d)
		}
		c.Parts = append(c.Parts, d)
	}
	l.refs = append(l.refs, m)
	id, err := l.tx.NextID(RecordIDs)
	must(l.b, err)
	l.rows = append(l.rows, c, Record{ID: id, Mailbox: int64(i/200 + 1), UID: uint32(i%200 + 1),
		Key: fmt.Sprintf("1714530600.M%dP1234.mail.example.org,S=%d,W=%d", i, 70000, 71000), Content: m.ID, Stored: hashOf('s', i), StoredSize: 70000,
		LineEnds: chunk.EndsLF, Flags: []string{`\Seen`}, InternalDate: night.Add(time.Duration(i) * time.Second),
		SourceState: "70000.1714530600123456789.1234567", FirstRun: 1, FirstSeen: night})
	if i%500 == 499 {
		l.flush()
	}
}

// flush is what the packer's callbacks do once a pack is durable.
func (l *load) flush() {
	l.n++
	p := Pack{ID: hashOf('p', l.n), Size: 32 << 20, Commit: 1, CreatedAt: night}
	must(l.b, l.tx.Put(p))
	for i := 0; i < len(l.refs); i += 128 {
		must(l.b, l.tx.Put(frame(p.ID, int64(i), l.refs[i:min(i+128, len(l.refs))]...)))
	}
	must(l.b, l.tx.Put(l.rows...))
	l.rows, l.refs = l.rows[:0], l.refs[:0]
}

func fill(b *testing.B, path string, n int) {
	c, err := Open(path, Options{})
	must(b, err)
	tx := begin(b, c)
	size := 0
	tx.Journal(func(line []byte) error { size += len(line); return nil })
	l := &load{b: b, tx: tx}
	for i := range n {
		l.message(i)
	}
	l.flush()
	commit(b, tx)
	must(b, c.Close())
	b.ReportMetric(float64(size)/float64(n), "journal-B/msg")
}

// cpuTime is what counts on a machine that others use too.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most that this process ever had, in MiB: run one size at a
// time to compare.
func peakMemory(b *testing.B) float64 {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Maxrss) / 1024
}

func BenchmarkFirstBackup(b *testing.B) {
	for _, n := range []int{40_000, 400_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := cpuTime(b)
			for range b.N {
				fill(b, filepath.Join(b.TempDir(), "c.db"), n)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(n*b.N)/1000, "cpu-µs/msg")
			b.ReportMetric(peakMemory(b), "peak-MiB")
		})
	}
}

// BenchmarkQueries asks a catalog of 40,000 messages what a night without
// changes, a find and a checkpoint ask.
func BenchmarkQueries(b *testing.B) {
	const n = 40_000
	path := filepath.Join(b.TempDir(), "c.db")
	fill(b, path, n)
	c := reopen(b, path)
	for _, q := range []struct {
		name string
		per  int
		ask  func()
	}{
		{"HasChunk missing", 1000, func() {
			for i := range 1000 {
				_, err := c.HasChunk(data("none %d", i))
				must(b, err)
			}
		}},
		{"HasChunk there", 1000, func() {
			for i := range 1000 {
				_, err := c.HasChunk(message(hashOf('m', i*40)))
				must(b, err)
			}
		}},
		{"Losses", n, func() {
			_, err := c.Losses(ctx, LossQuery{})
			must(b, err)
		}},
		{"Counts", n, func() { must(b, c.Counts(ctx, CountQuery{}, func(*MailboxCount) error { return nil })) }},
		{"Records", n, func() {
			for m := range n / 200 {
				must(b, c.Records(ctx, int64(m+1), func(*Record) error { return nil }))
			}
		}},
		{"find a subject", n, func() { must(b, c.Entries(ctx, Query{Subject: "nothing of it"}, func(*Entry) error { return nil })) }},
		{"list all", n, func() { must(b, c.Entries(ctx, Query{}, func(*Entry) error { return nil })) }},
		{"list by location", n, func() { must(b, c.Entries(ctx, Query{Order: ByLocation}, func(*Entry) error { return nil })) }},
		{"Dump", n, func() { must(b, c.Dump(ctx, func([]byte) error { return nil })) }},
	} {
		b.Run(q.name, func(b *testing.B) {
			before := cpuTime(b)
			for range b.N {
				q.ask()
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N*q.per)/1000, "cpu-µs/each")
		})
	}
}

// BenchmarkRebuild applies a checkpoint of 40,000 messages.
func BenchmarkRebuild(b *testing.B) {
	const n = 40_000
	path := filepath.Join(b.TempDir(), "c.db")
	fill(b, path, n)
	lines := dump(b, reopen(b, path))
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		replay(b, lines)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(n*b.N)/1000, "cpu-µs/msg")
}
