// Package tracing carries trace contexts from call to call, makes spans and exports them. It must not know what is
// called.
//
// OpenCensus makes the spans. Whoever serves a call begins one and puts its context in the place of the caller's, so that
// everything made of the call is within it. Without a sampling rate and an exporter the sidecar makes no spans: an
// incoming context goes on unchanged, and where there is none the all-zero one stands, as Dapr 1.18 does.
package tracing

// The headers of the W3C trace context, in the form of HTTP and of gRPC metadata.
const (
	ParentHeader  = "traceparent"
	StateHeader   = "tracestate"
	BaggageHeader = "baggage"
	BinaryHeader  = "grpc-trace-bin"
)

// ZeroParent is the trace parent of a call that nobody traces.
const ZeroParent = "00-00000000000000000000000000000000-0000000000000000-00"
