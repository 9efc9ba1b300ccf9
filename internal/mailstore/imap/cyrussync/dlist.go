package cyrussync

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"salvor/internal/mailstore/imap/wire"
)

// Kind tells what a Value is.
type Kind byte

// The kinds of values.
const (
	Nil  Kind = iota
	Text      // an atom, a quoted string, a literal
	List      // (a b c)
	Map       // %(NAME a NAME b)
	File      // %{partition guid size}, and the content
)

// A Value is one dlist.
type Value struct {
	Kind  Kind
	Bytes []byte   // of a Text, the content of a File; shared with the answer
	Keys  []string // of a Map: the names of its Items
	Items []Value  // of a List or Map
	// Partition and GUID describe a File, as the server wrote them.
	Partition, GUID string
}

// Get gives the value of a name in a Map; a Nil where there is none.
func (v Value) Get(name string) Value {
	for i, k := range v.Keys {
		if k == name {
			return v.Items[i]
		}
	}
	return Value{}
}

// Text gives a Text as a string, "" for others.
func (v Value) Text() string {
	if v.Kind != Text {
		return ""
	}
	return string(v.Bytes)
}

// Uint gives a number of at most the bits.
func (v Value) Uint(bits int) (uint64, error) {
	if v.Kind != Text {
		return 0, errors.New("a number is missing")
	}
	n, err := strconv.ParseUint(string(v.Bytes), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.30q is no number of %d bits", v.Bytes, bits)
	}
	return n, nil
}

// Bounds of a dlist.
const (
	maxDepth  = 16
	maxValues = 1 << 22
)

var (
	errEnd   = errors.New("dlist: it ends too early")
	errAfter = errors.New("dlist: something follows it")
	errDeep  = errors.New("dlist: lists in lists without end")
	errMany  = errors.New("dlist: too many items")
	errMark  = errors.New("dlist: what it announces does not follow")
)

// Parse reads the one dlist that an answer holds after its name.
func Parse(parts []wire.Part) (Value, error) {
	if len(parts) == 0 {
		return Value{}, errEnd
	}
	p := parser{parts: parts}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	p.blanks()
	if p.at < len(p.text()) || p.part < len(parts)-1 {
		return Value{}, errAfter
	}
	return v, nil
}

// A parser stands at a byte of a part's text. Literals stand between the parts.
type parser struct {
	parts    []wire.Part
	part, at int
	count    int
}

func (p *parser) text() []byte { return p.parts[p.part].Text }

func (p *parser) blanks() {
	for t := p.text(); p.at < len(t) && t[p.at] == ' '; {
		p.at++
	}
}

// next gives the byte at which the parser stands, 0 at the end.
func (p *parser) next() byte {
	if t := p.text(); p.at < len(t) {
		return t[p.at]
	}
	return 0
}

func (p *parser) value(depth int) (Value, error) {
	if p.count++; p.count > maxValues {
		return Value{}, errMany
	}
	if depth > maxDepth {
		return Value{}, errDeep
	}
	rest := p.text()[p.at:]
	switch {
	case len(rest) == 0:
		return Value{}, errEnd
	case rest[0] == '(':
		p.at++
		return p.list(depth)
	case bytes.HasPrefix(rest, []byte("%(")):
		p.at += 2
		return p.pairs(depth)
	case bytes.HasPrefix(rest, []byte("%{")):
		return p.file()
	case rest[0] == '{':
		b, err := p.literal()
		return Value{Kind: Text, Bytes: b}, err
	case rest[0] == '"':
		b, err := p.quoted()
		return Value{Kind: Text, Bytes: b}, err
	}
	word, err := p.atom()
	if string(word) == "NIL" {
		return Value{}, err
	}
	return Value{Kind: Text, Bytes: word}, err
}

func (p *parser) list(depth int) (Value, error) {
	v := Value{Kind: List}
	for {
		p.blanks()
		if p.next() == ')' {
			p.at++
			return v, nil
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.Items = append(v.Items, item)
	}
}

func (p *parser) pairs(depth int) (Value, error) {
	v := Value{Kind: Map}
	for {
		p.blanks()
		if p.next() == ')' {
			p.at++
			return v, nil
		}
		key, err := p.atom()
		if err != nil {
			return Value{}, err
		}
		p.blanks()
		item, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.Keys, v.Items = append(v.Keys, string(key)), append(v.Items, item)
	}
}

// file reads %{partition guid size}, whose content is the part's literal.
func (p *parser) file() (Value, error) {
	inner := p.text()[p.at+2:]
	words := bytes.Split(bytes.TrimSuffix(inner, []byte("}")), []byte(" "))
	if len(words) != 3 || len(inner) == 0 || inner[len(inner)-1] != '}' {
		return Value{}, errMark
	}
	b, err := p.take(words[2])
	return Value{Kind: File, Bytes: b, Partition: string(words[0]), GUID: string(words[1])}, err
}

// literal reads {n} or {n+}, which must end the part's text.
func (p *parser) literal() ([]byte, error) {
	inner := p.text()[p.at+1:]
	if len(inner) == 0 || inner[len(inner)-1] != '}' {
		return nil, errMark
	}
	return p.take(bytes.TrimSuffix(inner[:len(inner)-1], []byte("+")))
}

// take gives the literal that follows, if it is of the announced size.
func (p *parser) take(size []byte) ([]byte, error) {
	n, err := strconv.ParseUint(string(size), 10, 63)
	body := p.parts[p.part].Literal
	if err != nil || body == nil || uint64(len(body)) != n || p.part+1 >= len(p.parts) {
		return nil, errMark
	}
	p.part, p.at = p.part+1, 0
	return body, nil
}

func (p *parser) quoted() ([]byte, error) {
	var b []byte
	t := p.text()
	for i := p.at + 1; i < len(t); i++ {
		switch {
		case t[i] == '"':
			p.at = i + 1
			return b, nil
		case t[i] == '\\' && i+1 < len(t):
			i++
		}
		b = append(b, t[i])
	}
	return nil, errEnd
}

func (p *parser) atom() ([]byte, error) {
	t, start := p.text(), p.at
	for p.at < len(t) && t[p.at] != ' ' && t[p.at] != '(' && t[p.at] != ')' && t[p.at] != '"' {
		p.at++
	}
	if p.at == start {
		return nil, errEnd
	}
	return t[start:p.at:p.at], nil
}
