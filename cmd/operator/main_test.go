package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/operator"
	"github.com/daprd/daprd/pkg/process"
)

func defaults() operator.Config {
	return operator.Config{Configuration: "daprsystem", Port: 6500, WebhookPort: 19443, MaxRestarts: 20,
		AnchorsFile: "/var/run/secrets/dapr.io/tls/ca.crt",
		Observed:    process.Observed{HealthPort: 8080, EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0"}}
}

func TestFlags(t *testing.T) {
	tests := map[string]struct {
		arguments   string
		environment map[string]string
		change      func(*operator.Config)
	}{
		"none": {"", nil, func(*operator.Config) {}},
		"the chart's": {"--log-level debug --log-as-json=false --enable-metrics=true --metrics-port 9091 --healthz-port 8081 --port 6501 --webhook-server-port 19444 " +
			"--config c --trust-anchors-file f --watch-interval 0 --max-pod-restarts-per-minute 5 --watchdog-can-patch-pod-labels --disable-service-reconciler --watch-namespace n",
			map[string]string{"NAMESPACE": "dapr-system"}, func(c *operator.Config) {
				c.MetricsPort, c.HealthPort, c.Port, c.WebhookPort, c.Configuration, c.AnchorsFile = 9091, 8081, 6501, 19444, "c", "f"
				c.MaxRestarts, c.PatchPods, c.WithoutServices, c.WatchNamespace, c.Namespace = 5, true, true, "n", "dapr-system"
			}},
		"Dapr's others": {"-disable-leader-election --enable-argo-rollout-service-reconciler --cache-sync-period 10h --certchain d", nil,
			func(c *operator.Config) { c.Alone, c.Rollouts = true, true }},
		"once":        {"--watch-interval once", nil, func(c *operator.Config) { c.Watchdog = operator.Once }},
		"an interval": {"--watch-interval 1m", nil, func(c *operator.Config) { c.Watchdog = operator.WatchInterval(time.Minute) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, misuse := parse(strings.Fields(test.arguments), func(name string) string { return test.environment[name] })
			if misuse != nil {
				t.Fatal(misuse)
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
		arguments, namespace string
		code                 int
		stdout, stderr       string // what must be in it
	}{
		"version":      {"--version", "", process.OK, "edge", ""},
		"help":         {"--help", "", process.OK, "--watch-interval", ""},
		"unknown flag": {"--colour red", "", process.Usage, "", "unknown flag: --colour"},
		"no port":      {"--webhook-server-port 70000", "", process.Usage, "", "invalid value for --webhook-server-port: 70000 is no port"},
		"no interval":  {"--watch-interval often", "", process.Usage, "", "want 0 for never, once, or a duration like 1m"},
		"no namespace": {"", "", process.Failure, "Fatal error from operator: environment variable NAMESPACE is needed", ""},
		"needless":     {"--certchain d", "", process.Failure, "--certchain has no effect", ""},
		"no cluster":   {"--kubeconfig /no/such", "n", process.Failure, "find the API server: ", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			t.Setenv("NAMESPACE", test.namespace)
			var stdout, stderr bytes.Buffer
			if code := run(strings.Fields(test.arguments), &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}
