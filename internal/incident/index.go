package incident

import (
	"errors"
	"fmt"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dbox"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/stores"
)

// errNoIndex says that a store cannot be used as an index.
var errNoIndex = errors.New("it is not known how to read what survives of such a store")

// IndexOf gives the index that a store's URL names; nil for "none".
func IndexOf(url string) (*Index, error) {
	if url == "none" {
		return nil, nil
	}
	o, ok, err := stores.MaildirOptions(url, stores.Options{})
	if err != nil {
		return nil, err
	}
	if ok {
		return ofMaildir(url, o, func(o maildir.Options) (mailstore.Source, error) { return maildir.OpenIndex(o) }), nil
	}
	d, ok, err := stores.DboxOptions(url, stores.Options{})
	if err != nil {
		return nil, err
	}
	if ok {
		return ofDbox(url, d, func(o dbox.Options) (mailstore.Source, error) { return dbox.OpenIndex(o) }), nil
	}
	file, ok := strings.CutPrefix(url, "cyrus:")
	if !ok {
		return nil, fmt.Errorf("index %q: %w (hint: cyrus:/path/of/imapd.conf, maildir:PATH:CONTROL=PATH:INDEX=PATH and mdbox:PATH:INDEX=PATH are indexes; with --index none everything in the backup is taken back, to be safe)", url, errNoIndex)
	}
	return ofCyrus(url, file, func(file string) (mailstore.Source, error) {
		return stores.OpenSource("cyrus:"+file, stores.Options{Index: true})
	})
}
