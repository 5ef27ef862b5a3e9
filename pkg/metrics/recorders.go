package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcome is told when an operation ends.
type Outcome = func(success bool, elapsed time.Duration)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// operations is a pair of families, count and latencies, of one kind of component.
type operations struct {
	registry  *Registry
	count     *prometheus.CounterVec
	latencies *prometheus.HistogramVec
}

func newOperations(r *Registry, kind string) *operations {
	labels := []string{"component", "namespace", "operation", "success"}
	name := "dapr_component_" + kind
	return &operations{
		registry:  r,
		count:     r.counter(name+"_count", "The number of operations performed on the "+kind+" component.", labels...),
		latencies: r.latency(name+"_latencies", "The latency of the response from the "+kind+" component, in milliseconds.", labels...),
	}
}

// bind gives the handle of one component's operation.
func (o *operations) bind(component, operation string) Outcome {
	type handle struct {
		count   prometheus.Counter
		latency prometheus.Observer
	}
	var handles [2]handle
	for i, success := range []string{"false", "true"} {
		values := []string{o.registry.appID, text(component), o.registry.namespace, operation, success}
		handles[i] = handle{o.count.WithLabelValues(values...), o.latencies.WithLabelValues(values...)}
	}
	return func(success bool, elapsed time.Duration) {
		h := handles[0]
		if success {
			h = handles[1]
		}
		h.count.Inc()
		h.latency.Observe(milliseconds(elapsed))
	}
}

// runtimeFamilies count the life of the sidecar and its components.
type runtimeFamilies struct {
	componentLoaded   prometheus.Counter
	componentInit     *prometheus.CounterVec
	componentInitFail *prometheus.CounterVec
}

func newRuntimeFamilies(r *Registry) *runtimeFamilies {
	return &runtimeFamilies{
		componentLoaded: r.counter("dapr_runtime_component_loaded",
			"The number of successfully loaded components.").WithLabelValues(r.appID),
		componentInit: r.counter("dapr_runtime_component_init_total",
			"The number of initialized components.", "component"),
		componentInitFail: r.counter("dapr_runtime_component_init_fail_total",
			"The number of component initialization failures.", "component", "reason", "componentName"),
	}
}

// ComponentLoaded counts a component that is ready to be used. kind is its type.
func (r *Registry) ComponentLoaded(kind string) {
	r.runtime.componentLoaded.Inc()
	r.runtime.componentInit.WithLabelValues(r.appID, text(kind)).Inc()
}

// ComponentFailed counts a component that could not be made (reason "creation") or initialised ("init").
func (r *Registry) ComponentFailed(kind, reason, name string) {
	r.runtime.componentInitFail.WithLabelValues(r.appID, text(kind), reason, text(name)).Inc()
}

// State gives the handle for an operation of a state store.
func (r *Registry) State(component, operation string) Outcome {
	return r.state.bind(component, operation)
}

// Secret gives the handle for an operation of a secret store.
func (r *Registry) Secret(component, operation string) Outcome {
	return r.secret.bind(component, operation)
}

func status(code int) string { return strconv.Itoa(code) }
