package carve

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvor/internal/mailgen"
	"salvor/salvage/volume"
)

// disk is a volume in memory.
type disk struct {
	data    []byte
	unknown []volume.Range
}

func (d *disk) Size() int64 { return int64(len(d.data)) }

func (d *disk) ReadAt(p []byte, off int64) (out []volume.Range, err error) {
	n := 0
	if off < d.Size() {
		n = copy(p, d.data[off:])
	}
	clear(p[n:])
	for _, u := range append(d.unknown, volume.Range{Off: d.Size(), Len: 1 << 40}) {
		from, to := max(u.Off, off), min(u.End(), off+int64(len(p)))
		if from < to {
			clear(p[from-off : to-off])
			out = append(out, volume.Range{Off: from, Len: to - from})
		}
	}
	return out, nil
}

// laid is a message that lies on a disk.
type laid struct {
	name, how string
	mail      []byte
	off       int64
	whole     bool // in one run
	hurt      bool // its bytes are not all there
}

// A layer lays messages onto a disk of 4096-byte blocks.
type layer struct {
	disk
	rng    *rand.Rand
	mails  []laid
	spare  [][]byte // mail of which blocks are foreign elsewhere
	random [4096]byte
}

const block = 4096

func (l *layer) blocks(b []byte) {
	l.data = append(l.data, b...)
	if n := len(l.data) % block; n > 0 {
		l.data = append(l.data, make([]byte, block-n)...)
	}
}

// put lays a message in one run.
func (l *layer) put(name, how string, mail []byte) {
	l.mails = append(l.mails, laid{name: name, how: how, mail: mail, off: int64(len(l.data)), whole: true})
	l.blocks(mail)
}

// split lays a message in two runs with foreign blocks between.
func (l *layer) split(name, how string, mail []byte, foreign []byte) {
	if len(mail) <= block {
		return
	}
	at := (1 + l.rng.IntN((len(mail)-1)/block)) * block
	l.mails = append(l.mails, laid{name: name, how: how, mail: mail, off: int64(len(l.data)), hurt: true})
	l.data = append(l.data, mail[:at]...)
	l.blocks(foreign)
	l.blocks(mail[at:])
}

// overwrite lays a message of which one block belongs to something else.
func (l *layer) overwrite(name, how string, mail []byte, foreign []byte) {
	if len(mail) <= 2*block {
		return
	}
	at := (1 + l.rng.IntN((len(mail)-1)/block-1)) * block
	b := bytes.Clone(mail)
	copy(b[at:at+block], foreign)
	l.mails = append(l.mails, laid{name: name, how: how, mail: mail, off: int64(len(l.data)), hurt: true})
	l.blocks(b)
}

// foreign gives a block of something else, and says what it is.
func (l *layer) foreign() ([]byte, string) {
	switch l.rng.IntN(6) {
	case 0:
		return make([]byte, block), "zeros"
	case 1:
		b := make([]byte, block)
		for i := range b {
			b[i] = byte(l.rng.UintN(256))
		}
		return b, "binary"
	case 2:
		return l.text("Nov 23 04:11:%02d host postfix/smtpd[%d]: connect from unknown[192.0.2.7]\n"), "log"
	case 3:
		return l.text("	if x%d > %d { return fmt.Errorf(\"no\") }\n"), "source"
	}
	m := l.spare[l.rng.IntN(len(l.spare))]
	if n := len(m) / block; n > 1 && l.rng.IntN(2) == 0 {
		at := (1 + l.rng.IntN(n-1)) * block
		return m[at : at+block], "middle of mail"
	}
	b := make([]byte, block)
	copy(b, m[len(m)/block*block:])
	return b, "end of mail"
}

func (l *layer) text(format string) []byte {
	var b bytes.Buffer
	for b.Len() < block {
		fmt.Fprintf(&b, format, l.rng.IntN(60), l.rng.IntN(30000))
	}
	return b.Bytes()[:block]
}

// generated makes mail.
func generated(t testing.TB, messages int, seed uint64) (mails [][]byte) {
	t.Helper()
	root := t.TempDir()
	if _, err := mailgen.Create(context.Background(), mailgen.Options{Root: root, Users: 3, Messages: messages, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if dir := filepath.Base(filepath.Dir(p)); err != nil || d.IsDir() || dir != "cur" && dir != "new" {
			return err
		}
		b, err := os.ReadFile(p)
		if base, _, _ := strings.Cut(filepath.Base(p), ":"); !seen[base] && len(b) < 4<<20 {
			seen[base] = true
			mails = append(mails, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mails
}

func toCRLF(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// asSent takes the traces of transport away, as in a folder of sent mail.
func asSent(b []byte, first string) []byte {
	header, body, _ := bytes.Cut(b, []byte("\n\n"))
	var front, rest []string
	drop, begins := false, false
	for _, line := range strings.SplitAfter(string(header)+"\n", "\n") {
		if line == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(strings.ToLower(line), ":")
			drop = name == "return-path" || name == "received" || name == "delivered-to" || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "dkim")
			begins = name == first
		}
		switch {
		case drop:
		case begins:
			front = append(front, line)
		default:
			rest = append(rest, line)
		}
	}
	return []byte(strings.Join(front, "") + strings.Join(rest, "") + "\n" + string(body))
}

// padded makes a single-part message a whole number of blocks long.
func padded(b []byte) []byte {
	n := (block - len(b)%block) % block
	pad := bytes.Repeat([]byte("the same line of text once more, to fill a block to its end\n"), n/60)
	if rest := n - len(pad); rest > 0 {
		pad = append(pad, append(bytes.Repeat([]byte("."), rest-1), '\n')...)
	}
	return append(bytes.Clone(b), pad...)
}

// lay makes a disk of mails in every way.
func lay(mails [][]byte, seed uint64) *layer {
	l := &layer{rng: rand.New(rand.NewPCG(seed, 1)), spare: mails[len(mails)*9/10:]}
	firsts := []string{"date", "to", "subject", "from", "message-id", "mime-version", "content-type"}
	for i, m := range mails[:len(mails)*9/10] {
		name := fmt.Sprint(i)
		f, kind := l.foreign()
		switch i % 12 {
		case 0, 1, 2, 3:
			l.put(name, "delivered", m)
		case 4:
			l.put(name, "crlf", toCRLF(m))
		case 5:
			l.put(name, "sent", asSent(m, firsts[i/12%len(firsts)]))
		case 6:
			l.put(name, "sent crlf", toCRLF(asSent(m, firsts[i/12%len(firsts)])))
		case 7:
			l.put(name, "draft", fmt.Appendf(nil, "From: a@example.org\nSubject: draft %d\n\n%s", i, bytes.Repeat([]byte("some words\n"), l.rng.IntN(1500))))
		case 8:
			l.put(name, "tiny", fmt.Appendf(nil, "Subject: tiny %d\n\nshort\n", i))
		case 9:
			if bytes.Contains(m, []byte("multipart")) {
				m = fmt.Appendf(nil, "Message-ID: <%d@example.org>\nFrom: b@example.org\n\n%s", i, bytes.Repeat([]byte("text of a message of an exact size\n"), l.rng.IntN(900)))
			}
			l.put(name, "n x 4096", padded(m))
		case 10:
			l.split(name, "split by "+kind, m, f)
		case 11:
			l.overwrite(name, "overwritten by "+kind, m, f)
		}
		if i%5 == 0 {
			f, _ := l.foreign()
			l.blocks(f)
		}
	}
	return l
}

// score carves a disk and counts.
type score struct {
	contiguous, exact, among, missed      int
	merged, wrong, hurt, plausible, whole int
	falseHeads, falseWhole                int
	byKind                                map[string][2]int
	bad                                   []string
}

func (l *layer) score(t testing.TB, o Options) (s score) {
	t.Helper()
	s.byKind = map[string][2]int{}
	heads := map[int64]bool{}
	for _, m := range l.mails {
		heads[m.off] = true
	}
	for _, m := range l.mails {
		p, err := Follow(context.Background(), &l.disk, m.off, o)
		if err != nil {
			t.Fatal(err)
		}
		got := l.data[m.off : m.off+p.Len]
		exact := bytes.Equal(got, m.mail)
		if p.Verdict == Whole && !exact {
			s.wrong++
			s.bad = append(s.bad, fmt.Sprintf("wrong whole: %s %s: %d of %d bytes, %v", m.name, m.how, p.Len, len(m.mail), p.Ends))
		}
		for at := m.off + block; at < m.off+p.Len; at += block {
			if heads[at] {
				s.merged++
				s.bad = append(s.bad, fmt.Sprintf("merged: %s %s: %d of %d bytes: %s %s", m.name, m.how, p.Len, len(m.mail), p.Verdict, p.Why))
				break
			}
		}
		if m.hurt {
			s.hurt++
			if p.Verdict == Plausible {
				s.plausible++
			}
			continue
		}
		s.contiguous++
		k := s.byKind[m.how]
		k[1]++
		switch {
		case exact:
			s.exact++
			k[0]++
			if p.Verdict == Whole {
				s.whole++
			}
		default:
			s.bad = append(s.bad, fmt.Sprintf("inexact: %s %s: %d of %d bytes: %s %s, %v", m.name, m.how, p.Len, len(m.mail), p.Verdict, p.Why, p.Ends))
			for _, e := range p.Ends {
				if e.Len == int64(len(m.mail)) {
					s.among++
					break
				}
			}
		}
		s.byKind[m.how] = k
	}
	l.sweep(t, o, heads, &s)
	return s
}

// sweep counts blocks that look like heads and are none, and what becomes of them.
func (l *layer) sweep(t testing.TB, o Options, heads map[int64]bool, s *score) {
	for at := int64(0); at < l.Size(); at += block {
		if heads[at] {
			continue
		}
		if sign, ok := Head(l.data[at : at+block]); ok {
			s.falseHeads++
			p, err := Follow(context.Background(), &l.disk, at, o)
			if err != nil {
				t.Fatal(err)
			}
			mail := slices.ContainsFunc(l.spare, func(m []byte) bool { return bytes.Equal(m, l.data[at:at+p.Len]) })
			if p.Verdict == Whole && !mail { // a spare message of one block is one
				s.falseWhole++
				s.bad = append(s.bad, fmt.Sprintf("wrong head: at %d, %+v, %d bytes whole: %.60q", at, sign, p.Len, l.data[at:at+block]))
			}
		}
	}
}

func (s score) log(t testing.TB) {
	t.Logf("%d wrong heads, %d of them whole", s.falseHeads, s.falseWhole)
	t.Logf("contiguous %d: exact %d (%.2f %%), %d of them whole, %d more among the ends; hurt %d, of which plausible %d; merged %d, wrong whole %d",
		s.contiguous, s.exact, 100*float64(s.exact)/float64(s.contiguous), s.whole, s.among, s.hurt, s.plausible, s.merged, s.wrong)
	for k, n := range s.byKind {
		t.Logf("  %-12s %d of %d", k, n[0], n[1])
	}
	slices.SortFunc(s.bad, func(a, b string) int { return strings.Compare(b, a) })
	for _, b := range s.bad[:min(len(s.bad), 40)] {
		t.Log(b)
	}
}

// TestCarveGeneratedMail is the aim: 97 % of contiguous mail exactly, nothing
// merged, nothing wrongly called whole.
func TestCarveGeneratedMail(t *testing.T) {
	l := lay(generated(t, 720, 7), 7)
	s := l.score(t, Options{})
	s.log(t)
	if float64(s.exact) < 0.97*float64(s.contiguous) || s.merged > 0 || s.wrong > 0 || s.falseWhole > 0 || s.hurt < 30 {
		t.Error("that is not enough")
	}
}

// TestCarveRealMail is the same with real mail.
func TestCarveRealMail(t *testing.T) {
	sets := map[string][][]byte{}
	corpora(t, func(set, _ string, mail []byte) {
		if set != "mime-torture" && len(mail) < 4<<20 {
			sets[set] = append(sets[set], withoutSeparator(mail))
		}
	})
	for set, mails := range sets {
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(mails), func(i, j int) { mails[i], mails[j] = mails[j], mails[i] })
		l := lay(mails, 1)
		s := l.score(t, Options{})
		t.Log(set)
		s.log(t)
	}
}
