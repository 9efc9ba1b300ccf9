package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vbauerster/mpb/v8"
)

// buffer is a bytes.Buffer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// work reports 100 messages of 1 MB each, one a second.
func work(m Meter) {
	m.Stage("reading")
	m.Total(100, 100e6)
	time.Sleep(time.Second / 2) // so that nothing falls together with a tick
	for range 100 {
		m.Add(1, 1e6)
		time.Sleep(time.Second)
	}
	m.Stage("writing")
	time.Sleep(time.Second)
}

func TestZeroValuesAreSilent(t *testing.T) {
	work := func(m Meter) { m.Stage("a"); m.Total(1, 2); m.Add(1, 2) }
	work(Meter{})
	work(NewMeter(nil))
	var d *Display
	work(d.Meter())
	d.Close()
}

func TestCount(t *testing.T) {
	var c Count
	m := NewMeter(&c)
	m.Stage("a")
	m.Total(5, 6)
	m.Add(1, 2)
	m.Stage("b")
	m.Add(3, 4)
	messages, bytes := c.Done()
	if messages != 4 || bytes != 6 || strings.Join(c.Stages(), " ") != "a b" {
		t.Errorf("got %d, %d, %v", messages, bytes, c.Stages())
	}
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		d := Open(Options{Out: &out})
		work(d.Meter())
		d.Write([]byte("a warning\n"))
		d.Close()
		d.Close()
		d.Meter().Stage("too late")
		d.Write([]byte("words\n"))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		// Begun, ten between, done, begun, warning, done, words.
		if n := len(lines); n != 16 {
			t.Errorf("got %d lines:\n%s", n, out.String())
		}
		for _, want := range []string{
			"reading: begun\n",
			"reading: 50%, 50 of 100 messages, 50.0 MB of 100 MB, 1.0 MB/s, about 46s-54s left\n",
			"reading: done, 100 of 100 messages, 100 MB of 100 MB in 1m4",
			"writing: begun\na warning\nwriting: done in 1.0s\nwords\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in:\n%s", want, out.String())
			}
		}
	})
}

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		d := Open(Options{Out: &out, Face: JSON})
		work(d.Meter())
		d.Close()
		seen := map[string]int{}
		for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			var row struct {
				Progress, Stage string
				Messages        struct{ Done, Total int64 }
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			seen[row.Progress+" "+row.Stage]++
		}
		if seen["begun reading"] != 1 || seen["done reading"] != 1 || seen["done writing"] != 1 || seen["running reading"] < 9 {
			t.Errorf("got %v", seen)
		}
	})
}

func TestNone(t *testing.T) {
	var out buffer
	d := Open(Options{Out: &out, Face: None})
	d.Meter().Stage("a")
	d.Write([]byte("words\n"))
	d.Close()
	if out.String() != "words\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestAutoFaces(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := Open(Options{Out: f})
	defer d.Close()
	if _, ok := d.face.(*lines); !ok {
		t.Errorf("a file gets %T", d.face)
	}
}

func TestBars(t *testing.T) {
	var out buffer
	b := newBars(Options{Out: &out}, mpb.WithAutoRefresh(), mpb.WithWidth(120), mpb.WithRefreshRate(5*time.Millisecond))
	d := &Display{face: b, meter: NewMeter(b)}
	m := d.Meter()
	m.Stage("reading")
	m.Total(10, 1000)
	m.Add(5, 500)
	b.refresh()
	eventually(t, &out, "reading [=========>")
	eventually(t, &out, "]  50%  5 of 10 messages, 500 B of 1.0 kB  -  ETA -")
	d.Write([]byte("a warning\n"))
	eventually(t, &out, "a warning\n")
	m.Add(5, 500)
	m.Stage("writing")
	eventually(t, &out, "reading: done, 10 of 10 messages, 1.0 kB of 1.0 kB in ")
	d.Close()
	eventually(t, &out, "writing: done in ")
	d.Write([]byte("the end\n"))
	eventually(t, &out, "the end\n")
	m.Stage("too late")
	m.Add(1, 1)
	d.Close()
	if strings.Contains(out.String(), "too late") || strings.Contains(out.String(), "\x1b[3") {
		t.Errorf("a late stage or colour in %q", out.String())
	}
}

func eventually(t *testing.T, out *buffer, want string) {
	t.Helper()
	for range 1000 {
		if strings.Contains(out.String(), want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	s := out.String()
	t.Fatalf("no %q in ...%q", want, s[max(0, len(s)-1000):])
}

// An output that is gone stops nothing.
func TestBrokenOutput(t *testing.T) {
	for _, face := range []Face{Lines, JSON, Bars} {
		d := Open(Options{Out: broken{}, Face: face})
		for range 3 {
			d.Meter().Stage("a")
			d.Meter().Add(1, 1)
		}
		d.Close()
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestTimeLeftIsHonest(t *testing.T) {
	start := time.Unix(1e9, 0)
	now := start
	s := state{clock: func() time.Time { return now }}
	at := func(seconds int) view {
		now = start.Add(time.Duration(seconds) * time.Second)
		return s.look(now)
	}
	about := func(what string, g guess, seconds float64) {
		t.Helper()
		if m := g.middle.Seconds(); m < seconds*0.95 || m > seconds*1.05 || g.low > g.middle || g.high < g.middle {
			t.Errorf("%s: %v, want about %v s", what, g, seconds)
		}
	}
	s.begin("x", start)
	if v := at(10); v.left != noGuess || v.eta() != "-" {
		t.Errorf("without a total: %v", v)
	}
	now = start
	s.begin("x", start)
	s.expect(1000, 0)
	at(2)
	s.add(2, 0)
	if v := at(2); v.left != noGuess {
		t.Errorf("too early to know: %v", v.left)
	}
	for i := 3; i <= 20; i++ {
		at(i)
		s.add(1, 0)
	}
	about("steady", at(20).left, 980)
	// Slower now: all that was measured counts, but the last part of it too.
	for i := 21; i <= 200; i++ {
		at(i)
		if i%10 == 0 {
			s.add(1, 0)
		}
	}
	v := at(201)
	if v.messages < 0.09 || v.messages > 0.11 {
		t.Errorf("pace is %v, want 0.1", v.messages)
	}
	if v.left.low > 6000*time.Second || v.left.high < 9620*time.Second {
		t.Errorf("slower now: %v", v.left)
	}
	// Nothing moves any more: the end is unknown, not later and later.
	for i := 202; i < 270; i++ {
		at(i)
	}
	if v := at(270); v.left != noGuess || v.rate() != "-" {
		t.Errorf("standstill: %v %v", v.left, v.rate())
	}
	// Other conditions: what was before counts no more.
	s.Anew()
	if v := at(271); v.left != noGuess {
		t.Errorf("nothing is known of the new conditions: %v", v.left)
	}
	for i := 272; i <= 320; i++ {
		at(i)
		s.add(2, 0)
	}
	v = at(320)
	about("faster now", v.left, float64(v.total.messages-v.done.messages)/2)
	// At the end, and beyond.
	s.expect(v.done.messages, 0)
	if v := at(321); v.left != (guess{}) || v.share() != 1 {
		t.Errorf("at the end: %v", v.left)
	}
	s.add(1, 1)
	if v := at(322); v.left != (guess{}) || v.share() != 1 {
		t.Errorf("more than expected: %v %v", v.left, v.share())
	}
	if n := len(s.samples); n > 70 {
		t.Errorf("%d samples kept", n)
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0.0s", 9940 * time.Millisecond: "9.9s", 59 * time.Second: "59s", 100 * time.Second: "1m40s",
		18*time.Hour + 3*time.Minute: "18h03m", 240 * time.Hour: "10d",
	} {
		if got := formatTime(d); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
	if r := (view{messages: 12.6}).rate(); r != "12 msg/s" {
		t.Errorf("got %q", r)
	}
	if r := (view{messages: 0.25}).rate(); r != "0.2 msg/s" {
		t.Errorf("got %q", r)
	}
}
