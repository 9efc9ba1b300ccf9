package maildir

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"salvor/internal/mailstore/deliver"
)

// subscribe adds a folder to the user's subscriptions, in the version that the
// file has.
func (w *writer) subscribe(ctx context.Context, p place) error {
	root := w.account.control
	unlock, err := deliver.Lock(ctx, root, subscriptionsName)
	if err != nil {
		return err
	}
	defer unlock()
	var old []byte
	f, err := deliver.OpenRegular(root, subscriptionsName)
	if err == nil {
		old, err = io.ReadAll(io.LimitReader(f, maxSideFile))
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	subs, err := readSubscriptions(bytes.NewReader(old), w.opt)
	if err != nil || subs[w.opt.nameAt(p)] {
		return err
	}
	commit, err := w.owner.Replace(root, subscriptionsName, w.opt.addSubscription(old, p))
	if err != nil {
		return err
	}
	return commit()
}

// addSubscription gives the new text of the file.
func (o *Options) addSubscription(old []byte, p place) []byte {
	if len(old) == 0 {
		old = []byte("V\t2\n\n")
	}
	if old[len(old)-1] != '\n' {
		old = append(old, '\n')
	}
	name, sep := p.dir, "/"
	if o.Layout == PlusPlus {
		name, sep = strings.TrimPrefix(p.dir, "."), "."
	}
	if p.inboxRoot {
		name = p.name
	}
	if bytes.HasPrefix(old, []byte("V\t")) {
		levels := strings.Split(name, sep)
		for i, l := range levels {
			levels[i] = tabEscape.Replace(l)
		}
		name = strings.Join(levels, "\t")
	}
	return append(old, name+"\n"...)
}
