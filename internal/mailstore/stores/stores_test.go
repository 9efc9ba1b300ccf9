package stores

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailstore"
)

func TestOpenSourceRefuses(t *testing.T) {
	dir := t.TempDir()
	for url, want := range map[string]string{
		"":                                  "no scheme",
		dir:                                 "write maildir:" + dir,
		"maildir:":                          "path is missing",
		"pop3://x":                          "unknown kind",
		"eml:" + dir:                        "destination only",
		"maildir:" + dir:                    "is no Maildir",
		"maildir:" + dir + "/none":          "no such file",
		"maildir:" + dir + "/none/%u":       "no such file",
		"maildir:" + dir + "/%h":            "unknown variable",
		"maildir:" + dir + ":LAYOUT=index":  "unknown layout",
		"maildir:" + dir + "/%u:COLOUR=red": "unknown parameter",
		"mbox:" + dir + "/none":             "no such file",
		"mbox:" + dir + "/%q":               "unknown variable",
	} {
		_, err := OpenSource(url, Options{})
		if !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("OpenSource(%q) = %v, want one line with %q", url, err, want)
		}
	}
}

func TestOpenFillerRefuses(t *testing.T) {
	dir := t.TempDir()
	for url, want := range map[string]string{
		"maildir:" + dir + "/none/%u":                         "no such file",
		"maildir:" + dir + "/%u:CONTROL=/none:INDEX=/none/%u": "no such file",
		"maildir:" + dir + "/%h":                              "unknown variable",
		"cyrus:/none":                                         "no such file",
		"mdbox:" + dir:                                        "cannot be put back into",
		"imaps://a@b":                                         "cannot be put back into",
		dir:                                                   "write maildir:" + dir,
	} {
		if _, err := OpenFiller(url, Options{}); !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenFiller(%q) = %v, want %q", url, err, want)
		}
	}
	f, err := OpenFiller("maildir:"+dir+"/%u", Options{})
	if err != nil || f.(io.Closer).Close() != nil {
		t.Error(err)
	}
}

func TestCheckSource(t *testing.T) {
	for url, want := range map[string]string{
		"maildir:/none/%u": "", "mbox:/none/%u:UTF-8": "", "maildir:/none:LAYOUT=fs": "",
		"maildir:%x": "unknown variable", "imap://x": "imap", "eml:/x": "eml", "/x": "write maildir:/x", "maildir:/x:LAYOUT=y": "unknown layout",
	} {
		err := CheckSource(url)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrURL) || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckSource(%q) = %v, want %q", url, err, want)
		}
	}
}

// What stands in a URL by mistake may be a secret.
func TestNoSecretsInErrors(t *testing.T) {
	for _, url := range []string{
		"imap://a@localhost?password=hunter2", "imaps://a@h?auth=plain&pw=hunter2", "imaps://a:hunter2@h", "imaps://a:hunter2@h/x?y=1",
		"imap://a@h:x?hunter2=1;", "imap://a@h/path?x=hunter2", "imapss://a@h?password=hunter2", "imapss://a:hunter2@h/x", "imap://a@127.0.0.1:1?tls=none&separator=hunter2",
		"//a@h?password=hunter2", "imaps:a@h?password=hunter2", "imaps:a:hunter2@h", "imaps", "imaps:",
	} {
		_, err := OpenSource(url, Options{Password: func() ([]byte, error) { return []byte("x"), nil }})
		_, toErr := OpenDestination(url, Options{Password: func() ([]byte, error) { return []byte("x"), nil }})
		_, serverErr := OpenServer(url, Options{Password: func() ([]byte, error) { return []byte("x"), nil }})
		for _, err := range []error{err, toErr, serverErr} {
			if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
	for url, want := range map[string]string{
		"imapss://a:x@h:1/p?q": "imapss://a:…@h:1/p", "imap://a@h?q": "imap://a@h", "imaps:h?q": "imaps:h", "mbox:/a?b": "mbox:/a?b", "mbox:/a//b?c": "mbox:/a//b?c",
	} {
		if got := shown(url); got != want {
			t.Errorf("%s is shown as %q, want %q", url, got, want)
		}
	}
}

// Only a running server has accounts as their users see them.
func TestOpenServerRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"": "no scheme", "maildir:/x": "no running mail server (name the running server, as in imaps://", "cyrus:/etc/imapd.conf": "no running mail server",
		"imaps:": "path is missing", "imaps://h": "nobody to log in as", "imap://a@h?tls=x": "unknown tls",
	} {
		s, err := OpenServer(url, Options{})
		if s != nil || !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("OpenServer(%q) = %v, want one line with %q", url, err, want)
		}
	}
}

func TestOwnerLike(t *testing.T) {
	base := t.TempDir()
	for _, path := range []string{"alice", "alice/Maildir", "alice/mail/.maildir", "al:ice/Maildir"} {
		dir := filepath.Join(base, path)
		if err := os.MkdirAll(filepath.Join(dir, "cur"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {User: "bob"}} {
			s, err := OpenSource("maildir:"+dir, o)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Split(path, "/")[0]
			if o.User != "" {
				want = o.User
			}
			err = s.Users(context.Background(), func(u mailstore.User) error {
				if u.Name != want {
					t.Errorf("%s: user %q, want %q", path, u.Name, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenDestination(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("no mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"maildir:" + dir + "/%u:LAYOUT=fs:UTF-8", "maildir:" + dir + "/new/x", "mbox:" + dir + "/a.mbox", "mbox:" + dir + "/m:UTF-8", "eml:" + dir + "/e"} {
		d, err := OpenDestination(url, Options{})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		a, err := d.Account(context.Background(), "alice")
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := errors.Join(a.Mailbox(context.Background(), mailstore.Mailbox{Name: "INBOX"}), a.Close(context.Background())); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"", "eml:", "ftp:x", "maildir:" + file, "eml:" + file, "maildir:" + file + "/x", "mbox:" + dir + "/%d"} {
		if _, err := OpenDestination(url, Options{}); !errors.Is(err, ErrURL) {
			t.Errorf("OpenDestination(%q) = %v", url, err)
		}
	}
}
