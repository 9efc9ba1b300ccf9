package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
)

// A desk lists wishes and notes what became of them.
type desk struct {
	wishes  []Wish
	settled map[int64]Settlement
	closed  func() bool // nothing may be told as added before
	t       *testing.T
	fail    error
}

func (d *desk) use(o *Options) {
	d.settled = map[int64]Settlement{}
	o.Choose = func(ctx context.Context, user string, yield func(*Wish) error) error {
		for i := range d.wishes {
			if err := yield(&d.wishes[i]); err != nil {
				return err
			}
		}
		return nil
	}
	o.Settled = func(ctx context.Context, user string, s Settlement) error {
		if _, again := d.settled[s.Tag]; again {
			d.t.Errorf("wish %d was settled twice", s.Tag)
		}
		if s.Outcome == Added && !d.closed() {
			d.t.Errorf("wish %d counts as added before the account was closed", s.Tag)
		}
		d.settled[s.Tag] = s
		return d.fail
	}
}

func (d *desk) outcomes() map[int64]Outcome {
	all := map[int64]Outcome{}
	for tag, s := range d.settled {
		all[tag] = s.Outcome
	}
	return all
}

func (m *memory) isClosed(user string) func() bool {
	return func() bool { return m.users[user] != nil && m.users[user].closed > 0 }
}

func wireID(stored string) chunk.ID {
	id, _, _ := chunk.WireSums([]byte(stored))
	return id
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// wishLab holds one message of each sort that a wish can mean.
func wishLab(t *testing.T) (l *lab, own, other, orphan string) {
	l = newLab(t)
	own, other, orphan = text("own", "1"), crlf(text("other", "2")), text("orphan", "3")
	l.backup(mail{user: "amy", folder: "INBOX", uid: 5, stored: own, flags: []string{`\Seen`}},
		mail{user: "zoe", folder: "Work", uid: 9, stored: other}, mail{user: "amy", folder: "INBOX", uid: 6, stored: orphan})
	l.change(func(tx *catalog.Tx) { check(t, tx.Delete(catalog.Record{ID: 3})) })
	return l, own, other, orphan
}

func TestWishes(t *testing.T) {
	l, own, other, orphan := wishLab(t)
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	to := newMemory()
	to.adding = func(d Delivery) error {
		if d.Mailbox == "Full" {
			return &Refusal{Why: "over quota", Full: true}
		}
		return nil
	}
	d := &desk{t: t, closed: to.isClosed("amy"), wishes: []Wish{
		{Tag: 70, Content: wireID(own), Record: 1, Folder: "INBOX", UID: 5, UIDValidity: 7, Flags: []string{`\Flagged`}},
		{Tag: 71, Content: wireID(own), Folder: "INBOX"}, // a second copy of the same content
		{Tag: 60, Content: wireID(other), Folder: "Later", UID: 3, UIDValidity: 99, InternalDate: when, MaybeDeleted: true},
		{Tag: 50, Content: wireID(orphan), Record: 3, Folder: "INBOX", UID: 6, UIDValidity: 8},
		{Tag: 40, Content: chunk.Sum([]byte("nobody has it")), Folder: "INBOX"},
		{Tag: 30, Content: wireID(own), Folder: "Full"},
	}}
	o := l.options(to)
	d.use(&o)
	r, err := User(t.Context(), "amy", o)
	check(t, err)
	want := map[int64]Outcome{70: Added, 71: Added, 60: Added, 50: Added, 40: Failed, 30: RefusedThere}
	if got := d.outcomes(); !maps.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if r.Messages != 4 || r.Failed != 2 || r.Refused != 1 || r.MaybeDeleted != 1 || len(r.Problems) != 2 {
		t.Errorf("report %+v", r)
	}
	var lost *LostError
	if !errors.As(d.settled[40].Err, &lost) {
		t.Errorf("a content that is nowhere: %v", d.settled[40].Err)
	}
	if d.settled[60].UID != 3 {
		t.Errorf("UID %d", d.settled[60].UID)
	}
	// An expired record leaves the wire form; another user's record gives its own.
	sameTexts(t, to.texts("amy"), map[string][]string{"INBOX": sortedTexts(own, own, crlf(orphan)), "Later": {other}})
	first := to.users["amy"].mails["INBOX"][0]
	if first.UID != 5 || !slices.Equal(first.Flags, []string{`\Flagged`}) || first.Key != "5.host" || first.InternalDate.IsZero() {
		t.Errorf("the record's message came as %+v", first)
	}
	if third := to.users["amy"].mails["INBOX"][2]; third.UID != 0 {
		t.Errorf("UID %d of another UIDVALIDITY was kept", third.UID)
	}
	later := to.users["amy"].mails["Later"][0]
	if box := to.users["amy"].boxes["Later"]; box.UIDValidity != 99 || later.UID != 3 || !later.InternalDate.Equal(when) {
		t.Errorf("a folder that the catalog does not know: %+v, %+v", box, later)
	}

	// Once more: what is there is said to be there, and nothing comes twice.
	d.use(&o)
	_, err = User(t.Context(), "amy", o)
	check(t, err)
	want = map[int64]Outcome{70: Present, 71: Present, 60: Present, 50: Present, 40: Failed, 30: RefusedThere}
	if got := d.outcomes(); !maps.Equal(got, want) {
		t.Errorf("outcomes of the second time %v, want %v", got, want)
	}
	if n := len(to.users["amy"].mails["INBOX"]); n != 3 {
		t.Errorf("%d messages in INBOX", n)
	}
}

func sortedTexts(all ...string) []string {
	slices.Sort(all)
	return all
}

// A user may be known to the surviving index alone.
func TestWishesOfNobody(t *testing.T) {
	l, own, _, _ := wishLab(t)
	to := newMemory()
	d := &desk{t: t, closed: to.isClosed("new"), wishes: []Wish{{Tag: 1, Content: wireID(own), Folder: "INBOX", UID: 4, UIDValidity: 12}}}
	o := l.options(to)
	d.use(&o)
	_, err := User(t.Context(), "new", o)
	check(t, err)
	sameTexts(t, to.texts("new"), map[string][]string{"INBOX": {own}})
	if box := to.users["new"].boxes["INBOX"]; box.UIDValidity != 12 {
		t.Errorf("UIDVALIDITY %d", box.UIDValidity)
	}
}

// dropping is a destination whose accounts tell what went down with a batch.
type dropping struct {
	*memory
	lost map[string]int
}

type droppingAccount struct {
	Account
	lost map[string]int
}

func (d dropping) Account(ctx context.Context, user string) (Account, error) {
	a, err := d.memory.Account(ctx, user)
	return droppingAccount{a, d.lost}, err
}

func (a droppingAccount) Dropped() map[string]int { return a.lost }

// What an account could not make last is failed, not added.
func TestWishesThatDoNotLast(t *testing.T) {
	var mails []mail
	var wishes []Wish
	for i := range 10 {
		m := mail{user: "amy", folder: []string{"INBOX", "Work"}[i%2], uid: uint32(i + 1), stored: text("amy", fmt.Sprint(i))}
		mails = append(mails, m)
		wishes = append(wishes, Wish{Tag: int64(1000 - 100*i), Content: wireID(m.stored), Folder: m.folder, UID: UID(m.uid), UIDValidity: 7})
	}
	full := errors.New("no space left")
	for _, c := range []struct {
		name    string
		dropped map[string]int // nil: the account does not tell
		lost    []int64
	}{
		{"not told", nil, []int64{1000, 900, 800, 700, 600, 500, 400, 300, 200, 100}},
		{"a folder's last two", map[string]int{"Work": 2}, []int64{300, 100}},
		{"nothing", map[string]int{}, nil},
		{"more than there was", map[string]int{"INBOX": 50}, []int64{1000, 800, 600, 400, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.backup(mails...)
			to := newMemory()
			to.closing = func() error { return full }
			d := &desk{t: t, closed: to.isClosed("amy"), wishes: wishes}
			o := l.options(to)
			if c.dropped != nil {
				o.Destination = dropping{to, c.dropped}
			}
			d.use(&o)
			if _, err := User(t.Context(), "amy", o); !errors.Is(err, full) {
				t.Errorf("error %v", err)
			}
			var lost []int64
			for tag, s := range d.settled {
				if s.Outcome == Failed && errors.Is(s.Err, full) {
					lost = append(lost, tag)
				} else if s.Outcome != Added || s.UID != UID((1000-tag)/100+1) {
					t.Errorf("wish %d: %+v", tag, s)
				}
			}
			slices.SortFunc(lost, func(a, b int64) int { return int(b - a) })
			if len(d.settled) != len(wishes) || !slices.Equal(lost, c.lost) {
				t.Errorf("%d settled, lost %v, want %v", len(d.settled), lost, c.lost)
			}
		})
	}
}

// A caller who cannot write down what became of a wish is not told more.
func TestSettledFails(t *testing.T) {
	l, own, _, _ := wishLab(t)
	to := newMemory()
	d := &desk{t: t, closed: to.isClosed("amy"), fail: errors.New("ledger is full"), wishes: []Wish{
		{Tag: 1, Content: chunk.Sum([]byte("nowhere")), Folder: "INBOX"}, {Tag: 2, Content: wireID(own), Folder: "INBOX"}}}
	o := l.options(to)
	o.Workers = 1
	d.use(&o)
	if _, err := User(t.Context(), "amy", o); !errors.Is(err, d.fail) {
		t.Errorf("error %v", err)
	}
	if to.users["amy"].closed != 1 {
		t.Error("the account was left open")
	}
}

func TestReceipts(t *testing.T) {
	want := []addition{{1, false, 1, 1}, {1 << 40, true, -5, 1 << 31}, {0, false, 1 << 60, 0}, {7, true, 1 << 60, 1<<32 - 1}}
	var r receipts
	for _, a := range want {
		r.add(a)
	}
	var got []addition
	check(t, r.each(func(a addition) error {
		got = append(got, a)
		return nil
	}))
	if !slices.Equal(got, want) || r.n != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var many receipts
	for i := range 1000 {
		many.add(addition{bytes: 9000, tag: int64(i + 1), uid: UID(i + 1)})
	}
	if len(many.packed) > 8*1000 {
		t.Errorf("%d bytes for 1000 receipts", len(many.packed))
	}
}
