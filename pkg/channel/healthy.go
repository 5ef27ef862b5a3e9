package channel

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrUnhealthy is why an application that is ill is not called.
var ErrUnhealthy = status.Error(codes.Internal, "app is not in a healthy state")

// Healthy lets calls through to app while it is well; the others fail with ErrUnhealthy. Its questions at the start, the
// probe and proxied calls always pass.
func Healthy(app App, health *Health) App { return &healthy{App: app, health: health} }

type healthy struct {
	App
	health *Health
}

func (h *healthy) Invoke(ctx context.Context, req *Request) (*Response, error) {
	if !h.health.Well() {
		return nil, ErrUnhealthy
	}
	return h.App.Invoke(ctx, req)
}

func (h *healthy) Deliver(ctx context.Context, event *TopicEvent) (TopicAnswer, error) {
	if !h.health.Well() {
		return TopicAnswer{}, ErrUnhealthy
	}
	return h.App.Deliver(ctx, event)
}

func (h *healthy) DeliverBulk(ctx context.Context, events *BulkTopicEvent) ([]TopicAnswer, error) {
	if !h.health.Well() {
		return nil, ErrUnhealthy
	}
	return h.App.DeliverBulk(ctx, events)
}

func (h *healthy) BindingEvent(ctx context.Context, event *BindingEvent) (*BindingAnswer, error) {
	if !h.health.Well() {
		return nil, ErrUnhealthy
	}
	return h.App.BindingEvent(ctx, event)
}

func (h *healthy) ConfigurationUpdate(ctx context.Context, update *ConfigurationUpdate) error {
	if !h.health.Well() {
		return ErrUnhealthy
	}
	return h.App.ConfigurationUpdate(ctx, update)
}

// Conn is the connection for proxied calls.
func (h *healthy) Conn() grpc.ClientConnInterface { return Conn(h.App) }
