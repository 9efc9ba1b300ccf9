package salvage

import (
	"strconv"
	"strings"
)

// contradicts tells whether a Maildir's file name says another size of its message in
// wire form than this one. Dovecot writes both sizes into the name, with LF (",S=")
// and with CRLF (",W="): together they tell how many lines there are, which other
// bytes of the same size seldom have.
func (w *want) contradicts(wire int64) bool {
	for _, field := range strings.Split(w.name, ",") {
		if text, ok := strings.CutPrefix(field, "W="); ok {
			size, err := strconv.ParseInt(text, 10, 64)
			return err == nil && size != wire
		}
	}
	return false
}
