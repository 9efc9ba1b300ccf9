package maildir

import (
	"strings"

	"salvor/internal/mailstore/folder"
)

func isInbox(name string) bool { return strings.EqualFold(name, folder.Inbox) }

// dottedFile is the directory of a Maildir++ folder, without its leading dot.
// A dot inside a level cannot be written in this layout: Dovecot itself refuses
// such names.
func (o *Options) dottedFile(name string) string {
	if disk := o.Encoding.EncodeDotted(name); usableDir(disk) && !isInbox(disk) && o.Encoding.DecodeDotted(disk) == name && !o.anyHashed(name) {
		return disk
	}
	f := folder.Files{Encoding: o.Encoding, Forbidden: "."}
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = f.Name(l)
	}
	if disk := strings.Join(levels, "."); len(disk) < folder.MaxFile {
		return disk
	}
	return f.Hashed(name)
}

// usableDir tells whether a Maildir++ directory may have this name.
func usableDir(disk string) bool {
	return disk != "" && len(disk) < folder.MaxFile && disk != "." && !strings.ContainsFunc(disk, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r == '/'
	})
}

// anyHashed tells whether a level looks like one that was made up.
func (o *Options) anyHashed(name string) bool {
	f := folder.Files{Encoding: o.Encoding}
	for _, l := range strings.Split(name, "/") {
		if f.Name(l) != o.Encoding.EncodeLevel(l) {
			return true
		}
	}
	return false
}

// pathFile is the directory of a folder in LAYOUT=fs.
func (o *Options) pathFile(name string) string {
	levels := strings.Split(name, "/")
	f := folder.Files{Encoding: o.Encoding, Reserved: reservedAtTop}
	if folder.TooDeep(name) {
		return f.Hashed(name)
	}
	for i, l := range levels {
		f.Reserved = reservedBelow
		if i == 0 {
			f.Reserved = reservedAtTop
		}
		if i == 0 && len(levels) > 1 && l == folder.Inbox {
			continue // the parent of INBOX/Work
		}
		levels[i] = f.Name(l)
	}
	return strings.Join(levels, "/")
}

// reservedBelow tells names that mean something inside a folder's directory.
func reservedBelow(disk string) bool {
	return reserved(disk) || strings.HasPrefix(disk, "dovecot") || strings.HasPrefix(disk, "maildir")
}

// reservedAtTop tells those that do so in the user's root.
func reservedAtTop(disk string) bool {
	return reservedBelow(disk) || disk == subscriptionsName || disk == subscriptionsName+".lock"
}
