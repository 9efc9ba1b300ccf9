package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// program is the page of Python in docs/format.md that reads a vault.
var program = regexp.MustCompile("(?s)```python\n(import base64, hashlib, json, os, subprocess, sys\n.*?)```\n")

// TestFormatByHand reads a vault without salvor, as docs/format.md says: with
// the programs age and zstd and its page of Python. The vault has been through
// several prunes, which packed it anew (package vault tests a young one).
func TestFormatByHand(t *testing.T) {
	page, err := os.ReadFile("../../docs/format.md")
	must(t, err)
	m := program.FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/format.md holds no program")
	}
	for _, tool := range []string{"age", "zstd", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: apt-get install age zstd python3", err)
		}
	}
	w := newWorld(t)
	must(t, os.WriteFile(w.path("salvage.py"), m[1], 0o600))
	mails := w.oddLetters()
	source := "maildir:" + w.path("mail", "%u")
	w.run("backup", "--create", source)
	must(t, os.Remove(w.path("mail", "alice", "cur", "gone:2,")))
	w.run("backup", source)

	if list := string(w.python("alice")); !strings.Contains(list, "gone") || !strings.Contains(list, "Straße") {
		t.Errorf("the list is not what the mail store held:\n%s", list)
	}
	w.run("backup", source)
	for range 3 {
		w.run("prune", "--keep-deleted", "1ms", "--erase-grace", "1ms")
	}
	delete(mails, "gone")
	if got := w.python(); string(got) != "alice\nbob\n" {
		t.Errorf("users: %q", got)
	}
	w.readByHand(mails)
}

// gatherer is the page of Python that puts a vault on several targets together.
var gatherer = regexp.MustCompile("(?s)```python\n(import collections, hashlib, os, sys, zlib\n.*?)```\n")

// TestGatherByHand puts a vault with parity together without salvor, from what
// is left after a target was lost and two others have rotted.
func TestGatherByHand(t *testing.T) {
	page, err := os.ReadFile("../../docs/format.md")
	must(t, err)
	m := gatherer.FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/format.md holds no program")
	}
	w := newWorld(t)
	must(t, os.WriteFile(w.path("gather.py"), m[1], 0o600))
	w.oddLetters()
	args := []string{"init", "--parity", "4+2"}
	var left []string
	for _, disk := range []string{"a", "b", "c", "d", "e", "f"} {
		args = append(args, "--target", w.path(disk))
		left = append(left, w.path(disk))
	}
	w.run(args...)
	w.run("--vault", w.path("a"), "backup", "maildir:"+w.path("mail", "%u"))
	w.run("--vault", w.path("a"), "restore", "--all", "--to", "maildir:"+w.path("back", "%u"))
	for disk, at := range []int{5000, 9000} {
		packs, err := filepath.Glob(filepath.Join(left[disk], "packs", "*", "*"))
		must(t, err)
		for _, pack := range packs {
			b, err := os.ReadFile(pack)
			must(t, err)
			b[min(at, len(b)-1)] ^= 1
			must(t, os.WriteFile(pack, b, 0o600))
		}
	}
	cmd := exec.Command("python3", append([]string{w.path("gather.py"), w.path("out")}, left[:5]...)...)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("gather.py: %v\n%s", err, out)
	}
	w.run("--vault", w.path("out"), "check", "--read-data")
	w.run("--vault", w.path("out"), "restore", "--all", "--to", "maildir:"+w.path("hand", "%u"))
	for _, user := range []string{"alice", "bob"} {
		a, err := listMaildir(w.path("back", user), nil)
		must(t, err)
		b, err := listMaildir(w.path("hand", user), nil)
		must(t, err)
		if diff := difference(a, b); diff != "" || len(a) == 0 {
			t.Errorf("%s: %s (%d messages)", user, diff, len(a))
		}
	}
}

// python runs the page of Python and gives what it prints.
func (w *world) python(args ...string) []byte {
	w.t.Helper()
	cmd := exec.Command("python3", append([]string{w.path("salvage.py"), w.vault(), w.identity()}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("python3 salvage.py %q: %v\n%s", args, err, &errs)
	}
	return out
}

// readByHand gets alice's messages one by one and compares them with what was
// written to the mail store.
func (w *world) readByHand(mails map[string][]byte) {
	w.t.Helper()
	wanted := map[[32]byte]string{}
	for name, b := range mails {
		wanted[sha256.Sum256(b)] = name
	}
	lines := strings.Split(strings.TrimSpace(string(w.python("alice"))), "\n")
	if len(lines) != len(mails) {
		w.t.Errorf("the list has %d messages, want %d:\n%s", len(lines), len(mails), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if i%3 == 2 { // each costs a look through the whole vault
			continue
		}
		fields := strings.Split(line, "\t")
		mail := w.python("alice", fields[0], fields[1])
		if _, found := wanted[sha256.Sum256(mail)]; !found {
			w.t.Errorf("%q is none of the messages that were backed up: %.80q", line, mail)
		}
	}
}

// oddLetters writes messages that need every page of the format: line ends of
// all sorts, base64 of all widths, an attachment of many chunks, no header.
func (w *world) oddLetters() map[string][]byte {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 900<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	mails := map[string][]byte{
		"lf":     []byte("Subject: =?utf-8?q?Stra=C3=9Fe?=\n\nplain\n"),
		"crlf":   []byte("Subject: crlf\r\n\r\nplain\r\n"),
		"mixed":  []byte("Subject: mixed\r\n\nlf\ncrlf\r\ncr\rlf\n\r\r\nno end"),
		"empty":  {},
		"nohead": []byte("no header at all"),
		"nul":    []byte("Subject: nul\n\n\x00\xff\x80\n"),
		"wide":   attachment(noise[:5000], 72),
		"one":    attachment(noise[:5001], 0),
		"long":   attachment(noise, 76),
		"gone":   []byte("Subject: gone\n\nwill be deleted\n"),
	}
	alternating := "Subject: bits\n\n"
	for i := range 400 {
		alternating += fmt.Sprint("line ", i, []string{"\n", "\r\n"}[i%2])
	}
	mails["bits"] = []byte(alternating)
	for name, b := range mails {
		dir := w.path("mail", "alice", map[bool]string{true: ".Work", false: ""}[len(name) == 3], "cur")
		must(w.t, os.MkdirAll(dir, 0o700))
		must(w.t, os.WriteFile(filepath.Join(dir, name+":2,"), b, 0o600))
	}
	must(w.t, os.MkdirAll(w.path("mail", "alice", "cur"), 0o700))
	must(w.t, os.MkdirAll(w.path("mail", "bob", "cur"), 0o700))
	must(w.t, os.WriteFile(w.path("mail", "bob", "cur", "1:2,"), mails["long"], 0o600))
	return mails
}

// attachment is a message with base64 of lines of so many letters.
func attachment(b []byte, width int) []byte {
	var out bytes.Buffer
	out.WriteString("Subject: attached\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee below.\n" +
		"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n")
	text := encode(b)
	for width > 0 && len(text) > width {
		out.WriteString(text[:width] + "\n")
		text = text[width:]
	}
	out.WriteString(text + "\n--b--\n")
	return out.Bytes()
}
