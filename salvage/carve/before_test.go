package carve

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// long is a message whose header goes on for more than a block; what, by the byte, stands
// at the end of the first.
func long(what string) []byte {
	head := "Return-Path: <a@example.org>\nFrom: a@example.org\n"
	pad := block - len(head) - len(what) - len("X-Long: \n")
	return []byte(head + "X-Long: " + strings.Repeat("x", pad) + "\n" + what)
}

// TestFollowWithinAnother holds heads that are none against the message before them,
// and messages that only stand behind another against the same.
func TestFollowWithinAnother(t *testing.T) {
	rest := []byte("guage: en\nTo: b@example.org\nSubject: x\nDate: y\n\ntext\n")
	part := "\n--b\nContent-Type: message/rfc822\n\n"
	multi := func(last string) []byte {
		head := "From: a@example.org\nTo: b@example.org\nDate: x\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"
		return []byte(head + strings.Repeat("x", 2*block-len(head)-len(last)) + last)
	}
	enclosed := []byte("From: c@example.org\nTo: d@example.org\nSubject: z\nDate: y\n\ntext\n--b--\n")
	mid := []byte("d: from c\nMessage-ID: <1@example.org>\nFrom: c@example.org\nTo: e@example.org\n\ntext\n--b--\n")
	for _, c := range []struct {
		name   string
		before []byte // ends with its last block
		head   []byte
		back   int64
		want   Verdict
	}{
		{"the rest of a header", long("Content-Lan"), rest, MaxBack, Part},
		{"something explains what is before", long("Content-Lan"), rest, 0, Broken},
		{"a file ends before", with(long("Content-Lan"), block-1, []byte{0}), rest, MaxBack, Broken},
		{"no head before", bytes.Repeat([]byte("text Content-Lan"), block/16), rest, MaxBack, Broken},
		{"a message within", multi(part), enclosed, MaxBack, Part},
		{"a message within, torn", multi(part + "Receive"), mid, MaxBack, Part},
		{"a part of text", multi("\n--b\n\n"), []byte(letter), MaxBack, Whole},
		{"a line of base64", multi("\n0FUzGK6X4xM"), []byte(letter), MaxBack, Whole},
		{"a header breaks off", long("X-Deliv"), []byte(letter), MaxBack, Whole},
		{"a header breaks off at a line", long("X-Long: y\n"), []byte(letter), MaxBack, Whole},
		{"a tiny one behind a header", long("X-Deliv"), []byte("Subject: note\n\ntext\n"), MaxBack, Plausible},
		{"small letters throughout", nil, []byte("x: 1\nfrom: a@example.org\nto: b@example.org\nsubject: x\n\ntext\n"), MaxBack, Plausible},
		{"unknown, but no rest", nil, []byte("Foo: 1\nFrom: a@example.org\nTo: b@example.org\n\ntext\n"), MaxBack, Plausible},
	} {
		if n := len(c.before) % block; n > 0 {
			c.before = append(c.before, make([]byte, block-n)...)
		}
		p := follow(t, on(c.before, c.head), int64(len(c.before)), Options{Back: c.back})
		if p.Verdict != c.want || p.Verdict != Whole && p.Why == "" {
			t.Errorf("%s: %s (%s), want %s", c.name, p.Verdict, p.Why, c.want)
		}
	}
}

func FuzzFollowWithinAnother(f *testing.F) {
	f.Add(long("Content-Lan"), []byte("guage: en\nTo: b@example.org\nSubject: x\nDate: y\n\ntext\n"))
	f.Add(picture(90), []byte(letter))
	f.Fuzz(func(t *testing.T, before, head []byte) {
		d := on(before, head)
		at := d.Size() - int64(len(head)+block-1)/block*block
		p, err := Follow(context.Background(), d, at, Options{Back: MaxBack})
		if err != nil || p.Verdict == "" || p.Verdict != Whole && p.Why == "" || p.Verdict == Part && at == 0 {
			t.Fatalf("%+v, %v", p, err)
		}
	})
}
