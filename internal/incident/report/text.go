package report

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// columns is how long a line of a text is at most, where its words allow it.
const columns = 76

// WriteText writes a page as plain text.
func (p *Page) WriteText(w io.Writer) error {
	return writeText(w, "What became of your mail", []string{"For " + printable(p.User) + ", written " + moment(p.WrittenAt) + ". " + zoneWords(p.LossAt)}, p.sections())
}

func writeText(w io.Writer, title string, head []string, sections []section) error {
	b := bufio.NewWriter(w)
	underlined(b, title, "=")
	for _, h := range head {
		b.WriteString("\n")
		wrap(b, h, "")
	}
	for _, s := range sections {
		b.WriteString("\n\n")
		underlined(b, s.Title, "-")
		for _, p := range s.Words {
			b.WriteString("\n")
			wrap(b, p, "")
		}
		if len(s.Items) > 0 {
			b.WriteString("\n")
		}
		for _, i := range s.Items {
			b.WriteString("  * ")
			wrap(b, printable(i.Folder)+": "+i.Words, "    ")
		}
		for _, p := range s.After {
			b.WriteString("\n")
			wrap(b, p, "")
		}
	}
	return b.Flush()
}

func underlined(b *bufio.Writer, title, with string) {
	b.WriteString(title + "\n" + strings.Repeat(with, utf8.RuneCountInString(title)) + "\n")
}

// wrap writes a paragraph; lines after the first are indented.
func wrap(b *bufio.Writer, text, indent string) {
	at := utf8.RuneCountInString(indent)
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > columns:
			b.WriteString("\n" + indent)
			at = utf8.RuneCountInString(indent)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteString("\n")
}
