package sentry

import (
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/process"
)

// Defaults of the flags, those of Dapr 1.18.
const (
	DefaultPort            = 50001
	DefaultTrustDomain     = "localhost"
	DefaultNamespace       = "default"
	DefaultCredentials     = "/var/run/dapr/credentials"
	DefaultConfiguration   = "daprsystem"
	DefaultAnchorsFile     = "ca.crt"
	DefaultCertificateFile = "issuer.crt"
	DefaultKeyFile         = "issuer.key"
	DefaultTokenKeyFile    = "jwt.key"
	DefaultTokenSetFile    = "jwks.json"
	DefaultTokenAlgorithm  = "RS256"
	DefaultTokenTTL        = 24 * time.Hour
	DefaultOIDCPort        = 9080
	defaultTTL             = 24 * time.Hour
	defaultSkew            = 15 * time.Minute
)

// Mode says where the authority runs.
type Mode string

// The modes.
const (
	Standalone Mode = "standalone"
	Kubernetes Mode = "kubernetes"
)

// Config is what users write. Port 0 has the system choose one.
type Config struct {
	Mode Mode
	// TrustDomain and Namespace are those of the control plane: they make sentry's own id.
	TrustDomain, Namespace string

	ListenAddress string
	Port          int

	process.Observed

	// Credentials is the folder of the three files; in Kubernetes their names are keys of the Secret.
	Credentials                           string
	AnchorsFile, CertificateFile, KeyFile string

	// Configuration is the file, in Kubernetes the name, of the Configuration; "" for the defaults of all it says.
	Configuration string

	// Kubeconfig is the file that tells of the API server, where the process does not run in its cluster.
	Kubeconfig string

	JWT  JWT
	OIDC OIDC
}

// JWT says whether and how JWT-SVIDs are made beside certificates.
type JWT struct {
	Enabled bool
	// KeyFile and SetFile are names like those of the certificates' files.
	KeyFile, SetFile string
	// Issuer is the claim iss, "" for none.
	Issuer string
	// Algorithm is one of RSA, ECDSA or Ed25519 as JWTs name them.
	Algorithm string
	// KeyID is the name of the key, "" for its thumbprint. A key with a name of its own is never replaced.
	KeyID string
	// TTL is how long a token is valid.
	TTL time.Duration
}

// validate checks what can be checked without looking.
func (j *JWT) validate() error {
	if !j.Enabled {
		return nil
	}
	if j.KeyFile == "" || j.SetFile == "" {
		return errors.New("invalid value for --jwt-key-filename or --jwks-filename: it must not be empty")
	}
	if j.TTL < time.Second {
		return fmt.Errorf("invalid value for --jwt-ttl: %s: want at least 1s", j.TTL)
	}
	_, err := newTokenPlan(j)
	return err
}

// OIDC says whether and where others learn of the keys of tokens: discovery as in OpenID Connect, and the key set.
type OIDC struct {
	Enabled       bool
	ListenAddress string
	Port          int
	// TLS is served with the files, or, where both are "", with sentry's own certificate.
	TLS                      bool
	CertificateFile, KeyFile string
	// SetURL is where the discovery says that the key set is, "" for this server as the request names it.
	SetURL string
	// PathPrefix stands before both paths.
	PathPrefix string
	// AllowedHosts are the names that a request may give this server; none allows all.
	AllowedHosts []string
}

// validate checks what can be checked without looking.
func (o *OIDC) validate(tokens bool) error {
	switch {
	case !o.Enabled:
		return nil
	case !tokens:
		return errors.New("--oidc-enabled tells of the keys of JWTs: it needs --jwt-enabled")
	case (o.CertificateFile == "") != (o.KeyFile == ""):
		return errors.New("--oidc-server-tls-cert-file and --oidc-server-tls-key-file go together")
	}
	return nil
}

// validate checks what can be checked without looking.
func (c *Config) validate() error {
	if c.Mode != Standalone && c.Mode != Kubernetes {
		return fmt.Errorf("invalid mode: %s (it takes %s, %s)", c.Mode, Standalone, Kubernetes)
	}
	if _, err := parseDomain(c.TrustDomain); err != nil {
		return fmt.Errorf("invalid value for --trust-domain: %q: %w", c.TrustDomain, err)
	}
	for flag, value := range map[string]string{"issuer-credentials": c.Credentials, "issuer-ca-filename": c.AnchorsFile,
		"issuer-certificate-filename": c.CertificateFile, "issuer-key-filename": c.KeyFile} {
		if value == "" {
			return fmt.Errorf("invalid value for --%s: it must not be empty", flag)
		}
	}
	return errors.Join(c.JWT.validate(), c.OIDC.validate(c.JWT.Enabled))
}

// settings are what the Configuration says of certificates.
type settings struct {
	// ttl is how long workload certificates are valid, skew by how much clocks may differ.
	ttl, skew time.Duration
	// tokenTTL is how long tokens are valid, 0 where there are none; tokenIssuer is who they say has made them.
	tokenTTL    time.Duration
	tokenIssuer string
}

// overlap is how long a certificate or a token may still be in use after it was signed.
func (s settings) overlap() time.Duration { return max(s.ttl, s.tokenTTL) + s.skew }

func newSettings(spec *config.MTLSSpec, tokens *JWT) (settings, error) {
	s := settings{ttl: defaultTTL, skew: defaultSkew}
	if tokens.Enabled {
		s.tokenTTL, s.tokenIssuer = tokens.TTL, tokens.Issuer
	}
	var errs []error
	for _, field := range []struct {
		name, text string
		into       *time.Duration
		least      time.Duration
	}{
		{"workloadCertTTL", spec.WorkloadCertTTL, &s.ttl, time.Second},
		{"allowedClockSkew", spec.AllowedClockSkew, &s.skew, 0},
	} {
		if field.text == "" {
			continue
		}
		d, err := time.ParseDuration(field.text)
		if err == nil && d < field.least {
			err = fmt.Errorf("want at least %s", field.least)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("configuration's spec.mtls.%s: %q: %w", field.name, field.text, err))
			continue
		}
		*field.into = d
	}
	return s, errors.Join(errs...)
}
