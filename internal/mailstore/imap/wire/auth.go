package wire

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Caps are the abilities that a server has announced, in capitals.
type Caps map[string]bool

// Has tells whether the server has announced the ability, as in "CONDSTORE" or
// "AUTH=PLAIN".
func (c Caps) Has(name string) bool { return c[name] }

// Caps gives the abilities announced last.
func (c *Conn) Caps() Caps {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caps
}

// setCaps makes a new map, since the old one may be in somebody's hands.
func (c *Conn) setCaps(text string) {
	caps := Caps{}
	for _, word := range strings.Fields(strings.ToUpper(text)) {
		if len(caps) < 1000 {
			caps[word] = true
		}
	}
	c.mu.Lock()
	c.caps = caps
	c.mu.Unlock()
}

// noteCode takes the abilities out of an OK's code.
func (c *Conn) noteCode(r *Response) {
	if code, args := r.Code(); code == "CAPABILITY" {
		c.setCaps(args)
	}
}

// Capability asks for the server's abilities.
func (c *Conn) Capability(ctx context.Context) error {
	_, err := c.Do(ctx, NewCommand("CAPABILITY"))
	return err
}

// Mechanisms of Credentials.
const (
	Plain       = "PLAIN"       // RFC 4616
	Login       = "LOGIN"       // the LOGIN command
	OAuthBearer = "OAUTHBEARER" // RFC 7628
	XOAuth2     = "XOAUTH2"     // Google's
)

// Credentials say who logs in, and as whom.
type Credentials struct {
	// Mechanism is one of the constants; "" means PLAIN where the server has
	// it, else LOGIN.
	Mechanism string
	User      string // whose Secret it is
	// As is whose mail is to be opened; "" means User's own.
	As     string
	Secret string // the password, or the bearer token
	// Separator is what stands between As and User in one name, for LOGIN
	// (Dovecot's auth_master_user_separator); "" means that there is none.
	Separator string
}

// Login logs in and asks for the abilities that the server has after it.
// Neither the password nor the token stands in its errors.
func (c *Conn) Login(ctx context.Context, cr Credentials) error {
	if len(c.Caps()) == 0 {
		if err := c.Capability(ctx); err != nil {
			return err
		}
	}
	cmd, err := c.loginCommand(cr)
	if err != nil {
		return err
	}
	r, err := c.Do(ctx, cmd)
	if err != nil {
		return err
	}
	// Other abilities hold after the login; most servers tell them unasked.
	if code, _ := r.Code(); code == "CAPABILITY" {
		return nil
	}
	return c.Capability(ctx)
}

func (c *Conn) loginCommand(cr Credentials) (*Command, error) {
	caps := c.Caps()
	mechanism := strings.ToUpper(cr.Mechanism)
	if mechanism == "" {
		mechanism = Plain
		if !caps.Has("AUTH=PLAIN") {
			mechanism = Login
		}
	}
	as := cr.As
	if as == cr.User {
		as = ""
	}
	switch mechanism {
	case Plain:
		return c.sasl("PLAIN", as+"\x00"+cr.User+"\x00"+cr.Secret, cr, nil), nil
	case Login:
		return c.loginPlainly(cr, as)
	case OAuthBearer:
		return c.sasl(OAuthBearer, c.oauthBearer(cr, as), cr, func(string) string { return "AQ==" }), nil
	case XOAuth2:
		who := cr.User
		if as != "" {
			who = as
		}
		return c.sasl(XOAuth2, "user="+who+"\x01auth=Bearer "+cr.Secret+"\x01\x01", cr, func(string) string { return "" }), nil
	}
	return nil, fmt.Errorf("unknown way to log in %q: plain, login, oauthbearer or xoauth2", cr.Mechanism)
}

// loginPlainly is the LOGIN command.
func (c *Conn) loginPlainly(cr Credentials, as string) (*Command, error) {
	if c.Caps().Has("LOGINDISABLED") {
		return nil, errors.New("the server takes no password on this connection (use TLS)")
	}
	user := cr.User
	if as != "" {
		if cr.Separator == "" {
			return nil, fmt.Errorf("%q cannot log in for %q: the server offers no AUTH=PLAIN, and no separator of master users is given", cr.User, as)
		}
		user = as + cr.Separator + cr.User
	}
	return NewCommand("LOGIN").String(user).String(cr.Secret).secret(cr.Secret), nil
}

// oauthBearer is the first message of RFC 7628, section 3.1.
func (c *Conn) oauthBearer(cr Credentials, as string) string {
	who := cr.User
	if as != "" {
		who = as
	}
	who = strings.NewReplacer("=", "=3D", ",", "=2C").Replace(who)
	host, port, _ := net.SplitHostPort(c.o.Addr)
	return "n,a=" + who + ",\x01host=" + host + "\x01port=" + port + "\x01auth=Bearer " + cr.Secret + "\x01\x01"
}

// sasl is AUTHENTICATE with its first message, in the command itself where the
// server takes it there (SASL-IR). Some mechanisms explain a failure in a
// further "+", which wants an answer before the NO comes.
func (c *Conn) sasl(mechanism, first string, cr Credentials, failed func(string) string) *Command {
	encoded := base64.StdEncoding.EncodeToString([]byte(first))
	cmd := NewCommand("AUTHENTICATE").Raw(" " + mechanism).secret(cr.Secret).secret(encoded)
	if c.Caps().Has("SASL-IR") {
		cmd.Raw(" " + encoded)
	} else {
		cmd.onChallenge(func(string) string { return encoded })
	}
	if failed != nil {
		cmd.onChallenge(failed)
	}
	return cmd
}

// Logout says good-bye and closes the connection.
func (c *Conn) Logout(ctx context.Context) error {
	_, err := c.Do(ctx, NewCommand("LOGOUT"))
	c.Close()
	return err
}

// Noop asks the server for news, and whether it is there.
func (c *Conn) Noop(ctx context.Context) error {
	_, err := c.Do(ctx, NewCommand("NOOP"))
	return err
}

// Enable turns an extension on (RFC 5161), where the server has ENABLE.
func (c *Conn) Enable(ctx context.Context, name string) error {
	if !c.Caps().Has("ENABLE") {
		return nil
	}
	_, err := c.Do(ctx, NewCommand("ENABLE").Raw(" "+name))
	return err
}
