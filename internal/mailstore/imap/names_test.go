package imap

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"salvor/internal/mailstore/imap/wire"
)

func space(prefix, separator string) []wire.Namespace {
	return []wire.Namespace{{Prefix: prefix, Separator: separator}}
}

func TestNames(t *testing.T) {
	for name, tt := range map[string]struct {
		spaces wire.Namespaces
		want   map[string]string // names by what stands on the wire; "" for what is not ours
	}{
		"beside INBOX": {wire.Namespaces{Personal: space("", "/"), Others: space("Other Users/", "/"), Shared: space("Shared Folders/", "/")},
			map[string]string{"inbox": "INBOX", "INBOX/Sub": "INBOX/Sub", "Work/2024": "Work/2024", "a.b": "a.b", "Entw&APw-rfe": "Entwürfe",
				"Other Users/bob": "", "Other Users": "", "Shared Folders/x": "", "Other Users2": "Other Users2", "a\"b": "a\"b", `a\b`: `a\b`,
				"a\x01b": `a\x01b`, "a//b": `a/\x2fb`, "/a": `\x2fa`, "a/": `a\x2f`, "b\xffc": `b\xffc`, "foo&bar": `foo\x26bar`, `a\x41`: `a\x5cx41`}},
		"below INBOX": {wire.Namespaces{Personal: space("INBOX.", "."), Others: space("user.", "."), Shared: space("", ".")},
			map[string]string{"INBOX": "INBOX", "INBOX.Work.2024": "Work/2024", "INBOX.INBOX": `\x49NBOX`, "INBOX.INBOX.Sub": "INBOX/Sub", "user.bob": "",
				"shared": "", "INBOX.a/b": `a\x2fb`, "inbox.x": "x", "INBOX.": "", "INBOX.a..b": `a/\x2eb`}},
		"dots":           {wire.Namespaces{Personal: space("", ".")}, map[string]string{"Work.2024": "Work/2024", "a/b.c": `a\x2fb/c`, "INBOX.x": "INBOX/x"}},
		"backslashes":    {wire.Namespaces{Personal: space("", `\`)}, map[string]string{`Work\2024`: "Work/2024", `x/y\z`: `x\x2fy/z`, `a\\b`: `a/\b`}},
		"flat":           {wire.Namespaces{Personal: space("", "")}, map[string]string{"Work/2024": `Work\x2f2024`, "x": "x"}},
		"two of our own": {wire.Namespaces{Personal: []wire.Namespace{{Prefix: "INBOX/", Separator: "/"}, {Prefix: "Old/", Separator: "/"}}}, map[string]string{"INBOX/a": "INBOX/a", "Old/a": "Old/a"}},
	} {
		n := namesOf(tt.spaces, "")
		for onWire, want := range tt.want {
			got, ok := n.name(onWire)
			if got != want || ok != (want != "") {
				t.Errorf("%s: %q is %q, %v, want %q", name, onWire, got, ok, want)
			}
			if back := n.onWire(got); ok && !strings.EqualFold(back, onWire) {
				t.Errorf("%s: %q leads back to %q", name, onWire, back)
			}
		}
	}
}

// FuzzNames checks that no two mailboxes share a name, and that each name is
// fit to be shown and leads back.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"Work.2024", "INBOX.a..b", "Entw&APw-rfe", "a\xffb", "//", "INBOX/", "inbox", `a\x41`, "&-&", "a\x00b"} {
		f.Add(s, "other")
	}
	tables := []names{namesOf(wire.Namespaces{Personal: space("", "/")}, ""), namesOf(wire.Namespaces{Personal: space("INBOX.", ".")}, ""),
		namesOf(wire.Namespaces{}, "."), namesOf(wire.Namespaces{}, ""), namesOf(wire.Namespaces{Personal: space("", `\`), Others: space("user\\", `\`)}, "")}
	f.Fuzz(func(t *testing.T, a, b string) {
		for i, n := range tables {
			for _, prefixed := range []string{a, n.prefix + a} {
				name, ok := n.name(prefixed)
				if !ok {
					continue
				}
				if back := n.onWire(name); back != prefixed && !strings.EqualFold(back, prefixed) {
					t.Errorf("table %d: %q gives %q gives %q", i, prefixed, name, back)
				}
				if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
					t.Errorf("table %d: %q gives the unfit name %q", i, prefixed, name)
				}
				if other, ok := n.name(n.prefix + b); ok && other == name && !strings.EqualFold(n.prefix+b, prefixed) {
					t.Errorf("table %d: %q and %q are both %q", i, prefixed, n.prefix+b, name)
				}
			}
		}
	})
}
