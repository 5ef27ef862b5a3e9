package sentry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func inPEM(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// authorityOf is a root and, under it, an issuer with the key.
func authorityOf(t testing.TB, key crypto.Signer) (root, issuer *x509.Certificate) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: began, NotAfter: began.Add(1000 * time.Hour),
			KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true}
	}
	root, err = create(template("root"), template("root"), rootKey.Public(), rootKey)
	must(t, err)
	issuer, err = create(template("issuer"), root, key.Public(), rootKey)
	must(t, err)
	return root, issuer
}

// TestKeys: keys of each kind and form sign certificates that lead to the root.
func TestKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	pkcs8 := func(key crypto.Signer) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return inPEM(t, "PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	for name, test := range map[string]struct {
		key  crypto.Signer
		text string
	}{
		"ECDSA":            {ec, pkcs8(ec)},
		"ECDSA, SEC 1":     {ec, inPEM(t, "EC PRIVATE KEY", sec1, err)},
		"ECDSA by openssl": {ec, "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n" + inPEM(t, "EC PRIVATE KEY", sec1, err)},
		"Ed25519":          {ed, pkcs8(ed)},
		"RSA":              {rs, pkcs8(rs)},
		"RSA, PKCS#1":      {rs, inPEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs), nil)},
	} {
		t.Run(name, func(t *testing.T) {
			root, issuing := authorityOf(t, test.key)
			// A comment before the anchor, and the root behind the issuer, are allowed.
			given := texts{anchors: "a comment\n" + encodeCertificates([]*x509.Certificate{root}),
				chain: encodeCertificates([]*x509.Certificate{issuing, root}), key: test.text}
			c := newClock(began)
			a, _ := start(t, &memory{given}, c)
			a.mustRefresh(t)
			made, err := a.sign(named(t, "app"), ec.Public())
			must(t, err)
			if len(made.chain) != 2 || !made.chain[1].Equal(issuing) {
				t.Errorf("the chain has %d certificates", len(made.chain))
			}
			if strings.Contains(string(made.trust), "comment") {
				t.Error("clients are told the comment")
			}
			if err := made.leaf.CheckSignatureFrom(issuing); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnusableBundles(t *testing.T) {
	m := new(memory)
	a, _ := start(t, m, newClock(began))
	a.mustRefresh(t)
	good := m.held
	other := new(memory)
	b, _ := start(t, other, newClock(began))
	b.mustRefresh(t)
	leaf, err := a.sign(named(t, "app"), a.held.Load().issuer.key.Public())
	must(t, err)
	tests := map[string]struct {
		change func(*texts)
		want   string
	}{
		"no anchors":         {func(c *texts) { c.anchors = "" }, "the file of trust anchors is missing: restore it"},
		"no certificate":     {func(c *texts) { c.anchors = "x" }, "trust anchors: there is no certificate in PEM"},
		"a key among them":   {func(c *texts) { c.anchors += c.key }, `trust anchors: a PEM block of type "PRIVATE KEY" stands among the certificates`},
		"anchor of others":   {func(c *texts) { c.anchors = c.chain }, "is not self-signed"},
		"another root":       {func(c *texts) { c.anchors = other.held.anchors }, "issuer certificate: it does not lead to a trust anchor"},
		"another key":        {func(c *texts) { c.key = other.held.key }, "issuer key: it is not the key of the issuer certificate"},
		"a certificate":      {func(c *texts) { c.key = c.chain }, `issuer key: a PEM block of type "CERTIFICATE" is no private key in clear text`},
		"no key":             {func(c *texts) { c.key = "secret" }, "issuer key: it is no PEM"},
		"a broken key":       {func(c *texts) { c.key = inPEM(t, "PRIVATE KEY", []byte("secret"), nil) }, "issuer key: it cannot be read as PRIVATE KEY"},
		"a leaf that issues": {func(c *texts) { c.chain = encodeCertificates(leaf.chain) }, "may not sign others"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := good
			test.change(&c)
			_, err := parse(c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the error quotes the key")
			}
		})
	}
}
