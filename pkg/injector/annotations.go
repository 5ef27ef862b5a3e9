package injector

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/daprd/daprd/pkg/config"
)

// prefix stands before the name of every annotation, and of the labels that an injected pod gets.
const prefix = "dapr.io/"

// Annotation is a row of the table: one of those by which a pod says what its sidecar is to be.
type Annotation struct {
	// Name is without the prefix.
	Name string
	// Default is what holds without it, in words where it is no value.
	Default string
	// Allowed says what its value may be.
	Allowed string
	// Meaning is for users.
	Meaning string
	// Instead is what to write in place of it, "" for one that is not out of date.
	Instead string

	// set reads a value; false for one that is not allowed. A blank value is read only by those that give it a meaning.
	set   func(s *settings, value string) bool
	blank bool
}

// row makes an Annotation of a kind and the place of its value.
func row[T any](name, standard string, k kind[T], field func(*settings) *T, meaning string) Annotation {
	return Annotation{Name: name, Default: standard, Allowed: k.allowed, Meaning: meaning, set: func(s *settings, text string) bool {
		value, ok := k.read(text)
		if ok {
			*field(s) = value
		}
		return ok
	}}
}

// instead marks one that is out of date.
func (a Annotation) instead(text string) Annotation { a.Instead = text; return a }

// orBlank marks one whose blank value has a meaning.
func (a Annotation) orBlank() Annotation { a.blank = true; return a }

// Annotations is the table, those of Dapr 1.18 and of 1.7. In this order values are read and, in the documentation, shown.
func Annotations() []Annotation {
	return slices.Concat(ofApplication(), ofProcess(), ofHealth(), ofAPIs(), ofLimits(), ofCluster(), ofContainer())
}

const maxInt32 = 1<<31 - 1

func ofApplication() []Annotation {
	return []Annotation{
		row("enabled", "false", boolean(), func(s *settings) *bool { return &s.enabled }, "give the pod a sidecar"),
		row("app-id", "the pod's name", text("lower-case letters, digits and -, 58 at most: <app-id>-dapr is the name of its service", isAppID),
			func(s *settings) *string { return &s.appID }, "the application's name in the mesh"),
		row("app-port", "none", count(0, 65535), func(s *settings) *int { return &s.appPort }, "the port that the application listens on; without one nothing is brought to it"),
		row("app-protocol", "http", oneOf("http", "https", "h2c", "grpc", "grpcs"), func(s *settings) *string { return &s.appProtocol }, "what the application speaks"),
		row("app-ssl", "false", boolean(), func(s *settings) *bool { return &s.appSSL }, "the application speaks TLS").instead("app-protocol https or grpcs"),
		row("app-channel-address", "127.0.0.1", host(), func(s *settings) *string { return &s.appAddress }, "the host of the application"),
		row("app-max-concurrency", "no bound", count(-1, maxInt32), func(s *settings) *int { return &s.appMaxConcurrency }, "calls to the application at once; 0 or -1 for no bound"),
		row("app-binding-options-timeout", "3s", optional(duration(1, "")), func(s *settings) **time.Duration { return &s.bindingTimeout },
			"how long the application may take to say whether it wants the events of an input binding"),
		row("disable-init-endpoints", "none", list(oneOf("config", "subscribe")), func(s *settings) *[]string { return &s.skipInit }, "calls to the application to leave out at the start"),
	}
}

func ofProcess() []Annotation {
	return []Annotation{
		row("config", "none", objectName(), func(s *settings) *string { return &s.configuration }, "the Configuration, in the pod's namespace"),
		row("log-level", "info", oneOf("debug", "info", "warn", "error", "fatal"), func(s *settings) *string { return &s.logLevel }, "what is logged"),
		row("log-as-json", "false", boolean(), func(s *settings) *bool { return &s.logAsJSON }, "log in JSON, one object a line"),
		row("enable-api-logging", "as the Configuration says", optional(boolean()), func(s *settings) **bool { return &s.apiLogging }, "log each call of the APIs"),
		row("enable-profiling", "false", boolean(), func(s *settings) *bool { return &s.profiling }, "serve profiles on port 7777"),
		row("enable-metrics", "true", boolean(), func(s *settings) *bool { return &s.metrics }, "serve metrics for Prometheus"),
		row("metrics-port", "9090", port(), func(s *settings) *int { return &s.metricsPort }, "the port of the metrics"),
		row("enable-debug", "false", boolean(), func(s *settings) *bool { return &s.debug }, "run the sidecar under the debugger delve, which its image has to have"),
		row("debug-port", "40000", port(), func(s *settings) *int { return &s.debugPort }, "the port of the debugger"),
		row("env", "none", variables(), func(s *settings) *[]variable { return &s.env }, "variables of the sidecar's environment"),
		row("env-from-secret", "none", secretVariables(), func(s *settings) *[]variable { return &s.envFromSecret }, "variables of the sidecar's environment that are in Secrets"),
		row("graceful-shutdown-seconds", "5", count(-1, 86400), func(s *settings) *int { return &s.graceSeconds }, "the most seconds that a shutdown may take; 0 for no bound, -1 for 5"),
		row("block-shutdown-duration", "none", optional(duration(0, "")), func(s *settings) **time.Duration { return &s.block }, "how long the APIs go on serving after the signal to end"),
	}
}

func ofHealth() []Annotation {
	rows := []Annotation{
		row("enable-app-health-check", "false", boolean(), func(s *settings) *bool { return &s.checkHealth }, "look after the application's health: while it is ill, nothing is brought to it"),
		row("app-health-check-path", "/healthz", text("a path, which begins with /", func(s string) bool { return strings.HasPrefix(s, "/") && printable(s) }),
			func(s *settings) *string { return &s.healthPath }, "the path of an HTTP application that answers 2xx while it is well"),
		row("app-health-probe-interval", "5", count(1, 86400), func(s *settings) *int { return &s.healthInterval }, "seconds from probe to probe"),
		row("app-health-probe-timeout", "500", count(1, 86400000), func(s *settings) *int { return &s.healthTimeout }, "milliseconds that a probe may take, no more than the interval"),
		row("app-health-threshold", "3", count(1, maxInt32), func(s *settings) *int { return &s.healthThreshold }, "probes that have to fail in a row for the application to be ill"),
	}
	for _, p := range []struct {
		name, of                         string
		delay, timeout, period, failures string
		field                            func(*settings) *probe
	}{
		{"sidecar-liveness-probe-", "liveness", "180", "3", "10", "5", func(s *settings) *probe { return &s.liveness }},
		{"sidecar-readiness-probe-", "readiness", "1", "1", "1", "5", func(s *settings) *probe { return &s.readiness }},
	} {
		rows = append(rows,
			row(p.name+"delay-seconds", p.delay, count(0, maxInt32), func(s *settings) *int { return &p.field(s).delay }, "seconds before the first probe of the sidecar's "+p.of),
			row(p.name+"timeout-seconds", p.timeout, count(1, maxInt32), func(s *settings) *int { return &p.field(s).timeout }, "seconds that it may take"),
			row(p.name+"period-seconds", p.period, count(1, maxInt32), func(s *settings) *int { return &p.field(s).period }, "seconds from one to the next"),
			row(p.name+"threshold", p.failures, count(1, maxInt32), func(s *settings) *int { return &p.field(s).threshold }, "how many have to fail in a row"),
		)
	}
	return rows
}

func ofAPIs() []Annotation {
	return []Annotation{
		row("sidecar-listen-addresses", "[::1],127.0.0.1", list(host()), func(s *settings) *[]string { return &s.listenAddresses }, "the addresses of the two APIs"),
		row("grpc-port", "50001", port(), func(s *settings) *int { return &s.grpcPort }, "the port of the gRPC API"),
		row("internal-grpc-port", "50002", port(), func(s *settings) *int { return &s.internalPort }, "the port on which other sidecars call"),
		row("unix-domain-socket-path", "none", absolutePath(), func(s *settings) *string { return &s.socketFolder }, "the folder in which the application finds the sockets of the two APIs; there are no ports then"),
		row("api-token-secret", "none", objectName(), func(s *settings) *string { return &s.apiTokenSecret }, "the Secret whose key token callers of the APIs have to show"),
		row("app-token-secret", "none", objectName(), func(s *settings) *string { return &s.appTokenSecret }, "the Secret whose key token the application is shown"),
	}
}

func ofLimits() []Annotation {
	return []Annotation{
		row("max-body-size", "4Mi", size(), func(s *settings) *string { return &s.maxBody }, "the largest body or message; 0 for no bound"),
		row("read-buffer-size", "4Ki", size(), func(s *settings) *string { return &s.readBuffer }, "the largest block of headers"),
		row("http-max-request-size", "4", count(-1, maxInt32), func(s *settings) *int { return &s.legacyMaxBody }, "the largest body in MiB").instead("max-body-size"),
		row("http-read-buffer-size", "4", count(-1, maxInt32), func(s *settings) *int { return &s.legacyReadBuffer }, "the largest block of headers in KiB").instead("read-buffer-size"),
		row("http-stream-request-body", "true", boolean(), func(s *settings) *bool { return &s.streamBody }, "bodies always stream").instead("nothing: bodies always stream"),
	}
}

func ofCluster() []Annotation {
	return []Annotation{
		row("placement-host-address", "the cluster's", addresses(), func(s *settings) **[]string { return &s.placement }, "the placement service of actors").orBlank(),
		row("scheduler-host-address", "the cluster's", addresses(), func(s *settings) **[]string { return &s.scheduler }, "the scheduler of jobs").orBlank(),
		row("actors-disseminate-timeout", "30s", optional(duration(1, "")), func(s *settings) **time.Duration { return &s.disseminateTimeout }, "how long a new table of actors may take to be taken over"),
		row("sentry-request-jwt-audiences", "the trust domain", list(word("an audience")), func(s *settings) *[]string { return &s.audiences }, "for whom sentry is asked for tokens"),
		row("disable-builtin-k8s-secret-store", "false", boolean(), func(s *settings) *bool { return &s.withoutSecretStore }, "leave out the secret store kubernetes"),
		row("sidecar-svc-annotations", "none", pairs(), func(s *settings) *string { return &s.serviceAnnotations }, "annotations of the application's -dapr service, which the operator makes"),
		row("pluggable-components", "none", list(containerName()), func(s *settings) *[]string { return &s.pluggable }, "the containers of the pod that are components"),
		row("inject-pluggable-components", "false", boolean(), func(s *settings) *bool { return &s.injectPluggable }, "add the containers that Components describe with the annotation component-container"),
		row("pluggable-components-sockets-folder", defaultSocketsFolder, absolutePath(), func(s *settings) *string { return &s.socketsFolder }, "where these containers have their sockets"),
	}
}

func ofContainer() []Annotation {
	return []Annotation{
		row("sidecar-image", "the installation's", word("an image"), func(s *settings) *string { return &s.image }, "the sidecar's image"),
		row("enable-native-sidecar", "the installation's", optional(boolean()), func(s *settings) **bool { return &s.native },
			"run the sidecar as a native one: an init container that is up before the application and ends after it, so that Jobs complete"),
		row("sidecar-cpu-request", "none", quantity(), func(s *settings) *amount { return &s.resources.cpuRequest }, "the processor time that is reserved for the sidecar"),
		row("sidecar-cpu-limit", "none", quantity(), func(s *settings) *amount { return &s.resources.cpuLimit }, "the most processor time"),
		row("sidecar-memory-request", "none", quantity(), func(s *settings) *amount { return &s.resources.memoryRequest }, "the memory that is reserved"),
		row("sidecar-memory-limit", "none", quantity(), func(s *settings) *amount { return &s.resources.memoryLimit }, "the most memory"),
		row("sidecar-seccomp-profile-type", "none", oneOf("RuntimeDefault", "Unconfined"), func(s *settings) *string { return &s.seccomp }, "the seccomp profile"),
		row("volume-mounts", "none", mounts(), func(s *settings) *[]mount { return &s.mounts }, "volumes of the pod that the sidecar may read"),
		row("volume-mounts-rw", "none", mounts(), func(s *settings) *[]mount { return &s.mountsRW }, "volumes of the pod that the sidecar may read and write"),
	}
}

// elsewhere are annotations that are read by others, or written.
func elsewhere() []string {
	return []string{"component-container", "control-plane", "sidecar-injected", "watchdog-patched"}
}

// readSettings reads the annotations of a pod. The error names all that are not allowed; warnings are of those that are
// out of date or unknown.
func readSettings(annotations map[string]string) (s *settings, warnings []string, err error) {
	s = standards()
	known := elsewhere()
	var refused []error
	for _, row := range Annotations() {
		known = append(known, row.Name)
		value, there := annotations[prefix+row.Name]
		if value = strings.TrimSpace(value); !there || value == "" && !row.blank {
			continue
		}
		if !row.set(s, value) {
			refused = append(refused, row.refusal(value))
			continue
		}
		if row.Instead != "" {
			warnings = append(warnings, fmt.Sprintf("annotation %s%s is out of date; write %s", prefix, row.Name, row.Instead))
		}
	}
	return s, append(warnings, unknown(annotations, known)...), errors.Join(append(refused, s.conflicts()...)...)
}

// mostShown is how much of a value a refusal shows.
const mostShown = 200

func (a *Annotation) refusal(value string) error {
	if len(value) > mostShown {
		value = strings.ToValidUTF8(value[:mostShown], "") + "…"
	}
	return fmt.Errorf("annotation %s%s: %q is not allowed; it takes %s", prefix, a.Name, value, a.Allowed)
}

// mostUnknown bounds the warnings of one pod.
const mostUnknown = 10

// unknown warns of annotations that nobody reads: users' manifests carry extras, and must go on working.
func unknown(annotations map[string]string, known []string) (warnings []string) {
	for _, full := range slices.Sorted(maps.Keys(annotations)) {
		name, ours := strings.CutPrefix(full, prefix)
		if !ours || slices.Contains(known, name) || len(warnings) == mostUnknown {
			continue
		}
		hint := ""
		if near := config.Nearest(name, known); near != "" {
			hint = "; did you mean " + prefix + near + "?"
		}
		warnings = append(warnings, fmt.Sprintf("annotation %s is not known and has no effect%s", full, hint))
	}
	return warnings
}
