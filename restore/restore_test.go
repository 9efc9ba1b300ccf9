package restore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
)

// text makes a message; the lines end in LF.
func text(subject, body string) string {
	return "From: a@example.org\nSubject: " + subject + "\n\n" + body + "\n"
}

// attached makes a message whose attachment of n bytes is the same for equal
// seeds.
func attached(subject string, seed int64, n int) string {
	data := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(data)
	b64 := base64.StdEncoding.EncodeToString(data)
	var lines strings.Builder
	for len(b64) > 76 {
		lines.WriteString(b64[:76] + "\n")
		b64 = b64[76:]
	}
	lines.WriteString(b64 + "\n")
	return "Subject: " + subject + "\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" +
		subject + "\n--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" +
		lines.String() + "--b--\n"
}

// inboxOf gives mails of one folder, numbered from uid on.
func mailsIn(user, folder string, uid uint32, texts ...string) (mails []mail) {
	for i, s := range texts {
		mails = append(mails, mail{user: user, folder: folder, uid: uid + uint32(i), stored: s})
	}
	return mails
}

func restoreUser(t *testing.T, user string, o Options) *Report {
	t.Helper()
	r, err := User(t.Context(), user, o)
	check(t, err)
	return r
}

func TestWholeUser(t *testing.T) {
	l := newLab(t)
	crlf := strings.ReplaceAll(text("windows", "x\ny"), "\n", "\r\n")
	mixed := "Subject: mixed\r\n\none\r\ntwo\nthree\r\r\nno end"
	long := attached("long", 1, 3<<20)
	l.backup(append(mailsIn("u", "INBOX", 1, text("a", "b"), crlf, mixed, ""),
		mailsIn("u", "Work/Ä & co", 9, long, attached("again", 1, 3<<20))...)...)
	l.backup(mailsIn("v", "INBOX", 1, text("other", "user"))...)

	to := newMemory()
	r := restoreUser(t, "u", l.options(to))
	sameTexts(t, to.texts("u"), map[string][]string{
		"INBOX":       sorted(text("a", "b"), crlf, mixed, ""),
		"Work/Ä & co": sorted(long, attached("again", 1, 3<<20)),
	})
	if to.users["v"] != nil {
		t.Error("another user was touched")
	}
	want := &Report{User: "u", Messages: 6, To: "memory", Folders: map[string]int{"INBOX": 4, "Work/Ä & co": 2}, Seconds: r.Seconds}
	want.Bytes = int64(2*len(long) + len("again") - len("long") + len("again") - len("long"))
	for _, s := range []string{text("a", "b"), crlf, mixed} {
		want.Bytes += int64(len(s))
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
	if to.users["u"].closed != 1 {
		t.Errorf("the account was closed %d times", to.users["u"].closed)
	}

	again := restoreUser(t, "u", l.options(to))
	if again.Messages != 0 || again.Skipped != 6 || again.Failed != 0 || len(again.Folders) != 0 {
		t.Errorf("restored again: %+v", again)
	}
}

func sorted(s ...string) []string {
	slices.Sort(s)
	return s
}

// What a destination is told about messages and mailboxes.
func TestProperties(t *testing.T) {
	l := newLab(t)
	l.change(func(tx *catalog.Tx) {
		l.users["u"] = true
		check(t, tx.Put(catalog.User{Name: "u", FirstRun: 1, FirstSeen: l.time()}))
		l.boxes["u\x00Sent"] = l.putMailbox(tx, catalog.Mailbox{User: "u", Name: "Sent", SpecialUse: `\Sent`, UIDValidity: 42, Subscribed: true})
		l.putMailbox(tx, catalog.Mailbox{User: "u", Name: "Empty", UIDValidity: 43})
		l.putMailbox(tx, catalog.Mailbox{User: "u", Name: "Junk", UIDValidity: 44, Excluded: "junk"})
		gone := l.time()
		l.putMailbox(tx, catalog.Mailbox{User: "u", Name: "Gone", UIDValidity: 45, GoneRun: 1, GoneAt: &gone})
	})
	l.backup(mail{user: "u", folder: "Sent", uid: 17, stored: text("s", "t"), flags: []string{`$Work`, `\Seen`}})

	to := newMemory()
	restoreUser(t, "u", l.options(to))
	got := to.users["u"]
	wantBoxes := map[string]Mailbox{
		"Sent":  {User: "u", Name: "Sent", UIDValidity: 42, SpecialUse: `\Sent`, Subscribed: true},
		"Empty": {User: "u", Name: "Empty", UIDValidity: 43},
	}
	if !reflect.DeepEqual(got.boxes, wantBoxes) {
		t.Errorf("mailboxes: got %+v\nwant %+v", got.boxes, wantBoxes)
	}
	d := got.mails["Sent"][0]
	id, sum, _ := chunk.WireSums([]byte(text("s", "t")))
	want := Delivery{Mailbox: "Sent", Stored: []byte(text("s", "t")), LF: []byte(text("s", "t")), Content: id, SHA1: sum, UID: 17,
		Key: "17.host", Flags: []string{`$Work`, `\Seen`}, InternalDate: begun.AddDate(0, 0, -17)}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("delivery: got %+v\nwant %+v", d, want)
	}

	t.Run("into", func(t *testing.T) {
		to := newMemory()
		o := l.options(to)
		o.Into = "RESTORED/today"
		r := restoreUser(t, "u", o)
		if r.Folders["RESTORED/today/Sent"] != 1 || len(r.Folders) != 1 {
			t.Errorf("report says %v", r.Folders)
		}
		want := map[string]Mailbox{
			"RESTORED/today/Sent":  {User: "u", Name: "RESTORED/today/Sent", UIDValidity: 42, Subscribed: true},
			"RESTORED/today/Empty": {User: "u", Name: "RESTORED/today/Empty", UIDValidity: 43, Subscribed: true},
		}
		if got := to.users["u"].boxes; !reflect.DeepEqual(got, want) {
			t.Errorf("mailboxes: got %+v\nwant %+v", got, want)
		}
	})
	t.Run("one of two folders of a name", func(t *testing.T) {
		l.change(func(tx *catalog.Tx) {
			m, _, err := tx.Mailbox(l.boxes["u\x00Sent"])
			check(t, err)
			gone := l.time()
			m.GoneRun, m.GoneAt = l.number, &gone
			check(t, tx.Put(m))
			l.boxes["u\x00Sent"] = l.putMailbox(tx, catalog.Mailbox{User: "u", Name: "Sent", UIDValidity: 99})
		})
		l.backup(mail{user: "u", folder: "Sent", uid: 17, stored: text("new", "box")})
		to := newMemory()
		restoreUser(t, "u", l.options(to))
		if m := to.users["u"].boxes["Sent"]; m.UIDValidity != 99 {
			t.Errorf("UIDVALIDITY %d, want that of the folder that is there", m.UIDValidity)
		}
		for _, d := range to.users["u"].mails["Sent"] {
			if isNew := strings.Contains(string(d.Stored), "new"); isNew != (d.UID == 17) {
				t.Errorf("%q has UID %d", d.Stored, d.UID)
			}
		}
	})
}

func TestSelection(t *testing.T) {
	l := newLab(t)
	l.backup(append(append(append(append(
		mailsIn("u", "INBOX", 1, text("1", ""), text("2", ""), text("3", "")),
		mailsIn("u", "Work", 1, text("w", ""))...),
		mailsIn("u", "Work/2024", 5, text("w24", ""))...),
		mailsIn("u", "Workshop", 1, text("shop", ""))...),
		mailsIn("u", "../../etc", 1, text("hostile", ""))...)...)
	tests := []struct {
		name string
		q    catalog.Query
		into string
		want map[string]int
		err  error
	}{
		{"folder", catalog.Query{Folders: []string{"Work"}}, "", map[string]int{"Work": 1}, nil},
		{"folder and children", catalog.Query{Folders: []string{"Work/*"}}, "", map[string]int{"Work": 1, "Work/2024": 1}, nil},
		{"two folders", catalog.Query{Folders: []string{"Work", "Workshop"}}, "", map[string]int{"Work": 1, "Workshop": 1}, nil},
		{"inbox in small letters", catalog.Query{Folders: []string{"inbox"}}, "R", map[string]int{"R/INBOX": 3}, nil},
		{"uids", catalog.Query{UIDs: []uint32{3, 1}, Folders: []string{"INBOX"}}, "", map[string]int{"INBOX": 2}, nil},
		{"uid of any folder", catalog.Query{UIDs: []uint32{5}}, "", map[string]int{"Work/2024": 1}, nil},
		{"hostile name as it is", catalog.Query{Folders: []string{"../../etc"}}, "", map[string]int{"../../etc": 1}, nil},
		{"no such folder", catalog.Query{Folders: []string{"Work", "Nowhere"}}, "", map[string]int{}, ErrNoFolder},
		{"no such tree", catalog.Query{Folders: []string{"Nowhere/*"}}, "", map[string]int{}, ErrNoFolder},
		{"into nothing", catalog.Query{}, "a//b", map[string]int{}, ErrInto},
		{"into a newline", catalog.Query{}, "a\nb", map[string]int{}, ErrInto},
		{"into a root", catalog.Query{}, "/a", map[string]int{}, ErrInto},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := l.options(newMemory())
			o.Query, o.Into = tt.q, tt.into
			r, err := User(t.Context(), "u", o)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if !reflect.DeepEqual(r.Folders, tt.want) {
				t.Errorf("got %v, want %v", r.Folders, tt.want)
			}
		})
	}
	t.Run("a UID that nobody has", func(t *testing.T) {
		o := l.options(newMemory())
		o.Query = catalog.Query{UIDs: []uint32{2, 77}, Folders: []string{"INBOX"}}
		r := restoreUser(t, "u", o)
		want := []string{`user "u": folder "INBOX": uid 77: no such message in the backup`}
		if r.Messages != 1 || r.Failed != 1 || !slices.Equal(r.Problems, want) {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("no such user", func(t *testing.T) {
		to := newMemory()
		if r, err := User(t.Context(), "w", l.options(to)); !errors.Is(err, ErrNoUser) || r == nil {
			t.Errorf("got %v, %v", r, err)
		}
		if len(to.users) != 0 {
			t.Error("an account was made for nobody")
		}
	})
}

// What vanished: deleted, moved, held by the brake; and as it was before.
func TestDeleted(t *testing.T) {
	l := newLab(t)
	l.backup(mailsIn("u", "INBOX", 1, text("stays", ""), text("deleted early", ""), text("deleted late", ""), text("moved", ""), text("held", ""))...)
	before := l.time().Add(time.Minute)
	gone := func(tx *catalog.Tx, uid uint32, change func(*catalog.Record)) {
		check(t, tx.Put(catalog.Run{Number: l.number, Kind: "backup", Started: l.time(), Finished: l.time()}))
		err := l.catalog.Records(t.Context(), l.boxes["u\x00INBOX"], func(r *catalog.Record) error {
			if r.UID != uid {
				return nil
			}
			at := l.time()
			r.GoneRun, r.GoneAt = l.number, &at
			if change != nil {
				change(r)
			}
			return tx.Put(*r)
		})
		check(t, err)
	}
	l.change(func(tx *catalog.Tx) { gone(tx, 2, nil) })
	l.change(func(tx *catalog.Tx) {
		gone(tx, 3, nil)
		gone(tx, 4, func(r *catalog.Record) { r.MovedTo, r.GoneAt = 1, nil })
		id, err := tx.NextID(catalog.HoldIDs)
		check(t, err)
		check(t, tx.Put(catalog.Hold{ID: id, User: "u", Run: l.number, Reason: "too much"}))
		gone(tx, 5, func(r *catalog.Record) { r.Hold, r.GoneAt = id, nil })
	})
	late := l.time()
	tests := []struct {
		name  string
		q     catalog.Query
		want  []string
		maybe int
	}{
		{"as it is", catalog.Query{}, []string{"held", "stays"}, 1},
		{"deleted", catalog.Query{Deleted: true}, []string{"deleted early", "deleted late", "held"}, 1},
		{"deleted since", catalog.Query{DeletedSince: late}, []string{"deleted late", "held"}, 1},
		{"as of before", catalog.Query{AsOf: before}, []string{"deleted early", "deleted late", "held", "moved", "stays"}, 1},
		{"as of after", catalog.Query{AsOf: late}, []string{"stays"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := newMemory()
			o := l.options(to)
			o.Query = tt.q
			r := restoreUser(t, "u", o)
			var want []string
			for _, s := range tt.want {
				want = append(want, text(s, ""))
			}
			sameTexts(t, to.texts("u"), map[string][]string{"INBOX": sorted(want...)})
			if r.MaybeDeleted != tt.maybe {
				t.Errorf("%d maybe deleted, want %d", r.MaybeDeleted, tt.maybe)
			}
		})
	}
	t.Run("into where the rest still is", func(t *testing.T) {
		to := newMemory()
		restoreUser(t, "u", l.options(to))
		o := l.options(to)
		o.Query = catalog.Query{DeletedSince: begun}
		if r := restoreUser(t, "u", o); r.Messages != 2 || r.Skipped != 1 {
			t.Errorf("got %+v", r)
		}
	})
}

// A dry run says the same as the restore after it, and touches nothing.
func TestDryRun(t *testing.T) {
	l := newLab(t)
	l.backup(append(mailsIn("u", "INBOX", 1, text("a", ""), text("b", ""), text("b", "")), mailsIn("u", "Work", 1, text("w", ""))...)...)
	to := &lookingMemory{memory: newMemory()}
	acc, err := to.Account(t.Context(), "u")
	check(t, err)
	check(t, acc.Mailbox(t.Context(), Mailbox{Name: "INBOX"}))
	to.users["u"].mails["INBOX"] = []Delivery{{Stored: []byte(text("b", ""))}}

	o := l.options(to)
	o.Chunks = nil // nothing is read from the vault either
	o.DryRun = true
	to.opening = func(Mailbox) error { return errReadOnly }
	dry := restoreUser(t, "u", o)
	if len(to.users["u"].boxes) != 1 || to.accounts != 1 {
		t.Errorf("a dry run made something: %v", to.users["u"].boxes)
	}
	to.opening = nil
	wet := restoreUser(t, "u", l.options(to))
	dry.Seconds, wet.Seconds, wet.DryRun = 0, 0, true
	if !reflect.DeepEqual(dry, wet) {
		t.Errorf("dry %+v\nwet %+v", dry, wet)
	}
}

// A lookingMemory is a memory that can be looked at.
type lookingMemory struct {
	*memory
	accounts int
}

func (m *lookingMemory) Account(ctx context.Context, user string) (Account, error) {
	m.accounts++
	return m.memory.Account(ctx, user)
}

func (m *lookingMemory) Look(ctx context.Context, user, mailbox string, yield func(chunk.ID) error) error {
	if a := m.users[user]; a != nil {
		return a.Present(ctx, mailbox, yield)
	}
	return nil
}

// A restore that is interrupted after any number of messages is completed by
// the next one, and nothing is there twice.
func TestInterrupted(t *testing.T) {
	l := newLab(t)
	var texts []string
	for i := range 100 {
		texts = append(texts, text(fmt.Sprint("m", i%70), ""))
	}
	l.backup(mailsIn("u", "INBOX", 1, texts...)...)
	for _, n := range []int{0, 1, 50, 99, 100} {
		to := newMemory()
		ctx, stop := context.WithCancel(t.Context())
		added := 0
		to.adding = func(Delivery) error {
			if added++; added == n {
				stop()
			}
			return nil
		}
		if n == 0 {
			stop()
		}
		r, err := User(ctx, "u", l.options(to))
		stop()
		if n < 99 && !errors.Is(err, context.Canceled) {
			t.Errorf("after %d: got error %v", n, err)
		}
		if r.Messages != min(n, 100) {
			t.Errorf("after %d: the report says %d", n, r.Messages)
		}
		if n > 0 && to.users["u"].closed != 1 {
			t.Errorf("after %d: not closed", n)
		}
		to.adding = nil
		r = restoreUser(t, "u", l.options(to))
		if r.Messages+r.Skipped != 100 || r.Skipped < n {
			t.Errorf("completed after %d: %+v", n, r)
		}
		sameTexts(t, to.texts("u"), map[string][]string{"INBOX": sorted(slices.Clone(texts)...)})
	}
}

// For any records and anything that is there already, what is there in the end
// is, for each folder and content, the greater of the two counts.
func TestCounting(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	l := newLab(t)
	folders := []string{"INBOX", "A", "A/B"}
	for round := range 20 {
		user := fmt.Sprint("u", round)
		to := newMemory()
		acc, err := to.Account(t.Context(), user)
		check(t, err)
		var mails []mail
		want := map[string][]string{}
		for _, f := range folders {
			for c := range 4 {
				s := text(fmt.Sprint("content ", c), "")
				wanted, present := rnd.Intn(4), rnd.Intn(4)
				for range wanted {
					mails = append(mails, mail{user: user, folder: f, uid: uint32(len(mails) + 1), stored: s})
				}
				if present > 0 {
					check(t, acc.Mailbox(t.Context(), Mailbox{Name: f}))
				}
				for range present {
					// As another kind of store has it.
					d := Delivery{Stored: []byte(strings.ReplaceAll(s, "\n", "\r\n"))}
					to.users[user].mails[f] = append(to.users[user].mails[f], d)
				}
				for range max(wanted, present) {
					want[f] = append(want[f], s)
				}
			}
		}
		if len(mails) == 0 {
			continue
		}
		rnd.Shuffle(len(mails), func(i, k int) { mails[i], mails[k] = mails[k], mails[i] })
		l.backup(mails...)
		for range 2 {
			r := restoreUser(t, user, l.options(to))
			if r.Messages+r.Skipped != len(mails) {
				t.Errorf("%s: %+v, want %d in all", user, r, len(mails))
			}
			got := to.texts(user)
			for f := range got {
				for i := range got[f] {
					got[f][i] = strings.ReplaceAll(got[f][i], "\r\n", "\n")
				}
				slices.Sort(got[f])
				slices.Sort(want[f])
			}
			sameTexts(t, got, want)
		}
	}
}
