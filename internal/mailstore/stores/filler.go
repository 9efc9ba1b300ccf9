package stores

import (
	"fmt"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus"
	"salvor/internal/mailstore/maildir"
)

// OpenFiller opens a mail store whose index survived, to put messages' files back
// into it.
func OpenFiller(url string, o Options) (mailstore.Filler, error) {
	scheme, rest, err := split(url)
	if err != nil {
		return nil, err
	}
	var f mailstore.Filler
	hint := "name the server's imapd.conf, as in cyrus:/etc/imapd.conf"
	switch scheme {
	case "cyrus":
		f, err = cyrus.OpenFiller(cyrus.Options{ConfigFile: rest})
	case "maildir":
		hint = maildirHint
		var mo maildir.Options
		if mo, err = maildirOptions(rest, o); err == nil {
			f, err = maildir.OpenFiller(mo)
		}
	default:
		hint = "a store that can be filled is cyrus:/etc/imapd.conf or maildir:PATH:CONTROL=PATH:INDEX=PATH; restore puts messages into others"
		err = fmt.Errorf("messages' files cannot be put back into a store of the kind %q", scheme)
	}
	if err != nil {
		return nil, &urlError{url, hint, err}
	}
	return f, nil
}
