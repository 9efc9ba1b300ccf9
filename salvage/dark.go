package salvage

import (
	"fmt"
	"strings"

	"salvor/salvage/volume"
)

// A dark source is one of which nothing was understood. That nothing was found on it
// says nothing about what is there: it may be half of an array, or encrypted.

// leastDark is the size, in bytes, from which on a volume may hold mail: what boot
// loaders have for themselves is smaller.
const leastDark = 4 << 20

// lighten finds out whether a source is dark, once its volume was read.
func (s *scan) lighten(v volume.Volume) (err error) {
	if beside, ok := v.(*surveyed); s.source.System != "" || ok && beside.rest || v.Size() < leastDark {
		return nil
	}
	heads, err := s.notes.number("SELECT EXISTS (SELECT 1 FROM head WHERE volume = ?)", s.note.id)
	if err != nil || heads != 0 {
		return err
	}
	s.source.content, err = volume.Content(v)
	s.source.dark = !strings.HasPrefix(s.source.content, "swap")
	return err
}

// next says of a dark source what to do with it.
func (s *Source) next() string {
	if s.content != "" && !strings.Contains(s.content, "array") {
		return fmt.Sprintf("%s: nothing was found on it, and nothing of it understood but that it begins with %s; where that holds mail, open it with its own tools, and give what that makes", s.Name, s.content)
	}
	return fmt.Sprintf("%s: nothing on it was understood: no file system that is known, and no beginning of mail. A member of an array says nothing alone: "+
		"give all of them that are left at once, with --raid, --chunk and --order where no superblock tells; another member may read better. "+
		"An encrypted disk has to be opened first. Where only a part of a disk was copied, copy all of it", s.Name)
}
