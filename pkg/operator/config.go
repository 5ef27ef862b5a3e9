package operator

import (
	"errors"
	"fmt"
	"time"

	"github.com/daprd/daprd/pkg/process"
)

// Defaults of the flags, those of Dapr 1.18.
const (
	DefaultPort          = 6500
	DefaultWebhookPort   = 19443
	DefaultConfiguration = "daprsystem"
	DefaultAnchorsFile   = "/var/run/secrets/dapr.io/tls/ca.crt"
	DefaultMaxRestarts   = 20
	// defaultTrustDomain is the control plane's where the Configuration names none.
	defaultTrustDomain = "cluster.local"
)

// Config is what users write. Port 0 has the system choose one.
type Config struct {
	// Namespace is the control plane's own.
	Namespace string
	// Configuration is the name of the control plane's Configuration.
	Configuration string
	// WatchNamespace is the only namespace that is served, "" for all.
	WatchNamespace string

	ListenAddress string
	Port          int

	WebhookListenAddress string
	WebhookPort          int

	process.Observed

	// SentryAddress is that of the certificate authority, "" for what the Configuration says, or else for its service in
	// the control plane's namespace.
	SentryAddress string
	// AnchorsFile holds the roots that are trusted; TokenFile the token for sentry, "" for the places of a pod.
	AnchorsFile, TokenFile string
	// Kubeconfig is the file that tells of the API server, where the process does not run in its cluster.
	Kubeconfig string

	// Alone says that no other replica has to be asked who leads.
	Alone bool
	// WithoutServices leaves out the services of the workloads; Rollouts has Argo's Rollouts get them too.
	WithoutServices, Rollouts bool

	// Watchdog says whether pods that missed their sidecar are restarted.
	Watchdog WatchInterval
	// MaxRestarts is how many pods the watchdog restarts in a minute.
	MaxRestarts int
	// PatchPods has it label the pods that it has looked at.
	PatchPods bool
}

func (c *Config) validate() error {
	switch {
	case c.Namespace == "":
		return errors.New("environment variable NAMESPACE is needed: the namespace of the control plane")
	case c.AnchorsFile == "":
		return errors.New("--trust-anchors-file must not be empty: the file with the roots that are trusted")
	case c.Watchdog != 0 && c.MaxRestarts < 1:
		return fmt.Errorf("invalid value for --max-pod-restarts-per-minute: %d; want 1 or more", c.MaxRestarts)
	}
	return nil
}

// WatchInterval is how often the watchdog looks: 0 never, Once at the start alone.
type WatchInterval time.Duration

// Once has the watchdog look one time.
const Once WatchInterval = -1

// Set reads a flag: "once", or a duration as Go writes it.
func (w *WatchInterval) Set(text string) error {
	if text == "once" {
		*w = Once
		return nil
	}
	if text == "0" || text == "" {
		*w = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("want 0 for never, once, or a duration like 1m")
	}
	*w = WatchInterval(d)
	return nil
}

// String is what Set reads.
func (w *WatchInterval) String() string {
	switch *w {
	case Once:
		return "once"
	case 0:
		return "0"
	}
	return time.Duration(*w).String()
}

// Type is how the usage text calls the value.
func (w *WatchInterval) Type() string { return "interval" }
