package grpc

import (
	"context"
	"maps"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/daprd/daprd/pkg/bindings"
	"github.com/daprd/daprd/pkg/channel"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
	"github.com/daprd/daprd/pkg/tracing"
)

// bindingsGroups are the methods of bindings.
func bindingsGroups() []group {
	return []group{{key: "bindings.v1", methods: []string{"InvokeBinding"}}}
}

// InvokeBinding makes a request to an output binding.
func (h *handlers) InvokeBinding(ctx context.Context, req *runtimev1.InvokeBindingRequest) (*runtimev1.InvokeBindingResponse, error) {
	response, err := h.blocks.Bindings.Invoke(ctx, req.GetName(), &bindings.Request{
		Operation: req.GetOperation(), Data: req.GetData(), Metadata: bindingMetadata(ctx, req.GetMetadata())})
	answer := &runtimev1.InvokeBindingResponse{}
	if response != nil {
		answer.Data, answer.Metadata = response.Data, validTexts(response.Metadata)
		// Headers that cannot be sent any more are of no use to a caller that is gone.
		_ = grpc.SetHeader(ctx, answerHeader(response.Metadata))
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// bindingMetadata is what a component learns of a call: the request's own metadata, then the call's, the first value of
// each key, unless the request has the key. A trace of the call stands in place of the request's own, as in Dapr.
func bindingMetadata(ctx context.Context, own map[string]string) map[string]string {
	incoming, _ := metadata.FromIncomingContext(ctx)
	all := make(map[string]string, len(own)+len(incoming)+1)
	maps.Copy(all, own)
	for key, values := range incoming {
		if len(values) == 0 || key == "dapr-api-token" {
			continue
		}
		switch {
		case key == tracing.ParentHeader, key == tracing.StateHeader:
			all[key] = values[0]
			continue
		case strings.HasPrefix(key, ":"):
			key = "dapr-" + key[1:]
		case strings.HasPrefix(key, "grpc-"):
			key = "dapr-" + key
		}
		if _, taken := all[key]; !taken {
			all[key] = values[0]
		}
	}
	if parent := tracing.Incoming(ctx); parent != tracing.ZeroParent && all[tracing.ParentHeader] == "" {
		all[tracing.ParentHeader] = parent
	}
	return all
}

// answerHeader is a component's metadata as headers; what no header can hold is left out.
func answerHeader(own map[string]string) metadata.MD {
	md := make(metadata.MD, len(own))
	for name, value := range own {
		if channel.IsHeaderName(name) && printable(value) {
			md.Set("metadata."+name, value)
		}
	}
	return md
}

// printable says whether a value can be that of gRPC metadata.
func printable(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}
