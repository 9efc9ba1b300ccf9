package carve

// base64State is where base64 stands: all lines but the last of a part have the
// same length, so that every line that lies across two blocks vouches for their
// belonging together (one in 77 does by chance).
type base64State struct {
	width int64 // of the first line
	lines int
	chars int64
	short int64 // where a line shorter than the first stands, which should be the last; 0: none yet
	end   int64 // behind that line
	padded,
	loose bool // lines of many lengths: nothing can be told from them
	full  bool // the line before had the full width
	after bool // something else has come behind the end
}

// minWidth is the shortest line that says anything.
const minWidth = 32

// line takes a line of base64.
func (s *base64State) line(r *reading, l *line) {
	n := l.len
	for k := len(l.text); k > 0 && (l.text[k-1] == ' ' || l.text[k-1] == '\t' || l.text[k-1] == '\r'); k-- {
		n--
	}
	if n == 0 {
		if s.short == 0 && s.lines > 0 {
			s.short, s.end = l.at, r.off
		}
		r.vouch(l, false)
		return
	}
	if l.bits&isNoBase64 != 0 || l.bits&isNUL != 0 {
		s.foreign(r, l)
		return
	}
	if s.lines++; s.width == 0 {
		s.width = n
	}
	s.chars += n
	strong := n == s.width && n >= minWidth && !s.loose && s.short == 0 && (l.inside || s.full)
	if s.short > 0 && !s.after { // the line before was the last, or a joint lies in it
		if !s.loose {
			r.note(l.at-1, "base64 goes on behind its last line")
		}
		s.loose = true
	}
	if n > s.width && !s.loose {
		r.note(l.at+n-1, "a line of base64 is longer than those before")
		s.loose = true
	}
	s.full = n == s.width
	padded := l.text[min(len(l.text), int(n))-1] == '='
	if n < s.width || padded {
		if s.short == 0 {
			s.short, s.end = l.at, r.off
		}
		s.padded = s.padded || padded
	}
	if s.short == l.at && l.joint >= 0 && padded {
		strong = false
	}
	r.vouch(l, strong)
}

// foreign takes a line that is no base64. Behind the end programs of mailing lists
// put footers; elsewhere it should not be.
func (s *base64State) foreign(r *reading, l *line) {
	r.vouch(l, false)
	if s.lines == 0 || s.short > 0 {
		s.after = true
		return
	}
	at := l.at
	if l.joint > l.at {
		at = l.joint
	}
	r.note(at, "this is no base64")
	s.loose, s.after = true, true
}

// torn takes the rest of a line behind a gap. Its length counts the gap: where the
// column is right, a whole number of lines is missing.
func (s *base64State) torn(r *reading, l *line) {
	if s.width < minWidth || l.bits&isNoBase64 != 0 || l.end == noEnd {
		return
	}
	period := s.width + int64(l.end)
	if (l.len+int64(l.end))%period == 0 {
		r.gaps.proved(l)
		s.chars += l.len / period * s.width
		return
	}
	s.loose = s.loose || l.len%period > s.width
}

// finish is called where the part ends.
func (s *base64State) finish(r *reading, at int64) {
	if s.loose || s.after || s.lines == 0 || len(r.gaps.all) > 0 {
		return
	}
	if s.chars%4 != 0 {
		r.note(max(at-1, 0), "base64 ends in the middle of a group")
	}
}

// complete tells whether base64 shows its end by itself.
func (s *base64State) complete() bool {
	return s.lines > 0 && s.short > 0 && !s.loose && s.chars%4 == 0
}
