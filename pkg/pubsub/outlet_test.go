package pubsub_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/resiliency"
)

// outlet is a broker that keeps what is published and has no subscribers.
type outlet struct {
	mu        sync.Mutex
	published []pubsub.PublishRequest
	// refuse is asked for the error of a message; nil takes all.
	refuse func(*pubsub.PublishRequest) error
	// native are the features.
	native []pubsub.Feature
	closed int
}

func (o *outlet) Publish(_ context.Context, req *pubsub.PublishRequest) error {
	if o.refuse != nil {
		if err := o.refuse(req); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := *req
	kept.Data, kept.Metadata = bytes.Clone(req.Data), maps.Clone(req.Metadata)
	o.published = append(o.published, kept)
	return nil
}

func (o *outlet) Subscribe(ctx context.Context, req *pubsub.SubscribeRequest, _ pubsub.Handler) error {
	req.Established()
	<-ctx.Done()
	return nil
}

func (o *outlet) Features() []pubsub.Feature { return o.native }

func (o *outlet) Close() error {
	o.closed++
	return nil
}

// take gives what was published, and forgets it.
func (o *outlet) take() []pubsub.PublishRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.published
	o.published = nil
	return all
}

// texts are the messages in a form that is easy to compare, sorted.
func (o *outlet) texts() (texts []string) {
	for _, p := range o.take() {
		texts = append(texts, shownRequest(p.Topic, p.Metadata, masked(p.Data)))
	}
	slices.Sort(texts)
	return texts
}

// newOutlet makes a service of the app "pubapp" whose broker "pubsub" is an outlet.
func newOutlet(t testing.TB, properties map[string]string) (*pubsub.Service, *outlet) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	s, o := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: resiliency.New(), Log: log}), &outlet{}
	put(t, s, "pubsub", o, properties)
	return s, o
}

func put(t testing.TB, s *pubsub.Service, name string, b pubsub.Broker, properties map[string]string) {
	t.Helper()
	settings, err := pubsub.ParseSettings(properties)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(name, b, settings); err != nil {
		t.Fatal(err)
	}
}
