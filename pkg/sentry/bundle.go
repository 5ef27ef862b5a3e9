package sentry

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// texts are a bundle as it is stored: the texts of its files, "" where there is none.
type texts struct {
	anchors, chain, key string
	// nextChain and nextKey are the issuer that takes over; its root stands among the anchors already.
	nextChain, nextKey string
	// tokenKey signs JWT-SVIDs, tokenSet tells others of it (JSON Web Key Set), nextTokenKey takes over.
	tokenKey, tokenSet, nextTokenKey string
}

// bundle is what the authority signs with, and what it has others trust.
type bundle struct {
	anchors []*x509.Certificate
	issuer  *issuer
	// next is nil unless a rotation is under way.
	next *issuer
	// tokens is nil unless JWT-SVIDs are made.
	tokens *tokenKeys
}

// issuer is a key that signs, and the way from it to an anchor.
type issuer struct {
	// chain begins with the key's certificate and ends before the root.
	chain []*x509.Certificate
	key   crypto.Signer
	root  *x509.Certificate
}

// expires is when the first certificate on the way to the root, or the root, is over.
func (i *issuer) expires() time.Time {
	end := i.root.NotAfter
	for _, c := range i.chain {
		end = earlier(end, c.NotAfter)
	}
	return end
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

var errIncomplete = errors.New("the trust bundle is not complete")

// complete wants all of the three texts: what is left of a bundle is nothing to overwrite.
func (c texts) complete() error {
	for _, part := range []struct{ name, text string }{
		{"file of trust anchors", c.anchors}, {"issuer certificate", c.chain}, {"issuer key", c.key},
	} {
		if part.text == "" {
			return fmt.Errorf("%w: the %s is missing: restore it, or remove the rest to have a new authority made", errIncomplete, part.name)
		}
	}
	return nil
}

// parse reads a bundle and checks all but the time: anchors are self-signed, the key is that of the certificate, the
// chain ends at an anchor. A next issuer that is of no use is passed over.
func parse(c texts) (*bundle, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	anchors, err := parseAnchors(c.anchors)
	if err != nil {
		return nil, err
	}
	b := &bundle{anchors: anchors}
	if c.nextChain != "" {
		b.next, _ = parseIssuer(c.nextChain, c.nextKey, anchors)
	}
	if b.issuer, err = parseIssuer(c.chain, c.key, anchors); err == nil {
		return b, nil
	}
	if b.next != nil && (c.chain == c.nextChain || c.key == c.nextKey) {
		// The next issuer was being put in place, and the store holds one half of it.
		b.issuer, b.next = b.next, nil
		return b, nil
	}
	return nil, err
}

func parseAnchors(text string) ([]*x509.Certificate, error) {
	anchors, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("trust anchors: %w", err)
	}
	for _, c := range anchors {
		if !selfSigned(c) {
			return nil, fmt.Errorf("trust anchors: the certificate of %q is not self-signed", c.Subject)
		}
	}
	return anchors, nil
}

func parseCertificates(text string) (certificates []*x509.Certificate, err error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block of type %q stands among the certificates", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, c)
	}
	if len(certificates) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return certificates, nil
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func parseIssuer(chain, key string, anchors []*x509.Certificate) (*issuer, error) {
	certificates, err := parseCertificates(chain)
	if err != nil {
		return nil, fmt.Errorf("issuer certificate: %w", err)
	}
	if last := len(certificates) - 1; last > 0 && selfSigned(certificates[last]) {
		certificates = certificates[:last]
	}
	signer, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("issuer key: %w", err)
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(certificates[0].PublicKey) {
		return nil, errors.New("issuer key: it is not the key of the issuer certificate")
	}
	i := &issuer{chain: certificates, key: signer}
	return i, i.findRoot(anchors)
}

// findRoot takes the anchor that lasts longest. It looks at a time at which all of the way was valid: whether it
// still is, others ask.
func (i *issuer) findRoot(anchors []*x509.Certificate) error {
	first := i.chain[0]
	if !first.IsCA || first.KeyUsage != 0 && first.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("issuer certificate: that of %q may not sign others: it must be a CA with the usage keyCertSign", first.Subject)
	}
	intermediates := x509.NewCertPool()
	for _, c := range i.chain[1:] {
		intermediates.AddCert(c)
	}
	var failure error
	for _, anchor := range anchors {
		roots := x509.NewCertPool()
		roots.AddCert(anchor)
		began := anchor.NotBefore
		for _, c := range i.chain {
			began = later(began, c.NotBefore)
		}
		_, err := first.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: began,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			failure = err
		} else if i.root == nil || anchor.NotAfter.After(i.root.NotAfter) {
			i.root = anchor
		}
	}
	if i.root == nil {
		return fmt.Errorf("issuer certificate: it does not lead to a trust anchor: %w", failure)
	}
	return nil
}

// parseKey reads a key of ECDSA, Ed25519 or RSA: PKCS#8 or the older forms.
func parseKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block != nil && block.Type == "EC PARAMETERS" { // what openssl writes before the key
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	var (
		key any
		err error
	)
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block of type %q is no private key in clear text", block.Type)
	}
	if err != nil {
		return nil, errors.New("it cannot be read as " + block.Type) // an error's text could quote the key
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("a %T cannot sign certificates: want ECDSA, Ed25519 or RSA", key)
}

// encode is the bundle as it is stored.
func (b *bundle) encode() (c texts, err error) {
	c.anchors, c.chain = encodeCertificates(b.anchors), encodeCertificates(b.issuer.chain)
	if err := b.tokens.encode(&c); err != nil {
		return c, err
	}
	if c.key, err = encodeKey(b.issuer.key); err != nil || b.next == nil {
		return c, err
	}
	c.nextChain = encodeCertificates(b.next.chain)
	c.nextKey, err = encodeKey(b.next.key)
	return c, err
}

func encodeCertificates(certificates []*x509.Certificate) string {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(text)
}

func encodeKey(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode a private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
