package runtime

import (
	"fmt"
	"strings"
	"time"

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

// Defaults of the flags, those of Dapr 1.18 (reference: cli-and-config 1).
const (
	DefaultHTTPPort       = 3500
	DefaultGRPCPort       = 50001
	DefaultMetricsPort    = 9090
	DefaultProfilePort    = 7777
	DefaultMaxBodySize    = 4 << 20
	DefaultReadBufferSize = 4 << 10
	DefaultGrace          = 5 * time.Second
)

// Config is what the flags and the environment say. Validate checks it; nothing in it is read from files.
type Config struct {
	Mode Mode
	// AppID names the application in the mesh. Required; no dots.
	AppID string
	// Namespace is the environment's NAMESPACE, possibly empty.
	Namespace string
	// PodName is the environment's POD_NAME.
	PodName string
	// HostAddress is what other sidecars dial: DAPR_HOST_IP, else found out at the start.
	HostAddress string

	// AppPort is the application's port, 0 for none.
	AppPort           int
	AppProtocol       config.Protocol
	AppChannelAddress string
	// AppMaxConcurrency bounds calls to the application at once; 0 or less means no bound.
	AppMaxConcurrency int

	HTTPPort, GRPCPort int
	// InternalGRPCPort is where other sidecars call, 0 for a free one.
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
	// ReadBufferSize bounds header blocks, in bytes.
	ReadBufferSize int64

	ResourcesPaths []string
	ConfigFiles    []string

	// Grace bounds the shutdown; 0 means no bound.
	Grace time.Duration
	// BlockShutdown keeps the APIs serving for this long after a signal, nil for not at all.
	BlockShutdown *time.Duration

	LogLevel  string
	LogAsJSON bool
	LogFile   string
	// APILogging is nil where the Configuration decides.
	APILogging *bool

	EnableMetrics        bool
	MetricsPort          int
	MetricsListenAddress string
	EnableProfiling      bool
	ProfilePort          int
	EnableMTLS           bool

	// SkipAppConfiguration leaves GET /dapr/config out.
	SkipAppConfiguration bool

	// APIToken is what callers must show, AppToken what the application is shown.
	APIToken, AppToken security.Token
	// DisableH2C keeps the HTTP port to HTTP/1.1 (DAPR_HTTP_DISABLE_H2C).
	DisableH2C bool
	// NotInUse tells of flags that were set for features that this daprd does not have yet.
	NotInUse []string
}

// Validate checks what single flags cannot.
func (c *Config) Validate() error {
	switch {
	case c.AppID == "":
		return fmt.Errorf("parameter app-id cannot be empty: name the application with --app-id")
	case c.Mode == Standalone && strings.Contains(c.AppID, "."):
		return fmt.Errorf("parameter app-id cannot contain dots: %s (a dot separates app id and namespace in calls)", c.AppID)
	case c.Mode != Standalone && c.Mode != Kubernetes:
		return fmt.Errorf("invalid mode: %s (it takes standalone, kubernetes)", c.Mode)
	case c.AppPort != 0 && c.AppPort == c.HTTPPort:
		return fmt.Errorf("the 'dapr-http-port' argument value %d conflicts with 'app-port'", c.HTTPPort)
	case c.AppPort != 0 && c.AppPort == c.GRPCPort:
		return fmt.Errorf("the 'dapr-grpc-port' argument value %d conflicts with 'app-port'", c.GRPCPort)
	}
	return nil
}
