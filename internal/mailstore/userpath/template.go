// Package userpath finds users' places in a file system by a path template, as
// in Dovecot's mail_location: /srv/mail/%d/%n/Maildir. %u is the whole user
// name, %n what stands before its last "@", %d what follows, %% a percent sign.
//
// The part of the path before the first variable is the operator's word and is
// opened as it is. What follows lies in the hands of users: a symbolic link
// there is followed only when root or the running user made it, so that nobody
// can have somebody else's files taken for their own. The adapters maildir and
// mbox call this package; it opens directories and reads no file.
package userpath

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"salvor/internal/mailstore/folder"
)

// A Template is a path with or without variables.
type Template struct {
	raw   string
	fixed string    // the elements before the first variable
	elems []element // the others
}

// element is one path element that holds variables, or follows one that does.
type element struct {
	tokens  []token
	vars    []byte         // the variables, in order
	pattern *regexp.Regexp // nil for a literal element
}

// token is literal text, or a variable: 'u', 'n' or 'd'.
type token struct {
	text string
	name byte
}

// Parse reads a template. A relative path is taken from the working directory.
func Parse(path string) (*Template, error) {
	if path == "" {
		return nil, fmt.Errorf("the path is empty")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	t := &Template{raw: abs}
	var fixed []string
	for _, part := range strings.Split(abs, "/")[1:] {
		e, err := parseElement(part)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", path, err)
		}
		if len(t.elems) == 0 && len(e.vars) == 0 {
			fixed = append(fixed, e.literal())
		} else {
			t.elems = append(t.elems, e)
		}
	}
	t.fixed = "/" + strings.Join(fixed, "/")
	return t, t.check()
}

// check makes sure that a user's name follows from the path.
func (t *Template) check() error {
	var vars []byte
	for _, e := range t.elems {
		vars = append(vars, e.vars...)
	}
	if len(vars) > 0 && !strings.ContainsAny(string(vars), "un") {
		return fmt.Errorf("path %q: %%d alone names no user; add %%n or %%u", t.raw)
	}
	return nil
}

func parseElement(part string) (element, error) {
	var e element
	var text strings.Builder
	expr := "^"
	for i := 0; i < len(part); i++ {
		if part[i] != '%' {
			text.WriteByte(part[i])
			continue
		}
		if i++; i == len(part) {
			return e, fmt.Errorf("a %% at the end of %q; write %%%% for a percent sign", part)
		}
		switch c := part[i]; c {
		case '%':
			text.WriteByte('%')
		case 'u', 'n', 'd':
			expr += regexp.QuoteMeta(text.String()) + variableExpr(c)
			e.tokens = append(e.tokens, token{text: text.String()}, token{name: c})
			e.vars = append(e.vars, c)
			text.Reset()
		default:
			return e, fmt.Errorf("unknown variable %%%c in %q; known are %%u, %%n, %%d and %%%%", c, part)
		}
	}
	e.tokens = append(e.tokens, token{text: text.String()})
	if len(e.vars) > 0 {
		e.pattern = regexp.MustCompile(expr + regexp.QuoteMeta(text.String()) + "$")
	}
	return e, nil
}

// variableExpr matches a variable's value; a domain holds no "@". (?s) lets a
// hostile newline in a name be matched too, and so be reported by its name.
func variableExpr(name byte) string {
	if name == 'd' {
		return "((?s)[^@]+)"
	}
	return "((?s).+)"
}

// Variable tells whether the template has variables, and so many users.
func (t *Template) Variable() bool { return len(t.elems) > 0 }

// Fixed is the part of the path before the first element with a variable.
func (t *Template) Fixed() string { return t.fixed }

// Moved is the template of a copy: what it finds below Fixed, below dir.
func (t *Template) Moved(dir string) *Template {
	parts := strings.Split(t.raw, "/")
	variable := parts[len(parts)-len(t.elems):]
	return &Template{raw: filepath.Join(append([]string{strings.ReplaceAll(dir, "%", "%%")}, variable...)...), fixed: dir, elems: t.elems}
}

// Leads tells whether a path below Fixed leads to a user's place, or is one, or
// is inside of one. Paths have slashes; "." is Fixed itself.
func (t *Template) Leads(path string) (leads, inside bool) {
	if path == "." {
		return true, false
	}
	names := strings.Split(path, "/")
	for i, e := range t.elems[:min(len(t.elems), len(names))] {
		if e.pattern == nil && names[i] != e.literal() || e.pattern != nil && !e.pattern.MatchString(names[i]) {
			return false, false
		}
	}
	return true, len(names) > len(t.elems)
}

// String gives the template back, made absolute.
func (t *Template) String() string { return t.raw }

// Path gives the user's path. A user name that would not give exactly one path
// element for each variable ("../x", a domain that is missing) is an error.
func (t *Template) Path(user string) (string, error) {
	elems, err := t.expand(user, strict)
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{t.fixed}, elems...)...), nil
}

// files says how users' names are written: as they are, if they can be.
var files = folder.Files{Encoding: folder.UTF8}

// strict gives the file name that a part of a user's name was read from.
func strict(part string) (string, bool) {
	return folder.UTF8.EncodeLevel(part), folder.UTF8.Roundtrip(part)
}

// lenient gives any part of a user's name a file name.
func lenient(part string) (string, bool) { return files.Name(part), true }

func (t *Template) expand(user string, write func(string) (string, bool)) ([]string, error) {
	var out []string
	for _, e := range t.elems {
		s, err := e.expand(user, write)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (e element) expand(user string, write func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for _, t := range e.tokens {
		if t.name == 0 {
			b.WriteString(t.text)
			continue
		}
		v := value(t.name, user)
		if v == "" {
			return "", fmt.Errorf("user %q has nothing to put for %%%c", user, t.name)
		}
		disk, ok := write(v)
		if !ok {
			return "", fmt.Errorf("user %q gives no usable file name", user)
		}
		b.WriteString(disk)
	}
	s := b.String()
	if s == "." || s == ".." || s == "" || len(s) > 255 || strings.ContainsAny(s, "/\x00") {
		return "", fmt.Errorf("user %q gives no usable file name", user)
	}
	return s, nil
}

// value is what a variable stands for.
func value(name byte, user string) string {
	at := strings.LastIndexByte(user, '@')
	switch {
	case name == 'u':
		return user
	case name == 'n' && at >= 0:
		return user[:at]
	case name == 'n':
		return user
	case at >= 0:
		return user[at+1:]
	}
	return ""
}

func (e element) literal() string {
	var b strings.Builder
	for _, t := range e.tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// binding holds the values that variables have got so far, by their letter.
type binding struct{ u, n, d string }

func (b *binding) at(name byte) *string {
	switch name {
	case 'u':
		return &b.u
	case 'n':
		return &b.n
	}
	return &b.d
}

// match binds the element's variables to a name from the disk; ok is false
// when the name does not fit the element or what was bound before.
func (e element) match(name string, b binding) (binding, bool) {
	m := e.pattern.FindStringSubmatch(name)
	if m == nil {
		return b, false
	}
	for i, v := range e.vars {
		p, value := b.at(v), folder.Clean(m[i+1])
		if *p != "" && *p != value {
			return b, false
		}
		*p = value
	}
	return b, true
}

// user is the user name that follows from all bindings; ok is false when they
// contradict each other.
func (b binding) user() (string, bool) {
	u := b.u
	if u == "" {
		if u = b.n; b.d != "" {
			u += "@" + b.d
		}
	}
	ok := (b.n == "" || value('n', u) == b.n) && (b.d == "" || value('d', u) == b.d)
	return u, ok
}
