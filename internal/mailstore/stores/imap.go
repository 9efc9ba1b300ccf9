package stores

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"salvor/internal/mailstore/imap"
	"salvor/internal/mailstore/imap/wire"
)

const imapHint = "as in imaps://admin@mail.example.org:993?ca=/etc/ssl/ca.pem; the password comes from SALVOR_IMAP_PASSWORD or SALVOR_IMAP_PASSWORD_FILE"

// errSecret is told without the URL, which would show the secret.
var errSecret = errors.New("the URL holds a password, which every process list would show: give it in SALVOR_IMAP_PASSWORD or SALVOR_IMAP_PASSWORD_FILE")

var errNoURL = errors.New("it is no URL")

// imapParameters are those that may follow the "?".
var imapParameters = []string{"auth", "ca", "passwords", "separator", "tls", "token"}

// imapOptions reads an IMAP URL: imaps://USER@HOST:PORT?ca=FILE and so on. The
// password is not asked for where the URL names a file with secrets.
func imapOptions(raw string, o Options) (imap.Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return imap.Options{}, errNoURL // err shows the URL, and so a secret
	}
	if _, secret := u.User.Password(); secret {
		return imap.Options{}, errSecret
	}
	io := imap.Options{Host: u.Hostname(), User: u.User.Username(), Users: o.Users}
	if io.Host == "" {
		return io, errors.New("the host is missing")
	}
	if p := strings.Trim(u.Path, "/"); p != "" {
		return io, fmt.Errorf("unknown path %q: folders are chosen by --folder and --exclude-folder", p)
	}
	if p := u.Port(); p != "" {
		if io.Port, err = strconv.Atoi(p); err != nil || io.Port < 1 || io.Port > 65535 {
			return io, fmt.Errorf("%q is no port", p)
		}
	}
	if err := imapSettings(&io, u); err != nil {
		return io, err
	}
	if io.User == "" && io.PasswordFile == "" {
		return io, errors.New("it names nobody to log in as")
	}
	if io.User == "" || io.TokenFile != "" || o.Password == nil {
		return io, nil
	}
	io.Password, err = o.Password()
	return io, err
}

func imapSettings(io *imap.Options, u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("what follows the ? is not of the form key=value&key=value")
	}
	for key, values := range query {
		if !slices.Contains(imapParameters, key) {
			return fmt.Errorf("unknown parameter %q; known are %s", key, strings.Join(imapParameters, ", "))
		}
		if len(values) > 1 || values[0] == "" {
			return fmt.Errorf("parameter %q needs one value", key)
		}
	}
	io.CAFile, io.PasswordFile, io.TokenFile = query.Get("ca"), query.Get("passwords"), query.Get("token")
	io.Separator = query.Get("separator")
	io.Mechanism = strings.ToLower(query.Get("auth"))
	if known := []string{"", "plain", "login", "oauthbearer", "xoauth2"}; !slices.Contains(known, io.Mechanism) {
		return fmt.Errorf("unknown auth=%q; known are plain, login, oauthbearer and xoauth2", io.Mechanism)
	}
	return imapSecurity(io, strings.ToLower(u.Scheme), query.Get("tls"))
}

// imapSecurity: imaps is TLS from the first byte; imap is STARTTLS, except that
// the own machine may be spoken to in the clear, and others when told so.
func imapSecurity(io *imap.Options, scheme, tls string) error {
	switch {
	case scheme == "imaps" && tls == "":
		io.Security = wire.TLS
	case scheme == "imaps":
		return errors.New("imaps is TLS from the first byte; tls= goes with imap:// only")
	case tls == "starttls" || tls == "" && !imap.Loopback(io.Host):
		io.Security = wire.StartTLS
	case tls == "":
		io.Security = wire.Insecure
	case tls == "none":
		io.Security, io.Plaintext = wire.Insecure, true
	default:
		return fmt.Errorf("unknown tls=%q; known are starttls and none", tls)
	}
	return nil
}
