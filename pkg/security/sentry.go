package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	sentryv1 "github.com/daprd/daprd/pkg/proto/sentry/v1"
)

// SentrySettings say who this sidecar is to the certificate authority.
type SentrySettings struct {
	// Address is that of sentry, host:port.
	Address string
	// AppID and Namespace are what a certificate is asked for.
	AppID, Namespace string
	// TrustDomain is what a certificate is asked for, "" for what sentry gives.
	TrustDomain string
	// Name is what Dapr 1.7 sends in place of the app id (SENTRY_LOCAL_IDENTITY), "" for the app id.
	Name string
	// ControlPlaneNamespace and ControlPlaneTrustDomain make the identity that sentry has to have.
	ControlPlaneNamespace, ControlPlaneTrustDomain string
	// TokenFile holds the token that says who asks (DAPR_SENTRY_TOKEN_FILE); "" looks at the places of a pod.
	TokenFile string
	// Kubernetes says that tokens are those of pods.
	Kubernetes bool
	// Chain and Key are the PEM pair that a sentry of Dapr 1.7 wants to see, nil for none.
	Chain, Key []byte
}

// Sentry asks the certificate authority for certificates.
type Sentry struct {
	settings SentrySettings
	anchors  *Anchors
	pair     *tls.Certificate
	now      func() time.Time
}

// NewSentry dials nothing. The error is that of settings which cannot be used.
func NewSentry(settings SentrySettings, anchors *Anchors) (*Sentry, error) {
	s := &Sentry{settings: settings, anchors: anchors, now: time.Now}
	if settings.Address == "" {
		return nil, fmt.Errorf("sentryAddress cannot be empty: mutual TLS needs --sentry-address, host and port of the certificate authority")
	}
	if len(settings.Chain) > 0 {
		pair, err := tls.X509KeyPair(settings.Chain, settings.Key)
		if err != nil {
			return nil, fmt.Errorf("DAPR_CERT_CHAIN and DAPR_CERT_KEY: %w", err)
		}
		s.pair = &pair
	}
	return s, nil
}

// identity is who sentry has to be.
func (s *Sentry) identity() Peer {
	return Peer{TrustDomain: s.settings.ControlPlaneTrustDomain, Namespace: s.settings.ControlPlaneNamespace, AppID: "dapr-sentry"}
}

// Sign is Signer's.
func (s *Sentry) Sign(ctx context.Context, request []byte) (chain, anchors []byte, err error) {
	token, validator, err := s.token()
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+s.settings.Address, grpc.WithTransportCredentials(credentials.NewTLS(s.transport())),
		grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, nil, fmt.Errorf("sentry at %s: %w", s.settings.Address, err)
	}
	defer conn.Close()
	name := s.settings.Name
	if name == "" {
		name = s.settings.AppID
	}
	answer, err := sentryv1.NewCAClient(conn).SignCertificate(ctx, &sentryv1.SignCertificateRequest{
		Id: name, Token: token, TokenValidator: validator, Namespace: s.settings.Namespace, TrustDomain: s.settings.TrustDomain,
		CertificateSigningRequest: request,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("error from sentry SignCertificate: %w", err)
	}
	return answer.GetWorkloadCertificate(), bytes.Join(answer.GetTrustChainCertificates(), []byte("\n")), nil
}

// transport is the TLS towards sentry: it shows who it is, and is not told who we are, but for one of Dapr 1.7.
func (s *Sentry) transport() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, InsecureSkipVerify: true, VerifyConnection: s.verify}
	if s.pair != nil {
		c.Certificates = []tls.Certificate{*s.pair}
	}
	return c
}

// legacyName is what certificates of Dapr 1.7's control plane are for.
const legacyName = "cluster.local"

func (s *Sentry) verify(state tls.ConnectionState) error {
	leaf, err := verified(state, s.anchors.Roots(), s.now(), x509.ExtKeyUsageServerAuth)
	if err == nil && s.pair != nil && leaf.VerifyHostname(legacyName) == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the certificate of sentry at %s: %w", s.settings.Address, err)
	}
	if s.identity().check(leaf) == nil {
		return nil
	}
	return fmt.Errorf("the certificate of sentry at %s is that of %s, not of %s; --control-plane-trust-domain and --control-plane-namespace name another one",
		s.settings.Address, names(leaf), s.identity())
}

// The places of a pod's token, the newer one first.
var tokenFiles = [...]string{"/var/run/secrets/dapr.io/sentrytoken/token", "/var/run/secrets/kubernetes.io/serviceaccount/token"}

// token is what says who asks, and how that is to be checked.
func (s *Sentry) token() (string, sentryv1.SignCertificateRequest_TokenValidator, error) {
	validator := sentryv1.SignCertificateRequest_UNKNOWN
	if s.settings.Kubernetes {
		validator = sentryv1.SignCertificateRequest_KUBERNETES
	}
	if file := s.settings.TokenFile; file != "" {
		if !s.settings.Kubernetes {
			validator = sentryv1.SignCertificateRequest_JWKS
		}
		text, err := os.ReadFile(file)
		if err == nil && len(strings.TrimSpace(string(text))) == 0 {
			err = fmt.Errorf("%s is empty", file)
		}
		if err != nil {
			return "", 0, fmt.Errorf("the token for sentry (DAPR_SENTRY_TOKEN_FILE): %w", err)
		}
		return strings.TrimSpace(string(text)), validator, nil
	}
	if !s.settings.Kubernetes {
		return "", validator, nil
	}
	var missing error
	for _, file := range tokenFiles {
		text, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(text)), validator, nil
		}
		if missing == nil {
			missing = err
		}
	}
	return "", 0, fmt.Errorf("the token of the pod for sentry: %w", missing)
}
