package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A source is one parsed Go file of the repository.
type source struct {
	path string // relative to the repository's top
	pkg  string // the folder
	test bool
	text []byte
	file *ast.File
	set  *token.FileSet
	used map[string]string // local name of an import to its path
}

// at is a place for error messages.
func (s *source) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(p).Line)
}

const top = "../.."

// sources gives the repository's files, parsed once for all tests.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files", len(all))
	}
	return all
}

var parsed = sync.OnceValues(func() (all []*source, err error) {
	err = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != top && (strings.HasPrefix(base, ".") || base == "testdata" || base == "out" || base == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		s, err := read(name)
		all = append(all, s)
		return err
	})
	return all, err
})

func read(name string) (*source, error) {
	rel, err := filepath.Rel(top, name)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	s := &source{path: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), set: token.NewFileSet(), used: map[string]string{}}
	if s.text, err = os.ReadFile(name); err != nil {
		return nil, err
	}
	if s.file, err = parser.ParseFile(s.set, rel, s.text, parser.ParseComments); err != nil {
		return nil, err
	}
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		s.used[local] = p
	}
	return s, nil
}

// own gives the packages of this module that a file imports, with the places.
func (s *source) own(yield func(pkg, at string)) {
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if rest, ok := strings.CutPrefix(p, module+"/"); err == nil && ok {
			yield(rest, s.at(spec.Pos()))
		}
	}
}

func TestEveryPackageHasItsFloor(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if seen[s.pkg] {
			continue
		}
		seen[s.pkg] = true
		if floor, _ := place(s.pkg); floor < 0 && !inAny(s.pkg, tools) {
			t.Errorf("%s has no place: put it on a floor in internal/arch/rules_test.go", s.pkg)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || inAny(s.pkg, tools) {
			continue
		}
		floor, pattern := place(s.pkg)
		s.own(func(pkg, at string) {
			below, theirs := place(pkg)
			switch {
			case inAny(pkg, tools):
				t.Errorf("%s: %s is for tests only", at, pkg)
			case below > floor:
				t.Errorf("%s: %s imports %s, which is on a higher floor", at, s.pkg, pkg)
			case below == floor && pattern != theirs:
				t.Errorf("%s: %s imports its neighbour %s", at, s.pkg, pkg)
			case inAny(pkg, onlyCommand) && !in(s.pkg, "cmd/salvor") && !inAny(s.pkg, onlyCommand):
				t.Errorf("%s: only cmd/salvor may import %s", at, pkg)
			}
			for _, n := range never {
				if in(s.pkg, n.from) && (n.to == "" || in(pkg, n.to)) {
					t.Errorf("%s: %s imports %s: %s", at, s.pkg, pkg, n.why)
				}
			}
		})
	}
}

// Not even their tests do.
func TestRestoreAndSalvageStayApart(t *testing.T) {
	for _, s := range sources(t) {
		s.own(func(pkg, at string) {
			if in(s.pkg, "restore") && in(pkg, "salvage/...") || in(s.pkg, "salvage/...") && in(pkg, "restore") {
				t.Errorf("%s: restore and salvage never import each other", at)
			}
		})
	}
}

func TestDependenciesStayAtHome(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, p := range s.used {
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
				continue // the standard library or this module
			}
			home, known := homeOf(p)
			if !known {
				t.Errorf("%s uses %s, which internal/arch/rules_test.go does not know", s.path, p)
			} else if !inAny(s.pkg, home) && !inAny(s.pkg, tools) {
				t.Errorf("%s uses %s, whose home is %v", s.path, p, home)
			}
		}
	}
}

// homeOf finds the packages that may use an import.
func homeOf(path string) ([]string, bool) {
	for dependency, home := range homes {
		if in(path, dependency+"/...") {
			return home, true
		}
	}
	return nil, false
}

// Every direct dependency is explained, and none is explained that is gone.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(top, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, line := range strings.Split(string(mod), "\n") {
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "\t") && len(fields) == 2 {
			direct[fields[0]] = true
		}
	}
	for d := range direct {
		if !strings.Contains(string(doc), "`"+d+"`") {
			t.Errorf("docs/dependencies.md does not say what %s is for", d)
		}
		if _, known := homes[d]; !known {
			t.Errorf("internal/arch/rules_test.go does not say who may use %s", d)
		}
	}
	for d := range homes {
		if !direct[d] {
			t.Errorf("%s has a home and is not in go.mod", d)
		}
	}
}

// calls gives each use of names of a standard package.
func (s *source) calls(pkg string, names []string, yield func(name, at string)) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && s.used[x.Name] == pkg && slices.Contains(names, sel.Sel.Name) {
			yield(sel.Sel.Name, s.at(sel.Pos()))
		}
		return true
	})
}

func TestFilesAreMadeInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || inAny(s.pkg, fileMakers) || inAny(s.pkg, tools) {
			continue
		}
		s.calls("os", fileCalls, func(name, at string) {
			t.Errorf("%s: os.%s: use internal/durable or an os.Root", at, name)
		})
	}
}

func TestNoClock(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !inAny(s.pkg, clockless) {
			continue
		}
		s.calls("time", clockCalls, func(name, at string) {
			t.Errorf("%s: time.%s: the caller says what time it is", at, name)
		})
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := strings.Count(string(s.text), "\n"); n > longestFile {
			t.Errorf("%s has %d lines, at most %d", s.path, n, longestFile)
		}
	}
}

func TestNothingIsLeftUnfinished(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				for _, word := range unfinished {
					if strings.Contains(c.Text, word) {
						t.Errorf("%s: %s", s.at(c.Pos()), strings.TrimSpace(c.Text))
					}
				}
			}
		}
	}
}

// A test that is skipped proves nothing; .ci/setup installs what tests need.
func TestNoTestIsSkipped(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && !inAny(s.pkg, tools) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "t" || x.Name == "f" || x.Name == "b" || x.Name == "tb") {
					t.Errorf("%s: %s.%s", s.at(call.Pos()), x.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestTopLevel(t *testing.T) {
	allowed := []string{"cmd", "chunk", "catalog", "restore", "salvage", "internal", "testdata", "go.mod", "go.sum", "README.md",
		"LICENSE", "docs", "Makefile", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "bin", "out"}
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top", e.Name())
		}
	}
}
