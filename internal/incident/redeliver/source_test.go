package redeliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A tree that does its worst: nothing outside of it is read, nothing hangs, and
// what cannot be read is yielded with the reason.
func TestDir(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600))
	deep := filepath.Join(dir, "deep", strings.Repeat("d/", maxDepth+3))
	must(t, os.MkdirAll(deep, 0o700))
	must(t, os.WriteFile(filepath.Join(deep, "below"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "12."), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "1.M2.host,S=3:2,S"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	must(t, os.Symlink("..", filepath.Join(dir, "up")))
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "secret")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	huge, err := os.Create(filepath.Join(dir, "huge"))
	must(t, err)
	must(t, huge.Truncate(MaxMessage+1))
	must(t, huge.Close())
	for n := range 2*dirBatch + 3 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("many-%d", n)), nil, 0o600))
	}
	d, err := OpenDir(dir)
	must(t, err)
	defer d.Close()
	var read, unreadable []string
	must(t, d.Contents(t.Context(), func(c Content) error {
		r, err := c.Open(t.Context())
		if err != nil {
			unreadable = append(unreadable, err.Error())
			return nil
		}
		if !strings.HasPrefix(c.Name, "many-") {
			read = append(read, c.Name)
		}
		return r.Close()
	}))
	slices.Sort(read)
	slices.Sort(unreadable)
	if strings.Join(read, " ") != "1.M2.host,S=3 12." {
		t.Errorf("read %q", read)
	}
	if len(unreadable) != 2 || !strings.Contains(unreadable[0], "nested more than") || !strings.Contains(unreadable[1], "longer than any message") {
		t.Errorf("unreadable: %q", unreadable)
	}
	stop := errors.New("enough")
	if err := d.Contents(t.Context(), func(Content) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := OpenDir(filepath.Join(dir, "12.")); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// What has changed since it was found is not sent.
func TestChanged(t *testing.T) {
	text := "Subject: a\n\nb\r\n"
	c := Content{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	f := newMatcher(nil, &Options{}, nil).finger
	read, err := f.read(t.Context(), c)
	must(t, err)
	if read.is != 15 || read.lf != 14 || read.wire != 17 || !read.sized(14) || !read.sized(15) || !read.sized(17) || read.sized(16) {
		t.Errorf("%+v", read)
	}
	stored, lf, wire, err := read.bytes(t.Context())
	if err != nil || string(stored) != text || string(lf) != "Subject: a\n\nb\n" || string(wire) != "Subject: a\r\n\r\nb\r\n" {
		t.Errorf("%q %q %q %v", stored, lf, wire, err)
	}
	for _, text = range []string{"Subject: a\n\nc\r\n", "Subject: a\n\nb\r\nmore", "Subject: a", ""} {
		if _, _, _, err := read.bytes(t.Context()); !errors.Is(err, errChanged) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestHeader(t *testing.T) {
	const message = "Return-Path: <x>\r\nReceived: from a\r\n\tby b\r\nSubject: s\r\nmessage-id :\r\n <1@x>\r\nDate: Sat, 28 Feb 2026 22:00:00 +0000\r\n\r\nMessage-ID: <2@x>\r\n"
	if id, date := identity([]byte(message)); id != "<1@x>" || date.Unix() != 1772316000 {
		t.Errorf("%q %v", id, date)
	}
	for other, want := range map[string]bool{
		message: true,
		strings.Replace(message, "from a", "from c\r\nReceived: from d", 1): true,
		strings.Replace(message, "Return-Path: <x>\r\n", "", 1):             true,
		"DKIM-Signature: a=b;\r\n c=d\r\nDelivered-To: bob\r\n" + message:   true,
		"X-Spam: yes\r\n" + message:                                         false,
		strings.Replace(message, "Subject: s", "Subject: t", 1):             false,
		strings.Replace(message, "<2@x>", "<3@x>", 1):                       false,
		message + "\r\n": false,
		strings.Replace(message, "Subject: s\r\n", "Subject: s\r\n Received: x\r\n", 1): false,
	} {
		if sameButTrace([]byte(message), []byte(other)) != want || sameButTrace([]byte(other), []byte(message)) != want {
			t.Errorf("%q: want %v", other, want)
		}
	}
	if sameButTrace(nil, nil) || sameButTrace([]byte("Received: a\r\n\r\n"), []byte("Received: b\r\n\r\n")) {
		t.Error("nothing is the same as nothing")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("Message-ID: <1@x>\r\nReceived: a\r\n b\r\n\r\nbody"), []byte("Received: c\n\nbody"))
	f.Add([]byte("\n"), []byte(" \r\n:\r\n"))
	f.Add([]byte("Date: x\r\nno field\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		identity(a)
		if sameButTrace(a, b) != sameButTrace(b, a) {
			t.Error("not the same both ways")
		}
		length := 0
		body := fields(a, func(_ string, field []byte) { length += len(field) })
		if length+len(body) > len(a) {
			t.Errorf("%d bytes of %d", length+len(body), len(a))
		}
		if _, rest := withoutTrace(a); !strings.HasSuffix(string(a), string(rest)) {
			t.Error("the body is no part of the message")
		}
	})
}
