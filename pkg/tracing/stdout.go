package tracing

import (
	"context"

	"github.com/sirupsen/logrus"
	"go.opencensus.io/trace"
)

// stdout prints spans into the log, in the form of Dapr.
type stdout struct{ log logrus.FieldLogger }

func (stdout) kind() string { return "stdout" }
func (stdout) name() string { return "stdout" }
func (stdout) close()       {}

func (s stdout) send(_ context.Context, spans []*trace.SpanData) error {
	for _, span := range spans {
		s.log.Infof("[%s] Trace: %s Span: %s/%s Time: [%s ->  %s] Annotations: %+v",
			span.Name, span.TraceID, span.ParentSpanID, span.SpanID, span.StartTime, span.EndTime, span.Annotations)
	}
	return nil
}
