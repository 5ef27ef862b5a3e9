package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/process"
	"github.com/daprd/daprd/pkg/sentry"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func defaults() sentry.Config {
	return sentry.Config{Mode: sentry.Standalone, TrustDomain: "localhost", Namespace: "default", Port: 50001,
		Observed:    process.Observed{HealthPort: 8080, EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0"},
		Credentials: "/var/run/dapr/credentials",
		AnchorsFile: "ca.crt", CertificateFile: "issuer.crt", KeyFile: "issuer.key",
		JWT:  sentry.JWT{KeyFile: "jwt.key", SetFile: "jwks.json", Algorithm: "RS256", TTL: 24 * time.Hour},
		OIDC: sentry.OIDC{Port: 9080, TLS: true}}
}

func TestFlags(t *testing.T) {
	inPod := map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NAMESPACE": "dapr-system"}
	tests := map[string]struct {
		arguments   string
		environment map[string]string
		change      func(*sentry.Config)
	}{
		"none":   {"", nil, func(*sentry.Config) {}},
		"a file": {"--config f.yaml", nil, func(c *sentry.Config) { c.Configuration = "f.yaml" }},
		"kubernetes": {"--mode kubernetes", inPod, func(c *sentry.Config) {
			c.Mode, c.Namespace, c.Configuration = sentry.Kubernetes, "dapr-system", "daprsystem"
		}},
		"kubernetes without a namespace": {"--mode kubernetes", nil, func(c *sentry.Config) {
			c.Mode, c.Namespace, c.Configuration = sentry.Kubernetes, "", "daprsystem"
		}},
		"another mode in a pod": {"--mode pod", inPod, func(c *sentry.Config) {
			c.Mode, c.Namespace, c.Configuration = sentry.Kubernetes, "dapr-system", "daprsystem"
		}},
		"another mode elsewhere": {"--mode pod", nil, func(*sentry.Config) {}},
		"one dash":               {"-port 1 -healthz-port=2", nil, func(c *sentry.Config) { c.Port, c.HealthPort = 1, 2 }},
		"ports": {"--port 1 --healthz-port 2 --metrics-port 3 --listen-address 127.0.0.1", nil, func(c *sentry.Config) {
			c.Port, c.HealthPort, c.MetricsPort, c.ListenAddress = 1, 2, 3, "127.0.0.1"
		}},
		"files": {"--issuer-credentials d --issuer-ca-filename a --issuer-certificate-filename b --issuer-key-filename k", nil, func(c *sentry.Config) {
			c.Credentials, c.AnchorsFile, c.CertificateFile, c.KeyFile = "d", "a", "b", "k"
		}},
		"the environment's kubeconfig": {"", map[string]string{"KUBE_CONFIG": "k"}, func(c *sentry.Config) { c.Kubeconfig = "k" }},
		"tokens": {"-jwt-enabled --jwt-key-filename k --jwks-filename s --jwt-issuer i --jwt-signing-algorithm ES256 --jwt-key-id 1 --jwt-ttl 1h", nil,
			func(c *sentry.Config) {
				c.JWT = sentry.JWT{Enabled: true, KeyFile: "k", SetFile: "s", Issuer: "i", Algorithm: "ES256", KeyID: "1", TTL: time.Hour}
			}},
		"discovery": {"--oidc-enabled --oidc-server-listen-port 1 --oidc-server-listen-address a --oidc-server-tls-enabled=false --oidc-jwks-uri u " +
			"--oidc-path-prefix p --oidc-allowed-hosts h1,h2 --oidc-server-tls-cert-file c --oidc-server-tls-key-file k", nil, func(c *sentry.Config) {
			c.OIDC = sentry.OIDC{Enabled: true, Port: 1, ListenAddress: "a", SetURL: "u", PathPrefix: "p", AllowedHosts: []string{"h1", "h2"},
				CertificateFile: "c", KeyFile: "k"}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := parse(strings.Fields(test.arguments), environment(test.environment))
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			test.change(&want)
			if diff := cmp.Diff(want, f.cfg); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
		})
	}
}

// TestExits runs the command as main does.
func TestExits(t *testing.T) {
	tests := map[string]struct {
		arguments      string
		code           int
		stdout, stderr string // what must be in it
	}{
		"version":      {"--version", process.OK, "edge", ""},
		"help":         {"--help", process.OK, "--issuer-credentials", ""},
		"unknown flag": {"--colour red", process.Usage, "", "unknown flag: --colour"},
		"no port":      {"--port 70000", process.Usage, "", "invalid value for --port: 70000 is no port"},
		"log level":    {"--log-level loud", process.Usage, "", "invalid value for --log-level: loud"},
		"no start":     {"--config /no/such --trust-domain td", process.Failure, `Fatal error from sentry: loading default config. couldn't find config name \"/no/such\"`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(strings.Fields(test.arguments), &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			if strings.Contains(stdout.String(), "Received") {
				t.Errorf("a signal is told of that never came: %s", stdout.String())
			}
		})
	}
}

// TestSignal: a signal ends the authority well.
func TestSignal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	started := &watched{Writer: &stdout, text: "Running gRPC server", seen: make(chan struct{})}
	go func() {
		<-started.seen
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}()
	arguments := []string{"--issuer-credentials", t.TempDir(), "--listen-address", "127.0.0.1", "--healthz-listen-address", "127.0.0.1",
		"--port", "0", "--healthz-port", "0", "--enable-metrics=false"}
	if code := run(arguments, started, &stderr); code != process.OK {
		t.Errorf("exit code %d", code)
	}
	for _, line := range []string{"Received signal 'terminated'; beginning shutdown", "Sentry shut down gracefully"} {
		if !strings.Contains(stdout.String(), line) {
			t.Errorf("the log lacks %q:\n%s", line, stdout.String())
		}
	}
}

// watched closes seen when text is written. The logger writes one line at a time.
type watched struct {
	io.Writer
	text string
	seen chan struct{}
	once sync.Once
}

func (w *watched) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.once.Do(func() { close(w.seen) })
	}
	return w.Writer.Write(p)
}
