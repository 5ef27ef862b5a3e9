package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/daprd/daprd/pkg/apierr"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/pubsub"
	"github.com/daprd/daprd/pkg/resiliency"
)

// bulkOutlet takes messages together, and keeps the data of each call.
type bulkOutlet struct {
	outlet
	// fail gives the errors of a call by its number, from 1.
	fail  func(call int, reqs []pubsub.PublishRequest) []error
	calls []string
}

func (o *bulkOutlet) PublishBulk(_ context.Context, reqs []pubsub.PublishRequest) []error {
	var data []string
	for _, req := range reqs {
		data = append(data, string(req.Data))
	}
	o.calls = append(o.calls, strings.Join(data, " "))
	if o.fail == nil {
		return nil
	}
	return o.fail(len(o.calls), reqs)
}

// raw is a call whose messages are what they are.
func raw() *pubsub.Publication {
	return &pubsub.Publication{Topic: "t", Metadata: map[string]string{"rawPayload": "true"}}
}

func entriesOf(data string) (entries []pubsub.Entry) {
	for text := range strings.FieldsSeq(data) {
		entries = append(entries, pubsub.Entry{ID: "id-" + text, Data: []byte(text)})
	}
	return entries
}

// TestBulkTogether: a broker that can take messages together is asked once, and what it refused is told by entry.
func TestBulkTogether(t *testing.T) {
	o := &bulkOutlet{fail: func(int, []pubsub.PublishRequest) []error { return []error{nil, errFull, nil, errors.New("too long")} }}
	s := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: resiliency.New()})
	put(t, s, "pubsub", o, nil)
	failed, err := s.PublishBulk(t.Context(), "pubsub", raw(), entriesOf("a b c d"))
	if got := fmt.Sprint(failed, o.calls); got != "[{id-b the broker is full} {id-d too long}] [a b c d]" {
		t.Error(got)
	}
	if e := apierr.From(err); e.Code != "ERR_PUBSUB_PUBLISH_MESSAGE" || e.Message != "error when publishing to topic t in pubsub pubsub: the broker is full" {
		t.Error(err)
	}
	o.fail = nil
	if failed, err := s.PublishBulk(t.Context(), "pubsub", raw(), entriesOf("e")); err != nil || failed != nil {
		t.Error(failed, err)
	}
	if failed, err := s.PublishBulk(t.Context(), "pubsub", raw(), nil); err != nil || failed != nil || len(o.calls) != 2 {
		t.Errorf("no entries: %v %v, %d calls", failed, err, len(o.calls))
	}
}

// TestBulkAgain: a policy sends only what failed another time.
func TestBulkAgain(t *testing.T) {
	policies := resiliency.New()
	if _, err := policies.Set(retrying()); err != nil {
		t.Fatal(err)
	}
	o := &bulkOutlet{fail: func(call int, reqs []pubsub.PublishRequest) []error {
		failures := make([]error, len(reqs))
		for i, req := range reqs {
			if string(req.Data) == "never" || string(req.Data) == "later" && call == 1 {
				failures[i] = errFull
			}
		}
		return failures
	}}
	s := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: policies})
	put(t, s, "pubsub", o, nil)
	failed, err := s.PublishBulk(t.Context(), "pubsub", raw(), entriesOf("once later never"))
	if diff := cmp.Diff([]string{"once later never", "later never", "never"}, o.calls); diff != "" {
		t.Error(diff)
	}
	if err == nil || fmt.Sprint(failed) != "[{id-never the broker is full}]" {
		t.Error(failed, err)
	}
}

// retrying is a policy of two retries for the broker.
func retrying() config.Resiliency {
	return config.Resiliency{Spec: config.ResiliencySpec{
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"twice": {Duration: new(config.Span(0)), MaxRetries: new(2)}}},
		Targets: config.ResiliencyTargets{Components: map[string]config.ComponentTarget{
			"pubsub": {Outbound: &config.PolicyNames{Retry: "twice"}}}},
	}}
}

// TestBulkSingly: a broker that takes one message at a time gets many at once, but not all.
func TestBulkSingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := newOutlet(t, nil)
		var mu sync.Mutex
		now, most := 0, 0
		out.refuse = func(req *pubsub.PublishRequest) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			now--
			if string(req.Data) == "7" {
				return errFull
			}
			return nil
		}
		var all strings.Builder
		for i := range 250 {
			_, _ = fmt.Fprintf(&all, "%d ", i)
		}
		failed, err := s.PublishBulk(t.Context(), "pubsub", raw(), entriesOf(all.String()))
		if err == nil || fmt.Sprint(failed) != "[{id-7 the broker is full}]" {
			t.Error(failed, err)
		}
		if most != 100 || len(out.take()) != 249 {
			t.Errorf("%d at once", most)
		}
	})
}

// TestBulkEntries: what is wrong with one entry stops the call before anything is published.
func TestBulkEntries(t *testing.T) {
	many := make([]pubsub.Entry, pubsub.MaxEntries+1)
	for i := range many {
		many[i].ID = fmt.Sprint(i)
	}
	const twice = "error marshaling events to bytes for topic t pubsub pubsub. error: entryId is duplicated or not present for entry"
	for name, c := range map[string]struct {
		entries               []pubsub.Entry
		fault                 error
		code, reason, message string
	}{
		"no id":       {[]pubsub.Entry{{ID: "1"}, {}}, nil, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS", twice},
		"an id twice": {[]pubsub.Entry{{ID: "1"}, {ID: "1"}}, nil, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS", twice},
		"a mismatch": {[]pubsub.Entry{{ID: "1"}, {ID: "2", Fault: pubsub.ErrMismatch}}, nil, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_ENVELOPE",
			"error when marshalling cloud event envelope for topic t pubsub pubsub: error: mismatch between contentType and event"},
		"no event": {[]pubsub.Entry{{ID: "1"}, {ID: "2", ContentType: "application/cloudevents+json", Data: []byte("{bad")}}, nil, "ERR_PUBSUB_CLOUD_EVENTS_SER",
			"DAPR_PUBSUB_CLOUD_EVENT_CREATION", "cannot create cloudevent"},
		"too many": {many, nil, "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS",
			"error marshaling events to bytes for topic t pubsub pubsub. error: there are more than 10000 entries; send several requests"},
		"no list": {nil, errors.New("EOF"), "ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_UNMARSHAL_EVENTS", "error when unmarshaling the request for topic t pubsub pubsub: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s, out := newOutlet(t, nil)
			failed, err := s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: "t", Fault: c.fault}, c.entries)
			e := apierr.From(err)
			if e == nil || e.Code != c.code || e.Reason != c.reason || e.Message != c.message || e.Metadata["appID"] != "pubapp" {
				t.Errorf("%+v", e)
			}
			if left := out.take(); left != nil || failed != nil {
				t.Errorf("published %v, failed %v", left, failed)
			}
		})
	}
}

// TestBulkMetadata: entries with metadata get those of the call too, those without get none, as in Dapr; rawPayload
// counts for the call alone.
func TestBulkMetadata(t *testing.T) {
	s, out := newOutlet(t, nil)
	common := map[string]string{"a": "call", "b": "call"}
	entries := []pubsub.Entry{
		{ID: "1", Data: []byte("x"), Metadata: map[string]string{"a": "entry", "rawPayload": "true", "cloudevent.id": "own"}},
		{ID: "2", Data: []byte("y")},
	}
	if _, err := s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: "t", Metadata: common}, entries); err != nil {
		t.Fatal(err)
	}
	envelope := func(data, id string) string {
		return `{"data":"` + data + `","datacontenttype":"text/plain","id":"` + id + `","pubsubname":"pubsub","source":"pubapp","specversion":"1.0","time":"TIME",` +
			`"topic":"t","traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"}`
	}
	want := []string{"t a=entry b=call cloudevent.id=own rawPayload=true " + envelope("x", "own"), "t " + envelope("y", "UUID")}
	if diff := cmp.Diff(want, out.texts()); diff != "" {
		t.Error(diff)
	}
}

// ledger is an Observer.
type ledger struct{ lines []string }

func (l *ledger) Published(component string) func(string, bool, time.Duration) {
	return func(topic string, ok bool, _ time.Duration) {
		l.lines = append(l.lines, fmt.Sprint(component, " ", topic, " ", ok))
	}
}

func (l *ledger) PublishedBulk(component string) func(string, bool, int, time.Duration) {
	return func(topic string, ok bool, messages int, _ time.Duration) {
		l.lines = append(l.lines, fmt.Sprint(component, " ", topic, " ", ok, " ", messages))
	}
}

func (l *ledger) Delivered(string) func(string, string, time.Duration) { return nil }

func (l *ledger) DeliveredBulk(string) func(string, string, int, time.Duration) { return nil }

// TestObserved: what reached the broker is counted, and whether it took it.
func TestObserved(t *testing.T) {
	l := &ledger{}
	s, out := pubsub.NewService(pubsub.Deps{AppID: "pubapp", Policies: resiliency.New(), Observer: l}), &outlet{}
	put(t, s, "pubsub", out, nil)
	once := func() {
		_ = s.Publish(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"})
		_, _ = s.PublishBulk(t.Context(), "pubsub", &pubsub.Publication{Topic: "t"}, entriesOf("a b"))
	}
	once()
	out.refuse = func(*pubsub.PublishRequest) error { return errFull }
	once()
	_ = s.Publish(t.Context(), "nope", &pubsub.Publication{Topic: "t"})
	if diff := cmp.Diff([]string{"pubsub t true", "pubsub t true 2", "pubsub t false", "pubsub t false 2"}, l.lines); diff != "" {
		t.Error(diff)
	}
}
