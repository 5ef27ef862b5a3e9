package runtime

import (
	"fmt"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/security"
)

// Mode is where the sidecar runs.
type Mode string

// The modes of --mode.
const (
	Standalone Mode = "standalone"
	Kubernetes Mode = "kubernetes"
)

// Defaults of the flags. Ports and limits are those of every Dapr so far; the two addresses came with 1.18,
// the calls to an application went to 127.0.0.1 before too.
const (
	DefaultHTTPPort             = 3500
	DefaultGRPCPort             = 50001
	DefaultMetricsPort          = 9090
	DefaultProfilePort          = 7777
	DefaultMaxBodySize          = 4 << 20 // bytes
	DefaultReadBufferSize       = 4 << 10 // bytes
	DefaultGrace                = 5 * time.Second
	DefaultAppChannelAddress    = "127.0.0.1"
	DefaultMetricsListenAddress = "0.0.0.0"
)

// maxReadBufferSize keeps a typing error from taking that much memory for every connection.
const maxReadBufferSize = 64 << 20

// Config is what the flags and the environment say. Validate checks it; nothing in it is read from files.
type Config struct {
	Mode Mode
	// AppID names the application in the mesh. Required; no dots.
	AppID string
	// Namespace is the environment's NAMESPACE, possibly empty.
	Namespace string
	// PodName is the environment's POD_NAME.
	PodName string
	// HostAddress is what other sidecars dial: the environment's DAPR_HOST_IP, else found out before New.
	HostAddress string

	// AppPort is the application's port, 0 for none.
	AppPort     int
	AppProtocol config.Protocol
	// AppChannelAddress is the application's host.
	AppChannelAddress string
	// AppMaxConcurrency bounds calls to the application at once; 0 or less means no bound.
	AppMaxConcurrency int
	// AppBindingOptionsTimeout bounds the question whether the application takes the events of a binding; 0 or less
	// means the default of 3 seconds.
	AppBindingOptionsTimeout time.Duration

	// AppHealth says how the application's health is looked after, nil for not at all.
	AppHealth *AppHealth

	// HTTPPort and GRPCPort are those of the two APIs; 0 for any that is free.
	HTTPPort, GRPCPort int
	// InternalGRPCPort is where other sidecars call; 0 for one that stays the same from start to start, if it
	// is free.
	InternalGRPCPort int
	// PublicPort serves health and metadata on all interfaces; 0 for none.
	PublicPort int
	// ListenAddresses are those of the two APIs; "" stands for all interfaces.
	ListenAddresses       []string
	PublicListenAddress   string
	InternalListenAddress string
	// UnixSocketDir serves the APIs on sockets in this folder instead of TCP.
	UnixSocketDir string
	// AllowedOrigins are CORS origins, empty for no CORS handling.
	AllowedOrigins string

	// MaxBodySize bounds bodies and messages in bytes; 0 or less means no bound, on every path.
	MaxBodySize int64
	// ReadBufferSize bounds header blocks, in bytes, at most 64 MiB; 0 or less means the default, since a
	// server has to reserve that much.
	ReadBufferSize int64

	// ResourcesPaths are folders of manifests; each must exist.
	ResourcesPaths []string
	// ReconcileInterval is how often the resources are read again although no change of theirs was seen; 0 or less is
	// DefaultReconcileInterval.
	ReconcileInterval time.Duration
	// SocketsFolder is where component processes serve, "" for the usual one (DAPR_COMPONENTS_SOCKETS_FOLDER).
	SocketsFolder string
	// ConfigFiles are files with a Configuration each; later ones win key by key. In Kubernetes mode they are names.
	ConfigFiles []string

	// Grace bounds the shutdown; 0 means no bound.
	Grace time.Duration
	// BlockShutdown keeps the APIs serving for this long after a signal, nil for not at all.
	BlockShutdown *time.Duration

	// LogLevel is debug, info, warn, error or fatal; logging checks it.
	LogLevel  string
	LogAsJSON bool
	// LogFile is instead of standard output, "" for that.
	LogFile string
	// APILogging is nil where the Configuration decides.
	APILogging *bool

	EnableMetrics        bool
	MetricsPort          int
	MetricsListenAddress string
	EnableProfiling      bool
	ProfilePort          int

	// SkipAppConfiguration leaves GET /dapr/config out.
	SkipAppConfiguration bool
	// SkipAppSubscriptions leaves GET /dapr/subscribe and ListTopicSubscriptions out.
	SkipAppSubscriptions bool

	// PlacementAddress lists the placement servers, host:port with commas between them; "" for none, which standalone is
	// placement within this machine.
	PlacementAddress string
	// DisseminateTimeout bounds a round of placement; 0 means the default of 30 s.
	DisseminateTimeout time.Duration

	// MTLS says how sidecars know each other.
	MTLS MTLS
	// Cluster is for Kubernetes mode.
	Cluster Cluster
	// APIToken is what callers must show, AppToken what the application is shown.
	APIToken, AppToken security.Token
	// DisableH2C keeps the HTTP port to HTTP/1.1 (DAPR_HTTP_DISABLE_H2C).
	DisableH2C bool
	// NotInUse tells of flags and environment variables that were set for features that this daprd does not
	// have yet: "flag --sentry-address (mutual TLS)".
	NotInUse []string
}

// MTLS says how sidecars know each other; without it their calls are in clear text.
type MTLS struct {
	Enabled bool
	// SentryAddress is that of the certificate authority, host:port.
	SentryAddress string
	// TrustAnchors are PEM roots (DAPR_TRUST_ANCHORS); TrustAnchorsFile, followed while it changes, is used without them.
	TrustAnchors, TrustAnchorsFile string
	// ControlPlaneNamespace and ControlPlaneTrustDomain are those of the control plane's own identities.
	ControlPlaneNamespace, ControlPlaneTrustDomain string
	// SentryTokenFile and SentryIdentity are DAPR_SENTRY_TOKEN_FILE and SENTRY_LOCAL_IDENTITY, "" for the usual.
	SentryTokenFile, SentryIdentity string
	// CertChain and CertKey are the PEM pair that a sentry of Dapr 1.7 wants to see, empty for none.
	CertChain string
	CertKey   security.Token
}

// Cluster says what a sidecar in Kubernetes mode works with.
type Cluster struct {
	// OperatorAddress is that of the operator, host:port. The operator gives the resources, and the Configuration that
	// the first of ConfigFiles names.
	OperatorAddress string
	// Kubeconfig is a file that tells of the API server, "" for that of the pod.
	Kubeconfig string
	// WithoutSecretStore leaves the secret store "kubernetes" out, which every sidecar has.
	WithoutSecretStore bool
	// AllowRoot lets the sidecar run as root (DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK).
	AllowRoot bool
}

// AppHealth says how the application's health is looked after; its fields are those of channel.HealthSettings.
type AppHealth struct {
	Path              string
	Interval, Timeout time.Duration
	Threshold         int
}

// Validate checks what the reading of single flags cannot. Unlike Dapr's, ports of 0 are in nobody's way.
func (c *Config) Validate() error {
	switch {
	case c.AppID == "":
		return fmt.Errorf("parameter app-id cannot be empty: name the application with --app-id")
	case c.Mode == Standalone && strings.Contains(c.AppID, "."):
		return fmt.Errorf("parameter app-id cannot contain dots: %s (a dot separates app id and namespace in calls)", c.AppID)
	case c.Mode != Standalone && c.Mode != Kubernetes:
		return fmt.Errorf("invalid mode: %s (it takes standalone, kubernetes)", c.Mode)
	case c.AppPort != 0 && c.AppPort == c.HTTPPort:
		return conflict("dapr-http-port", c.HTTPPort)
	case c.AppPort != 0 && c.AppPort == c.GRPCPort:
		return conflict("dapr-grpc-port", c.GRPCPort)
	case c.ReadBufferSize > maxReadBufferSize:
		return fmt.Errorf("invalid value for 'read-buffer-size' option: %d bytes; 64Mi is the most", c.ReadBufferSize)
	}
	if c.named() {
		if _, err := placement.NewAddresses(c.PlacementAddress, nil); err != nil {
			return err
		}
	}
	return nil
}

func conflict(flag string, port int) error {
	return fmt.Errorf("the '%s' argument value %d conflicts with 'app-port': give the sidecar or the application another port", flag, port)
}
