package vault

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Signed texts (section "Signed texts"): a first line "salvor <what> 1", lines
// "key value", and a last line "signature <hex>". The signature covers
// signContext and everything before that last line.
const (
	signContext  = "salvor signed text 1\n"
	signatureKey = "signature "
	maxTextSize  = 64 << 20 // a commit of 32 TiB in packs of 16 MiB is 130 MB; such a night is split
	maxTextLine  = 4096     // a hybrid recipient has 1,960 characters
)

// textWriter builds a signed text.
type textWriter struct{ b bytes.Buffer }

func newText(what string) *textWriter {
	w := &textWriter{}
	fmt.Fprintf(&w.b, "salvor %s 1\n", what)
	return w
}

func (w *textWriter) line(key, value string) {
	w.b.WriteString(key)
	w.b.WriteByte(' ')
	w.b.WriteString(value)
	w.b.WriteByte('\n')
}

// sign gives the whole text.
func (w *textWriter) sign(key ed25519.PrivateKey) []byte {
	sig := ed25519.Sign(key, signedBytes(w.b.Bytes()))
	w.line(strings.TrimSpace(signatureKey), hex.EncodeToString(sig))
	return w.b.Bytes()
}

func signedBytes(body []byte) []byte {
	return append([]byte(signContext), body...)
}

// text is a signed text that was taken apart. Its lines are read in the order
// in which the format has them; the first error sticks.
type text struct {
	object string // for messages
	body   []byte // what the signature covers
	lines  []string
	sig    []byte
	err    error
}

// parseText takes b apart, without verifying the signature. what is the kind
// that the first line must name.
func parseText(object, what string, b []byte) (*text, error) {
	t := &text{object: object}
	if len(b) > maxTextSize {
		return nil, damagef(object, "at most %d bytes", maxTextSize)
	}
	if !utf8.Valid(b) || len(b) == 0 || b[len(b)-1] != '\n' {
		return nil, damagef(object, "text that ends in a line end")
	}
	first, _, _ := bytes.Cut(b, []byte{'\n'})
	if err := checkFirstLine(object, what, string(first)); err != nil {
		return nil, err
	}
	start := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	digits, ok := strings.CutPrefix(string(b[start:len(b)-1]), signatureKey)
	t.sig = make([]byte, ed25519.SignatureSize)
	if !ok || parseHex(t.sig, digits) != nil {
		return nil, damagef(object, "a signature in the last line")
	}
	t.body = b[:start]
	t.lines = strings.Split(string(b[len(first)+1:start]), "\n")
	t.lines = t.lines[:len(t.lines)-1]
	return t, nil
}

// checkFirstLine accepts "salvor <what> 1".
func checkFirstLine(object, what, line string) error {
	kind, version, ok := strings.Cut(strings.TrimPrefix(line, "salvor "), " ")
	if !strings.HasPrefix(line, "salvor ") || !ok || kind != what {
		return damagef(object, "a salvor %s", what)
	}
	if version != "1" {
		return fmt.Errorf("read %s: %w %.20q of %s: a newer salvor is needed", object, ErrVersion, version, what)
	}
	return nil
}

// verify compares the signature with the key.
func (t *text) verify(key ed25519.PublicKey, who string) error {
	if !ed25519.Verify(key, signedBytes(t.body), t.sig) {
		return fmt.Errorf("verify %s: %w: the signature is not that of %s", t.object, ErrNotAuthentic, who)
	}
	return nil
}

func (t *text) fail(format string, args ...any) {
	if t.err == nil {
		t.err = damagef(t.object, format, args...)
	}
}

// next takes the next line if it has the key.
func (t *text) next(key string) (string, bool) {
	if t.err != nil || len(t.lines) == 0 {
		return "", false
	}
	k, value, _ := strings.Cut(t.lines[0], " ")
	if k != key {
		return "", false
	}
	if err := checkValue(value); err != nil {
		t.fail("a plain value of %q", key)
		return "", false
	}
	t.lines = t.lines[1:]
	return value, true
}

// one takes a line that must be there.
func (t *text) one(key string) string {
	v, ok := t.next(key)
	if !ok {
		t.fail("a line %q", key)
	}
	return v
}

func (t *text) hex(dst []byte, key string) {
	if v := t.one(key); t.err == nil && parseHex(dst, v) != nil {
		t.fail("%d hexadecimal digits as %q", 2*len(dst), key)
	}
}

func (t *text) number(key string) uint64 {
	v := t.one(key)
	n, err := strconv.ParseUint(v, 10, 63)
	if t.err == nil && (err != nil || strconv.FormatUint(n, 10) != v) {
		t.fail("a number as %q", key)
	}
	return n
}

func (t *text) time(key string) time.Time {
	v := t.one(key)
	at, err := time.Parse(time.RFC3339Nano, v)
	if t.err == nil && (err != nil || formatTime(at) != v) {
		t.fail("a time in UTC as %q", key)
	}
	return at.UTC()
}

// done is the error of everything before, or that lines are left over.
func (t *text) done() error {
	if len(t.lines) > 0 {
		t.fail("no line %.40q", t.lines[0])
	}
	return t.err
}

// checkValue refuses what could be taken for another line or hide on a
// terminal.
func checkValue(v string) error {
	if v == "" || len(v) > maxTextLine || strings.TrimSpace(v) != v || strings.IndexFunc(v, isOdd) >= 0 || !utf8.ValidString(v) {
		return fmt.Errorf("want 1 to %d printable characters without spaces at the ends", maxTextLine)
	}
	return nil
}

func isOdd(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) }

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
