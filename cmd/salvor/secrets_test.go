package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// TestJunkIsNowhere searches everything that the vault holds, decrypted, and
// everything that the backup host keeps, for the bytes of messages that only
// ever stood in Junk.
func TestJunkIsNowhere(t *testing.T) {
	w := newWorld(t)
	const wanted, junk = "Wintergreen-Kept-7316", "Brassica-Junk-9425"
	w.letters("INBOX", "", wanted)
	w.letters("Junk", ".Junk", junk)
	w.letters("Junk/Old", ".Junk.Old", junk)
	w.letters("Spam", ".Spam", junk)
	w.run("backup", "--create", "maildir:"+w.path("mail", "%u"))
	w.run("backup", "maildir:"+w.path("mail", "%u"))
	w.run("prune")

	held := w.everything()
	forms := func(needle string) []string {
		var all []string
		for shift := range 3 { // as it would look inside of base64
			text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + needle + "xx"))
			all = append(all, text[4:len(text)-4])
		}
		return append(all, needle, strings.ToLower(needle))
	}
	count := 0
	for name, b := range held {
		for _, f := range forms(junk) {
			if bytes.Contains(b, []byte(f)) {
				t.Errorf("%s holds %q", name, f)
			}
		}
		if bytes.Contains(b, []byte(wanted)) {
			count++
		}
	}
	if count < 3 {
		t.Errorf("the search finds wanted mail in %d places only: it does not see what it should", count)
	}
	w.opaque(wanted)
}

// letters puts messages with the needle in every place where mail has text.
func (w *world) letters(name, dir, needle string) {
	w.t.Helper()
	cur := w.path("mail", "alice", dir, "cur")
	if err := os.MkdirAll(cur, 0o700); err != nil {
		w.t.Fatal(err)
	}
	attached := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("attached "+needle+"\n", 200)))
	for i, text := range []string{
		"From: " + needle + "@example.org\nSubject: " + needle + "\nMessage-ID: <" + needle + "@x>\n\n" + needle + "\n",
		"Subject: attached\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + needle + "\n--b\nContent-Transfer-Encoding: base64\n\n" + attached + "\n--b--\n",
	} {
		file := filepath.Join(cur, fmt.Sprintf("%s-%d:2,S", strings.ReplaceAll(name, "/", "."), i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// everything gives all that there is, by name: the chunks of all packs, the
// rows of all journals and checkpoints, and every file outside of the vault but
// the mail store itself.
func (w *world) everything() map[string][]byte {
	w.t.Helper()
	ctx := context.Background()
	ids, err := vault.ReadIdentities(ctx, vault.IdentitySources{Files: []string{w.identity()}})
	must(w.t, err)
	store, err := objstore.Open(ctx, w.vault(), objstore.Options{})
	must(w.t, err)
	v, err := vault.Open(ctx, store, vault.OpenOptions{})
	must(w.t, err)
	reader, err := v.NewReader(ids.Keys, vault.ReaderOptions{})
	must(w.t, err)
	held := map[string][]byte{}
	must(w.t, v.Objects(ctx, vault.ObjectPack, func(o vault.Stored) error {
		info, err := reader.CheckPack(ctx, o.Object)
		must(w.t, err)
		for _, f := range info.Frames {
			for _, c := range f.Chunks {
				at := vault.Location{Pack: o.ID, PackSize: o.Size, FrameOffset: f.Offset, FrameStored: f.Stored, FramePlain: f.Plain,
					Method: f.Method, Offset: c.Offset, Size: c.Size}
				b, err := reader.Chunk(ctx, at, refOf(c), nil)
				must(w.t, err)
				held[fmt.Sprint(o.Name, " ", c.Kind, " ", c.ID)] = bytes.Clone(b)
			}
		}
		return nil
	}))
	for _, kind := range []vault.ObjectKind{vault.ObjectJournal, vault.ObjectCheckpoint} {
		must(w.t, v.Objects(ctx, kind, func(o vault.Stored) error {
			return v.ReadJournal(ctx, o.Object, ids.Keys, func(line []byte) error {
				held[o.Name] = append(held[o.Name], line...)
				return nil
			})
		}))
	}
	w.files(w.path("data"), func(path string, b []byte) { held[path] = b })
	return held
}

// opaque makes sure that the vault's stored bytes show no mail.
func (w *world) opaque(needle string) {
	w.t.Helper()
	w.files(w.vault(), func(path string, b []byte) {
		if bytes.Contains(b, []byte(needle)) {
			w.t.Errorf("%s shows mail without any key", path)
		}
	})
}

func (w *world) files(root string, fn func(path string, b []byte)) {
	w.t.Helper()
	must(w.t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fn(path, b)
		return err
	}))
}

// The secrets of the identity and the host key stand in their own files and
// nowhere else, and no command prints them.
func TestSecretsStayInTheirFiles(t *testing.T) {
	w := newWorld(t)
	w.letters("INBOX", "", "hello")
	said := w.run("backup", "--create", "--verbose", "maildir:"+w.path("mail", "%u"))
	for _, args := range [][]string{{"status", "--json"}, {"identity", "show"}, {"key", "list"}, {"config", "show"}, {"catalog", "info"},
		{"key", "add", "--verbose"}, {"show", "alice", "INBOX", "1"}} {
		said += w.run(args...)
	}
	var secrets []string
	keys, err := filepath.Glob(w.path("data", "salvor", "host-*.key"))
	must(t, err)
	for _, file := range append(keys, w.identity()) {
		b, err := os.ReadFile(file)
		must(t, err)
		for _, line := range strings.Split(string(b), "\n") {
			fields := strings.Fields(line)
			if strings.Contains(strings.ToLower(line), "secret") {
				secrets = append(secrets, fields[len(fields)-1])
			}
		}
	}
	if len(secrets) != 4 {
		t.Fatalf("found %d secrets, want those of reader, root, writer and metadata", len(secrets))
	}
	for _, s := range secrets {
		if strings.Contains(said, s) {
			t.Error("a command printed a secret")
		}
		found := 0
		w.files(w.path("data"), func(path string, b []byte) { found += bytes.Count(b, []byte(s)) })
		w.files(w.path("config"), func(path string, b []byte) { found += bytes.Count(b, []byte(s)) })
		if found != 1 {
			t.Errorf("a secret stands in %d places, want one", found)
		}
	}
}
