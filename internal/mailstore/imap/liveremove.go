package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// removeAtOnce is how many messages one command removes.
const removeAtOnce = 1000

var errNoUIDPlus = errors.New("the server cannot remove single messages (it has no UIDPLUS): an EXPUNGE would take others with them; nothing was removed")

// Remove takes messages out of a mailbox. It is not taken up again after the
// connection broke: the caller looks first what has become of it.
func (l *live) Remove(ctx context.Context, mailbox string, validity uint32, uids []mailstore.UID) error {
	set := uidsOf(uids)
	if len(set) == 0 {
		return ctx.Err()
	}
	return l.in(ctx, mailbox, func(onWire string) error {
		c, err := l.a.link.connect(ctx)
		if err != nil {
			return err
		}
		if caps := c.Caps(); !caps.Has("UIDPLUS") && !caps.Has("IMAP4REV2") {
			return errNoUIDPlus
		}
		l.a.link.box = "" // it is opened to write now
		sel, err := c.Select(ctx, onWire)
		switch {
		case err != nil:
			return l.gone(onWire, err)
		case sel.UIDValidity != validity:
			return fmt.Errorf("%w (UIDVALIDITY %d, expected %d); nothing was removed", mailstore.ErrRenumbered, sel.UIDValidity, validity)
		case sel.ReadOnly:
			return errors.New("the server opens the folder for reading only; nothing was removed")
		}
		for part := range set.Chunks(removeAtOnce, setText/2) {
			if err := remove(ctx, c, part); err != nil {
				return l.whyNotRemoved(err)
			}
		}
		return nil
	})
}

// whyNotRemoved adds what is known of the ways in which a Cyrus fails. A record
// cannot be changed there without its entry in the cache, from which conversations
// are counted, and without the file that entry cannot be made anew.
func (l *live) whyNotRemoved(err error) error {
	var r *wire.Refused
	if l.a.cyrus && errors.As(err, &r) && strings.Contains(strings.ToLower(r.Text), "i/o error") {
		return fmt.Errorf("%w (a Cyrus with conversations cannot change a message whose file and whose entry in cyrus.cache are both lost: there, reconstruct removes them)", err)
	}
	return err
}

// remove removes a set from the mailbox that is selected, and looks whether it is
// gone.
func remove(ctx context.Context, c *wire.Conn, set wire.Set) error {
	text := set.String()
	if _, err := c.Do(ctx, wire.NewCommand("UID STORE").Raw(" "+text+` +FLAGS.SILENT (\Deleted)`)); err != nil {
		return fmt.Errorf("mark messages as deleted: %w", err)
	}
	if _, err := c.Do(ctx, wire.NewCommand("UID EXPUNGE").Raw(" "+text)); err != nil {
		return fmt.Errorf("remove messages that are marked as deleted: %w", err)
	}
	left, err := c.Search(ctx, "UID "+text)
	if err != nil {
		return fmt.Errorf("look whether messages are gone: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("the server has removed messages, as it says, and still lists %d of them: UID %.200s", left.Len(), left.String())
	}
	return nil
}
