package fill_test

import (
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/fill"
)

// BenchmarkFill fills a store in memory: what is left is the engine's own work,
// with a ledger in a real vault. ns/op is for one message.
func BenchmarkFill(b *testing.B) {
	const users, each = 8, 2000
	for b.Loop() {
		b.StopTimer()
		names := map[string]int{}
		for i := range users {
			names[string(rune('a'+i))] = each
		}
		l := newLab(b, names, func(c *catalog.Claim) {})
		b.StartTimer()
		if r, err := l.run(func(o *fill.Options) {}); err != nil || r.Filled != users*each {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*users*each), "ns/message")
}
