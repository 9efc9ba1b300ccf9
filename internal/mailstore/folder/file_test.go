package folder

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var hostile = []string{
	"", ".", "..", "../x", "a/b", "a\x00b", `\x00`, `a\x2fb`, `\x2e\x2e`, "new\nline", strings.Repeat("x", 300), strings.Repeat("ü", 200), "\xff",
	"cur", "a.b", "a_b", "a_b~000000000000", "~", "INBOX",
}

func TestFilesName(t *testing.T) {
	all := []Files{
		{}, {Encoding: UTF8}, {Forbidden: "."}, {Encoding: UTF8, Reserved: func(s string) bool { return strings.HasPrefix(s, "cur") }},
	}
	for i, f := range all {
		seen := map[string]string{}
		for _, level := range hostile {
			disk := f.Name(level)
			if disk == "" || disk == "." || disk == ".." || len(disk) > MaxFile || strings.ContainsAny(disk, "/\x00\n"+f.Forbidden) {
				t.Errorf("files %d: Name(%q) = %q", i, level, disk)
			}
			if other, ok := seen[disk]; ok {
				t.Errorf("files %d: %q and %q are both %q", i, level, other, disk)
			}
			seen[disk] = level
			if f.Reserved != nil && f.Reserved(disk) {
				t.Errorf("files %d: Name(%q) is reserved", i, level)
			}
		}
	}
	if got := (Files{Forbidden: "."}).Name("Jahr.2006"); !strings.HasPrefix(got, "Jahr_2006~") {
		t.Errorf("Name = %q", got)
	}
	if got := (Files{}).Name("Entwürfe"); got != "Entw&APw-rfe" {
		t.Errorf("Name = %q", got)
	}
}

// Two levels never share a file name.
func TestFilesNameIsInjective(t *testing.T) {
	level := rapid.StringOfN(rapid.RuneFrom([]rune(`ab.\x2ef&-~/ü`)), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := level.Draw(t, "a"), level.Draw(t, "b")
		for _, f := range []Files{{}, {Encoding: UTF8}, {Forbidden: "."}} {
			if a != b && f.Name(a) == f.Name(b) {
				t.Fatalf("%q and %q are both %q", a, b, f.Name(a))
			}
		}
	})
}
