package test

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	commonv1 "github.com/daprd/daprd/pkg/proto/common/v1"
	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

// grpcAPI is the gRPC API.
type grpcAPI struct {
	client runtimev1.DaprClient
	// token is shown if it is set.
	token string
}

func newGRPCAPI(conn grpc.ClientConnInterface) *grpcAPI {
	return &grpcAPI{client: runtimev1.NewDaprClient(conn)}
}

func (g *grpcAPI) name() string { return "grpc" }

func (g *grpcAPI) context(ctx context.Context) context.Context {
	if g.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "dapr-api-token", g.token)
}

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	f := &fault{GRPC: st.Code(), Text: st.Message()}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			f.Reason = info.GetReason()
		}
	}
	return f
}

func (g *grpcAPI) getState(ctx context.Context, store, key string, md map[string]string) (meaning, string) {
	answer, err := g.client.GetState(g.context(ctx), &runtimev1.GetStateRequest{StoreName: store, Key: key, Metadata: md})
	return meaning{Value: string(answer.GetData()), ETag: answer.GetEtag() != "", Fault: faultOf(err)}, answer.GetEtag()
}

func etagOf(tag *string) *commonv1.Etag {
	if tag == nil {
		return nil
	}
	return &commonv1.Etag{Value: *tag}
}

func optionsOf(item stateItem) *commonv1.StateOptions {
	options := &commonv1.StateOptions{}
	switch item.Concurrency {
	case "first-write":
		options.Concurrency = commonv1.StateOptions_CONCURRENCY_FIRST_WRITE
	case "last-write":
		options.Concurrency = commonv1.StateOptions_CONCURRENCY_LAST_WRITE
	}
	switch item.Consistency {
	case "eventual":
		options.Consistency = commonv1.StateOptions_CONSISTENCY_EVENTUAL
	case "strong":
		options.Consistency = commonv1.StateOptions_CONSISTENCY_STRONG
	}
	return options
}

func messageOf(item stateItem) *commonv1.StateItem {
	return &commonv1.StateItem{Key: item.Key, Value: []byte(item.Value), Etag: etagOf(item.ETag), Metadata: item.Metadata, Options: optionsOf(item)}
}

func (g *grpcAPI) saveState(ctx context.Context, store string, items ...stateItem) meaning {
	request := &runtimev1.SaveStateRequest{StoreName: store}
	for _, item := range items {
		request.States = append(request.States, messageOf(item))
	}
	_, err := g.client.SaveState(g.context(ctx), request)
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) deleteState(ctx context.Context, store string, item stateItem) meaning {
	_, err := g.client.DeleteState(g.context(ctx), &runtimev1.DeleteStateRequest{StoreName: store, Key: item.Key, Etag: etagOf(item.ETag),
		Options: optionsOf(item), Metadata: item.Metadata})
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) getBulkState(ctx context.Context, store string, keys ...string) meaning {
	answer, err := g.client.GetBulkState(g.context(ctx), &runtimev1.GetBulkStateRequest{StoreName: store, Keys: keys})
	m := meaning{Fault: faultOf(err)}
	for _, item := range answer.GetItems() {
		m.Items = append(m.Items, parityItem{item.GetKey(), string(item.GetData()), item.GetEtag() != "", item.GetError()})
	}
	return m
}

func (g *grpcAPI) transact(ctx context.Context, store string, operations ...stateOperation) meaning {
	request := &runtimev1.ExecuteStateTransactionRequest{StoreName: store}
	for _, o := range operations {
		request.Operations = append(request.Operations, &runtimev1.TransactionalStateOperation{OperationType: o.Type, Request: messageOf(o.Item)})
	}
	_, err := g.client.ExecuteStateTransaction(g.context(ctx), request)
	return meaning{Fault: faultOf(err)}
}

func (g *grpcAPI) query(ctx context.Context, store, text string) meaning {
	answer, err := g.client.QueryStateAlpha1(g.context(ctx), &runtimev1.QueryStateRequest{StoreName: store, Query: text})
	return meaning{Value: strings.Repeat("result ", len(answer.GetResults())), Fault: faultOf(err)}
}

func (g *grpcAPI) secret(ctx context.Context, store, name string) meaning {
	answer, err := g.client.GetSecret(g.context(ctx), &runtimev1.GetSecretRequest{StoreName: store, Key: name})
	if err != nil {
		return meaning{Fault: faultOf(err)}
	}
	return meaning{Secrets: map[string]map[string]string{name: answer.GetData()}}
}

func (g *grpcAPI) secrets(ctx context.Context, store string) meaning {
	answer, err := g.client.GetBulkSecret(g.context(ctx), &runtimev1.GetBulkSecretRequest{StoreName: store})
	m := meaning{Fault: faultOf(err)}
	for name, values := range answer.GetData() {
		if m.Secrets == nil {
			m.Secrets = map[string]map[string]string{}
		}
		m.Secrets[name] = values.GetSecrets()
	}
	return m
}

// invoke reads what an HTTP application's answer became: the status from its header or, where it is an
// error, from the ErrorInfo, which also holds the beginning of the body.
func (g *grpcAPI) invoke(ctx context.Context, call invocation) meaning {
	for name, values := range call.Header {
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	message := &commonv1.InvokeRequest{Method: call.Method, ContentType: call.ContentType, Data: &anypb.Any{Value: []byte(call.Body)}}
	if call.Verb != "" {
		message.HttpExtension = &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_Verb(commonv1.HTTPExtension_Verb_value[call.Verb]), Querystring: call.Query}
	}
	var header metadata.MD
	answer, err := g.client.InvokeService(g.context(ctx), &runtimev1.InvokeServiceRequest{Id: call.ID, Message: message}, grpc.Header(&header))
	m := meaning{Header: marked(header)}
	if seen := header.Get("dapr-http-status"); len(seen) == 1 {
		m.Status, _ = strconv.Atoi(seen[0])
	}
	if err == nil {
		m.Value = string(answer.GetData().GetValue())
		return m
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetMetadata()["http.code"] == strconv.Itoa(m.Status) {
			m.Value = info.GetMetadata()["http.error_message"]
			if text := http.StatusText(m.Status); text == status.Convert(err).Message() {
				return m
			}
		}
	}
	m.Fault = faultOf(err)
	return m
}

func (g *grpcAPI) metadata(ctx context.Context) meaning {
	answer, err := g.client.GetMetadata(g.context(ctx), &runtimev1.GetMetadataRequest{})
	if err != nil {
		return meaning{Fault: faultOf(err)}
	}
	app := answer.GetAppConnectionProperties()
	info := &parityInfo{ID: answer.GetId(), Version: answer.GetRuntimeVersion(), Features: answer.GetEnabledFeatures(),
		Extended: answer.GetExtendedMetadata(), AppProtocol: app.GetProtocol(), AppAddress: app.GetChannelAddress(),
		HasAppPort: app.GetPort() > 0, Concurrency: int(app.GetMaxConcurrency()),
		ActorStatus: answer.GetActorRuntime().GetRuntimeStatus().String()}
	for _, c := range answer.GetRegisteredComponents() {
		info.Components = append(info.Components, described(c.GetName(), c.GetType(), c.GetVersion(), c.GetCapabilities()))
	}
	for _, e := range answer.GetHttpEndpoints() {
		info.HTTPEndpoints = append(info.HTTPEndpoints, e.GetName())
	}
	for _, r := range answer.GetResiliencies() {
		info.Resiliencies = append(info.Resiliencies, r.GetName())
	}
	return meaning{Info: info}
}

func (g *grpcAPI) setMetadata(ctx context.Context, key, value string) meaning {
	_, err := g.client.SetMetadata(g.context(ctx), &runtimev1.SetMetadataRequest{Key: key, Value: value})
	return meaning{Fault: faultOf(err)}
}
