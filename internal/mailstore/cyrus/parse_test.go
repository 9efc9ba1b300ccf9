package cyrus

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"salvor/internal/mailstore/cyrus/cyrusdb"
)

// configOf reads a configuration from text.
func configOf(t testing.TB, text string) (*config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "imapd.conf")
	write(t, file, []byte(strings.ReplaceAll(text, "@DIR@", filepath.Dir(file))))
	return readConfig(file)
}

func mustConfig(t testing.TB, text string) *config {
	t.Helper()
	c, err := configOf(t, "configdirectory: /c\npartition-default: /d\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	write(t, filepath.Join(t.TempDir(), "x"), nil)
	dir := t.TempDir()
	more := filepath.Join(dir, "more.conf")
	write(t, more, []byte("Partition-Fast: /fast\nmetapartition-fast: /fastmeta\narchivepartition-fast: /slow/\n"))
	c, err := configOf(t, "# a comment\n\n  configdirectory:   /c  \nunixHierarchySep: \\\noff\nhashimapspool: t\n"+
		"partition-default: /d\nmetapartition-default: /m\nmetapartition_files: header \\\n index\nmetadir-index-default: /i\n@include: "+more+"\nunknown: x\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.dir != "/c" || !c.dots || !c.hashPool || c.fullHash || c.deletedPrefix != "DELETED" || len(c.partitions) != 2 {
		t.Errorf("%+v", c)
	}
	paths := func(p *partition) []string {
		out := []string{p.data.path, p.header.path, p.index.path, p.expunge.path}
		if p.archive != nil {
			out = append(out, p.archive.path)
		}
		return out
	}
	if got := paths(c.partition("default")); !slices.Equal(got, []string{"/d", "/m", "/i", "/d"}) {
		t.Errorf("default: %q", got)
	}
	if got := paths(c.partition("Fast")); !slices.Equal(got, []string{"/fast", "/fastmeta", "/fastmeta", "/fast", "/slow"}) {
		t.Errorf("fast: %q", got)
	}
	for text, want := range map[string]string{
		"partition-default: /d\n":                           "has no configdirectory",
		"configdirectory: /c\n":                             "names no partition",
		"configdirectory /c\n":                              "line 1 is not of the form NAME: VALUE",
		"configdirectory: /c\n@include: @DIR@/imapd.conf\n": "included twice",
		"@include: @DIR@/absent.conf\n":                     "no such file",
	} {
		if _, err := configOf(t, text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNames(t *testing.T) {
	slash, dots := mustConfig(t, "hashimapspool: yes\n"), mustConfig(t, "unixhierarchysep: no\ndefaultdomain: here\nfulldirhash: on\nhashimapspool: on\n")
	for _, tt := range []struct {
		c                            *config
		key, account, folder, legacy string
	}{
		{slash, "user.alice", "alice", "INBOX", "a/user/alice"},
		{slash, "user\x1falice", "alice", "INBOX", "a/user/alice"},
		{slash, "user.j^doe.we^ird", "j.doe", "we.ird", "j/user/j^doe/we^ird"},
		{slash, "user\x1fj.doe\x1fwe.ird", "j.doe", "we.ird", "j/user/j^doe/we^ird"},
		{slash, "example.org!user.Eve.Work.2024", "Eve@example.org", "Work/2024", "domain/e/example.org/e/user/Eve/Work/2024"},
		{slash, "example.org\x1duser\x1fEve", "Eve@example.org", "INBOX", "domain/e/example.org/e/user/Eve"},
		{slash, "user.7up.INBOX", "7up", `\x49NBOX`, "q/user/7up/INBOX"},
		{slash, "user.alice.INBOX.Sub", "alice", "INBOX/Sub", "a/user/alice/INBOX/Sub"},
		{slash, "user.alice.Entw&APw-rfe", "alice", "Entwürfe", "a/user/alice/Entw&APw-rfe"},
		{slash, "user.alice.&broken", "alice", `\x26broken`, "a/user/alice/&broken"},
		{dots, "here!user.j^doe.we^ird", "j.doe", "we^ird", "O/user/j^doe/we^ird"},
		{slash, "user", "", "", ""},
		{slash, "user.", "", "", ""},
		{slash, "shared.stuff", "", "", ""},
		{slash, "user.alice..x", "", "", ""},
		{slash, "user.alice.a/b", "", "", ""},
		{slash, "DELETED.user.alice.Work.6B03363F", "", "", ""},
		{slash, "DELETED\x1fuser\x1falice\x1fWork\x1f6B03363F", "", "", ""},
		{slash, "..!user.alice", "", "", ""},
	} {
		n := tt.c.parseKey(tt.key)
		if !n.usable() {
			if tt.account != "" {
				t.Errorf("%q is not usable", tt.key)
			}
			continue
		}
		if n.account() != tt.account || n.folder(tt.c.dots) != tt.folder || tt.c.legacyDir(&n) != tt.legacy {
			t.Errorf("%q: %q %q %q", tt.key, n.account(), n.folder(tt.c.dots), tt.c.legacyDir(&n))
		}
		if back, ok := tt.c.nameOfDir(tt.c.legacyDir(&n)); !ok || !reflect.DeepEqual(back, n) {
			t.Errorf("%q: %+v came back as %+v", tt.key, n, back)
		}
		if again := tt.c.parseInternal(n.full()); !reflect.DeepEqual(again, n) {
			t.Errorf("%q: %+v, by its internal name %+v", tt.key, n, again)
		}
	}
	for id, want := range map[string]string{"sg9goyed": "uuid/s/g/sg9goyed", "c5575115-d09d": "uuid/c/5/c5575115-d09d", "": "", "ab": "", "../../x": "", "a/b": ""} {
		if got := idDir(id); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}

// The values of mailboxes.db that Cyrus 2.3 to 3.13 have written.
func TestEntries(t *testing.T) {
	c := mustConfig(t, "")
	for _, tt := range []struct {
		key, value string
		want       string // account, folder, partition, identity, first directory, rights, special use; "" none
	}{
		{"user.alice", "0 default alice\tlrs\t", "alice|INBOX|default||user/alice|alice\tlrs\t|"},
		{"user.alice.Junk", `(uniqueid 41f1 specialuse \Junk) 0 fast alice` + "\tlrs\t", `alice|Junk|fast|41f1|user/alice/Junk|alice` + "\tlrs\t" + `|\Junk`},
		{"user.alice.Moving", "8 default alice\tlrs\t", "alice|Moving|default||user/alice/Moving|alice\tlrs\t|"},
		{"user.alice.Remote", "1 host!default alice\tlrs\t", ""},
		{"user.alice.Reserved", "2 default alice\tlrs\t", ""},
		{"user.alice.Calendar", "32 default alice\tlrs\t", ""},
		{"user.alice", "%(A %(alice lrs) I 41f1 P default V 17 M 5)", "alice|INBOX|default|41f1|user/alice|alice\tlrs\t|"},
		{"user.alice.Gone", "%(A %(alice lrs) I 41f1 P default T d)", ""},
		{"user.alice.#calendars", "%(A %(alice lrs) I 41f1 P default T c)", ""},
		{"$RACL$U\x1falice\x1fuser\x1falice", "", ""},
		{"user.alice.Bad", "%(A", "!"},
		{"user.alice.Worse", "nonsense", "!"},
		{"user.alice.Empty", "", "!"},
	} {
		boxes, bad := c.decodeList(&cyrusdb.DB{Records: []cyrusdb.Record{{Key: []byte(tt.key), Value: []byte(tt.value)}}})
		got := ""
		for _, b := range boxes {
			got = strings.Join([]string{b.account, b.folder, b.partition, b.id, b.dir, b.acl, b.specialUse}, "|")
		}
		if len(bad) > 0 {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.value, got, tt.want)
		}
	}
}

// A mailboxes.db with identities, and what is found of it when
// records are lost under their names.
func TestIdentities(t *testing.T) {
	b, err := os.ReadFile("testdata/list/mailboxes.db")
	if err != nil {
		t.Fatal(err)
	}
	db, err := cyrusdb.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	c := mustConfig(t, "")
	names := func(db *cyrusdb.DB) (out []string) {
		boxes, bad := c.decodeList(db)
		if len(bad) > 0 {
			t.Errorf("unreadable: %q", bad)
		}
		for _, b := range boxes {
			out = append(out, b.account+" "+b.folder+" "+b.dir+" "+b.id[:4])
		}
		slices.Sort(out)
		return out
	}
	want := []string{"carol INBOX uuid/2/s/2srcophvzxqvx6fg7fogiozk 2src", "carol foo uuid/j/j/jjjkrxcfovyc0cxsp500iobm jjjk",
		"carol foo/renamed uuid/n/5/n5klxfpst285z0ak1a35l5of n5kl", "carol gone uuid/y/j/yjgor960ul045heomfubupha yjgo"}
	got := names(db)
	if !slices.Equal(got, want) {
		t.Errorf("whole: %q", got)
	}
	lost := &cyrusdb.DB{Damage: []string{"x"}}
	stale := cyrusdb.Record{Key: []byte("Nuser\x1fcarol\x1fold"), Value: db.Get("Nuser\x1fcarol\x1ffoo")}
	lost.Records = append(lost.Records, stale) // foo's name before, of which the removal was lost
	for i, r := range db.Records {
		if r.Key[0] == 'I' || i%2 == 0 {
			lost.Records = append(lost.Records, r)
		}
	}
	if again := names(lost); !slices.Equal(again, got) {
		t.Errorf("with lost names: %q, want %q", again, got)
	}
}

func TestQuotas(t *testing.T) {
	for value, want := range map[string]string{
		"%(S (51895 100000) M (46) AS (5) NF (12) MODSEQ 99)\n": "STORAGE 100000",
		"%(S (1 2) M (3 4) AS (5 6) NF (7 8))":                  "STORAGE 2 MESSAGE 4 ANNOTATION-STORAGE 6 MAILBOX 8",
		"8668\n100000\n":                                        "STORAGE 100000",
		"8668 -1 M 4 5000":                                      "MESSAGE 5000",
		"8668 77 99 M 4 5000\n":                                 "STORAGE 77 MESSAGE 5000",
		"%(S (51895 -1) M (46))":                                "",
		"%(S":                                                   "!",
		"":                                                      "!",
		"8668":                                                  "!",
	} {
		got, err := parseQuota(value)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// Special uses, as machines of 64 and of 32 bits have written them.
func TestUses(t *testing.T) {
	db := &cyrusdb.DB{}
	for key, value := range map[string]string{
		"id1\x00/specialuse\x00[.OwNeR.]\x00":        "\x00\x00\x00\x05\x00\x00\x00\x00\\Junk\x00text/plain\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"id2\x00/specialuse\x00alice\x00":            "\x00\x00\x00\x05\\Sent\x00text/plain\x00",
		"user.alice.Bin\x00/specialuse\x00alice\x00": "\x00\x00\x00\x0d\x00\x00\x00\x00\\Trash \\Other\x00",
		"id3\x00/specialuse\x00bob\x00":              "\x00\x00\x00\x05\x00\x00\x00\x00\\Junk\x00",
		"id4\x00/specialuse\x00[.OwNeR.]\x00":        "\xff\xff\xff\xff\x00\x00\x00\x00\\Junk\x00",
		"id5\x00/comment\x00[.OwNeR.]\x00":           "\x00\x00\x00\x05\x00\x00\x00\x00\\Junk\x00",
		"id6\x00/specialuse":                         "\x00\x00\x00\x05\x00\x00\x00\x00\\Junk\x00",
	} {
		db.Records = append(db.Records, cyrusdb.Record{Key: []byte(key), Value: []byte(value)})
	}
	uses := decodeUses(db)
	for id, want := range map[string]string{"id1": `\Junk`, "id2": `\Sent`, "": `\Trash`, "id3": "", "id4": "", "id5": "", "id6": ""} {
		b := &box{id: id, account: "alice", name: boxName{user: "alice", levels: []string{"Bin"}}}
		if id != "" {
			b.name.levels[0] = "Other"
		}
		if got := b.useOf(uses); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestUIDs(t *testing.T) {
	s := parseUIDs("9,1:3,7:8,3:5,nonsense,8:7,100:*,:,12:x,")
	for uid := range uint32(120) {
		want := uid >= 1 && uid <= 5 || uid >= 7 && uid <= 9 || uid >= 100
		if s.has(uid) != want {
			t.Errorf("%d: %v", uid, s.has(uid))
		}
	}
	if !s.has(^uint32(0)) || parseUIDs("").has(1) {
		t.Error("ends")
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("user.alice.Work", `(uniqueid 41f1 specialuse \Junk) 0 fast alice`+"\tlrs\t")
	f.Add("Nexample.org\x1duser\x1feve", "%(T e I 0ipu4muo3jm2 P default V 1795372641 A %(eve lrs))")
	f.Add("kfs4\x00/specialuse\x00[.OwNeR.]\x00", "\x00\x00\x00\x05\x00\x00\x00\x00\\Junk\x00text/plain\x00")
	f.Add("\x1fVER\x1f", "2")
	f.Add("41f1", "1 1795330708 25 1795330708 1:5,9")
	f.Add("user.alice", "8668 100000 M 4 5000")
	c := mustConfig(f, "hashimapspool: yes\n")
	f.Fuzz(func(t *testing.T, key, value string) {
		db := &cyrusdb.DB{Records: []cyrusdb.Record{{Key: []byte(key), Value: []byte(value)}}}
		for _, damage := range [][]string{nil, {"x"}} {
			db.Damage = damage
			boxes, _ := c.decodeList(db)
			for _, b := range boxes {
				if !filepath.IsLocal(b.dir) {
					t.Fatalf("directory %q", b.dir)
				}
				if b.account == "" || b.folder == "" {
					t.Fatalf("%+v", b)
				}
				for _, file := range append(c.userFiles(&b.name, b.id, "sub"), c.quotaFile(&b.name)) {
					if !filepath.IsLocal(file) {
						t.Fatalf("file %q", file)
					}
				}
			}
		}
		c.subscribed(db, "alice")
		decodeUses(db)
		_, _ = parseQuota(value)
		parseUIDs(value).has(7)
		st := seenState{records: map[string]string{key: value}}
		st.uids(key).has(7)
		if n, ok := c.nameOfDir(key); ok && n.usable() && !filepath.IsLocal(c.legacyDir(&n)) {
			t.Fatalf("%q", key)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("configdirectory: /c\npartition-default: /d\nmetapartition_files: header\n")
	f.Add("a: b\\\nc\n@include: /nonexistent\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "@include") {
			return // it would read this machine's files
		}
		file := filepath.Join(dir, "imapd.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := readConfig(file); err == nil && (c.dir == "" || len(c.places()) == 0) {
			t.Fatalf("%+v", c)
		}
	})
}
