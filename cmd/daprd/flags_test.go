package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

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
		AppBindingOptionsTimeout: 3 * time.Second,
		HTTPPort:                 3500, GRPCPort: 50001, ListenAddresses: []string{""}, MaxBodySize: 4 << 20, ReadBufferSize: 4 << 10,
		Grace: 5 * time.Second, LogLevel: "info", EnableMetrics: true, MetricsPort: 9090, MetricsListenAddress: "0.0.0.0",
		ProfilePort: 7777, DisseminateTimeout: 30 * time.Second,
		MTLS: runtime.MTLS{ControlPlaneNamespace: "default", ControlPlaneTrustDomain: "localhost"},
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
				c.MTLS.SentryAddress = "s:80"
				c.Cluster.OperatorAddress = "c:80"
				c.PlacementAddress = "p:50005"
			}},
		"a cluster": {"--app-id a --mode kubernetes --control-plane-address c:80 --kubeconfig k --disable-builtin-k8s-secret-store", func(c *runtime.Config) {
			c.Mode, c.Cluster = runtime.Kubernetes, runtime.Cluster{OperatorAddress: "c:80", Kubeconfig: "k", WithoutSecretStore: true}
		}},
		"placement": {"--app-id a --placement-host-address p:1,q:2 --actors-disseminate-timeout 5s", func(c *runtime.Config) {
			c.PlacementAddress, c.DisseminateTimeout = "p:1,q:2", 5*time.Second
		}},
		"another service": {"--app-id a --actors-service other:p:1", func(c *runtime.Config) {
			c.NotInUse = []string{"flag --actors-service (another service of actors than placement)"}
		}},
		"placement as a service": {"--app-id a --actors-service placement:p:1", func(c *runtime.Config) { c.PlacementAddress = "p:1" }},
		"folders":                {"--app-id a --resources-path x,y --resources-path z", func(c *runtime.Config) { c.ResourcesPaths = []string{"x", "y", "z"} }},
		"an old folder":          {"--app-id a --components-path x", func(c *runtime.Config) { c.ResourcesPaths = []string{"x"} }},
		"both folders":           {"--app-id a --components-path x --resources-path y", func(c *runtime.Config) { c.ResourcesPaths = []string{"y"} }},
		"configurations":         {"--app-id a --config x --config y", func(c *runtime.Config) { c.ConfigFiles = []string{"x", "y"} }},
		"sizes":                  {"--app-id a --max-body-size 2Gi --read-buffer-size 16Ki", func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 2<<30, 16<<10 }},
		"a slow app":             {"--app-id a --app-binding-options-timeout 10s", func(c *runtime.Config) { c.AppBindingOptionsTimeout = 10 * time.Second }},
		"old sizes":              {"--app-id a --dapr-http-max-request-size 16 --dapr-http-read-buffer-size 8", func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 16<<20, 8<<10 }},
		"new beats old":          {"--app-id a --max-body-size 1Mi --dapr-http-max-request-size 16", func(c *runtime.Config) { c.MaxBodySize = 1 << 20 }},
		"no limit":               {"--app-id a --max-body-size 0", func(c *runtime.Config) { c.MaxBodySize = 0 }},
		"below nothing":          {"--app-id a --max-body-size -5 --dapr-http-read-buffer-size -7", func(c *runtime.Config) { c.MaxBodySize, c.ReadBufferSize = 0, 0 }},
		"old no limit":           {"--app-id a --dapr-http-max-request-size 0", func(c *runtime.Config) { c.MaxBodySize = 0 }},
		"old standards":          {"--app-id a --dapr-http-max-request-size -1 --dapr-http-read-buffer-size -1", func(*runtime.Config) {}},
		"older name":             {"--app-id a --dapr-http-stream-request-body=true", func(*runtime.Config) {}},
		"addresses":              {"--app-id a --dapr-listen-addresses ,[::1],,127.0.0.1", func(c *runtime.Config) { c.ListenAddresses = []string{"::1", "127.0.0.1"} }},
		"plain words":            {"--app-id a --enable-metrics false --app-port 6000 more", func(c *runtime.Config) { c.AppPort = 6000 }},
		"after --":               {"--app-id a -- --app-port 6000", func(*runtime.Config) {}},
		"values like flags": {"--config -my-config -app-id -a-b --app-channel-address=-x", func(c *runtime.Config) {
			c.ConfigFiles, c.AppID, c.AppChannelAddress = []string{"-my-config"}, "-a-b", "-x"
		}},
		"no app host":   {"--app-id a --app-channel-address=", func(*runtime.Config) {}},
		"last one wins": {"--app-id b --app-id a --app-protocol grpc --app-protocol=", func(*runtime.Config) {}},
		"defaults of later features are not told of": {"--app-id a --enable-mtls=false --app-health-check-path /healthz --scheduler-job-streams 3 " +
			"--scheduler-host-address= --control-plane-namespace default --enable-app-health-check=false", func(*runtime.Config) {}},
		"reload": {"--app-id a --hot-reload-reconcile-interval 10s", func(c *runtime.Config) { c.ReconcileInterval = 10 * time.Second }},
		"app health": {"--app-id a --enable-app-health-check --app-health-check-path /well --app-health-probe-interval 1 --app-health-probe-timeout 0 " +
			"--app-health-threshold -1", func(c *runtime.Config) {
			c.AppHealth = &runtime.AppHealth{Path: "/well", Interval: time.Second, Timeout: 500 * time.Millisecond, Threshold: 3}
		}},
		"-1 is standard": {"--app-id a --max-body-size -1", func(*runtime.Config) {}},
		"protocols":      {"--app-id a --app-protocol GRPC --app-ssl", func(c *runtime.Config) { c.AppProtocol = config.GRPCS }},
		"shutdown": {"--app-id a --dapr-graceful-shutdown-seconds 0 --dapr-block-shutdown-duration 90s",
			func(c *runtime.Config) { c.Grace, c.BlockShutdown = 0, &block }},
		"API log":        {"--app-id a --enable-api-logging", func(c *runtime.Config) { c.APILogging = &on }},
		"init endpoints": {"--app-id a --disable-init-endpoints config,subscribe", func(c *runtime.Config) { c.SkipAppConfiguration, c.SkipAppSubscriptions = true, true }},
		"mTLS": {"--app-id a --enable-mtls --sentry-address s:1 --control-plane-namespace dapr-system --control-plane-trust-domain cluster.local",
			func(c *runtime.Config) {
				c.MTLS = runtime.MTLS{Enabled: true, SentryAddress: "s:1", ControlPlaneNamespace: "dapr-system", ControlPlaneTrustDomain: "cluster.local"}
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

func TestVariablesOfIdentity(t *testing.T) {
	environment := map[string]string{"DAPR_TRUST_ANCHORS": "pem", "DAPR_TRUST_ANCHORS_FILE": "f", "DAPR_CERT_CHAIN": "chain", "DAPR_CERT_KEY": "secret",
		"DAPR_SENTRY_TOKEN_FILE": "t", "SENTRY_LOCAL_IDENTITY": "ns:sa", "DAPR_CONTROLPLANE_NAMESPACE": "cns", "DAPR_CONTROLPLANE_TRUST_DOMAIN": "ctd"}
	got, _, err := parse([]string{"--app-id", "a", "--control-plane-namespace", "flag"}, func(name string) string { return environment[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := runtime.MTLS{TrustAnchors: "pem", TrustAnchorsFile: "f", CertChain: "chain", CertKey: security.NewToken("secret"), SentryTokenFile: "t",
		SentryIdentity: "ns:sa", ControlPlaneNamespace: "flag", ControlPlaneTrustDomain: "ctd"}
	if diff := cmp.Diff(want, got.MTLS, tokens); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesOfLaterFeatures(t *testing.T) {
	environment := map[string]string{"DAPR_SCHEDULER_HOST_ADDRESS_DNS_A": "s"}
	got, _, err := parse([]string{"--app-id", "a", "--reminders-service", "s:1"}, func(name string) string { return environment[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"flag --reminders-service (actors)", "environment variable DAPR_SCHEDULER_HOST_ADDRESS_DNS_A (jobs)"}
	if diff := cmp.Diff(want, got.NotInUse); diff != "" {
		t.Error(diff)
	}
}

// TestFlagsOfDapr gives every flag of the usage texts of Dapr, in every form, its default.
func TestFlagsOfDapr(t *testing.T) {
	forms := map[string]*regexp.Regexp{
		"usage-1.7.1.txt":  regexp.MustCompile(`(?m)^  -([a-z-]+)( [a-z]+)?$\n.*?(?:\(default "?(.*?)"?\))?$`),
		"usage-1.18.3.txt": regexp.MustCompile(`(?m)^      --([a-z0-9-]+)( [a-z]+)?  .*?(?:\(default "?([^ ]*?)"?\))?$`),
	}
	counts := map[string]int{"usage-1.7.1.txt": 34, "usage-1.18.3.txt": 52}
	for file, form := range forms {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		found := form.FindAllStringSubmatch(string(text), -1)
		if len(found) != counts[file] {
			t.Errorf("%s: %d flags found", file, len(found))
		}
		for _, flag := range found {
			t.Run(file+" "+flag[1], func(t *testing.T) { acceptsDefault(t, flag[1], flag[2] != "", flag[3]) })
		}
	}
}

func acceptsDefault(t *testing.T, name string, takesValue bool, standard string) {
	for _, dashes := range []string{"-", "--"} {
		arguments := []string{dashes + name}
		switch {
		case !takesValue:
		case standard == "" && strings.HasSuffix(name, "duration"):
			arguments = append(arguments, "0s")
		case standard == "" && name == "hot-reload-reconcile-interval":
			arguments = append(arguments, "0")
		default:
			arguments = append(arguments, standard)
		}
		_, what, err := parse(append(arguments, "--app-id", "a"), noEnvironment, io.Discard)
		if err != nil || (what != actionRun && takesValue) {
			t.Errorf("%q: action %d, error %v", arguments, what, err)
		}
	}
}

func TestDeprecatedFlags(t *testing.T) {
	for _, name := range []string{"components-path", "dapr-http-max-request-size", "dapr-http-read-buffer-size", "app-ssl",
		"dapr-http-stream-request-body", "http-stream-request-body"} {
		var stderr bytes.Buffer
		if _, _, err := parse([]string{"-" + name + "=1", "--app-id", "a"}, noEnvironment, &stderr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := "Flag --" + name + " has been deprecated, "; !strings.HasPrefix(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("stderr %q, want a line that begins with %q", stderr.String(), want)
		}
		if strings.Contains(newFlags().usage(), "--"+name+" ") {
			t.Errorf("the usage text shows the deprecated --%s", name)
		}
	}
}

// TestUsage: every flag in use has its line.
func TestUsage(t *testing.T) {
	f := newFlags()
	usage := f.usage()
	shown := 0
	for _, g := range f.groups {
		g.set.VisitAll(func(flag *pflag.Flag) {
			shown++
			if !strings.Contains(usage, "--"+flag.Name) || flag.Usage == "" {
				t.Errorf("--%s is not explained", flag.Name)
			}
		})
	}
	if shown < 35 {
		t.Errorf("%d flags are shown", shown)
	}
	for _, line := range []string{`0 for no bound (default "4Mi")`, `(default "http")`, "Usage: daprd --app-id NAME"} {
		if !strings.Contains(strings.Join(strings.Fields(usage), " "), line) {
			t.Errorf("the usage text lacks %q", line)
		}
	}
}

func TestUnusableValues(t *testing.T) {
	tests := map[string]string{
		"--dapr-http-port zz":                                  `error parsing dapr-http-port flag: strconv.Atoi: parsing "zz": invalid syntax`,
		"--dapr-grpc-port zz":                                  "error parsing dapr-grpc-port flag: ",
		"--profile-port zz":                                    "error parsing profile-port flag: ",
		"--dapr-internal-grpc-port zz":                         "error parsing dapr-internal-grpc-port: ",
		"--dapr-public-port zz":                                "error parsing dapr-public-port: ",
		"--app-port 70000":                                     "error parsing app-port: 70000 is no port; it takes 0 to 65535",
		"--app-protocol smtp":                                  "invalid value for 'app-protocol': smtp (it takes http, https, h2c, grpc, grpcs)",
		"--max-body-size 4X":                                   "invalid value for 'max-body-size' option: \"4X\" is no size",
		"--actors-disseminate-timeout 0s":                      "invalid value for 'actors-disseminate-timeout' option: 0s",
		"--read-buffer-size many":                              "invalid value for 'read-buffer-size' option: ",
		"--disable-init-endpoints jobs":                        "invalid value for 'disable-init-endpoints': jobs",
		"--metrics-port zz":                                    "error parsing metrics-port flag: ",
		"--dapr-http-port=":                                    "error parsing dapr-http-port flag: ",
		"--max-body-size 9Ei":                                  "invalid value for 'max-body-size' option: \"9Ei\" is too large",
		"--dapr-http-max-request-size 9223372036854775807":     "invalid value for 'dapr-http-max-request-size' option: ",
		"--dapr-graceful-shutdown-seconds 9223372036854775807": "invalid value for 'dapr-graceful-shutdown-seconds': ",
		"--dapr-http-port 99999999999999":                      "error parsing dapr-http-port flag: ",
		"--dapr-internal-grpc-port -5":                         "error parsing dapr-internal-grpc-port: -5 is no port",
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
		"help":                {"--help", exitOK, "does not have yet are told of in the log, deprecated ones here.", ""},
		"help before rest":    {"-help --colour red", exitOK, "does not have yet are told of in the log, deprecated ones here.", ""},
		"short help":          {"-h", exitOK, "does not have yet are told of in the log, deprecated ones here.", ""},
		"rest before help":    {"--colour red --help", exitUsage, "", "unknown flag: --colour"},
		"version before app":  {"--app-id a.b --dapr-http-port x --version", exitOK, "edge", ""},
		"bad boolean":         {"--app-id a --enable-api-logging=perhaps", exitUsage, "", `invalid argument "perhaps" for "--enable-api-logging" flag: strconv.ParseBool: parsing "perhaps": invalid syntax`},
		"bad number":          {"--app-id a --app-health-threshold many", exitUsage, "", `invalid argument "many" for "--app-health-threshold" flag: must be an integer`},
		"value missing":       {"--app-id", exitUsage, "", "flag needs an argument: --app-id"},
		"wait for no port":    {"--wait --dapr-http-port zz", exitUsage, "", `error parsing dapr-http-port flag: strconv.Atoi: parsing "zz": invalid syntax`},
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
		if what < actionRun || what > actionWait {
			t.Errorf("%q gives the action %d", line, what)
		}
		if err != nil || what != actionRun {
			return
		}
		for _, port := range []int{cfg.HTTPPort, cfg.GRPCPort, cfg.InternalGRPCPort, cfg.AppPort, cfg.PublicPort, cfg.MetricsPort, cfg.ProfilePort} {
			if port < 0 || port > 65535 {
				t.Errorf("%q gives the port %d", line, port)
			}
		}
		if cfg.MaxBodySize < 0 || cfg.ReadBufferSize < 0 || cfg.Grace < 0 || len(cfg.ListenAddresses) == 0 || cfg.AppChannelAddress == "" {
			t.Errorf("%q gives %+v", line, cfg)
		}
		if err := cfg.Validate(); err == nil && cfg.AppID == "" {
			t.Errorf("%q is valid without an app id", line)
		}
	})
}

func TestProbesThatOverlap(t *testing.T) {
	_, _, err := parse(strings.Fields("--app-id a --enable-app-health-check --app-health-probe-interval 1 --app-health-probe-timeout 1001"), noEnvironment, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'") {
		t.Errorf("error %v", err)
	}
}
