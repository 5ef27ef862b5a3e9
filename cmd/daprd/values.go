package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/security"
)

// config turns the values as written into a Config. With an error it still says where to log.
func (f *flags) config(getenv func(string) string) (runtime.Config, error) {
	c := f.cfg
	c.Mode = runtime.Mode(f.mode)
	c.Namespace, c.PodName, c.HostAddress = getenv("NAMESPACE"), getenv("POD_NAME"), getenv("DAPR_HOST_IP")
	c.APIToken, c.AppToken = security.NewToken(getenv("DAPR_API_TOKEN")), security.NewToken(getenv("APP_API_TOKEN"))
	// The injector of Dapr sets the second name, its sidecar reads the first.
	c.SocketsFolder = cmp.Or(getenv("DAPR_COMPONENTS_SOCKETS_FOLDER"), getenv("DAPR_COMPONENT_SOCKETS_FOLDER"))
	c.DisableH2C = config.Truthy(getenv("DAPR_HTTP_DISABLE_H2C"))
	if c.AppChannelAddress == "" {
		c.AppChannelAddress = runtime.DefaultAppChannelAddress
	}
	c.ConfigFiles = withoutEmpty(c.ConfigFiles)
	if c.ResourcesPaths = withoutEmpty(c.ResourcesPaths); len(c.ResourcesPaths) == 0 {
		c.ResourcesPaths = withoutEmpty([]string{f.componentsPath})
	}
	c.ListenAddresses = addresses(f.listenAddresses)
	f.trust(&c.MTLS, getenv)
	c.Cluster.AllowRoot = config.Truthy(getenv("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK"))
	c.NotInUse = f.notInUse(getenv)
	for _, step := range []func(*runtime.Config) error{f.protocols, f.ports, f.limits, f.shutdown, f.initEndpoints, f.appHealth, f.placement} {
		if err := step(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// trust reads what the environment says of identities; of the control plane's the flags go before.
func (f *flags) trust(m *runtime.MTLS, getenv func(string) string) {
	m.TrustAnchors, m.TrustAnchorsFile = getenv("DAPR_TRUST_ANCHORS"), getenv("DAPR_TRUST_ANCHORS_FILE")
	m.SentryTokenFile, m.SentryIdentity = getenv("DAPR_SENTRY_TOKEN_FILE"), getenv("SENTRY_LOCAL_IDENTITY")
	m.CertChain, m.CertKey = getenv("DAPR_CERT_CHAIN"), security.NewToken(getenv("DAPR_CERT_KEY"))
	for flag, value := range map[string]struct {
		into     *string
		variable string
	}{
		"control-plane-namespace":    {&m.ControlPlaneNamespace, "DAPR_CONTROLPLANE_NAMESPACE"},
		"control-plane-trust-domain": {&m.ControlPlaneTrustDomain, "DAPR_CONTROLPLANE_TRUST_DOMAIN"},
	} {
		if text := getenv(value.variable); text != "" && !f.set.Changed(flag) {
			*value.into = text
		}
	}
}

func (f *flags) protocols(c *runtime.Config) (err error) {
	if c.AppProtocol, err = config.ParseProtocol(f.protocol); err == nil && f.appSSL {
		c.AppProtocol = c.AppProtocol.WithTLS()
	}
	return err
}

// placement is where actors are looked up.
func (f *flags) placement(c *runtime.Config) error {
	if c.DisseminateTimeout <= 0 {
		return fmt.Errorf("invalid value for 'actors-disseminate-timeout' option: %s; it takes more than 0s", c.DisseminateTimeout)
	}
	if f.actorsService == "" || strings.TrimSpace(c.PlacementAddress) != "" {
		return nil
	}
	name, address, _ := strings.Cut(f.actorsService, ":")
	if name != "placement" {
		c.NotInUse = append(c.NotInUse, "flag --actors-service (another service of actors than placement)")
		return nil
	}
	c.PlacementAddress = address
	return nil
}

func (f *flags) ports(c *runtime.Config) (err error) {
	for _, port := range []struct {
		flag, text string
		into       *int
		needed     bool
	}{
		{"dapr-http-port flag", f.httpPort, &c.HTTPPort, true},
		{"dapr-grpc-port flag", f.grpcPort, &c.GRPCPort, true},
		{"profile-port flag", f.profilePort, &c.ProfilePort, true},
		{"metrics-port flag", f.metricsPort, &c.MetricsPort, true},
		{"dapr-internal-grpc-port", f.internalPort, &c.InternalGRPCPort, false},
		{"dapr-public-port", f.publicPort, &c.PublicPort, false},
		{"app-port", f.appPort, &c.AppPort, false},
	} {
		if port.text == "" && !port.needed {
			continue
		}
		if *port.into, err = parsePort(port.flag, port.text); err != nil {
			return err
		}
	}
	return nil
}

func parsePort(flag, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("error parsing %s: %w", flag, err)
	}
	if n < 0 || n > math.MaxUint16 {
		return 0, fmt.Errorf("error parsing %s: %d is no port; it takes 0 to 65535", flag, n)
	}
	return n, nil
}

func (f *flags) limits(c *runtime.Config) (err error) {
	if c.MaxBodySize, err = size("max-body-size", f.maxBody, runtime.DefaultMaxBodySize,
		"dapr-http-max-request-size", f.legacyBody, 1<<20); err != nil {
		return err
	}
	c.ReadBufferSize, err = size("read-buffer-size", f.readBuffer, runtime.DefaultReadBufferSize,
		"dapr-http-read-buffer-size", f.legacyReadBuffer, 1<<10)
	return err
}

// size reads today's flag, else the older one in its unit. -1 is the default in both; other values below 1
// mean no bound.
func size(flag, text string, standard int64, older string, legacy, unit int64) (int64, error) {
	if text == "" {
		switch {
		case legacy == -1:
			return standard, nil
		case legacy > math.MaxInt64/unit:
			return 0, fmt.Errorf("invalid value for '%s' option: %d is too large; 0 is for no bound", older, legacy)
		}
		return max(legacy, 0) * unit, nil
	}
	n, err := config.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("invalid value for '%s' option: %w", flag, err)
	}
	if n == -1 {
		return standard, nil
	}
	return max(n, 0), nil
}

// appHealth reads what Dapr reads as a default too: values of 0 and less.
func (f *flags) appHealth(c *runtime.Config) error {
	if !f.checkHealth {
		return nil
	}
	h := &runtime.AppHealth{Path: f.healthPath, Interval: channel.DefaultHealthInterval, Timeout: channel.DefaultHealthTimeout,
		Threshold: channel.DefaultHealthThreshold}
	if f.healthInterval > 0 {
		h.Interval = time.Duration(min(f.healthInterval, maxSeconds)) * time.Second
	}
	if f.healthTimeout > 0 {
		h.Timeout = time.Duration(min(f.healthTimeout, 1000*maxSeconds)) * time.Millisecond
	}
	if f.healthThreshold > 0 {
		h.Threshold = f.healthThreshold
	}
	if h.Timeout > h.Interval {
		return fmt.Errorf("value for 'health-probe-timeout' must be smaller than 'health-probe-interval': %s and %s", h.Timeout, h.Interval)
	}
	c.AppHealth = h
	return nil
}

// maxSeconds is a day: more is a typing error, and a product that overflows.
const maxSeconds = 24 * 60 * 60

func (f *flags) shutdown(c *runtime.Config) error {
	c.Grace = runtime.DefaultGrace
	if f.graceSeconds > int64(math.MaxInt64/time.Second) {
		return fmt.Errorf("invalid value for 'dapr-graceful-shutdown-seconds': %d is too large; 0 is for no bound", f.graceSeconds)
	}
	if f.graceSeconds >= 0 {
		c.Grace = time.Duration(f.graceSeconds) * time.Second
	}
	if f.set.Changed("dapr-block-shutdown-duration") {
		c.BlockShutdown = &f.block
	}
	return nil
}

// initEndpoints reads what is not asked of the application.
func (f *flags) initEndpoints(c *runtime.Config) error {
	for _, name := range withoutEmpty(f.skipInit) {
		switch name {
		case "config":
			c.SkipAppConfiguration = true
		case "subscribe":
			c.SkipAppSubscriptions = true
		default:
			return fmt.Errorf("invalid value for 'disable-init-endpoints': %s (it takes config, subscribe)", name)
		}
	}
	return nil
}

// addresses are without the brackets of IPv6; the empty one stands for all interfaces.
func addresses(text string) (list []string) {
	for _, a := range withoutEmpty(strings.Split(text, ",")) {
		list = append(list, strings.Trim(a, "[]"))
	}
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func withoutEmpty(list []string) (kept []string) {
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}
