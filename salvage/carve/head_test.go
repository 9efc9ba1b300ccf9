package carve

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const letter = "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: a letter\nMessage-ID: <1@example.org>\nDate: Mon, 1 Jul 2024 10:00:00 +0000\n\nHello Bob,\nthis is it.\n"

const multipart = "Return-Path: <ann@example.org>\nFrom: Ann <ann@example.org>\nTo: bob@example.org\nSubject: with a picture\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=\"=_b0\"\n\n--=_b0\nContent-Type: text/plain\n\nsee below\n--=_b0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n%s--=_b0--\n"

// picture is a message with n lines of base64.
func picture(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	var b strings.Builder
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for range n {
		for range 76 {
			b.WriteByte(alphabet[rng.IntN(64)])
		}
		b.WriteByte('\n')
	}
	return fmt.Appendf(nil, multipart, b.String()+"QUJDRA==\n")
}

const dboxFile = "2 M1e C6b03387f\n\x01\x02N          0000000000000019\nSubject: 1 INBOX\n\nbody 1\n\n\x01\x03\nR4540fea8\nV1c\nG3dd9302b7f38036be56f000083ecc375\nBINBOX\n\n"

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

// bzip2ed is letter, compressed by bzip2(1); package compress/bzip2 writes none.
var bzip2ed = []byte("\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\xbe\xa0\x1e\x24\x00\x00\x21\x5f\x80\x40\x10\x40\x0f\x74\x15\x75\x72\x0c\x00\x3a\xf7\xde\x40\x20\x00\x72\x33\xf5\x4f\x44\x03\x4f\x50\x00\x00\x00\xf5\x06\x88\xd5\x36\x9a\x6a\x79\x34\x8d\x36\x91\xa6\x13\xd4\xd1\x93\x46\x1b\xe9\x4f\xb9\x23\x58\x6f\x9d\x7a\x9f\xc8\xa8\xb6\x19\xc7\x46\x4f\x73\x27\x95\x27\x6a\xae\x5b\x9a\x24\x6b\x4c\x36\x6d\x55\xd0\x18\x2d\x10\x74\x10\x67\x22\xf0\xb5\x19\x83\xeb\xc1\x59\x17\x8e\x28\x8c\x2e\x2b\x3f\x4d\x5a\xa6\x85\x91\x61\xcb\x77\x09\x46\x81\x47\x0c\x90\x0b\x09\xbe\x14\xbf\x7a\x88\xe5\xe4\x66\x18\xc1\xda\x35\x82\xc9\x0e\xac\x9c\x44\x21\xf8\xbb\x92\x29\xc2\x84\x85\xf5\x00\xf1\x20")

func TestHead(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Kind
	}{
		{"return-path", "Return-Path: <a@example.org>\nReceived: from x\n\tby y; today\n", Header},
		{"received, cut", "Received: from mail.example.org (mail.example.org [192.0.2.1])\n\tby mx.example.org with ESMTP id 1\n\tfor <b@exam", Header},
		{"sent", "Date: Mon, 1 Jul 2024 10:00:00 +0000\nFrom: a@example.org\nTo: b@example.org\n\nx\n", Header},
		{"draft", "Subject: x\n\n", Header},
		{"no end", "Subject: x\n", Header},
		{"crlf", "To: b@example.org\r\nSubject: x\r\n\r\nx\r\n", Header},
		{"dkim", "DKIM-Signature: v=1; a=rsa-sha256;\n d=example.org;\n b=abc\nFrom: a@example.org\n", Header},
		{"unknown first", "Foo-Bar: 1\nFrom: a@example.org\nSubject: x\n\n", Header},
		{"x-", "X-Sieve: CMU Sieve 2.3\nX-Spam: no\n\n", Header},
		{"8-bit", "Subject: gr\xfc\xdfe\nFrom: a@example.org\n\n", Header},
		{"control characters", "From: a@example.org\nSubject: a bell \a and \x1b[31mred\n\n", Header},
		{"obsolete", "Subject : x\nFrom\t: a@example.org\n\n", Header},
		{"lower case", "from: a@example.org\nmessage-id: <1@x>\n\n", Header},
		{"quoted From_", ">From a@example.org Mon Jul  1 10:00:00 2024\nReceived: from x\n", Header},
		{"mbox", "From a@example.org Mon Jul  1 10:00:00 2024\nSubject: x\n\n", Mbox},
		{"sdbox", dboxFile, Dbox},
		{"record", dboxFile[16:], Dbox},
		{"gzip", string(gzipped([]byte(letter))), Gzip},
		{"zstd", string(zstded([]byte(letter))), Zstd},
		{"bzip2", string(bzip2ed), Bzip2},

		{"prose", "From the beginning it was clear: nothing\nwould ever be\n", ""},
		{"prose with colon", "Note: this is text\nand it goes on like that\nfor some lines\n", ""},
		{"go", "package carve\n\nimport \"fmt\"\n", ""},
		{"c", "default:\n\tbreak;\n}\n", ""},
		{"yaml", "name: salvor\nversion: 1\non: push\njobs: none\n", ""},
		{"debian", "Package: bash\nStatus: install ok installed\nSection: shells\nVersion: 5\n\n", ""},
		{"log", "Nov 23 00:35:10 host dovecot: imap(bob): Logged out\n", ""},
		{"html", "<html><head><title>Subject: x</title>\n", ""},
		{"http", "HTTP/1.1 200 OK\nDate: Mon, 1 Jul 2024 10:00:00 GMT\nServer: x\n\n", ""},
		{"http without status", "Server: nginx\nDate: Mon, 1 Jul 2024 10:00:00 GMT\nContent-Type: text/html\nETag: 1\n\n", ""},
		{"part", "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQUJD\n", ""},
		{"base64", strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\n", 50), ""},
		{"zeros", strings.Repeat("\x00", 4096), ""},
		{"dbox of nonsense", "2 M1e C6b03387f\nnothing here that counts as a message at all\n", ""},
		{"gzip of source", string(gzipped([]byte(strings.Repeat("func main() {}\n", 99)))), ""},
		{"zstd of source", string(zstded([]byte(strings.Repeat("func main() {}\n", 99)))), ""},
		{"short", "To: b", ""},
	} {
		s, ok := Head([]byte(c.text))
		if ok != (c.want != "") || s.Kind != c.want && ok {
			t.Errorf("%s: %+v, %v", c.name, s, ok)
		}
		if c.name == "short" {
			continue
		}
		padded := make([]byte, 4096)
		copy(padded, c.text)
		if s, ok := Head(padded); ok != (c.want != "") || s.Kind != c.want && ok {
			t.Errorf("%s in a block: %+v, %v", c.name, s, ok)
		}
	}
}

// Head has to be much faster than any disk on blocks that are no mail.
func BenchmarkHead(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const size = 64 << 20
	fill := func(f func([]byte)) []byte {
		out := make([]byte, size)
		for at := 0; at < size; at += 4096 {
			f(out[at : at+4096])
		}
		return out
	}
	prose := []byte(strings.Repeat("From time to time, words: they go on, line by line; Subject to change.\n", 60))
	for name, data := range map[string][]byte{
		"zeros": make([]byte, size),
		"random": fill(func(p []byte) {
			for i := 0; i < 64; i++ {
				p[i] = byte(rng.UintN(256))
			}
		}),
		"text":   fill(func(p []byte) { copy(p, prose[rng.IntN(72):]) }),
		"base64": fill(func(p []byte) { copy(p, picture(60)[330+rng.IntN(70):]) }),
		"mail":   fill(func(p []byte) { copy(p, letter) }),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			hits := 0
			for range b.N {
				for at := 0; at < size; at += 4096 {
					if _, ok := Head(data[at : at+4096]); ok {
						hits++
					}
				}
			}
			b.ReportMetric(float64(hits)/float64(b.N)/(size/4096), "hits/block")
		})
	}
}
