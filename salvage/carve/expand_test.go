package carve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/mbox"
	"salvor/internal/mailstore/userpath"
)

type got struct {
	Mail
	text string
	err  error
}

func expand(t testing.TB, b []byte, o ExpandOptions) (out []got, err error) {
	t.Helper()
	err = Expand(context.Background(), bytes.NewReader(b), int64(len(b)), o, func(m *Mail) error {
		text, err := io.ReadAll(m.Body)
		out = append(out, got{Mail: *m, text: string(text), err: err})
		return nil
	})
	return out, err
}

func TestExpand(t *testing.T) {
	when := time.Date(2024, 7, 1, 10, 0, 0, 0, time.UTC)
	twice := []byte("From a@example.org Mon Jul  1 10:00:00 2024\n" + letter + "\nFrom b@example.org Mon Jul  1 10:00:00 2024\nSubject: x\n\n>From here\nFrom now on: nothing\nFrom c@example.org Mon Jul  1 10:00:00 2024\nno header follows\n\n")
	second := "Subject: x\n\n>From here\nFrom now on: nothing\nFrom c@example.org Mon Jul  1 10:00:00 2024\nno header follows\n"
	inBox := fmt.Appendf(nil, "2 M1e C1\n\x01\x02N          %016x\n%s\n\x01\x03\nR66827e20\nG3dd9302b7f38036be56f000083ecc375\nBWork/2024\n\n", len(gzipped([]byte(letter))), gzipped([]byte(letter)))
	broken := bytes.Clone(gzipped(picture(300)))
	copy(broken[len(broken)/2:], make([]byte, 99))
	mixed := []byte(dboxFile + "\x01\x02N          00000000000fffff\nSubject: lost\n\nxx" + dboxFile[16:])
	for _, c := range []struct {
		name  string
		data  []byte
		want  []string
		first Mail
		err   error // of the first message
	}{
		{"plain", []byte(letter), []string{letter}, Mail{Kind: Header}, nil},
		{"gzip", gzipped([]byte(letter)), []string{letter}, Mail{Kind: Header, Packed: Gzip}, nil},
		{"gzip and zeros", append(gzipped([]byte(letter)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), []string{letter}, Mail{Kind: Header, Packed: Gzip}, nil},
		{"bzip2", bzip2ed, []string{letter}, Mail{Kind: Header, Packed: Bzip2}, nil},
		{"zstd", zstded([]byte(letter)), []string{letter}, Mail{Kind: Header, Packed: Zstd}, nil},
		{"mbox", twice, []string{letter, second}, Mail{Kind: Mbox, Sender: "a@example.org", Date: when}, nil},
		{"mbox, crlf", toCRLF(twice), []string{string(toCRLF([]byte(letter))), string(toCRLF([]byte(second)))}, Mail{Kind: Mbox, Sender: "a@example.org", Date: when}, nil},
		{"mbox in gzip", gzipped(twice), []string{letter, second}, Mail{Kind: Mbox, Packed: Gzip, Sender: "a@example.org", Date: when, Off: -1}, nil},
		{"quoted mbox", []byte("From mboxrd@salvor.invalid Mon Jul  1 10:00:00 2024\nSubject: x\n\n>From a\n>>From b\n> From\n"), []string{"Subject: x\n\nFrom a\n>From b\n> From\n"}, Mail{Kind: Mbox, Date: when}, nil},
		{"mdbox", []byte(dboxFile + dboxFile[16:]), []string{"Subject: 1 INBOX\n\nbody 1\n", "Subject: 1 INBOX\n\nbody 1\n"}, Mail{Kind: Dbox, GUID: "3dd9302b7f38036be56f000083ecc375", Mailbox: "INBOX", Date: time.Unix(0x4540fea8, 0).UTC()}, nil},
		{"record", []byte(dboxFile[16:]), []string{"Subject: 1 INBOX\n\nbody 1\n"}, Mail{Kind: Dbox, GUID: "3dd9302b7f38036be56f000083ecc375", Mailbox: "INBOX", Date: time.Unix(0x4540fea8, 0).UTC()}, nil},
		{"gzip in dbox", inBox, []string{letter}, Mail{Kind: Dbox, Packed: Gzip, GUID: "3dd9302b7f38036be56f000083ecc375", Mailbox: "Work/2024", Date: when}, nil},
		{"damaged dbox", mixed, []string{"Subject: 1 INBOX\n\nbody 1\n", "Subject: lost\n\nxx", "Subject: 1 INBOX\n\nbody 1\n"}, Mail{Kind: Dbox, GUID: "3dd9302b7f38036be56f000083ecc375", Mailbox: "INBOX", Date: time.Unix(0x4540fea8, 0).UTC()}, nil},
		{"cut gzip", gzipped(picture(300))[:9000], []string{"prefix"}, Mail{Kind: Header, Packed: Gzip}, ErrDamaged},
		{"broken gzip", broken, []string{"prefix"}, Mail{Kind: Header, Packed: Gzip}, ErrDamaged},
	} {
		list, err := expand(t, c.data, ExpandOptions{})
		if err != nil || len(list) != len(c.want) {
			t.Errorf("%s: %d messages, %v", c.name, len(list), err)
			continue
		}
		m := list[0]
		if m.Kind != c.first.Kind || m.Packed != c.first.Packed || m.Sender != c.first.Sender || !m.Date.Equal(c.first.Date) || m.GUID != c.first.GUID || m.Mailbox != c.first.Mailbox || c.first.Off < 0 && m.Off >= 0 || !errors.Is(m.err, c.err) {
			t.Errorf("%s: %+v, %v", c.name, m.Mail, m.err)
		}
		for i, m := range list {
			if c.want[i] == "prefix" {
				if len(m.text) < 4096 || !strings.HasPrefix(string(picture(300)), m.text[:4096]) {
					t.Errorf("%s: %d bytes", c.name, len(m.text))
				}
			} else if m.text != c.want[i] || m.Name != fmt.Sprint(i+1) {
				t.Errorf("%s: %q, want %q", c.name, m.text, c.want[i])
			}
			if broken := strings.Contains(m.text, "lost"); broken != errors.Is(m.err, ErrDamaged) && c.err == nil {
				t.Errorf("%s, message %d: %v", c.name, i+1, m.err)
			}
		}
	}
}

// What grows without end is cut off.
func TestExpandBombs(t *testing.T) {
	bomb := append([]byte(letter), make([]byte, 64<<20)...)
	for name, b := range map[string][]byte{"gzip": gzipped(bomb), "zstd": zstded(bomb)} {
		list, err := expand(t, b, ExpandOptions{Ratio: 10})
		if err != nil || len(list) != 1 || !errors.Is(list[0].err, ErrLimit) || len(list[0].text) > 17<<20 {
			t.Errorf("%s: %v, %v, %d bytes", name, err, list[0].err, len(list[0].text))
		}
		list, _ = expand(t, b, ExpandOptions{Limit: 1000})
		if !errors.Is(list[0].err, ErrLimit) || len(list[0].text) != 1000 {
			t.Errorf("%s: %v", name, list[0].err)
		}
		list, _ = expand(t, b, ExpandOptions{Limit: 1000, Total: 500})
		if !errors.Is(list[0].err, ErrLimit) || len(list[0].text) != 500 {
			t.Errorf("%s: %v", name, list[0].err)
		}
	}
	many := []byte(strings.Repeat("From a@example.org Mon Jul  1 10:00:00 2024\n"+letter+"\n", 9))
	if list, err := expand(t, many, ExpandOptions{Total: 400}); !errors.Is(err, ErrLimit) || len(list) != 3 {
		t.Errorf("%d messages, %v", len(list), err)
	}
	stop := errors.New("stop")
	if err := Expand(context.Background(), strings.NewReader(letter), 99, ExpandOptions{}, func(*Mail) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestSplitAsMbox holds the splitting against package mbox, which reads what mail
// programs write.
func TestSplitAsMbox(t *testing.T) {
	var all []byte
	for i, m := range generated(t, 60, 3) {
		all = fmt.Appendf(all, "From a@example.org Mon Jul  1 10:00:%02d 2024\n%s\n", i%60, bytes.ReplaceAll(m, []byte("\nFrom "), []byte("\n>From ")))
	}
	file := filepath.Join(t.TempDir(), "x.mbox")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := userpath.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	src, err := mbox.Open(mbox.Options{Root: root, User: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	err = src.Mailboxes(context.Background(), mailstore.User{Name: "a"}, func(box mailstore.Mailbox) error {
		return src.Messages(context.Background(), box, func(m mailstore.Message) error {
			r, err := src.Open(context.Background(), box, m)
			if err != nil {
				return err
			}
			defer r.Close()
			b, err := io.ReadAll(r)
			want = append(want, string(b))
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := expand(t, all, ExpandOptions{})
	if err != nil || len(list) != len(want) || len(want) < 40 {
		t.Fatalf("%d messages, want %d, %v", len(list), len(want), err)
	}
	for i, m := range list {
		if m.text != want[i] {
			t.Errorf("message %d: %d bytes, want %d", i, len(m.text), len(want[i]))
		}
	}
}
