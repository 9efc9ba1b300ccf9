package diskimage

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"salvor/internal/mailgen"
)

// A style is how a message came to where it stands, which decides how it
// begins.
type style int

const (
	byCyrus   style = iota // delivered by Cyrus: Return-Path first
	byDovecot              // delivered by Dovecot: Delivered-To
	bySender               // put there by a mail program: any header first, nobody named
	asDraft                // the same, not finished
)

// A sample is a made-up message of package mailgen, without what it got on its
// way, LF.
type sample struct{ head, body []byte }

// A press prints messages, each different from all others. The same seed gives
// the same ones.
type press struct {
	r       *rand.Rand
	samples []sample
	number  int
}

// onTheWay are the header fields that only a delivered message has.
var onTheWay = regexp.MustCompile(`(?im)^(return-path|delivered-to|received|authentication-results|dkim-signature|x-spam-status|x-virus-[a-z]+|message-id|bcc):.*\n([ \t].*\n)*`)

// structure are the fields that say how the body is to be read.
var structure = regexp.MustCompile(`(?im)^(mime-version|content-[a-z-]+):.*\n([ \t].*\n)*`)

// largestSample keeps the samples that are text; attachments are made to
// measure.
const largestSample = 20 << 10

func newPress(seed uint64) (*press, error) {
	all, err := samples()
	return &press{r: rand.New(rand.NewPCG(seed, 0x9e55)), samples: all}, err
}

// samples makes them once: all images have the same.
var samples = sync.OnceValues(func() (all []sample, err error) {
	dir, err := os.MkdirTemp("", "salvor-letters-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if _, err := mailgen.Create(context.Background(), mailgen.Options{Root: dir, Users: 4, Messages: 260, Seed: 1}); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		b, err := os.ReadFile(path)
		head, body, ok := bytes.Cut(b, []byte("\n\n"))
		if err == nil && ok && len(b) <= largestSample {
			all = append(all, sample{onTheWay.ReplaceAll(append(head, '\n'), nil), body})
		}
		return err
	})
	if err == nil && len(all) < 50 {
		err = fmt.Errorf("only %d small messages made", len(all))
	}
	return all, err
})

// A letter is a message in the form of the wire.
type letter struct {
	wire []byte
	id   string // Message-ID, with its brackets; "" for some drafts
}

// Shares of messages by kind, in a thousand. The rest are samples as they are.
const (
	tiny      = 20 // under 512 bytes
	exact     = 40 // a multiple of 4096 bytes as stored
	medium    = 60 // an attachment of 16 to 64 KB
	large     = 70 // of 64 KB to 1 MB
	huge      = 10 // of 1 MB to Options.Largest
	forwarded = 40 // with another message in it, as it was
	foreign   = 30 // text in ISO 8859-1 without saying so
	unended   = 10 // no line end at the end
	nul       = 4  // a NUL in the text
	longLines = 20 // lines of thousands of columns
	of        = 1000
)

// print makes a message for a user. lf: it will be stored with LF alone, which
// matters to those that fill their blocks.
func (p *press) print(how style, user string, lf bool, largest int) letter {
	p.number++
	l := letter{id: fmt.Sprintf("<%08x.%d@%s>", p.r.Uint32(), p.number, "origin.example")}
	if how == asDraft && p.r.IntN(2) == 0 {
		l.id = ""
	}
	s := p.samples[p.r.IntN(len(p.samples))]
	head, body := s.head, s.body
	kind := p.r.IntN(of)
	within := func(share int) bool { kind -= share; return kind < 0 }
	fill := false
	switch {
	case within(tiny):
		head, body = []byte("Subject: note\n"), fmt.Appendf(nil, "%x\n", p.r.Uint64())
	case within(exact):
		fill = true
	case within(medium):
		head, body = p.attach(s, p.between(16e3, 64e3))
	case within(large):
		head, body = p.attach(s, p.between(64e3, 1e6))
	case within(huge):
		head, body = p.attach(s, p.between(1e6, float64(max(largest, 1e6))))
	case within(forwarded):
		head, body = p.forward(s)
	case within(foreign):
		body = bytes.ReplaceAll(body, []byte("u"), []byte("\xfc"))
	case within(unended):
		body = bytes.TrimRight(body, "\n")
	case within(nul):
		body = append(append([]byte{}, body...), "before\x00after\n"...)
	case within(longLines):
		body = append(append([]byte{}, body...), append(bytes.Repeat([]byte("endless "), 400+p.r.IntN(900)), '\n')...)
	}
	b := append(p.top(how, user, l.id, head), '\n')
	b = append(b, body...)
	if fill {
		b = p.fill(b, lf)
	}
	l.wire = wireForm(b)
	return l
}

func (p *press) between(low, high float64) int {
	return int(low * math.Exp(p.r.Float64()*math.Log(high/low)))
}

// top gives the header of a message as it is stored: what its way has added, and
// what its writer wrote, in the order of the writer's program.
func (p *press) top(how style, user, id string, head []byte) []byte {
	mark := fmt.Sprintf("%08X", p.r.Uint32())
	if id != "" {
		head = fmt.Appendf(bytes.Clone(head), "Message-ID: %s\n", id)
	}
	when := fmt.Sprintf("Sat, 01 Sep 2007 %02d:%02d:%02d -0400", p.r.IntN(24), p.r.IntN(60), p.r.IntN(60))
	switch how {
	case byCyrus:
		return append(fmt.Appendf(nil, "Return-Path: <bounce-%s@lists.example.net>\nReceived: from compute2.internal (compute2.internal [192.0.2.42])\n\t by store19.internal (Cyrus v2.3.9) with LMTPA;\n\t %s\nX-Sieve: CMU Sieve 2.3\nX-Delivered-to: %s\nX-Mail-from: bounce-%s@lists.example.net\n",
			mark, when, user, mark), head...)
	case byDovecot:
		return append(fmt.Appendf(nil, "Return-Path: <owner-%s@lists.example.net>\nDelivered-To: %s\nReceived: from mx1.example.org ([192.0.2.1])\n\tby mail.example.org with LMTP id %s\n\tfor <%s>; %s\n",
			mark, user, mark, user, when), head...)
	}
	fields := regexp.MustCompile(`(?m)^\S.*\n([ \t].*\n)*`).FindAll(head, -1)
	fields = append(fields, fmt.Appendf(nil, "X-Client-Ref: %s\n", mark))
	n := p.r.IntN(len(fields))
	return bytes.Join(append(fields[n:len(fields):len(fields)], fields[:n]...), nil)
}

// attach gives a message an attachment that makes it about so large.
func (p *press) attach(s sample, size int) (head, body []byte) {
	boundary := fmt.Sprintf("----=_Part_%016x", p.r.Uint64())
	head = fmt.Appendf(structure.ReplaceAll(s.head, nil), "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"%s\"\n", boundary)
	body = fmt.Appendf(nil, "--%s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n%s\n--%s\nContent-Type: application/octet-stream; name=\"%d.bin\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"%d.bin\"\n\n",
		boundary, s.body, boundary, p.number, p.number)
	raw := make([]byte, 0, size*3/4+8)
	for len(raw) < size*3/4 {
		raw = binary.LittleEndian.AppendUint64(raw, p.r.Uint64())
	}
	for len(raw) > 0 {
		n := min(len(raw), 57)
		body = append(base64.StdEncoding.AppendEncode(body, raw[:n]), '\n')
		raw = raw[n:]
	}
	return head, fmt.Appendf(body, "--%s--\n", boundary)
}

// forward puts a whole message into another: the start of mail that is none.
func (p *press) forward(s sample) (head, body []byte) {
	boundary := fmt.Sprintf("=_%016x", p.r.Uint64())
	inner := p.samples[p.r.IntN(len(p.samples))]
	head = fmt.Appendf(structure.ReplaceAll(s.head, nil), "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"%s\"\n", boundary)
	body = fmt.Appendf(nil, "--%s\nContent-Type: text/plain\n\n%s\n--%s\nContent-Type: message/rfc822\n\nReceived: from mx9.example.net; %x\nMessage-ID: <inner.%x@example.net>\n%s\n%s\n--%s--\n",
		boundary, s.body, boundary, p.number, p.r.Uint64(), inner.head, inner.body, boundary)
	return head, body
}

// fill makes a message end where its block ends.
func (p *press) fill(b []byte, lf bool) []byte {
	const line = "filling up the block, line by line, until it is full to the last byte\n"
	end := 1 // bytes of a line's end as stored
	length := len(b)
	if !lf {
		end = 2
		length = len(wireForm(b))
	}
	missing := 2*blockSize - length%blockSize
	for missing > 2*(len(line)+end) {
		b = append(b, line...)
		missing -= len(line) - 1 + end
	}
	return append(append(b, bytes.Repeat([]byte("x"), missing-end)...), '\n')
}

// wireForm ends every line with CRLF.
func wireForm(b []byte) []byte {
	w := make([]byte, 0, len(b)+len(b)/40)
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			w = append(w, '\r')
		}
		w = append(w, c)
	}
	return w
}

// lineFeeds ends every line with LF alone, as a Maildir does.
func lineFeeds(wire []byte) []byte { return bytes.ReplaceAll(wire, []byte("\r\n"), []byte("\n")) }
