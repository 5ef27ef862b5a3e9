package pubsub_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/channel"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
)

func inBulk(s *config.TopicSubscription) { s.Bulk = config.BulkSubscribe{Enabled: true} }

// byData answers a bulk delivery by what its messages say, and keeps the calls.
type byData struct {
	calls []string
}

func (b *byData) deliver(_ context.Context, events *channel.BulkTopicEvent) (answers []channel.TopicAnswer, _ error) {
	call := events.Path
	for _, e := range events.Entries {
		text := string(e.Data)
		answer := channel.TopicAnswer{}
		switch {
		case strings.Contains(text, "retry"):
			answer = says(channel.Retry, 200)
		case strings.Contains(text, "drop"):
			answer = says(channel.Drop, 200)
		}
		answers = append(answers, answer)
		_, id, _ := strings.Cut(text, `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		call += " " + id
	}
	b.calls = append(b.calls, call)
	return answers, nil
}

// TestTogether: of messages that come together, each has its own outcome; the policy repeats those alone that failed, and
// those that are dead or expired or have no route do not hold up the others.
func TestTogether(t *testing.T) {
	for name, c := range map[string]struct {
		dead   string
		again  []string
		buried []string
	}{
		"no dead letters": {again: []string{"retry1", "retry2", "no JSON"}},
		"dead letters":    {dead: "dead", buried: []string{"no JSON", "drop", "retry1", "retry2", "expired"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, answers := newWorld(t, setup{policies: `
spec:
  policies: {retries: {twice: {policy: constant, duration: 1s, maxRetries: 2}}}
  targets: {components: {ps: {inbound: {retry: twice}}}}
`}), &byData{}
				w.app.bulk = answers.deliver
				w.start(t, to("t", inBulk, buried(c.dead), func(s *config.TopicSubscription) {
					s.Rules = []config.TopicRule{{Match: "event.id.startsWith('other')", Path: "/other"}, {Path: "/t"}}
				}))
				messages := []*pubsub.Message{message("t", "ok1"), message("t", "retry1"), message("t", "drop"), message("t", "other"), message("t", "retry2"), message("t", "ok2"),
					{ID: "x", Topic: "t", Data: []byte("no JSON")}, {ID: "y", Topic: "t", Data: []byte(`{"id":"expired","expiration":"1999-01-01T00:00:00Z"}`)}} // a bubble of synctest is in 2000
				var again []string
				for i, outcome := range w.broker.send(t, "t", messages...) {
					if outcome != "" {
						again = append(again, strings.TrimPrefix(messages[i].ID, "m"))
					}
				}
				want := c.again
				for i := range want {
					if want[i] == "no JSON" {
						want[i] = "x"
					}
				}
				if diff := cmp.Diff(want, again); diff != "" {
					t.Errorf("again:\n%s", diff)
				}
				if diff := cmp.Diff([]string{"/t ok1 retry1 drop retry2 ok2", "/t retry1 retry2", "/t retry1 retry2", "/other other"}, answers.calls); diff != "" {
					t.Errorf("calls:\n%s", diff)
				}
				if n := len(w.broker.dead()); n != len(c.buried) {
					t.Errorf("%d are dead, want %d: %q", n, len(c.buried), w.broker.dead())
				}
				if ok := w.counts.of("t success"); ok != 3 {
					t.Errorf("counted: %v", w.counts.counts)
				}
				w.drain(t)
			})
		})
	}
}

// TestTogetherUnreached: messages that come together wait together for an application that is not there.
func TestTogetherUnreached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, setup{})
		var there atomic.Bool
		w.app.bulk = func(_ context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
			if !there.Load() {
				return nil, refusedConnection()
			}
			return make([]channel.TopicAnswer, len(events.Entries)), nil
		}
		w.start(t, to("t", inBulk, buried("dead")))
		time.AfterFunc(time.Hour, func() { there.Store(true) })
		if got := w.broker.send(t, "t", message("t", "1"), message("t", "2")); strings.Join(got, "") != "" || w.broker.dead() != nil {
			t.Errorf("%q, dead: %q", got, w.broker.dead())
		}
		w.drain(t)
	})
}

// TestTogetherRaw: with rawPayload the bytes come as they are.
func TestTogetherRaw(t *testing.T) {
	w := newWorld(t, setup{})
	var got []string
	w.app.bulk = func(_ context.Context, events *channel.BulkTopicEvent) ([]channel.TopicAnswer, error) {
		for _, e := range events.Entries {
			got = append(got, fmt.Sprint(string(e.Data), " ", e.Raw, " ", e.ContentType, " ", e.Metadata))
		}
		return make([]channel.TopicAnswer, len(events.Entries)), nil
	}
	w.start(t, to("t", inBulk, with("rawPayload", "true")))
	defer w.drain(t)
	w.broker.send(t, "t", &pubsub.Message{ID: "1", Topic: "t", Data: []byte("a")}, &pubsub.Message{ID: "2", Topic: "t", Data: []byte("b"), ContentType: "text/x", Metadata: map[string]string{"k": "v"}})
	if diff := cmp.Diff([]string{"a true application/octet-stream map[]", "b true text/x map[k:v]"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestForms: what an application gets of a message that is no plain CloudEvent.
func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		message *pubsub.Message
		raw     bool
		parent  string
		want    []string
	}{
		"a CloudEvent": {message: &pubsub.Message{Data: []byte(`{"id":"1", "traceid":"",  "data":1}`)}, parent: "00-00000000000000000000000000000000-0000000000000000-00",
			want: []string{`{"id":"1", "traceid":"",  "data":1}`}},
		"traced":     {message: &pubsub.Message{Data: []byte(`{"id":"1","traceid":"old","traceparent":"new"}`)}, parent: "new", want: []string{`"traceparent":"new"`}},
		"any object": {message: &pubsub.Message{Data: []byte(`{"a":1}`)}, want: []string{`{"a":1}`}},
		"raw":        {message: &pubsub.Message{Data: []byte{0, 255}}, raw: true, want: []string{`"data_base64":"AP8="`, `"datacontenttype":"application/octet-stream"`, `"source":"Dapr"`, `"topic":"t"`}},
		"binary mode": {message: &pubsub.Message{Data: []byte(`hi`), ContentType: "application/octet-stream",
			Metadata: map[string]string{"ce_id": "7", "ce_source": "s", "ce_type": "t", "ce_specversion": "1.0"}}, want: []string{`"id":"7"`, `"source":"s"`, `"type":"t"`, `"specversion":"1.0"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			var got channel.TopicEvent
			w.app.deliver = func(_ context.Context, event *channel.TopicEvent) (channel.TopicAnswer, error) {
				got = *event
				return channel.TopicAnswer{}, nil
			}
			subscription := to("t")
			if c.raw {
				with("rawPayload", "TRUE")(&subscription)
			}
			w.start(t, subscription)
			defer w.drain(t)
			if outcome := w.broker.send(t, "t", c.message)[0]; outcome != "" {
				t.Fatal(outcome)
			}
			for _, part := range c.want {
				if !strings.Contains(string(got.Body), part) {
					t.Errorf("%s has no %s", got.Body, part)
				}
			}
			if got.TraceParent != c.parent || got.Path != "/t" || got.PubSub != "ps" || got.Topic != "t" {
				t.Errorf("%+v", got)
			}
		})
	}
}
