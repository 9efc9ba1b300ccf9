package salvage_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/salvage/found"
)

// packed runs a compressor over bytes.
func packed(t *testing.T, text string, tool ...string) string {
	t.Helper()
	cmd := exec.Command(tool[0], tool[1:]...)
	cmd.Stdin = strings.NewReader(text)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", tool, err, &errs)
	}
	return out.String()
}

// dbox writes messages as Dovecot does: MAIL-SERVERS, "mdbox".
func dbox(messages ...mail) string {
	var b strings.Builder
	b.WriteString("2 M1e C6b03387f\n")
	for i, m := range messages {
		fmt.Fprintf(&b, "\x01\x02N          %016x\n%s\n\x01\x03\nR6592a5a0\nV%x\nG%032x\nBINBOX\n\n", len(m), m, len(m.wire()), i+1)
	}
	return b.String()
}

// box writes an mbox.
func box(messages ...mail) string {
	var b strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&b, "From from@example.net Mon Jan  1 10:00:00 2024\n%s\n", m)
	}
	return b.String()
}

// TestHolders takes single messages out of what holds several, or is compressed, on
// disks with a file system and without.
func TestHolders(t *testing.T) {
	one, two, three := parts("one", 9000), parts("two", 30000), parts("three", 14000)
	random := parts("random", 200)
	random = random[:len(random)-len("--=_b1--\n")] + mail(noise(60000)) + "\n--=_b1--\n" // it stays as long when it is compressed
	name := fmt.Sprintf("1700000000.M1P2.host,S=%d,W=%d", len(random), len(random.wire()))
	const cur = "home/alice/Maildir/cur/"
	owed := func(m ...mail) (rows []catalog.Row) {
		for i, m := range m {
			rows = append(rows, m.wire().owe("alice", "INBOX", uint32(i+1)))
		}
		return rows
	}
	for _, test := range []struct {
		name    string
		path    string // "": it stands on a disk without a file system
		content string
		rows    []catalog.Row
		hurt    int64 // a block of zeros there, in bytes of the content; 0: none
		want    map[mail]found.Class
		by      string // what the matched ones are known by
		damaged int    // how many others are damaged
		fate    string // of what is owed: "overwritten", "missing"
	}{
		{name: "gzip, by its name", path: cur + name + ":2,S", content: packed(t, string(random), "gzip", "-n"), rows: []catalog.Row{random.oweName("alice", "INBOX", name)},
			want: map[mail]found.Class{random: found.Matched}, by: "name"},
		{name: "bzip2, by its name", path: cur + name + ":2,S", content: packed(t, string(random), "bzip2"), rows: []catalog.Row{random.oweName("alice", "INBOX", name)},
			want: map[mail]found.Class{random: found.Matched}, by: "name"},
		{name: "zstd, by its name", path: cur + name + ":2,S", content: packed(t, string(random), "zstd"), rows: []catalog.Row{random.oweName("alice", "INBOX", name)},
			want: map[mail]found.Class{random: found.Matched}, by: "name"},
		{name: "gzip, by hash", path: cur + "1.M1.host:2,", content: packed(t, string(two), "gzip", "-n"), rows: owed(two), want: map[mail]found.Class{two: found.Matched}, by: "SHA-1"},
		{name: "gzip, and nobody claims it", path: cur + "1.M1.host:2,", content: packed(t, string(two), "gzip", "-n"), want: map[mail]found.Class{two: found.Unknown}},
		{name: "damaged gzip", path: cur + name + ":2,S", content: packed(t, string(random), "gzip", "-n"), hurt: 16384, damaged: 1, fate: "overwritten",
			rows: []catalog.Row{random.oweName("alice", "INBOX", name)}},
		{name: "damaged bzip2", path: cur + name + ":2,S", content: packed(t, string(random), "bzip2"), hurt: 16384, damaged: 1, fate: "overwritten",
			rows: []catalog.Row{random.oweName("alice", "INBOX", name)}},
		{name: "damaged zstd", path: cur + name + ":2,S", content: packed(t, string(random), "zstd"), hurt: 16384, damaged: 1, fate: "overwritten",
			rows: []catalog.Row{random.oweName("alice", "INBOX", name)}},
		{name: "mbox", path: "var/mail/alice", content: box(one, two, three), rows: owed(one, three), by: "SHA-1",
			want: map[mail]found.Class{one: found.Matched, two: found.Unknown, three: found.Matched}},
		{name: "damaged mbox", path: "var/mail/alice", content: box(one, two, three), rows: owed(one, two, three), by: "SHA-1", hurt: 16384, damaged: 1, fate: "overwritten",
			want: map[mail]found.Class{one: found.Matched, three: found.Matched}},
		{name: "sdbox", path: "home/alice/sdbox/mailboxes/INBOX/dbox-Mails/u.1", content: dbox(one), rows: owed(one), by: "SHA-1", want: map[mail]found.Class{one: found.Matched}},
		{name: "sdbox, by its place", path: "home/alice/sdbox/mailboxes/INBOX/dbox-Mails/u.5", content: dbox(one), by: "name",
			rows: []catalog.Row{catalog.Claim{User: "alice", Folder: "INBOX", UID: 5, State: catalog.ClaimOwed, Size: int64(len(one))}}, want: map[mail]found.Class{one: found.Matched}},
		{name: "damaged sdbox", path: "home/alice/sdbox/mailboxes/INBOX/dbox-Mails/u.1", content: dbox(two), rows: owed(two), hurt: 8192, damaged: 1, fate: "overwritten"},
		{name: "mdbox", path: "home/alice/mdbox/storage/m.1", content: dbox(one, two, three), rows: owed(one, three), by: "SHA-1",
			want: map[mail]found.Class{one: found.Matched, two: found.Unknown, three: found.Matched}},
		{name: "damaged mdbox", path: "home/alice/mdbox/storage/m.1", content: dbox(one, two, three), rows: owed(one, two, three), by: "SHA-1", hurt: 16384, damaged: 1, fate: "overwritten",
			want: map[mail]found.Class{one: found.Matched, three: found.Matched}},
		{name: "mdbox of compressed mail", path: "home/alice/mdbox/storage/m.1", content: dbox(mail(packed(t, string(one), "gzip", "-n")), mail(packed(t, string(two), "zstd"))), rows: owed(one, two), by: "SHA-1",
			want: map[mail]found.Class{one: found.Matched, two: found.Matched}},
		{name: "gzip on no file system", content: packed(t, string(random), "gzip", "-n"), rows: owed(random), want: map[mail]found.Class{random: found.Matched}, by: "SHA-1"},
		{name: "bzip2 on no file system", content: packed(t, string(random), "bzip2"), want: map[mail]found.Class{random: found.Unknown}},
		{name: "zstd on no file system", content: packed(t, string(random), "zstd"), want: map[mail]found.Class{random: found.Unknown}},
		{name: "mbox on no file system", content: box(one, two, three), rows: owed(one, two, three), by: "SHA-1",
			want: map[mail]found.Class{one: found.Matched, two: found.Matched, three: found.Matched}},
		{name: "mdbox on no file system", content: dbox(one, two, three), rows: owed(one, two, three), by: "SHA-1",
			want: map[mail]found.Class{one: found.Matched, two: found.Matched, three: found.Matched}},
		{name: "damaged gzip on no file system", content: packed(t, string(random), "gzip", "-n"), rows: owed(random), hurt: 16384, damaged: 1, fate: "overwritten"},
		{name: "a bomb", path: cur + "1.M1.host:2,", content: packed(t, string(one)+strings.Repeat("a", 128<<20), "zstd"), rows: owed(one), damaged: 1, fate: "overwritten"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := blank(t, smallDisk)
			at := int64(1 << 20)
			if test.path != "" {
				d = makeDisk(t, smallDisk, map[string]string{test.path: test.content})
				at = d.place(t, test.path, 0)
			} else {
				d.patch(t, at, []byte(test.content))
			}
			if test.hurt > 0 {
				d.patch(t, at+test.hurt, make([]byte, 4096))
			}
			before := digestOf(t, d.path)
			g := newDig(t, d.path)
			g.catalog = books(t, append([]catalog.Row{catalog.User{Name: "alice"}}, test.rows...)...)
			r := g.run(t)
			if digestOf(t, d.path) != before {
				t.Error("the image is not what it was")
			}
			for m, class := range test.want {
				f := r.finds[m.stored()]
				if f.Class != class || f.User != "alice" || class == found.Matched && (f.Grade != found.Verified || !strings.Contains(f.Why, test.by)) {
					t.Errorf("%s: %s %s of %q, %s", m.messageID(), f.Class, f.Grade, f.User, f.Why)
				}
				delete(r.finds, m.stored())
			}
			for _, f := range r.finds {
				if f.Class != found.Damaged || f.Size > 64<<20 {
					t.Errorf("found as well: %+v", f)
				}
			}
			p := r.report
			if len(r.finds) != test.damaged {
				t.Errorf("%d damaged: %+v", len(r.finds), r.finds)
			}
			over, missing := int64(0), int64(0)
			switch test.fate {
			case "overwritten":
				over = 1
			case "missing":
				missing = 1
			}
			if p.OwedOverwritten != over || p.OwedMissing != missing {
				t.Errorf("%d overwritten, %d without a trace: %+v, %+v", p.OwedOverwritten, p.OwedMissing, *p, r.finds)
			}
		})
	}
}

// noise is base64 of what cannot be compressed, in lines.
func noise(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	state := uint64(88172645463325252)
	for b.Len() < n {
		for range 76 {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			b.WriteByte(letters[state>>32&63])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
