package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/security"
)

// action is what the command line asks for.
type action int

const (
	actionRun action = iota
	actionHelp
	actionVersion
	actionBuildInfo
	actionWait
)

// later are the flags whose feature this daprd does not have yet, and that feature.
var later = map[string]string{
	"actors-disseminate-timeout":       "actors",
	"actors-service":                   "actors",
	"app-binding-options-timeout":      "input bindings",
	"app-health-check-path":            "app health checks",
	"app-health-probe-interval":        "app health checks",
	"app-health-probe-timeout":         "app health checks",
	"app-health-threshold":             "app health checks",
	"control-plane-address":            "Kubernetes",
	"control-plane-namespace":          "Kubernetes",
	"control-plane-trust-domain":       "mutual TLS",
	"disable-builtin-k8s-secret-store": "Kubernetes",
	"enable-app-health-check":          "app health checks",
	"enable-mtls":                      "mutual TLS: calls between sidecars are NOT encrypted",
	"hot-reload-reconcile-interval":    "hot reload",
	"placement-host-address":           "actors",
	"reminders-service":                "actors",
	"scheduler-host-address":           "jobs",
	"scheduler-job-streams":            "jobs",
	"sentry-address":                   "mutual TLS",
	"sentry-request-jwt-audiences":     "mutual TLS",
}

// flags are the raw values of the command line.
type flags struct {
	set *pflag.FlagSet

	cfg                                                  runtime.Config
	mode, appPort, protocol, httpPort, grpcPort          string
	internalPort, publicPort, profilePort, metricsPort   string
	listenAddresses, componentsPath, maxBody, readBuffer string
	apiLogging                                           string
	appSSL, version, buildInfo, wait                     bool
	legacyBody, legacyReadBuffer, graceSeconds           int
	block                                                time.Duration
	skipInit                                             []string
	streamBody, help                                     bool
	ignoredTexts                                         map[string]*string
}

// parse reads the arguments without the program's name and the environment through getenv. Errors of the
// first kind (usage) name the flag; Config.Validate checks the rest.
func parse(arguments []string, getenv func(string) string, stderr io.Writer) (runtime.Config, action, error) {
	f := newFlags()
	f.set.SetOutput(stderr)
	if err := f.set.Parse(doubleDashes(arguments)); err != nil {
		return runtime.Config{}, actionHelp, &usageError{err, f.usage()}
	}
	switch {
	case f.help:
		return runtime.Config{}, actionHelp, &usageError{nil, f.usage()}
	case f.version:
		return runtime.Config{}, actionVersion, nil
	case f.buildInfo:
		return runtime.Config{}, actionBuildInfo, nil
	}
	cfg, err := f.config(getenv)
	if f.wait {
		return cfg, actionWait, err
	}
	return cfg, actionRun, err
}

// usageError is a command line that cannot be read; the usage text goes with it.
type usageError struct {
	cause error
	usage string
}

func (e *usageError) Error() string {
	if e.cause == nil {
		return "help requested"
	}
	return e.cause.Error()
}

// doubleDashes makes --app-id of -app-id: Dapr's CLI and injector use both forms.
func doubleDashes(arguments []string) []string {
	doubled := make([]string, len(arguments))
	for i, a := range arguments {
		if a == "--" {
			return append(doubled[:i], arguments[i:]...)
		}
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && !isNumber(a) {
			a = "-" + a
		}
		doubled[i] = a
	}
	return doubled
}

// isNumber keeps the value of --app-max-concurrency -1 from being taken for a flag.
func isNumber(a string) bool {
	_, err := strconv.ParseFloat(a, 64)
	return err == nil
}

func newFlags() *flags {
	f := &flags{set: pflag.NewFlagSet("daprd", pflag.ContinueOnError), ignoredTexts: map[string]*string{}}
	f.set.SortFlags = true
	f.set.Usage = func() {}
	f.application()
	f.servers()
	f.behaviour()
	f.observation()
	f.deprecated()
	f.notYet()
	return f
}

func (f *flags) application() {
	s := f.set
	s.StringVar(&f.cfg.AppID, "app-id", "", "the application's name in the mesh (required)")
	s.StringVar(&f.appPort, "app-port", "", "the port that the application listens on; empty or 0 for none")
	s.StringVar(&f.protocol, "app-protocol", "http", "what the application speaks: http, https, h2c, grpc, grpcs")
	s.StringVar(&f.cfg.AppChannelAddress, "app-channel-address", "127.0.0.1", "the host of the application")
	s.IntVar(&f.cfg.AppMaxConcurrency, "app-max-concurrency", -1, "calls to the application at once; 0 or less for no bound")
}

func (f *flags) servers() {
	s := f.set
	s.StringVar(&f.httpPort, "dapr-http-port", strconv.Itoa(runtime.DefaultHTTPPort), "the port of the HTTP API")
	s.StringVar(&f.grpcPort, "dapr-grpc-port", strconv.Itoa(runtime.DefaultGRPCPort), "the port of the gRPC API")
	s.StringVar(&f.internalPort, "dapr-internal-grpc-port", "", "the port on which other sidecars call; empty or 0 for one made of app id, folder, user and host")
	s.StringVar(&f.publicPort, "dapr-public-port", "", "a further HTTP port with health and metadata only; empty for none")
	s.StringVar(&f.listenAddresses, "dapr-listen-addresses", "", "addresses of the two APIs, separated by commas; empty for all interfaces")
	s.StringVar(&f.cfg.PublicListenAddress, "dapr-public-listen-address", "", "the address of the public port; empty for all interfaces")
	s.StringVar(&f.cfg.InternalListenAddress, "dapr-internal-grpc-listen-address", "", "the address of the internal port; empty for all interfaces")
	s.StringVar(&f.cfg.UnixSocketDir, "unix-domain-socket", "", "serve the two APIs on sockets in this folder instead of ports")
	s.StringVar(&f.cfg.AllowedOrigins, "allowed-origins", "", "origins that browsers may call from, separated by commas, or *; empty for no CORS headers")
	s.StringVar(&f.maxBody, "max-body-size", "", "the largest body or message, 4Mi by default; 0 for no bound")
	s.StringVar(&f.readBuffer, "read-buffer-size", "", "the largest block of headers, 4Ki by default")
}

func (f *flags) behaviour() {
	s := f.set
	s.StringVar(&f.mode, "mode", string(runtime.Standalone), "where it runs: standalone or kubernetes")
	s.StringSliceVar(&f.cfg.ResourcesPaths, "resources-path", nil, "a folder of resources as YAML; may be repeated")
	s.StringSliceVar(&f.cfg.ConfigFiles, "config", nil, "a file with a Configuration; may be repeated, later ones win")
	s.StringSliceVar(&f.skipInit, "disable-init-endpoints", nil, "calls to the application to leave out at the start: config, subscribe")
	s.IntVar(&f.graceSeconds, "dapr-graceful-shutdown-seconds", -1, "the most seconds that a shutdown may take, 5 by default; 0 for no bound")
	s.DurationVar(&f.block, "dapr-block-shutdown-duration", 0, "how long the APIs go on serving after a signal to end")
}

func (f *flags) observation() {
	s := f.set
	s.StringVar(&f.cfg.LogLevel, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	s.BoolVar(&f.cfg.LogAsJSON, "log-as-json", false, "log in JSON, one object a line")
	s.StringVar(&f.cfg.LogFile, "log-file", "", "log to this file instead of standard output")
	s.StringVar(&f.apiLogging, "enable-api-logging", "", "log each call of the APIs; unset for what the Configuration says")
	s.Lookup("enable-api-logging").NoOptDefVal = "true"
	s.BoolVar(&f.cfg.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	s.StringVar(&f.metricsPort, "metrics-port", strconv.Itoa(runtime.DefaultMetricsPort), "the port of the metrics")
	s.StringVar(&f.cfg.MetricsListenAddress, "metrics-listen-address", "0.0.0.0", "the address of the metrics")
	s.BoolVar(&f.cfg.EnableProfiling, "enable-profiling", false, "serve profiles under /debug/pprof/")
	s.StringVar(&f.profilePort, "profile-port", strconv.Itoa(runtime.DefaultProfilePort), "the port of the profiles")
	s.BoolVar(&f.version, "version", false, "print the version and end")
	s.BoolVar(&f.buildInfo, "build-info", false, "print the version and the commit and end")
	s.BoolVar(&f.wait, "wait", false, "wait until a daprd on dapr-http-port can reach others, at most a minute, and end")
	s.BoolVarP(&f.help, "help", "h", false, "print this text and end")
}

func (f *flags) deprecated() {
	s := f.set
	s.StringVar(&f.componentsPath, "components-path", "", "a folder of resources")
	s.IntVar(&f.legacyBody, "dapr-http-max-request-size", -1, "the largest body in MiB")
	s.IntVar(&f.legacyReadBuffer, "dapr-http-read-buffer-size", -1, "the largest block of headers in KiB")
	s.BoolVar(&f.appSSL, "app-ssl", false, "the application speaks TLS")
	s.BoolVar(&f.streamBody, "dapr-http-stream-request-body", false, "bodies always stream")
	s.BoolVar(&f.streamBody, "http-stream-request-body", false, "bodies always stream")
	for name, instead := range map[string]string{
		"dapr-http-max-request-size": "--max-body-size", "dapr-http-read-buffer-size": "--read-buffer-size",
		"app-ssl": "--app-protocol=https or grpcs",
	} {
		_ = s.MarkDeprecated(name, "use "+instead+" instead")
	}
	for _, name := range []string{"components-path", "dapr-http-stream-request-body", "http-stream-request-body"} {
		_ = s.MarkHidden(name)
	}
}

// notYet takes the flags of later features with any value.
func (f *flags) notYet() {
	for name, feature := range later {
		text := new(string)
		f.ignoredTexts[name] = text
		f.set.StringVar(text, name, "", "not in use yet: "+feature)
		switch name {
		case "enable-mtls", "enable-app-health-check", "disable-builtin-k8s-secret-store":
			f.set.Lookup(name).NoOptDefVal = "true"
		}
		_ = f.set.MarkHidden(name)
	}
}

// usage is the text of --help.
func (f *flags) usage() string {
	var b bytes.Buffer
	fmt.Fprint(&b, "daprd runs beside one application and gives it the building blocks of a distributed one:\n"+
		"service invocation, state and secrets, over HTTP and gRPC.\n\nUsage: daprd --app-id NAME [flags]\n\nFlags:\n")
	b.WriteString(f.set.FlagUsagesWrapped(120))
	b.WriteString("\nFlags take one dash or two. Flags of Dapr that are missing here are accepted and told of in the log.\n")
	return b.String()
}

// config turns the raw values into a Config.
func (f *flags) config(getenv func(string) string) (runtime.Config, error) {
	c := f.cfg
	c.Mode = runtime.Mode(f.mode)
	c.Namespace, c.PodName, c.HostAddress = getenv("NAMESPACE"), getenv("POD_NAME"), getenv("DAPR_HOST_IP")
	c.APIToken, c.AppToken = security.NewToken(getenv("DAPR_API_TOKEN")), security.NewToken(getenv("APP_API_TOKEN"))
	c.DisableH2C = truthy(getenv("DAPR_HTTP_DISABLE_H2C"))
	if len(c.ResourcesPaths) == 0 && f.componentsPath != "" {
		c.ResourcesPaths = []string{f.componentsPath}
	}
	c.ConfigFiles = withoutEmpty(c.ConfigFiles)
	c.ResourcesPaths = withoutEmpty(c.ResourcesPaths)
	c.ListenAddresses = addresses(f.listenAddresses)
	c.NotInUse = f.notInUse()
	for _, step := range []func(*runtime.Config) error{f.protocols, f.ports, f.limits, f.shutdown, f.logging, f.init} {
		if err := step(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (f *flags) protocols(c *runtime.Config) (err error) {
	if c.AppProtocol, err = config.ParseProtocol(f.protocol); err == nil && f.appSSL {
		c.AppProtocol = c.AppProtocol.WithTLS()
	}
	return err
}

func (f *flags) ports(c *runtime.Config) error {
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
		n, err := strconv.Atoi(port.text)
		if err != nil {
			return fmt.Errorf("error parsing %s: %w", port.flag, err)
		}
		if n < 0 || n > 65535 {
			return fmt.Errorf("error parsing %s: %d is no port; it takes 0 to 65535", port.flag, n)
		}
		*port.into = n
	}
	return nil
}

func (f *flags) limits(c *runtime.Config) (err error) {
	if c.MaxBodySize, err = size("max-body-size", f.maxBody, f.legacyBody, 1<<20, runtime.DefaultMaxBodySize); err != nil {
		return err
	}
	c.ReadBufferSize, err = size("read-buffer-size", f.readBuffer, f.legacyReadBuffer, 1<<10, runtime.DefaultReadBufferSize)
	return err
}

// size reads today's flag, else the older one in its unit, else gives the default; -1 is the default too.
func size(flag, text string, legacy int, unit, standard int64) (int64, error) {
	switch {
	case text != "":
		n, err := config.ParseQuantity(text)
		if err != nil {
			return 0, fmt.Errorf("invalid value for '%s' option: %w", flag, err)
		}
		if n == -1 {
			return standard, nil
		}
		return n, nil
	case legacy >= 0:
		return int64(legacy) * unit, nil
	}
	return standard, nil
}

func (f *flags) shutdown(c *runtime.Config) error {
	c.Grace = runtime.DefaultGrace
	if f.graceSeconds >= 0 {
		c.Grace = time.Duration(f.graceSeconds) * time.Second
	}
	if f.set.Changed("dapr-block-shutdown-duration") {
		c.BlockShutdown = &f.block
	}
	return nil
}

func (f *flags) logging(c *runtime.Config) error {
	if !f.set.Changed("enable-api-logging") || f.apiLogging == "" {
		return nil
	}
	on, err := strconv.ParseBool(f.apiLogging)
	if err != nil {
		return fmt.Errorf("invalid value for 'enable-api-logging': %s (it takes true, false)", f.apiLogging)
	}
	c.APILogging = &on
	return nil
}

func (f *flags) init(c *runtime.Config) error {
	for _, name := range withoutEmpty(f.skipInit) {
		switch name {
		case "config":
			c.SkipAppConfiguration = true
		case "subscribe":
		default:
			return fmt.Errorf("invalid value for 'disable-init-endpoints': %s (it takes config, subscribe)", name)
		}
	}
	return nil
}

// notInUse tells of the flags that were set to something and have no effect yet.
func (f *flags) notInUse() (told []string) {
	f.set.Visit(func(flag *pflag.Flag) {
		feature, known := later[flag.Name]
		if value := flag.Value.String(); known && value != "" && value != "false" {
			told = append(told, fmt.Sprintf("--%s (%s)", flag.Name, feature))
		}
	})
	return told
}

func addresses(text string) []string {
	var list []string
	for a := range strings.SplitSeq(text, ",") {
		list = append(list, strings.Trim(strings.TrimSpace(a), "[]"))
	}
	return list
}

func withoutEmpty(list []string) []string {
	var kept []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

func truthy(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "y", "yes", "true", "t", "on", "1":
		return true
	}
	return false
}
