package volume

import (
	"errors"
	"fmt"
	"strconv"
)

// A section of LVM's metadata: name { ... }, or the whole text. The grammar is that
// of lvm.conf(5).
type lvmSection struct {
	name     string
	sections []*lvmSection       // in their order
	values   map[string][]string // a single value as a list of one, numbers as text
}

const (
	mostLVMDepth  = 8
	mostLVMTokens = 1 << 20
)

// parseLVM reads metadata as LVM writes it, up to the first zero byte. Of two things
// with the same name the first one counts.
func parseLVM(text []byte) (*lvmSection, error) {
	p := lvmParser{text: text}
	top, err := p.section("", 0)
	if err != nil {
		return nil, fmt.Errorf("line %d of the metadata: %w", p.line+1, err)
	}
	return top, nil
}

// sub finds a section by its name; it is empty where there is none.
func (s *lvmSection) sub(name string) *lvmSection {
	for _, c := range s.sections {
		if c.name == name {
			return c
		}
	}
	return &lvmSection{name: name}
}

// text is a value, "" where there is none.
func (s *lvmSection) text(name string) string {
	if v := s.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number is a value from 0 to 2^48; anything else is -1.
func (s *lvmSection) number(name string) int64 {
	return lvmNumber(s.text(name))
}

func lvmNumber(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<48 {
		return -1
	}
	return n
}

type lvmParser struct {
	text   []byte
	at     int
	line   int
	tokens int
}

var errLVMEnd = errors.New("it ends too early")

// section reads what stands between braces, or the whole text at depth 0.
func (p *lvmParser) section(name string, depth int) (*lvmSection, error) {
	if depth > mostLVMDepth {
		return nil, errors.New("sections are nested too deeply")
	}
	s := &lvmSection{name: name, values: map[string][]string{}}
	for {
		key, err := p.next()
		if err != nil {
			return nil, err
		}
		if key == "" && depth == 0 || key == "}" && depth > 0 {
			return s, nil
		}
		if key == "" {
			return nil, errLVMEnd
		}
		if err := p.entry(s, key, depth); err != nil {
			return nil, err
		}
	}
}

// entry reads what follows a name: a section, or a value.
func (p *lvmParser) entry(s *lvmSection, key string, depth int) error {
	if !isLVMWord(key[0]) {
		return fmt.Errorf("%.20q where a name should be", key)
	}
	mark, err := p.next()
	if err != nil {
		return err
	}
	switch mark {
	case "":
		return errLVMEnd
	case "{":
		sub, err := p.section(key, depth+1)
		if err == nil {
			s.sections = append(s.sections, sub)
		}
		return err
	case "=":
		values, err := p.values()
		if _, there := s.values[key]; err == nil && !there {
			s.values[key] = values
		}
		return err
	}
	return fmt.Errorf("%.20q after the name %.40q", mark, key)
}

// values reads a value, or a list of them.
func (p *lvmParser) values() ([]string, error) {
	first, err := p.next()
	if err != nil {
		return nil, err
	}
	if first != "[" {
		value, err := lvmValue(first)
		return []string{value}, err
	}
	var list []string
	for {
		t, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case t == "":
			return nil, errLVMEnd
		case t == "]":
			return list, nil
		case t == ",":
			continue
		}
		value, err := lvmValue(t)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
}

func lvmValue(token string) (string, error) {
	switch {
	case token == "":
		return "", errLVMEnd
	case token[0] == '"':
		return token[1:], nil
	case isLVMWord(token[0]):
		return token, nil
	}
	return "", fmt.Errorf("%.20q where a value should be", token)
}

func isLVMWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '+' || c == '@'
}

// next gives the next word, mark, or string (with a quote before it); "" at the end.
func (p *lvmParser) next() (string, error) {
	if p.tokens++; p.tokens > mostLVMTokens {
		return "", errors.New("it is too long")
	}
	p.blank()
	if p.at == len(p.text) {
		return "", nil
	}
	begin := p.at
	switch c := p.text[p.at]; {
	case c == '"':
		return p.quoted()
	case isLVMWord(c):
		for p.at < len(p.text) && isLVMWord(p.text[p.at]) {
			p.at++
		}
		return string(p.text[begin:p.at]), nil
	case c == '{' || c == '}' || c == '[' || c == ']' || c == '=' || c == ',':
		p.at++
		return string(c), nil
	default:
		return "", fmt.Errorf("byte %#02x, which nothing begins with", c)
	}
}

// blank skips white space and comments. A zero byte ends the text.
func (p *lvmParser) blank() {
	comment := false
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == 0:
			p.text = p.text[:p.at]
			return
		case c == '\n':
			p.line++
			comment = false
		case comment:
		case c == '#':
			comment = true
		case c != ' ' && c != '\t' && c != '\r':
			return
		}
	}
}

// quoted reads a string; a backslash keeps what follows it.
func (p *lvmParser) quoted() (string, error) {
	value := []byte{'"'}
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case '"':
			p.at++
			return string(value), nil
		case '\\':
			if p.at++; p.at < len(p.text) {
				value = append(value, p.text[p.at])
			}
		case 0:
			return "", errLVMEnd
		case '\n':
			p.line++
			fallthrough
		default:
			value = append(value, c)
		}
	}
	return "", errLVMEnd
}
