package folder

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDecodeLevel(t *testing.T) {
	for _, c := range []struct{ disk, mutf7, utf8 string }{
		{"Work", "Work", "Work"},
		{"Entw&APw-rfe", "Entwürfe", "Entw&APw-rfe"},
		{"R&-D", "R&D", "R&-D"},
		{"&U,BTFw-", "台北", "&U,BTFw-"}, // RFC 3501, section 5.1.3
		{"&2D3eCQ-", "😉", "&2D3eCQ-"},
		{"Entwürfe", `Entw\xc3\xbcrfe`, "Entwürfe"},
		{"foo&bar", `foo\x26bar`, "foo&bar"},
		{"&AEE-", `\x26AEE-`, "&AEE-"},    // an A that need not be encoded
		{"&AAc-", `\x26AAc-`, "&AAc-"},    // a bell
		{"&2D0-", `\x262D0-`, "&2D0-"},    // half a surrogate pair
		{"a\xffb", `a\xffb`, `a\xffb`},    // no UTF-8
		{"a\nb", `a\x0ab`, `a\x0ab`},      // a newline
		{`a\x41`, `a\x5cx41`, `a\x5cx41`}, // text that looks like an escape
		{`a\xZZ`, `a\xZZ`, `a\xZZ`},       // and text that does not
		{"&AC8-", `\x26AC8-`, "&AC8-"},    // a slash
		{"&IC4-", `\x26IC4-`, "&IC4-"},    // right-to-left override
		{"\u202egpj", `\xe2\x80\xaegpj`, `\xe2\x80\xaegpj`},
	} {
		for e, want := range map[Encoding]string{ModifiedUTF7: c.mutf7, UTF8: c.utf8} {
			got := e.DecodeLevel(c.disk)
			if got != want {
				t.Errorf("encoding %d: DecodeLevel(%q) = %q, want %q", e, c.disk, got, want)
			}
			if back := e.EncodeLevel(got); back != c.disk {
				t.Errorf("encoding %d: EncodeLevel(%q) = %q, want %q", e, got, back, c.disk)
			}
		}
	}
}

func TestDecodeDotted(t *testing.T) {
	for disk, want := range map[string]string{
		"Work.2024":        "Work/2024",
		"Entw&APw-rfe.Alt": "Entwürfe/Alt",
		"INBOX":            `\x49NBOX`,
		"inbox":            `\x69nbox`,
		"INBOX.Spam":       "INBOX/Spam",
		".Work":            `\x2eWork`,
		"Work.":            `Work\x2e`,
		"Work..x":          `Work/\x2ex`,
		"..":               `\x2e\x2e`,
		"a.b.c":            "a/b/c",
	} {
		if got := ModifiedUTF7.DecodeDotted(disk); got != want {
			t.Errorf("DecodeDotted(%q) = %q, want %q", disk, got, want)
		}
		if back := ModifiedUTF7.EncodeDotted(want); back != disk {
			t.Errorf("EncodeDotted(%q) = %q, want %q", want, back, disk)
		}
	}
}

func TestRoundtripTellsForeignNames(t *testing.T) {
	for _, level := range []string{`foo\x26bar`, "", "a\x00b", "a\xff", `a\x2fb`, `\x00`} {
		if UTF8.Roundtrip(level) {
			t.Errorf("UTF8.Roundtrip(%q) = true, but the name is not one that UTF-8 disk names give", level)
		}
	}
	for _, level := range []string{"Entwürfe", "R&D", `foo\x26bar`, `a\xffb`} {
		if !ModifiedUTF7.Roundtrip(level) {
			t.Errorf("ModifiedUTF7.Roundtrip(%q) = false", level)
		}
	}
}

// FuzzName checks that every disk name has a name of its own that is fit to be
// shown, and leads back.
func FuzzName(f *testing.F) {
	for _, s := range []string{"Work.2024", "Entw&APw-rfe", "&2D3eCQ-", "foo&bar", `a\x41`, "\xff\xfe", "a..b", "..", "&", "&-&-", "INBOX"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, disk string) {
		if disk == "" || strings.ContainsAny(disk, "/\x00") {
			return
		}
		for _, e := range []Encoding{ModifiedUTF7, UTF8} {
			level, dotted := e.DecodeLevel(disk), e.DecodeDotted(disk)
			if back := e.EncodeLevel(level); back != disk {
				t.Errorf("encoding %d: %q gives %q gives %q", e, disk, level, back)
			}
			if back := e.EncodeDotted(dotted); back != disk {
				t.Errorf("encoding %d: dotted %q gives %q gives %q", e, disk, dotted, back)
			}
			for _, name := range []string{level, dotted} {
				if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, "//") {
					t.Errorf("encoding %d: %q gives the unfit name %q", e, disk, name)
				}
			}
		}
	})
}
