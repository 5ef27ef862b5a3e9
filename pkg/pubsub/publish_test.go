package pubsub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/pubsub"
)

var errFull = errors.New("the broker is full")

// TestPublishErrors: which error comes, of several that could (reference: grpc-api 3).
func TestPublishErrors(t *testing.T) {
	scopes := map[string]string{"allowedTopics": "open,full,bad", "protectedTopics": ""}
	bad := map[string]string{"rawPayload": "maybe"}
	for name, c := range map[string]struct {
		broker, topic string
		metadata      map[string]string
		event         string
		fault         error
		code          string
		grpc          codes.Code
		message       string
		details       map[string]string
	}{
		"no name":     {"", "", bad, "{bad", errFull, "ERR_PUBSUB_EMPTY", codes.InvalidArgument, "pubsub name is empty", bad},
		"unknown":     {"nope", "", bad, "{bad", errFull, "ERR_PUBSUB_NOT_FOUND", codes.InvalidArgument, "pubsub nope is not found", map[string]string{}},
		"no topic":    {"pubsub", "", bad, "{bad", errFull, "ERR_TOPIC_NAME_EMPTY", codes.InvalidArgument, "topic is empty in pubsub pubsub", bad},
		"rawPayload":  {"pubsub", "shut", bad, "{bad", errFull, "ERR_PUBSUB_REQUEST_METADATA", codes.InvalidArgument, "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'", bad},
		"no data":     {"pubsub", "open", nil, "{bad", errFull, "ERR_PUBSUB_PUBLISH_MESSAGE", codes.Internal, "error when publishing to topic open in pubsub pubsub: the broker is full", map[string]string{"topic": "open", "error": "the broker is full"}},
		"no event":    {"pubsub", "shut", nil, "{bad", nil, "ERR_PUBSUB_CLOUD_EVENTS_SER", codes.InvalidArgument, "cannot create cloudevent", map[string]string{"appID": "pubapp", "error": "invalid character 'b' looking for beginning of object key string"}},
		"no object":   {"pubsub", "open", nil, "[1]", nil, "ERR_PUBSUB_CLOUD_EVENTS_SER", codes.InvalidArgument, "cannot create cloudevent", map[string]string{"appID": "pubapp", "error": "it is no JSON object"}},
		"not allowed": {"pubsub", "shut", nil, "{}", nil, "ERR_PUBSUB_FORBIDDEN", codes.PermissionDenied, "topic shut is not allowed for app id pubapp", map[string]string{"topic": "shut", "error": "topic shut is not allowed for app id pubapp"}},
		"refused":     {"pubsub", "full", nil, "{}", nil, "ERR_PUBSUB_PUBLISH_MESSAGE", codes.Internal, "error when publishing to topic full in pubsub pubsub: the broker is full", map[string]string{"topic": "full", "error": "the broker is full"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, out := newOutlet(t, scopes)
			out.refuse = func(req *pubsub.PublishRequest) error {
				if req.Topic == "full" {
					return errFull
				}
				return nil
			}
			err := s.Publish(t.Context(), c.broker, &pubsub.Publication{Topic: c.topic, Metadata: c.metadata, Data: []byte(c.event),
				ContentType: cloudevent.ContentType, Fault: c.fault})
			e := apierr.From(err)
			if e == nil || e.Code != c.code || e.GRPC != c.grpc || e.Message != c.message {
				t.Fatalf("%+v", e)
			}
			if diff := cmp.Diff(c.details, e.Metadata); diff != "" {
				t.Error(diff)
			}
			if e.Code != "ERR_PUBSUB_NOT_FOUND" && (e.Resource == nil || e.Resource.Type != "pubsub" || e.Resource.Name != c.broker || e.Resource.Description != c.message) {
				t.Errorf("resource %+v", e.Resource)
			}
			if left := out.take(); left != nil {
				t.Errorf("published: %v", left)
			}
		})
	}
}

// TestScopes: which topics an app may publish to (reference: building-blocks 2.1).
func TestScopes(t *testing.T) {
	for name, c := range map[string]struct {
		properties map[string]string
		may, not   string
	}{
		"nothing said":              {nil, "a b c", ""},
		"allowed":                   {map[string]string{"allowedTopics": "a, b"}, "a b", "c"},
		"scoped":                    {map[string]string{"publishingScopes": "other=a;pubapp=b,c"}, "b c", "a"},
		"others scoped":             {map[string]string{"publishingScopes": "other=a"}, "a b", ""},
		"scoped to nothing":         {map[string]string{"publishingScopes": "pubapp="}, "", "a b"},
		"scoped, but not allowed":   {map[string]string{"allowedTopics": "a", "publishingScopes": "pubapp=a,b"}, "a", "b"},
		"protected":                 {map[string]string{"protectedTopics": "a"}, "b", "a"},
		"protected, with an entry":  {map[string]string{"protectedTopics": "a", "publishingScopes": "pubapp=a"}, "a", "b"},
		"of the subscribers":        {map[string]string{"subscriptionScopes": "pubapp=a"}, "a b", ""},
		"names match in any case":   {map[string]string{"ALLOWEDtopics": "a"}, "a", "b"},
		"topics match exactly":      {map[string]string{"allowedTopics": "a"}, "a", "A ab"},
		"spaces between everything": {map[string]string{"publishingScopes": " pubapp = a , b ; x = c "}, "a b", "c"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newOutlet(t, c.properties)
			try := func(topic string) error {
				err := s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: topic})
				_, bulk := s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: topic}, []pubsub.Entry{{ID: "1"}})
				if (err == nil) != (bulk == nil) || err != nil && err.Error() != bulk.Error() {
					t.Errorf("topic %s: %v alone, %v in bulk", topic, err, bulk)
				}
				return err
			}
			for topic := range strings.FieldsSeq(c.may) {
				if err := try(topic); err != nil {
					t.Error(err)
				}
			}
			for topic := range strings.FieldsSeq(c.not) {
				if err := try(topic); apierr.From(err) == nil || apierr.From(err).Code != "ERR_PUBSUB_FORBIDDEN" {
					t.Errorf("topic %s: %v", topic, err)
				}
			}
		})
	}
}

// TestNamespace: a broker that namespaces share has the topics of each under names of their own.
func TestNamespace(t *testing.T) {
	s, out := newOutlet(t, nil)
	settings, err := pubsub.ParseSettings(map[string]string{"allowedTopics": "t"})
	if err != nil {
		t.Fatal(err)
	}
	settings.TopicPrefix = "ns1"
	if err := s.Replace(t.Context(), "pubsub", out, settings); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t", Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}, []pubsub.Entry{{ID: "1"}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range out.take() {
		if p.Topic != "ns1t" || !strings.Contains(string(p.Data), `"topic":"t"`) {
			t.Errorf("published to %s: %s", p.Topic, p.Data)
		}
	}
}

// TestTTL: the event says when it ends, unless the broker itself ends it.
func TestTTL(t *testing.T) {
	for ttl, seconds := range map[string]int64{"60": 60, "0": 0, "9223372036": 9223372036, "": -1, "x": -1, "-1": -1, "9223372037": -1, "99999999999999999999": -1} {
		for _, native := range []bool{false, true} {
			for _, contentType := range []string{"text/plain", cloudevent.ContentType} {
				s, out := newOutlet(t, nil)
				if native {
					out.native = []pubsub.Feature{pubsub.FeatureMessageTTL}
					if err := s.Replace(t.Context(), "pubsub", out, pubsub.Settings{}); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now().Truncate(time.Second)
				p := pubsub.Publication{Topic: "t", Data: []byte(`{}`), ContentType: contentType, Metadata: map[string]string{"ttlInSeconds": ttl}}
				if err := s.Publish(t.Context(), "pubsub", &p); err != nil {
					t.Fatal(err)
				}
				got := out.take()[0]
				event, err := cloudevent.Parse(got.Data)
				if err != nil || got.Metadata["ttlInSeconds"] != ttl {
					t.Fatal(err, got.Metadata)
				}
				text := event.Text("expiration")
				if native || seconds < 0 {
					if text != "" {
						t.Errorf("ttl %q, native %v: expiration %s", ttl, native, text)
					}
					continue
				}
				at, err := time.Parse(time.RFC3339, text)
				if late := at.Unix() - begun.Unix() - seconds; err != nil || late < 0 || late > 60 {
					t.Errorf("ttl %q: %s after %s: %v", ttl, text, begun, err)
				}
			}
		}
	}
}

// TestRawKeepsTrace: a raw message has no envelope, so its trace is in the metadata; the caller's map stays as it is.
func TestRawKeepsTrace(t *testing.T) {
	const parent = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
	s, out := newOutlet(t, nil)
	metadata := map[string]string{"rawPayload": "1"}
	p := pubsub.Publication{Topic: "t", Data: []byte("bytes"), ContentType: "x/y", Metadata: metadata, TraceParent: parent, TraceState: "k=v"}
	if err := s.Publish(t.Context(), "pubsub", &p); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PublishBulk(t.Context(), "pubsub", &p, []pubsub.Entry{{ID: "1", Data: []byte("bytes"), ContentType: "x/y", Metadata: map[string]string{"a": "b"}}}); err != nil {
		t.Fatal(err)
	}
	want := []pubsub.PublishRequest{
		{Topic: "t", Data: []byte("bytes"), ContentType: "x/y", Metadata: map[string]string{"rawPayload": "1", "traceid": parent, "tracestate": "k=v"}},
		{Topic: "t", Data: []byte("bytes"), ContentType: "x/y", Metadata: map[string]string{"rawPayload": "1", "a": "b", "traceid": parent, "tracestate": "k=v"}},
	}
	if diff := cmp.Diff(want, out.take()); diff != "" {
		t.Error(diff)
	}
	if len(metadata) != 1 {
		t.Errorf("the caller's metadata became %v", metadata)
	}
}

// TestSwap: a message on its way stays with the broker that it went to, which is closed after it; the next message
// goes to the new one.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, old := newOutlet(t, nil)
		release := make(chan struct{})
		old.refuse = func(*pubsub.PublishRequest) error {
			<-release
			if old.closed > 0 {
				return errors.New("the broker is closed under a message")
			}
			return nil
		}
		slow, swapped := make(chan error, 1), make(chan error, 1)
		go func() { slow <- s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}) }()
		synctest.Wait()
		next := &outlet{}
		go func() { swapped <- s.Replace(t.Context(), "pubsub", next, pubsub.Settings{}) }()
		synctest.Wait()
		if len(swapped) > 0 || old.closed > 0 {
			t.Fatal("the old broker is closed under a message")
		}
		if err := s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}); err != nil || len(next.take()) != 1 {
			t.Fatalf("the new broker got nothing: %v", err)
		}
		close(release)
		if err := errors.Join(<-slow, <-swapped); err != nil || old.closed != 1 || len(old.take()) != 1 {
			t.Errorf("%v; closed %d times", err, old.closed)
		}
		removed(t, s, next)
	})
}

// removed takes the broker "pubsub" out of service.
func removed(t *testing.T, s *pubsub.Service, b *outlet) {
	t.Helper()
	if err := s.Remove(t.Context(), "pubsub"); err != nil || b.closed != 1 {
		t.Errorf("%v; closed %d times", err, b.closed)
	}
	if err := s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}); apierr.From(err).Code != "ERR_PUBSUB_NOT_FOUND" {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), "pubsub"); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}

// TestSwapIsBounded: a broker that does not come to an end is closed when the time for it is over.
func TestSwapIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, old := newOutlet(t, nil)
		release := make(chan struct{})
		old.refuse = func(*pubsub.PublishRequest) error { <-release; return errFull }
		slow := make(chan error, 1)
		go func() { slow <- s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Remove(ctx, "pubsub"); err != nil || old.closed != 1 {
			t.Errorf("%v; closed %d times", err, old.closed)
		}
		close(release)
		if err := <-slow; !errors.Is(err, errFull) {
			t.Error(err)
		}
	})
}

func TestNames(t *testing.T) {
	s, first := newOutlet(t, nil)
	first.native = []pubsub.Feature{pubsub.FeatureSubscribeWildcards}
	if err := s.Add("pubsub", &outlet{}, pubsub.Settings{}); err == nil || err.Error() != "pub/sub pubsub is loaded already: give each component a name of its own" {
		t.Error(err)
	}
	put(t, s, "other", first, nil)
	if diff := cmp.Diff([]string{"SUBSCRIBE_WILDCARDS"}, s.Features("other")); diff != "" {
		t.Error(diff)
	}
	if got := s.Features("nope"); got != nil {
		t.Errorf("features of nothing: %v", got)
	}
	if err := s.Close(); err != nil || first.closed != 2 { // it has two names
		t.Errorf("%v; closed %d times", err, first.closed)
	}
}
