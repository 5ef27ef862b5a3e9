package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
)

const about = "sentry is the certificate authority of a mesh: it signs the certificates by which sidecars know each other."

// flags are what the command line says.
type flags struct {
	set *pflag.FlagSet

	cfg      sentry.Config
	mode     string
	asJSON   bool
	version  bool
	notInUse []string
}

// parse reads the arguments without the program's name, and the environment through getenv.
func parse(arguments []string, getenv func(string) string) (*flags, *process.UsageError) {
	f := newFlags(getenv)
	if misuse := process.Parse(f.set, about, arguments); misuse != nil {
		return nil, misuse
	}
	for name, port := range map[string]int{"port": f.cfg.Port, "healthz-port": f.cfg.HealthPort, "metrics-port": f.cfg.MetricsPort} {
		if err := process.CheckPort(name, port); err != nil {
			return nil, process.Misuse(f.set, about, err)
		}
	}
	f.cfg.Mode = mode(f.mode, getenv)
	f.cfg.Namespace = getenv("NAMESPACE")
	if f.cfg.Namespace == "" && f.cfg.Mode == sentry.Standalone {
		f.cfg.Namespace = sentry.DefaultNamespace
	}
	if f.cfg.Mode == sentry.Standalone && !f.set.Changed("config") {
		f.cfg.Configuration = "" // the default is the name of a resource in Kubernetes, no file
	}
	f.set.Visit(func(flag *pflag.Flag) {
		if later(flag.Name) && flag.Value.String() != "false" {
			f.notInUse = append(f.notInUse, "--"+flag.Name)
		}
	})
	return f, nil
}

// mode is what was asked for; as in Dapr, another word than the two leaves it to the environment.
func mode(text string, getenv func(string) string) sentry.Mode {
	switch m := sentry.Mode(text); {
	case m == sentry.Standalone, m == sentry.Kubernetes:
		return m
	case getenv("KUBERNETES_SERVICE_HOST") != "":
		return sentry.Kubernetes
	}
	return sentry.Standalone
}

func newFlags(getenv func(string) string) *flags {
	f := &flags{set: process.NewFlagSet("sentry")}
	s, c := f.set, &f.cfg
	s.StringVar(&f.mode, "mode", string(sentry.Standalone), "where it runs: standalone or kubernetes")
	s.StringVar(&c.TrustDomain, "trust-domain", sentry.DefaultTrustDomain, "the trust domain of the control plane")
	s.StringVar(&c.Configuration, "config", sentry.DefaultConfiguration, "the file of the Configuration, in Kubernetes its name; a file is read only if this is given")
	s.StringVar(&c.Credentials, "issuer-credentials", sentry.DefaultCredentials, "the folder of the trust bundle; an empty one gets a new authority")
	s.StringVar(&c.AnchorsFile, "issuer-ca-filename", sentry.DefaultAnchorsFile, "the file of the trust anchors in it")
	s.StringVar(&c.CertificateFile, "issuer-certificate-filename", sentry.DefaultCertificateFile, "the file of the issuer's certificate in it")
	s.StringVar(&c.KeyFile, "issuer-key-filename", sentry.DefaultKeyFile, "the file of the issuer's key in it")
	s.StringVar(&c.Kubeconfig, "kubeconfig", getenv("KUBE_CONFIG"), "the file that tells of the API server, outside of its cluster; empty for ~/.kube/config")
	s.StringVar(&c.ListenAddress, "listen-address", "", "the address on which certificates are signed; empty for all interfaces")
	s.IntVar(&c.Port, "port", sentry.DefaultPort, "the port on which certificates are signed")
	s.StringVar(&c.HealthListenAddress, "healthz-listen-address", "", "the address of /healthz; empty for all interfaces")
	s.IntVar(&c.HealthPort, "healthz-port", sentry.DefaultHealthPort, "the port of /healthz")
	s.BoolVar(&c.EnableMetrics, "enable-metrics", true, "serve metrics for Prometheus")
	s.StringVar(&c.MetricsListenAddress, "metrics-listen-address", "0.0.0.0", "the address of the metrics")
	s.IntVar(&c.MetricsPort, "metrics-port", sentry.DefaultMetricsPort, "the port of the metrics")
	s.StringVar(&c.LogLevel, "log-level", "info", "what is logged: debug, info, warn, error, fatal")
	s.BoolVar(&f.asJSON, "log-as-json", false, "log in JSON, one object a line")
	s.BoolVar(&f.version, "version", false, "print the version")
	f.later()
	return f
}

// later are flags of Dapr's whose feature is not here yet: tokens beside certificates, and who publishes their keys.
func (f *flags) later() {
	for _, name := range []string{"jwt-enabled", "oidc-enabled", "oidc-server-tls-enabled"} {
		f.set.Bool(name, false, "")
	}
	for _, name := range []string{"jwt-key-filename", "jwks-filename", "jwt-issuer", "jwt-signing-algorithm", "jwt-key-id", "jwt-ttl",
		"oidc-server-listen-port", "oidc-server-listen-address", "oidc-jwks-uri", "oidc-path-prefix", "oidc-allowed-hosts"} {
		f.set.String(name, "", "")
	}
	f.set.VisitAll(func(flag *pflag.Flag) { flag.Hidden = later(flag.Name) })
}

// later says whether a flag is one of those.
func later(name string) bool {
	return strings.HasPrefix(name, "jw") || strings.HasPrefix(name, "oidc-")
}
