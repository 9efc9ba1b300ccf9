package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind tells what a Value is.
type Kind byte

// The kinds of values.
const (
	Nil Kind = iota
	Atom
	String // quoted, or a literal
	List
)

// A Value is one item of an answer.
type Value struct {
	Kind  Kind
	Bytes []byte // of an Atom or String
	Items []Value
}

// Text gives an atom or string, "" for others.
func (v Value) Text() string { return string(v.Bytes) }

// Is tells whether the value is the atom or string, in capitals or not.
func (v Value) Is(word string) bool {
	return (v.Kind == Atom || v.Kind == String) && strings.EqualFold(string(v.Bytes), word)
}

// Uint gives a number of at most the bits.
func (v Value) Uint(bits int) (uint64, error) {
	if v.Kind != Atom && v.Kind != String {
		return 0, errors.New("a number is missing")
	}
	n, err := strconv.ParseUint(string(v.Bytes), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of %d bits", shorten(string(v.Bytes), 30), bits)
	}
	return n, nil
}

// Bounds of values.
const (
	maxDepth  = 32
	maxValues = 1 << 20
)

// Values reads what follows the answer's name. Strings share the answer's
// memory.
func (r *Response) Values() ([]Value, error) {
	p := parser{parts: r.Parts, at: r.rest}
	out, err := p.values(0, 0)
	if err != nil {
		return nil, &Garbled{err.Error(), r.head()}
	}
	return out, nil
}

// parser reads values out of an answer's parts.
type parser struct {
	parts []Part
	part  int // the current one
	at    int // the place in its text
	count int
}

var (
	errDepth   = errors.New("lists in lists without end")
	errMany    = errors.New("too many items")
	errEnd     = errors.New("it ends too early")
	errLiteral = errors.New("a literal where none can be")
)

// values reads up to the closing character, or to the end of the answer when
// that is zero.
func (p *parser) values(closing byte, depth int) ([]Value, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	var out []Value
	for {
		text := p.parts[p.part].Text
		for p.at < len(text) && text[p.at] == ' ' {
			p.at++
		}
		if p.at == len(text) {
			if closing != 0 || p.parts[p.part].Literal != nil {
				return nil, errEnd
			}
			return out, nil
		}
		if text[p.at] == ')' {
			if closing != ')' {
				return nil, errors.New("a parenthesis closes none")
			}
			p.at++
			return out, nil
		}
		if p.count++; p.count > maxValues {
			return nil, errMany
		}
		v, err := p.value(text, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (p *parser) value(text []byte, depth int) (Value, error) {
	switch c := text[p.at]; {
	case c == '(':
		p.at++
		items, err := p.values(')', depth+1)
		return Value{Kind: List, Items: items}, err
	case c == '"':
		return p.quoted(text)
	case c == '{', c == '~' && p.at+1 < len(text) && text[p.at+1] == '{':
		return p.literal(text)
	}
	return p.atom(text)
}

func (p *parser) quoted(text []byte) (Value, error) {
	start := p.at + 1
	end := bytes.IndexAny(text[start:], `"\`)
	if end >= 0 && text[start+end] == '"' { // the usual case needs no copy
		p.at = start + end + 1
		return Value{Kind: String, Bytes: text[start : start+end : start+end]}, nil
	}
	var b []byte
	for i := start; i < len(text); i++ {
		switch {
		case text[i] == '"':
			p.at = i + 1
			return Value{Kind: String, Bytes: b}, nil
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b = append(b, text[i])
	}
	return Value{}, errors.New("a quoted string does not end")
}

// literal takes the one that stands after the text, whose announcement must be
// the text's end.
func (p *parser) literal(text []byte) (Value, error) {
	body := p.parts[p.part].Literal
	if body == nil || bytes.LastIndexByte(text, '{') > p.at+1 {
		return Value{}, errLiteral
	}
	p.part, p.at = p.part+1, 0
	return Value{Kind: String, Bytes: body}, nil
}

// atom reads a word. Brackets keep spaces and parentheses together:
// BODY[HEADER.FIELDS (DATE)]<0>.
func (p *parser) atom(text []byte) (Value, error) {
	start, brackets := p.at, 0
loop:
	for ; p.at < len(text); p.at++ {
		switch c := text[p.at]; {
		case c == '[':
			brackets++
		case c == ']' && brackets > 0:
			brackets--
		case brackets > 0:
		case c == ' ' || c == '(' || c == ')':
			break loop
		}
	}
	if p.at == start {
		return Value{}, errors.New("an item is empty")
	}
	word := text[start:p.at:p.at]
	if len(word) == 3 && strings.EqualFold(string(word), "NIL") {
		return Value{Kind: Nil}, nil
	}
	return Value{Kind: Atom, Bytes: word}, nil
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
