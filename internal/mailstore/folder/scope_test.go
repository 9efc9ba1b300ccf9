package folder

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"salvor/internal/mailstore"
)

func TestIsJunk(t *testing.T) {
	for _, name := range []string{
		"Junk", "JUNK", "junk mail", "Junk E-mail", "Junk-E-Mail", "Junk Email", "Spam", "SPAM", "Bulk Mail",
		"Courrier indésirable", "courrier indesirable", "Courrier inde\u0301sirable", "Indésirables", "Unerwünscht", "Skräppost", "Спам",
		"нежелательная почта", "垃圾邮件", "迷惑メール", "스팸", "ｓｐａｍ", "Önemsiz", "Spam/2024", "INBOX/Spam", "INBOX/Spam/old", "inbox/Junk",
		"[Gmail]/Spam", "[Google Mail]/Spam", "Lixo Eletrônico", "Søppelpost",
	} {
		if !IsJunk(name, "") {
			t.Errorf("IsJunk(%q) = false", name)
		}
	}
	for _, name := range []string{
		"INBOX", "Sent", "Projects/Spam", "Spam filters", "Junkers", "Trash", "Lixo", "Work", "INBOX/Work/Spam", "Werbung", "Bulky", "Archive/Junk",
	} {
		if IsJunk(name, "") {
			t.Errorf("IsJunk(%q) = true", name)
		}
	}
	if !IsJunk("Whatever", `\Junk`) || IsJunk("Spam", `\Archive`) || !IsJunk("Unfug", "", "unfug") {
		t.Error("special use or configuration is not heeded")
	}
}

func TestIsTrash(t *testing.T) {
	for name, want := range map[string]bool{
		"Trash": true, "Deleted Items": true, "Papierkorb": true, "INBOX/Trash": true, "Trash/old": true, "Corbeille": true, "Корзина": true,
		"Lixo": true, "Sent": false, "Work/Trash": false, "Trashy": false,
	} {
		if got := IsTrash(name, ""); got != want {
			t.Errorf("IsTrash(%q) = %v", name, got)
		}
	}
}

// No name means both.
func TestJunkIsNotTrash(t *testing.T) {
	for k := range junkKeys {
		if trashKeys[k] {
			t.Errorf("%q is junk and trash", k)
		}
	}
}

func TestScope(t *testing.T) {
	exclude, err := ParsePatterns([]string{"Lists", "*/tmp", "Old%"})
	if err != nil {
		t.Fatal(err)
	}
	s := Scope{Exclude: exclude, JunkNames: []string{"Müll"}}
	boxes := []mailstore.Mailbox{
		{Name: "INBOX"}, {Name: "Spam"}, {Name: "Foo", SpecialUse: Junk}, {Name: "Foo/Bar"}, {Name: "Foos"}, {Name: "lists/go"}, {Name: "a/b/TMP"},
		{Name: "Old1"}, {Name: "Old1/x"}, {Name: "Mu\u0308ll/x"}, {Name: "INBOX", SpecialUse: Junk},
	}
	want := []string{"", "junk", "junk", "junk", "", "excluded", "excluded", "excluded", "", "junk", ""}
	if got := s.DecideAll(boxes); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.IncludeJunk = true
	if got := s.Decide(boxes[1]); got != "" {
		t.Errorf("junk is included, but Decide gives %q", got)
	}
	if _, err := ParsePatterns([]string{"/"}); err == nil {
		t.Error("an empty pattern was accepted")
	}
}

// Match agrees with a regular expression.
func TestPatternMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringOfN(rapid.RuneFrom([]rune("ab/*%")), 1, 10, -1).Draw(t, "pattern")
		name := rapid.StringOfN(rapid.RuneFrom([]rune("ab/")), 0, 12, -1).Draw(t, "name")
		expr := regexp.QuoteMeta(p)
		expr = strings.ReplaceAll(strings.ReplaceAll(expr, `\*`, `.*`), `%`, `[^/]*`)
		if !strings.ContainsAny(p, "*%") {
			expr += "(/.*)?"
		}
		want := regexp.MustCompile("(?s)^" + expr + "$").MatchString(name)
		if got := Pattern(p).Match(name); got != want {
			t.Fatalf("Pattern(%q).Match(%q) = %v", p, name, got)
		}
	})
}
