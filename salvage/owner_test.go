package salvage

import (
	"testing"

	"salvor/salvage/carve"
)

func TestReadPath(t *testing.T) {
	for _, test := range []struct {
		path string
		want place
	}{
		{"/data/b/user/bob/Work/2024/1.", place{owner: owner{"bob", "Work/2024", 1, "path"}}},
		{"/data/b/user/bob/17.", place{owner: owner{"bob", "INBOX", 17, "path"}}},
		{"/data/b/user/b^ob/Sent^2/4294967295.", place{owner: owner{"b.ob", "Sent.2", 4294967295, "path"}}},
		{"/data/domain/e/example.org/a/user/alice/1.", place{owner: owner{"alice@example.org", "INBOX", 1, "path"}}},
		{"?/#1234/user/bob/3.", place{owner: owner{"bob", "INBOX", 3, "path"}}},
		{"?/#1234/3.", place{owner: owner{uid: 3}, dir: "?/#1234"}},
		{"/data/uuid/a/b/abcdef/3.", place{owner: owner{uid: 3}, dir: "data/uuid/a/b/abcdef"}},
		{"/data/b/user/bob/99999999999.", place{}},
		{"/home/alice/Maildir/cur/1234.M1P2.host,S=10,W=11:2,S", place{owner: owner{"alice", "INBOX", 0, "path"}, name: "1234.M1P2.host,S=10,W=11"}},
		{"/home/alice/Maildir/.Work.2024/new/1234.M1P2.host", place{owner: owner{"alice", "Work/2024", 0, "path"}, name: "1234.M1P2.host"}},
		{"/vmail/alice/.Sent/cur/1.M1.h:2,", place{owner: owner{"alice", "Sent", 0, "path"}, name: "1.M1.h"}},
		{"/vmail/alice/cur/1.M1.h:2,", place{owner: owner{"alice", "INBOX", 0, "path"}, name: "1.M1.h"}},
		{"/vmail/alice/mail/Work/2024/cur/1.M1.h:2,", place{owner: owner{"alice", "Work/2024", 0, "path"}, name: "1.M1.h"}},
		{"/Maildir/cur/1.M1.h:2,", place{name: "1.M1.h"}},
		{"/Maildir/.Sent/cur/1.M1.h:2,", place{name: "1.M1.h"}},
		{"?/#12/cur/1.M1.h:2,", place{owner: owner{}, name: "1.M1.h"}},
		{"?/#12/1234.M1P2.host,S=10,W=11:2,S", place{owner: owner{}, name: "1234.M1P2.host,S=10,W=11"}},
		{"/home/alice/sdbox/mailboxes/Sent/dbox-Mails/u.5", place{owner: owner{"alice", "Sent", 5, "path"}}},
		{"/home/alice/mail/mailboxes/INBOX/dbox-Mails/u.x", place{}},
		{"/etc/passwd", place{}},
		{"", place{}},
		{"/", place{}},
		{"user/5.", place{owner: owner{uid: 5}, dir: "user"}},
	} {
		if got := readPath(test.path); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.path, got, test.want)
		}
	}
}

func TestHolderOwner(t *testing.T) {
	for _, test := range []struct {
		path string
		kind carve.Kind
		want owner
	}{
		{"/var/mail/alice", carve.Mbox, owner{"alice", "INBOX", 0, "path"}},
		{"/spool/mail/alice", carve.Mbox, owner{"alice", "INBOX", 0, "path"}},
		{"/mail/alice", carve.Mbox, owner{"alice", "INBOX", 0, "path"}},
		{"/home/alice/mail/inbox", carve.Mbox, owner{"alice", "INBOX", 0, "path"}},
		{"/home/alice/mail/Work/2024", carve.Mbox, owner{"alice", "Work/2024", 0, "path"}},
		{"/srv/mail/archive/2024", carve.Mbox, owner{}},
		{"/home/alice/old.mbox", carve.Mbox, owner{}},
		{"?/#12/mail/alice", carve.Mbox, owner{}},
		{"/home/alice/mdbox/storage/m.5", carve.Dbox, owner{"alice", "Sent", 0, "path"}},
		{"/vmail/alice/storage/m.5", carve.Dbox, owner{"alice", "Sent", 0, "path"}},
		{"/mdbox/storage/m.5", carve.Dbox, owner{}},
		{"?/#12/storage/m.5", carve.Dbox, owner{}},
		{"/vmail/alice/storage/dovecot.map.index", carve.Dbox, owner{}},
		{"", carve.Dbox, owner{}},
		{"/", carve.Mbox, owner{}},
	} {
		if got := holderOwner(test.path, test.kind, "Sent"); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.path, got, test.want)
		}
	}
}

func FuzzReadPath(f *testing.F) {
	f.Add("/data/b/user/bob/17.")
	f.Add("/home/alice/Maildir/.Work.2024/new/1234.M1P2.host")
	f.Add("mailboxes/dbox-Mails/u.1")
	f.Fuzz(func(t *testing.T, path string) {
		if p := readPath(path); p.by == "" && p.user != "" {
			t.Errorf("%q: user %q by nothing", path, p.user)
		}
	})
}
