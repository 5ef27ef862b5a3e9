package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// events is a pair of families, count and latencies, of components that bring events.
type events struct {
	registry  *Registry
	count     *prometheus.CounterVec
	latencies *prometheus.HistogramVec
}

func newEvents(r *Registry, kind string) *events {
	labels := []string{"component", "namespace", "success"}
	name := "dapr_component_" + kind
	return &events{
		registry:  r,
		count:     r.counter(name+"_count", "The number of incoming events arriving from the input binding component.", labels...),
		latencies: r.latency(name+"_latencies", "The triggered app handler processing latency, in milliseconds.", labels...),
	}
}

func (e *events) bind(component string) Outcome {
	var (
		counts    [2]prometheus.Counter
		latencies [2]prometheus.Observer
	)
	for i, success := range []string{"false", "true"} {
		values := []string{e.registry.appID, text(component), e.registry.namespace, success}
		counts[i], latencies[i] = e.count.WithLabelValues(values...), e.latencies.WithLabelValues(values...)
	}
	return func(success bool, elapsed time.Duration) {
		i := 0
		if success {
			i = 1
		}
		counts[i].Inc()
		latencies[i].Observe(milliseconds(elapsed))
	}
}

// InputBinding gives the handle for the events of an input binding.
func (r *Registry) InputBinding(component string) Outcome { return r.inputBinding.bind(component) }

// OutputBinding gives the handle for an operation of an output binding.
func (r *Registry) OutputBinding(component, operation string) Outcome {
	return r.outputBinding.bind(component, text(operation))
}
