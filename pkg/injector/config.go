package injector

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/daprd/daprd/pkg/process"
)

// Defaults of the flags and variables, those of Dapr 1.18.
const (
	DefaultPort          = 4000
	DefaultTrustDomain   = "localhost"
	DefaultClusterDomain = "cluster.local"
	DefaultPullPolicy    = "IfNotPresent"
	DefaultAnchorsFile   = "/var/run/secrets/dapr.io/tls/ca.crt"
)

// Config is what users write. Port 0 has the system choose one.
type Config struct {
	ListenAddress string
	Port          int
	process.Observed

	Mesh Mesh

	// SentryAddress is that of the certificate authority, "" for its service in the control plane's namespace.
	SentryAddress string
	// AnchorsFile holds the roots that are trusted; TokenFile the token for sentry, "" for the places of a pod.
	AnchorsFile, TokenFile string
	// Kubeconfig is the file that tells of the API server, where the process does not run in its cluster.
	Kubeconfig string

	// AllowedAccounts and AllowedAccountPrefixes are further service accounts whose pods get sidecars.
	AllowedAccounts, AllowedAccountPrefixes string
}

func (c *Config) validate() error {
	if err := c.Mesh.validate(); err != nil {
		return err
	}
	if c.AnchorsFile == "" {
		return errors.New("environment variable DAPR_TRUST_ANCHORS_FILE must not be empty: the file with the roots that are trusted")
	}
	return nil
}

func (c *Config) sentryAddress() string {
	if c.SentryAddress != "" {
		return c.SentryAddress
	}
	return fmt.Sprintf("dapr-sentry.%s.svc:443", c.Mesh.Namespace)
}

// ClusterDomainOf finds the domain of a cluster in what a pod has as /etc/resolv.conf: the kubelet writes svc.<domain>
// among the domains that are searched. It is "" where there is none.
func ClusterDomainOf(resolv io.Reader) string {
	lines := bufio.NewScanner(io.LimitReader(resolv, 64<<10))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] != "search" {
			continue
		}
		for _, word := range words[1:] {
			if domain, found := strings.CutPrefix(strings.TrimSuffix(word, "."), "svc."); found && domain != "" {
				return domain
			}
		}
	}
	return ""
}
