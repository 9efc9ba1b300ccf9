package mailgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// event is one thing that happens: a letter is written and its copies arrive,
// at most so many.
func (w *world) event(most int) error {
	w.now = w.now.Add(time.Duration(w.rng.ExpFloat64() * float64(w.tick)))
	w.number++
	if w.options.Shape == Tiny {
		return w.tiny(most)
	}
	switch n := w.rng.IntN(100); {
	case n < 26:
		return w.spam(most)
	case n < 39:
		return w.newsletter(most)
	case n < 40:
		return w.draft()
	default:
		return w.correspondence(most)
	}
}

// tiny delivers a message of some hundred bytes.
func (w *world) tiny(most int) error {
	u := w.users[w.number%len(w.users)]
	l := &letter{from: w.outside[w.rng.IntN(len(w.outside))], to: []*person{u.person}, subject: "note", when: w.now, id: w.id(u.person)}
	l.text = w.press.text.sentence(nil, w.rng)
	content := fmt.Appendf(nil, "Date: %s\nFrom: %s\nTo: %s\nSubject: %s\nMessage-ID: %s\n\n%s\n",
		l.when.Format(time.RFC1123Z), l.from, u.person, l.subject, l.id, l.text)
	return w.put(u, "INBOX", delivery{rest: content, when: w.now, flags: "S"}, l)
}

func (w *world) id(p *person) string {
	return fmt.Sprintf("<%d.%08x@%s>", w.number, w.rng.Uint32(), domain(p.address))
}

// compose begins a letter.
func (w *world) compose(from *person, to ...*person) *letter {
	l := &letter{from: from, to: to, when: w.now, id: w.id(from)}
	l.subject = strings.TrimRight(string(w.press.text.clause(nil, w.rng, 2+w.rng.IntN(6))), " ")
	return l
}

// words draws the length of a text, log-normal around a median.
func (w *world) words(median float64, spread float64) int {
	return int(math.Min(median*math.Exp(spread*w.rng.NormFloat64()), 400e3))
}

func (w *world) spam(most int) error {
	from := newPerson(w.rng, w.press.text, w.press.text.word(w.rng), w.press.text.word(w.rng)+".invalid")
	from.html = true
	l := w.compose(from)
	l.bulk = w.rng.IntN(2) == 0
	l.text = w.press.text.paragraphs(nil, w.rng, w.words(1800, 1), 0)
	return w.broadcast(l, 1, most, func(*user) string { return "Junk" })
}

func (w *world) newsletter(most int) error {
	l := w.compose(w.outside[w.rng.IntN(len(w.outside)/3+1)])
	l.bulk = true
	l.text = w.press.text.paragraphs(nil, w.rng, w.words(3500, 0.9), 76)
	return w.broadcast(l, 1+w.rng.IntN(4), most, func(u *user) string {
		return pick(w.rng, []string{"INBOX", "INBOX", u.list, "Trash"})
	})
}

// broadcast delivers to several users.
func (w *world) broadcast(l *letter, users, most int, where func(*user) string) error {
	var to []*user
	for range min(users, most) {
		u := w.users[w.someone()]
		if !has(to, u) {
			to = append(to, u)
			l.to = append(l.to, u.person)
		}
	}
	content, err := w.press.content(l, w.rng)
	if err != nil {
		return err
	}
	for _, u := range to {
		if err := w.arrive(u, where(u), l, content); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) draft() error {
	u := w.users[w.someone()]
	l := w.compose(u.person, w.outside[w.rng.IntN(len(w.outside))])
	l.text = w.press.text.paragraphs(nil, w.rng, w.words(600, 1), 72)
	content, err := w.press.content(l, w.rng)
	if err != nil {
		return err
	}
	return w.put(u, u.drafts, delivery{rest: content, when: w.now, flags: "DS"}, l)
}

// correspondence is people writing to people: new letters, answers, forwards.
func (w *world) correspondence(most int) error {
	at := w.someone()
	u := w.users[at]
	var l *letter
	var readers []*user
	if known := w.threads[at]; len(known) > 0 && w.rng.IntN(100) < 50 {
		l = w.answer(u.person, known[w.rng.IntN(len(known))])
	} else {
		l = w.letter(u)
	}
	for _, p := range l.to {
		if x := w.owner(p); x != nil && !has(readers, x) {
			readers = append(readers, x)
		}
	}
	content, err := w.press.content(l, w.rng)
	if err != nil {
		return err
	}
	if sender := w.owner(l.from); sender != nil {
		if err := w.put(sender, "Sent", delivery{rest: content, when: l.when, flags: "S"}, l); err != nil {
			return err
		}
		most--
	}
	for _, x := range readers[:max(0, min(len(readers), most))] {
		if err := w.arrive(x, w.shelf(x), l, content); err != nil {
			return err
		}
	}
	w.remember(l)
	return nil
}

// letter begins something new, from u or to u.
func (w *world) letter(u *user) *letter {
	stranger := w.outside[w.rng.IntN(len(w.outside))]
	var l *letter
	switch n := w.rng.IntN(100); {
	case n < 40: // from outside
		l = w.compose(stranger, u.person)
	case n < 58: // to outside
		l = w.compose(u.person, stranger)
	default:
		l = w.compose(u.person, w.users[w.someone()].person)
	}
	for w.rng.IntN(100) < 28 && len(l.to) < 8 {
		l.to = append(l.to, w.users[w.someone()].person)
	}
	l.text = w.press.text.paragraphs(nil, w.rng, w.words(1400, 1.1), 72)
	l.text = append(l.text, l.from.signature...)
	if w.rng.IntN(100) < 46 {
		l.files = w.attach()
	}
	return l
}

// answer replies to a thread or forwards it with what is attached.
func (w *world) answer(from *person, t *thread) *letter {
	to := t.from
	if to == from {
		to = t.to[0]
	}
	l := w.compose(from, to)
	l.parent, l.subject = t, "Re: "+strings.TrimPrefix(t.subject, "Re: ")
	l.text = w.press.text.paragraphs(nil, w.rng, w.words(500, 1), 72)
	l.text = append(l.text, from.signature...)
	l.text = fmt.Appendf(l.text, "\nOn %s, %s wrote:\n> ", l.when.Format(time.RFC1123Z), t.from)
	l.text = append(l.text, strings.ReplaceAll(string(t.quote), "\n", "\n> ")...)
	l.text = append(l.text, '\n')
	switch n := w.rng.IntN(100); {
	case n < 26: // forwarded, with everything
		l.subject = "Fwd: " + strings.TrimPrefix(t.subject, "Fwd: ")
		l.to = []*person{w.users[w.someone()].person}
		l.files = t.files
	case n < 30 && len(t.files) > 0: // sent back with changes
		l.files = []*file{w.keep(revise(t.files[0]))}
	case n < 70: // to all
		l.to = append(l.to, t.to...)
	}
	return l
}

// revise gives a changed version; a real file stays what it is.
func revise(f *file) *file {
	if f.path != "" {
		return f
	}
	return f.edited()
}

// attach draws what is attached: something new, or something from before.
func (w *world) attach() []*file {
	var all []*file
	for len(all) == 0 || w.rng.IntN(100) < 25 && len(all) < 5 {
		switch n := w.rng.IntN(100); {
		case n < 8 && len(w.files) > 0:
			all = append(all, pick(w.rng, w.files))
		case n < 18 && len(w.files) > 0:
			all = append(all, w.keep(revise(pick(w.rng, w.files))))
		case len(w.pool) > 0:
			all = append(all, w.keep(pick(w.rng, w.pool)))
		default:
			all = append(all, w.keep(newFile(w.rng, w.press.text)))
		}
	}
	return all
}

// keep remembers a file for some time.
func (w *world) keep(f *file) *file {
	const most = 200
	if len(w.files) < most {
		w.files = append(w.files, f)
	} else {
		w.files[w.rng.IntN(most)] = f
	}
	return f
}

// remember keeps a letter for those who may answer it.
func (w *world) remember(l *letter) {
	const most, quote = 12, 3000
	t := &thread{subject: l.subject, id: l.id, from: l.from, to: l.to, files: l.files}
	t.quote = append(t.quote, l.text[:min(len(l.text), quote)]...)
	if l.parent != nil {
		t.references = append(append(t.references, l.parent.references...), l.parent.id)
		t.references = t.references[max(0, len(t.references)-8):]
	}
	for i, u := range w.users {
		if u.person != l.from && !has(l.to, u.person) {
			continue
		}
		if len(w.threads[i]) < most {
			w.threads[i] = append(w.threads[i], t)
		} else {
			w.threads[i][w.rng.IntN(most)] = t
		}
	}
}

func (w *world) owner(p *person) *user {
	for _, u := range w.users {
		if u.person == p {
			return u
		}
	}
	return nil
}

// shelf is where a user ends up keeping a message.
func (w *world) shelf(u *user) string {
	switch n := w.rng.IntN(100); {
	case n < 50:
		return "INBOX"
	case n < 72:
		return fmt.Sprintf("Archive/%d", w.now.Year())
	case n < 90:
		return pick(w.rng, u.projects)
	}
	return "Trash"
}

// arrive delivers a copy with its own trace lines.
func (w *world) arrive(u *user, folder string, l *letter, content []byte) error {
	when := l.when.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	w.trace = trace(w.trace[:0], l, u.person, when, w.rng)
	d := delivery{trace: w.trace, rest: content, when: when, flags: randomFlags(w.rng)}
	if w.rng.IntN(25) == 0 {
		d.keyword = pick(w.rng, []string{"$Label1", "$Forwarded", "work-todo", "NonJunk"})
	}
	d.fresh = d.keyword == "" && folder == "INBOX" && w.rng.IntN(100) == 0
	return w.put(u, folder, d, l)
}

// randomFlags gives Maildir's letters in their order.
func randomFlags(r *rand.Rand) string {
	flags := ""
	for _, f := range []struct {
		letter  string
		percent int
	}{{"F", 3}, {"P", 4}, {"R", 20}, {"S", 88}} {
		if r.IntN(100) < f.percent {
			flags += f.letter
		}
	}
	return flags
}

func (w *world) put(u *user, name string, d delivery, l *letter) error {
	f, err := u.account.folder(name, w.rng)
	if err != nil {
		return err
	}
	size, err := f.deliver(d, w.rng)
	if err != nil {
		return err
	}
	w.count(name, size)
	if len(l.files) > 0 {
		w.stats.Attached++
	}
	return nil
}

func (w *world) count(folder string, size int) {
	w.stats.Messages++
	w.stats.Bytes += int64(size)
	if folder == "Junk" {
		w.stats.Junk++
		w.stats.JunkBytes += int64(size)
		return
	}
	w.stats.sizes = append(w.stats.sizes, int32(size))
}

func has[T comparable](all []T, x T) bool {
	for _, y := range all {
		if y == x {
			return true
		}
	}
	return false
}
