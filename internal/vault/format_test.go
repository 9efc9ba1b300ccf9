package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// The page of Python in docs/format.md gets mail back that the real program
// has stored, with the programs age and zstd and nothing of salvor's.
func TestMailComesBackWithoutSalvor(t *testing.T) {
	w := newWithout(t)
	w.salvor("backup", "--create", w.source())
	w.write("alice", "new", "1700000099.M9.late", "Subject: late\n\nThe second night.\n")
	w.salvor("backup", w.source())
	w.compare()

	// The same from a checkpoint alone, the journals being erased.
	list, message := w.python("alice"), w.python("alice", "INBOX", "1")
	w.checkpoint()
	if !bytes.Equal(w.python("alice"), list) || !bytes.Equal(w.python("alice", "INBOX", "1"), message) {
		t.Error("a checkpoint says something else than the journals before it")
	}

	if err := os.WriteFile(w.object("packs"), []byte("rot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("python3", w.page, w.vault, w.identity, "alice", "INBOX", "1").Output(); err == nil {
		t.Errorf("a damaged pack gives %d bytes", len(out))
	}
}

// without is a mail store, its vault, and the page of Python.
type without struct {
	t                                      *testing.T
	home, mail, vault, identity, bin, page string

	odd map[string]bool // messages that write made
}

func newWithout(t *testing.T) *without {
	home := t.TempDir()
	w := &without{t: t, odd: map[string]bool{}, home: home, mail: home + "/mail", vault: home + "/vault", identity: home + "/config/salvor/identity.txt",
		bin: home + "/salvor", page: home + "/page.py"}
	if out, err := exec.Command("go", "build", "-o", w.bin, "salvor/cmd/salvor").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	doc, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile("(?s)```python\n(import base64, hashlib, json, os, subprocess, sys\n.*?)```").FindSubmatch(doc)
	if page == nil { // there are others that help it, or read something else
		t.Fatal("docs/format.md holds no page of Python that reads a vault")
	}
	if err := os.WriteFile(w.page, page[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.mail, os.DirFS("../../testdata/demo")); err != nil {
		t.Fatal(err)
	}
	attachment := make([]byte, 3<<20) // cut in several chunks
	rand.New(rand.NewSource(1)).Read(attachment)
	w.write("alice", "new", "1700000001.M1.big", mime(attachment, "\n"))
	w.write("alice", "new", "1700000002.M2.crlf", mime(attachment[:1<<20], "\r\n"))
	w.write("alice", "new", "1700000003.M3.mixed", "Subject: mixed\r\n\nonce\r\ntwice\r\n\nand a bare \r too\n")
	w.write("alice", "new", "1700000004.M4.alternating", strings.Repeat("a\r\nb\n", 500))
	w.write("alice", "new", "1700000005.M5.empty", "")
	w.write("alice", "new", "1700000006.M6.subject", "Subject: =?utf-8?q?line=E2=80=A8separator?=\n\nx\n")
	return w
}

func mime(attachment []byte, end string) string {
	var b strings.Builder
	b.WriteString("Subject: attachment\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee there.\n--b\n")
	b.WriteString("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n")
	text := base64.StdEncoding.EncodeToString(attachment)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	b.WriteString(text + "\n--b--\n")
	return strings.ReplaceAll(b.String(), "\n", end)
}

func (w *without) source() string { return "maildir:" + w.mail + "/%u" }

func (w *without) write(user, dir, name, message string) {
	w.t.Helper()
	w.odd[message] = true
	path := filepath.Join(w.mail, user, dir, name)
	if err := os.WriteFile(path, []byte(message), 0o600); err != nil {
		w.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour) // long enough delivered to be looked at
	if err := os.Chtimes(filepath.Dir(path), old, old); err != nil {
		w.t.Fatal(err)
	}
}

func (w *without) salvor(args ...string) {
	w.t.Helper()
	cmd := exec.Command(w.bin, append(args, "--vault", w.vault)...)
	cmd.Env = []string{"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "XDG_DATA_HOME=" + w.home + "/data", "XDG_CONFIG_HOME=" + w.home + "/config"}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("salvor %v: %v\n%s", args, err, out)
	}
}

func (w *without) python(args ...string) []byte {
	w.t.Helper()
	cmd := exec.Command("python3", append([]string{w.page, w.vault, w.identity}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("the page of Python, %v: %v\n%s", args, err, &problems)
	}
	return out
}

// compare gets every message back and looks for it in the mail store.
func (w *without) compare() {
	w.t.Helper()
	lost := map[string]string{}
	for _, pattern := range []string{"/*/cur/*", "/*/new/*", "/*/*/cur/*", "/*/*/new/*"} {
		found, err := filepath.Glob(w.mail + pattern)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, path := range found {
			b, err := os.ReadFile(path)
			if err != nil {
				w.t.Fatal(err)
			}
			if !strings.Contains(path, "Junk") && !strings.Contains(path, "Spam") {
				lost[string(b)] = path
			}
		}
	}
	for user := range strings.Lines(string(w.python())) {
		user = strings.TrimSpace(user)
		list := strings.Split(strings.TrimSuffix(string(w.python(user)), "\n"), "\n")
		for i, line := range list {
			f := strings.Split(line, "\t")
			if len(f) != 7 {
				w.t.Fatalf("%s: line %q", user, line)
			}
			message := w.find(lost, f[2])
			// The odd ones and one of each user are enough; the page compares
			// hashes itself.
			if (i == 0 || w.odd[message]) && string(w.python(user, f[0], f[1])) != message {
				w.t.Errorf("%s %s %s: other bytes came back", user, f[0], f[1])
			}
			delete(lost, message)
		}
	}
	for _, path := range lost {
		w.t.Errorf("%s did not come back", path)
	}
}

// find gives the message whose wire form has this SHA-256.
func (w *without) find(all map[string]string, id string) string {
	for b := range all {
		if wireSum(b) == id {
			return b
		}
	}
	w.t.Errorf("message %s is in the vault, not in the store", id)
	return ""
}

// object gives the path of an object of a kind.
func (w *without) object(dir string) string {
	var largest string
	var size int64
	filepath.Walk(filepath.Join(w.vault, dir), func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return nil
	})
	if largest == "" {
		w.t.Fatalf("no object below %s", dir)
	}
	return largest
}

// checkpoint replaces the journals by a checkpoint of the same rows.
func (w *without) checkpoint() {
	ctx := context.Background()
	t := w.t
	st, err := objstore.Open(ctx, w.vault, objstore.Options{})
	must(t, err)
	v, err := vault.Open(ctx, st, vault.OpenOptions{})
	must(t, err)
	keys, err := filepath.Glob(w.home + "/data/salvor/host-*.key")
	must(t, err)
	host, err := vault.ReadHostKey(keys[0])
	must(t, err)
	ids, err := vault.ReadIdentities(ctx, vault.IdentitySources{Files: []string{w.identity}})
	must(t, err)
	j, err := v.NewJournal(ctx, vault.ObjectCheckpoint)
	must(t, err)
	c := &vault.Commit{Kind: vault.CommitCheckpoint, Time: time.Now()}
	var head vault.Head
	must(t, v.Commits(ctx, vault.Head{}, func(old *vault.Commit) error {
		head = old.Head()
		for _, o := range old.Journals {
			c.Condemned = append(c.Condemned, vault.Object{Kind: o.Kind, ID: o.ID})
			if err := v.ReadJournal(ctx, o, ids.Keys, j.Line); err != nil {
				return err
			}
		}
		return nil
	}))
	c.Checkpoints, err = j.Close()
	must(t, err)
	_, err = v.Commit(ctx, host, head, c)
	must(t, err)
	for _, o := range c.Condemned {
		must(t, v.Delete(ctx, o))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wireSum(stored string) string {
	id, _, _ := chunk.WireSums([]byte(stored))
	return fmt.Sprint(id)
}
