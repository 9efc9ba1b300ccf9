package salvage

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"salvor/salvage/carve"
)

// An owner is whose a message is, as far as something tells.
type owner struct {
	user, folder string
	uid          uint32
	by           string // "path", "ledger", "header"
}

// A place is what a file's path tells: whose it may be, and what its store called
// it.
type place struct {
	owner
	name string // a Maildir's base name: without flags
	dir  string // its directory, where only the UID is known and not whose
}

// cyrusFile is how Cyrus names a message: its UID and a point.
var cyrusFile = regexp.MustCompile(`^([1-9][0-9]{0,9})\.$`)

// readPath reads a path that was found, as mail servers lay out their trees:
//
//	.../user/NAME/FOLDER/5.                         Cyrus with mailbox_legacy_dirs
//	.../domain/e/example.org/.../user/NAME/5.       the same with domains
//	.../NAME/Maildir/.FOLDER/cur/1234.M1.host:2,S   Maildir++, and with LAYOUT=fs
//	.../NAME/mailboxes/FOLDER/dbox-Mails/u.5        sdbox
//
// The path may lack its beginning, where directories are lost, or name a mailbox
// by an id: then there may be no user.
func readPath(p string) place {
	parts := strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	file := parts[len(parts)-1]
	dirs := parts[:len(parts)-1]
	if m := cyrusFile.FindStringSubmatch(file); m != nil {
		uid, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return place{}
		}
		return at(cyrusOwner(dirs, uint32(uid)), dirs)
	}
	if n := len(dirs); n > 0 && (dirs[n-1] == "cur" || dirs[n-1] == "new") {
		base, _, _ := strings.Cut(file, ":")
		return place{owner: maildirOwner(dirs[:n-1]), name: base}
	}
	if n := len(dirs); n > 1 && dirs[n-1] == "dbox-Mails" && strings.HasPrefix(file, "u.") {
		uid, err := strconv.ParseUint(file[2:], 10, 32)
		if err != nil {
			return place{}
		}
		return place{owner: dboxOwner(dirs[:n-1], uint32(uid))}
	}
	if base, _, _ := strings.Cut(file, ":"); strings.Count(base, ".") >= 2 && strings.Contains(base, ",S=") {
		return place{name: base} // a Maildir's file, its directory is lost
	}
	return place{}
}

// at is a place whose directory may tell whose it is once others in it are known.
func at(o owner, dirs []string) place {
	p := place{owner: o}
	if o.user == "" {
		p.dir = strings.Join(dirs, "/")
	}
	return p
}

// cyrusOwner reads the directories of a Cyrus spool. In names a point of the
// user's own stands as ^, as points part the levels of a mailbox's name.
func cyrusOwner(dirs []string, uid uint32) owner {
	for i := len(dirs) - 2; i >= 0; i-- {
		if dirs[i] != "user" {
			continue
		}
		o := owner{user: points(dirs[i+1]), uid: uid, by: "path", folder: "INBOX"}
		var names []string
		for _, d := range dirs[i+2:] {
			names = append(names, points(d))
		}
		if len(names) > 0 {
			o.folder = strings.Join(names, "/")
		}
		for j := 0; j+2 < i; j++ {
			if dirs[j] == "domain" && len(dirs[j+1]) == 1 {
				o.user += "@" + dirs[j+2]
				break
			}
		}
		return o
	}
	return owner{uid: uid} // since 3.6 directories have the mailbox's unique id for a name
}

func points(s string) string { return strings.ReplaceAll(s, "^", ".") }

// maildirOwner reads the directories above a Maildir's cur. Without the name of
// the Maildir itself nobody can tell a user from a folder; "Maildir", "mail" and
// "Mail" are what it is called nearly everywhere.
func maildirOwner(dirs []string) owner {
	for i := len(dirs) - 1; i >= 0; i-- {
		if !slices.Contains(storeNames, dirs[i]) {
			continue
		}
		if i == 0 {
			return owner{} // the tree begins below its user
		}
		return maildirFolder(dirs[i-1], dirs[i+1:])
	}
	n := len(dirs)
	if n > 1 && strings.HasPrefix(dirs[n-1], ".") {
		return maildirFolder(dirs[n-2], dirs[n-1:])
	}
	if n > 0 {
		return maildirFolder(dirs[n-1], nil)
	}
	return owner{}
}

// storeNames are what Maildirs are called.
var storeNames = []string{"Maildir", "maildir", "Mail", "mail", ".maildir"}

func maildirFolder(user string, dirs []string) owner {
	o := owner{user: user, folder: "INBOX", by: "path"}
	if strings.HasPrefix(user, "#") || user == "lost+found" || user == "" {
		return owner{}
	}
	if len(dirs) > 0 {
		o.folder = strings.ReplaceAll(strings.TrimPrefix(strings.Join(dirs, "/"), "."), ".", "/")
	}
	return o
}

// dboxOwner reads the directories above dbox-Mails.
func dboxOwner(dirs []string, uid uint32) owner {
	for i := len(dirs) - 2; i > 0; i-- {
		if dirs[i] != "mailboxes" {
			continue
		}
		user := dirs[i-1]
		if i > 1 && (user == "sdbox" || user == "mdbox" || user == "mail" || user == "dbox") {
			user = dirs[i-2]
		}
		return owner{user: user, folder: strings.Join(dirs[i+1:], "/"), uid: uid, by: "path"}
	}
	return owner{}
}

// holderOwner reads the path of a file that holds many messages: whose they are.
//
//	/home/NAME/mdbox/storage/m.5     mdbox; the folder stands beside each message
//	/var/mail/NAME                   mbox
//	/home/NAME/mail/FOLDER           mbox
//
// Of other mboxes nobody can tell: people keep them wherever they like.
func holderOwner(p string, kind carve.Kind, folder string) owner {
	parts := strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	file, dirs := parts[len(parts)-1], parts[:len(parts)-1]
	n := len(dirs)
	if kind == carve.Dbox {
		if n < 2 || dirs[n-1] != "storage" || !strings.HasPrefix(file, "m.") {
			return owner{}
		}
		user := dirs[n-2]
		if slices.Contains(dboxNames, user) {
			if n < 3 {
				return owner{} // the tree begins below its user
			}
			user = dirs[n-3]
		}
		return told(owner{user: user, folder: folder})
	}
	for i := n - 1; i >= 0; i-- {
		if dirs[i] != "mail" && dirs[i] != "Mail" {
			continue
		}
		switch {
		case i == n-1 && (i == 0 || dirs[i-1] == "var" || dirs[i-1] == "spool"):
			return told(owner{user: file, folder: "INBOX"})
		case i > 1 && dirs[i-2] == "home":
			folder := strings.Join(append(slices.Clone(dirs[i+1:]), file), "/")
			if strings.EqualFold(folder, "INBOX") {
				folder = "INBOX"
			}
			return told(owner{user: dirs[i-1], folder: folder})
		}
	}
	return owner{}
}

// dboxNames are what the directory above an mdbox's storage is called, below its user.
var dboxNames = []string{"mdbox", "dbox", "sdbox", "mail", "Mail", "Maildir"}

// told is an owner that a path tells; none where the path has only a number in his
// place.
func told(o owner) owner {
	if o.user == "" || strings.HasPrefix(o.user, "#") || o.user == "?" || o.user == "lost+found" {
		return owner{}
	}
	o.by = "path"
	return o
}
