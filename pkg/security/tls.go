package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// verified checks the chain that a peer has shown against roots, and gives its leaf.
func verified(state tls.ConnectionState, roots *x509.CertPool, now time.Time, usage x509.ExtKeyUsage) (*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("none was shown")
	}
	leaf, between := state.PeerCertificates[0], x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if leaf.IsCA {
		return nil, fmt.Errorf("%s is a certificate authority's, which no peer may show as its own", names(leaf))
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", names(leaf), explained(err, leaf, now))
	}
	return leaf, nil
}

// explained says of a certificate outside its time by how much, since that tells skewed clocks from lost renewals.
func explained(err error, leaf *x509.Certificate, now time.Time) error {
	var invalid x509.CertificateInvalidError
	switch {
	case !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil:
	case now.After(invalid.Cert.NotAfter):
		return fmt.Errorf("expired %s ago, on %s: it was not renewed, or the clocks differ (%w)", now.Sub(invalid.Cert.NotAfter).Round(time.Second),
			stamp(invalid.Cert.NotAfter), err)
	case now.Before(invalid.Cert.NotBefore):
		return fmt.Errorf("valid only in %s, from %s on: the clocks differ (%w)", invalid.Cert.NotBefore.Sub(now).Round(time.Second),
			stamp(invalid.Cert.NotBefore), err)
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("none of the trust anchors vouches for its issuer %q (%w)", leaf.Issuer, err)
	}
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// names is how a certificate is called in errors.
func names(leaf *x509.Certificate) string {
	var all []string
	for _, uri := range leaf.URIs {
		all = append(all, uri.String())
	}
	all = append(all, leaf.DNSNames...)
	if len(all) == 0 {
		return fmt.Sprintf("a certificate of %q", leaf.Subject)
	}
	return strings.Join(all, ", ")
}

func shownBy(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return ""
	}
	return names(state.PeerCertificates[0])
}

// ServerConfig is the TLS of a server for other sidecars: they have to show a certificate that a trust anchor vouches
// for, with one SPIFFE id. Who may do what is for the access policy.
func (i *Identity) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() },
		ClientAuth:     tls.RequireAnyClientCert, // what is shown is verified below, against anchors that change
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf, err := verified(state, i.anchors.Roots(), i.now(), x509.ExtKeyUsageClientAuth)
			if err == nil {
				_, _, err = named(leaf)
			}
			if err != nil {
				i.refused(shownBy(state), err)
				return fmt.Errorf("the certificate of the caller: %w", err)
			}
			return nil
		},
	}
}

// ServerConfigFor is the TLS of a server for one peer alone.
func (i *Identity) ServerConfigFor(who Peer) *tls.Config {
	c := i.ServerConfig()
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		if err := who.check(state.PeerCertificates[0]); err != nil {
			return fmt.Errorf("the certificate of the caller has to be that of %s: %w", who, err)
		}
		return nil
	}
	return c
}

// WebhookConfig is the TLS of a server for the API server of Kubernetes, which shows no certificate. It knows ours by the
// name of the service, which sentry puts into the certificates of the control plane.
func (i *Identity) WebhookConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() },
	}
}

// ClientConfig is the TLS towards a peer that has to be who: its certificate has to have the id. The trust domain is
// checked where one is given, as for the control plane; sidecars of one mesh may have several, under the same anchors.
func (i *Identity) ClientConfig(who Peer) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		InsecureSkipVerify:   true, // names say nothing here: the id is verified below
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() },
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf, err := verified(state, i.anchors.Roots(), i.now(), x509.ExtKeyUsageServerAuth)
			if err != nil {
				return fmt.Errorf("the certificate of the sidecar of %s: %w", who, err)
			}
			if err := who.check(leaf); err != nil {
				return fmt.Errorf("the certificate shown is not that of %s: %w", who, err)
			}
			return nil
		},
	}
}
