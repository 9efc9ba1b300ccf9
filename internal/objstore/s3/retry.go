package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

const (
	firstWait = 200 * time.Millisecond
	longWait  = 10 * time.Second
)

// attempts says how an operation is tried.
type attempts struct {
	patience time.Duration // from the first failure on
	limit    time.Duration // for one attempt
}

// attempts is for an operation that moves n bytes, as far as that is known.
func (s *Store) attempts(n int64) attempts {
	return attempts{s.o.Patience, s.o.Stall + transferTime(n)}
}

// fatal marks an error that another attempt would only repeat.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// gaveUp is the error of an operation that was tried for as long as it may be.
type gaveUp struct {
	tries int
	error
}

func (g gaveUp) Unwrap() error { return g.error }

// try calls f until it succeeds, fails for good, or patience ends.
func (s *Store) try(ctx context.Context, a attempts, f func(context.Context) error) error {
	var patience <-chan time.Time
	var failed time.Time // when it first did
	for tries := 1; ; tries++ {
		begun := time.Now()
		stop := s.listen(ctx, a.patience)
		err := attempt(ctx, a.limit, f)
		stop()
		if err == nil {
			s.signs.told.Store(false)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !passing(err) {
			return err
		}
		if patience == nil {
			failed = time.Now()
			t := time.NewTimer(max(a.patience-s.signs.idle(begun), a.patience/2))
			defer t.Stop()
			patience = t.C
		}
		if s.o.tellAfter < a.patience/4 && time.Since(failed) >= s.o.tellAfter {
			s.waiting(a.patience, s.plain(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience:
			return gaveUp{tries, err}
		case <-time.After(wait(tries)):
		}
	}
}

// attempt calls f with a context that ends after limit, unless f learns that
// it has more to do and calls extend.
func attempt(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(limit, cancel)
	defer timer.Stop()
	return f(context.WithValue(ctx, timerKey{}, func(n int64) {
		if timer.Stop() {
			timer.Reset(limit + transferTime(n))
		}
	}))
}

type timerKey struct{}

// extend gives the attempt that ctx belongs to the time to move n more bytes.
func extend(ctx context.Context, n int64) {
	if more, ok := ctx.Value(timerKey{}).(func(int64)); ok {
		more(n)
	}
}

func transferTime(n int64) time.Duration { return time.Duration(n/slowest) * time.Second }

// wait doubles with every try, and is spread so that many writers whose
// server restarts do not come back as one.
func wait(tries int) time.Duration {
	d := min(firstWait<<min(tries-1, 10), longWait)
	return d/2 + rand.N(d/2)
}

// code is the S3 error code of a server's answer; "" when there was none.
func code(err error) string {
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// passingCodes are errors that may be over at the next attempt. Those of
// status 400 are about a body that was damaged or cut on its way.
var passingCodes = []string{"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted",
	"ConditionalRequestConflict", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled",
	"InternalError", "ServiceUnavailable"}

// passing tells whether another attempt may help.
func passing(err error) bool {
	var f fatal
	var k keyError
	var tlsError *tls.CertificateVerificationError
	if errors.As(err, &f) || errors.As(err, &k) || errors.As(err, &tlsError) || errors.Is(err, object.ErrExists) || full(err) {
		return false
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return true // no answer, or a damaged one
	}
	switch r.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return r.StatusCode >= 500 || slices.Contains(passingCodes, r.Code)
}

func full(err error) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && (r.StatusCode == http.StatusInsufficientStorage || slices.Contains(
		[]string{"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}, r.Code))
}

// hints say what to do about a server's error code.
var hints = map[string]string{
	"InvalidAccessKeyId":           "the server does not know this access key: check AWS_ACCESS_KEY_ID",
	"SignatureDoesNotMatch":        "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
	"RequestTimeTooSkewed":         "this host's clock and the server's differ: set the clock",
	"ExpiredToken":                 "the session has expired: get new temporary keys",
	"XAdminUserNotFound":           "the server does not know this access key: check AWS_ACCESS_KEY_ID",
	"AccessDenied":                 "the keys are good but may not do this: check the policy of the user and of the bucket",
	"AuthorizationHeaderMalformed": "check the region in the URL",
	"PermanentRedirect":            "the bucket is in another region: give it as region= in the URL",
	"NotImplemented":               "the server cannot create objects conditionally; salvor needs If-None-Match on PUT",
}

// explain gives err the operation and place, and the kind and hint that an
// operator needs.
func (s *Store) explain(op, name string, err error) error {
	var done *object.Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	e := &object.Error{Op: op, Name: name, Store: s.loc.label}
	e.Kind, e.Hint = s.judge(op, err)
	text := printable(s.keys.hide(cause(err)))
	var g gaveUp
	switch {
	case errors.As(err, &g):
		// Not wrapped: an io.ErrUnexpectedEOF of the connection would look
		// like one of the object.
		e.Err = fmt.Errorf("gave up after %d tries: %s", g.tries, text)
	case e.Kind == nil || e.Kind.Error() != text:
		e.Err = told{text, err}
	}
	return e
}

// told is an error with another text.
type told struct {
	text string
	error
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.error }

func (s *Store) judge(op string, err error) (kind error, hint string) {
	var m missing
	var k keyError
	var r minio.ErrorResponse
	var g gaveUp
	var tlsError *tls.CertificateVerificationError
	errors.As(err, &r) // stays zero where there was no answer
	switch {
	case errors.As(err, &m):
		return object.ErrNotExist, "check the name of the bucket and the endpoint; \"salvor init --make-bucket\" makes it"
	case errors.As(err, &k):
		return object.ErrDenied, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a credentials file in the configuration"
	case errors.As(err, &tlsError):
		return object.ErrUnavailable, "the server's certificate is not trusted here: SSL_CERT_FILE may name the right authority"
	case r.Code == minio.NoSuchKey, r.Code == minio.NoSuchVersion:
		return object.ErrNotExist, ""
	case r.Code == minio.NoSuchBucket:
		return object.ErrUnavailable, "the bucket is not there any more"
	case full(err):
		return object.ErrFull, "free space or raise the quota of the bucket"
	case r.StatusCode == http.StatusForbidden, r.StatusCode == http.StatusUnauthorized, r.Code == "XAdminUserNotFound":
		return object.ErrDenied, hints[r.Code]
	case errors.As(err, &g):
		return object.ErrUnavailable, "is the server running, and the endpoint " + s.loc.host + " right?"
	}
	return nil, hints[r.Code]
}

// maxText bounds how much of a server's words an error repeats, in bytes.
const maxText = 300

// cause is err without the URLs that minio-go and net/http repeat.
func cause(err error) string {
	var r minio.ErrorResponse
	var u *url.Error
	var n net.Error
	text := err.Error()
	switch {
	case errors.As(err, &r):
		text = r.Code + ": " + r.Message
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		text = "no answer in time"
	case errors.As(err, &u):
		text = u.Err.Error()
		if strings.HasPrefix(text, "Connection closed by foreign host") {
			text = "the server closed the connection"
		}
	}
	return text
}

// printable is the beginning of text without anything that could start a new
// line or command a terminal.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0xfffd {
			return ' '
		}
		return c
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + ".."
	}
	return text
}
