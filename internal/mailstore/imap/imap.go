// Package imap reads mail from IMAP servers and restores mail into them: Dovecot
// and Cyrus with what they have beyond the standard, any other server with what
// it announces.
//
// The Destination only adds. It appends messages one by one and never sends one
// again of which it cannot see that it did not arrive; for an administrator of a
// Cyrus it makes mailboxes that are not there with their original UIDs (package
// cyrussync).
//
// A Server opens accounts of a running server as their users' clients see them:
// it tells which messages are listed and have no content, removes single messages
// so that clients hear of it, and appends each message at most once.
//
// The Source is strictly read-only: mailboxes are opened with EXAMINE and
// bodies fetched with BODY.PEEK, so that neither \Seen nor \Recent changes. It
// asks only for what has changed where the server keeps modification sequences
// (CONDSTORE), names contents by what the server itself calls them (Cyrus:
// DIGEST.SHA1, Dovecot: X-GUID, others: EMAILID), and fetches bodies ahead, many
// with one command.
//
// Users' mail is opened with one administrator's password by SASL PLAIN with an
// authorization identity, by Dovecot's master users, or with each user's own
// password from a file. It is called by package stores, which parses store
// URLs; the engines see only the interfaces of package mailstore.
//
// Servers are not trusted: what they send is bounded (package wire), a server
// that hangs up is called again a few times, and what it then still does not
// give costs that message, mailbox or user and is reported by name.
package imap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/folder"
	"salvor/internal/mailstore/imap/wire"
)

// Options say where the server is and who logs in. Host, and User or
// PasswordFile, are required.
type Options struct {
	Host string
	Port int // 0 means 993 with TLS from the first byte, else 143
	// Security is TLS from the first byte (the zero value), STARTTLS, or none.
	// Without any, only this machine is talked to unless Plaintext is set.
	Security  wire.Security
	Plaintext bool   // passwords and mail may cross a network in the clear
	CAFile    string // PEM; "" means the system's authorities

	// User logs in, for the users whose mail is read. "" means that each of them
	// logs in with the password that PasswordFile has for them.
	User     string
	Password []byte
	// PasswordFile has lines of "user:password" and TokenFile a bearer token;
	// both must be readable by their owner alone.
	PasswordFile, TokenFile string
	// Mechanism is plain, login, oauthbearer or xoauth2; "" means PLAIN where
	// the server offers it, else LOGIN.
	Mechanism string
	// Separator stands between user and master user for LOGIN
	// (auth_master_user_separator of Dovecot): alice*backup.
	Separator string
	// Users are the accounts to read; none means all that the server or the
	// password file names, or else User's own.
	Users []string

	// ReadTimeout is how long the server may keep silent; 0 means two minutes.
	ReadTimeout time.Duration
	// MaxMessage is the largest message that is fetched, in bytes; 0 means 1 GiB.
	MaxMessage int64
	// Ahead bounds the bodies that are fetched before anybody reads them, in
	// bytes; 0 means 16 MiB.
	Ahead int64

	// patience is how often a server that hangs up is called again, and the
	// first pause before that; zero values mean 5 and half a second.
	patience patience
}

type patience struct {
	tries int
	pause time.Duration
}

func (o *Options) fill() error {
	if o.Host == "" {
		return errors.New("the host is missing")
	}
	if o.User == "" && o.PasswordFile == "" {
		return errors.New("nobody is named to log in as (a user, or a password file)")
	}
	if o.Port == 0 {
		o.Port = 143
		if o.Security == wire.TLS {
			o.Port = 993
		}
	}
	if o.Security == wire.Insecure && !o.Plaintext && !Loopback(o.Host) {
		return fmt.Errorf("the connection to %s would be without TLS: anybody on the way could read passwords and mail (use imaps or STARTTLS)", o.Host)
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = 1 << 30
	}
	if o.Ahead <= 0 {
		o.Ahead = 16 << 20
	}
	if o.patience == (patience{}) {
		o.patience = patience{5, time.Second / 2}
	}
	return nil
}

// Loopback tells whether a host is this machine, to which a connection needs no
// TLS.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (o *Options) addr() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// A Source reads mail from an IMAP server. It may be used by several goroutines.
type Source struct {
	o       Options
	dialing wire.Options
	secrets *secrets
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup // fetchers
	ahead   *ahead

	mu       sync.Mutex
	sessions []*session // the one used last at the end
	down     downtime
	guids    answer // whether the server knows X-GUID
}

var (
	_ mailstore.Source     = (*Source)(nil)
	_ mailstore.Counter    = (*Source)(nil)
	_ mailstore.Prefetcher = (*Source)(nil)
)

// Open logs in once, to prove address, TLS and password.
func Open(o Options) (*Source, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Source{o: o, dialing: wire.Options{Addr: o.addr(), Security: o.Security, Idle: o.ReadTimeout}}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		s.dialing.Roots = x509.NewCertPool()
		if !s.dialing.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: it holds no certificate in PEM form", o.CAFile)
		}
	}
	var err error
	if s.secrets, err = readSecrets(&s.o); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ahead = newAhead(o.Ahead)
	if err := s.prove(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// prove logs in, and out again: for the first user or, if that one is not
// there, as whoever logs in for all. What goes wrong with the first of several
// users alone is reported when it is that one's turn.
func (s *Source) prove() error {
	first, several := s.o.User, len(s.o.Users) > 1
	switch {
	case len(s.o.Users) > 0:
		first = s.o.Users[0]
	case first == "":
		first, several = s.secrets.users[0], len(s.secrets.users) > 1
	}
	c, err := s.login(s.ctx, first)
	for try := 1; err != nil && isTemporary(err) && try < s.o.patience.tries; try++ {
		if err := s.pause(s.ctx, try); err != nil {
			return err
		}
		c, err = s.login(s.ctx, first)
	}
	var refused *loginError
	if errors.As(err, &refused) && s.o.User != "" && first != s.o.User {
		if own, ownErr := s.login(s.ctx, s.o.User); ownErr == nil {
			c, err = own, nil
		}
	}
	if err != nil {
		if several && first != s.o.User && s.onlyTheirs(err) {
			return nil
		}
		return err
	}
	c.Logout(s.ctx) // a server that does not say good-bye has let us in
	return nil
}

// onlyTheirs tells whether a login failed in a way that says nothing about the
// logins for other users.
func (s *Source) onlyTheirs(err error) bool {
	var unreachable *wire.DialError
	var refused *wire.Refused
	switch {
	case errors.As(err, &unreachable):
		return false
	case wire.IsBroken(err), isTemporary(err):
		return true
	}
	return errors.As(err, &refused) && s.o.User == "" // each has a password of their own
}

// login opens a connection on which the user's mail is to be read.
func (s *Source) login(ctx context.Context, user string) (*wire.Conn, error) {
	cr, err := s.secrets.of(user)
	if err != nil {
		return nil, err
	}
	c, err := wire.Dial(ctx, s.dialing)
	if err != nil {
		return nil, err
	}
	if err := c.Login(ctx, cr); err != nil {
		c.Close()
		return nil, explainLogin(s.o.addr(), cr, err)
	}
	return c, nil
}

// isTemporary tells refusals that say of themselves that they may pass (RFC
// 5530).
func isTemporary(err error) bool {
	switch wire.CodeOf(err) {
	case "UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG":
		return true
	}
	return false
}

// A loginError is a login that the server refused: to try again would lock
// accounts.
type loginError struct {
	server, who string
	err         error
}

func (e *loginError) Error() string {
	hint := ""
	if refused := (*wire.Refused)(nil); errors.As(e.err, &refused) {
		hint = " (check user name and password)"
	}
	return fmt.Sprintf("log in to %s as %s: %v%s", e.server, e.who, e.err, hint)
}

func (e *loginError) Unwrap() error { return e.err }

func explainLogin(server string, cr wire.Credentials, err error) error {
	who := folder.Clean(cr.User)
	if cr.As != "" && cr.As != cr.User {
		who += " for " + folder.Clean(cr.As)
	}
	if wire.IsBroken(err) || isTemporary(err) {
		return fmt.Errorf("log in to %s as %s: %w", server, who, err)
	}
	return &loginError{server, who, err}
}

// Close ends all connections. What was fetched ahead is forgotten.
func (s *Source) Close() error {
	s.cancel()
	s.ahead.close()
	s.working.Wait()
	s.mu.Lock()
	sessions := s.sessions
	s.sessions = nil
	s.mu.Unlock()
	for _, one := range sessions {
		one.close()
	}
	return nil
}

// Users lists the accounts.
func (s *Source) Users(ctx context.Context, yield func(mailstore.User) error) error {
	names := s.o.Users
	if len(names) == 0 {
		var err error
		if names, err = s.findUsers(ctx); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := yield(mailstore.User{Name: name, Partition: s.o.Host}); err != nil {
			return err
		}
	}
	return nil
}

// findUsers asks the password file, or the server.
func (s *Source) findUsers(ctx context.Context) ([]string, error) {
	if s.o.User == "" {
		return s.secrets.users, nil
	}
	l := &link{s: s, user: s.o.User}
	defer l.close()
	var names []string
	err := l.do(ctx, func(c *wire.Conn) (err error) {
		names, err = administered(ctx, c)
		return err
	})
	if err != nil {
		return nil, problem(ctx, s.o.User, "", err)
	}
	if len(names) == 0 {
		names = []string{s.o.User}
	}
	return names, nil
}

// administered gives the users whose mailboxes a Cyrus administrator sees. Such
// a one has no personal namespace.
func administered(ctx context.Context, c *wire.Conn) (names []string, err error) {
	spaces, err := c.Namespaces(ctx)
	if err != nil || len(spaces.Personal) > 0 || len(spaces.Others) == 0 {
		return nil, err
	}
	prefix, separator := spaces.Others[0].Prefix, spaces.Others[0].Separator
	patterns := []string{"%"}
	if separator == "." { // stands in the names of domains too
		patterns = append(patterns, "%@*")
	}
	for _, pattern := range patterns {
		err = c.List(ctx, "", prefix+pattern, func(l wire.Listed) error {
			name, ok := strings.CutPrefix(l.Name, prefix)
			if ok && name != "" && !l.Has(`\Noselect`) && !l.Has(`\NonExistent`) && len(names) < maxUsers {
				names = append(names, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// maxUsers and maxMailboxes bound what a server may list.
const (
	maxUsers     = 10_000_000
	maxMailboxes = 250_000
)

// problem makes an error one that costs only the user or mailbox, unless it is
// the caller's own wish.
func problem(ctx context.Context, user, mailbox string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &mailstore.Problem{User: user, Mailbox: mailbox, Err: err}
}
