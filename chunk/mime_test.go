package chunk

import (
	"bytes"
	"strings"
	"testing"
)

// long is a body that is long enough to become a part, and tells which.
func long(name string) string {
	return name + strings.Repeat(".", 1000)
}

// lines joins lines, each with its LF.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

func TestScanFindsLeaves(t *testing.T) {
	a, b, c := long("a"), long("b"), long("c")
	multi := func(l ...string) string {
		return lines(append([]string{"Content-Type: multipart/mixed; boundary=x", ""}, l...)...)
	}
	for _, test := range []struct {
		name, mail string
		want       []string
	}{
		{"single part", lines("Subject: s", "", a), []string{a + "\n"}},
		{"no header", "\n" + a, []string{a}},
		{"mbox line", lines("From x@example.org Sat Jan  3 01:05:34 1996", "Subject: s", "", a), []string{a + "\n"}},
		{"CR CR LF line ends", "Subject: s\r\n\r\n" + a, []string{a}},
		{"two parts", multi("--x", "", a, "--x", "T: t", "", b, "--x--"), []string{a, b}},
		{"long preamble and epilogue", multi(a, "--x", "", b, "--x--", c), []string{a, b, c + "\n"}},
		{"blanks after boundaries", multi("--x \t", "", a, "--x-- "), []string{a}},
		{"no end boundary", multi("--x", "", a, "--x", "", b), []string{a, b + "\n"}},
		{"end boundary without line end", strings.TrimSuffix(multi("--x", "", a, "--x--"), "\n"), []string{a}},
		{"boundary never used", multi(a), []string{a + "\n"}},
		{"no empty line before the boundary", multi("--x", "--x", "T: t", "--x", "", a, "--x--"), []string{a}},
		{"not at the start of a line", multi("--x", "", a, " --x", b, "--x--"), []string{a + "\n --x\n" + b}},
		{"longer boundary", multi("--x", "", a, "--xx", b, "--x--"), []string{a + "\n--xx\n" + b}},
		{"quoted boundary", strings.Replace(multi("--x y", "", a, "--x y--"), "=x", `="x y"`, 1), []string{a}},
		{"escaped boundary", strings.Replace(multi(`--x"y`, "", a, `--x"y--`), "=x", `="x\"y"`, 1), []string{a}},
		{"unquoted =", strings.Replace(multi("--=_x=y", "", a, "--=_x=y--"), "=x", "==_x=y", 1), []string{a}},
		{"folded with comments", lines("CONTENT-TYPE :", "\tMultipart/Mixed (a; (b) c);", " charset=us-ascii; Boundary (c) = x", "", "--x", "", a, "--x--"), []string{a}},
		{"second Content-Type", lines("Content-Type: multipart/mixed; boundary=x", "Content-Type: multipart/mixed; boundary=y", "", "--x", "", a, "--y", b, "--x--"), []string{a + "\n--y\n" + b}},
		{"multipart without boundary", lines("Content-Type: multipart/mixed", "", "--", a), []string{"--\n" + a + "\n"}},
		{"name in another word", lines("Content-Type: multipart/mixed; xboundary=x", "", "--x", "", a), []string{"--x\n\n" + a + "\n"}},
		{"nested", multi("--x", "Content-Type: multipart/alternative; boundary=y", "", "--y", "", a, "--y", "", b, "--y--", "", "--x", "", c, "--x--"), []string{a, b, c}},
		{"inner boundary begins with the outer one", multi("--x", "Content-Type: multipart/alternative; boundary=xx", "", "--xx", "", a, "--xx--", "--x", "", b, "--x--"), []string{a, b}},
		{"outer boundary begins with the inner one", strings.Replace(multi("--xx", "Content-Type: multipart/alternative; boundary=x", "", "--x", "", a, "--x--", "--xx", "", b, "--xx--"), "=x", "=xx", 1), []string{a, b}},
		{"inner never closed", multi("--x", "Content-Type: multipart/alternative; boundary=y", "", "--y", "", a, "--x", "", b, "--x--"), []string{a, b}},
		{"same boundary inside", multi("--x", "Content-Type: multipart/alternative; boundary=x", "", "--x", "", a, "--x--", "--x", "", b, "--x--"), []string{a, b}},
		{"message in a message", multi("--x", "Content-Type: message/rfc822", "", "Subject: inner", "", a, "--x--"), []string{a}},
		{"multipart in a message in a message", multi("--x", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=y", "", "--y", "", a, "--y--", "--x", "", b, "--x--"), []string{a, b}},
		{"digest", strings.Replace(multi("--x", "", "Subject: inner", "", a, "--x", "Content-Type: text/plain", "", b, "--x--"), "mixed", "digest", 1), []string{a, b}},
		{"encoded message", lines("Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", "T: t", "", a), []string{"T: t\n\n" + a + "\n"}},
	} {
		var s scanner
		s.scan([]byte(test.mail))
		var got []string
		for _, l := range s.leaves {
			if l.end-l.start >= 1000 {
				got = append(got, test.mail[l.start:l.end])
			}
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%s: leaves\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

func TestBase64IsNamedInManyWays(t *testing.T) {
	for value, want := range map[string]bool{
		"base64": true, "BASE64": true, " Base64 \t": true, "base64;": true, "(c) base64 (d(e))": true,
		"\n base64": true, `"base64"`: true, "base64\r": true,
		"": false, "base": false, "base642": false, "7bit": false, "(base64)": false, "x-uuencode": false,
	} {
		h := parseHeader([]byte("Content-Transfer-Encoding:"+value+"\n\n"), func([]byte) bool { return false })
		if h.base64 != want {
			t.Errorf("%q: base64 %v, want %v", value, h.base64, want)
		}
	}
}

// hostileMails are shapes that cost a careless parser its stack, its memory
// or its time.
func hostileMails() map[string][]byte {
	repeat := strings.Repeat
	nest := func(n int, inner string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("Content-Type: multipart/mixed; boundary=b" + repeat("i", i%90) + "\n\n--b" + repeat("i", i%90) + "\n")
		}
		return b.String() + inner
	}
	mails := map[string]string{
		"only LFs":              repeat("\n", 300_000),
		"only CRs":              repeat("\r", 300_000),
		"only NULs":             repeat("\x00", 300_000),
		"only dashes":           repeat("-", 300_000),
		"dash lines":            nest(40, "\n") + repeat("--\n", 100_000),
		"almost boundaries":     nest(90, "\n") + repeat("--bi!\n", 50_000),
		"deep nesting":          nest(5000, "\n"+long("x")),
		"messages in messages":  repeat("Content-Type: message/rfc822\n\n", 10_000) + long("x"),
		"many parts":            nest(1, "\n") + repeat("--b\n\n"+long("x")+"\n", 6000),
		"many tiny parts":       nest(1, "\n") + repeat("--b\n\nx\n", 100_000),
		"many headers only":     nest(1, "\n") + repeat("--b\n", 200_000),
		"many base64 parts":     nest(1, "\n") + repeat("--b\nContent-Transfer-Encoding: base64\n\n"+repeat("QUJD", 300)+"\n"+long("x")+"\n", 4000),
		"huge header":           "X: " + repeat("y", 3_000_000) + "\n\nbody",
		"endless header":        repeat("X: y\n", 600_000),
		"endless folded field":  "Content-Type: multipart/mixed;\n" + repeat(" a=b;\n", 300_000) + "\n--b\n",
		"endless comment":       "Content-Type: " + repeat("(", 200_000) + "\n\n",
		"endless string":        "Content-Type: multipart/mixed; boundary=\"" + repeat("\\", 200_000) + "\n\n",
		"huge headers of parts": nest(1, "\n") + repeat("--b\nX: "+repeat("y", 100_000)+"\n\nz\n", 30),
		"huge preamble":         "Content-Type: multipart/mixed; boundary=b\n\n" + repeat("preamble\n", 300_000) + "--b\n\nx",
		"base64 line of one":    "Content-Transfer-Encoding: base64\n\n" + repeat("A\n", 200_000),
		"boundary of 1000":      "Content-Type: multipart/mixed; boundary=" + repeat("b", 1000) + "\n\n--" + repeat("b", 1000) + "\n\nx",
	}
	out := map[string][]byte{}
	for name, m := range mails {
		out[name] = []byte(m)
	}
	return out
}

func TestHostileMailIsCutWithinBounds(t *testing.T) {
	c := newCutter(t)
	for name, mail := range hostileMails() {
		m := c.Cut(mail)
		if len(m.Recipe) > MaxRecipe {
			t.Errorf("%s: recipe of %d bytes", name, len(m.Recipe))
		}
		if len(m.Header) > maxHeader {
			t.Errorf("%s: header of %d bytes", name, len(m.Header))
		}
		if got, err := rebuild(m); err != nil || !bytes.Equal(got, mail) {
			t.Errorf("%s: rebuilt %d bytes of %d, %v", name, len(got), len(mail), err)
		}
	}
}
