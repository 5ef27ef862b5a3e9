package main

import (
	"context"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	runtimev1 "github.com/daprd/daprd/pkg/proto/runtime/v1"
)

const jsonType = "application/json"

// serveTopic serves an application that subscribes to the topic.
func serveTopic(protocol string, listener net.Listener, broker string, box *mailbox) (stop func()) {
	if protocol == "grpc" {
		server := grpc.NewServer()
		runtimev1.RegisterAppCallbackServer(server, &subscriber{broker: broker, box: box})
		go func() { _ = server.Serve(listener) }()
		return server.Stop
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType(jsonType)
		if ctx.IsGet() {
			ctx.SetBodyString(fmt.Sprintf(`[{"pubsubname":%q,"topic":%q,"route":%q}]`, broker, topic, topic))
			return
		}
		box.deliver(ctx.Request.Body())
		ctx.SetBodyString(`{"status":"SUCCESS"}`)
	}}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Shutdown() }
}

// subscriber is the application that speaks gRPC.
type subscriber struct {
	runtimev1.UnimplementedAppCallbackServer
	broker string
	box    *mailbox
}

// ListTopicSubscriptions asks for the topic.
func (s *subscriber) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	return &runtimev1.ListTopicSubscriptionsResponse{Subscriptions: []*runtimev1.TopicSubscription{{PubsubName: s.broker, Topic: topic}}}, nil
}

// OnTopicEvent takes a message.
func (s *subscriber) OnTopicEvent(_ context.Context, request *runtimev1.TopicEventRequest) (*runtimev1.TopicEventResponse, error) {
	s.box.deliver(request.GetData())
	return &runtimev1.TopicEventResponse{}, nil
}

// publishing gives the function that publishes messages, one alone and several in bulk.
func publishing(protocol string, port int, broker string, connections int) (func(ids []string) error, error) {
	if protocol == "grpc" {
		conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", port), grpc.WithTransportCredentials(insecure.NewCredentials()))
		return func(ids []string) error { return publishGRPC(runtimev1.NewDaprClient(conn), broker, ids) }, err
	}
	sender, url := newSender(connections), fmt.Sprintf("http://127.0.0.1:%d/v1.0/publish/", port)
	return func(ids []string) error {
		if len(ids) == 1 {
			return sender.send("POST", url+broker+"/"+topic, jsonType, message(ids[0]))
		}
		return sender.send("POST", url+"bulk/"+broker+"/"+topic, jsonType, bulk(ids))
	}, nil
}

// bulk is the body of a bulk publish.
func bulk(ids []string) []byte {
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"entryId":"`+id+`","contentType":"`+jsonType+`","event":`...)
		b = append(append(b, message(id)...), '}')
	}
	return append(b, ']')
}

func publishGRPC(client runtimev1.DaprClient, broker string, ids []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTime)
	defer cancel()
	if len(ids) == 1 {
		_, err := client.PublishEvent(ctx, &runtimev1.PublishEventRequest{PubsubName: broker, Topic: topic, Data: message(ids[0]), DataContentType: jsonType})
		return err
	}
	request := &runtimev1.BulkPublishRequest{PubsubName: broker, Topic: topic}
	for _, id := range ids {
		request.Entries = append(request.Entries, &runtimev1.BulkPublishRequestEntry{EntryId: id, Event: message(id), ContentType: jsonType})
	}
	answer, err := client.BulkPublishEvent(ctx, request)
	if failed := answer.GetFailedEntries(); err == nil && len(failed) > 0 {
		err = fmt.Errorf("%d entries failed: %s", len(failed), failed[0].GetError())
	}
	return err
}
