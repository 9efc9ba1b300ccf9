package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// A Refused is a command's tagged NO or BAD.
type Refused struct {
	Command string // its name, without arguments: "APPEND"
	Bad     bool   // BAD, not NO
	// Code is the response code in capitals, "" for none: "OVERQUOTA",
	// "TRYCREATE", "AUTHENTICATIONFAILED" (RFC 5530). Args is what follows it.
	Code, Args string
	Text       string // what the server says to people
}

// Error gives the server's words.
func (e *Refused) Error() string {
	status := "NO"
	if e.Bad {
		status = "BAD"
	}
	if e.Code != "" {
		status += " [" + e.Code + "]"
	}
	return fmt.Sprintf("the server answers %s with %s %s", e.Command, status, e.Text)
}

// CodeOf gives the response code of a refused command, "" for other errors and
// for none.
func CodeOf(err error) string {
	var r *Refused
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// A Broken is the end of a connection: every command in flight gets it, and
// every later one.
type Broken struct {
	Server string // host and port
	Bye    string // what the server said with BYE, "" for nothing
	Err    error  // why
}

// Error names the server and the cause.
func (e *Broken) Error() string {
	if e.Bye != "" {
		return fmt.Sprintf("connection to %s: the server hung up: %s", e.Server, e.Bye)
	}
	return fmt.Sprintf("connection to %s: %v", e.Server, e.Err)
}

// Unwrap gives the cause.
func (e *Broken) Unwrap() error { return e.Err }

// IsBroken tells whether the connection is what failed, and not the command.
func IsBroken(err error) bool {
	var b *Broken
	return errors.As(err, &b)
}

// IsHungUp tells whether it was the server that ended the connection.
func IsHungUp(err error) bool {
	var b *Broken
	return errors.As(err, &b) && (b.Bye != "" || errors.Is(b.Err, errHungUp))
}

var (
	errHungUp = errors.New("the server hung up")
	errClosed = errors.New("closed")
)

// A Silent says that the server has not answered for so long; it stands in a
// Broken.
type Silent struct{ For time.Duration }

// Error says how long.
func (e *Silent) Error() string { return fmt.Sprintf("the server has not answered for %v", e.For) }

// A TooLarge is an answer beyond what its command allows; it stands in a Broken.
type TooLarge struct {
	What        string // "literal", "line"
	Size, Limit int64
}

// Error names the size and the limit.
func (e *TooLarge) Error() string {
	return fmt.Sprintf("the server sends a %s of %d bytes, at most %d are taken", e.What, e.Size, e.Limit)
}

// A Garbled is an answer that is no IMAP; it stands in a Broken.
type Garbled struct{ Why, Line string }

// Error shows the beginning of the answer.
func (e *Garbled) Error() string {
	return fmt.Sprintf("the server sends what is no IMAP (%s): %q", e.Why, shorten(e.Line, 60))
}

func shorten(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// clean makes a server's words fit for one line of a report.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(shorten(s, 400))
}

// A DialError says why no connection to a server came about, and what to do.
type DialError struct {
	Server, Hint string
	Err          error
}

// Error names the server, the cause and the hint in one line.
func (e *DialError) Error() string {
	s := fmt.Sprintf("connect to %s: %v", e.Server, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

// explain turns the errors of connecting and of TLS into what an operator can
// act upon.
func explain(o *Options, err error) error {
	e := &DialError{Server: o.Addr, Err: err}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Err, e.Hint = errors.New("no address is known for this name"), "check the host name"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Err, e.Hint = errors.New("connection refused"), "is the server running, and is the port right?"
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		e.Err, e.Hint = fmt.Errorf("no answer within %v", o.patience()), "check the address, the port and the firewall"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Err, e.Hint = fmt.Errorf("the server's certificate is not valid now: %w", err), "renew the certificate, and check this machine's clock"
	case errors.As(err, &authority):
		e.Err, e.Hint = errors.New("the server's certificate is signed by an unknown authority"), "give the authority's certificate as CA file"
	case errors.As(err, &host):
		e.Err, e.Hint = fmt.Errorf("the server's certificate is for another name: %w", err), "use the name that stands in the certificate"
	case errors.As(err, &record):
		e.Err, e.Hint = errors.New("the server does not speak TLS on this port"), "use imap:// with STARTTLS, or the port of imaps"
	}
	return e
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
