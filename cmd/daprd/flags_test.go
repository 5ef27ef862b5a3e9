package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/runtime"
	"github.com/daprd/daprd/pkg/security"
)

// tokens compares tokens by their values.
var tokens = cmp.Comparer(func(a, b security.Token) bool { return a.Reveal() == b.Reveal() })

func noEnvironment(string) string { return "" }

// defaults are the Config of a command line that names the app only.
func defaults() runtime.Config {
	return runtime.Config{
		Mode: runtime.Standalone, AppID: "a", AppProtocol: config.HTTP, AppChannelAddress: "127.0.0.1", AppMaxConcurrency: -1,
		HTTPPort: 3500, GRPCPort: 50001, ListenAddresses: []string{""}, MaxBodySize: 4 << 20, ReadBufferSize: 4 << 10,
		Grace: 5 * time.Second, LogLevel: "info", EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0",
		ProfilePort: 7777,
	}
}

func TestFlags(t *testing.T) {
	block, on, off := 90*time.Second, true, false
	tests := map[string]struct {
		arguments string
		change    func(*runtime.Config)
	}{
		"the app only": {"--app-id a", func(*runtime.Config) {}},
		"one dash":     {"-app-id a -app-port 6000 -log-as-json", func(c *runtime.Config) { c.AppPort, c.LogAsJSON = 6000, true }},
		"equals signs": {"-app-id=a --app-port=6000", func(c *runtime.Config) { c.AppPort = 6000 }},
		"a negative value is no flag": {"--app-id a --app-max-concurrency -1 --dapr-graceful-shutdown-seconds -1",
			func(*runtime.Config) {}},
		"what the injector of 1.7 passes": {"--mode standalone --dapr-http-port 3500 --dapr-grpc-port 50001 --dapr-internal-grpc-port 50002 " +
			"--dapr-listen-addresses [::1],127.0.0.1 --dapr-public-port 3501 --app-port 3000 --app-id a --control-plane-address c:80 " +
			"--app-protocol http --placement-host-address p:50005 --log-level info --app-max-concurrency -1 --sentry-address s:80 " +
			"--enable-metrics=true --metrics-port 9090 --dapr-http-max-request-size -1 --dapr-http-read-buffer-size -1 " +
			"--dapr-graceful-shutdown-seconds -1 --enable-api-logging=false --http-stream-request-body",
			func(c *runtime.Config) {
				c.InternalGRPCPort, c.PublicPort, c.AppPort = 50002, 3501, 3000
				c.ListenAddresses = []string{"::1", "127.0.0.1"}
				c.APILogging = &off
				c.NotInUse = []string{"--control-plane-address (Kubernetes)", "--placement-host-address (actors)", "--sentry-address (mutual TLS)"}
			}},
		"folders":        {"--app-id a --resources-path x,y --resources-path z", func(c *runtime.Config) { c.ResourcesPaths = []string{"x", "y", "z"} }},
		"an old folder":  {"--app-id a --components-path x", func(c *runtime.Config) { c.ResourcesPaths = []string{"x"} }},
		"both folders":   {"--app-id a --components-path x --resources-path y", func(c *runtime.Config) { c.ResourcesPaths = []string{"y"} }},
		"configurations": {"--app-id a --config x --config y", func(c *runtime.Config) { c.ConfigFiles = []string{"x", "y"} }},
		"sizes":          {"--app-id a --max-body-size 2Gi --read-buffer-size 16Ki", func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 2<<30, 16<<10 }},
		"old sizes":      {"--app-id a --dapr-http-max-request-size 16 --dapr-http-read-buffer-size 8", func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 16<<20, 8<<10 }},
		"new beats old":  {"--app-id a --max-body-size 1Mi --dapr-http-max-request-size 16", func(c *runtime.Config) { c.MaxBodySize = 1 << 20 }},
		"no limit":       {"--app-id a --max-body-size 0", func(c *runtime.Config) { c.MaxBodySize = 0 }},
		"-1 is standard": {"--app-id a --max-body-size -1", func(*runtime.Config) {}},
		"protocols":      {"--app-id a --app-protocol GRPC --app-ssl", func(c *runtime.Config) { c.AppProtocol = config.GRPCS }},
		"shutdown": {"--app-id a --dapr-graceful-shutdown-seconds 0 --dapr-block-shutdown-duration 90s",
			func(c *runtime.Config) { c.Grace, c.BlockShutdown = 0, &block }},
		"API log":        {"--app-id a --enable-api-logging", func(c *runtime.Config) { c.APILogging = &on }},
		"init endpoints": {"--app-id a --disable-init-endpoints config,subscribe", func(c *runtime.Config) { c.SkipAppConfiguration = true }},
		"mTLS is told of": {"--app-id a --enable-mtls", func(c *runtime.Config) {
			c.NotInUse = []string{"--enable-mtls (mutual TLS: calls between sidecars are NOT encrypted)"}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			test.change(&want)
			got, what, err := parse(strings.Fields(test.arguments), noEnvironment, io.Discard)
			if err != nil || what != actionRun {
				t.Fatalf("action %v, error %v", what, err)
			}
			if diff := cmp.Diff(want, got, tokens); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEmptyValuesOfTheInjector(t *testing.T) {
	got, _, err := parse([]string{"--app-id", "a", "--app-port", "", "--config", "", "--unix-domain-socket", "", "--placement-host-address", ""}, noEnvironment, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), got, tokens); diff != "" {
		t.Error(diff)
	}
}

func TestEnvironment(t *testing.T) {
	environment := map[string]string{"NAMESPACE": "ns", "POD_NAME": "p", "DAPR_HOST_IP": "10.0.0.1", "DAPR_API_TOKEN": "in",
		"APP_API_TOKEN": "out", "DAPR_HTTP_DISABLE_H2C": "Yes"}
	got, _, err := parse([]string{"--app-id", "a"}, func(name string) string { return environment[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Namespace, want.PodName, want.HostAddress, want.DisableH2C = "ns", "p", "10.0.0.1", true
	want.APIToken, want.AppToken = security.NewToken("in"), security.NewToken("out")
	if diff := cmp.Diff(want, got, tokens); diff != "" {
		t.Error(diff)
	}
}

func TestUnusableValues(t *testing.T) {
	tests := map[string]string{
		"--dapr-http-port zz":             `error parsing dapr-http-port flag: strconv.Atoi: parsing "zz": invalid syntax`,
		"--dapr-grpc-port zz":             "error parsing dapr-grpc-port flag: ",
		"--profile-port zz":               "error parsing profile-port flag: ",
		"--dapr-internal-grpc-port zz":    "error parsing dapr-internal-grpc-port: ",
		"--dapr-public-port zz":           "error parsing dapr-public-port: ",
		"--app-port 70000":                "error parsing app-port: 70000 is no port; it takes 0 to 65535",
		"--app-protocol smtp":             "invalid value for 'app-protocol': smtp (it takes http, https, h2c, grpc, grpcs)",
		"--max-body-size 4X":              "invalid value for 'max-body-size' option: \"4X\" is no size",
		"--read-buffer-size many":         "invalid value for 'read-buffer-size' option: ",
		"--disable-init-endpoints jobs":   "invalid value for 'disable-init-endpoints': jobs",
		"--enable-api-logging=perhaps":    "invalid value for 'enable-api-logging': perhaps",
		"--dapr-http-port 99999999999999": "error parsing dapr-http-port flag: ",
		"--dapr-internal-grpc-port -5":    "error parsing dapr-internal-grpc-port: -5 is no port",
	}
	for arguments, want := range tests {
		t.Run(arguments, func(t *testing.T) {
			_, _, err := parse(append([]string{"--app-id", "a"}, strings.Fields(arguments)...), noEnvironment, io.Discard)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
			if usage := new(usageError); errors.As(err, &usage) {
				t.Error("an unusable value is no usage error")
			}
		})
	}
}

// TestExits runs the command as main does.
func TestExits(t *testing.T) {
	tests := map[string]struct {
		arguments      string
		code           int
		stdout, stderr string // what must be the last line of it
	}{
		"unknown flag":        {"--app-id a --colour red", exitUsage, "", "unknown flag: --colour"},
		"single-letter flag":  {"-x", exitUsage, "", "unknown shorthand flag: 'x' in -x"},
		"version":             {"--version", exitOK, "edge", ""},
		"version before rest": {"--version --build-info", exitOK, "edge", ""},
		"build info":          {"-build-info", exitOK, "Git Version: edge", ""},
		"help":                {"--help", exitOK, "Flags take one dash or two. Flags of Dapr that are missing here are accepted and told of in the log.", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(strings.Fields(test.arguments), &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if got := lastLine(stdout.String()); got != test.stdout {
				t.Errorf("stdout ends with %q, want %q", got, test.stdout)
			}
			if got := lastLine(stderr.String()); got != test.stderr {
				t.Errorf("stderr ends with %q, want %q", got, test.stderr)
			}
		})
	}
}

func TestFatalLines(t *testing.T) {
	tests := map[string]struct{ arguments, want string }{
		"no app id":   {"", "Fatal error from runtime: parameter app-id cannot be empty: name the application with --app-id"},
		"a dotted id": {"--app-id a.b", "Fatal error from runtime: parameter app-id cannot contain dots: a.b (a dot separates app id and namespace in calls)"},
		"mode":        {"--app-id a --mode foo", "Fatal error from runtime: invalid mode: foo (it takes standalone, kubernetes)"},
		"log level":   {"--app-id a --log-level loud", "Fatal error from runtime: invalid value for --log-level: loud (it takes debug, info, warn, error, fatal)"},
		"port":        {"--app-id a --dapr-http-port x", "Fatal error from runtime: error parsing dapr-http-port flag: strconv.Atoi: parsing \\\"x\\\": invalid syntax"},
		"same port":   {"--app-id a --app-port 3500", "Fatal error from runtime: the 'dapr-http-port' argument value 3500 conflicts with 'app-port'"},
		"config":      {"--app-id a --enable-metrics=false --config /no/such", "Fatal error from runtime: error loading configuration: stat /no/such: no such file or directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(strings.Fields(test.arguments), &stdout, &stderr); code != exitFailure {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(stdout.String(), test.want) {
				t.Errorf("the log lacks %q:\n%s", test.want, stdout.String())
			}
		})
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func FuzzFlags(f *testing.F) {
	for _, seed := range []string{"--app-id a", "-app-id=a -app-port 6000", "--max-body-size 1e3Ki", "-- -x", "--config=,,", "-1 -a --", "--app-max-concurrency -1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		cfg, what, err := parse(strings.Fields(line), noEnvironment, io.Discard)
		if err != nil || what != actionRun {
			return
		}
		for _, port := range []int{cfg.HTTPPort, cfg.GRPCPort, cfg.InternalGRPCPort, cfg.AppPort, cfg.PublicPort, cfg.MetricsPort, cfg.ProfilePort} {
			if port < 0 || port > 65535 {
				t.Errorf("%q gives the port %d", line, port)
			}
		}
		_ = cfg.Validate()
	})
}
