package grpc

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/configuration"
	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// configurationGroups are the methods of configuration.
func configurationGroups() []group {
	words := strings.Fields
	return []group{
		{key: "configuration.v1", methods: words("GetConfiguration SubscribeConfiguration UnsubscribeConfiguration")},
		{key: "configuration.v1alpha1", methods: words("GetConfigurationAlpha1 SubscribeConfigurationAlpha1 UnsubscribeConfigurationAlpha1")},
	}
}

// GetConfiguration reads items.
func (h *handlers) GetConfiguration(ctx context.Context, req *runtimev1.GetConfigurationRequest) (*runtimev1.GetConfigurationResponse, error) {
	items, err := h.blocks.Configuration.Get(ctx, req.GetStoreName(), req.GetKeys(), req.GetMetadata())
	if err != nil {
		return nil, err
	}
	return &runtimev1.GetConfigurationResponse{Items: configurationItems(items)}, nil
}

func configurationItems(items map[string]configuration.Item) map[string]*commonv1.ConfigurationItem {
	all := make(map[string]*commonv1.ConfigurationItem, len(items))
	for key, item := range items {
		all[validText(key)] = &commonv1.ConfigurationItem{Value: validText(item.Value), Version: validText(item.Version), Metadata: validTexts(item.Metadata)}
	}
	return all
}

type configurationStream = grpc.ServerStreamingServer[runtimev1.SubscribeConfigurationResponse]

// SubscribeConfiguration sends the subscription's id, then changes.
func (h *handlers) SubscribeConfiguration(req *runtimev1.SubscribeConfigurationRequest, stream configurationStream) error {
	return h.blocks.Configuration.Watch(stream.Context(), req.GetStoreName(), req.GetKeys(), req.GetMetadata(),
		func(id string) error { return stream.Send(&runtimev1.SubscribeConfigurationResponse{Id: id}) },
		func(id string, items map[string]configuration.Item) error {
			return stream.Send(&runtimev1.SubscribeConfigurationResponse{Id: id, Items: configurationItems(items)})
		})
}

// UnsubscribeConfiguration ends a subscription by its id.
func (h *handlers) UnsubscribeConfiguration(_ context.Context, req *runtimev1.UnsubscribeConfigurationRequest) (*runtimev1.UnsubscribeConfigurationResponse, error) {
	if err := h.blocks.Configuration.Unsubscribe(req.GetId()); err != nil {
		return &runtimev1.UnsubscribeConfigurationResponse{Message: fmt.Sprintf("failed to unsubscribe to configuration request %s: %s", req.GetId(), err)}, nil
	}
	return &runtimev1.UnsubscribeConfigurationResponse{Ok: true}, nil
}

// GetConfigurationAlpha1 is GetConfiguration under its first name.
func (h *handlers) GetConfigurationAlpha1(ctx context.Context, req *runtimev1.GetConfigurationRequest) (*runtimev1.GetConfigurationResponse, error) {
	return h.GetConfiguration(ctx, req)
}

// SubscribeConfigurationAlpha1 is SubscribeConfiguration under its first name.
func (h *handlers) SubscribeConfigurationAlpha1(req *runtimev1.SubscribeConfigurationRequest, stream configurationStream) error {
	return h.SubscribeConfiguration(req, stream)
}

// UnsubscribeConfigurationAlpha1 is UnsubscribeConfiguration under its first name.
func (h *handlers) UnsubscribeConfigurationAlpha1(ctx context.Context, req *runtimev1.UnsubscribeConfigurationRequest) (*runtimev1.UnsubscribeConfigurationResponse, error) {
	return h.UnsubscribeConfiguration(ctx, req)
}
