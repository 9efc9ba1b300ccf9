package maildir

import (
	"bufio"
	"io"
	"strings"

	"salvor/internal/mailstore/folder"
)

// readSubscriptions reads the names in a subscriptions file. Version 2 begins
// with "V\t2" and an empty line and parts the levels with tabs; version 1 has
// one name a line, its levels parted as in the layout. Both are in modified
// UTF-7 (Dovecot 2.3, src/lib-storage/list/subscription-file.c), unless the
// folders are not.
func readSubscriptions(r io.Reader, o *Options) (map[string]bool, error) {
	subs := map[string]bool{}
	in := bufio.NewScanner(io.LimitReader(r, maxSideFile))
	in.Buffer(nil, maxUIDLine)
	tabs := false
	for n := 0; in.Scan(); n++ {
		line := in.Text()
		switch {
		case n == 0 && strings.HasPrefix(line, "V\t"):
			tabs = true
		case line == "":
		case tabs:
			subs[decodeTabbed(line, o.Encoding)] = true
		case o.Layout == PlusPlus:
			subs[subscribedName(o.Encoding.DecodeDotted(line))] = true
		default:
			subs[subscribedName(o.Encoding.DecodePath(line))] = true
		}
	}
	return subs, in.Err()
}

// decodeTabbed reads a line of version 2.
func decodeTabbed(line string, e folder.Encoding) string {
	levels := strings.Split(line, "\t")
	for i, l := range levels {
		levels[i] = e.DecodeLevel(tabUnescape.Replace(l))
	}
	return subscribedName(strings.Join(levels, "/"))
}

// subscribedName undoes NotInbox: in this file INBOX is INBOX.
func subscribedName(name string) string {
	if isInbox(folder.UTF8.EncodeLevel(name)) {
		return folder.Inbox
	}
	return name
}

// Dovecot's str_tabescape: \001 followed by 0, 1, t, r or n.
var (
	tabUnescape = strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")
	tabEscape   = strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
)
