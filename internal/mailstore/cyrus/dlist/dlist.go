// Package dlist reads Cyrus's dlist text, in which cyrus.header, mailboxes.db
// and the quota files are written since version 2.4 or so:
//
//	%(T e N user.alice I 5f... A %(alice lrs) U (work $Label1))
//
// A value is an atom, a quoted string, a literal, a list in parentheses or a
// map behind a percent sign (Cyrus, imap/dlist.c, dlist_parsesax). The package
// only parses; package header and package cyrus know what the keys mean.
package dlist

import (
	"bytes"
	"errors"
	"strconv"
)

// maxDepth bounds how deep values lie in each other; Cyrus uses three levels.
const maxDepth = 32

// ErrSyntax says that a text is no dlist.
var ErrSyntax = errors.New("not a dlist")

// A Value is one value: Atom for text, Items for a list or a map.
type Value struct {
	Atom string
	// Nil is set for an unquoted NIL.
	Nil bool
	// List and Map say what Items are.
	List, Map bool
	Items     []Item
}

// An Item is an element of a list, or of a map with its key.
type Item struct {
	Key string
	Value
}

// Get gives the first value under a key of a map, the zero Value for none.
func (v Value) Get(key string) Value {
	if v.Map {
		for _, i := range v.Items {
			if i.Key == key {
				return i.Value
			}
		}
	}
	return Value{}
}

// Text gives the text under a key of a map, "" for none.
func (v Value) Text(key string) string { return v.Get(key).Atom }

// Number gives the number under a key of a map, 0 for none.
func (v Value) Number(key string) uint64 {
	n, err := strconv.ParseUint(v.Text(key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Parse reads one value, which must be all of the text but for blanks and line
// ends after it.
func Parse(text []byte) (Value, error) {
	p := parser{rest: text}
	v, ok := p.value(0)
	if !ok || len(bytes.TrimRight(p.rest, " \r\n")) > 0 {
		return Value{}, ErrSyntax
	}
	return v, nil
}

type parser struct{ rest []byte }

func (p *parser) blanks() { p.rest = bytes.TrimLeft(p.rest, " ") }

func (p *parser) skip(prefix string) bool {
	rest, ok := bytes.CutPrefix(p.rest, []byte(prefix))
	p.rest = rest
	return ok
}

func (p *parser) value(depth int) (v Value, ok bool) {
	switch {
	case depth > maxDepth || len(p.rest) == 0:
		return v, false
	case p.skip("%("):
		v.Map = true
	case p.skip("("):
		v.List = true
	default:
		return p.text()
	}
	for p.blanks(); !p.skip(")"); p.blanks() {
		var i Item
		if v.Map {
			key, ok := p.text()
			if p.blanks(); !ok {
				return v, false
			}
			i.Key = key.Atom
		}
		if i.Value, ok = p.value(depth + 1); !ok {
			return v, false
		}
		v.Items = append(v.Items, i)
	}
	return v, true
}

// text reads an atom, a quoted string or a literal.
func (p *parser) text() (v Value, ok bool) {
	switch {
	case len(p.rest) == 0:
		return v, false
	case p.rest[0] == '"':
		return p.quoted()
	case p.rest[0] == '{':
		return p.literal()
	}
	// An atom may hold parentheses: only those at its end are not its own.
	n := bytes.IndexByte(p.rest, ' ')
	if n < 0 {
		n = len(bytes.TrimRight(p.rest, "\r\n"))
	}
	for n > 0 && p.rest[n-1] == ')' {
		n--
	}
	v.Atom, p.rest = string(p.rest[:n]), p.rest[n:]
	v.Nil = v.Atom == "NIL"
	if v.Nil {
		v.Atom = ""
	}
	return v, n > 0
}

func (p *parser) quoted() (v Value, ok bool) {
	var text []byte
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '"' {
			p.rest = p.rest[i+1:]
			return Value{Atom: string(text)}, true
		}
		if c == '\\' {
			if i++; i == len(p.rest) {
				break
			}
			c = p.rest[i]
		}
		text = append(text, c)
	}
	return v, false
}

func (p *parser) literal() (v Value, ok bool) {
	head, rest, ok := bytes.Cut(p.rest[1:], []byte("}"))
	n, err := strconv.ParseUint(string(bytes.TrimSuffix(head, []byte("+"))), 10, 31)
	if !ok || err != nil {
		return v, false
	}
	rest = bytes.TrimPrefix(rest, []byte("\r"))
	if rest, ok = bytes.CutPrefix(rest, []byte("\n")); !ok || uint64(len(rest)) < n {
		return v, false
	}
	p.rest = rest[n:]
	return Value{Atom: string(rest[:n])}, true
}
