package cyrus

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/imaptest"
)

// A surveyed is what Survey yields.
type surveyed struct {
	box   mailstore.Mailbox
	m     mailstore.Message
	state mailstore.FileState
}

func openFiller(t *testing.T, s *cyrus.Server) *Filler {
	t.Helper()
	f, err := OpenFiller(Options{ConfigFile: s.ConfigFile()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func survey(t *testing.T, f *Filler, user string) (out []surveyed) {
	t.Helper()
	err := f.Survey(ctx, mailstore.User{Name: user}, func(b mailstore.Mailbox, m mailstore.Message, s mailstore.FileState) error {
		if !m.Expunged.IsZero() {
			t.Errorf("a message that was removed: %+v", m)
		}
		out = append(out, surveyed{b, m, s})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kept are messages' contents by their SHA-1, as a vault has them: with LF.
func kept(t *testing.T, dirs ...string) map[[20]byte][]byte {
	t.Helper()
	out := map[[20]byte][]byte{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, ".") {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				out[sha1.Sum(b)] = []byte(strings.ReplaceAll(string(b), "\r\n", "\n"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// empty is what a fresh volume in the place of a lost one looks like.
func empty(t *testing.T, s *cyrus.Server, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		remove(t, filepath.Join(dir, e.Name()))
	}
}

// views is all that IMAP says of the users' folders.
func views(s *cyrus.Server, o cyrus.Options, clients map[string]*imaptest.Client) map[string]imaptest.Folder {
	out := map[string]imaptest.Folder{}
	for user, c := range clients {
		for _, name := range c.List() {
			out[user+" "+name] = c.Examine(name)
		}
	}
	return out
}

// The files of a running Cyrus come back, and clients that stayed connected see
// everything as it was: UIDs, flags, dates, \Seen, contents.
func TestFill(t *testing.T) {
	archive := "archive_enabled: yes\narchivepartition-default: @DIR@/archive\narchive_days: 0d"
	for name, o := range map[string]cyrus.Options{
		"uuid":       {Metafiles: cyrus.Metafiles},
		"legacy":     {Metafiles: cyrus.Metafiles, Layout: cyrus.Legacy, VirtualDomains: true},
		"partitions": {Metafiles: cyrus.Metafiles, Partitions: []string{"fast"}},
		"archive":    {Metafiles: cyrus.Metafiles, Config: archive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cyrus.Start(t, o)
			if name == "archive" {
				if err := os.Mkdir(filepath.Join(s.Dir, "archive"), 0o755); err != nil {
					t.Fatal(err)
				}
				s.Chown("archive")
			}
			fill(t, s, o, "alice")
			s.AddUser("bob", append([]string{"default"}, o.Partitions...)[len(o.Partitions)])
			s.Login("bob").Append("INBOX", body(200), when, `\Answered`)
			volumes := []string{s.Spool("default")}
			if len(o.Partitions) > 0 {
				volumes = append(volumes, s.Spool("fast"))
			}
			if name == "archive" {
				s.Run("cyr_expire", "-A", "1s", "-E", "3")
				volumes = append(volumes, filepath.Join(s.Dir, "archive"))
				if n := len(kept(t, volumes[1])); n == 0 {
					t.Fatal("nothing was archived")
				}
			}
			clients := map[string]*imaptest.Client{"alice": s.Login("alice"), "bob": s.Login("bob")}
			before := views(s, o, clients)
			contents := kept(t, volumes...)
			for _, v := range volumes {
				empty(t, s, v)
			}
			stopped := fillAll(t, s, contents, 7)
			if stopped != 7 {
				t.Fatalf("%d were put", stopped)
			}
			if got := fillAll(t, s, contents, 1000); got != 6 {
				t.Errorf("%d were put by the second run", got)
			}
			if after := views(s, o, clients); !reflect.DeepEqual(after, before) {
				t.Errorf("IMAP says\n%+v, before\n%+v", after, before)
			}
			if got := fillAll(t, s, contents, 1000); got != 0 {
				t.Errorf("%d were put again", got)
			}
			for _, n := range []string{"user/alice", "user/bob"} {
				if out := s.Run("reconstruct", "-n", "-G", n); strings.Contains(out, " uid ") && !strings.Contains(out, "not found") {
					t.Errorf("reconstruct says %q", out)
				}
			}
			checkFiles(t, s, volumes)
		})
	}
}

// fillAll puts at most n of what is missing, and gives how many those were.
func fillAll(t *testing.T, s *cyrus.Server, contents map[[20]byte][]byte, n int) (put int) {
	t.Helper()
	f := openFiller(t, s)
	for _, user := range []string{"alice", "bob"} {
		for _, l := range survey(t, f, user) {
			if l.state == mailstore.FileWhole || put == n {
				continue
			}
			if l.state != mailstore.FileMissing || contents[l.m.SHA1] == nil {
				t.Errorf("%+v", l)
				continue
			}
			if err := f.Put(ctx, l.box, l.m, contents[l.m.SHA1]); err != nil {
				t.Fatal(err)
			}
			put++
		}
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil || len(f.Notes()) > 0 {
		t.Errorf("%v, %v", err, f.Notes())
	}
	return put
}

// checkFiles looks at modes, owners and times of what was put.
func checkFiles(t *testing.T, s *cyrus.Server, volumes []string) {
	t.Helper()
	for _, v := range volumes {
		var want syscall.Stat_t
		if err := syscall.Stat(v, &want); err != nil {
			t.Fatal(err)
		}
		err := filepath.WalkDir(v, func(p string, d fs.DirEntry, err error) error {
			if err != nil || p == v || strings.HasPrefix(d.Name(), "cyrus.") {
				return err // Cyrus keeps a cache beside archived messages
			}
			var st syscall.Stat_t
			if err := syscall.Stat(p, &st); err != nil {
				return err
			}
			mode := map[bool]uint32{true: 0o700, false: 0o600}[d.IsDir()]
			if st.Mode&0o777 != mode || st.Uid != want.Uid || st.Gid != want.Gid || strings.Contains(p, ".salvor") {
				t.Errorf("%s: mode %o, owner %d:%d", p, st.Mode, st.Uid, st.Gid)
			}
			if d.Type().IsRegular() && st.Mtim.Sec >= when.Unix()+30*86400 {
				t.Errorf("%s: time %d", p, st.Mtim.Sec)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Only what the index promises is put, where nothing good stands.
func TestFillRefuses(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	dir := s.Directory("alice", "INBOX")
	file := func(uid int) string { return filepath.Join(dir, fmt.Sprint(uid, ".")) }
	whole := strings.ReplaceAll(body(2), "\r\n", "\n")
	flipped := strings.Replace(body(3), "body", "ydob", 1)
	remove(t, file(1))
	remove(t, file(2)) // COPY had made a link to it
	write(t, file(2), []byte("short"))
	remove(t, file(3))
	write(t, file(3), []byte(flipped))
	remove(t, file(4))
	if err := os.Symlink("/etc/passwd", file(4)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file(3), 0o600); err != nil {
		t.Fatal(err)
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, fmt.Sprintf(".salvor-%d-%s-1", dead.ProcessState.Pid(), deliver.Host))
	write(t, left, []byte("of a run that was killed"))
	find := func(list []surveyed, uid mailstore.UID) surveyed {
		for _, l := range list {
			if l.box.Name == "INBOX" && l.m.UID == uid {
				return l
			}
		}
		t.Fatalf("UID %d is not listed", uid)
		return surveyed{}
	}
	f := openFiller(t, s)
	list := survey(t, f, "alice")
	for uid, want := range map[mailstore.UID]mailstore.FileState{
		1: mailstore.FileMissing, 2: mailstore.FileOther, 3: mailstore.FileWhole, 4: mailstore.FileOther, 7: mailstore.FileWhole,
	} {
		if got := find(list, uid).state; got != want {
			t.Errorf("UID %d: %v, want %v", uid, got, want)
		}
	}
	one, two := find(list, 1), find(list, 2)
	var refused *mailstore.Refusal
	for _, wrong := range []string{"", body(2), body(1)[:5], body(1) + "\n", strings.Replace(body(1), "body", "ydob", 1)} {
		if err := f.Put(ctx, one.box, one.m, []byte(wrong)); !errors.As(err, &refused) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := f.Put(ctx, find(list, 7).box, find(list, 7).m, []byte(body(7))); !errors.Is(err, mailstore.ErrPresent) {
		t.Errorf("a whole file: %v", err)
	}
	for uid := range 4 {
		l := find(list, mailstore.UID(uid+1))
		if err := f.Put(ctx, l.box, l.m, []byte(strings.ReplaceAll(body(uid+1), "\r\n", "\n"))); err != nil {
			t.Errorf("UID %d: %v", uid+1, err)
		}
	}
	if _, err := os.Lstat(file(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file has its name before it is durable")
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	for _, l := range survey(t, openFiller(t, s), "alice") {
		text, err := read1(f.src, l.box, l.m)
		if l.state != mailstore.FileWhole || err != nil || sha1.Sum([]byte(text)) != l.m.SHA1 {
			t.Errorf("after filling: %+v: %q, %v", l, text, err)
		}
	}
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a killed run left is still there")
	}
	aside, _ := filepath.Glob(filepath.Join(dir, ".salvor-damaged-*"))
	if len(aside) != 3 || len(f.Notes()) != 3 {
		t.Errorf("put aside: %q, %v", aside, f.Notes())
	}
	for _, p := range aside {
		if strings.HasSuffix(p, "-2.") {
			if b, err := os.ReadFile(p); err != nil || string(b) != "short" {
				t.Errorf("%q, %v", b, err)
			}
		}
	}
	// What users do meanwhile counts.
	c := s.Login("alice")
	c.Select("INBOX")
	c.Expunge("2")
	if err := f.Put(ctx, two.box, two.m, []byte(whole)); !errors.Is(err, mailstore.ErrVanished) {
		t.Errorf("an expunged one: %v", err)
	}
	if err := f.Put(ctx, two.box, mailstore.Message{Key: "../../x", Place: "../../x"}, nil); err == nil {
		t.Error("it took a message that it had not listed")
	}
}

// A volume that is not mounted, or is somebody else's, is not filled.
func TestFillNowhere(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	empty(t, s, s.Spool("default"))
	if os.Geteuid() == 0 { // nobody else can give a directory away
		if err := os.Chown(s.Spool("default"), 0, 0); err != nil {
			t.Fatal(err)
		}
		nowhere(t, s, "belongs to user 0")
	}
	remove(t, s.Spool("default"))
	nowhere(t, s, "is not usable")
}

func nowhere(t *testing.T, s *cyrus.Server, words string) {
	t.Helper()
	f := openFiller(t, s)
	n := 0
	err := f.Survey(ctx, mailstore.User{Name: "alice"}, func(mailstore.Mailbox, mailstore.Message, mailstore.FileState) error { n++; return nil })
	var inc *mailstore.Incomplete
	if !errors.As(err, &inc) || n > 0 || !strings.Contains(inc.Problems[0].Error(), words) {
		t.Errorf("%d messages, %v", n, err)
	}
}

// Copies of a message share one file again, as COPY had made them.
func TestFillLinks(t *testing.T) {
	t.Parallel()
	s := filled(t, cyrus.Options{Metafiles: cyrus.Metafiles})
	s.AddUser("bob")
	contents := kept(t, s.Spool("default"))
	space := func() (n int) {
		inodes := map[uint64]bool{}
		err := filepath.WalkDir(s.Spool("default"), func(p string, d fs.DirEntry, err error) error {
			var st syscall.Stat_t
			if err == nil && d.Type().IsRegular() {
				n++
				err = syscall.Stat(p, &st)
				inodes[st.Ino] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n - len(inodes)
	}
	saved := space()
	empty(t, s, s.Spool("default"))
	if put := fillAll(t, s, contents, 1000); put == 0 || saved < 2 || space() != 2 {
		t.Errorf("%d were put, %d of them as links; there were %d", put, space(), saved)
	}
}
