package metrics

import "github.com/prometheus/client_golang/prometheus"

// policy is the label set of one resiliency policy of one target.
type policy struct{ resource, policy, direction, target, status string }

// own is the policy itself: its strings are those of resources.
func (p policy) own() policy { return p }

func (p policy) folded() policy {
	p.target = other
	return p
}

// resiliencyFamilies count what resiliency policies do.
type resiliencyFamilies struct {
	loaded            *bounded[string, prometheus.Counter]
	count, activation *bounded[policy, prometheus.Counter]
	state             *bounded[policy, prometheus.Gauge]
}

func newResiliencyFamilies(r *Registry) *resiliencyFamilies {
	labels := []string{"name", "policy", "namespace", "flow_direction", "target", "status"}
	loaded := r.counter("dapr_resiliency_loaded", "Resiliency resources that were put in force.", "name", "namespace")
	count := r.counter("dapr_resiliency_count", "Calls that were made under a policy.", labels...)
	activations := r.counter("dapr_resiliency_activations_total", "How often a policy had to do something: a call too late, tried again or kept away.", labels...)
	state := r.gauge("dapr_resiliency_cb_state", "The state of a circuit breaker: 1 for the one that holds, 0 for the others.", labels...)
	values := func(p policy) []string {
		return []string{r.appID, text(p.resource), p.policy, r.namespace, p.direction, text(p.target), p.status}
	}
	overflow := policy{other, other, other, other, other}
	return &resiliencyFamilies{
		loaded: newBounded(other, func(resource string) prometheus.Counter {
			return loaded.WithLabelValues(r.appID, text(resource), r.namespace)
		}),
		count: newBounded(overflow, func(p policy) prometheus.Counter { return count.WithLabelValues(values(p)...) }).
			open(r, policy.own, policy.folded),
		activation: newBounded(overflow, func(p policy) prometheus.Counter { return activations.WithLabelValues(values(p)...) }).
			open(r, policy.own, policy.folded),
		state: newBounded(overflow, func(p policy) prometheus.Gauge { return state.WithLabelValues(values(p)...) }).
			open(r, policy.own, policy.folded),
	}
}

// breakerStates are the values of the label "status" of a breaker.
func breakerStates() []string { return []string{"closed", "half-open", "open", "unknown"} }

// ResiliencyLoaded counts a Resiliency resource that is put in force.
func (r *Registry) ResiliencyLoaded(resource string) {
	r.resiliency.loaded.handle(short(resource)).Inc()
}

// ResiliencyPolicy gives the functions that count one policy ("timeout", "retry", "circuitbreaker") of one target: that
// it ran for a call, and that it did something. status is the state of a breaker, else "".
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
