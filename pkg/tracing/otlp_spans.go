package tracing

import (
	"maps"
	"slices"

	"go.opencensus.io/plugin/ochttp/propagation/tracecontext"
	"go.opencensus.io/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// tracesOf is a batch in the form of OTLP. On the wire it is an ExportTraceServiceRequest, too.
func tracesOf(resource map[string]string, spans []*trace.SpanData) *tracepb.TracesData {
	of := &resourcepb.Resource{}
	for _, name := range slices.Sorted(maps.Keys(resource)) {
		of.Attributes = append(of.Attributes, attribute(name, resource[name]))
	}
	all := make([]*tracepb.Span, len(spans))
	for i, span := range spans {
		all[i] = otlpSpan(span)
	}
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{Resource: of,
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: scope}, Spans: all}}}}}
}

func otlpSpan(s *trace.SpanData) *tracepb.Span {
	span := &tracepb.Span{
		TraceId: s.TraceID[:], SpanId: s.SpanID[:], Flags: uint32(s.TraceOptions), Name: s.Name,
		Kind:              tracepb.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: uint64(s.StartTime.UnixNano()), EndTimeUnixNano: uint64(s.EndTime.UnixNano()),
		DroppedAttributesCount: uint32(s.DroppedAttributeCount), DroppedLinksCount: uint32(s.DroppedLinkCount), Status: &tracepb.Status{},
	}
	if s.SpanKind == trace.SpanKindServer {
		span.Kind = tracepb.Span_SPAN_KIND_SERVER
	}
	if s.ParentSpanID != (trace.SpanID{}) {
		span.ParentSpanId = s.ParentSpanID[:]
		// Every parent is in another process.
		span.Flags |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	if s.Tracestate != nil {
		var format tracecontext.HTTPFormat
		_, span.TraceState = format.SpanContextToHeaders(s.SpanContext)
	}
	for _, link := range s.Links {
		span.Links = append(span.Links, &tracepb.Span_Link{TraceId: link.TraceID[:], SpanId: link.SpanID[:]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		span.Attributes = append(span.Attributes, attribute(name, s.Attributes[name]))
	}
	if s.Status.Code != trace.StatusCodeOK {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: s.Status.Message}
	}
	return span
}

// attribute has a text or a number.
func attribute(name string, value any) *commonpb.KeyValue {
	v := &commonpb.AnyValue{}
	switch value := value.(type) {
	case string:
		v.Value = &commonpb.AnyValue_StringValue{StringValue: value}
	case int64:
		v.Value = &commonpb.AnyValue_IntValue{IntValue: value}
	}
	return &commonpb.KeyValue{Key: name, Value: v}
}
