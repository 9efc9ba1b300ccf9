package carve

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A mailbag is mail of one kind, for measuring.
type mailbag struct {
	name  string
	mails [][]byte
}

const bagBytes = 2 << 20

// mailbags are kinds of mail: the bulk of what a spool holds, by messages and by bytes.
func mailbags(b *testing.B) (all []mailbag) {
	words := strings.Repeat("Some ordinary words in lines that a mail program has wrapped, as most do.\nAnd a short one.\n\n", 60)
	long := strings.Repeat(`<p style=3D"margin-bottom:0cm;line-height:100%">words that <b>nobody</b> re=`+"\nads, ever</p>\n", 60)
	header := func(encoding string) string {
		return strings.Replace(letter[:strings.Index(letter, "\n\n")], "\nSubject", "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "+encoding+"\nSubject", 1) + "\n\n"
	}
	add := func(name string, mails ...[]byte) { all = append(all, mailbag{name, mails}) }
	add("base64", picture(bagBytes/77))
	add("base64 crlf", toCRLF(picture(bagBytes/78)))
	add("text", []byte(header("7bit")+strings.Repeat(words, bagBytes/len(words))))
	add("text crlf", toCRLF([]byte(header("7bit")+strings.Repeat(words, bagBytes/len(words)))))
	add("8bit", []byte(header("8bit")+strings.Repeat(strings.ReplaceAll(words, "o", "ö"), bagBytes/len(words))))
	add("quoted-printable", []byte(header("quoted-printable")+strings.Repeat(long, bagBytes/len(long))))
	mails := generated(b, 300, 5)
	add("mailgen", mails...)
	var short [][]byte
	for _, m := range mails {
		if len(m) < 12<<10 {
			short = append(short, m)
		}
	}
	add("mailgen, short", short...)
	return all
}

func (m mailbag) size() (n int64) {
	for _, b := range m.mails {
		n += int64(len(b))
	}
	return n
}

// BenchmarkCheck checks mail of many kinds.
func BenchmarkCheck(b *testing.B) {
	for _, bag := range mailbags(b) {
		b.Run(bag.name, func(b *testing.B) {
			b.SetBytes(bag.size())
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range bag.mails {
					if s, err := Check(bytes.NewReader(m), int64(len(m))); err != nil || s.Verdict == Broken {
						b.Fatal(s, err)
					}
				}
			}
		})
	}
}

// BenchmarkFollow follows mail of many kinds, each from a block on.
func BenchmarkFollow(b *testing.B) {
	for _, bag := range mailbags(b) {
		d := on(bag.mails...)
		b.Run(bag.name, func(b *testing.B) {
			b.SetBytes(bag.size())
			b.ReportAllocs()
			for b.Loop() {
				off := int64(0)
				for _, m := range bag.mails {
					if p := follow(b, d, off, Options{}); p.Verdict == Broken {
						b.Fatal(fmt.Sprint(p))
					}
					off += int64(len(m)+block-1) / block * block
				}
			}
		})
	}
}
