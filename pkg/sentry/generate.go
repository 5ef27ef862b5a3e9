package sentry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// leastLifetime is how long a root and its issuer are valid at least, as in Dapr.
const leastLifetime = 365 * 24 * time.Hour

// lifetime is longer where workload certificates live so long that a rotation would not fit in.
func (s settings) lifetime() time.Duration { return max(leastLifetime, 4*s.overlap()) }

// generate makes a root, and an issuer under it that begins to sign at due. The root's key is forgotten: nobody can
// make another issuer under it.
func generate(own identity, s settings, now, due time.Time) (*issuer, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the root key: %w", err)
	}
	end := due.Add(s.lifetime())
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{own.id.TrustDomain().Name()}},
		NotBefore:             now.Add(-s.skew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	root, err := create(template, template, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("make the root certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the issuer key: %w", err)
	}
	certificate, err := create(&x509.Certificate{
		Subject:               pkix.Name{Organization: []string{own.id.String()}},
		NotBefore:             due.Add(-s.skew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}, root, key.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("make the issuer certificate: %w", err)
	}
	return &issuer{chain: []*x509.Certificate{certificate}, key: key, root: root}, nil
}

func create(template, parent *x509.Certificate, public, signer any) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// selfMade says whether a root is one that this authority, or that of Dapr 1.18 or 1.7, made for itself: such a root
// may be replaced by another, one that was brought may not. They are known by their subjects.
func selfMade(root *x509.Certificate, domain spiffeid.TrustDomain) bool {
	if !slices.Equal(root.Subject.Organization, []string{domain.Name()}) || root.Subject.CommonName != "" {
		return slices.Equal(root.Subject.Organization, []string{"dapr.io/sentry"}) && root.Subject.CommonName == clusterDomain
	}
	return true
}
