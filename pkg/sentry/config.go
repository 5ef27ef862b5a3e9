package sentry

import (
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// Defaults of the flags, those of Dapr 1.18.
const (
	DefaultPort            = 50001
	DefaultHealthPort      = 8080
	DefaultMetricsPort     = 9090
	DefaultTrustDomain     = "localhost"
	DefaultNamespace       = "default"
	DefaultCredentials     = "/var/run/dapr/credentials"
	DefaultConfiguration   = "daprsystem"
	DefaultAnchorsFile     = "ca.crt"
	DefaultCertificateFile = "issuer.crt"
	DefaultKeyFile         = "issuer.key"
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

	HealthListenAddress string
	HealthPort          int

	EnableMetrics        bool
	MetricsListenAddress string
	MetricsPort          int

	// Credentials is the folder of the three files; in Kubernetes their names are keys of the Secret.
	Credentials                           string
	AnchorsFile, CertificateFile, KeyFile string

	// Configuration is the file, in Kubernetes the name, of the Configuration; "" for the defaults of all it says.
	Configuration string

	// Kubeconfig is the file that tells of the API server, where the process does not run in its cluster.
	Kubeconfig string

	LogLevel string
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
	return nil
}

// settings are what the Configuration says of certificates.
type settings struct {
	// ttl is how long workload certificates are valid, skew by how much clocks may differ.
	ttl, skew time.Duration
}

// overlap is how long a certificate may still be in use after it was signed.
func (s settings) overlap() time.Duration { return s.ttl + s.skew }

func newSettings(spec *config.MTLSSpec) (settings, error) {
	s := settings{ttl: defaultTTL, skew: defaultSkew}
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
