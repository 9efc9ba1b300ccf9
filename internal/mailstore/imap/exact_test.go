package imap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/imaptest"
)

func removeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

const (
	inboxID = "abcdefgh0123456789inbox0"
	workID  = "abcdefgh01234567890work0"
)

var exactBoxes = []mailstore.Mailbox{
	{Name: "Work/Größe.x", UIDValidity: 222222, UIDNext: 3000, ObjectID: workID, Subscribed: true, SpecialUse: `\Archive`, HighestModSeq: 5000, Quota: "STORAGE 100000 MESSAGE 5000"},
	{Name: "INBOX", UIDValidity: 111111, UIDNext: 2000001, ObjectID: inboxID, HighestModSeq: 4000},
	{Name: "Empty", UIDValidity: 7, UIDNext: 77},
}

// seeds are messages in no order, odd ones and copies among them.
func seeds(user string) []mailstore.Delivery {
	var out []mailstore.Delivery
	for i, stored := range append(odd, "Subject: nul\n\n\x00\n", "\x00\x01", odd[3]) {
		for j, box := range exactBoxes[:2] {
			d := delivery(box.Name, stored, [][]string{{`\Seen`, "$Work"}, {`\Deleted`, `\Flagged`, "$work"}, nil}[(i+j)%3]...)
			d.UID = mailstore.UID(1000 - i*17)
			d.ModSeq = uint64(i+j) * 300
			d.InternalDate = when.Add(time.Duration(i-4) * 8 * 365 * 24 * time.Hour)
			out = append(out, d)
		}
	}
	return out
}

func statusOf(t *testing.T, c *imaptest.Client, box, item string) string {
	t.Helper()
	text := c.Do("STATUS %s (%s)", imaptest.Quote(box), item)[0].Text
	_, value, _ := strings.Cut(text, "("+item+" ")
	return strings.TrimSuffix(value, ")")
}

// checkExact holds a user's mailboxes against what was restored.
func checkExact(t *testing.T, c *imaptest.Client, separator string, all []mailstore.Delivery) {
	t.Helper()
	wireNames := map[string]string{"INBOX": "INBOX", "Work/Größe.x": "Work" + separator + "Gr&APYA3w-e.x", "Empty": "Empty"}
	for _, box := range exactBoxes {
		onWire := wireNames[box.Name]
		want := map[uint32]mailstore.Delivery{}
		for _, d := range all {
			if d.Mailbox == box.Name {
				want[uint32(d.UID)] = d
			}
		}
		f := c.Examine(onWire)
		if f.UIDValidity != box.UIDValidity || f.UIDNext != box.UIDNext || len(f.Messages) != len(want) {
			t.Errorf("%s: %d %d, %d messages; want %+v with %d", onWire, f.UIDValidity, f.UIDNext, len(f.Messages), box, len(want))
		}
		for _, m := range f.Messages {
			d := want[m.UID]
			wire := (&account{}).wireForm(&d)
			if m.Body != string(wire) || !m.InternalDate.Equal(d.InternalDate) || len(m.Flags) != len(d.Flags) {
				t.Errorf("%s UID %d: %+v, want %+v", onWire, m.UID, m, d)
			}
		}
		for _, r := range c.Do("UID FETCH 1:* (MODSEQ)") {
			var seq, uid uint32
			var modseq uint64
			if n, _ := fmt.Sscanf(strings.NewReplacer("(", "", ")", "").Replace(r.Text), "* %d FETCH UID %d MODSEQ %d", &seq, &uid, &modseq); n != 3 {
				continue
			}
			if d := want[uid]; d.ModSeq != 0 && d.ModSeq != modseq || d.ModSeq == 0 && modseq != box.HighestModSeq {
				t.Errorf("%s UID %d: MODSEQ %d, want %d", onWire, uid, modseq, d.ModSeq)
			}
		}
		if got := statusOf(t, c, onWire, "HIGHESTMODSEQ"); box.HighestModSeq > 0 && got != fmt.Sprint(box.HighestModSeq) {
			t.Errorf("%s: HIGHESTMODSEQ %s, want %d", onWire, got, box.HighestModSeq)
		}
		if got := statusOf(t, c, onWire, "MAILBOXID"); box.ObjectID != "" && got != "("+box.ObjectID+")" {
			t.Errorf("%s: MAILBOXID %s, want %s", onWire, got, box.ObjectID)
		}
	}
}

// restoreExact restores the seeds as the engine would.
func restoreExact(t *testing.T, d *Destination, user string, all []mailstore.Delivery) string {
	t.Helper()
	for _, b := range exactBoxes {
		if why, err := d.Renumbers(t.Context(), user, b); why != "" || err != nil {
			t.Fatalf("%s: %q, %v", b.Name, why, err)
		}
	}
	a := accountAt(t, d, user)
	for _, b := range exactBoxes {
		b.ACL = user + "\tlrswipkxtecdan\tanyone\tlr\t"
		mustMailbox(t, a, b)
	}
	for _, m := range all {
		if n := copies(t, a.(mailstore.Comparer), m); n != 0 {
			t.Fatalf("%d copies of %.30q", n, m.Stored)
		}
		if uid := mustAdd(t, a, m); uid != m.UID {
			t.Errorf("UID %d, want %d", uid, m.UID)
		}
	}
	return mustClose(t, a)
}

func TestExact(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	d := destinationAt(t, s.Port, cyrus.Admin)
	all := seeds("dave.x")
	if said := restoreExact(t, d, "dave.x", all); said != "" {
		t.Errorf("notes %s", said)
	}
	c := s.Login("dave.x")
	checkExact(t, c, "/", all)
	if got := c.Subscribed(); !reflect.DeepEqual(got, []string{"Work/Gr&APYA3w-e.x"}) {
		t.Errorf("subscribed %q", got)
	}
	if r := c.Do(`LIST "" "Work/*" RETURN (SPECIAL-USE)`); len(r) != 1 || !strings.Contains(r[0].Text, `\Archive`) {
		t.Errorf("%+v", r)
	}
	admin := s.LoginAdmin()
	if r := admin.Do(`GETQUOTA "user/dave.x/Work/Gr&APYA3w-e.x"`); !strings.Contains(r[0].Text, "100000") || !strings.Contains(r[0].Text, "5000") {
		t.Errorf("%+v", r)
	}
	if r := admin.Do("GETACL user/dave.x"); !strings.Contains(r[0].Text, "anyone lr") {
		t.Errorf("%+v", r)
	}
	// The server's own check agrees, also after it was started anew.
	if out := s.Run("reconstruct", "-n", "-G", "-r", "user/dave.x"); strings.Contains(out, "not found") || strings.Contains(out, "mismatch") {
		t.Errorf("reconstruct: %s", out)
	}
	s.Restart()
	d = destinationAt(t, s.Port, cyrus.Admin)
	checkExact(t, s.Login("dave.x"), "/", all)
	// What is there keeps its numbers; what comes again gets new ones.
	if why, err := d.Renumbers(t.Context(), "dave.x", exactBoxes[1]); !strings.Contains(why, "already") || err != nil {
		t.Errorf("%q, %v", why, err)
	}
	a := accountAt(t, d, "dave.x")
	for _, b := range exactBoxes {
		mustMailbox(t, a, b)
	}
	for _, m := range all {
		if n := copies(t, a.(mailstore.Comparer), m); n == 0 {
			t.Errorf("%.30q is not seen", m.Stored)
		}
	}
	m := delivery("INBOX", "Subject: one more\n\n")
	m.UID = 500
	if uid := mustAdd(t, a, m); uid != 2000001 {
		t.Errorf("UID %d", uid)
	}
	mustClose(t, a)
	if f := s.Login("dave.x").Examine("INBOX"); f.UIDValidity != 111111 || len(f.Messages) != len(all)/2+1 {
		t.Errorf("%d %d messages", f.UIDValidity, len(f.Messages))
	}
}

// Domains and dots in names lead to Cyrus' own names.
func TestExactDomains(t *testing.T) {
	t.Parallel()
	for _, o := range []cyrus.Options{{VirtualDomains: true}, {VirtualDomains: true, Layout: cyrus.Legacy}, {Config: "altnamespace: off"}} {
		s := cyrus.Start(t, o)
		user := "erin"
		if o.VirtualDomains {
			user = "erin.y@example.org"
		}
		all := seeds(user)
		if said := restoreExact(t, destinationAt(t, s.Port, cyrus.Admin), user, all); said != "" {
			t.Errorf("notes %s", said)
		}
		if o.Config == "" {
			checkExact(t, s.Login(user), "/", all)
		} else if got := s.Login(user).List(); !reflect.DeepEqual(got, []string{"INBOX", "INBOX/Empty", "INBOX/Work", "INBOX/Work/Gr&APYA3w-e.x"}) {
			t.Errorf("folders %q", got)
		}
	}
}

// Where identities, names or partitions stand in the way, the restore says so or
// goes around.
func TestExactObstacles(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	admin := s.LoginAdmin()
	d := destinationAt(t, s.Port, cyrus.Admin)
	old := accountAt(t, d, "frank")
	mustMailbox(t, old, exactBoxes[1])
	mustAdd(t, old, delivery("INBOX", "Subject: frank's\n\n"))
	work := mailstore.Mailbox{Name: "Work", UIDValidity: 222222, UIDNext: 3000, ObjectID: workID}
	mustMailbox(t, old, work)
	mustClose(t, old)
	// Work was deleted since, and Cyrus keeps it under its identity.
	c := s.Login("frank")
	c.Do(`DELETE Work`)
	a := accountAt(t, d, "frank")
	mustMailbox(t, a, work)
	m := delivery("Work", "Subject: x\n\n")
	m.UID = 9
	mustAdd(t, a, m)
	if said := mustClose(t, a); !strings.Contains(said, "MAILBOXID") {
		t.Errorf("notes %s", said)
	}
	if f := c.Examine("Work"); f.UIDValidity != 222222 || len(f.Messages) != 1 || f.Messages[0].UID != 9 {
		t.Errorf("%+v", f)
	}
	// Another user has the identity of the INBOX: nothing of theirs is touched.
	b := accountAt(t, d, "gina")
	mustMailbox(t, b, exactBoxes[1])
	if said := mustClose(t, b); !strings.Contains(said, "MAILBOXID") {
		t.Errorf("notes %s", said)
	}
	if f := c.Examine("INBOX"); len(f.Messages) != 1 || f.UIDValidity != 111111 {
		t.Errorf("%+v", f)
	}
	// An INBOX that was made for the restore, and never used, has a UIDVALIDITY
	// of its own.
	admin.Do("CREATE user/hal")
	if why, err := d.Renumbers(t.Context(), "hal", exactBoxes[1]); !strings.Contains(why, "newer UIDVALIDITY") || err != nil {
		t.Errorf("%q, %v", why, err)
	}
	if why, err := d.Renumbers(t.Context(), "hal", mailstore.Mailbox{Name: "INBOX", UIDValidity: 4e9}); why != "" || err != nil {
		t.Errorf("%q, %v", why, err)
	}
	h := accountAt(t, d, "hal")
	mustMailbox(t, h, mailstore.Mailbox{Name: "INBOX", UIDValidity: 4e9, UIDNext: 30, ObjectID: inboxID})
	m = delivery("INBOX", "Subject: hal's\n\n")
	m.UID = 20
	mustAdd(t, h, m)
	mustClose(t, h)
	if f := s.Login("hal").Examine("INBOX"); f.UIDValidity != 4e9 || f.UIDNext != 30 || len(f.Messages) != 1 || f.Messages[0].UID != 20 {
		t.Errorf("%+v", f)
	}
	if why, err := d.Renumbers(t.Context(), "ida", mailstore.Mailbox{Name: "INBOX"}); !strings.Contains(why, "no UIDVALIDITY") || err != nil {
		t.Errorf("%q, %v", why, err)
	}
}

// A server whose partition is called otherwise says so, and goes on serving.
func TestExactPartition(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{Partitions: []string{"fast"}, Config: "defaultpartition: fast"})
	d := destinationAt(t, s.Port, cyrus.Admin)
	s.AddUser("kim")
	a := accountAt(t, d, "kim")
	mustMailbox(t, a, exactBoxes[0])
	m := delivery(exactBoxes[0].Name, "Subject: x\n\n")
	m.UID = 9
	mustAdd(t, a, m)
	mustClose(t, a)
	if f := s.Login("kim").Examine("Work/Gr&APYA3w-e.x"); len(f.Messages) != 1 || f.Messages[0].UID != 9 {
		t.Errorf("%+v", f)
	}
	if dir := s.Directory("kim", "Work/Gr&APYA3w-e.x"); !strings.HasPrefix(dir, s.Spool("fast")) {
		t.Errorf("it is in %s", dir)
	}
}

// What the server has lost with the connection is counted, and a rerun
// completes it.
func TestExactInterrupted(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	all := seeds("lea")
	d := destinationAt(t, s.Port, cyrus.Admin)
	for _, how := range []string{"cancelled", "hung up while adding", "hung up before closing"} {
		ctx, cancel := context.WithCancel(t.Context())
		for _, b := range exactBoxes {
			if why, err := d.Renumbers(ctx, "lea", b); why != "" || err != nil {
				t.Fatalf("%s: %q, %v", how, why, err)
			}
		}
		a, err := d.Account(ctx, "lea")
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range exactBoxes {
			mustMailbox(t, a, b)
		}
		for i, m := range all {
			if i == 10 && how == "hung up while adding" {
				a.(*account).stage.flush(ctx)
				a.(*account).admin.link.conn.Close()
			}
			if _, err = a.Add(ctx, m); err != nil {
				break
			}
			if i == 10 {
				if err = a.(*account).stage.flush(ctx); err != nil {
					break
				}
			}
		}
		if (err != nil) != (how == "hung up while adding") {
			t.Errorf("%s: %v", how, err)
		}
		if how == "cancelled" {
			cancel()
		}
		if how == "hung up before closing" {
			a.(*account).admin.link.conn.Close()
		}
		err = a.Close(context.WithoutCancel(ctx))
		cancel()
		dropped := a.(mailstore.Dropper).Dropped()
		if err == nil || how == "cancelled" && !errors.Is(err, errInterrupted) || dropped["INBOX"] < 5 || dropped[exactBoxes[0].Name] < 5 {
			t.Errorf("%s: %v, dropped %v", how, err, dropped)
		}
	}
	if said := restoreExact(t, d, "lea", all); said != "" {
		t.Errorf("notes %s", said)
	}
	checkExact(t, s.Login("lea"), "/", all)
}

// Mail that comes into an INBOX while it is restored is not lost, and nothing of
// the backup is counted that is not there.
func TestExactLivingInbox(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	for user, first := range map[string]mailstore.UID{"pia": 1, "ria": 5} {
		d := destinationAt(t, s.Port, cyrus.Admin)
		restore := func() (mailstore.Account, error) {
			a := accountAt(t, d, user)
			mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: 9, UIDNext: 50})
			if len(s.Login(user).Examine("INBOX").Messages) == 0 {
				s.Login(user).Append("INBOX", "Subject: new\r\n\r\n", when)
			}
			for i := range mailstore.UID(5) {
				m := delivery("INBOX", letter(int(i)))
				m.UID = first + i
				if copies(t, a.(mailstore.Comparer), m) == 0 {
					mustAdd(t, a, m)
				}
			}
			return a, a.Close(context.WithoutCancel(t.Context()))
		}
		a, err := restore()
		dropped := a.(mailstore.Dropper).Dropped()["INBOX"]
		there := len(s.Login(user).Examine("INBOX").Messages) - 1
		if first == 1 && (err == nil || !strings.Contains(err.Error(), "mail has come") || dropped != 5 || there != 0) {
			t.Errorf("%s: %v, %d dropped, %d there", user, err, dropped, there)
		}
		if first > 1 && (err != nil || !strings.Contains(notes(a), "all messages are there") || dropped != 0 || there != 5) {
			t.Errorf("%s: %v, %s, %d dropped, %d there", user, err, notes(a), dropped, there)
		}
		if _, err := restore(); err != nil || len(s.Login(user).Examine("INBOX").Messages) != 6 {
			t.Errorf("%s, again: %v", user, err)
		}
	}
}

// Several users are restored at the same time.
func TestExactTogether(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	d := destinationAt(t, s.Port, cyrus.Admin)
	t.Run("users", func(t *testing.T) {
		for _, user := range []string{"u1", "u2", "u3", "u4"} {
			t.Run(user, func(t *testing.T) {
				t.Parallel()
				boxes := []mailstore.Mailbox{{Name: "A/" + user, UIDValidity: 5}, {Name: "INBOX", UIDValidity: 6}}
				for _, b := range boxes {
					if why, err := d.Renumbers(t.Context(), user, b); why != "" || err != nil {
						t.Fatalf("%q, %v", why, err)
					}
				}
				a := accountAt(t, d, user)
				for i := range 20 {
					mustMailbox(t, a, boxes[i%2])
					m := delivery(boxes[i%2].Name, letter(i))
					m.UID = mailstore.UID(100 - i)
					mustAdd(t, a, m)
				}
				mustClose(t, a)
				for _, b := range boxes {
					if f := s.Login(user).Examine(b.Name); f.UIDValidity != b.UIDValidity || len(f.Messages) != 10 || f.Messages[9].UID < 99 {
						t.Errorf("%s: %d, %d messages", b.Name, f.UIDValidity, len(f.Messages))
					}
				}
			})
		}
	})
}

// A large mailbox goes up in bounded batches.
func TestExactLarge(t *testing.T) {
	t.Parallel()
	s := cyrus.Start(t, cyrus.Options{})
	a := accountAt(t, destinationAt(t, s.Port, cyrus.Admin), "max")
	const n = 20000
	mustMailbox(t, a, mailstore.Mailbox{Name: "INBOX", UIDValidity: 5, UIDNext: 3*n + 1})
	start := time.Now()
	for i := range n {
		m := delivery("INBOX", letter(i), `\Seen`)
		m.UID = mailstore.UID(3 * ((i*7919)%n + 1))
		mustAdd(t, a, m)
		if st := &a.(*account).stage; cap(st.buf) > 4*stageBytes {
			t.Fatalf("a buffer of %d bytes", cap(st.buf))
		}
	}
	mustClose(t, a)
	t.Logf("%.0f messages/s", n/time.Since(start).Seconds())
	c := s.Login("max")
	if got := statusOf(t, c, "INBOX", "MESSAGES"); got != fmt.Sprint(n) {
		t.Errorf("%s messages", got)
	}
	if got := statusOf(t, c, "INBOX", "UIDNEXT"); got != fmt.Sprint(3*n+1) {
		t.Errorf("UIDNEXT %s", got)
	}
}
