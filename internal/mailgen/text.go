package mailgen

import (
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	vocabulary = 12000
	phrases    = 1500
	// drawBits is the resolution of drawing by Zipf's law from a table.
	drawBits = 16
)

// text writes sentences. It is shared by all users, as a language is.
type text struct {
	words   []string
	draw    [1 << drawBits]uint16 // a uniform number to a word, by Zipf's law
	phrases []string              // what people write again and again
	real    []string              // paragraphs of real text, when there are any
}

var (
	onsets = strings.Fields("b br c ch d dr f fl fr g gl gr h j k kl l m n p pl pr qu r s sch sh sl sp st str t th tr v w wh y z")
	vowels = strings.Fields("a e i o u ai au ea ee ei ie oo ou a e i o e e")
	codas  = strings.Fields("b ck d f g l ld ll m n nd ng nt p r rd rs s ss st t th x n r s t e")
)

func newText(r *rand.Rand) *text {
	t := &text{words: make([]string, 0, vocabulary)}
	seen := map[string]bool{}
	for len(t.words) < vocabulary {
		// The more common a word, the shorter: one syllable up to four.
		syllables := 1 + r.IntN(1+int(3*float64(len(t.words))/vocabulary+0.7))
		var b strings.Builder
		for range syllables {
			b.WriteString(pick(r, onsets) + pick(r, vowels))
		}
		b.WriteString(pick(r, codas))
		if w := b.String(); !seen[w] {
			seen[w] = true
			t.words = append(t.words, w)
		}
	}
	t.zipf()
	for range phrases {
		var b []byte
		t.phrases = append(t.phrases, string(t.clause(b, r, 3+r.IntN(9))))
	}
	return t
}

// zipf fills the table: the n-th word is drawn in proportion to 1/(n+2).
func (t *text) zipf() {
	var sum float64
	for i := range t.words {
		sum += 1 / float64(i+2)
	}
	at, reached := 0, 0.0
	for i := range t.words {
		reached += 1 / float64(i+2)
		for end := int(math.Round(reached / sum * float64(len(t.draw)))); at < end; at++ {
			t.draw[at] = uint16(i)
		}
	}
}

func (t *text) word(r *rand.Rand) string {
	return t.words[t.draw[r.Uint32()>>(32-drawBits)]]
}

// clause appends words with spaces between them.
func (t *text) clause(b []byte, r *rand.Rand, words int) []byte {
	for i := range words {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, t.word(r)...)
	}
	return b
}

// sentence appends a sentence, often from ready-made phrases.
func (t *text) sentence(b []byte, r *rand.Rand) []byte {
	start := len(b)
	for i := range 1 + r.IntN(3) {
		if i > 0 {
			b = append(b, ", "...)
		}
		if r.IntN(3) == 0 {
			b = append(b, pick(r, t.phrases)...)
		} else {
			b = t.clause(b, r, 2+r.IntN(8))
		}
		if r.IntN(9) == 0 {
			b = append(b, ' ')
			b = appendNumber(b, r)
		}
	}
	b[start] -= 'a' - 'A'
	return append(b, pick(r, []string{". ", ". ", ". ", "? ", "! ", ": "})...)
}

func appendNumber(b []byte, r *rand.Rand) []byte {
	for range 1 + r.IntN(6) {
		b = append(b, byte('0'+r.IntN(10)))
	}
	return b
}

// paragraphs appends about n bytes of running text in lines of at most width
// columns (0: one line a paragraph).
func (t *text) paragraphs(b []byte, r *rand.Rand, n, width int) []byte {
	end := len(b) + n
	for len(b) < end {
		start := len(b)
		if len(t.real) > 0 {
			b = append(b, pick(r, t.real)...)
		} else {
			for range 1 + r.IntN(6) {
				b = t.sentence(b, r)
			}
			b = b[:len(b)-1]
		}
		if width > 0 {
			wrap(b[start:], width)
		}
		b = append(b, "\n\n"...)
	}
	return b
}

// wrap breaks a paragraph into lines in place.
func wrap(b []byte, width int) {
	line, space := 0, -1
	for i, c := range b {
		switch {
		case c == '\n':
			line, space = i+1, -1
			continue
		case c == ' ':
			space = i
		}
		if i-line >= width && space >= 0 {
			b[space] = '\n'
			line, space = space+1, -1
		}
	}
}

// readText takes paragraphs from the text files below a directory, at most 64
// MB of them.
func readText(dir string) ([]string, error) {
	const most, longest = 64 << 20, 4000
	var (
		all  []string
		size int
	)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || size > most {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() > 4<<20 {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !utf8.Valid(b) || strings.ContainsRune(string(b), 0) {
			return err
		}
		for _, p := range strings.Split(string(b), "\n\n") {
			if p = strings.TrimSpace(p); len(p) > 60 && len(p) < longest {
				all = append(all, p)
				size += len(p)
			}
		}
		return nil
	})
	return all, err
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
