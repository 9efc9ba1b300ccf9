// Package stores opens mail stores by their URLs: maildir:PATH, mbox:PATH,
// sdbox:PATH, mdbox:PATH, cyrus:IMAPD.CONF, imap://… and imaps://…, and, as a destination only, eml:DIR.
// OpenFiller opens one whose index survived, to put files back.
// It is where the command line's words meet the adapters; cmd/salvor calls it,
// and internal/incident, which opens copies; other engines do not.
package stores

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus"
	"salvor/internal/mailstore/dbox"
	"salvor/internal/mailstore/eml"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap"
	"salvor/internal/mailstore/maildir"
	"salvor/internal/mailstore/mbox"
	"salvor/internal/mailstore/userpath"
)

// ErrURL says that a store URL is wrong, or leads to no store: a mistake in
// the command or the configuration.
var ErrURL = errors.New("no usable mail store")

// Options go with a URL.
type Options struct {
	// User names the user of a path without variables; "" means the directory's
	// owner-like name: its last element that is not Maildir, mail or .maildir.
	User string
	// Users are those that are asked for, where the store itself lists none.
	Users []string
	// Offline says of a destination that its mail server is stopped, or the users
	// locked out: then a Maildir's indexes may be put aside to keep UIDs.
	Offline bool
	// Index says of a source that only what its server keeps of messages is read,
	// whose files may be lost: a Maildir is listed by Dovecot's files alone, and a
	// Cyrus tells Message-IDs and envelopes out of its caches.
	Index bool
	// Password gives the password for a mail server; nil: there is none.
	Password func() ([]byte, error)
}

// urlError is a one-line error with a hint.
type urlError struct {
	url, hint string
	err       error
}

func (e *urlError) Error() string {
	s := fmt.Sprintf("mail store %q: %v", shown(e.url), e.err)
	if e.hint != "" {
		s += " (" + e.hint + ")"
	}
	return s
}

// shown is what errors show of a URL. Those of servers end at the "?", and hold
// no password: whatever stands there by mistake is not for everybody's eyes.
func shown(url string) string {
	slashes := "//"
	scheme, rest, server := strings.Cut(url, slashes)
	if !server && strings.HasPrefix(strings.ToLower(url), "imap") {
		slashes = ""
		scheme, rest, server = "", url, true
	}
	if !server || strings.Contains(scheme, "/") {
		return url
	}
	rest, _, _ = strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(host, "@"); at >= 0 {
		if user, _, secret := strings.Cut(host[:at], ":"); secret {
			rest = user + ":…" + host[at:] + strings.Repeat("/", min(1, len(path))) + path
		}
	}
	return scheme + slashes + rest
}

func (e *urlError) Unwrap() []error { return []error{ErrURL, e.err} }

const schemes = "a source is maildir:PATH, mbox:PATH, sdbox:PATH, mdbox:PATH, cyrus:/etc/imapd.conf, imaps://ADMIN@HOST or imap://ADMIN@HOST; a destination is maildir:, mbox:, imaps:, imap: or eml:DIR"

// OpenSource opens a mail store for reading. The store must be there.
func OpenSource(url string, o Options) (mailstore.Source, error) {
	scheme, rest, err := split(url)
	if err != nil {
		return nil, err
	}
	switch scheme {
	case "maildir":
		return openMaildir(url, rest, o)
	case "mbox":
		return openMbox(url, rest, o)
	case "sdbox", "mdbox":
		return openDbox(url, scheme, rest, o)
	case "cyrus":
		return openCyrus(url, rest, o)
	case "imap", "imaps":
		return openIMAP(url, o)
	case "eml":
		return nil, &urlError{url, "restore to it, or read the Maildir or mbox that it came from", errors.New("eml is a destination only")}
	}
	return nil, &urlError{url, schemes, fmt.Errorf("unknown kind of store %q", scheme)}
}

// CheckSource returns ErrURL unless url can name a mail store to read. It
// opens nothing.
func CheckSource(url string) error {
	scheme, rest, err := split(url)
	if err != nil {
		return err
	}
	switch scheme {
	case "maildir":
		_, err = maildirOptions(rest, Options{})
	case "mbox":
		_, err = mboxOptions(rest, Options{})
	case "sdbox", "mdbox":
		_, err = dboxOptions(scheme, rest, Options{})
	case "cyrus":
		if !filepath.IsAbs(rest) {
			err = errors.New("the path of imapd.conf must be absolute")
		}
	case "imap", "imaps":
		if _, err = imapOptions(url, Options{}); err != nil {
			return imapError(url, err)
		}
	default:
		err = fmt.Errorf("no source of the kind %q", scheme)
	}
	if err != nil {
		return &urlError{url, schemes, err}
	}
	return nil
}

// split parts a URL into its scheme and the rest.
func split(url string) (scheme, rest string, err error) {
	scheme, rest, ok := strings.Cut(url, ":")
	if !ok {
		hint := schemes
		if url != "" {
			hint = "for a Maildir write maildir:" + shown(url)
		}
		return "", "", &urlError{url, hint, errors.New("it has no scheme")}
	}
	if rest == "" {
		return "", "", &urlError{url, schemes, errors.New("the path is missing")}
	}
	return strings.ToLower(scheme), rest, nil
}

func openCyrus(url, rest string, o Options) (mailstore.Source, error) {
	s, err := cyrus.Open(cyrus.Options{ConfigFile: rest, Envelopes: o.Index})
	if err != nil {
		return nil, &urlError{url, "name the server's imapd.conf, as in cyrus:/etc/imapd.conf", err}
	}
	return s, nil
}

func openIMAP(url string, o Options) (mailstore.Source, error) {
	io, err := imapOptions(url, o)
	if err != nil {
		return nil, imapError(url, err)
	}
	s, err := imap.Open(io)
	if err != nil { // a server that is away, or a wrong password: the URL is right
		return nil, fmt.Errorf("mail store %q: %w", shown(url), err)
	}
	return s, nil
}

func createIMAP(url string, o Options) (mailstore.Destination, error) {
	io, err := imapOptions(url, o)
	if err != nil {
		return nil, imapError(url, err)
	}
	d, err := imap.Create(io)
	if err != nil {
		return nil, fmt.Errorf("mail store %q: %w", shown(url), err)
	}
	return d, nil
}

// OpenServer opens a running mail server, whose accounts are looked into and
// changed as their users' clients do it.
func OpenServer(url string, o Options) (mailstore.Server, error) {
	scheme, _, err := split(url)
	if err != nil {
		return nil, err
	}
	if scheme != "imap" && scheme != "imaps" {
		return nil, &urlError{url, "name the running server, as in imaps://ADMIN@HOST", fmt.Errorf("%s: is no running mail server", scheme)}
	}
	io, err := imapOptions(url, o)
	if err != nil {
		return nil, imapError(url, err)
	}
	s, err := imap.Connect(io)
	if err != nil {
		return nil, fmt.Errorf("mail store %q: %w", shown(url), err)
	}
	return s, nil
}

// imapError shows the URL only where it holds no secret.
func imapError(url string, err error) error {
	if errors.Is(err, errSecret) || errors.Is(err, errNoURL) {
		url = "imap"
	}
	return &urlError{url, imapHint, err}
}

func openMaildir(url, rest string, o Options) (mailstore.Source, error) {
	mo, err := maildirOptions(rest, o)
	if err != nil {
		return nil, &urlError{url, maildirHint, err}
	}
	if o.Index {
		x, err := maildir.OpenIndex(mo)
		if err != nil {
			return nil, &urlError{url, "name the directories that survived, as in CONTROL=PATH:INDEX=PATH", err}
		}
		return x, nil
	}
	s, err := maildir.Open(mo)
	if err != nil {
		return nil, &urlError{url, "name the directory that holds cur, or use %u where users' names stand in the path", err}
	}
	return s, nil
}

const maildirHint = "as in maildir:/srv/mail/%d/%n/Maildir:LAYOUT=fs:UTF-8:INDEX=PATH:CONTROL=PATH"

// MaildirOptions reads the URL of a Maildir; ok is false for those of other stores.
func MaildirOptions(url string, o Options) (mo maildir.Options, ok bool, err error) {
	scheme, rest, err := split(url)
	if err != nil || scheme != "maildir" {
		return mo, false, err
	}
	if mo, err = maildirOptions(rest, o); err != nil {
		err = &urlError{url, maildirHint, err}
	}
	return mo, true, err
}

// DboxOptions reads the URL of an sdbox or mdbox; ok is false for those of other
// stores.
func DboxOptions(url string, o Options) (do dbox.Options, ok bool, err error) {
	scheme, rest, err := split(url)
	if err != nil || scheme != "sdbox" && scheme != "mdbox" {
		return do, false, err
	}
	if do, err = dboxOptions(scheme, rest, o); err != nil {
		err = &urlError{url, "as in mdbox:/srv/mail/%d/%n/mdbox:INDEX=PATH", err}
	}
	return do, true, err
}

// OpenDestination opens a mail store for writing. It is made, when the first
// account is opened, where it is not there.
func OpenDestination(url string, o Options) (mailstore.Destination, error) {
	scheme, rest, err := split(url)
	if err != nil {
		return nil, err
	}
	var d mailstore.Destination
	switch scheme {
	case "maildir":
		var mo maildir.Options
		if mo, err = maildirOptions(rest, o); err == nil {
			mo.Offline = o.Offline
			d, err = maildir.Create(mo)
		}
	case "mbox":
		var mo mbox.Options
		if mo, err = mboxOptions(rest, o); err == nil {
			d, err = mbox.Create(mo)
		}
	case "imap", "imaps":
		return createIMAP(url, o)
	case "cyrus":
		return nil, &urlError{url, "restore to the running server: imaps://ADMIN@HOST keeps UIDs there", errors.New("cyrus: is a source only")}
	case "sdbox", "mdbox":
		return nil, &urlError{url, "restore to the running server (imaps://ADMIN@HOST) or into a Maildir", fmt.Errorf("%s: is a source only", scheme)}
	case "eml":
		var root *userpath.Template
		if root, err = userpath.Parse(rest); err == nil {
			d, err = eml.Create(root)
		}
	default:
		return nil, &urlError{url, schemes, fmt.Errorf("unknown kind of store %q", scheme)}
	}
	if err != nil {
		return nil, &urlError{url, "name a directory that exists or can be made", err}
	}
	return d, nil
}

func openMbox(url, rest string, o Options) (mailstore.Source, error) {
	mo, err := mboxOptions(rest, o)
	if err != nil {
		return nil, &urlError{url, "as in mbox:/var/mail/%u or mbox:/home/alice/mail", err}
	}
	s, err := mbox.Open(mo)
	if err != nil {
		return nil, &urlError{url, "name a file, a directory of mboxes, or use %u where users' names stand in the path", err}
	}
	return s, nil
}

// mboxOptions reads PATH[:UTF-8].
func mboxOptions(rest string, o Options) (mo mbox.Options, err error) {
	if p, ok := strings.CutSuffix(rest, ":UTF-8"); ok {
		rest, mo.Encoding = p, folder.UTF8
	}
	if mo.Root, err = userpath.Parse(rest); err != nil {
		return mo, err
	}
	if mo.User = o.User; mo.User == "" && !mo.Root.Variable() {
		mo.User = ownerLike(strings.TrimSuffix(mo.Root.Fixed(), ".mbox"))
	}
	return mo, nil
}

// ownerLike is the last element of a path that could be a user's name.
func ownerLike(path string) string {
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		base := filepath.Base(p)
		switch strings.ToLower(base) {
		case "maildir", "mail", ".maildir", ".mail", "mbox", "inbox":
			continue
		case "/", ".":
			return "user"
		}
		return folder.Clean(base)
	}
}
