package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/daprd/daprd/pkg/injector"
	"github.com/daprd/daprd/pkg/process"
)

func defaults() injector.Config {
	return injector.Config{Port: 4000, Observed: process.Observed{HealthPort: 8080, EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0"},
		AnchorsFile: "/var/run/secrets/dapr.io/tls/ca.crt", Mesh: injector.Mesh{
			TrustDomain: "localhost", ClusterDomain: "cluster.local", PullPolicy: "IfNotPresent",
			SchedulerEnabled: true, ActorsEnabled: true, RunAsNonRoot: true, ReadOnlyRootFilesystem: true,
			EntrypointTolerations: []corev1.Toleration{{Effect: "NoSchedule", Key: "alibabacloud.com/eci"}, {Effect: "NoSchedule", Key: "azure.com/aci"},
				{Effect: "NoSchedule", Key: "aws"}, {Effect: "NoSchedule", Key: "huawei.com/cci"}},
		}}
}

// TestSettings: what flags and variables come to.
func TestSettings(t *testing.T) {
	user := int64(1000)
	tests := map[string]struct {
		arguments   string
		environment map[string]string
		change      func(*injector.Config)
	}{
		"none": {"", nil, func(*injector.Config) {}},
		"flags": {"--port 1 --healthz-port=2 --metrics-port 3 --listen-address l --healthz-listen-address h --metrics-listen-address m --enable-metrics=false --kubeconfig k --scheduler-enabled=false --log-level debug", nil,
			func(c *injector.Config) {
				c.Port, c.HealthPort, c.MetricsPort, c.ListenAddress, c.Kubeconfig = 1, 2, 3, "l", "k"
				c.HealthListenAddress, c.MetricsListenAddress, c.EnableMetrics, c.Mesh.SchedulerEnabled = "h", "m", false, false
			}},
		"one dash": {"-port 1 -log-level warn", nil, func(c *injector.Config) { c.Port = 1 }},
		"texts": {"", map[string]string{"NAMESPACE": "n", "SIDECAR_IMAGE": "i", "SIDECAR_IMAGE_PULL_POLICY": "Always", "KUBE_CLUSTER_DOMAIN": "d", "KUBE_CONFIG": "k",
			"DAPR_CONTROL_PLANE_TRUST_DOMAIN": "t", "DAPR_SENTRY_ADDRESS": "s:1", "DAPR_SENTRY_TOKEN_FILE": "f", "DAPR_TRUST_ANCHORS_FILE": "a",
			"ALLOWED_SERVICE_ACCOUNTS": "a:b", "ALLOWED_SERVICE_ACCOUNTS_PREFIX_NAMES": "c:*",
			"ACTORS_SERVICE_NAME": "x", "ACTORS_SERVICE_ADDRESS": "x:1", "REMINDERS_SERVICE_NAME": "y", "REMINDERS_SERVICE_ADDRESS": "y:1"},
			func(c *injector.Config) {
				m := &c.Mesh
				m.Namespace, m.Image, m.PullPolicy, m.ClusterDomain, m.TrustDomain = "n", "i", "Always", "d", "t"
				c.Kubeconfig, c.SentryAddress, c.TokenFile, c.AnchorsFile, c.AllowedAccounts, c.AllowedAccountPrefixes = "k", "s:1", "f", "a", "a:b", "c:*"
				m.ActorsService, m.ActorsAddress, m.RemindersService, m.RemindersAddress = "x", "x:1", "y", "y:1"
			}},
		"switches": {"", map[string]string{"ACTORS_ENABLED": "false", "SIDECAR_RUN_AS_NON_ROOT": "false", "SIDECAR_READ_ONLY_ROOT_FILESYSTEM": "no",
			"SIDECAR_DROP_ALL_CAPABILITIES": "true", "ENABLE_K8S_DOWNWARD_APIS": "yes", "NATIVE_SIDECAR_ENABLED": "1"}, func(c *injector.Config) {
			m := &c.Mesh
			m.ActorsEnabled, m.RunAsNonRoot, m.ReadOnlyRootFilesystem, m.DropAllCapabilities, m.DownwardAPI, m.Native = false, false, false, true, true, true
		}},
		"users": {"", map[string]string{"SIDECAR_RUN_AS_USER": "1000", "SIDECAR_RUN_AS_GROUP": "1000"}, func(c *injector.Config) { c.Mesh.User, c.Mesh.Group = &user, &user }},
		"tolerations": {"", map[string]string{"IGNORE_ENTRYPOINT_TOLERATIONS": `[{"key":"k"}]`}, func(c *injector.Config) {
			c.Mesh.EntrypointTolerations = []corev1.Toleration{{Key: "k"}}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			getenv := func(name string) string { return test.environment[name] }
			f, misuse := parse(strings.Fields(test.arguments), getenv)
			if misuse != nil {
				t.Fatal(misuse)
			}
			if err := f.environment(getenv, "/no/such"); err != nil {
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

// TestClusterDomain: what is not in the environment is in what the kubelet writes.
func TestClusterDomain(t *testing.T) {
	tests := map[string]struct{ text, variable, want string }{
		"the kubelet's":    {"# c\nnameserver 10.0.0.1\nsearch ns.svc.example.internal svc.example.internal example.internal\noptions ndots:5\n", "", "example.internal"},
		"a dot at the end": {"search svc.example.internal.\n", "", "example.internal"},
		"the variable":     {"search svc.example.internal\n", "d", "d"},
		"no cluster's":     {"search example.com\n", "", "cluster.local"},
		"nothing":          {"", "", "cluster.local"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := newFlags(func(string) string { return "" })
			err := f.environment(func(name string) string { return map[string]string{"KUBE_CLUSTER_DOMAIN": test.variable}[name] }, path)
			if got := f.cfg.Mesh.ClusterDomain; err != nil || got != test.want {
				t.Errorf("got %q %v", got, err)
			}
		})
	}
}

// TestExits runs the command as main does.
func TestExits(t *testing.T) {
	enough := map[string]string{"NAMESPACE": "dapr-system", "SIDECAR_IMAGE": "daprd"}
	tests := map[string]struct {
		arguments      string
		environment    map[string]string
		code           int
		stdout, stderr string // what must be in it
	}{
		"version":      {"--version", nil, process.OK, "edge", ""},
		"help":         {"--help", nil, process.OK, "--scheduler-enabled", ""},
		"unknown flag": {"--colour red", nil, process.Usage, "", "unknown flag: --colour"},
		"no port":      {"--port 70000", nil, process.Usage, "", "invalid value for --port: 70000 is no port"},
		"log level":    {"--log-level loud", nil, process.Usage, "", "invalid value for --log-level: loud"},
		"no namespace": {"", map[string]string{"SIDECAR_IMAGE": "i"}, process.Failure, "Fatal error from injector: environment variable NAMESPACE is needed", ""},
		"no image":     {"", map[string]string{"NAMESPACE": "n"}, process.Failure, "environment variable SIDECAR_IMAGE is needed", ""},
		"a policy": {"", with(enough, "SIDECAR_IMAGE_PULL_POLICY", "Sometimes"), process.Failure,
			`environment variable SIDECAR_IMAGE_PULL_POLICY: \"Sometimes\" is not allowed; it takes Always, IfNotPresent, Never`, ""},
		"a user":      {"", with(enough, "SIDECAR_RUN_AS_USER", "root"), process.Failure, `environment variable SIDECAR_RUN_AS_USER: \"root\" is not allowed`, ""},
		"tolerations": {"", with(enough, "IGNORE_ENTRYPOINT_TOLERATIONS", "aws"), process.Failure, `environment variable IGNORE_ENTRYPOINT_TOLERATIONS: want a list of tolerations`, ""},
		"accounts":    {"", with(enough, "ALLOWED_SERVICE_ACCOUNTS", "x"), process.Failure, `environment variable ALLOWED_SERVICE_ACCOUNTS: \"x\" is not allowed; it takes namespace:name`, ""},
		"no cluster":  {"--kubeconfig /no/such", enough, process.Failure, "find the API server: ", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"KUBERNETES_SERVICE_HOST", "NAMESPACE", "SIDECAR_IMAGE"} {
				t.Setenv(variable, "")
			}
			for k, v := range test.environment {
				t.Setenv(k, v)
			}
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

func with(environment map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for k, v := range environment {
		all[k] = v
	}
	return all
}
