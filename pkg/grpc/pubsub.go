package grpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/tracing"
)

// pubsubGroups are the methods of publish and subscribe.
func pubsubGroups() []group {
	words := strings.Fields
	return []group{
		{key: "publish.v1", methods: words("PublishEvent BulkPublishEvent")},
		{key: "publish.v1alpha1", methods: words("BulkPublishEventAlpha1")},
		{key: "subscribe.v1alpha1", methods: words("SubscribeTopicEventsAlpha1")},
	}
}

// trace is the caller's, "" for none.
func trace(ctx context.Context) (parent, state string) {
	if parent = tracing.Incoming(ctx); parent == tracing.ZeroParent {
		return "", ""
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md[tracing.StateHeader]) > 0 {
		state = md[tracing.StateHeader][0]
	}
	return parent, state
}

// PublishEvent publishes one message.
func (h *handlers) PublishEvent(ctx context.Context, req *runtimev1.PublishEventRequest) (*emptypb.Empty, error) {
	p := pubsub.Publication{Topic: req.GetTopic(), Data: req.GetData(), ContentType: req.GetDataContentType(), Metadata: req.GetMetadata()}
	p.TraceParent, p.TraceState = trace(ctx)
	p.Baggage = baggage(ctx)
	return done(h.blocks.PubSub.Publish(ctx, req.GetPubsubName(), &p))
}

// BulkPublishEvent publishes many messages of one topic.
func (h *handlers) BulkPublishEvent(ctx context.Context, req *runtimev1.BulkPublishRequest) (*runtimev1.BulkPublishResponse, error) {
	common := pubsub.Publication{Topic: req.GetTopic(), Metadata: req.GetMetadata()}
	common.TraceParent, common.TraceState = trace(ctx)
	common.Baggage = baggage(ctx)
	entries := make([]pubsub.Entry, len(req.GetEntries()))
	for i, entry := range req.GetEntries() {
		entries[i] = pubsub.Entry{ID: entry.GetEntryId(), Data: entry.GetEvent(), ContentType: entry.GetContentType(), Metadata: entry.GetMetadata()}
	}
	if _, err := h.blocks.PubSub.PublishBulk(ctx, req.GetPubsubName(), &common, entries); err != nil {
		return nil, err
	}
	return &runtimev1.BulkPublishResponse{}, nil
}

// BulkPublishEventAlpha1 is BulkPublishEvent under its first name.
func (h *handlers) BulkPublishEventAlpha1(ctx context.Context, req *runtimev1.BulkPublishRequest) (*runtimev1.BulkPublishResponse, error) {
	return h.BulkPublishEvent(ctx, req)
}
