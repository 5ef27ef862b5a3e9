package metrics

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

type rpc struct {
	method string
	code   codes.Code
}

func (c rpc) own() rpc {
	c.method = strings.Clone(c.method)
	return c
}

func (c rpc) folded() rpc {
	c.method = other
	return c
}

type rpcSeries struct {
	received, sent prometheus.Observer
	latency        prometheus.Observer
	completed      prometheus.Counter
}

// grpcNames are those of the families of one side.
type grpcNames struct{ side, latency, measured, calls string }

var (
	serverNames = grpcNames{"server", "server_latency", "Time that the handler of a unary call took, in milliseconds.", "unary calls that were served"}
	clientNames = grpcNames{"client", "roundtrip_latency", "Time from a unary call of the application to its answer, in milliseconds.",
		"unary calls of the application"}
)

// grpcFamilies count unary calls of one side. Streams leave no sample, as in Dapr.
type grpcFamilies struct {
	series *bounded[rpc, rpcSeries]
}

func newGRPCFamilies(r *Registry, names grpcNames) *grpcFamilies {
	prefix := "dapr_grpc_io_" + names.side + "_"
	methodLabel, statusLabel := "grpc_"+names.side+"_method", "grpc_"+names.side+"_status"
	received := r.histogram(prefix+"received_bytes_per_rpc", "Sizes of the messages received in "+names.calls+", in bytes.", sizeBuckets(), methodLabel)
	sent := r.histogram(prefix+"sent_bytes_per_rpc", "Sizes of the messages sent in "+names.calls+", in bytes.", sizeBuckets(), methodLabel)
	latency := r.latency(prefix+names.latency, names.measured, methodLabel, statusLabel)
	completed := r.counter(prefix+"completed_rpcs", "The number of "+names.calls+".", methodLabel, statusLabel)
	return &grpcFamilies{newBounded(rpc{method: other, code: noCode}, func(c rpc) rpcSeries {
		code, method := grpcStatus(c.code), text(c.method)
		return rpcSeries{
			received:  received.WithLabelValues(r.appID, method),
			sent:      sent.WithLabelValues(r.appID, method),
			latency:   latency.WithLabelValues(r.appID, method, code),
			completed: completed.WithLabelValues(r.appID, method, code),
		}
	}).open(r, rpc.own, rpc.folded)}
}

// GRPCServed counts one unary call of a server. method is the full method name; received and sent are message sizes in
// bytes.
func (r *Registry) GRPCServed(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	if r.settings.Enabled {
		r.grpcServer.count(method, code, received, sent, elapsed)
	}
}

// GRPCCalled counts one unary call of a gRPC application, like GRPCServed.
func (r *Registry) GRPCCalled(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	if r.settings.Enabled {
		r.grpcClient.count(method, code, received, sent, elapsed)
	}
}

func (f *grpcFamilies) count(method string, code codes.Code, received, sent int, elapsed time.Duration) {
	h := f.series.handle(rpc{short(method), code})
	h.received.Observe(float64(received))
	h.sent.Observe(float64(sent))
	h.latency.Observe(milliseconds(elapsed))
	h.completed.Inc()
}

// noCode stands for all codes.
const noCode = codes.Code(math.MaxUint32)

// grpcStatus is the label value of a code: OpenCensus's names, which dashboards know.
func grpcStatus(c codes.Code) string {
	names := [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	if int(c) < len(names) {
		return names[c]
	}
	if c == noCode {
		return other
	}
	return "CODE_" + status(int(c))
}
