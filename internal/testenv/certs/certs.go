// Package certs makes the certificates of servers that tests start, good ones
// and bad ones. Only tests call it.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// An Authority signs certificates of servers.
type Authority struct {
	PEM []byte // its own certificate

	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A Pair is a certificate and its private key, both in PEM.
type Pair struct{ Cert, Key []byte }

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "salvor test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	p, key := a.sign(ca)
	a.PEM, a.key = p.Cert, key
	block, _ := pem.Decode(p.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	a.cert = cert
	return a
}

// Pool is for a client that trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Client is how a client that trusts the authority connects to this machine.
func (a *Authority) Client() *tls.Config {
	return &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}
}

// Server is a good certificate for localhost and 127.0.0.1.
func (a *Authority) Server() *Pair {
	a.t.Helper()
	return a.server(time.Now().Add(24*time.Hour), "localhost", "127.0.0.1")
}

// Expired is one for the same that was good until a minute ago.
func (a *Authority) Expired() *Pair {
	a.t.Helper()
	return a.server(time.Now().Add(-time.Minute), "localhost", "127.0.0.1")
}

// OtherName is a good one for mail.example.org.
func (a *Authority) OtherName() *Pair {
	a.t.Helper()
	return a.server(time.Now().Add(24*time.Hour), "mail.example.org")
}

func (a *Authority) server(until time.Time, names ...string) *Pair {
	a.t.Helper()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	p, _ := a.sign(c)
	return p
}

// sign makes a key and its certificate; the first one is the authority's own.
func (a *Authority) sign(c *x509.Certificate) (*Pair, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, key
}

// Write puts the two into files.
func (p *Pair) Write(certFile, keyFile string) error {
	if err := os.WriteFile(certFile, p.Cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, p.Key, 0o644)
}
