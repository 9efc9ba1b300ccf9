package piece

import (
	"bytes"
	"strings"
	"testing"
)

// looks gives a file's blocks.
func looks(stored []byte) []look {
	padded := append(append([]byte(nil), stored...), make([]byte, (testBlock-len(stored)%testBlock)%testBlock)...)
	var list []look
	for at := 0; at < len(padded); at += testBlock {
		list = append(list, lookAt(padded[at:at+testBlock]))
	}
	return list
}

// TestMailRunsOn: within messages hardly a joint is taken for a break, and the
// counts of a front are those of the wire form.
func TestMailRunsOn(t *testing.T) {
	for _, lf := range []bool{false, true} {
		joints, breaks := 0, 0
		for _, m := range mail() {
			stored := m
			if !lf {
				stored = crlf(m)
			}
			list := looks(stored)
			size := int64(0)
			for i := range list {
				size += int64(list[i].text) + int64(list[i].bare)
				if i == 0 {
					continue
				}
				size += joined(&list[i-1], &list[i])
				joints++
				if fit(&list[i-1], &list[i], testBlock) == misfit {
					breaks++
				}
			}
			if want := wantOf(0, stored).Size; size != want {
				t.Fatalf("counted %d bytes of the wire form, want %d", size, want)
			}
		}
		if joints < 2000 || breaks*1000 > joints {
			t.Errorf("LF %v: %d breaks in %d joints", lf, breaks, joints)
		}
	}
}

// TestForeignJoints: a block of base64 is hardly ever continued by a foreign one.
func TestForeignJoints(t *testing.T) {
	var all []look
	for _, m := range mail() {
		for _, l := range looks(crlf(m)) {
			if l.is(start64) && l.is(end64) && l.lastIs > 0 && len(all) < 3000 {
				all = append(all, l)
			}
		}
	}
	joints, fitting := 0, 0
	for i := range all {
		for j := 1; j < 100; j++ {
			joints++
			if fit(&all[i], &all[(i+j*37)%len(all)], testBlock) > misfit {
				fitting++
			}
		}
	}
	// Lines of 78 bytes and blocks of 4096 leave 39 phases to a message, and many
	// messages of this corpus share lengths of lines.
	if share := float64(fitting) / float64(joints); share > .03 || share == 0 {
		t.Errorf("%.1f %% of foreign joints fit", 100*share)
	}
}

func TestFit(t *testing.T) {
	line := strings.Repeat("QUJD", 19)
	many := strings.Repeat(line+"\r\n", 100)
	text := strings.Repeat("some words of a text\r\n", 300)
	header := "Content-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	end := func(s string) string { return s[len(s)-testBlock:] }
	tests := []struct {
		name, a, b string
		want       int
	}{
		{"base64 to the byte", end(many + line[:30]), line[30:] + "\r\n" + many, fits},
		{"base64, one byte too many", end(many + line[:30]), line[29:] + "\r\n" + many, misfit},
		{"base64, at a line's end", end(many), many, fits},
		{"base64 within a line's end", end(many + line + "\r"), "\n" + many, fits},
		{"half a line's end", end(many + line + "\r"), many, misfit},
		{"lines of other length", end(many + line[:30]), line[30:] + "\r\n" + strings.Repeat(line[:72]+"\r\n", 90), misfit},
		{"other line ends", end(many + line[:30]), line[30:] + "\n" + strings.ReplaceAll(many, "\r", ""), misfit},
		{"base64 and its end", end(many + line[:30]), line[30:36] + "\r\n--b--\r\n" + text, likely},
		{"base64 and its end, no whole group", end(many + line[:30]), line[30:35] + "\r\n--b--\r\n" + text, misfit},
		{"base64 and a boundary", end(many), "--b\r\n" + header + text, likely},
		{"base64 and text", end(many + line[:30]), text, misfit},
		{"text and text", end(text), text, maybe},
		{"text and a message", end(text), "Received: from a\r\n\tby b\r\nFrom: c\r\n\r\n" + text, misfit},
		{"text and base64", end(text), many, misfit},
		{"a part's header and base64", end(text + header + line[:8]), line[8:] + "\r\n" + many, fits},
		{"a part's header and base64 of elsewhere", end(text + header + line[:8]), line[7:] + "\r\n" + many, misfit},
		{"text that ended", text[:4000] + strings.Repeat("\x00", 96), text, misfit},
		{"text and noise", end(text), strings.Repeat("\x01\x02\x03\xff", 1024), misfit},
	}
	for _, test := range tests {
		a, b := lookAt([]byte(test.a)), lookAt([]byte(test.b[:testBlock]))
		if got := fit(&a, &b, testBlock); got != test.want {
			t.Errorf("%s: %d, want %d\n%+v\n%+v", test.name, got, test.want, a, b)
		}
	}
}

func TestBoundaries(t *testing.T) {
	for header, want := range map[string]string{
		"Subject: x\r\nContent-Type: multipart/mixed; boundary=\"a b\"\r\n\r\n":         "a b",
		"Content-type: multipart/mixed;\n\tboundary=abc;\n charset=x\nSubject: y\n\n":   "abc",
		"Subject: x\r\n\r\nContent-Type: multipart/mixed; boundary=late\r\n":            "",
		"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n": "",
		"Content-Type: multipart/mixed; boundary":                                       "",
		"": "",
	} {
		hash := uint32(0)
		if want != "" {
			hash = boundaryHash([]byte(want))
		}
		if got := boundaryOf([]byte(header)); got != hash {
			t.Errorf("%q: %x, want that of %q", header, got, want)
		}
	}
	for text, want := range map[string]string{
		"text\r\n--abc--\r\n":                      "abc",
		"text\r\n--abc--\r\n\r\n--abc2--":          "abc2",
		"text\n--abc--\n\n____\na list's footer\n": "abc",
		"text\r\n--b--\r\n-----\r\nfooter\r\n":     "b",
		"text\r\n-- \r\n":                          "",
		"--abc--" + strings.Repeat("\n", 3000):     "",
	} {
		hash := uint32(0)
		if want != "" {
			hash = boundaryHash([]byte(want))
		}
		if got := closing([]byte(text)); got != hash {
			t.Errorf("%q: %x, want that of %q", text, got, want)
		}
	}
}

// FuzzLook: whatever a block holds, its look is within bounds and counts right.
func FuzzLook(f *testing.F) {
	f.Add(body("b", 700, false))
	f.Add(bytes.Repeat([]byte("QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n"), 50))
	f.Add([]byte("\n\n\r\n--a--\n"))
	f.Add([]byte("Received: x\n y\n z\n"))
	f.Add([]byte{'\n', 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 || len(b) > largestBlock {
			return
		}
		l, next := lookAt(b), lookAt(b[len(b)/2:])
		if int(l.text) > len(b) || int(l.first) > len(b) || int(l.last) > len(b) || l.text == 0 && l != (look{}) {
			t.Fatalf("%+v of %d bytes", l, len(b))
		}
		if l.text > 0 {
			size := int64(l.text) + int64(l.bare)
			if l.is(firstLF) {
				size++
			}
			if want := wantOf(0, b[:l.text]).Size; size != want {
				t.Fatalf("counted %d bytes of the wire form, want %d", size, want)
			}
		}
		fit(&l, &next, int64(len(b)))
		keysAfter(&l)
		boundaryOf(b)
	})
}
