package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

// writeKeywords names the folder's waiting messages, giving letters to their
// keywords. It is called under Dovecot's locks, as a server may have given
// letters, too.
func (w *writer) writeKeywords(b *box) (commit func() error, err error) {
	root, name := w.account.controlOf(b.place), path.Join(b.place.control, keywordsName)
	k := &keywords{}
	f, err := deliver.OpenRegular(root, name)
	if err == nil {
		k, err = readKeywords(f)
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	before := *k
	for i := range b.pending {
		p := &b.pending[i]
		p.name = p.base + infoFor(w.letters(b, k, p.flags))
	}
	if *k == before {
		return nil, nil
	}
	var text strings.Builder
	for i, s := range k {
		if s != "" {
			fmt.Fprintf(&text, "%d %s\n", i, s)
		}
	}
	return w.newer(root, name, []byte(text.String()))
}

// newer replaces a file so that its time is another second than before: a
// Dovecot that has it open sees by that that it has changed, and would name
// keywords unknown-1 and so on if it did not.
func (w *writer) newer(root *os.Root, name string, body []byte) (commit func() error, err error) {
	when := time.Now()
	if info, err := root.Stat(name); err == nil && !info.ModTime().Truncate(time.Second).Before(when.Truncate(time.Second)) {
		when = info.ModTime().Truncate(time.Second).Add(time.Second)
	}
	rename, err := w.owner.Replace(root, name, body)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := rename(); err != nil {
			return err
		}
		return root.Chtimes(name, when, when)
	}, nil
}

// letters gives the letters of flags and keywords. What has none is noted once
// for each folder.
func (w *writer) letters(b *box, k *keywords, flags []string) []byte {
	var out []byte
	for _, flag := range flags {
		letter := systemLetter(flag)
		if letter == 0 || flag == forwarded {
			if l := k.letter(flag); l != 0 {
				letter = l
			}
		}
		switch {
		case letter != 0:
			out = append(out, letter)
		case !strings.EqualFold(flag, `\Recent`) && !b.lost[flag]:
			if b.lost == nil {
				b.lost = map[string]bool{}
			}
			b.lost[flag] = true
			w.notes = append(w.notes, mailstore.Note{
				User: w.account.user, Mailbox: b.place.name, Loss: true,
				What: fmt.Sprintf("flag %q was not kept: a Maildir folder takes %d keywords", flag, maxKeywords),
			})
		}
	}
	return out
}

func systemLetter(flag string) byte {
	for _, f := range systemFlags {
		if strings.EqualFold(f.flag, flag) {
			return f.letter
		}
	}
	return 0
}

// letter is that of a keyword, which gets a free one if it has none yet; 0 when
// all are taken. Keywords differ in more than case (RFC 9051, section 2.3.2).
func (k *keywords) letter(keyword string) byte {
	free := -1
	for i := len(k) - 1; i >= 0; i-- {
		if strings.EqualFold(k[i], keyword) {
			return 'a' + byte(i)
		}
		if k[i] == "" {
			free = i
		}
	}
	if free < 0 || !validKeyword(keyword) {
		return 0
	}
	k[free] = keyword
	return 'a' + byte(free)
}
