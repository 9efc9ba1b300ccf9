package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxAnswer bounds answers other than objects: a full page of a listing
	// has 1,000 keys of at most 1,024 bytes, escaped.
	maxAnswer  = 16 << 20
	maxHeaders = 64 << 10
	// maxIdle is how many connections are kept for the next request.
	maxIdle = 16
)

// newTransport makes HTTP/1.1 connections, one request at a time on each, so
// that a stall of one is a stall of its request. Certificates are verified,
// against SSL_CERT_FILE where it is set (crypto/x509).
func newTransport(stall time.Duration, signs *signs) http.RoundTripper {
	dialer := &net.Dialer{Timeout: min(stall, 30*time.Second), KeepAlive: 30 * time.Second}
	return &transport{&http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stallConn{Conn: c, stall: stall, signs: signs}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    stall,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        stall / 2, // before the stall would end it
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // an object's bytes are taken as they are
	}}
}

// stallConn is a connection that fails when nothing moves for a while. What
// is written also keeps the waiting reader alive: while a large body is on its
// way there is nothing to read.
type stallConn struct {
	net.Conn
	stall time.Duration
	signs *signs
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.signs.move()
	}
	return n, err
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.signs.move()
	}
	return n, err
}

type dateKey struct{}

// withDate makes the transport put the Date of the answer into date.
func withDate(ctx context.Context, date *string) context.Context {
	return context.WithValue(ctx, dateKey{}, date)
}

func parseDate(s string) (time.Time, error) { return http.ParseTime(s) }

// transport bounds answers that minio-go reads to their end, and takes the
// server's clock from them.
type transport struct{ under *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.under.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, ok := req.Context().Value(dateKey{}).(*string); ok {
		*date = resp.Header.Get("Date")
	}
	if !isObject(req) || resp.StatusCode >= 300 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	if req.Method == http.MethodGet && req.URL.Query().Has("retention") && resp.StatusCode == http.StatusOK {
		return resp, renameRetention(resp)
	}
	return resp, nil
}

// renameRetention gives the element that tells an object's lock the name that
// it has at Amazon and minio-go insists on; versitygw uses another one.
func renameRetention(resp *http.Response) error {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(b, []byte("ObjectLockRetention"), []byte("Retention"))))
	return err
}

// isObject tells whether a request asks for an object's bytes.
func isObject(req *http.Request) bool {
	query := req.URL.Query()
	query.Del("versionId")
	return req.Method == http.MethodGet && len(query) == 0
}
