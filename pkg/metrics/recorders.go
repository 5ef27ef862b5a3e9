package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcome is told when an operation ends.
type Outcome = func(success bool, elapsed time.Duration)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// operation is one of a component's; "" where its kind has one only.
type operation struct{ component, name string }

// outcomes are the handles of an operation that failed, and of one that did not.
type outcomes [2]struct {
	count   prometheus.Counter
	latency prometheus.Observer
}

// operations is a pair of families, count and latencies, of one kind of component.
type operations struct{ series *bounded[operation, outcomes] }

func newOperations(r *Registry, kind, counted string) *operations {
	return makeOperations(r, kind, counted, "component", "namespace", "operation", "success")
}

func makeOperations(r *Registry, kind, counted string, labels ...string) *operations {
	name := "dapr_component_" + kind
	count := r.counter(name+"_count", "The number of "+counted+".", labels...)
	latencies := r.latency(name+"_latencies", "The time that "+counted+" took, in milliseconds.", labels...)
	return &operations{newBounded(operation{other, other}, func(o operation) (h outcomes) {
		values := []string{r.appID, text(o.component), r.namespace}
		if len(labels) > 3 {
			values = append(values, text(o.name))
		}
		for i, success := range []string{"false", "true"} {
			values := append(values, success)
			h[i].count, h[i].latency = count.WithLabelValues(values...), latencies.WithLabelValues(values...)
		}
		return h
	})}
}

// bind gives the handle of one component's operation.
func (o *operations) bind(component, name string) Outcome {
	handles := o.series.handle(operation{short(component), short(name)})
	return func(success bool, elapsed time.Duration) {
		h := &handles[0]
		if success {
			h = &handles[1]
		}
		h.count.Inc()
		h.latency.Observe(milliseconds(elapsed))
	}
}

// failedComponent is a component that could not be used.
type failedComponent struct{ kind, reason, name string }

// runtimeFamilies count the life of the sidecar and its components.
type runtimeFamilies struct {
	componentLoaded   prometheus.Counter
	componentInit     *bounded[string, prometheus.Counter]
	componentInitFail *bounded[failedComponent, prometheus.Counter]
}

func newRuntimeFamilies(r *Registry) *runtimeFamilies {
	loaded := r.counter("dapr_runtime_component_loaded", "Components that have come into use.")
	initialised := r.counter("dapr_runtime_component_init_total", "Components that have come into use, by type.", "component")
	failed := r.counter("dapr_runtime_component_init_fail_total", "Components that could not be used, by type, reason and name.",
		"component", "reason", "componentName")
	return &runtimeFamilies{
		componentLoaded: loaded.WithLabelValues(r.appID),
		componentInit: newBounded(other, func(kind string) prometheus.Counter {
			return initialised.WithLabelValues(r.appID, text(kind))
		}),
		componentInitFail: newBounded(failedComponent{other, other, other}, func(c failedComponent) prometheus.Counter {
			return failed.WithLabelValues(r.appID, text(c.kind), c.reason, text(c.name))
		}),
	}
}

// ComponentLoaded counts a component that is ready to be used. kind is its type.
func (r *Registry) ComponentLoaded(kind string) {
	r.runtime.componentLoaded.Inc()
	r.runtime.componentInit.handle(kind).Inc()
}

// ComponentFailed counts a component that could not be made (reason "creation") or initialised ("init").
func (r *Registry) ComponentFailed(kind, reason, name string) {
	r.runtime.componentInitFail.handle(failedComponent{kind, reason, name}).Inc()
}

// State gives the handle for an operation of a state store.
func (r *Registry) State(component, operation string) Outcome {
	return r.state.bind(component, operation)
}

// Secret gives the handle for an operation of a secret store.
func (r *Registry) Secret(component, operation string) Outcome {
	return r.secret.bind(component, operation)
}

// noStatus stands for all of them: 0 is gRPC's OK.
const noStatus = -1

// status is the label value of an HTTP status or a gRPC code.
func status(code int) string {
	switch {
	case code == noStatus:
		return other
	case code >= 100 && code <= 999:
		return statuses[3*(code-100):][:3]
	}
	return strconv.Itoa(code)
}

// statuses are the numbers of three digits one behind the other, so that to show one takes no memory.
var statuses = func() string {
	var all []byte
	for code := 100; code <= 999; code++ {
		all = strconv.AppendInt(all, int64(code), 10)
	}
	return string(all)
}()
