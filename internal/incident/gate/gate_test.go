package gate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
	"salvor/internal/testenv/lostserver"
)

// scene has two users, one of them with a message of the gap.
func scene(t testing.TB) *lostserver.Disaster {
	t.Helper()
	d := lostserver.New(t)
	for i := range 3 {
		d.Server.Box("ann", "INBOX").Add(lostserver.Text(i))
		d.Server.Box("bob", "INBOX").Add(lostserver.Text(10 + i))
	}
	d.Backup()
	d.Server.Box("ann", "INBOX").Add(lostserver.Text(300))
	d.Open()
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(t testing.TB, d *lostserver.Disaster, o gate.Options) (rows []gate.Row) {
	t.Helper()
	must(t, d.Act(false, func(ctx context.Context, l *incident.Ledger) (err error) {
		rows, err = gate.Update(ctx, l, o)
		return err
	}))
	return rows
}

// words are the gates in short.
func words(rows []gate.Row) (out []string) {
	for _, r := range rows {
		line := fmt.Sprintf("%s %s %d", r.User, r.State, r.Dangling)
		if r.Problem != nil {
			line += " !"
		}
		out = append(out, line)
	}
	return out
}

func wants(t testing.TB, rows []gate.Row, want ...string) {
	t.Helper()
	if got := words(rows); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q: %+v", got, want, rows)
	}
}

// A listener is a hook that remembers what it was told.
type listener struct {
	heard []string
	fail  error
}

func (l *listener) hook(_ context.Context, c gate.Change) error {
	if l.fail != nil {
		return l.fail
	}
	l.heard = append(l.heard, fmt.Sprintf("%s %s>%s", c.User, c.Before, c.State))
	return nil
}

// The way of two users from down to imap, and one of them back; each change is
// told once.
func TestGates(t *testing.T) {
	t.Parallel()
	d := scene(t)
	var l listener
	blind := gate.Options{Hook: l.hook}
	look := gate.Options{Hook: l.hook, Server: d.Server, Store: lostserver.URL}
	wants(t, update(t, d, blind), "ann down 0", "bob down 0")
	wants(t, update(t, d, look), "ann down 4", "bob down 3")
	d.Fill()
	wants(t, update(t, d, blind), "ann web 4", "bob web 3")
	wants(t, update(t, d, look), "ann web 1", "bob imap 0")
	wants(t, update(t, d, blind), "ann web 1", "bob imap 0")
	// ann's message was found, and delivered; the old entry went out by hand.
	b := d.Server.Box("ann", "INBOX")
	b.Messages = b.Messages[:3]
	d.Put(func(c *catalog.Claim) bool {
		was := c.State
		c.State = catalog.ClaimRedelivered
		return was == catalog.ClaimOwed
	})
	wants(t, update(t, d, blind), "ann web 1", "bob imap 0")
	wants(t, update(t, d, look), "ann imap 0", "bob imap 0")
	// A file is lost again: seen by the next look only.
	d.Server.Box("bob", "INBOX").Find(1).Missing = true
	wants(t, update(t, d, blind), "ann imap 0", "bob imap 0")
	wants(t, update(t, d, gate.Options{Hook: l.hook, Server: d.Server, Store: lostserver.URL, Users: []string{"bob"}}), "bob web 1")
	want := []string{"ann >down", "bob >down", "ann down>web", "bob down>web", "bob web>imap", "ann web>imap", "bob imap>web"}
	if !reflect.DeepEqual(l.heard, want) {
		t.Errorf("heard %q, want %q", l.heard, want)
	}
	again := d.Rebuilt(d.Reopen(), "again.db") // it is in the vault
	rows, err := gate.List(t.Context(), again.Catalog, lostserver.Name, nil)
	must(t, err)
	wants(t, rows, "ann imap 0", "bob web 1")
	if rows[1].Told != catalog.GateWeb || rows[1].Store != lostserver.URL || rows[1].CheckedAt.IsZero() || rows[1].Reason == "" || rows[0].Reason != "" {
		t.Errorf("%+v", rows)
	}
}

// A change of the ledger after the look closes the gate where it may have left
// something that dangles, and nowhere else.
func TestChangesLower(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state catalog.ClaimState
		taken bool
		want  catalog.GateState
	}{
		{catalog.ClaimRestored, false, catalog.GateWeb}, {catalog.ClaimRestoredMaybe, false, catalog.GateWeb}, {catalog.ClaimPresent, false, catalog.GateWeb},
		{catalog.ClaimOwed, false, catalog.GateWeb}, {catalog.ClaimHeld, false, catalog.GateDown}, {catalog.ClaimUncertain, false, catalog.GateDown},
		{catalog.ClaimRedelivered, false, catalog.GateIMAP}, {catalog.ClaimLost, false, catalog.GateIMAP}, {catalog.ClaimDeleted, false, catalog.GateIMAP},
		{catalog.ClaimJunk, false, catalog.GateIMAP}, {catalog.ClaimRedelivered, true, catalog.GateWeb}, {catalog.ClaimJunk, true, catalog.GateWeb},
	} {
		d := scene(t)
		d.Fill()
		d.Put(func(claim *catalog.Claim) bool { // so that each state is a change
			claim.State = catalog.ClaimRedelivered
			if c.state == catalog.ClaimRedelivered {
				claim.State = catalog.ClaimDeleted
			}
			return claim.User == "bob" && claim.UID == 1
		})
		wants(t, update(t, d, gate.Options{Server: d.Server, Store: lostserver.URL, Users: []string{"bob"}}), "bob imap 0")
		d.Put(func(claim *catalog.Claim) bool {
			claim.State = c.state
			if c.taken {
				claim.TakenAt = d.Clock()
			}
			return claim.User == "bob" && claim.UID == 1
		})
		rows, err := gate.List(t.Context(), d.H.Catalog, lostserver.Name, []string{"bob"})
		must(t, err)
		if rows[0].State != c.want {
			t.Errorf("%+v: %s (%s)", c, rows[0].State, rows[0].Reason)
		}
		if g, _, err := d.H.Catalog.Gate(lostserver.Name, "bob"); err != nil || g.State != catalog.GateIMAP {
			t.Errorf("List has written: %+v %v", g, err)
		}
	}
}

// An account that is not there is down, unless it was seen elsewhere.
func TestNoAccount(t *testing.T) {
	t.Parallel()
	d := scene(t)
	d.Fill()
	other := &lostserver.Server{}
	o := gate.Options{Server: other, Store: "imaps://other"}
	wants(t, update(t, d, o), "ann down 0", "bob down 0")
	wants(t, update(t, d, gate.Options{}), "ann down 0", "bob down 0")
	wants(t, update(t, d, gate.Options{Server: d.Server, Store: lostserver.URL}), "ann web 1", "bob imap 0")
	wants(t, update(t, d, o), "ann web 1", "bob imap 0")
	d.Server.Drop("bob", "")
	wants(t, update(t, d, gate.Options{Server: d.Server, Store: lostserver.URL}), "ann web 1", "bob down 0")
	if _, err := gate.List(t.Context(), d.H.Catalog, lostserver.Name, []string{"cid"}); !errors.Is(err, incident.ErrUser) {
		t.Error(err)
	}
	if _, err := gate.List(t.Context(), d.H.Catalog, "flood", nil); !errors.Is(err, incident.ErrUnknown) {
		t.Error(err)
	}
}

// A user who cannot be looked at keeps his gate, and stops nobody.
func TestLookFails(t *testing.T) {
	t.Parallel()
	d := scene(t)
	d.Fill()
	look := gate.Options{Server: d.Server, Store: lostserver.URL}
	wants(t, update(t, d, look), "ann web 1", "bob imap 0")
	d.Server.Fail = func(op, user, _ string) error {
		if user == "ann" && op == "inspect" {
			return errors.New("NO not now")
		}
		return nil
	}
	wants(t, update(t, d, look), "ann web 1 !", "bob imap 0")
	// A server that answers nobody is not asked for ever.
	asked := 0
	d = lostserver.New(t)
	for i := range 20 {
		d.Server.Box(fmt.Sprintf("u%02d", i), "INBOX").Add(lostserver.Text(i))
	}
	d.Backup()
	d.Open()
	d.Server.Fail = func(string, string, string) error {
		asked++
		return errors.New("away")
	}
	rows := update(t, d, gate.Options{Server: d.Server, Store: lostserver.URL, Beside: 1})
	if len(rows) != 20 || rows[19].Problem == nil || asked != 5 {
		t.Errorf("asked %d times: %q", asked, words(rows))
	}
}

// What the hook has not taken it is told again, with what it was told last.
func TestHookFails(t *testing.T) {
	t.Parallel()
	d := scene(t)
	l := listener{fail: errors.New("proxy is away")}
	wants(t, update(t, d, gate.Options{Hook: l.hook}), "ann down 0 !", "bob down 0 !")
	l.fail = nil
	wants(t, update(t, d, gate.Options{Hook: l.hook}), "ann down 0", "bob down 0")
	d.Fill()
	l.fail = errors.New("proxy is away")
	wants(t, update(t, d, gate.Options{Hook: l.hook, Users: []string{"bob"}}), "bob web 0 !")
	l.fail = nil
	wants(t, update(t, d, gate.Options{Hook: l.hook, Users: []string{"bob"}, Server: d.Server, Store: lostserver.URL}), "bob imap 0")
	if want := []string{"ann >down", "bob >down", "bob down>imap"}; !reflect.DeepEqual(l.heard, want) {
		t.Errorf("heard %q", l.heard)
	}
}

func TestShell(t *testing.T) {
	t.Setenv("SALVOR_IMAP_PASSWORD", "geheim")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "geheim")
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	c := gate.Change{Incident: "fire", User: "ann; touch x", Before: catalog.GateWeb, State: catalog.GateIMAP}
	must(t, gate.Shell("env >> "+out+"; cat >> "+out+"; echo $#-$0 >> "+out)(t.Context(), c))
	b, err := os.ReadFile(out)
	must(t, err)
	for _, want := range []string{"SALVOR_INCIDENT=fire\n", "SALVOR_USER=ann; touch x\n", "SALVOR_GATE=imap\n", "SALVOR_GATE_BEFORE=web\n", "0-/bin/sh\n", "PATH="} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "geheim") {
		t.Error("the hook was told a secret")
	}
	if gate.Shell("") != nil {
		t.Error("no command is a hook")
	}
	err = gate.Shell("echo the proxy is away >&2; echo more; exit 3")(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "exit status 3: the proxy is away") || strings.Contains(err.Error(), "more") {
		t.Error(err)
	}
	// One that leaves somebody running has ended all the same.
	began := time.Now()
	must(t, gate.Shell("sleep 20 & exit 0")(t.Context(), c))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { stop(context.Canceled) })
	if err := gate.Shell("sleep 20")(ctx, c); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
