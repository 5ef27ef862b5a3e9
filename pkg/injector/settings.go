package injector

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// settings are what the annotations of a pod say.
type settings struct {
	enabled bool

	appID             string
	appPort           int
	appProtocol       string
	appSSL            bool
	appAddress        string
	appMaxConcurrency int
	bindingTimeout    *time.Duration
	skipInit          []string

	configuration      string
	logLevel           string
	logAsJSON          bool
	apiLogging         *bool
	profiling          bool
	metrics            bool
	metricsPort        int
	debug              bool
	debugPort          int
	env, envFromSecret []variable
	graceSeconds       int
	block              *time.Duration

	checkHealth         bool
	healthPath          string
	healthInterval      int
	healthTimeout       int
	healthThreshold     int
	liveness, readiness probe

	listenAddresses                []string
	grpcPort, internalPort         int
	socketFolder                   string
	apiTokenSecret, appTokenSecret string

	maxBody, readBuffer             string
	legacyMaxBody, legacyReadBuffer int
	streamBody                      bool

	placement, scheduler *[]string
	disseminateTimeout   *time.Duration
	audiences            []string
	withoutSecretStore   bool
	serviceAnnotations   string
	pluggable            []string
	injectPluggable      bool
	socketsFolder        string

	image            string
	native           *bool
	resources        resources
	seccomp          string
	mounts, mountsRW []mount
}

// probe is how the kubelet looks after the sidecar, in seconds.
type probe struct{ delay, timeout, period, threshold int }

// amount is nil for none.
type amount = *resource.Quantity

type resources struct{ cpuRequest, cpuLimit, memoryRequest, memoryLimit amount }

// The ports that no annotation changes.
const (
	httpPort    = 3500
	publicPort  = 3501
	profilePort = 7777
)

// defaultSocketsFolder is where pluggable components have their sockets.
const defaultSocketsFolder = "/tmp/dapr-components-sockets"

// standards are what holds without any annotation: Dapr 1.18's.
func standards() *settings {
	return &settings{
		appProtocol: "http", appMaxConcurrency: -1,
		logLevel: "info", metrics: true, metricsPort: 9090, debugPort: 40000, graceSeconds: 5,
		healthPath: "/healthz", healthInterval: 5, healthTimeout: 500, healthThreshold: 3,
		liveness: probe{180, 3, 10, 5}, readiness: probe{1, 1, 1, 5},
		listenAddresses: []string{"[::1]", "127.0.0.1"}, grpcPort: 50001, internalPort: 50002,
		legacyMaxBody: -1, legacyReadBuffer: -1,
		socketsFolder: defaultSocketsFolder,
	}
}

// conflicts are values that are allowed one by one, but not together: the sidecar would not start.
func (s *settings) conflicts() (errs []error) {
	if s.checkHealth && s.healthTimeout > 1000*s.healthInterval {
		errs = append(errs, fmt.Errorf("annotation %sapp-health-probe-timeout: %d milliseconds are more than the interval between probes; it takes %d (app-health-probe-interval) at most",
			prefix, s.healthTimeout, 1000*s.healthInterval))
	}
	taken := map[int]string{}
	for _, p := range s.ports() {
		if p.number == 0 {
			continue
		}
		if other, there := taken[p.number]; there {
			errs = append(errs, fmt.Errorf("annotation %s%s: %d is not allowed; it takes another port than that of %s, beside which it listens", prefix, p.annotation, p.number, other))
			continue
		}
		taken[p.number] = p.what
	}
	for _, r := range []struct {
		name           string
		request, limit amount
	}{{"cpu", s.resources.cpuRequest, s.resources.cpuLimit}, {"memory", s.resources.memoryRequest, s.resources.memoryLimit}} {
		if r.request != nil && r.limit != nil && r.request.Cmp(*r.limit) > 0 {
			errs = append(errs, fmt.Errorf("annotation %ssidecar-%s-request: %q is not allowed; it takes no more than sidecar-%s-limit, %s", prefix, r.name, r.request, r.name, r.limit))
		}
	}
	return errs
}

// listening is a port of the pod's network and by which annotation it is chosen.
type listening struct {
	number           int
	what, annotation string
}

// ports are those of the sidecar and then the application's, which are all in one network. 0 is one that is not there.
func (s *settings) ports() []listening {
	where := func(on bool, number int) int {
		if on {
			return number
		}
		return 0
	}
	overTCP := s.socketFolder == ""
	return []listening{
		{where(overTCP, httpPort), "the HTTP API", ""},
		{publicPort, "the sidecar's health", ""},
		{where(s.profiling, profilePort), "the profiles", ""},
		{where(overTCP, s.grpcPort), "the gRPC API", "grpc-port"},
		{s.internalPort, "the calls of other sidecars", "internal-grpc-port"},
		{where(s.metrics, s.metricsPort), "the metrics", "metrics-port"},
		{where(s.debug, s.debugPort), "the debugger", "debug-port"},
		{where(s.appAddress == "", s.appPort), "the application", "app-port"},
	}
}

// isAppID says whether a service can be called after it.
func isAppID(id string) bool { return len(validation.IsDNS1123Label(id+"-dapr")) == 0 }
