package sentry

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// longestID is the most bytes of an app ID, as in Dapr.
const longestID = 64

// check is what every validator wants of a request. The texts are Dapr's.
func check(r *sentryv1.SignCertificateRequest) error {
	switch {
	case r.GetId() == "":
		return errors.New("invalid request: parameter app-id cannot be empty")
	case strings.Contains(r.GetId(), "."):
		return fmt.Errorf("invalid request: parameter app-id cannot contain dots: %s", r.GetId())
	case len(r.GetId()) > longestID:
		return errors.New("invalid request: app ID must be 64 characters or less")
	case len(r.GetCertificateSigningRequest()) == 0:
		return errors.New("invalid request: CSR is required")
	case r.GetNamespace() == "":
		return errors.New("invalid request: namespace is required")
	}
	return checkAudiences(r.GetJwtAudiences())
}

// requestedDomain is the trust domain that a request asks for.
func requestedDomain(r *sentryv1.SignCertificateRequest) (spiffeid.TrustDomain, error) {
	return trustDomain(r.GetTrustDomain())
}

// trustDomain reads the name of a trust domain; "" is the public one.
func trustDomain(name string) (spiffeid.TrustDomain, error) {
	if name == "" {
		name = publicDomain
	}
	domain, err := parseDomain(name)
	if err != nil {
		return domain, fmt.Errorf("trust domain %q: %w", name, err)
	}
	return domain, nil
}

// parseDomain wants a trust domain in the form of a DNS name: readers refuse a certificate with another one.
func parseDomain(name string) (spiffeid.TrustDomain, error) {
	domain, err := spiffeid.TrustDomainFromString(name)
	if err == nil && !validName(domain.Name()) {
		err = errors.New("it has not the form of a DNS name")
	}
	return domain, err
}

var (
	errNoCSR        = errors.New("invalid certificate signing request")
	errCSRSignature = errors.New("invalid signature")
)

// publicKey is that of a certificate signing request in PEM, of which nothing else is used. Whoever asks must have
// the private key: the request is signed with it.
func publicKey(csr []byte) (any, error) {
	block, _ := pem.Decode(csr)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "CERTIFICATE" { // the latter is Dapr 1.7's
		return nil, errNoCSR
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, errNoCSR
	}
	if request.CheckSignature() != nil {
		return nil, errCSRSignature
	}
	return request.PublicKey, nil
}
