package diskimage

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// list makes results of what a test writes down.
func list(all ...Result) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// disk is a truth made by hand: message 1 of alice, 2 of alice and of bob, 3 of bob
// (not there any more), 4 of carol, who lost nothing, 5 deleted by its user.
func disk() (*Damaged, *Limit) {
	message := func(n int, user, folder string) Message {
		return Message{Path: fmt.Sprint(user, n), User: user, Folder: folder, SHA1: fmt.Sprint(n), WireSize: int64(100 * n)}
	}
	d := &Damaged{Kind: Hole, Base: &Image{Options: Options{FS: Ext4}, Expunged: []Message{message(5, "alice", "INBOX"), message(1, "alice", "Sent")}},
		Targets: []Message{message(1, "alice", "INBOX"), message(2, "alice", "INBOX"), message(2, "bob@x.org", "Work"), message(3, "bob@x.org", "INBOX")},
		Others:  []Message{message(4, "carol", "INBOX")}}
	return d, &Limit{Targets: 3, TargetBytes: 600, Messages: 2, Bytes: 300, whole: map[string]bool{"1": true, "2": true}}
}

func TestScore(t *testing.T) {
	found := func(n int, user, folder string) Result {
		return Result{Name: fmt.Sprint("r", n), SHA1: fmt.Sprint(n), Whole: true, User: user, Folder: folder}
	}
	torn := Result{Name: "torn", SHA1: "0"}
	liar := Result{Name: "liar", SHA1: "1", Whole: true, Lie: "it lies"}
	all := Floors{Messages: 1, Bytes: 1, Users: 1, Folders: 1}
	for _, test := range []struct {
		name    string
		results []Result
		floors  Floors
		want    Report // what is counted
		short   []string
	}{
		{"nothing", nil, all, Report{}, []string{"0 of the 2 messages", "0.00 % of the bytes"}},
		{"everything", []Result{found(1, "alice", "INBOX"), found(2, "bob", "Work")}, all,
			Report{Found: 2, FoundBytes: 300, UserRight: 2, FolderRight: 2}, nil},
		{"half", []Result{found(1, "alice", "inbox"), torn}, Floors{Messages: .5, Bytes: .33, Users: 1},
			Report{Found: 1, FoundBytes: 100, Partial: 1, UserRight: 1, FolderRight: 1}, nil},
		{"twice", []Result{found(2, "", ""), found(2, "bob@x.org", "")}, Floors{Messages: .5, Bytes: .6, Users: 1},
			Report{Found: 1, FoundBytes: 200, Again: 1, UserRight: 1, FolderNone: 1}, nil},
		{"strangers", []Result{found(1, "bob", "INBOX"), found(2, "bob@y.org", "Work")}, all,
			Report{Found: 2, FoundBytes: 300, UserWrong: 2, FolderWrong: 2}, []string{"0 of 2 users right, 2 wrong", "0 of 2 folders right"}},
		{"false", []Result{found(1, "", ""), found(2, "", ""), found(9, "", "")}, Floors{Messages: 1, Bytes: 1},
			Report{Found: 2, FoundBytes: 300, False: 1, UserNone: 2, FolderNone: 2}, []string{"1 called whole that are no messages"}},
		{"old", []Result{found(5, "alice", "INBOX")}, Floors{}, Report{Old: 1}, []string{"1 that their users had deleted"}},
		{"old is no matter", []Result{found(5, "alice", "INBOX")}, Floors{Old: -1}, Report{Old: 1}, nil},
		{"old and owed", []Result{{Name: "r5", SHA1: "5", Whole: true, Owed: true}}, Floors{Old: -1}, Report{Old: 1, OldOwed: 1}, []string{"1 are called owed that their users had deleted"}},
		{"somebody else's", []Result{found(4, "carol", "INBOX")}, Floors{}, Report{Others: 1}, nil},
		{"a wonder", []Result{found(3, "bob", "INBOX")}, Floors{}, Report{Found: 1, FoundBytes: 300, Unlikely: 1, UserRight: 1, FolderRight: 1}, nil},
		{"a lie", []Result{liar}, Floors{}, Report{Found: 1, FoundBytes: 100, Lies: 1, UserNone: 1, FolderNone: 1}, []string{"liar: it lies"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, limit := disk()
			r, err := d.Score("hand", limit, list(test.results...))
			if err != nil {
				t.Fatal(err)
			}
			short := r.Below(test.floors)
			test.want.Disk, test.want.Damage, test.want.Tool, test.want.Limit, test.want.Examples = r.Disk, r.Damage, r.Tool, r.Limit, r.Examples
			if fmt.Sprint(*r) != fmt.Sprint(test.want) {
				t.Errorf("got  %+v\nwant %+v", *r, test.want)
			}
			if len(short) != len(test.short) {
				t.Fatalf("falls short: %q, want %q", short, test.short)
			}
			for i := range short {
				if !strings.Contains(short[i], test.short[i]) {
					t.Errorf("falls short: %q, want %q", short[i], test.short[i])
				}
			}
			if table := Table([]*Report{r}); !strings.Contains(table, "| hole | ext4 | hand | 66.67 % (50.0 %) |") {
				t.Error(table)
			}
		})
	}
}

// resultDir writes a result directory as package found describes it.
func resultDir(t *testing.T, lines []finding, bodies map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	text := ""
	for _, l := range lines {
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b) + "\n"
	}
	bodies["found.jsonl"] = text
	for name, body := range bodies {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestResults(t *testing.T) {
	body := "Subject: x\n\ntext\n"
	wire := wireForm([]byte(body))
	file := "mail/" + digest256([]byte(body))[:2] + "/" + digest256([]byte(body))
	good := finding{ID: "a", Class: "matched", Grade: "verified", User: "alice", Folder: "INBOX", Size: int64(len(body)), WireSize: int64(len(wire)),
		SHA256Stored: digest256([]byte(body)), SHA256: digest256(wire), SHA1: digest1(wire), File: file}
	change := func(f func(x *finding)) finding { x := good; f(&x); return x }
	lines := []finding{good,
		change(func(x *finding) { x.ID, x.Class = "b", "damaged" }),
		change(func(x *finding) { x.ID, x.Grade = "c", "partial" }),
		change(func(x *finding) { x.ID, x.Grade = "d", "plausible" }),
		change(func(x *finding) { x.ID, x.Class, x.File = "e", "already_held", "" }),
		change(func(x *finding) { x.ID, x.Class, x.File = "e2", "tombstoned", "" }),
		change(func(x *finding) { x.ID, x.SHA1 = "f", "00" }),
		change(func(x *finding) { x.ID, x.Size = "g", 3 }),
		change(func(x *finding) { x.ID, x.File = "h", "" }),
		change(func(x *finding) { x.ID = "b" }),
	}
	dir := resultDir(t, lines, map[string]string{file: body})
	var whole, lies []string
	for r, err := range Results(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Whole {
			whole = append(whole, r.Name)
		}
		if r.Lie != "" {
			lies = append(lies, r.Name)
		}
		if r.SHA1 != good.SHA1 || r.User != "alice" {
			t.Errorf("%+v", r)
		}
	}
	if fmt.Sprint(whole) != "[a d e f g h b]" || fmt.Sprint(lies) != "[f g h b]" {
		t.Errorf("whole are %v, lies %v", whole, lies)
	}
	n := 0
	for r := range Results(dir, "verified", "consistent") {
		if r.Name == "d" && r.Whole {
			t.Error("plausible counts as whole")
		}
		if n++; n == 2 {
			break
		}
	}
	for name, dir := range map[string]string{
		"outside": resultDir(t, []finding{change(func(x *finding) { x.File = "../../etc/passwd" })}, map[string]string{}),
		"missing": resultDir(t, []finding{good}, map[string]string{}),
		"none":    t.TempDir(),
	} {
		var last error
		for _, err := range Results(dir) {
			last = err
		}
		if last == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A tool that writes files is judged by their bytes, however they fall into
// buffers.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	want := map[string]bool{}
	for i := range 4 {
		body := strings.Repeat("x", 64<<10-2+i) + "\r\nand\nso on\r\n"
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		want[digest1(wireForm([]byte(body)))] = true
	}
	if err := os.WriteFile(filepath.Join(dir, "report.xml"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for r, err := range Tree([]string{dir}, func(path string) bool { return filepath.Ext(path) == ".xml" }) {
		if err != nil || !r.Whole || !want[r.SHA1] {
			t.Errorf("%+v, %v", r, err)
		}
		delete(want, r.SHA1)
	}
	if len(want) > 0 {
		t.Errorf("%d files not seen", len(want))
	}
}

// Who reads the whole truth off the disk finds all of it, and who takes everything
// that looks like a name finds what is left of it.
func TestScoreOfAWalk(t *testing.T) {
	im := Build(t, Options{Seed: 9, Fill: .3, Size: small})
	d := im.Harm(t, Hole, 1)
	l, err := d.Limit()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := d.Score("records of the undamaged image", l, func(yield func(Result, error) bool) {
		for _, m := range im.Messages {
			b, err := readExtents(f, m.Extents, m.Size)
			if !yield(Result{Name: m.Path, SHA1: digest1(wireForm(b)), Size: m.Size, Whole: true, User: m.User, Folder: m.Folder}, err) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if short := r.Below(Floors{Messages: 1, Bytes: 1, Users: 1, Folders: 1, False: -1}); len(short) > 0 {
		t.Error(short)
	}
	if r.Found != l.Messages || r.False == 0 || r.Unlikely > 0 {
		t.Errorf("%d found, %d false, %d unlikely; %s", r.Found, r.False, r.Unlikely, l)
	}
	t.Logf("\n%s", Table([]*Report{r}))
}
