package maildir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/chunk"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/atrest"
	"salvor/internal/testenv/dovecot"
)

// startPlugins starts a Dovecot with plugins that change how files are kept.
func startPlugins(t *testing.T, plugins string, settings ...string) (*dovecot.Server, Options) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{Config: fmt.Sprintf("mail_plugins = $mail_plugins %s\nplugin {\n%s\n}\n", plugins, strings.Join(settings, "\n"))})
	return s, Options{Root: template(t, filepath.Join(s.Dir, "home/%u/Maildir"))}
}

// files gives the message files of alice's INBOX.
func files(t *testing.T, s *dovecot.Server) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"cur", "new"} {
		found, err := filepath.Glob(filepath.Join(s.Home("alice"), "Maildir", sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// What Dovecot has compressed is read as the mail that IMAP shows, its size is
// the one that its name promises, and a restore finds it there already.
func TestCompressedByDovecot(t *testing.T) {
	for _, c := range []struct {
		kind string
		form atrest.Form
	}{{"gz", atrest.Gzip}, {"bz2", atrest.Bzip2}, {"zstd", atrest.Zstd}} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			s, o := startPlugins(t, "zlib", "zlib_save = "+c.kind, "zlib_save_level = 6")
			fill(s)
			c1 := s.Login("alice")
			c1.Append("INBOX", body(99)+strings.Repeat("a long message\r\n", 5000), when, `\Seen`)
			c1.Close()
			want, _, _, _ := imapView(s)
			got, _, _, _ := diskView(t, o)
			compareViews(t, got, want)
			for _, name := range files(t, s) {
				head, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if form := atrest.Detect(head); form != c.form {
					t.Errorf("%s is %q, so the test proves nothing", name, form)
				}
			}
			src, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			list, _ := messages(t, src, "INBOX")
			for _, m := range list {
				r, err := src.Open(ctx, mailstore.Mailbox{User: "alice", Name: "INBOX"}, m)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, r)
				if n != m.Promised || err != nil || r.(atrest.Teller).AtRest() != c.form {
					t.Errorf("%s: %d bytes, promised %d, %v, %q", m.Key, n, m.Promised, err, r.(atrest.Teller).AtRest())
				}
				r.Close()
			}
			if notes := transfer(t, o, o); notes != nil {
				t.Errorf("notes %v", notes)
			}
			if again, _, _, _ := imapView(s); len(again["INBOX"]) != len(want["INBOX"]) {
				t.Error("a restore did not find what was there already")
			}
			checkLog(t, s)
		})
	}
}

// A compressed mail that is restored into a Maildir without compression is the
// same mail to Dovecot.
func TestRestoreCompressed(t *testing.T) {
	from, fo := startPlugins(t, "zlib", "zlib_save = zstd")
	fill(from)
	want, _, _, _ := imapView(from)
	to, too := startDovecot(t, "maildir:~/Maildir")
	transfer(t, fo, too)
	got, _, _, _ := imapView(to)
	compareViews(t, got, want)
	checkLog(t, to)
}

// Encrypted files are told from others, and come back as they were: a server
// that has the key reads them.
func TestEncryptedByDovecot(t *testing.T) {
	s, o := startPlugins(t, "mail_crypt", cryptKeys(t)...)
	c := s.Login("alice")
	c.Append("INBOX", body(1), when, `\Seen`)
	c.Append("INBOX", body(2), when)
	c.Close()
	want, _, _, _ := imapView(s)
	src, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	list, _ := messages(t, src, "INBOX")
	if len(list) != 2 {
		t.Fatalf("%d messages", len(list))
	}
	for _, m := range list {
		r, err := src.Open(ctx, mailstore.Mailbox{User: "alice", Name: "INBOX"}, m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if form := r.(atrest.Teller).AtRest(); err != nil || form != atrest.Encrypted || !form.Opaque() {
			t.Errorf("%d bytes, %v, %q", len(b), err, form)
		}
		r.Close()
	}
	saved := t.TempDir()
	transfer(t, o, Options{Root: template(t, filepath.Join(saved, "%u/Maildir"))})
	if err := os.RemoveAll(s.Home("alice")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.Home("alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Chown("home")
	transfer(t, Options{Root: template(t, filepath.Join(saved, "%u/Maildir"))}, o)
	s.Chown("home")
	got, _, _, _ := imapView(s)
	compareViews(t, got, want)
	checkLog(t, s)
}

// cryptKeys makes a key pair, as mail_crypt's manual says, and the settings
// that name it.
func cryptKeys(t *testing.T) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"private": {Type: "PRIVATE KEY", Bytes: private}, "public": {Type: "PUBLIC KEY", Bytes: public}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"mail_crypt_global_private_key = <" + filepath.Join(dir, "private"), "mail_crypt_global_public_key = <" + filepath.Join(dir, "public"), "mail_crypt_save_version = 2"}
}

// A compressed file that is cut off is damaged, one that only begins like one
// is read as it is.
func TestCompressedDamage(t *testing.T) {
	dir := t.TempDir()
	makeFolder(t, dir)
	gz := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4a\x4c\x4a\x06\x00\x00\x00\xff\xff"
	write(t, gz, dir, "cur/1.vm,S=3:2,")
	write(t, "BZh9 said the message\n", dir, "cur/2.vm,S=22:2,")
	write(t, "\x1f\x8b says this one, with another size\n", dir, "cur/3.vm,S=1000:2,")
	write(t, "short", dir, "cur/4.vm,S=99999999999:2,")
	s := openSource(t, dir)
	list, problems := messages(t, s, "INBOX")
	if len(list) != 4 || problems != nil {
		t.Fatal(list, problems)
	}
	_, err := readMessage(t, s, "INBOX", list[0])
	var p *mailstore.Problem
	if !errors.Is(err, mailstore.ErrDamaged) || !errors.As(err, &p) || !strings.HasSuffix(p.Path, "/cur/1.vm,S=3:2,") {
		t.Errorf("a cut file: %v", err)
	}
	for i, want := range []string{"", "BZh9 said the message\n", "\x1f\x8b says this one, with another size\n", "short"} {
		if i == 0 {
			continue
		}
		if text, err := readMessage(t, s, "INBOX", list[i]); text != want || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	if got := fmt.Sprint(list[0].Size, list[1].Size, list[2].Size, list[3].Size); got != "19 22 1000 320" {
		t.Errorf("sizes %s", got)
	}
	var ids []chunk.ID
	d, err := Create(Options{Root: template(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Look(ctx, "alice", "INBOX", func(id chunk.ID) error { ids = append(ids, id); return nil })
	if problems := problemsOf(t, err); len(ids) != 3 || len(problems) != 1 || !errors.Is(problems[0], mailstore.ErrDamaged) {
		t.Errorf("%d messages, problems %v", len(ids), problems)
	}
}
