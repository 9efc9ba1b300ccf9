package imap

import (
	"strings"
	"testing"

	"salvor/internal/mailstore/folder"
)

// areClean tells whether a folder's name is one that package mailstore allows.
func areClean(name string) bool {
	for _, l := range strings.Split(name, "/") {
		if l == "" || folder.ModifiedUTF7.DecodeLevel(folder.ModifiedUTF7.EncodeLevel(l)) != l {
			return false
		}
	}
	return len(name) < 1000
}

// Whatever folders are called, each has a name of its own at the server, which
// holds nothing that would break out of it, and the same every time.
func FuzzTargets(f *testing.F) {
	for _, pair := range [][2]string{{"a/b", "a.b"}, {"INBOX/x", "inbox/x"}, {"", "/"}, {"a\x00b", "a\nb"}, {"x~0123456789ab", "x"}, {`\x49NBOX`, "Inbox"}, {"Entwürfe", "Entwurfe"}, {`a"b`, "a_b"}, {"Other Users/x", "user/x"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == b || strings.EqualFold(a, b) && strings.EqualFold(a, folder.Inbox) {
			return
		}
		for _, n := range []names{{separator: "/"}, {separator: "."}, {separator: "/", foreign: othersFolders}, {separator: ".", prefix: "INBOX."}, {}} {
			ofA, ofB := n.targets(a), n.targets(b)
			for _, x := range ofA {
				for _, y := range ofB {
					if x == y && areClean(a) && areClean(b) {
						t.Errorf("%+v: %q and %q are both %q", n, a, b, x)
					}
				}
			}
			if last := ofA[len(ofA)-1]; strings.ContainsAny(last, "\"\\*%\r\n\x00") || !cyrusTakes(strings.TrimPrefix(last, n.prefix), n.separator) && n.separator != "" && len(last) < 400 {
				t.Errorf("%+v: %q becomes %q", n, a, last)
			}
		}
	})
}
