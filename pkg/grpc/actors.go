package grpc

import (
	"bytes"
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/daprd/daprd/pkg/channel"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/state"
	"github.com/daprd/daprd/pkg/tracing"
)

// InvokeActor calls a method of an actor. The actor sees the metadata of the message, not those of the call.
func (h *handlers) InvokeActor(ctx context.Context, req *runtimev1.InvokeActorRequest) (*runtimev1.InvokeActorResponse, error) {
	call := &channel.Request{Body: channel.Body{Bytes: req.GetData()}}
	for name, value := range req.GetMetadata() {
		if name == "content-type" || name == "Content-Type" {
			call.ContentType = value
		} else {
			call.Header = call.Header.With(name, value)
		}
	}
	if origin := tracing.Incoming(ctx); origin != tracing.ZeroParent {
		call.Header = call.Header.Without(tracing.ParentHeader).With(tracing.ParentHeader, origin)
	}
	res, err := h.blocks.Actors.Invoke(ctx, req.GetActorType(), req.GetActorId(), req.GetMethod(), call)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	data, err := h.whole(res.Body)
	if err != nil {
		return nil, err
	}
	return &runtimev1.InvokeActorResponse{Data: data}, nil
}

// GetActorState reads one key of an actor's state.
func (h *handlers) GetActorState(ctx context.Context, req *runtimev1.GetActorStateRequest) (*runtimev1.GetActorStateResponse, error) {
	item, err := h.blocks.Actors.GetState(ctx, req.GetActorType(), req.GetActorId(), req.GetKey())
	if err != nil {
		return nil, err
	}
	return &runtimev1.GetActorStateResponse{Data: bytes.Clone(item.Value), Metadata: item.Metadata}, nil
}

// ExecuteActorStateTransaction applies operations on an actor's state together.
func (h *handlers) ExecuteActorStateTransaction(ctx context.Context, req *runtimev1.ExecuteActorStateTransactionRequest) (*emptypb.Empty, error) {
	operations := make([]state.RawOperation, len(req.GetOperations()))
	for i, operation := range req.GetOperations() {
		operations[i] = state.RawOperation{Type: operation.GetOperationType(), Set: state.SetRequest{Key: operation.GetKey(),
			Value: operation.GetValue().GetValue(), Metadata: operation.GetMetadata()}}
	}
	return done(h.blocks.Actors.Transact(ctx, req.GetActorType(), req.GetActorId(), operations))
}

// SubscribeActorEventsAlpha1 is the stream of an application that hosts actors: it ends when the application closes it,
// or the sidecar ends.
func (h *handlers) SubscribeActorEventsAlpha1(stream runtimev1.Dapr_SubscribeActorEventsAlpha1Server) error {
	if err := h.blocks.Actors.TakesStreams(); err != nil {
		return err
	}
	host, err := channel.OpenActorStream(stream, h.log.Warnf)
	if err != nil {
		return err
	}
	return h.blocks.Actors.HostStream(stream.Context(), host.Configuration(), host, host.Listen)
}
