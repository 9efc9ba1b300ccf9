package cyrus

import (
	"os"
	"path"

	"salvor/internal/mailstore/cyrus/cache"
)

const cacheName = "cyrus.cache"

// openCache makes envelopes known, where they were asked for. That the cache is
// not there, or damaged, is no problem: the server itself would make it anew. The
// result closes it.
func (l *lister) openCache() (close func()) {
	none := func() {}
	if !l.s.envelopes {
		return none
	}
	root, err := os.OpenRoot(l.part.cache)
	if err != nil {
		return none
	}
	defer root.Close()
	f, err := openFile(root, path.Join(l.b.dir, cacheName))
	if err != nil {
		return none
	}
	l.cache = cache.NewReader(f, &l.file.Header)
	return func() { f.Close() }
}
