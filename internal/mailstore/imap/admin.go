package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/cyrussync"
	"salvor/internal/mailstore/imap/wire"
)

// An admin is the connection of a Cyrus administrator, on behalf of one user.
// Contents that were left with SYNCAPPLY MESSAGE live as long as it does.
type admin struct {
	d     *Destination
	link  link
	user  string
	table names                     // the separator, as users see it
	home  string                    // before users' names: "user/"
	infos map[string]cyrussync.Info // the user's mailboxes, by Cyrus' own names
}

// recognise tells whether the other side is a Cyrus that takes the login for an
// administrator.
func (a *admin) recognise(ctx context.Context, c *wire.Conn) (bool, error) {
	if !c.Caps().Has("X-REPLICATION") {
		return false, nil
	}
	spaces, err := c.Namespaces(ctx)
	if err != nil || len(spaces.Others) == 0 {
		return false, err
	}
	a.home = spaces.Others[0].Prefix
	a.table = names{separator: spaces.Others[0].Separator, foreign: othersFolders}
	if _, err := a.get(ctx, c, func(w io.Writer) error { return cyrussync.WriteNames(w, "MAILBOXES", "user.salvor") }); err != nil {
		var refused *wire.Refused
		if errors.As(err, &refused) {
			return false, nil
		}
		return false, err
	}
	return a.table.separator != "", nil
}

// othersFolders are the folders below which Cyrus shows users what is not theirs
// (userprefix and sharedprefix of imapd.conf). Nobody can have folders of their
// own there.
var othersFolders = []string{"Other Users", "Shared Folders", "user"}

// maxInfo bounds what SYNCGET USER tells beside mailboxes: subscriptions, seen
// states, scripts.
const maxInfo = 64 << 20

// get sends a SYNCGET and gives the mailboxes that it tells of.
func (a *admin) get(ctx context.Context, c *wire.Conn, write func(io.Writer) error) (infos []cyrussync.Info, err error) {
	cmd := wire.NewCommand("SYNCGET")
	cmd.MaxText, cmd.MaxLiteral = maxInfo, maxInfo
	cmd.Handle = func(r *wire.Response) (bool, error) {
		if r.Name != "MAILBOX" {
			return true, nil
		}
		v, err := cyrussync.Parse(r.After())
		if err != nil {
			return true, err
		}
		info, err := cyrussync.InfoOf(v)
		if len(infos) >= maxMailboxes {
			err = fmt.Errorf("more than %d mailboxes", maxMailboxes)
		}
		infos = append(infos, info)
		return true, err
	}
	p, err := c.StartWritten(ctx, cmd, write)
	if err == nil {
		_, err = p.Wait(ctx)
	}
	return infos, err
}

// refresh asks for all mailboxes of the user.
func (a *admin) refresh(ctx context.Context) error {
	return a.link.do(ctx, func(c *wire.Conn) error {
		infos, err := a.get(ctx, c, func(w io.Writer) error { return cyrussync.WriteUser(w, a.user) })
		if err != nil {
			return fmt.Errorf("ask for the mailboxes of %q: %w", a.user, err)
		}
		a.infos = map[string]cyrussync.Info{}
		for _, i := range infos {
			a.infos[i.Name] = i
		}
		return nil
	})
}

// inbox is Cyrus' own name of the user's INBOX. Dots in names are circumflexes
// there, and the domain stands before all.
func (a *admin) inbox() string {
	local, domain, virtual := strings.Cut(a.user, "@")
	name := "user." + strings.ReplaceAll(local, ".", "^")
	if _, ok := a.infos[name]; !virtual || ok { // of the default domain
		return name
	}
	return domain + "!" + name
}

// internal is Cyrus' own name of a folder.
func (a *admin) internal(name string) string {
	onWire := a.table.target(name)
	if onWire == folder.Inbox {
		return a.inbox()
	}
	levels := strings.Split(onWire, a.table.separator)
	for i, l := range levels {
		levels[i] = strings.ReplaceAll(l, ".", "^")
	}
	return a.inbox() + "." + strings.Join(levels, ".")
}

// outside is the administrator's name of a folder.
func (a *admin) outside(name string) string {
	onWire := a.table.target(name)
	local, domain, virtual := strings.Cut(a.user, "@")
	box := a.home + local
	if onWire != folder.Inbox {
		box += a.table.separator + onWire
	}
	if virtual {
		box += "@" + domain
	}
	return box
}

// inexact says why a mailbox cannot be restored with its UIDs; "" when it can:
// it is not there, or is there and was never used.
func (a *admin) inexact(internal string, box mailstore.Mailbox) string {
	info, there := a.infos[internal]
	switch {
	case box.UIDValidity == 0:
		return "the backup knows no UIDVALIDITY of it"
	case !there:
		return ""
	case info.LastUID > 0:
		return "the folder is there already"
	case info.UIDValidity > box.UIDValidity:
		return "the folder is there already, empty but with a newer UIDVALIDITY (it could keep the old one if it were deleted before the restore)"
	}
	return ""
}

// do sends a command that is answered with OK or NO.
func (a *admin) do(ctx context.Context, cmd func() *wire.Command) error {
	c, err := a.link.connect(ctx)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, cmd())
	return err
}

// send sends a replication verb and waits for its end.
func (a *admin) send(ctx context.Context, verb string, write func(io.Writer) error) error {
	c, err := a.link.connect(ctx)
	if err != nil {
		return err
	}
	return sendOn(ctx, c, verb, write)
}

// sendOn does so over a connection.
func sendOn(ctx context.Context, c *wire.Conn, verb string, write func(io.Writer) error) error {
	p, err := c.StartWritten(ctx, wire.NewCommand(verb), write)
	if err == nil {
		_, err = p.Wait(ctx)
	}
	return err
}

// place gives Cyrus' own name of a folder, and its partition.
func (a *admin) place(ctx context.Context, folder string) (internal, partition string, err error) {
	internal = a.internal(folder)
	if _, ok := a.infos[internal]; !ok {
		if err := a.refresh(ctx); err != nil {
			return "", "", err
		}
	}
	info, ok := a.infos[internal]
	if !ok || !isPartition(info.Partition) {
		return "", "", fmt.Errorf("the server does not tell where %q is", internal)
	}
	return internal, info.Partition, nil
}

// createInbox makes the user.
func (a *admin) createInbox(ctx context.Context) error {
	err := a.do(ctx, func() *wire.Command { return wire.NewCommand("CREATE").String(a.outside(folder.Inbox)) })
	if err != nil {
		return fmt.Errorf("make the user %q: %w", a.user, err)
	}
	return a.refresh(ctx)
}

// setACL gives everybody the rights that stand in a Cyrus ACL.
func (a *admin) setACL(ctx context.Context, name, acl string) error {
	fields := strings.Split(strings.TrimSuffix(acl, "\t"), "\t")
	if !goodACL(acl) {
		return fmt.Errorf("%q is no ACL of Cyrus", acl)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		who, rights := fields[i], fields[i+1]
		err := a.do(ctx, func() *wire.Command {
			return wire.NewCommand("SETACL").String(a.outside(name)).String(who).String(rights)
		})
		if err != nil {
			return fmt.Errorf("rights of %q: %w", who, err)
		}
	}
	return nil
}

// goodACL tells whether a text is a Cyrus ACL: pairs of identifier and rights,
// each followed by a tab.
func goodACL(acl string) bool {
	fields := strings.Split(acl, "\t")
	if len(fields) < 3 || len(fields)%2 == 0 || fields[len(fields)-1] != "" {
		return false
	}
	for i := 0; i+1 < len(fields); i += 2 {
		odd := func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }
		if fields[i] == "" || strings.ContainsFunc(fields[i], odd) || strings.Trim(fields[i+1], "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

// setQuota sets a limit in the form of RFC 9208, of STORAGE and MESSAGE only.
func (a *admin) setQuota(ctx context.Context, name, quota string) error {
	fields := strings.Fields(quota)
	good := len(fields) > 0 && len(fields)%2 == 0
	for i := 0; good && i < len(fields); i += 2 {
		number := strings.Trim(fields[i+1], "0123456789") == "" && len(fields[i+1]) < 19
		good = number && (fields[i] == "STORAGE" || fields[i] == "MESSAGE")
	}
	if !good {
		return fmt.Errorf("%q is no quota", quota)
	}
	return a.do(ctx, func() *wire.Command {
		return wire.NewCommand("SETQUOTA").String(a.outside(name)).Raw(" (" + strings.Join(fields, " ") + ")")
	})
}
