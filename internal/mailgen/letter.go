package mailgen

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A person writes and is written to.
type person struct {
	name, address string
	signature     string
	client        string // the mail program
	html          bool   // whose mail has an HTML part too
	encoding      string // transfer encoding of text: "7bit", "8bit", "quoted-printable"
	column        int    // width of base64 lines: programs differ
}

func newPerson(r *rand.Rand, t *text, local, domain string) *person {
	p := &person{address: local + "@" + domain}
	p.name = title(local) + " " + title(t.word(r)+t.word(r))
	p.client = pick(r, []string{"Mozilla Thunderbird", "Apple Mail (2.3445)", "Microsoft Outlook 16.0", "Roundcube Webmail/1.6", "Mutt/2.2"})
	p.html = r.IntN(100) < 55
	p.encoding = pick(r, []string{"7bit", "7bit", "quoted-printable", "quoted-printable", "8bit"})
	p.column = pick(r, []int{76, 76, 76, 76, 72, 60})
	p.signature = "-- \n" + p.name + "\n" + title(t.word(r)) + " " + title(t.word(r)) + " Ltd, phone +49 " + string(appendNumber(nil, r)) + "\n"
	if r.IntN(3) == 0 {
		p.signature += string(t.paragraphs(nil, r, 300, 76))
	}
	return p
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (p *person) String() string { return fmt.Sprintf("%q <%s>", p.name, p.address) }

// A letter is what all copies of a message share.
type letter struct {
	from    *person
	to      []*person
	subject string
	id      string
	parent  *thread // what it answers or forwards
	text    []byte  // plain text, LF
	files   []*file
	when    time.Time
	bulk    bool // a newsletter or spam
}

// A thread is what is remembered of a message so that it can be answered.
type thread struct {
	subject, id string
	references  []string
	from        *person
	to          []*person
	quote       []byte
	files       []*file
}

// press turns letters into bytes; its buffers are used again and again.
type press struct {
	text *text
	out  []byte
	raw  []byte
}

// content renders the header below the trace lines and the body. It is valid
// until the next call.
func (p *press) content(l *letter, r *rand.Rand) ([]byte, error) {
	p.out = p.head(p.out[:0], l)
	if len(l.files) == 0 {
		p.out = p.body(p.out, l, r)
		return p.out, nil
	}
	boundary := fmt.Sprintf("------------%016x", r.Uint64())
	p.out = fmt.Appendf(p.out, "Content-Type: multipart/mixed;\n boundary=\"%s\"\n\nThis is a multi-part message in MIME format.\n--%s\n", boundary, boundary)
	p.out = p.body(p.out, l, r)
	for _, f := range l.files {
		p.out = fmt.Appendf(p.out, "\n--%s\nContent-Type: %s;\n name=\"%s\"\nContent-Disposition: attachment;\n filename=\"%s\"\n", boundary, f.kind.mime, f.name, f.name)
		p.out = append(p.out, "Content-Transfer-Encoding: base64\n\n"...)
		var err error
		if p.raw, err = f.bytes(p.raw[:0], p.text); err != nil {
			return nil, err
		}
		p.out = base64Lines(p.out, p.raw, l.from.column)
	}
	p.out = fmt.Appendf(p.out, "\n--%s--\n", boundary)
	return p.out, nil
}

func (p *press) head(b []byte, l *letter) []byte {
	var to []string
	for _, x := range l.to {
		to = append(to, x.String())
	}
	b = fmt.Appendf(b, "Date: %s\nFrom: %s\nTo: %s\nSubject: %s\nMessage-ID: %s\n",
		l.when.Format(time.RFC1123Z), l.from, strings.Join(to, ",\n "), l.subject, l.id)
	if l.parent != nil {
		b = fmt.Appendf(b, "In-Reply-To: %s\nReferences: %s\n", l.parent.id, strings.Join(append(l.parent.references, l.parent.id), "\n "))
	}
	b = fmt.Appendf(b, "User-Agent: %s\nMIME-Version: 1.0\nContent-Language: en-US\n", l.from.client)
	if l.bulk {
		b = fmt.Appendf(b, "List-Unsubscribe: <https://%s/unsubscribe>\nPrecedence: bulk\n", l.from.address)
	}
	return b
}

// body appends the text, with an HTML alternative where the writer's program
// makes one.
func (p *press) body(b []byte, l *letter, r *rand.Rand) []byte {
	if !l.from.html {
		return p.textPart(b, "plain", l.from.encoding, l.text, r)
	}
	boundary := fmt.Sprintf("=_%016x%08x", r.Uint64(), r.Uint32())
	b = fmt.Appendf(b, "Content-Type: multipart/alternative;\n boundary=\"%s\"\n\n--%s\n", boundary, boundary)
	b = p.textPart(b, "plain", l.from.encoding, l.text, r)
	b = fmt.Appendf(b, "\n--%s\n", boundary)
	b = p.textPart(b, "html", "quoted-printable", htmlOf(l), r)
	return fmt.Appendf(b, "\n--%s--\n", boundary)
}

func (p *press) textPart(b []byte, kind, encoding string, content []byte, r *rand.Rand) []byte {
	b = fmt.Appendf(b, "Content-Type: text/%s; charset=utf-8\nContent-Transfer-Encoding: %s\n\n", kind, encoding)
	switch encoding {
	case "quoted-printable":
		return quoted(b, umlauts(p.raw[:0], content, r))
	case "8bit":
		return umlauts(b, content, r)
	}
	return append(b, content...)
}

// umlauts appends text in which some letters are not ASCII any more.
func umlauts(b, text []byte, r *rand.Rand) []byte {
	every := 40 + r.IntN(200)
	for i, c := range text {
		if i%every == 0 && c == 'u' {
			b = append(b, "ü"...)
			continue
		}
		b = append(b, c)
	}
	return b
}

// htmlOf makes of a text what mail programs make of it.
func htmlOf(l *letter) []byte {
	b := []byte("<html><head>\n<meta http-equiv=\"content-type\" content=\"text/html; charset=UTF-8\">\n")
	if l.bulk {
		b = append(b, newsletterStyle...)
	}
	b = append(b, "</head>\n<body text=\"#000000\" bgcolor=\"#FFFFFF\">\n"...)
	for _, p := range strings.Split(string(l.text), "\n\n") {
		if l.bulk {
			b = append(b, `<tr><td align="left" valign="top" style="font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:21px;color:#333333;padding:0 24px 12px 24px;">`...)
		}
		b = append(b, `<p style="margin-bottom:0cm;line-height:100%">`...)
		b = append(b, strings.ReplaceAll(p, "\n", "<br>\n")...)
		b = append(b, "</p>\n"...)
	}
	return append(b, "</body></html>\n"...)
}

var newsletterStyle = "<style type=\"text/css\">\n" + strings.Repeat("@media only screen and (max-width:480px){table[class=w320]{width:320px !important;}}\n", 8) + "</style>\n"

// quoted appends in quoted-printable, RFC 2045, section 6.7.
func quoted(b, content []byte) []byte {
	const digits = "0123456789ABCDEF"
	line := 0
	for i, c := range content {
		if c == '\n' {
			b, line = append(b, c), 0
			continue
		}
		if line >= 73 {
			b, line = append(b, "=\n"...), 0
		}
		last := i+1 == len(content) || content[i+1] == '\n'
		if c == '=' || c < ' ' || c > '~' || c == ' ' && last {
			b = append(b, '=', digits[c>>4], digits[c&15])
			line += 3
			continue
		}
		b = append(b, c)
		line++
	}
	return b
}

// base64Lines appends in base64 with lines of so many columns.
func base64Lines(b, content []byte, column int) []byte {
	for chunk := column / 4 * 3; len(content) > 0; {
		n := min(chunk, len(content))
		b = base64.StdEncoding.AppendEncode(b, content[:n])
		b = append(b, '\n')
		content = content[n:]
	}
	return b
}

// trace appends the lines that a message gets on its way to one mailbox; they
// make each copy a different file.
func trace(b []byte, l *letter, to *person, when time.Time, r *rand.Rand) []byte {
	date := when.Format(time.RFC1123Z)
	b = fmt.Appendf(b, "Return-Path: <%s>\nDelivered-To: %s\n", l.from.address, to.address)
	for hop := range 2 + r.IntN(3) {
		b = fmt.Appendf(b, "Received: from mx%d.example.net (mx%d.example.net [192.0.2.%d])\n\tby relay%d.example.org (Postfix) with ESMTPS id %010X\n\tfor <%s>; %s\n",
			hop, r.IntN(9), r.IntN(250), hop, r.Uint64()>>24, to.address, date)
	}
	b = fmt.Appendf(b, "Authentication-Results: relay.example.org;\n\tdkim=pass (2048-bit key) header.d=%s header.i=@%s;\n\tspf=pass smtp.mailfrom=%s\n",
		domain(l.from.address), domain(l.from.address), l.from.address)
	b = fmt.Appendf(b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s;\n\ts=mail; t=%d; h=from:to:subject:date:message-id;\n\tbh=", domain(l.from.address), l.when.Unix())
	b = base64Lines(b, noise(nil, r, 32), 76)
	b = append(b, "\tb="...)
	for range 5 {
		b = append(base64Lines(b, noise(nil, r, 51), 76), '\t')
	}
	b[len(b)-1] = 'X'
	return fmt.Appendf(b, "-Spam-Status: No, score=-%d.%d required=5.0 tests=BAYES_00,DKIM_SIGNED,\n\tDKIM_VALID,HTML_MESSAGE,SPF_PASS autolearn=ham version=3.4.6\nX-Virus-Scanned: clamav-milter 0.103.8 at relay\nX-Virus-Status: Clean\n",
		r.IntN(5), r.IntN(10))
}

func domain(address string) string { return address[strings.IndexByte(address, '@')+1:] }
