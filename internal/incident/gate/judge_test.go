package gate

import (
	"math/rand/v2"
	"testing"
	"time"

	"salvor/catalog"
)

// Whatever happens in whatever order, imap is said only when the last look came
// after the last change and found nothing.
func TestNeverIMAPTooEarly(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		var g catalog.Gate
		var tally tally
		var dangles, looked bool // what is so, and whether a look saw it
		now := time.Unix(1e9, 0)
		for range 12 {
			now = now.Add(time.Second)
			var seen *Sight
			switch rng.IntN(5) {
			case 0: // mail is brought back or taken out
				tally.at(now)
				dangles, looked = rng.IntN(2) == 0, false
			case 1:
				tally.away = int64(rng.IntN(2))
			case 2: // another server, where the user is not
				seen = &Sight{Store: "imaps://other", At: now, Missing: true}
			default:
				seen = &Sight{Store: "imaps://server", At: now}
				if looked = true; dangles {
					seen.Dangling = 1
				}
			}
			g = judge(tally, g, seen)
			if want := looked && !dangles && tally.away == 0; (g.State == catalog.GateIMAP) != want {
				t.Fatalf("%+v: looked %v, dangles %v, away %d", g, looked, dangles, tally.away)
			}
			if (g.Reason == "") != (g.State == catalog.GateIMAP) {
				t.Fatalf("%+v", g)
			}
		}
	}
}
