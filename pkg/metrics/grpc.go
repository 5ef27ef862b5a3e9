package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

type rpc struct {
	method string
	code   codes.Code
}

type rpcSeries struct {
	received, sent prometheus.Observer
	latency        prometheus.Observer
	completed      prometheus.Counter
}

// grpcFamilies count the unary calls that the gRPC servers answer. Streams leave no sample, as in Dapr.
type grpcFamilies struct {
	series *bounded[rpc, rpcSeries]
}

func newGRPCFamilies(r *Registry) *grpcFamilies {
	const name = "dapr_grpc_io_server_"
	received := r.histogram(name+"received_bytes_per_rpc", "Total bytes received across all messages per RPC.", sizeBuckets(), "grpc_server_method")
	sent := r.histogram(name+"sent_bytes_per_rpc", "Total bytes sent across all messages per RPC.", sizeBuckets(), "grpc_server_method")
	latency := r.latency(name+"server_latency", "Time from the first byte received to the last byte sent, in milliseconds.", "grpc_server_method", "grpc_server_status")
	completed := r.counter(name+"completed_rpcs", "Count of RPCs by method and status.", "grpc_server_method", "grpc_server_status")
	return &grpcFamilies{series: newBounded(rpc{method: other}, func(c rpc) rpcSeries {
		code, method := grpcStatus(c.code), text(c.method)
		return rpcSeries{
			received:  received.WithLabelValues(r.appID, method),
			sent:      sent.WithLabelValues(r.appID, method),
			latency:   latency.WithLabelValues(r.appID, method, code),
			completed: completed.WithLabelValues(r.appID, method, code),
		}
	})}
}

// GRPCServed counts one unary call. method is the full method name; received and sent are message sizes in
// bytes.
func (r *Registry) GRPCServed(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	h := r.grpc.series.handle(rpc{method, code})
	h.received.Observe(float64(received))
	h.sent.Observe(float64(sent))
	h.latency.Observe(milliseconds(elapsed))
	h.completed.Inc()
}

// grpcStatus is the label value of a code: OpenCensus's names, which dashboards know.
func grpcStatus(c codes.Code) string {
	names := [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	if int(c) < len(names) {
		return names[c]
	}
	return "CODE_" + status(int(c))
}
