// Package securitytest is a certificate authority for tests, without a network.
package securitytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// Authority signs certificates as sentry does. Its fields may be changed between calls.
type Authority struct {
	// Now is the clock; TTL the lifetime of the certificates, an hour if it is 0.
	Now func() time.Time
	TTL time.Duration
	// ID is the SPIFFE id of the certificates.
	ID string
	// Change alters a certificate before it is signed; nil changes nothing.
	Change func(*x509.Certificate)
	// Named are the roots that it names with each certificate.
	Named string
	// Fail refuses a request; nil refuses none.
	Fail func() error

	key  *ecdsa.PrivateKey
	root *x509.Certificate

	mu     sync.Mutex
	signed int
}

// New makes an authority with a root of its own that signs for id.
func New(id string) *Authority {
	a := &Authority{Now: time.Now, ID: id}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"test"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err == nil {
		a.root, err = x509.ParseCertificate(raw)
	}
	if err != nil {
		panic(err) // of a template that never changes
	}
	return a
}

// Root is the root as PEM.
func (a *Authority) Root() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw}))
}

// Signed is how many certificates it has signed.
func (a *Authority) Signed() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signed
}

// Certificate is one of the authority's, altered.
func (a *Authority) Certificate(change func(*x509.Certificate)) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	if err != nil {
		return nil, err
	}
	before := a.Change
	a.Change = change
	chain, _, err := a.Sign(context.Background(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	a.Change = before
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(chain)
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}, nil
}

// Sign is security.Signer's.
func (a *Authority) Sign(ctx context.Context, request []byte) (chain, anchors []byte, err error) {
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Fail != nil {
		if err := a.Fail(); err != nil {
			return nil, nil, err
		}
	}
	block, _ := pem.Decode(request)
	if block == nil {
		return nil, nil, errors.New("the request is not PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, nil, err
	}
	id, err := url.Parse(a.ID)
	if err != nil {
		return nil, nil, err
	}
	ttl := a.TTL
	if ttl == 0 {
		ttl = time.Hour
	}
	a.signed++
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(a.signed) + 1), URIs: []*url.URL{id}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   a.Now().Add(-15 * time.Minute), NotAfter: a.Now().Add(ttl)}
	if a.Change != nil {
		a.Change(template)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.root, csr.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), []byte(a.Named), nil
}
