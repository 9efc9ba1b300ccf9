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
	joint int64 // in that line, or -1
	open  bool  // that line has no end
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
	if n == 0 || len(l.text) == 0 {
		if s.short == 0 && s.lines > 0 {
			s.short, s.end, s.joint = l.at, r.off, l.joint
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
	switch { // the line before was too short, or this one is too long
	case s.loose:
	case s.short > 0 && !s.after:
		s.irregular(r, s.joint, l.at-1, "base64 goes on behind its last line")
	case n > s.width:
		s.irregular(r, l.joint, l.at, "a line of base64 is longer than those before")
	}
	s.full = n == s.width
	padded := l.text[min(len(l.text), int(n))-1] == '='
	if n < s.width || padded {
		if s.short == 0 {
			s.short, s.end, s.joint = l.at, r.off, l.joint
			s.open = l.end == noEnd
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
	s.irregular(r, l.joint, l.at, "this is no base64")
	s.after = true
}

// irregular notes what does not fit. Foreign bytes begin at joints; what happens
// elsewhere a mailer has done.
func (s *base64State) irregular(r *reading, joint, at int64, why string) {
	if s.loose = true; joint >= 0 {
		r.note(joint, why)
	} else if r.strange == 0 {
		r.strange = at
	}
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
	return s.lines > 0 && s.short > 0 && !s.loose && s.chars%4 == 0 && (s.padded || !s.open)
}
