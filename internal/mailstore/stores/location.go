package stores

import (
	"fmt"
	"regexp"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/dbox"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/userpath"
)

// parameter is how Dovecot's mail_location parameters begin.
var parameter = regexp.MustCompile(`^([A-Z][A-Z0-9-]*=|UTF-8$)`)

// location parts PATH[:LAYOUT=fs][:UTF-8][:INDEX=..]… into the path and the
// parameters. A colon belongs to the path unless a parameter follows.
func location(rest string) (root *userpath.Template, parameters []string, err error) {
	parts := strings.Split(rest, ":")
	n := 1
	for n < len(parts) && !parameter.MatchString(parts[n]) {
		n++
	}
	root, err = userpath.Parse(strings.Join(parts[:n], ":"))
	return root, parts[n:], err
}

// onlyUser is whose mail it is where the path has no variables.
func onlyUser(root *userpath.Template, o Options) string {
	if o.User == "" && !root.Variable() {
		return ownerLike(root.Fixed())
	}
	return o.User
}

// maildirOptions reads PATH[:LAYOUT=fs][:UTF-8][:INDEX=..][:CONTROL=..][:INBOX=..].
func maildirOptions(rest string, o Options) (mo maildir.Options, err error) {
	var parameters []string
	if mo.Root, parameters, err = location(rest); err != nil {
		return mo, err
	}
	for _, p := range parameters {
		if err := maildirParameter(&mo, p); err != nil {
			return mo, err
		}
	}
	mo.User = onlyUser(mo.Root, o)
	return mo, nil
}

func maildirParameter(mo *maildir.Options, p string) (err error) {
	key, value, _ := strings.Cut(p, "=")
	switch key {
	case "UTF-8":
		mo.Encoding = folder.UTF8
	case "LAYOUT":
		switch strings.ToLower(value) {
		case "fs":
			mo.Layout = maildir.FS
		case "maildir++":
		default:
			return fmt.Errorf("unknown layout %q; known are fs and maildir++", value)
		}
	case "INDEX":
		mo.Index, err = userpath.Parse(value)
	case "CONTROL":
		mo.Control, err = userpath.Parse(value)
	case "INBOX":
		mo.Inbox, err = userpath.Parse(value)
	default:
		return fmt.Errorf("unknown parameter %q; known are LAYOUT=, UTF-8, INDEX=, CONTROL= and INBOX=", p)
	}
	return err
}

func openDbox(url, scheme, rest string, o Options) (mailstore.Source, error) {
	do, err := dboxOptions(scheme, rest, o)
	if err != nil {
		return nil, &urlError{url, "as in mdbox:/srv/mail/%d/%n/mdbox:INDEX=PATH:ALT=PATH", err}
	}
	s, err := dbox.Open(do)
	if err != nil {
		return nil, &urlError{url, "name the directory that holds mailboxes, or use %u where users' names stand in the path", err}
	}
	return s, nil
}

// dboxOptions reads PATH[:UTF-8][:INDEX=..][:CONTROL=..][:ALT=..].
func dboxOptions(scheme, rest string, o Options) (do dbox.Options, err error) {
	if scheme == "mdbox" {
		do.Kind = dbox.Multi
	}
	var parameters []string
	if do.Root, parameters, err = location(rest); err != nil {
		return do, err
	}
	for _, p := range parameters {
		key, value, _ := strings.Cut(p, "=")
		switch key {
		case "UTF-8":
			do.Encoding = folder.UTF8
		case "INDEX":
			do.Index, err = userpath.Parse(value)
		case "CONTROL":
			do.Control, err = userpath.Parse(value)
		case "ALT":
			do.Alt, err = userpath.Parse(value)
		default:
			err = fmt.Errorf("unknown parameter %q; known are UTF-8, INDEX=, CONTROL= and ALT=", p)
		}
		if err != nil {
			return do, err
		}
	}
	do.User = onlyUser(do.Root, o)
	return do, nil
}
