package grpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	info "github.com/daprd/daprd/pkg/metadata"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/pubsub"
)

// forceHeader asks Shutdown not to wait for anything.
const forceHeader = "dapr-force-shutdown"

// GetMetadata tells what the sidecar is.
func (h *handlers) GetMetadata(context.Context, *runtimev1.GetMetadataRequest) (*runtimev1.GetMetadataResponse, error) {
	return metadataAnswer(h.blocks.Metadata.Info()), nil
}

func metadataAnswer(all info.Info) *runtimev1.GetMetadataResponse {
	answer := &runtimev1.GetMetadataResponse{
		Id:                all.ID,
		RuntimeVersion:    all.RuntimeVersion,
		EnabledFeatures:   all.EnabledFeatures,
		ActiveActorsCount: counts(all.Actors),
		ExtendedMetadata:  all.Extended,
		ActorRuntime: &runtimev1.ActorRuntime{
			RuntimeStatus: runtimev1.ActorRuntime_ActorRuntimeStatus(all.ActorRuntime.Status),
			ActiveActors:  counts(all.Actors),
			HostReady:     all.ActorRuntime.HostReady,
			Placement:     all.ActorRuntime.Placement,
		},
	}
	for _, c := range all.Components {
		answer.RegisteredComponents = append(answer.RegisteredComponents, &runtimev1.RegisteredComponents{
			Name: c.Name, Type: c.Type, Version: c.Version, Capabilities: c.Capabilities})
	}
	for _, s := range all.Subscriptions {
		answer.Subscriptions = append(answer.Subscriptions, subscriptionAnswer(s))
	}
	for _, name := range all.HTTPEndpoints {
		answer.HttpEndpoints = append(answer.HttpEndpoints, &runtimev1.MetadataHTTPEndpoint{Name: name})
	}
	for _, name := range all.Resiliencies {
		answer.Resiliencies = append(answer.Resiliencies, &runtimev1.MetadataResiliency{Name: name})
	}
	if all.App != (info.AppConnection{}) {
		answer.AppConnectionProperties = &runtimev1.AppConnectionProperties{
			Port:           int32(all.App.Port),
			Protocol:       all.App.Protocol,
			ChannelAddress: all.App.ChannelAddress,
			MaxConcurrency: int32(all.App.MaxConcurrency),
			Health:         appHealth(all.App.Health),
		}
	}
	return answer
}

func appHealth(h *info.AppHealth) *runtimev1.AppConnectionHealthProperties {
	if h == nil {
		return nil
	}
	return &runtimev1.AppConnectionHealthProperties{HealthCheckPath: h.Path, HealthProbeInterval: h.Interval.String(),
		HealthProbeTimeout: h.Timeout.String(), HealthThreshold: int32(h.Threshold)}
}

func subscriptionAnswer(s pubsub.Subscription) *runtimev1.PubsubSubscription {
	answer := &runtimev1.PubsubSubscription{PubsubName: s.PubSub, Topic: s.Topic, Metadata: s.Metadata, DeadLetterTopic: s.DeadLetterTopic,
		Type: runtimev1.PubsubSubscriptionType(s.Type), Rules: &runtimev1.PubsubSubscriptionRules{}}
	for _, rule := range s.Rules {
		answer.Rules.Rules = append(answer.Rules.Rules, &runtimev1.PubsubSubscriptionRule{Match: rule.Match, Path: rule.Path})
	}
	return answer
}

func counts(actors []info.ActorCount) []*runtimev1.ActiveActorsCount {
	var all []*runtimev1.ActiveActorsCount
	for _, actor := range actors {
		all = append(all, &runtimev1.ActiveActorsCount{Type: actor.Type, Count: int32(actor.Count)})
	}
	return all
}

// SetMetadata keeps an attribute.
func (h *handlers) SetMetadata(_ context.Context, req *runtimev1.SetMetadataRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, h.blocks.Metadata.Set(req.GetKey(), req.GetValue())
}

// Shutdown asks the sidecar to end.
func (h *handlers) Shutdown(ctx context.Context, _ *runtimev1.ShutdownRequest) (*emptypb.Empty, error) {
	forced := false
	for _, value := range metadata.ValueFromIncomingContext(ctx, forceHeader) {
		forced = forced || strings.EqualFold(value, "true")
	}
	h.blocks.Shutdown(forced)
	return &emptypb.Empty{}, nil
}
