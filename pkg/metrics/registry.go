// Package metrics counts what the sidecar does and shows it to Prometheus. Names and labels are those of
// Dapr (reference: service-invocation-and-security 13). It must not know what is counted beyond its labels.
//
// Whoever counts binds a handle once for a set of labels and keeps it; nothing looks labels up on the way
// of a request that it has seen before. Label sets are bounded: past a family's bound what comes from outside (a
// path, a topic, an app id) is counted under the label value "_other", and daprd_metrics_folded_total tells how often.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

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

// Registry holds the families of one sidecar.
type Registry struct {
	prometheus *prometheus.Registry
	appID      string
	namespace  string
	settings   *compiled
	// folds counts samples that stand under "_other", by family.
	folds *prometheus.CounterVec

	state, secret *operations
	crypto        *operations
	configuration *operations
	inputBinding  *operations
	outputBinding *operations
	pubsub        *pubsubFamilies
	httpServer    *httpServerFamilies
	httpClient    *httpClientFamilies
	grpcServer    *grpcFamilies
	grpcClient    *grpcFamilies
	invocation    *invocationFamilies
	runtime       *runtimeFamilies
	identity      *identityFamilies
	// early are the outcomes that IdentityObtained was told before Configure.
	early        []error
	resiliency   *resiliencyFamilies
	access       *accessFamilies
	actors       *bounded[string, actorSeries]
	httpProbes   *probes
	grpcProbes   *probes
	spansDropped *counterFamily
}

// New makes the registry with the process and Go collectors in it. Configure makes the families.
func New(appID, namespace string) *Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{prometheus: registry, appID: text(appID), namespace: text(namespace)}
}

// Configure applies the Configuration and makes the families. It is called once, before anything is
// counted. Errors name the key of the Configuration below spec.metrics.
func (r *Registry) Configure(settings Settings) error {
	compiled, err := settings.compile()
	if err != nil {
		return err
	}
	r.settings = compiled
	r.folds = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "daprd_metrics_folded_total",
		Help: "Samples of a family that stand under the label value _other, since it has too many label sets or a value was too long."},
		[]string{"app_id", "family"})
	r.register(r.folds)
	r.state = newOperations(r, "state", "operations on state stores")
	r.secret = newOperations(r, "secret", "reads of secret stores")
	r.crypto = newOperations(r, "crypto", "operations with keys")
	r.configuration = newOperations(r, "configuration", "operations on configuration stores")
	r.inputBinding = makeOperations(r, "input_binding", "events of input bindings that the application was given", "component", "namespace", "success")
	r.outputBinding = newOperations(r, "output_binding", "requests to output bindings")
	r.pubsub = newPubSubFamilies(r)
	r.httpServer = newHTTPServerFamilies(r)
	r.httpClient = newHTTPClientFamilies(r)
	r.grpcServer = newGRPCFamilies(r, serverNames)
	r.grpcClient = newGRPCFamilies(r, clientNames)
	r.invocation = newInvocationFamilies(r)
	r.runtime = newRuntimeFamilies(r)
	r.identity = newIdentityFamilies(r)
	for _, err := range r.early {
		r.IdentityObtained(err)
	}
	r.resiliency = newResiliencyFamilies(r)
	r.access = newAccessFamilies(r)
	r.actors = newActorFamilies(r)
	r.spansDropped = r.counter("daprd_traces_dropped_total", "Spans that an exporter could not take or could not send.", "exporter")
	r.httpProbes = newProbes(r, "dapr_http_", "status")
	r.grpcProbes = newProbes(r, "dapr_grpc_io_", "grpc_client_status")
	return nil
}

func (r *Registry) counter(name, help string, labels ...string) *counterFamily {
	labels = withApp(labels)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.register(vec)
	return newFamily(r, name, labels, vec.WithLabelValues, func(c, folds prometheus.Counter) prometheus.Counter { return foldedCounter{c, folds} })
}

func (r *Registry) histogram(name, help string, buckets []float64, labels ...string) *histogramFamily {
	labels = withApp(labels)
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.register(vec)
	return newFamily(r, name, labels, vec.WithLabelValues, func(h prometheus.Observer, folds prometheus.Counter) prometheus.Observer {
		return foldedHistogram{h, folds}
	})
}

func (r *Registry) latency(name, help string, labels ...string) *histogramFamily {
	return r.histogram(name, help, r.settings.Latency, labels...)
}

func (r *Registry) gauge(name, help string, labels ...string) *gaugeFamily {
	labels = withApp(labels)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.register(vec)
	return newFamily(r, name, labels, vec.WithLabelValues, func(g prometheus.Gauge, folds prometheus.Counter) prometheus.Gauge { return foldedGauge{g, folds} })
}

func withApp(labels []string) []string { return append([]string{"app_id"}, labels...) }

func (r *Registry) register(c prometheus.Collector) {
	if r.settings.Enabled {
		r.prometheus.MustRegister(c)
	}
}
