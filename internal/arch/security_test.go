package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	scriptName = regexp.MustCompile(`\b\w+\.txtar\b`)
)

// TestClaimsHaveTests: every test that docs/security.md names exists, and every
// test that plays an attacker is named there, so that the page and the tests say
// the same.
func TestClaimsHaveTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(top, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range testName.FindAllString(string(page), -1) {
		named[name] = true
	}
	if len(named) < 30 {
		t.Fatalf("found only %d tests in docs/security.md", len(named))
	}
	exists := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		attacks := strings.HasSuffix(s.path, "attack_test.go") || strings.HasSuffix(s.path, "revoked_test.go")
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !testName.MatchString(f.Name.Name) {
				continue
			}
			exists[f.Name.Name] = true
			if attacks && !named[f.Name.Name] {
				t.Errorf("%s: docs/security.md does not say what %s shows", s.at(f.Pos()), f.Name.Name)
			}
		}
	}
	for name := range named {
		if !exists[name] {
			t.Errorf("docs/security.md names %s, which is no test", name)
		}
	}
	for _, name := range scriptName.FindAllString(string(page), -1) {
		if _, err := os.Stat(filepath.Join(top, "cmd", "salvor", "testdata", "script", name)); err != nil {
			t.Errorf("docs/security.md: %v", err)
		}
	}
}
