package metrics

import "github.com/prometheus/client_golang/prometheus"

// policy is the label set of one resiliency policy of one target.
type policy struct{ resource, policy, direction, target, status string }

// resiliencyFamilies count what resiliency policies do.
type resiliencyFamilies struct {
	loaded            *prometheus.CounterVec
	count, activation *bounded[policy, prometheus.Counter]
	state             *bounded[policy, prometheus.Gauge]
}

func newResiliencyFamilies(r *Registry) *resiliencyFamilies {
	labels := []string{"name", "policy", "namespace", "flow_direction", "target", "status"}
	count := r.counter("dapr_resiliency_count", "Number of times a resiliency policy has been executed.", labels...)
	activations := r.counter("dapr_resiliency_activations_total",
		"Number of times a resiliency policy has been activated after a failure or after a change of state.", labels...)
	state := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dapr_resiliency_cb_state",
		Help: "A resiliency policy's current circuit breaker state: 1 for the one that holds."}, append([]string{"app_id"}, labels...))
	r.register(state)
	values := func(p policy) []string {
		return []string{r.appID, text(p.resource), p.policy, r.namespace, p.direction, text(p.target), p.status}
	}
	overflow := policy{target: other}
	return &resiliencyFamilies{
		loaded:     r.counter("dapr_resiliency_loaded", "Number of resiliency policies loaded.", "name", "namespace"),
		count:      newBounded(overflow, func(p policy) prometheus.Counter { return count.WithLabelValues(values(p)...) }),
		activation: newBounded(overflow, func(p policy) prometheus.Counter { return activations.WithLabelValues(values(p)...) }),
		state:      newBounded(overflow, func(p policy) prometheus.Gauge { return state.WithLabelValues(values(p)...) }),
	}
}

// breakerStates are the values of the label "status" of a breaker.
func breakerStates() []string { return []string{"closed", "half-open", "open", "unknown"} }

// ResiliencyLoaded counts a Resiliency resource that is put in force.
func (r *Registry) ResiliencyLoaded(resource string) {
	r.resiliency.loaded.WithLabelValues(r.appID, text(resource), r.namespace).Inc()
}

// ResiliencyPolicy gives the functions that count one policy ("timeout", "retry", "circuitbreaker") of one target: that
// it ran for a call, and that it did something. status is the state of a breaker, else "". Past 1000 label sets
// the target is "_other".
func (r *Registry) ResiliencyPolicy(resource, kind, direction, target string) (ran, activated func(status string)) {
	p := policy{resource: resource, policy: kind, direction: direction, target: target}
	with := func(status string) policy {
		p := p
		p.status = status
		return p
	}
	return func(status string) { r.resiliency.count.handle(with(status)).Inc() },
		func(status string) { r.resiliency.activation.handle(with(status)).Inc() }
}

// ResiliencyState gives the function that shows the state of a target's breaker: closed, half-open or open.
func (r *Registry) ResiliencyState(resource, direction, target string) func(status string) {
	return func(now string) {
		for _, each := range breakerStates() {
			value := 0.0
			if each == now {
				value = 1
			}
			r.resiliency.state.handle(policy{resource, "circuitbreaker", direction, target, each}).Set(value)
		}
	}
}
