package main

import (
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/actors/placement"
	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/runtime"
)

func (f *flags) application(s *pflag.FlagSet) {
	s.StringVar(&f.cfg.AppID, "app-id", "", "the application's name in the mesh; required, without dots")
	s.StringVar(&f.appPort, "app-port", "", "the port that the application listens on; empty or 0 for none")
	s.StringVar(&f.protocol, "app-protocol", "http", "what the application speaks: http, https, h2c, grpc, grpcs")
	s.StringVar(&f.cfg.AppChannelAddress, "app-channel-address", runtime.DefaultAppChannelAddress, "the host of the application")
	s.IntVar(&f.cfg.AppMaxConcurrency, "app-max-concurrency", -1, "calls to the application at once; 0 or less for no bound")
	s.DurationVar(&f.cfg.AppBindingOptionsTimeout, "app-binding-options-timeout", bindings.DefaultProbeTimeout,
		"how long the application may take to say whether it wants the events of an input binding")
}

func (f *flags) health(s *pflag.FlagSet) {
	s.BoolVar(&f.checkHealth, "enable-app-health-check", false, "look after the application's health: while it is ill, nothing is brought to it")
	s.StringVar(&f.healthPath, "app-health-check-path", channel.DefaultHealthPath, "the path of an HTTP application that answers 2xx while it is well")
	s.IntVar(&f.healthInterval, "app-health-probe-interval", int(channel.DefaultHealthInterval/time.Second), "seconds from probe to probe")
	s.IntVar(&f.healthTimeout, "app-health-probe-timeout", int(channel.DefaultHealthTimeout/time.Millisecond), "milliseconds that a probe may take")
	s.IntVar(&f.healthThreshold, "app-health-threshold", channel.DefaultHealthThreshold, "probes that have to fail in a row for the application to be ill")
}

func (f *flags) addresses(s *pflag.FlagSet) {
	s.StringVar(&f.httpPort, "dapr-http-port", strconv.Itoa(runtime.DefaultHTTPPort), "the port of the HTTP API")
	s.StringVar(&f.grpcPort, "dapr-grpc-port", strconv.Itoa(runtime.DefaultGRPCPort), "the port of the gRPC API")
	s.StringVar(&f.internalPort, "dapr-internal-grpc-port", "",
		"the port on which other sidecars call; empty or 0 for one made of app id, folder, user and host")
	s.StringVar(&f.publicPort, "dapr-public-port", "", "a further HTTP port with health and metadata only; empty for none")
	s.StringVar(&f.listenAddresses, "dapr-listen-addresses", "",
		"addresses of the two APIs, separated by commas, [::1],127.0.0.1 for one; empty for all interfaces")
	s.StringVar(&f.cfg.PublicListenAddress, "dapr-public-listen-address", "", "the address of the public port; empty for all interfaces")
	s.StringVar(&f.cfg.InternalListenAddress, "dapr-internal-grpc-listen-address", "",
		"the address of the internal port; empty for all interfaces")
	s.StringVar(&f.cfg.UnixSocketDir, "unix-domain-socket", "", "serve the two APIs on sockets in this folder instead of ports")
	s.StringVar(&f.cfg.AllowedOrigins, "allowed-origins", "",
		"origins that browsers may call from, separated by commas, or *; empty for no CORS headers")
}

func (f *flags) identity(s *pflag.FlagSet) {
	m := &f.cfg.MTLS
	s.BoolVar(&m.Enabled, "enable-mtls", false, "mutual TLS between sidecars; DAPR_TRUST_ANCHORS holds the roots, or DAPR_TRUST_ANCHORS_FILE names their file")
	s.StringVar(&m.SentryAddress, "sentry-address", "", "host and port of the certificate authority")
	s.StringVar(&m.ControlPlaneNamespace, "control-plane-namespace", "default", "namespace of the control plane's identities")
	s.StringVar(&m.ControlPlaneTrustDomain, "control-plane-trust-domain", "localhost", "trust domain of the control plane's identities")
}

func (f *flags) cluster(s *pflag.FlagSet) {
	c := &f.cfg.Cluster
	s.StringVar(&c.OperatorAddress, "control-plane-address", "", "host and port of the operator, which gives the resources in Kubernetes mode")
	s.StringVar(&c.Kubeconfig, "kubeconfig", "", "a file that tells of the API server, for a sidecar outside of a pod")
	s.BoolVar(&c.WithoutSecretStore, "disable-builtin-k8s-secret-store", false, "Kubernetes mode without its secret store, kubernetes")
}

func (f *flags) actors(s *pflag.FlagSet) {
	s.StringVar(&f.cfg.PlacementAddress, "placement-host-address", "",
		"host and port of the placement servers, separated by commas; empty for placement within this machine")
	s.DurationVar(&f.cfg.DisseminateTimeout, "actors-disseminate-timeout", placement.DefaultRoundTimeout, "how long a change of who hosts which actors may take")
	s.StringVar(&f.actorsService, "actors-service", "", "the same as placement-host-address, as placement:host:port")
}

func (f *flags) behaviour(s *pflag.FlagSet) {
	s.StringVar(&f.mode, "mode", string(runtime.Standalone), "where it runs: standalone or kubernetes")
	s.StringSliceVar(&f.cfg.ResourcesPaths, "resources-path", nil, "a folder with resources as YAML; may be repeated")
	s.DurationVar(&f.cfg.ReconcileInterval, "hot-reload-reconcile-interval", 0,
		"how often resources are read again although no change was seen; 0 for every minute")
	s.StringSliceVar(&f.cfg.ConfigFiles, "config", nil,
		"a file with a Configuration, in Kubernetes mode the name of one; may be repeated, later ones win")
	s.StringSliceVar(&f.skipInit, "disable-init-endpoints", nil, "calls to the application to leave out at the start: config, subscribe")
	s.StringVar(&f.maxBody, "max-body-size", "", "the largest body or message, 512Ki or 2Gi for one; 0 for no bound")
	s.StringVar(&f.readBuffer, "read-buffer-size", "", "the largest block of headers, 16Ki for one")
	s.Int64Var(&f.graceSeconds, "dapr-graceful-shutdown-seconds", -1,
		"the most seconds that a shutdown may take; 0 for no bound")
	for name, shown := range map[string]string{"max-body-size": "4Mi", "read-buffer-size": "4Ki", "dapr-graceful-shutdown-seconds": "5"} {
		s.Lookup(name).DefValue = shown
	}
	s.DurationVar(&f.block, "dapr-block-shutdown-duration", 0, "how long the APIs go on serving after a signal to end, 30s for one")
}

func (f *flags) observation(s *pflag.FlagSet) {
	s.StringVar(&f.cfg.LogLevel, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	s.BoolVar(&f.cfg.LogAsJSON, "log-as-json", false, "log in JSON, one object a line")
	s.StringVar(&f.cfg.LogFile, "log-file", "", "log to this file instead of standard output")
	s.Var(&maybe{&f.cfg.APILogging}, "enable-api-logging", "log each call of the APIs; unset for what the Configuration says")
	s.Lookup("enable-api-logging").NoOptDefVal = "true"
	s.BoolVar(&f.cfg.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	s.StringVar(&f.metricsPort, "metrics-port", strconv.Itoa(runtime.DefaultMetricsPort), "the port of the metrics")
	s.StringVar(&f.cfg.MetricsListenAddress, "metrics-listen-address", runtime.DefaultMetricsListenAddress, "the address of the metrics")
	s.BoolVar(&f.cfg.EnableProfiling, "enable-profiling", false, "serve profiles under /debug/pprof/")
	s.StringVar(&f.profilePort, "profile-port", strconv.Itoa(runtime.DefaultProfilePort), "the port of the profiles")
}

func (f *flags) instead(s *pflag.FlagSet) {
	s.BoolVar(&f.version, "version", false, "print the version")
	s.BoolVar(&f.buildInfo, "build-info", false, "print the version and the commit")
	s.BoolVar(&f.wait, "wait", false, "wait until the daprd on dapr-http-port can reach others, at most a minute")
	s.BoolP("help", "h", false, "print this text")
	s.Lookup("help").Value = helpValue{}
}

// deprecated are older names; the usage text does not show them.
func (f *flags) deprecated() *pflag.FlagSet {
	s := pflag.NewFlagSet("deprecated", pflag.ContinueOnError)
	s.StringVar(&f.componentsPath, "components-path", "", "a folder of resources")
	s.Int64Var(&f.legacyBody, "dapr-http-max-request-size", -1, "the largest body in MiB")
	s.Int64Var(&f.legacyReadBuffer, "dapr-http-read-buffer-size", -1, "the largest block of headers in KiB")
	s.BoolVar(&f.appSSL, "app-ssl", false, "the application speaks TLS")
	s.BoolVar(&f.streamBody, "dapr-http-stream-request-body", false, "bodies always stream")
	s.BoolVar(&f.streamBody, "http-stream-request-body", false, "bodies always stream")
	for name, instead := range map[string]string{
		"components-path":               "use --resources-path instead",
		"dapr-http-max-request-size":    "use --max-body-size instead",
		"dapr-http-read-buffer-size":    "use --read-buffer-size instead",
		"app-ssl":                       "use --app-protocol=https or --app-protocol=grpcs instead",
		"dapr-http-stream-request-body": "bodies always stream",
		"http-stream-request-body":      "bodies always stream",
	} {
		if err := s.MarkDeprecated(name, instead); err != nil {
			panic(err) // the flag is not defined above
		}
	}
	return s
}

// maybe is a boolean flag that can also be unset.
type maybe struct{ into **bool }

func (m *maybe) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return err
	}
	*m.into = &on
	return nil
}

func (m *maybe) String() string {
	if m.into == nil || *m.into == nil {
		return ""
	}
	return strconv.FormatBool(**m.into)
}

// Type has pflag's usage text name no kind of value, as for its own booleans.
func (m *maybe) Type() string { return "bool" }

// helpValue ends the reading of the command line where help is asked for: what follows is not looked at.
type helpValue struct{}

func (helpValue) Set(string) error { return pflag.ErrHelp }
func (helpValue) String() string   { return "false" }
func (helpValue) Type() string     { return "bool" }
