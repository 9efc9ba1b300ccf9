package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the file; a real one has some hundred lines.
const maxFile = 1 << 20

// An Error is one wrong line of the configuration file.
type Error struct {
	File string
	Line int    // 1 for the first; 0 where it is not known
	Key  string // with its table, "" where the line could not be parsed
	Err  error
}

// Error is "file:line: key: what is wrong".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Load reads a configuration file. It reports all wrong lines at once, joined
// as with errors.Join and in the order of the file; each is an *Error.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, &Error{File: path, Err: fmt.Errorf("longer than %d bytes: not a configuration file", maxFile)}
	}
	return parse(path, b)
}

// Check says what is wrong with a file, nil when nothing is. It only reads the
// file: whether a vault or a source answers is not its business.
func Check(path string) error {
	_, err := Load(path)
	return err
}

// parse reads the text of a file that is called path in errors.
func parse(path string, text []byte) (*Config, error) {
	top := map[string]toml.Primitive{}
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&top)
	if err != nil {
		return nil, syntaxError(path, err)
	}
	l := &loader{path: path, meta: &meta, config: Default()}
	l.config.File = path
	l.top(top)
	if len(l.errs) == 0 {
		return l.config, nil
	}
	sort.SliceStable(l.errs, func(i, j int) bool { return l.errs[i].Line < l.errs[j].Line })
	joined := make([]error, len(l.errs))
	for i, e := range l.errs {
		joined[i] = e
	}
	return nil, errors.Join(joined...)
}

func syntaxError(path string, err error) error {
	var p toml.ParseError
	if !errors.As(err, &p) {
		return &Error{File: path, Err: err}
	}
	return &Error{File: path, Line: p.Position.Line, Err: errors.New(p.Message)}
}

// A loader fills a Config and collects what is wrong.
type loader struct {
	path   string
	meta   *toml.MetaData
	config *Config
	errs   []*Error
}

func (l *loader) fail(line int, key string, err error) {
	l.errs = append(l.errs, &Error{File: l.path, Line: line, Key: key, Err: err})
}

// top reads the keys outside of tables, and the tables.
func (l *loader) top(table map[string]toml.Primitive) {
	known := append(names(topKeys), "users", "targets", "rates", "brake")
	for name, p := range table {
		switch name {
		case "users":
			for user, sub := range l.table(p, name) {
				var u User
				named(l, &u, userKeys, name, user, sub)
				l.config.Users[user] = u
			}
		case "targets":
			for url, sub := range l.table(p, name) {
				var t Target
				named(l, &t, targetKeys, name, url, sub)
				l.config.Targets[url] = t
			}
		case "rates":
			for store, p := range l.table(p, name) {
				value, line := l.value(p)
				var url string
				if err := setURL(&url, store); err != nil {
					l.fail(line, name, err) // without the key, which may hold a password
				} else if l.config.Rates[store], err = rate(value); err != nil {
					l.fail(line, fmt.Sprintf("%s.%q", name, store), err)
				}
			}
		case "brake":
			for name, p := range l.table(p, "brake") {
				l.set(brakeKeys, "brake.", name, p, names(brakeKeys))
			}
		default:
			l.set(topKeys, "", name, p, known)
		}
	}
}

// named reads one table of many, as [users."name"].
func named[T any](l *loader, to *T, keys map[string]func(*T, any) error, group, name string, p toml.Primitive) {
	prefix := fmt.Sprintf("%s.%q", group, name)
	for name, p := range l.table(p, prefix) {
		set, ok := keys[name]
		if !ok {
			l.unknown(prefix+"."+name, name, p, names(keys))
			continue
		}
		value, line := l.value(p)
		if err := set(to, value); err != nil {
			l.fail(line, prefix+"."+name, err)
		}
	}
}

// table opens a table; another kind of value is an error.
func (l *loader) table(p toml.Primitive, key string) map[string]toml.Primitive {
	value, line := l.value(p)
	if _, ok := value.(map[string]any); !ok {
		l.fail(line, key, fmt.Errorf("must be a table: [%s]", key))
		return nil
	}
	m := map[string]toml.Primitive{}
	if err := l.meta.PrimitiveDecode(p, &m); err != nil {
		l.fail(line, key, err)
	}
	return m
}

func (l *loader) set(keys map[string]setter, prefix, name string, p toml.Primitive, known []string) {
	set, ok := keys[name]
	if !ok {
		l.unknown(prefix+name, name, p, known)
		return
	}
	value, line := l.value(p)
	if err := set(l.config, value); err != nil {
		l.fail(line, prefix+name, err)
	}
}

func (l *loader) unknown(key, name string, p toml.Primitive, known []string) {
	_, line := l.value(p)
	near := nearest(name, known)
	if near == "" {
		l.fail(line, key, errors.New("unknown key"))
		return
	}
	l.fail(line, key, fmt.Errorf("unknown key (did you mean %q?)", near))
}

// value gives a key's value as the toml package sees it, and its line.
func (l *loader) value(p toml.Primitive) (any, int) {
	var c capture
	err := l.meta.PrimitiveDecode(p, &c)
	var parse toml.ParseError
	if errors.As(err, &parse) && parse.Position.Line > 0 {
		return c.value, parse.Position.Line
	}
	return c.value, l.firstLine(p, c.value)
}

// firstLine gives the line of a table that has no header of its own, as a in
// [a.b]: that of the first thing in it.
func (l *loader) firstLine(p toml.Primitive, value any) int {
	if _, ok := value.(map[string]any); !ok {
		return 0
	}
	inside := map[string]toml.Primitive{}
	if err := l.meta.PrimitiveDecode(p, &inside); err != nil {
		return 0
	}
	first := 0
	for _, sub := range inside {
		if _, line := l.value(sub); line > 0 && (first == 0 || line < first) {
			first = line
		}
	}
	return first
}

// capture takes any value, and always answers with an error: the toml package
// tells the line of a key only in errors.
type capture struct{ value any }

var errCaptured = errors.New("captured")

// UnmarshalTOML implements toml.Unmarshaler.
func (c *capture) UnmarshalTOML(v any) error {
	c.value = v
	return errCaptured
}

func names[V any](keys map[string]V) []string {
	all := make([]string, 0, len(keys))
	for name := range keys {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
