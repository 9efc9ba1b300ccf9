package arch

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// An exported thing of a package, as a user of the library sees it.
type exported struct {
	name string
	pos  token.Pos
	doc  bool
	// parts are what its signature consists of, bodies left out.
	parts []ast.Node
}

// exports lists what a file exports.
func (s *source) exports() []exported {
	var all []exported
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				all = append(all, exported{d.Name.Name, d.Pos(), d.Doc != nil, []ast.Node{d.Type}})
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				all = append(all, exportsOf(d, spec)...)
			}
		}
	}
	return all
}

// exportedReceiver says whether a method can be reached by others.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch x := t.(type) {
	case *ast.IndexExpr:
		t = x.X
	case *ast.IndexListExpr:
		t = x.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

func exportsOf(d *ast.GenDecl, spec ast.Spec) []exported {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		// An alias is how an internal type is made public, so it may show it.
		if s.Name.IsExported() && s.Assign.IsValid() {
			return []exported{{s.Name.Name, s.Pos(), d.Doc != nil || s.Doc != nil, nil}}
		}
		if s.Name.IsExported() {
			return []exported{{s.Name.Name, s.Pos(), d.Doc != nil || s.Doc != nil, visible(s.Type)}}
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() {
				e := exported{name: name.Name, pos: name.Pos(), doc: d.Doc != nil || s.Doc != nil || s.Comment != nil}
				if s.Type != nil {
					e.parts = append(e.parts, s.Type)
				}
				return []exported{e}
			}
		}
	}
	return nil
}

// visible gives what others see of a type: of a struct its exported fields, of
// an interface its exported methods.
func visible(t ast.Expr) []ast.Node {
	var list *ast.FieldList
	switch x := t.(type) {
	case *ast.StructType:
		list = x.Fields
	case *ast.InterfaceType:
		list = x.Methods
	default:
		return []ast.Node{t}
	}
	var parts []ast.Node
	for _, f := range list.List {
		seen := len(f.Names) == 0 // embedded
		for _, name := range f.Names {
			seen = seen || name.IsExported()
		}
		if seen {
			parts = append(parts, f.Type)
		}
	}
	return parts
}

func TestPublicSignaturesAreComplete(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !inAny(s.pkg, public) {
			continue
		}
		for _, e := range s.exports() {
			for _, part := range e.parts {
				ast.Inspect(part, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := sel.X.(*ast.Ident); ok && strings.HasPrefix(s.used[x.Name], module+"/internal/") {
							t.Errorf("%s: %s shows %s.%s, which users of the library cannot name", s.at(e.pos), e.name, x.Name, sel.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

func TestExportsAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, e := range s.exports() {
			if !e.doc && !wellKnown[e.name] {
				t.Errorf("%s: %s has no comment", s.at(e.pos), e.name)
			}
		}
	}
}

// wellKnown are methods whose meaning the standard library has fixed.
var wellKnown = map[string]bool{
	"Error": true, "Unwrap": true, "String": true, "Len": true, "Less": true, "Swap": true, "Is": true,
	"Read": true, "Write": true, "Close": true, "MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true,
}

func TestPackagesAreDocumented(t *testing.T) {
	doc, where := map[string]int{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		where[s.pkg] = s.path
		if s.file.Doc != nil {
			doc[s.pkg]++
		}
	}
	for pkg, file := range where {
		switch doc[pkg] {
		case 0:
			t.Errorf("%s has no package comment", pkg)
		case 1:
		default:
			t.Errorf("%s has %d package comments (one is in %s's folder)", pkg, doc[pkg], file)
		}
	}
}

// The tests above are no use if they pass whatever the code is.
func TestTheTestsSee(t *testing.T) {
	if floor, pattern := place("internal/objstore/s3"); floor != 1 || pattern != "internal/objstore/..." {
		t.Errorf("place: %d %q", floor, pattern)
	}
	if floor, _ := place("internal/objstores"); floor != -1 {
		t.Error("a name that only begins like another has a place")
	}
	if home, ok := homeOf("github.com/minio/minio-go/v7/pkg/credentials"); !ok || len(home) != 1 {
		t.Errorf("home: %v", home)
	}
	s, err := read(top + "/internal/arch/exported_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	s.calls("strings", []string{"HasPrefix"}, func(string, string) { found = true })
	if !found {
		t.Error("calls finds no strings.HasPrefix in its own file")
	}
	var tests int
	for _, e := range s.exports() {
		if strings.HasPrefix(e.name, "Test") {
			tests++
		}
	}
	if tests < 3 {
		t.Errorf("exports finds %d tests in its own file", tests)
	}
}
