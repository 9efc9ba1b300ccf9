package imap

import (
	"bytes"
	"strings"
	"testing"

	"salvor/internal/mailstore/imap/wire"
)

func str(s string) wire.Value { return wire.Value{Kind: wire.String, Bytes: []byte(s)} }

func list(items ...wire.Value) wire.Value { return wire.Value{Kind: wire.List, Items: items} }

func TestEnvelope(t *testing.T) {
	t.Parallel()
	of := func(subject, to, id wire.Value) wire.Value {
		var none wire.Value
		return list(str("Thu, 26 Oct 2006 18:30:00 -0700"), subject, none, none, none, to, none, none, none, id)
	}
	address := list(str("Jo"), wire.Value{}, str("jo"), str("x"))
	var many []wire.Value
	for range 1000 {
		many = append(many, address)
	}
	for _, tt := range []struct {
		v        wire.Value
		text, id string
	}{
		{of(str("s"), list(address, address), str("<1@x>")), `("Thu, 26 Oct 2006 18:30:00 -0700" "s" NIL NIL NIL (("Jo" NIL "jo" "x")("Jo" NIL "jo" "x")) NIL NIL NIL "<1@x>")`, "<1@x>"},
		{of(str(`a "b" \c`), wire.Value{}, str(" <1@x>\r\n\t(c) ")), "(\"Thu, 26 Oct 2006 18:30:00 -0700\" \"a \\\"b\\\" \\\\c\" NIL NIL NIL NIL NIL NIL NIL {13}\r\n <1@x>\r\n\t(c) )", "<1@x> (c)"},
		{of(str("a\r\nb"), wire.Value{}, wire.Value{}), "(\"Thu, 26 Oct 2006 18:30:00 -0700\" {4}\r\na\r\nb NIL NIL NIL NIL NIL NIL NIL NIL)", ""},
		{of(str("s"), list(many...), str("<1@x>")), `("Thu, 26 Oct 2006 18:30:00 -0700" "s" NIL NIL NIL NIL NIL NIL NIL "<1@x>")`, "<1@x>"},
		{of(str(strings.Repeat("s", 9000)), list(str(strings.Repeat("t", 9001))), str("<1@x>")), `("Thu, 26 Oct 2006 18:30:00 -0700" "` + strings.Repeat("s", 9000) + `" NIL NIL NIL NIL NIL NIL NIL "<1@x>")`, "<1@x>"},
		{of(str("s"), wire.Value{}, str("\xff")), "(\"Thu, 26 Oct 2006 18:30:00 -0700\" \"s\" NIL NIL NIL NIL NIL NIL NIL \"\xff\")", ""},
		{of(str("s"), wire.Value{}, str("<\x1b[2J@x>")), "(\"Thu, 26 Oct 2006 18:30:00 -0700\" \"s\" NIL NIL NIL NIL NIL NIL NIL \"<\x1b[2J@x>\")", ""},
		{list(str("a")), "", ""},
		{wire.Value{}, "", ""},
	} {
		if text, id := envelope(tt.v); text != tt.text || id != tt.id {
			t.Errorf("%.200q, %q; want %.200q, %q", text, id, tt.text, tt.id)
		}
	}
}

// valueOf makes a value of any bytes.
func valueOf(data []byte, depth int) (wire.Value, []byte) {
	if len(data) < 2 {
		return wire.Value{}, nil
	}
	kind, n, rest := data[0]%5, int(data[1]), data[2:]
	switch kind {
	case 0, 1:
		n = min(n, len(rest))
		return wire.Value{Kind: wire.String, Bytes: bytes.Repeat(rest[:n], 1+100*int(kind))}, rest[n:]
	case 2, 3:
		v := wire.Value{Kind: wire.List}
		for i := 0; depth < 20 && i < n && len(rest) > 0; i++ {
			var item wire.Value
			item, rest = valueOf(rest, depth+1)
			v.Items = append(v.Items, item)
		}
		return v, rest
	}
	return wire.Value{}, rest
}

// However an envelope looks, what is kept of it is bounded and in one piece.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("\x02\x0a\x00\x01a\x00\x01b\x02\x02\x02\x04\x00\x01c\x04\x00\x00\x01d\x00\x01e\x04\x00\x04\x00\x04\x00\x04\x00\x04\x00\x00\x05<1@x>"))
	f.Add([]byte("\x02\x0a\x01\xffaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"))
	f.Add([]byte("\x02\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, _ := valueOf(data, 0)
		text, id := envelope(v)
		if len(text) > maxEnvelope || len(id) > maxMessageID || strings.ContainsAny(id, "\r\n\x00") {
			t.Errorf("%d bytes, Message-ID %q", len(text), id)
		}
		if text != "" && (text[0] != '(' || text[len(text)-1] != ')') || text == "" && id != "" {
			t.Errorf("%q, Message-ID %q", text, id)
		}
	})
}

func TestSearchable(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"<1@x>": "<1@x>", "": "", "<>": "", "ab": "", "<\xffname@x>": "name@x>", "<grüße@example>": "e@example>", "a b c": "", "<a b@x.org>": "b@x.org>",
		strings.Repeat("m", 2000): strings.Repeat("m", maxMessageID), "<a\r\nx LOGOUT@x>": "LOGOUT@x>",
	} {
		if got := searchable(id); got != want {
			t.Errorf("%.50q: %.50q, want %.50q", id, got, want)
		}
	}
}

func TestHasMessageID(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"Message-ID: <1@x>\r\n\r\n":                    true,
		"A: b\r\nmessage-id:<1@x>":                     true,
		"A: b\nMESSAGE-ID:\t <1@x> \n\nbody":           true,
		"Message-ID:\r\n\t<1@x>\r\nA: b\r\n\r\n":       true,
		"Message-ID: <0@x>\r\nMessage-ID: <1@x>\r\n":   true,
		"Message-ID: (comment)\r\n <1@x> (x)\r\n\r\n":  true,
		"A: b\r\n\r\nMessage-ID: <1@x>\r\n":            false,
		"A: b\r\n Message-ID: <1@x>\r\n\r\n":           false,
		"X-Message-ID: <1@x>\r\nReferences: <1@x>\r\n": false,
		"Message-ID: <11@x>\r\nMessage-ID : <2@x>\r\n": false,
		"":               false,
		"\r\n":           false,
		"Message-ID:":    false,
		"Message-ID: <1": false,
	} {
		if got := hasMessageID([]byte(message), "<1@x>"); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
	if hasMessageID([]byte("Message-ID: abc\r\n"), "ab") || !hasMessageID([]byte("Message-ID: ab\r\n"), " ab") {
		t.Error("without brackets, only the whole value counts")
	}
}

// A message that begins with the header has it, whatever follows; nothing else is
// made of a message than an answer.
func FuzzHasMessageID(f *testing.F) {
	f.Add([]byte("Message-ID: <1@x>\r\n\r\n"), "<1@x>")
	f.Add([]byte(" \n\t\n a"), "")
	f.Add([]byte("Message-ID:\r\n\t<1@x>\r\nA: b\r\n\r\n"), "x\ny")
	f.Fuzz(func(t *testing.T, message []byte, id string) {
		hasMessageID(message, id)
		if strings.ContainsAny(id, "\r\n") || bytes.HasPrefix(message, []byte(" ")) || bytes.HasPrefix(message, []byte("\t")) {
			return
		}
		if !hasMessageID(append([]byte("Message-ID: "+id+"\r\n"), message...), id) {
			t.Errorf("%q is not found before %q", id, message)
		}
	})
}
