package tracing

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"go.opencensus.io/plugin/ochttp/propagation/tracecontext"
	"go.opencensus.io/trace"

	"github.com/daprd/daprd/pkg/config"
)

// defaultRate is the share of new traces that are sampled where the Configuration names none, or none that is a number.
const defaultRate = 0.0001

// Kind says on which side of a call a span is.
type Kind int

// The kinds, with the numbers of OpenCensus.
const (
	Server Kind = trace.SpanKindServer
	Client Kind = trace.SpanKindClient
)

// Deps are what a Tracer needs from the sidecar around it.
type Deps struct {
	AppID string
	// Host is the address of the sidecar, for Zipkin; "" is none.
	Host string
	// Log takes what is wrong with exporting, Spans what the exporter stdout prints.
	Log, Spans logrus.FieldLogger
	// Observer is told of spans that are lost; nil observes nothing.
	Observer Observer
}

// Observer counts.
type Observer interface {
	// SpansDropped is told of spans that an exporter (stdout, zipkin, otlp) could not take or could not send.
	SpansDropped(exporter string, spans int)
}

// Tracer makes the spans of one sidecar and exports those that are sampled. One that was not configured, or is nil, makes
// none: contexts are passed on as they come.
type Tracer struct {
	deps Deps
	// sampler is nil while no spans are made.
	sampler trace.Sampler
	// off: the Configuration switches tracing off altogether.
	off bool
	// owner tells the spans of this tracer from those of others in the process: OpenCensus has one list of exporters.
	owner     string
	exporting []*exporting
}

// owners counts the tracers of the process.
var owners atomic.Int64

// ownerKey is the attribute with the owner of a span; exporters do not see it.
const ownerKey = "owner"

// New makes a Tracer that makes no spans.
func New(deps Deps) *Tracer {
	return &Tracer{deps: deps, owner: strconv.FormatInt(owners.Add(1), 10)}
}

// Configure applies the Configuration and the environment, which getenv reads. It is called once, before the first span;
// Close ends what it begins. The error names the setting that cannot be used.
func (t *Tracer) Configure(spec config.TracingSpec, getenv func(string) string) error {
	s, err := settingsOf(spec, t.deps, getenv)
	if err != nil {
		return err
	}
	if t.off = s.rate == 0; t.off || !s.on {
		s.close()
		return nil
	}
	t.sampler = sampler(s.rate)
	for _, e := range s.exporters {
		t.exporting = append(t.exporting, export(e, t.deps))
	}
	if len(t.exporting) > 0 {
		trace.RegisterExporter(t)
	}
	t.deps.Log.Infof("Dapr trace sampler initialized: ParentBased{root:TraceIDRatioBased{%g}}", s.rate)
	return nil
}

// On says whether spans are made.
func (t *Tracer) On() bool { return t != nil && t.sampler != nil }

// Off says whether the Configuration switches tracing off, with the contexts of answers.
func (t *Tracer) Off() bool { return t != nil && t.off }

// Close sends what waits to be exported, until ctx ends. There are no spans any more. What cannot be sent is told in the
// log: it is no failure of the sidecar's.
func (t *Tracer) Close(ctx context.Context) {
	if len(t.exporting) == 0 {
		return
	}
	trace.UnregisterExporter(t)
	for _, e := range t.exporting {
		e.end()
	}
	for _, e := range t.exporting {
		e.wait(ctx)
	}
}

// ExportSpan takes the spans that have ended; OpenCensus calls it.
func (t *Tracer) ExportSpan(data *trace.SpanData) {
	if data.Attributes[ownerKey] != t.owner {
		return
	}
	delete(data.Attributes, ownerKey)
	for _, e := range t.exporting {
		e.offer(data)
	}
}

// sampler decides as the parent did; where there is none, by the trace id.
func sampler(rate float64) trace.Sampler {
	root := trace.ProbabilitySampler(rate)
	return func(p trace.SamplingParameters) trace.SamplingDecision {
		if p.ParentContext.TraceID != (trace.TraceID{}) {
			return trace.SamplingDecision{Sample: p.ParentContext.IsSampled()}
		}
		return root(p)
	}
}

// Start begins a span under the parent that came with a call, in the text form of the headers; without a parent that can
// be read it begins a trace. It gives nil where no spans are made. End or EndHTTP or EndGRPC ends it.
func (t *Tracer) Start(kind Kind, parent, state string) *Span {
	if !t.On() {
		return nil
	}
	var format tracecontext.HTTPFormat
	from, _ := format.SpanContextFromHeaders(parent, state)
	_, span := trace.StartSpanWithRemoteParent(context.Background(), "", from, trace.WithSampler(t.sampler), trace.WithSpanKind(int(kind)))
	return newSpan(t, span)
}
