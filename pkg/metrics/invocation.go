package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// invocation is the label set of the families of service invocation. What a family does not have is "" or 0.
type invocation struct {
	app, kind string
	status    int
}

func (i invocation) own() invocation {
	i.app = strings.Clone(i.app)
	return i
}

func (i invocation) folded() invocation {
	i.app = other
	return i
}

// answered are the handles of a call that another sidecar has answered.
type answered struct {
	count   prometheus.Counter
	latency prometheus.Observer
}

// invocationFamilies count the calls between sidecars.
type invocationFamilies struct {
	sent, received, replied *bounded[invocation, prometheus.Counter]
	answered                *bounded[invocation, answered]
}

func newInvocationFamilies(r *Registry) *invocationFamilies {
	const name = "dapr_runtime_service_invocation_"
	sent := r.counter(name+"req_sent_total", "Calls sent to the sidecars of other applications.", "dst_app_id", "type")
	received := r.counter(name+"req_recv_total", "Calls that came from the sidecars of other applications.", "src_app_id")
	replied := r.counter(name+"res_sent_total", "Answers sent to the sidecars of other applications.", "dst_app_id", "status")
	count := r.counter(name+"res_recv_total", "Answers that came from the sidecars of other applications.", "src_app_id", "status", "type")
	latency := r.latency(name+"res_recv_latency_ms", "Time from a call of another application's sidecar to its answer, in milliseconds.", "src_app_id", "status")
	return &invocationFamilies{
		sent: newInvocations(r, func(i invocation) prometheus.Counter {
			return sent.WithLabelValues(r.appID, text(i.app), i.kind)
		}),
		received: newInvocations(r, func(i invocation) prometheus.Counter {
			return received.WithLabelValues(r.appID, text(i.app))
		}),
		replied: newInvocations(r, func(i invocation) prometheus.Counter {
			return replied.WithLabelValues(r.appID, text(i.app), status(i.status))
		}),
		answered: newInvocations(r, func(i invocation) answered {
			return answered{count.WithLabelValues(r.appID, text(i.app), status(i.status), i.kind), latency.WithLabelValues(r.appID, text(i.app), status(i.status))}
		}),
	}
}

func newInvocations[H any](r *Registry, bind func(invocation) H) *bounded[invocation, H] {
	return newBounded(invocation{other, other, noStatus}, bind).open(r, invocation.own, invocation.folded)
}

// InvocationSent counts a call that goes to a sidecar of app; kind is "unary" or "streaming". app may be borrowed.
func (r *Registry) InvocationSent(app, kind string) {
	if r.settings.Enabled {
		r.invocation.sent.handle(invocation{app: short(app), kind: kind}).Inc()
	}
}

// InvocationAnswered counts its answer: an HTTP status (100 and up) or a gRPC code.
func (r *Registry) InvocationAnswered(app, kind string, status int, elapsed time.Duration) {
	if r.settings.Enabled {
		h := r.invocation.answered.handle(invocation{short(app), kind, status})
		h.count.Inc()
		h.latency.Observe(milliseconds(elapsed))
	}
}

// InvocationReceived counts a call that came from a sidecar of app, "" where it does not say so. app may be borrowed.
func (r *Registry) InvocationReceived(app string) {
	if r.settings.Enabled {
		r.invocation.received.handle(invocation{app: short(app)}).Inc()
	}
}

// InvocationReplied counts the answer that it was sent: an HTTP status (100 and up) or a gRPC code.
func (r *Registry) InvocationReplied(app string, status int) {
	if r.settings.Enabled {
		r.invocation.replied.handle(invocation{app: short(app), status: status}).Inc()
	}
}
