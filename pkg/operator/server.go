package operator

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	operatorv1 "github.com/daprd/daprd/pkg/proto/operator/v1"
	"github.com/daprd/daprd/pkg/security"
)

// server is the service Operator: lists, and streams that tell of changes. An application sees the resources of its own
// namespace whose scopes, if any, name it. Of kinds that this project does not have, MCPServer and WorkflowAccessPolicy,
// there are none.
type server struct {
	operatorv1.UnimplementedOperatorServer
	components, configurations, subscriptions, resiliencies, endpoints *feed

	vault   *vault
	pods    *pods
	conns   *connections
	metrics *metrics
	// closing is closed when the operator ends.
	closing <-chan struct{}
}

// feeds are all of them.
func (s *server) feeds() []*feed {
	return []*feed{s.components, s.configurations, s.subscriptions, s.resiliencies, s.endpoints}
}

// caller is who asks for the resources of a namespace; codes and texts are those of Dapr 1.18.
func caller(ctx context.Context, namespace string) (security.Caller, error) {
	who, err := security.CallerOf(ctx)
	if err != nil || who == (security.Caller{}) {
		return who, status.Error(codes.PermissionDenied, "failed to determine identity")
	}
	if namespace == "" || who.Namespace != namespace {
		return who, status.Errorf(codes.PermissionDenied, "identity does not match requested namespace exp=%s got=%s", namespace, who.Namespace)
	}
	return who, nil
}

// list gives the texts of a kind's resources.
func (s *server) list(ctx context.Context, f *feed, namespace string) ([][]byte, error) {
	who, err := caller(ctx, namespace)
	if err != nil {
		return nil, err
	}
	found, err := f.list(namespace, who.AppID)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	texts := make([][]byte, len(found))
	for i, r := range found {
		if texts[i], err = s.vault.opened(ctx, f.kind, r); err != nil {
			return nil, s.locked(err)
		}
	}
	return texts, nil
}

// get gives the text of one resource.
func (s *server) get(ctx context.Context, f *feed, namespace, name string) ([]byte, error) {
	if _, err := caller(ctx, namespace); err != nil {
		return nil, err
	}
	r := f.get(namespace, name)
	if r == nil {
		return nil, status.Errorf(codes.NotFound, "%s %q not found in namespace %s", f.kind.resourceName(), name, namespace)
	}
	text, err := s.vault.opened(ctx, f.kind, r)
	if err != nil {
		return nil, s.locked(err)
	}
	return text, nil
}

// locked is the answer where a secret cannot be had.
func (s *server) locked(err error) error {
	s.metrics.lockedOut.Inc()
	return status.Error(codes.FailedPrecondition, err.Error())
}

// follow tells of a kind's changes until the stream ends. The headers are sent once every later change is seen. Of
// Configurations an application is told of its own alone, and of none where it has none.
func (s *server) follow(f *feed, namespace string, stream grpc.ServerStream, send func(text []byte, change operatorv1.ResourceEventType) error) error {
	ctx := stream.Context()
	who, err := caller(ctx, namespace)
	if err != nil {
		return err
	}
	listener := &follower{appID: who.AppID, wake: make(chan struct{}, 1), cut: s.conns.cutter(ctx)}
	if f == s.configurations {
		name, err := s.pods.configuration(ctx, who)
		if err != nil {
			return status.Error(codes.Unavailable, err.Error())
		}
		listener.name = &name
	}
	leave := f.follow(namespace, listener)
	defer leave()
	s.metrics.followers.Inc()
	defer s.metrics.followers.Dec()
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-s.closing:
			return status.Error(codes.Unavailable, "operator is shutting down")
		case <-listener.wake:
		}
		events, more := listener.take()
		if !more {
			s.metrics.cutOff.Inc()
			return status.Error(codes.Unavailable, "the events were not read; list the resources again")
		}
		for _, e := range events {
			text, err := s.vault.opened(ctx, f.kind, e.resource)
			if err != nil && e.change != operatorv1.ResourceEventType_DELETED {
				return s.locked(err)
			}
			if err != nil {
				text = e.resource.text // what is gone is known by its name
			}
			if err := send(text, e.change); err != nil {
				return err
			}
			s.metrics.sent.WithLabelValues(f.kind.name).Inc()
		}
	}
}

func (s *server) ListComponents(ctx context.Context, r *operatorv1.ListComponentsRequest) (*operatorv1.ListComponentResponse, error) {
	texts, err := s.list(ctx, s.components, r.GetNamespace())
	return &operatorv1.ListComponentResponse{Components: texts}, err
}

func (s *server) ComponentUpdate(r *operatorv1.ComponentUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ComponentUpdateEvent]) error {
	return s.follow(s.components, r.GetNamespace(), stream, func(text []byte, change operatorv1.ResourceEventType) error {
		return stream.Send(&operatorv1.ComponentUpdateEvent{Component: text, Type: change})
	})
}

func (s *server) GetConfiguration(ctx context.Context, r *operatorv1.GetConfigurationRequest) (*operatorv1.GetConfigurationResponse, error) {
	text, err := s.get(ctx, s.configurations, r.GetNamespace(), r.GetName())
	return &operatorv1.GetConfigurationResponse{Configuration: text}, err
}

func (s *server) ConfigurationUpdate(r *operatorv1.ConfigurationUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ConfigurationUpdateEvent]) error {
	return s.follow(s.configurations, r.GetNamespace(), stream, func(text []byte, change operatorv1.ResourceEventType) error {
		return stream.Send(&operatorv1.ConfigurationUpdateEvent{Configuration: text, Type: change})
	})
}

// ListSubscriptions names no namespace: it is the caller's.
func (s *server) ListSubscriptions(ctx context.Context, _ *emptypb.Empty) (*operatorv1.ListSubscriptionsResponse, error) {
	who, err := security.CallerOf(ctx)
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, "failed to determine identity")
	}
	texts, err := s.list(ctx, s.subscriptions, who.Namespace)
	return &operatorv1.ListSubscriptionsResponse{Subscriptions: texts}, err
}

func (s *server) ListSubscriptionsV2(ctx context.Context, r *operatorv1.ListSubscriptionsRequest) (*operatorv1.ListSubscriptionsResponse, error) {
	texts, err := s.list(ctx, s.subscriptions, r.GetNamespace())
	return &operatorv1.ListSubscriptionsResponse{Subscriptions: texts}, err
}

func (s *server) SubscriptionUpdate(r *operatorv1.SubscriptionUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.SubscriptionUpdateEvent]) error {
	return s.follow(s.subscriptions, r.GetNamespace(), stream, func(text []byte, change operatorv1.ResourceEventType) error {
		return stream.Send(&operatorv1.SubscriptionUpdateEvent{Subscription: text, Type: change})
	})
}

func (s *server) GetResiliency(ctx context.Context, r *operatorv1.GetResiliencyRequest) (*operatorv1.GetResiliencyResponse, error) {
	text, err := s.get(ctx, s.resiliencies, r.GetNamespace(), r.GetName())
	return &operatorv1.GetResiliencyResponse{Resiliency: text}, err
}

func (s *server) ListResiliency(ctx context.Context, r *operatorv1.ListResiliencyRequest) (*operatorv1.ListResiliencyResponse, error) {
	texts, err := s.list(ctx, s.resiliencies, r.GetNamespace())
	return &operatorv1.ListResiliencyResponse{Resiliencies: texts}, err
}

func (s *server) ResiliencyUpdate(r *operatorv1.ResiliencyUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.ResiliencyUpdateEvent]) error {
	return s.follow(s.resiliencies, r.GetNamespace(), stream, func(text []byte, change operatorv1.ResourceEventType) error {
		return stream.Send(&operatorv1.ResiliencyUpdateEvent{Resiliency: text, Type: change})
	})
}

func (s *server) ListHTTPEndpoints(ctx context.Context, r *operatorv1.ListHTTPEndpointsRequest) (*operatorv1.ListHTTPEndpointsResponse, error) {
	texts, err := s.list(ctx, s.endpoints, r.GetNamespace())
	return &operatorv1.ListHTTPEndpointsResponse{HttpEndpoints: texts}, err
}

func (s *server) HTTPEndpointUpdate(r *operatorv1.HTTPEndpointUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.HTTPEndpointUpdateEvent]) error {
	return s.follow(s.endpoints, r.GetNamespace(), stream, func(text []byte, change operatorv1.ResourceEventType) error {
		return stream.Send(&operatorv1.HTTPEndpointUpdateEvent{HttpEndpoints: text, Type: change})
	})
}

func (s *server) ListMCPServers(ctx context.Context, r *operatorv1.ListMCPServersRequest) (*operatorv1.ListMCPServersResponse, error) {
	_, err := caller(ctx, r.GetNamespace())
	return &operatorv1.ListMCPServersResponse{}, err
}

func (s *server) MCPServerUpdate(r *operatorv1.MCPServerUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.MCPServerUpdateEvent]) error {
	return s.silent(r.GetNamespace(), stream)
}

func (s *server) ListWorkflowAccessPolicy(ctx context.Context, r *operatorv1.ListWorkflowAccessPolicyRequest) (*operatorv1.ListWorkflowAccessPolicyResponse, error) {
	_, err := caller(ctx, r.GetNamespace())
	return &operatorv1.ListWorkflowAccessPolicyResponse{}, err
}

func (s *server) WorkflowAccessPolicyUpdate(r *operatorv1.WorkflowAccessPolicyUpdateRequest, stream grpc.ServerStreamingServer[operatorv1.WorkflowAccessPolicyUpdateEvent]) error {
	return s.silent(r.GetNamespace(), stream)
}

// silent is the stream of a kind that there is nothing of.
func (s *server) silent(namespace string, stream grpc.ServerStream) error {
	if _, err := caller(stream.Context(), namespace); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		return status.FromContextError(stream.Context().Err()).Err()
	case <-s.closing:
		return status.Error(codes.Unavailable, "operator is shutting down")
	}
}
