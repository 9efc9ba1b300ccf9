package fill_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/incident/fill"
	"salvor/internal/mailstore"
	"salvor/internal/testenv/world"
	"salvor/internal/vault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func letter(n int) string { return fmt.Sprintf("Subject: letter %d\r\n\r\nText %d.\r\n", n, n) }

func contentOf(wire string) chunk.ID { id, _, _ := chunk.WireSums([]byte(wire)); return id }

// A disk is a store of which the index survived.
type disk struct {
	mu sync.Mutex
	// index has what is promised, by user and UID; files what there is.
	index map[string]map[uint32]string
	files map[string]string // by "user UID"
	hash  bool              // the index tells SHA-1
	// Failures, by "user UID".
	surveyErr, putErr, nameErr map[string]error
	syncErr                    error
	open, opened               int
	reads                      int
}

// A filler is one who works on it.
type filler struct {
	d     *disk
	under map[string]string
	notes []mailstore.Note
}

func (d *disk) filler() (mailstore.Filler, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	d.opened++
	return &filler{d: d, under: map[string]string{}}, nil
}

func at(user string, uid mailstore.UID) string { return fmt.Sprint(user, " ", uid) }

func (f *filler) Survey(_ context.Context, u mailstore.User, yield func(mailstore.Mailbox, mailstore.Message, mailstore.FileState) error) error {
	box := mailstore.Mailbox{User: u.Name, Name: "INBOX", UIDValidity: 7}
	for _, uid := range slices.Sorted(maps.Keys(f.d.index[u.Name])) {
		text := f.d.index[u.Name][uid]
		m := mailstore.Message{UID: mailstore.UID(uid), Key: fmt.Sprint(uid), Size: int64(len(text)), Promised: int64(len(text)), InternalDate: time.Unix(int64(uid), 0)}
		if f.d.hash {
			m.SHA1 = sha1.Sum([]byte(text))
		}
		f.d.mu.Lock()
		there, ok := f.d.files[at(u.Name, m.UID)]
		f.d.mu.Unlock()
		state := mailstore.FileMissing
		switch {
		case ok && len(there) == len(text):
			state = mailstore.FileWhole
		case ok:
			state = mailstore.FileOther
		}
		if err := yield(box, m, state); err != nil {
			return err
		}
	}
	return f.d.surveyErr[u.Name]
}

func (f *filler) Open(_ context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.reads++
	text, ok := f.d.files[at(box.User, m.UID)]
	if !ok {
		return nil, errors.New("no such file")
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (f *filler) Put(_ context.Context, box mailstore.Mailbox, m mailstore.Message, stored []byte) error {
	key := at(box.User, m.UID)
	if err := f.d.putErr[key]; err != nil {
		return err
	}
	if m.InternalDate.Year() != 2006 {
		return fmt.Errorf("the ledger's date is not %v", m.InternalDate)
	}
	f.d.mu.Lock()
	_, wrong := f.d.files[key]
	f.d.mu.Unlock()
	if wrong {
		f.notes = append(f.notes, mailstore.Note{User: box.User, Mailbox: box.Name, What: "put aside"})
	}
	f.under[key] = string(stored)
	return nil
}

func (f *filler) Sync(context.Context) (err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.syncErr != nil {
		return f.d.syncErr
	}
	var problems []*mailstore.Problem
	for key, err := range f.d.nameErr {
		if _, ok := f.under[key]; ok {
			delete(f.under, key)
			problems = append(problems, &mailstore.Problem{Path: key, Err: err})
		}
	}
	if len(problems) > 0 {
		defer func() { err = &mailstore.Incomplete{Problems: problems} }()
	}
	maps.Copy(f.d.files, f.under)
	clear(f.under)
	return nil
}

func (f *filler) Notes() []mailstore.Note { return f.notes }

func (f *filler) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.open--
	return nil
}

// A lab is an incident and a disk.
type lab struct {
	*world.World
	disk  *disk
	vault map[chunk.ID]string
}

// newLab makes one of users' claims, which have IDs from 1 on and UIDs that are
// those. change makes them others.
func newLab(t testing.TB, users map[string]int, change func(*catalog.Claim)) *lab {
	t.Helper()
	w := world.New(t)
	l := &lab{World: w, vault: map[chunk.ID]string{}}
	l.disk = &disk{index: map[string]map[uint32]string{}, files: map[string]string{}, hash: true, surveyErr: map[string]error{}, putErr: map[string]error{}}
	var rows []catalog.Row
	for _, user := range slices.Sorted(maps.Keys(users)) {
		l.disk.index[user] = map[uint32]string{}
		for range users[user] {
			id := len(rows) + 1
			text := letter(id)
			l.disk.index[user][uint32(id)], l.vault[contentOf(text)] = text, text
			c := catalog.Claim{Incident: "fire", ID: int64(id), User: user, Folder: "INBOX", UIDValidity: 7, UID: uint32(id), State: catalog.ClaimHeld,
				Content: contentOf(text), Size: int64(len(text)), InternalDate: time.Date(2006, 10, 26, 0, 0, 0, 0, time.UTC)}
			if change != nil {
				change(&c)
			}
			rows = append(rows, c)
		}
	}
	commit, err := w.H.Begin(t.Context(), vault.CommitDecision)
	must(t, err)
	must(t, commit.Tx.Put(catalog.Incident{Name: "fire", Source: "cyrus:/x", OpenedAt: w.Now, Claims: int64(len(rows))}))
	must(t, commit.Tx.Put(rows...))
	_, err = commit.Commit(t.Context(), w.Now)
	must(t, err)
	return l
}

func (l *lab) run(change func(*fill.Options)) (r *fill.Report, err error) {
	l.T.Helper()
	o := fill.Options{Store: "cyrus:/etc/imapd.conf", Open: l.disk.filler, Read: func(_ context.Context, c *catalog.Claim) ([]byte, error) {
		text, ok := l.vault[c.Content]
		if !ok {
			return nil, errors.New("damaged in the vault\nfor good")
		}
		return []byte(text), nil
	}}
	if change != nil {
		change(&o)
	}
	act := incident.ActOptions{Name: "fire", Purpose: "fill", Now: func() time.Time { return l.Now }, DryRun: o.DryRun}
	err = incident.Act(l.T.Context(), l.H, act, func(ctx context.Context, ledger *incident.Ledger) (err error) {
		r, err = fill.Run(ctx, ledger, o)
		return err
	})
	if l.disk.open != 0 {
		l.T.Errorf("%d stores are still open", l.disk.open)
	}
	return r, err
}

// states are the claims' states by ID.
func (l *lab) states() string {
	l.T.Helper()
	var out []string
	must(l.T, l.H.Catalog.Claims(l.T.Context(), catalog.ClaimQuery{Incident: "fire"}, func(c *catalog.Claim) error {
		out = append(out, fmt.Sprint(c.ID, " ", c.State))
		if settled := c.State == catalog.ClaimRestored || c.State == catalog.ClaimRestoredMaybe || c.State == catalog.ClaimPresent; settled !=
			(c.NowStore == "cyrus:/etc/imapd.conf" && c.NowFolder == "INBOX" && c.NowUID == c.UID && c.NowValidity == 7) {
			l.T.Errorf("%+v", c)
		}
		return nil
	}))
	return strings.Join(out, ", ")
}

// Every claim comes to what its file says, and to nothing else.
func TestFill(t *testing.T) {
	for _, hash := range []bool{true, false} {
		l := newLab(t, map[string]int{"ann": 12, "bob": 1, "cid": 1}, func(c *catalog.Claim) {
			switch c.ID {
			case 5, 6, 7, 8, 9:
				c.State, c.Content = catalog.ClaimOwed, chunk.ID{}
			case 10:
				c.State, c.Reason = catalog.ClaimUncertain, "who knows"
			case 11:
				c.UID = 4711 // the index does not name it
			case 12:
				c.Folder = "Elsewhere"
			case 14:
				c.State = catalog.ClaimDeleted
			}
			if c.ID == 8 {
				c.Doubt = true
			}
			if c.ID == 9 {
				c.SentAt, c.SentFolder = time.Unix(1, 0), "INBOX"
			}
		})
		l.disk.hash = hash
		files := l.disk.files
		files["ann 2"] = letter(2)
		files["ann 3"] = strings.ToUpper(letter(3))
		files["ann 4"] = "short"
		files["ann 6"] = letter(6)
		files["ann 7"] = strings.ToUpper(letter(7))
		files["ann 8"], files["ann 9"] = letter(8), letter(9)
		r, err := l.run(nil)
		must(t, err)
		want := "1 restored, 2 present, 3 restored, 4 restored, 5 owed, 6 present, 7 owed, 8 owed, 9 owed, 10 restored_maybe_deleted, 11 held, 12 held, 13 restored, 14 deleted"
		owed, present := int64(2), int64(2)
		if !hash { // its size is all that speaks for it
			want = strings.Replace(want, "7 owed", "7 present", 1)
			owed, present = 1, 3
		}
		if got := l.states(); got != want {
			t.Errorf("hash %v: %s, want %s", hash, got, want)
		}
		if r.Filled != 5 || r.Present != present || r.Owed != owed || r.Unnamed != 2 || r.Failed != 0 || r.Users != 2 || len(r.Notes) != 2 || r.Incomplete() {
			t.Errorf("%+v", r)
		}
		for _, key := range []string{"ann 1", "ann 3", "ann 4", "ann 10", "bob 13"} {
			if id := strings.Fields(key)[1]; !strings.Contains(files[key], "letter "+id+"\r\n") {
				t.Errorf("%s is %q", key, files[key])
			}
		}
		l.disk.reads = 0
		again, err := l.run(nil)
		if err != nil || again.Filled+again.Failed != 0 || again.Present != 0 || l.disk.reads > 1 {
			t.Errorf("once more: %+v, %v, %d files were read", again, err, l.disk.reads)
		}
	}
}

// What cannot be put stays as it is and is named; the others go on.
func TestFailures(t *testing.T) {
	l := newLab(t, map[string]int{"ann": 4, "bob": 3, "cid": 2}, nil)
	l.disk.nameErr = map[string]error{"bob 6": errors.New("immutable")}
	l.disk.putErr["ann 2"] = &mailstore.Refusal{Why: "other bytes"}
	l.disk.putErr["ann 3"] = mailstore.ErrVanished
	l.disk.putErr["ann 4"] = mailstore.ErrPresent
	delete(l.vault, contentOf(letter(5)))
	l.disk.index["cid"] = nil
	l.disk.surveyErr["cid"] = &mailstore.Incomplete{Problems: []*mailstore.Problem{{User: "cid", Path: "/x", Err: errors.New("unreadable")}}}
	r, err := l.run(nil)
	must(t, err)
	if got, want := l.states(), "1 restored, 2 held, 3 held, 4 present, 5 held, 6 held, 7 restored, 8 held, 9 held"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	slices.Sort(r.Problems)
	if r.Filled != 2 || r.Failed != 3 || r.Present != 1 || r.Unnamed != 3 || len(r.Problems) != 4 || !r.Incomplete() ||
		!strings.Contains(strings.Join(r.Problems, ";"), `"ann": "INBOX": UID 2 was not put back: the destination refuses the message: other bytes`) ||
		!strings.Contains(strings.Join(r.Problems, ";"), "damaged in the vault for good") || !strings.Contains(strings.Join(r.Problems, ";"), "unreadable") {
		t.Errorf("%+v", r)
	}
	clear(l.disk.putErr)
	clear(l.disk.nameErr)
	l.vault[contentOf(letter(5))] = letter(5)
	// With ann's fourth, of which it was said that it was there.
	if r, err = l.run(nil); err != nil || r.Filled != 5 || r.Failed != 0 {
		t.Errorf("when all is well again: %+v, %v", r, err)
	}
}

// A file that was put back and is lost once more is put back once more.
func TestLostAgain(t *testing.T) {
	l := newLab(t, map[string]int{"ann": 3}, nil)
	if r, err := l.run(nil); err != nil || r.Filled != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	clear(l.disk.files)
	if r, err := l.run(nil); err != nil || r.Filled != 3 || r.Unnamed != 0 || len(l.disk.files) != 3 || l.states() != "1 restored, 2 restored, 3 restored" {
		t.Errorf("%+v, %v, %s", r, err, l.states())
	}
	if r, err := l.run(nil); err != nil || r.Filled+r.Present+r.Failed != 0 {
		t.Errorf("a third time: %+v, %v", r, err)
	}
}

// A full disk, or one that does not write, ends it; nothing is said to be back
// that may not be.
func TestStops(t *testing.T) {
	for name, prepare := range map[string]func(*disk){
		"full":    func(d *disk) { d.putErr["ann 2"] = fmt.Errorf("write: %w", unix.ENOSPC) },
		"no sync": func(d *disk) { d.syncErr = errors.New("input/output error") },
	} {
		l := newLab(t, map[string]int{"ann": 3}, nil)
		prepare(l.disk)
		if r, err := l.run(nil); err == nil || !strings.Contains(err.Error(), `fill the mail of "ann"`) || r.Filled != 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if got := l.states(); got != "1 held, 2 held, 3 held" || len(l.disk.files) > 0 {
			t.Errorf("%s: %s, %v", name, got, l.disk.files)
		}
	}
}

func TestDryRunAndUsers(t *testing.T) {
	l := newLab(t, map[string]int{"ann": 3, "bob": 2}, nil)
	l.disk.files["ann 1"] = strings.ToUpper(letter(1)) // of the right size
	r, err := l.run(func(o *fill.Options) { o.DryRun, o.Read = true, nil })
	if err != nil || r.Filled != 4 || r.Present != 1 || !r.DryRun || l.states() != "1 held, 2 held, 3 held, 4 held, 5 held" || len(l.disk.files) != 1 || l.disk.reads != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := l.run(func(o *fill.Options) { o.Users = []string{"bob", "eve"} }); !errors.Is(err, incident.ErrUser) {
		t.Errorf("a stranger: %v", err)
	}
	if r, err = l.run(func(o *fill.Options) { o.Users = []string{"bob"} }); err != nil || r.Filled != 2 || l.states() != "1 held, 2 held, 3 held, 4 restored, 5 restored" {
		t.Errorf("%+v, %v", r, err)
	}
	if !bytes.Equal([]byte(l.disk.files["bob 4"]), []byte(letter(4))) {
		t.Errorf("%q", l.disk.files)
	}
}

// Many users side by side share a few open stores.
func TestManyUsers(t *testing.T) {
	users := map[string]int{}
	for i := range 40 {
		users[fmt.Sprintf("u%02d", i)] = 3
	}
	l := newLab(t, users, nil)
	r, err := l.run(nil)
	if err != nil || r.Filled != 120 || r.Users != 40 || l.disk.opened > 4 || strings.Contains(l.states(), "held") {
		t.Errorf("%+v, %v, opened %d", r, err, l.disk.opened)
	}
}
