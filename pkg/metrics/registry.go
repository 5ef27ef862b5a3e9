// Package metrics counts what the sidecar does and shows it to Prometheus. Names and labels are those of
// Dapr (reference: service-invocation-and-security 13). It must not know what is counted beyond its labels.
//
// Whoever counts binds a handle once for a set of labels and keeps it; nothing looks labels up on the way
// of a request that it has seen before. Label sets are bounded: past a family's bound every new set is
// counted under the one label value "_other".
package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// text makes a label value of what may come from a caller: one that is no UTF-8 makes the client library panic.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// other is the label value of everything past a family's bound.
const other = "_other"

// LatencyBuckets are the upper bounds of latency histograms, in milliseconds, unless the Configuration
// names others.
func LatencyBuckets() []float64 {
	return []float64{1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300,
		400, 500, 650, 800, 1000, 2000, 5000, 10000, 20000, 50000, 100000}
}

// sizeBuckets are the upper bounds of size histograms, in bytes.
func sizeBuckets() []float64 {
	return []float64{1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20,
		256 << 20, 1 << 30, 4 << 30}
}

// Settings are what the Configuration says of metrics.
type Settings struct {
	// Enabled is spec.metric.enabled: without it nothing is recorded, though the server stays.
	Enabled bool
	// Latency are the bounds of latency histograms in milliseconds; empty means LatencyBuckets.
	Latency []float64
}

// Registry holds the families of one sidecar.
type Registry struct {
	prometheus *prometheus.Registry
	appID      string
	namespace  string
	settings   Settings

	state, secret *operations
	crypto        *operations
	configuration *operations
	inputBinding  *events
	outputBinding *operations
	pubsub        *pubsubFamilies
	http          *httpFamilies
	grpc          *grpcFamilies
	runtime       *runtimeFamilies
	identity      *identityFamilies
	resiliency    *resiliencyFamilies
	access        *accessFamilies
	httpProbes    *probes
	grpcProbes    *probes
}

// New makes the registry with the process and Go collectors in it. Configure makes the families.
func New(appID, namespace string) *Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{prometheus: registry, appID: text(appID), namespace: text(namespace)}
}

// Configure applies the Configuration and makes the families. It is called once, before anything is
// counted.
func (r *Registry) Configure(settings Settings) {
	if len(settings.Latency) == 0 {
		settings.Latency = LatencyBuckets()
	}
	r.settings = settings
	r.state = newOperations(r, "state")
	r.secret = newOperations(r, "secret")
	r.crypto = newOperations(r, "crypto")
	r.configuration = newOperations(r, "configuration")
	r.inputBinding = newEvents(r, "input_binding")
	r.outputBinding = newOperations(r, "output_binding")
	r.pubsub = newPubSubFamilies(r)
	r.http = newHTTPFamilies(r)
	r.grpc = newGRPCFamilies(r)
	r.runtime = newRuntimeFamilies(r)
	r.identity = newIdentityFamilies(r)
	r.resiliency = newResiliencyFamilies(r)
	r.access = newAccessFamilies(r)
	r.httpProbes = newProbes(r, "dapr_http_", "status")
	r.grpcProbes = newProbes(r, "dapr_grpc_io_", "grpc_client_status")
}

func (r *Registry) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"app_id"}, labels...))
	r.register(vec)
	return vec
}

func (r *Registry) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append([]string{"app_id"}, labels...))
	r.register(vec)
	return vec
}

func (r *Registry) latency(name, help string, labels ...string) *prometheus.HistogramVec {
	return r.histogram(name, help, r.settings.Latency, labels...)
}

func (r *Registry) register(c prometheus.Collector) {
	if r.settings.Enabled {
		r.prometheus.MustRegister(c)
	}
}
