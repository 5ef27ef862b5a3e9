package pluggabletest

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"google.golang.org/grpc"

	"github.com/daprd/daprd/pkg/bindings"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/pubsub"
)

type secretServer struct {
	componentsv1.UnimplementedSecretStoreServer
	*Process
}

func (s *secretServer) Init(ctx context.Context, req *componentsv1.SecretStoreInitRequest) (*componentsv1.SecretStoreInitResponse, error) {
	return &componentsv1.SecretStoreInitResponse{}, s.init(ctx, req.GetMetadata())
}

func (s *secretServer) Features(context.Context, *componentsv1.FeaturesRequest) (*componentsv1.FeaturesResponse, error) {
	return &componentsv1.FeaturesResponse{Features: []string{"MULTIPLE_KEY_VALUES_PER_SECRET"}}, nil
}

func (s *secretServer) Get(ctx context.Context, req *componentsv1.GetSecretRequest) (*componentsv1.GetSecretResponse, error) {
	values, err := s.parts.Secret.Secret(ctx, req.GetKey(), req.GetMetadata())
	return &componentsv1.GetSecretResponse{Data: values}, err
}

func (s *secretServer) BulkGet(ctx context.Context, req *componentsv1.BulkGetSecretRequest) (*componentsv1.BulkGetSecretResponse, error) {
	all, err := s.parts.Secret.All(ctx, req.GetMetadata())
	answer := &componentsv1.BulkGetSecretResponse{Data: map[string]*componentsv1.SecretResponse{}}
	for name, values := range all {
		answer.Data[name] = &componentsv1.SecretResponse{Secrets: values}
	}
	return answer, err
}

type outputServer struct {
	componentsv1.UnimplementedOutputBindingServer
	*Process
}

func (s *outputServer) Init(ctx context.Context, req *componentsv1.OutputBindingInitRequest) (*componentsv1.OutputBindingInitResponse, error) {
	return &componentsv1.OutputBindingInitResponse{}, s.init(ctx, req.GetMetadata())
}

func (s *outputServer) ListOperations(context.Context, *componentsv1.ListOperationsRequest) (*componentsv1.ListOperationsResponse, error) {
	return &componentsv1.ListOperationsResponse{Operations: s.parts.Output.Operations()}, nil
}

func (s *outputServer) Invoke(ctx context.Context, req *componentsv1.InvokeRequest) (*componentsv1.InvokeResponse, error) {
	answer, err := s.parts.Output.Invoke(ctx, &bindings.Request{Operation: req.GetOperation(), Data: req.GetData(), Metadata: req.GetMetadata()})
	if err != nil || answer == nil {
		return &componentsv1.InvokeResponse{}, err
	}
	return &componentsv1.InvokeResponse{Data: answer.Data, Metadata: answer.Metadata}, nil
}

// pending are answers that somebody waits for, by the id of what was sent.
type pending[T any] struct {
	mu      sync.Mutex
	count   int
	waiting map[string]chan T
}

func (p *pending[T]) expect() (id string, answer chan T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[string]chan T{}
	}
	p.count++
	id, answer = strconv.Itoa(p.count), make(chan T, 1)
	p.waiting[id] = answer
	return id, answer
}

func (p *pending[T]) arrive(id string, value T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer, ok := p.waiting[id]; ok {
		delete(p.waiting, id)
		answer <- value
	}
}

type inputServer struct {
	componentsv1.UnimplementedInputBindingServer
	*Process
}

func (s *inputServer) Init(ctx context.Context, req *componentsv1.InputBindingInitRequest) (*componentsv1.InputBindingInitResponse, error) {
	return &componentsv1.InputBindingInitResponse{}, s.init(ctx, req.GetMetadata())
}

// reply is an answer to an event or a message.
type reply struct {
	data []byte
	err  error
}

func (s *inputServer) Read(stream grpc.BidiStreamingServer[componentsv1.ReadRequest, componentsv1.ReadResponse]) error {
	var (
		replies pending[reply]
		sending sync.Mutex
	)
	ctx, end := context.WithCancel(stream.Context())
	go func() {
		defer end()
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			r := reply{data: answer.GetResponseData()}
			if answer.GetResponseError() != nil {
				r.err = errors.New(answer.GetResponseError().GetMessage())
			}
			replies.arrive(answer.GetMessageId(), r)
		}
	}()
	return s.parts.Input.Read(ctx, func(_ context.Context, event *bindings.Event) ([]byte, error) {
		id, answer := replies.expect()
		sending.Lock()
		err := stream.Send(&componentsv1.ReadResponse{MessageId: id, Data: event.Data, Metadata: event.Metadata})
		sending.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case r := <-answer:
			return r.data, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

type brokerServer struct {
	componentsv1.UnimplementedPubSubServer
	*Process
}

func (s *brokerServer) Init(ctx context.Context, req *componentsv1.PubSubInitRequest) (*componentsv1.PubSubInitResponse, error) {
	return &componentsv1.PubSubInitResponse{}, s.init(ctx, req.GetMetadata())
}

func (s *brokerServer) Features(context.Context, *componentsv1.FeaturesRequest) (*componentsv1.FeaturesResponse, error) {
	answer := &componentsv1.FeaturesResponse{}
	if featured, ok := s.parts.Broker.(pubsub.Featured); ok {
		for _, f := range featured.Features() {
			answer.Features = append(answer.Features, string(f))
		}
	}
	return answer, nil
}

func (s *brokerServer) Publish(ctx context.Context, req *componentsv1.PublishRequest) (*componentsv1.PublishResponse, error) {
	return &componentsv1.PublishResponse{}, s.parts.Broker.Publish(ctx, &pubsub.PublishRequest{Topic: req.GetTopic(), Data: req.GetData(),
		ContentType: req.GetContentType(), Metadata: req.GetMetadata()})
}

func (s *brokerServer) BulkPublish(ctx context.Context, req *componentsv1.BulkPublishRequest) (*componentsv1.BulkPublishResponse, error) {
	answer := &componentsv1.BulkPublishResponse{}
	for _, entry := range req.GetEntries() {
		err := s.parts.Broker.Publish(ctx, &pubsub.PublishRequest{Topic: req.GetTopic(), Data: entry.GetEvent(), ContentType: entry.GetContentType(),
			Metadata: entry.GetMetadata()})
		if err != nil {
			answer.FailedEntries = append(answer.FailedEntries, &componentsv1.BulkPublishResponseFailedEntry{EntryId: entry.GetEntryId(), Error: err.Error()})
		}
	}
	return answer, nil
}

func (s *brokerServer) PullMessages(stream grpc.BidiStreamingServer[componentsv1.PullMessagesRequest, componentsv1.PullMessagesResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	var (
		replies pending[error]
		sending sync.Mutex
	)
	ctx, end := context.WithCancel(stream.Context())
	go func() {
		defer end()
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			var failed error
			if answer.GetAckError() != nil {
				failed = errors.New(answer.GetAckError().GetMessage())
			}
			replies.arrive(answer.GetAckMessageId(), failed)
		}
	}()
	request := &pubsub.SubscribeRequest{Topic: first.GetTopic().GetName(), Metadata: first.GetTopic().GetMetadata(), Established: func() {}}
	return s.parts.Broker.Subscribe(ctx, request, func(_ context.Context, messages []*pubsub.Message) []error {
		m := messages[0]
		id, answer := replies.expect()
		sending.Lock()
		err := stream.Send(&componentsv1.PullMessagesResponse{Id: id, TopicName: m.Topic, Data: m.Data, ContentType: m.ContentType, Metadata: m.Metadata})
		sending.Unlock()
		if err != nil {
			return []error{err}
		}
		select {
		case failed := <-answer:
			return []error{failed}
		case <-ctx.Done():
			return []error{ctx.Err()}
		}
	})
}
