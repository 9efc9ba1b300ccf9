package cyrusdb

import "bytes"

// escape stands before a byte of a key or value that would end it, with the
// highest bit set, or before itself (Cyrus, lib/cyrusdb_flat.c).
const escape = 0xff

// decodeFlat reads lines of key, tab, value. A last line without its end is
// being written, or was cut off.
func decodeFlat(b []byte) (*DB, bool) {
	d := &DB{Format: Flat}
	for n := 1; len(b) > 0; n++ {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if !ended {
			d.damaged("line %d has no end", n)
			return d, n > 1
		}
		key, val, tab := bytes.Cut(line, []byte("\t"))
		if !tab || len(key) == 0 || bytes.IndexByte(line, 0) >= 0 {
			if n == 1 {
				return nil, false
			}
			d.damaged("line %d cannot be read", n)
		} else {
			d.Records = append(d.Records, Record{unescape(key), unescape(val)})
		}
		b = rest
	}
	return d, true
}

func unescape(s []byte) []byte {
	if bytes.IndexByte(s, escape) < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == escape && i+1 < len(s) {
			i++
			if c = s[i]; c != escape {
				c &^= 0x80
			}
		}
		out = append(out, c)
	}
	return out
}
