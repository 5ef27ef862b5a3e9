package pubsub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/resiliency"
)

// void takes everything and keeps nothing.
type void struct{}

func (void) Publish(context.Context, *pubsub.PublishRequest) error { return nil }

func (void) Subscribe(context.Context, *pubsub.SubscribeRequest, pubsub.Handler) error { return nil }

func (void) PublishBulk(context.Context, []pubsub.PublishRequest) []error { return nil }

// BenchmarkPublish is the block's own part of a message: look-up, scopes, envelope.
func BenchmarkPublish(b *testing.B) {
	s := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: resiliency.New()})
	put(b, s, "pubsub", void{}, nil)
	data := []byte(`{"note":"` + strings.Repeat("x", 1013) + `"}`)
	event := append([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"application/json","data":`), append(data, '}')...)
	for name, p := range map[string]pubsub.Publication{
		"JSON":  {Topic: "t", ContentType: "application/json", Data: data},
		"bytes": {Topic: "t", ContentType: "application/octet-stream", Data: data},
		"event": {Topic: "t", ContentType: "application/cloudevents+json", Data: event},
		"raw":   {Topic: "t", Data: data, Metadata: map[string]string{"rawPayload": "true"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Publish(b.Context(), "pubsub", &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublishBulk is that of 100 messages at once; the figures are those of the call.
func BenchmarkPublishBulk(b *testing.B) {
	s := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: resiliency.New()})
	put(b, s, "pubsub", void{}, nil)
	entries := make([]pubsub.Entry, 100)
	for i := range entries {
		entries[i] = pubsub.Entry{ID: fmt.Sprint(i), ContentType: "application/json", Data: []byte(`{"note":"` + strings.Repeat("x", 1013) + `"}`)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.PublishBulk(b.Context(), "pubsub", &pubsub.Publication{Topic: "t"}, entries); err != nil {
			b.Fatal(err)
		}
	}
}
