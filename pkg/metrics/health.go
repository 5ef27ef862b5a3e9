package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// probed counts the probes of one outcome.
type probed struct {
	completed prometheus.Counter
	latency   prometheus.Observer
}

// probes are the families of the health checks of the application, over one protocol.
type probes struct {
	series *bounded[string, probed]
}

func newProbes(r *Registry, prefix, label string) *probes {
	completed := r.counter(prefix+"healthprobes_completed_count", "Count of completed health probes of the application.", label)
	latency := r.latency(prefix+"healthprobes_roundtrip_latency", "Time from a health probe to its answer, in milliseconds.", label)
	return &probes{newBounded(other, func(status string) probed {
		return probed{completed.WithLabelValues(r.appID, status), latency.WithLabelValues(r.appID, status)}
	})}
}

// AppProbed counts one health probe of the application. status is an HTTP status (100 and up) or a gRPC code.
func (r *Registry) AppProbed(code int, elapsed time.Duration) {
	family, label := r.httpProbes, status(code)
	if code < 100 {
		family, label = r.grpcProbes, grpcStatus(codes.Code(code))
	}
	h := family.series.handle(label)
	h.completed.Inc()
	h.latency.Observe(milliseconds(elapsed))
}
