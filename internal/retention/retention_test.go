package retention

import (
	"strings"
	"testing"
	"time"
)

func day(n int) time.Time { return time.Date(2026, 3, 1+n, 2, 0, 0, 0, time.UTC) }

func TestExpiryNeedsTimeAndTwoSightings(t *testing.T) {
	p := Policy{Users: map[string]time.Duration{"long": 30 * 24 * time.Hour}}
	for _, c := range []struct {
		name, user string
		now        time.Time
		s          Sightings
		want       bool
	}{
		{"week over, seen twice", "u", day(7), Sightings{GoneRun: 3, ListedRun: 4}, true},
		{"an hour early", "u", day(7).Add(-time.Hour), Sightings{GoneRun: 3, ListedRun: 4}, false},
		{"seen once", "u", day(90), Sightings{GoneRun: 3, ListedRun: 3}, false},
		{"second run could not list the folder", "u", day(90), Sightings{GoneRun: 3, ListedRun: 4, FailedRun: 4}, false},
		{"an earlier failure does not matter", "u", day(9), Sightings{GoneRun: 3, ListedRun: 5, FailedRun: 4}, true},
		{"a user with a longer time", "long", day(29), Sightings{GoneRun: 3, ListedRun: 30}, false},
		{"a user with a longer time, over", "long", day(30), Sightings{GoneRun: 3, ListedRun: 30}, true},
	} {
		if got := p.Expired(c.user, day(0), c.now, c.s); got != c.want {
			t.Errorf("%s: expired = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestClock(t *testing.T) {
	nights := func(ns ...int) []Past {
		var out []Past
		for _, n := range ns {
			out = append(out, Past{day(n), true})
		}
		return out
	}
	y2036 := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	wrong := append(nights(0, 1), Past{y2036, false})
	for _, c := range []struct {
		name  string
		r     Reading
		past  []Past
		doubt string
		now   time.Time
	}{
		{"first run", Reading{Host: day(0)}, nil, "", day(0)},
		{"an ordinary night", Reading{Host: day(2)}, nights(0, 1), "", day(2)},
		{"the lower of two clocks", Reading{Host: day(2), Store: day(2).Add(-time.Minute)}, nights(1), "", day(2).Add(-time.Minute)},
		{"store far away", Reading{Host: day(2), Store: day(3)}, nights(1), "differ", day(2)},
		{"a night in 2036", Reading{Host: y2036}, nights(0, 1), "31 days", day(1)},
		{"later in that night", Reading{Host: y2036.Add(time.Hour)}, wrong, "31 days", day(1)},
		{"the night after", Reading{Host: day(3)}, wrong, "backwards", day(3)},
		{"two nights after", Reading{Host: day(4)}, append(wrong, Past{day(3), false}), "", day(4)},
		{"a night in 1970", Reading{Host: time.Unix(100, 0)}, nights(0, 1), "backwards", day(1)},
		{"the night after 1970", Reading{Host: day(3)}, append(nights(0, 1), Past{time.Unix(100, 0), false}), "", day(3)},
		{"back after half a year", Reading{Host: day(180)}, nights(0), "31 days", day(0)},
		{"and the night after that", Reading{Host: day(181)}, append(nights(0), Past{day(180), false}), "", day(181)},
		{"a slightly slow second host", Reading{Host: day(1).Add(-5 * time.Minute)}, nights(1), "", day(1).Add(-5 * time.Minute)},
	} {
		got := JudgeClock(c.r, c.past)
		if (c.doubt == "") != got.Trusted() || !strings.Contains(got.Doubt, c.doubt) {
			t.Errorf("%s: doubt %q, want %q", c.name, got.Doubt, c.doubt)
		}
		if !got.Now.Equal(c.now) {
			t.Errorf("%s: now %v, want %v", c.name, got.Now, c.now)
		}
	}
}

func TestBrake(t *testing.T) {
	whole := map[string]Partition{"p": {Messages: 100000, Users: 100}}
	for _, c := range []struct {
		name   string
		losses []Loss
		parts  map[string]Partition
		held   string
	}{
		{"a tidy evening", []Loss{{User: "a", Live: 90, Now: 10, Window: 10}}, nil, ""},
		{"30 percent is people", []Loss{{User: "a", Live: 700, Now: 300, Window: 300}}, nil, ""},
		{"31 percent is not", []Loss{{User: "a", Live: 690, Now: 310, Window: 310}}, nil, "a"},
		{"few messages are people", []Loss{{User: "a", Live: 10, Now: 50, Window: 50}}, nil, ""},
		{"25 percent, second night", []Loss{{User: "a", Live: 563, Now: 187, Window: 437}}, nil, "a"},
		{"the whole user", []Loss{{User: "a", Now: 3, Window: 3, UserGone: true}}, nil, "a"},
		{"a suspect index", []Loss{{User: "a", Live: 9, Now: 1, Window: 1, Suspect: "its uidlist is missing"}}, nil, "a"},
		{"a suspect index, nothing lost", []Loss{{User: "a", Live: 9, Suspect: "its uidlist is missing"}}, nil, ""},
		{"an old folder removed", []Loss{{User: "a", Live: 500, Now: 500, Window: 510, Removed: []int{500}}}, nil, ""},
		{"two folders at once", []Loss{{User: "a", Live: 500, Now: 500, Window: 500, Removed: []int{300, 200}}}, nil, "a"},
		{"the only folder", []Loss{{User: "a", Now: 500, Window: 500, Removed: []int{500}}}, nil, "a"},
		{"three users, many percent", threeUsers(), map[string]Partition{"p": {Messages: 3000, Users: 3}}, "abc"},
		{"one user alone is not a partition", []Loss{{User: "a", Partition: "p", Live: 40000, Now: 15000, Window: 15000}}, whole, ""},
	} {
		var held strings.Builder
		for _, v := range Brake(Limits{}, c.losses, c.parts) {
			held.WriteString(v.User)
			if v.Reason == "" {
				t.Errorf("%s: %s is held without a reason", c.name, v.User)
			}
		}
		if held.String() != c.held {
			t.Errorf("%s: held %q, want %q", c.name, held.String(), c.held)
		}
	}
}

func threeUsers() (out []Loss) {
	for _, u := range []string{"a", "b", "c"} {
		out = append(out, Loss{User: u, Partition: "p", Live: 800, Now: 200, Window: 200})
	}
	return out
}

// Five percent of every mailbox on a partition is nobody's tidying up.
func TestBrakeOnPartition(t *testing.T) {
	var losses []Loss
	parts := map[string]Partition{"p": {Messages: 10000 * 200, Users: 10000}, "q": {Messages: 20000, Users: 100}}
	for i := range 10000 {
		losses = append(losses, Loss{User: string(rune('a'+i%26)) + day(i).String(), Partition: "p", Live: 190, Now: 10, Window: 10})
	}
	losses = append(losses, Loss{User: "other", Partition: "q", Live: 190, Now: 10, Window: 10})
	if got := len(Brake(Limits{}, losses, parts)); got != 10000 {
		t.Errorf("held %d users, want the partition's 10000", got)
	}
	for i := range losses {
		losses[i].Now, losses[i].Window = 1, 2
	}
	if got := len(Brake(Limits{}, losses, parts)); got != 0 {
		t.Errorf("half a percent a night holds %d users", got)
	}
}

// A folder removed by one user of many does not hold the others up; a folder
// that many users lose in one night does.
func TestBrakeOnRemovedFolders(t *testing.T) {
	parts := map[string]Partition{"p": {Messages: 20000, Users: 20}}
	var losses []Loss
	for i := range 20 {
		losses = append(losses, Loss{User: string(rune('a' + i)), Partition: "p", Live: 995, Now: 5, Window: 5})
	}
	losses[0] = Loss{User: "a", Partition: "p", Live: 300, Now: 700, Window: 700, Removed: []int{700}}
	if got := Brake(Limits{}, losses, parts); len(got) != 0 {
		t.Errorf("one removed folder holds %v", got)
	}
	for i := range losses {
		losses[i].Live, losses[i].Now, losses[i].Window, losses[i].Removed = 800, 200, 200, []int{200}
	}
	if got := Brake(Limits{}, losses, parts); len(got) != 20 {
		t.Errorf("a folder of every user lost, held %d users of 20", len(got))
	}
}
