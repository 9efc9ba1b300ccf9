package salvage_test

import (
	"fmt"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/salvage/found"
)

// TestJudge lets a small disk be salvaged for every reason there is to call a message
// this or that.
func TestJudge(t *testing.T) {
	one, two := letter("one", 6000), letter("two", 9000)
	open := one[:len(one)-1]                                                                                   // its last line does not end
	fewer := one[:len(one)/2] + mail(strings.ReplaceAll(string(one[len(one)/2:len(one)-1]), "\n", " ")) + "\n" // of the same size
	name := fmt.Sprintf("1700000000.M1P2.host,S=%d,W=%d", len(one), len(one.wire()))
	// A block of one is a block of another attachment, with as many lines.
	attached, other := picture("attached", 20000), picture("other", 30000)
	foreign, lines := "", strings.Count(string(attached[4096:8192]), "\n")
	for k := 4096 + 10; foreign == ""; k += 10 {
		if b := string(other[k : k+4096]); strings.Count(b, "\n") == lines {
			foreign = string(attached[:4096]) + b + string(attached[8192:])
		}
	}
	picname := fmt.Sprintf("1700000001.M1P2.host,S=%d,W=%d", len(attached), len(attached.wire()))
	const inbox, work = "vmail/user/alice/5.", "vmail/user/alice/Work/7."
	maildir := "home/alice/Maildir/cur/" + name + ":2,S"
	tomb := func(user string, m mail) catalog.Row { return catalog.Tombstone{User: user, Content: m.id()} }
	users := func(names ...string) (rows []catalog.Row) {
		for _, n := range names {
			rows = append(rows, catalog.User{Name: n})
		}
		return rows
	}
	state := func(c catalog.Claim, s catalog.ClaimState) catalog.Claim {
		c.State = s
		return c
	}
	type want struct {
		class  found.Class
		grade  found.Grade
		user   string
		by     string
		folder string
		uid    uint32
		places int
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		hurt  func(t *testing.T, d *disk)
		rows  []catalog.Row
		want  map[mail]want // by what was found
		// of the report
		held, tombs, superseded          int64
		owedFound, unread, over, missing int64
	}{
		{name: "owed by hash, stored with CRLF", files: map[string]string{inbox: string(one.wire())},
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5)}, owedFound: 1,
			want: map[mail]want{one.wire(): {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "owed by hash, stored with LF", files: map[string]string{inbox: string(one)},
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5)}, owedFound: 1,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "owed by hash, in somebody else's place", files: map[string]string{"vmail/user/bob/9.": string(one)},
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5)}, owedFound: 1,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "owed by name", files: map[string]string{maildir: string(one)},
			rows: []catalog.Row{one.oweName("alice", "INBOX", name)}, owedFound: 1,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "an attachment owed by name", files: map[string]string{"home/alice/Maildir/cur/" + picname + ":2,S": string(attached)},
			rows: []catalog.Row{attached.oweName("alice", "INBOX", picname)}, owedFound: 1,
			want: map[mail]want{attached: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "a block of another attachment", files: map[string]string{"home/alice/Maildir/cur/" + picname + ":2,S": foreign},
			rows: []catalog.Row{attached.oweName("alice", "INBOX", picname)}, over: 1,
			want: map[mail]want{mail(foreign): {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "a block of another attachment that nobody misses", files: map[string]string{"home/alice/Maildir/cur/" + picname + ":2,S": foreign},
			rows: users("alice"),
			want: map[mail]want{mail(foreign): {found.Damaged, found.Partial, "alice", "path", "INBOX", 0, 1}}},
		{name: "the size that its name promises, and another number of lines", files: map[string]string{maildir: string(fewer)},
			rows: []catalog.Row{one.oweName("alice", "INBOX", name)}, over: 1,
			want: map[mail]want{fewer: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "another size than its name promises", files: map[string]string{maildir: string(two)},
			rows: []catalog.Row{one.oweName("alice", "INBOX", name)}, over: 1,
			want: map[mail]want{two: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "owed by Message-ID", files: map[string]string{"lost+found/#99": string(one)},
			rows: []catalog.Row{catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimOwed, Size: int64(len(one)), MessageID: one.messageID()}}, owedFound: 1,
			want: map[mail]want{one: {found.Matched, found.Consistent, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "hard links of what is owed twice", files: map[string]string{inbox: string(one), work: "=" + inbox},
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5), one.wire().owe("alice", "Work", 7)}, owedFound: 2,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "one content in two folders", files: map[string]string{inbox: string(one), work: string(one)},
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5), one.wire().owe("alice", "Work", 7)}, owedFound: 2,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 2}}},
		{name: "one content of two users, one file left", files: map[string]string{inbox: string(one)},
			rows: []catalog.Row{one.wire().owe("bob", "INBOX", 1), one.wire().owe("alice", "INBOX", 5)}, owedFound: 2,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "one content by name twice", files: map[string]string{maildir: string(one), "home/alice/Maildir/.Work/cur/17.M2.host:2,": "=" + maildir},
			rows: []catalog.Row{one.oweName("alice", "INBOX", name), one.oweName("alice", "Work", "17.M2.host")}, owedFound: 2,
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "*", 0, 1}}},

		{name: "the vault has it", files: map[string]string{inbox: string(one)}, rows: one.held("alice", "INBOX", 5), held: 1},
		{name: "the vault has it of nobody knows whom", files: map[string]string{"lost+found/#99": string(one)}, rows: one.held("alice", "INBOX", 5), held: 1},
		{name: "the ledger has it", files: map[string]string{inbox: string(one)}, held: 1,
			rows: []catalog.Row{catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimRestored, Size: int64(len(one.wire())), SHA1: one.sha1()}}},
		{name: "the ledger knows it deleted", files: map[string]string{inbox: string(one)}, tombs: 1,
			rows: []catalog.Row{catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimDeleted, Size: int64(len(one.wire())), SHA1: one.sha1()}}},
		{name: "the ledger knows it deleted by somebody else", files: map[string]string{"vmail/user/bob/9.": string(one)},
			rows: []catalog.Row{catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimDeleted, Size: int64(len(one.wire())), SHA1: one.sha1()}},
			want: map[mail]want{one: {found.Unknown, found.Consistent, "bob", "path", "INBOX", 9, 1}}},
		{name: "its user deleted it", files: map[string]string{inbox: string(one)}, rows: append(users("alice"), tomb("alice", one)), tombs: 1},
		{name: "its user, known by the tombstone alone, deleted it", files: map[string]string{"lost+found/#99": string(one)}, rows: append(users("bob"), tomb("bob", one)), tombs: 1},
		{name: "somebody else deleted it", files: map[string]string{inbox: string(one)}, rows: append(users("alice", "bob"), tomb("bob", one)),
			want: map[mail]want{one: {found.Unknown, found.Consistent, "alice", "path", "INBOX", 5, 1}}},
		{name: "somebody else deleted it, and its user", files: map[string]string{inbox: string(one)}, rows: append(users("alice", "bob"), tomb("bob", one), tomb("alice", one)), tombs: 1},
		{name: "owed outweighs held and deleted", files: map[string]string{inbox: string(one)}, owedFound: 1,
			rows: append(one.held("alice", "INBOX", 5), tomb("alice", one), one.wire().owe("alice", "INBOX", 5)),
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "owed to one, deleted by another in the ledger", files: map[string]string{inbox: string(one)}, owedFound: 1,
			rows: []catalog.Row{one.wire().owe("bob", "INBOX", 3),
				catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimDeleted, Size: int64(len(one.wire())), SHA1: one.sha1()}},
			want: map[mail]want{one: {found.Matched, found.Verified, "bob", "ledger", "INBOX", 3, 1}}},

		{name: "unknown, its structure closes", files: map[string]string{inbox: string(parts("three", 6000))},
			want: map[mail]want{parts("three", 6000): {found.Unknown, found.Consistent, "alice", "path", "INBOX", 5, 1}}},
		{name: "unknown, nothing vouches for its end", files: map[string]string{inbox: string(open)},
			want: map[mail]want{open: {found.Unknown, found.Plausible, "alice", "path", "INBOX", 5, 1}}},
		{name: "unknown, its owner in its header", files: map[string]string{"lost+found/#99": string(one)}, rows: users("alice"),
			want: map[mail]want{one: {found.Unknown, found.Consistent, "alice", "header", "", 0, 1}}},
		{name: "unknown, and a stranger in its header", files: map[string]string{"lost+found/#99": string(one)}, rows: users("bob"),
			want: map[mail]want{one: {found.Unknown, found.Consistent, "", "", "", 0, 1}}},

		{name: "unreadable", files: map[string]string{inbox: string(two)}, rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, unread: 1,
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) },
			want: map[mail]want{two[:4096] + mail(make([]byte, 512)) + two[4608:]: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "unreadable, and nobody claims it", files: map[string]string{inbox: string(two)},
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) },
			want: map[mail]want{two[:4096] + mail(make([]byte, 512)) + two[4608:]: {found.Damaged, found.Partial, "alice", "path", "INBOX", 5, 1}}},
		{name: "its beginning unreadable", files: map[string]string{inbox: string(two)}, rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, unread: 1,
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 0), 512) },
			want: map[mail]want{mail(make([]byte, 512)) + two[512:]: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "zeros where it was", files: map[string]string{inbox: string(two)}, rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, over: 1,
			hurt: func(t *testing.T, d *disk) { d.patch(t, d.place(t, inbox, 4096), make([]byte, 4096)) },
			want: map[mail]want{two[:4096] + mail(make([]byte, 4096)) + two[8192:]: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "nothing but zeros where it was", files: map[string]string{inbox: string(two)}, rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, over: 1,
			hurt: func(t *testing.T, d *disk) { d.patch(t, d.place(t, inbox, 0), make([]byte, len(two))) },
			want: map[mail]want{mail(make([]byte, len(two))): {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "zeros in a Maildir's file, by its name", files: map[string]string{maildir: string(two)}, rows: []catalog.Row{two.oweName("alice", "INBOX", name)}, over: 1,
			hurt: func(t *testing.T, d *disk) { d.patch(t, d.place(t, maildir, 4096), make([]byte, 4096)) },
			want: map[mail]want{two[:4096] + mail(make([]byte, 4096)) + two[8192:]: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 0, 1}}},
		{name: "another message in its blocks", files: map[string]string{inbox: string(two)}, rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)}, over: 1,
			hurt: func(t *testing.T, d *disk) { d.patch(t, d.place(t, inbox, 0), []byte(letter("six", 4200))[:4096]) },
			want: map[mail]want{letter("six", 4200)[:4096] + two[4096:]: {found.Damaged, found.Partial, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "a damaged copy of what is whole elsewhere", files: map[string]string{inbox: string(two), work: string(two)}, superseded: 1, owedFound: 1,
			rows: []catalog.Row{two.wire().owe("alice", "INBOX", 5)},
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) },
			want: map[mail]want{two: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "what is left of a message that was delivered again", files: map[string]string{inbox: string(two)}, held: 1,
			rows: []catalog.Row{state(two.wire().owe("alice", "INBOX", 5), catalog.ClaimRedelivered)},
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) }},
		{name: "what is left of a message that its user deleted", files: map[string]string{inbox: string(two)}, tombs: 1,
			rows: []catalog.Row{state(two.wire().owe("alice", "INBOX", 5), catalog.ClaimDeleted)},
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) }},
		{name: "what is left of a message that was given up", files: map[string]string{inbox: string(two)},
			rows: []catalog.Row{state(two.wire().owe("alice", "INBOX", 5), catalog.ClaimLost)},
			hurt: func(t *testing.T, d *disk) { d.unread(t, d.place(t, inbox, 4096), 512) },
			want: map[mail]want{two[:4096] + mail(make([]byte, 512)) + two[4608:]: {found.Damaged, found.Partial, "alice", "path", "INBOX", 5, 1}}},
		{name: "nothing left of what is owed", files: map[string]string{inbox: string(one)}, missing: 1, owedFound: 1,
			rows: []catalog.Row{one.wire().owe("alice", "INBOX", 5), two.wire().owe("alice", "INBOX", 6)},
			want: map[mail]want{one: {found.Matched, found.Verified, "alice", "ledger", "INBOX", 5, 1}}},
		{name: "a server's own files", files: map[string]string{"vmail/user/alice/cyrus.cache": string(one), "vmail/user/alice/dovecot.index.cache": string(two), "etc/passwd": "root:x:0:0\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := makeDisk(t, smallDisk, test.files)
			if test.hurt != nil {
				test.hurt(t, d)
			}
			before := digestOf(t, d.path)
			g := newDig(t, d.path)
			g.catalog = books(t, test.rows...)
			r := g.run(t)
			if digestOf(t, d.path) != before {
				t.Error("the image is not what it was")
			}
			for m, w := range test.want {
				f, ok := r.finds[m.stored()]
				if w.folder == "*" { // which of its names comes first is the disk's choice
					w.folder = f.Folder
				}
				if got := (want{f.Class, f.Grade, f.User, f.UserBy, f.Folder, f.UID, f.Places}); got != w {
					t.Errorf("%.60q: %+v (%s), want %+v", m[strings.Index(string(m), "Subject:")+1:], got, f.Why, w)
				}
				if ok && (f.Class == found.Damaged) != (f.Grade == found.Partial) {
					t.Errorf("class %s with grade %s", f.Class, f.Grade)
				}
				delete(r.finds, m.stored())
			}
			for _, f := range r.finds {
				t.Errorf("found as well: %+v", f)
			}
			p := r.report
			if p.AlreadyHeld != test.held || p.Tombstoned != test.tombs || p.Superseded != test.superseded {
				t.Errorf("%d held, %d deleted, %d superseded; want %d, %d, %d", p.AlreadyHeld, p.Tombstoned, p.Superseded, test.held, test.tombs, test.superseded)
			}
			if p.OwedFound != test.owedFound || p.OwedUnreadable != test.unread || p.OwedOverwritten != test.over || p.OwedMissing != test.missing {
				t.Errorf("owed: %d found, %d unreadable, %d overwritten, %d missing; want %d, %d, %d, %d",
					p.OwedFound, p.OwedUnreadable, p.OwedOverwritten, p.OwedMissing, test.owedFound, test.unread, test.over, test.missing)
			}
		})
	}
}

// TestDamagedTellsWhere says which bytes of a message are not there.
func TestDamagedTellsWhere(t *testing.T) {
	two := letter("two", 9000)
	const path = "vmail/user/alice/5."
	d := makeDisk(t, smallDisk, map[string]string{path: string(two)})
	d.unread(t, d.place(t, path, 4608), 1024)
	g := newDig(t, d.path)
	for _, f := range g.run(t).finds {
		if len(f.Missing) != 1 || f.Missing[0].Off != 4608 || f.Missing[0].Len != 1024 || f.Size != int64(len(two)) || f.Offered() {
			t.Errorf("%+v", f)
		}
	}
}
