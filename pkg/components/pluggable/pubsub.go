package pluggable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/daprd/daprd/pkg/components"
	componentsv1 "github.com/daprd/daprd/pkg/proto/components/v1"
	"github.com/daprd/daprd/pkg/pubsub"
)

// broker is a pub/sub component of a process.
type broker struct {
	*process
	name     string
	client   componentsv1.PubSubClient
	features []pubsub.Feature
}

// bulkBroker is one that takes many messages at once.
type bulkBroker struct{ *broker }

func newBroker(path string) components.Factory[pubsub.Broker] {
	return func(ctx context.Context, spec *components.Spec) (pubsub.Broker, error) {
		b := &broker{name: spec.Name}
		var err error
		b.process, err = start(ctx, path, spec, b.initialise)
		if err != nil {
			return nil, err
		}
		if slices.Contains(b.features, pubsub.FeatureBulkPublish) {
			return bulkBroker{b}, nil
		}
		return b, nil
	}
}

func (b *broker) initialise(ctx context.Context, p *process, properties *componentsv1.MetadataRequest) error {
	b.client = componentsv1.NewPubSubClient(p)
	if _, err := b.client.Init(ctx, &componentsv1.PubSubInitRequest{Metadata: properties}); err != nil {
		return err
	}
	answer, err := b.client.Features(ctx, &componentsv1.FeaturesRequest{})
	for _, feature := range answer.GetFeatures() {
		b.features = append(b.features, pubsub.Feature(feature))
	}
	return err
}

// Features are those that the process names.
func (b *broker) Features() []pubsub.Feature { return b.features }

// Ping asks the process whether it is there.
func (b *broker) Ping(ctx context.Context) error {
	_, err := b.client.Ping(ctx, &componentsv1.PingRequest{})
	return served(err)
}

// Publish hands one message over.
func (b *broker) Publish(ctx context.Context, req *pubsub.PublishRequest) error {
	_, err := b.client.Publish(ctx, &componentsv1.PublishRequest{PubsubName: b.name, Topic: req.Topic, Data: req.Data,
		ContentType: req.ContentType, Metadata: req.Metadata})
	return err
}

// PublishBulk hands many messages over in one call.
func (b bulkBroker) PublishBulk(ctx context.Context, reqs []pubsub.PublishRequest) []error {
	request := &componentsv1.BulkPublishRequest{PubsubName: b.name, Topic: reqs[0].Topic}
	for i, req := range reqs {
		request.Entries = append(request.Entries, &componentsv1.BulkMessageEntry{EntryId: strconv.Itoa(i), Event: req.Data,
			ContentType: req.ContentType, Metadata: req.Metadata})
	}
	answer, err := b.client.BulkPublish(ctx, request)
	failures := make([]error, len(reqs))
	for i := range failures {
		failures[i] = err
	}
	for _, entry := range answer.GetFailedEntries() {
		if i, err := strconv.Atoi(entry.GetEntryId()); err == nil && i >= 0 && i < len(failures) {
			failures[i] = errors.New(entry.GetError())
		}
	}
	return failures
}

// Subscribe pulls messages, hands them to deliver one batch after the other and answers each. A message without an
// answer is the process's to deliver again.
func (b *broker) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, deliver pubsub.Handler) error {
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := b.client.PullMessages(live)
	if err == nil {
		err = stream.Send(&componentsv1.PullMessagesRequest{Topic: &componentsv1.Topic{Name: req.Topic, Metadata: req.Metadata}})
	}
	if err != nil {
		cut()
		return fmt.Errorf("pull messages from the component process at %s: %w", b.path, err)
	}
	messages := receive(live, cut, stream.Recv)
	defer messages.end(stream.CloseSend)
	req.Established()
	for {
		batch, err := gather(ctx, messages, req.Batch)
		if len(batch) == 0 {
			return lost(err, b.path)
		}
		for i, outcome := range outcomes(deliver(live, received(batch)), len(batch)) {
			answer := &componentsv1.PullMessagesRequest{AckMessageId: batch[i].GetId()}
			if outcome != nil {
				answer.AckError = &componentsv1.AckMessageError{Message: outcome.Error()}
			}
			if err := stream.Send(answer); err != nil {
				break // the next receiving tells why
			}
		}
	}
}

// gather waits for a first message, and for others as long as the batch allows. Nothing is gathered when ctx has
// ended or, with an error, the stream.
func gather(ctx context.Context, messages *incoming[*componentsv1.PullMessagesResponse], bounds pubsub.Batch) ([]*componentsv1.PullMessagesResponse, error) {
	first, ok, err := messages.next(ctx)
	if !ok {
		return nil, err
	}
	batch := []*componentsv1.PullMessagesResponse{first}
	if bounds.Max <= 1 {
		return batch, nil
	}
	wait, cancel := context.WithTimeout(ctx, max(bounds.Await, time.Millisecond))
	defer cancel()
	for len(batch) < bounds.Max {
		message, ok, _ := messages.next(wait)
		if !ok {
			break
		}
		batch = append(batch, message)
	}
	return batch, nil
}

// received leaves the id out: the protocol's names one delivery, not the message.
func received(batch []*componentsv1.PullMessagesResponse) []*pubsub.Message {
	messages := make([]*pubsub.Message, len(batch))
	for i, m := range batch {
		messages[i] = &pubsub.Message{Topic: m.GetTopicName(), Data: m.GetData(), ContentType: m.GetContentType(), Metadata: m.GetMetadata()}
	}
	return messages
}

// outcomes are the errors of a batch, all nil where there are none.
func outcomes(errs []error, n int) []error {
	if errs == nil {
		return make([]error, n)
	}
	return errs
}
