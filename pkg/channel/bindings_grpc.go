package channel

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// oneStart is how long the list of a gRPC application holds: all bindings of a start ask for it within less.
const oneStart = 2 * time.Second

// inputList is what a gRPC application said of the bindings that it takes.
type inputList struct {
	mu    sync.Mutex
	until time.Time
	names []string
}

// WantsBinding looks the name up in the application's list, which is asked for once for all that ask together. An
// application that does not implement the list takes none.
func (a *grpcApp) WantsBinding(ctx context.Context, name, _ string) (bool, error) {
	l := &a.inputs
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		var answer runtimev1.ListInputBindingsResponse
		err := a.conn.Invoke(ctx, runtimev1.AppCallback_ListInputBindings_FullMethodName, &emptypb.Empty{}, &answer)
		if err != nil && status.Code(err) != codes.Unimplemented {
			return false, err
		}
		l.names, l.until = answer.GetBindings(), time.Now().Add(oneStart)
	}
	return slices.Contains(l.names, name), nil
}

// BindingEvent calls AppCallback/OnBindingEvent.
func (a *grpcApp) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	md := make(metadata.MD, 3)
	for _, name := range []string{tracing.ParentHeader, tracing.StateHeader, tracing.BaggageHeader} {
		if value := event.Metadata[name]; value != "" {
			md.Set(name, value)
		}
	}
	trace(md)
	if a.token.Required() {
		md.Set(tokenHeader, a.token.Reveal())
	}
	var answer runtimev1.BindingEventResponse
	err := a.conn.Invoke(metadata.NewOutgoingContext(ctx, md), runtimev1.AppCallback_OnBindingEvent_FullMethodName,
		&runtimev1.BindingEventRequest{Name: event.Name, Data: event.Data, Metadata: event.Metadata}, &answer)
	if err != nil {
		return nil, err
	}
	return &BindingAnswer{Data: answer.GetData(), To: answer.GetTo(),
		Parallel: answer.GetConcurrency() == runtimev1.BindingEventResponse_PARALLEL}, nil
}
