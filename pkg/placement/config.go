package placement

import (
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/process"
)

// Further defaults of the flags, those of Dapr 1.18.
const (
	DefaultPort           = 50005
	DefaultID             = "dapr-placement-0"
	DefaultInitialCluster = "dapr-placement-0=127.0.0.1:8201"
	DefaultTrustDomain    = "localhost"
	DefaultNamespace      = "default"
)

// The bounds of the keep-alive's times.
const (
	leastKeepalive = time.Second
	mostKeepalive  = 10 * time.Second
)

// Config is what users write. Port 0 has the system choose one.
type Config struct {
	// ID names the server among those of the cluster.
	ID            string
	ListenAddress string
	Port          int
	process.Observed
	Settings
	// Metadata serves GET /placement/state on the health port.
	Metadata bool

	// TLS has sidecars show certificates, and the server show sentry's.
	TLS                    bool
	SentryAddress          string
	TrustDomain, Namespace string
	AnchorsFile, TokenFile string
	Kubernetes             bool
}

func (c *Config) validate() error {
	switch {
	case c.DisseminateTimeout < time.Second:
		return fmt.Errorf("invalid value for --disseminate-timeout: %s (it takes 1s and more)", c.DisseminateTimeout)
	case c.CoalesceWindow < 0:
		return fmt.Errorf("invalid value for --disseminate-coalesce-window: %s (it takes 0 and more)", c.CoalesceWindow)
	case c.KeepaliveTime < leastKeepalive || c.KeepaliveTime > mostKeepalive:
		return fmt.Errorf("invalid value for --keepalive-time: %s (it takes %s to %s)", c.KeepaliveTime, leastKeepalive, mostKeepalive)
	case c.KeepaliveTimeout < leastKeepalive || c.KeepaliveTimeout > mostKeepalive:
		return fmt.Errorf("invalid value for --keepalive-timeout: %s (it takes %s to %s)", c.KeepaliveTimeout, leastKeepalive, mostKeepalive)
	case c.ReplicationFactor < 1:
		return fmt.Errorf("invalid value for --replicationFactor: %d (it takes 1 and more)", c.ReplicationFactor)
	case c.TLS && c.AnchorsFile == "":
		return errors.New("--tls-enabled needs --trust-anchors-file: the roots that are trusted")
	case c.TLS && c.SentryAddress == "":
		return errors.New("--tls-enabled needs --sentry-address: host and port of the certificate authority")
	}
	return nil
}
