package bindings

import (
	"context"
	"maps"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/tracing"
)

// spanned brings an event to the application, each attempt within a span of its own where spans are made. Its parent is
// what the component knows of a trace.
func (s *Service) spanned(ctx context.Context, app channel.App, event *channel.BindingEvent) (*channel.BindingAnswer, error) {
	span := s.deps.Tracer.Start(tracing.Client, event.Metadata[tracing.ParentHeader], event.Metadata[tracing.StateHeader])
	if span == nil {
		return app.BindingEvent(ctx, event)
	}
	if span.Recording() {
		span.Name("bindings/" + event.Name)
		span.Operation(tracing.Bindings, event.Name, "")
	}
	metadata := make(map[string]string, len(event.Metadata)+1)
	maps.Copy(metadata, event.Metadata)
	metadata[tracing.ParentHeader] = span.Parent()
	delete(metadata, tracing.StateHeader)
	if state := span.State(); state != "" {
		metadata[tracing.StateHeader] = state
	}
	event.Metadata = metadata
	answer, err := app.BindingEvent(ctx, event)
	switch {
	case err != nil:
		span.End(err)
	case answer.Status >= 100:
		span.EndHTTP(answer.Status)
	default:
		span.End(nil)
	}
	return answer, err
}
