package channel

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/daprd/daprd/pkg/cloudevent"
	"github.com/daprd/daprd/pkg/config"
	"github.com/daprd/daprd/pkg/jsontext"
	"github.com/daprd/daprd/pkg/tracing"
)

// maxAnswer bounds what is read of an application's answer to an event.
const maxAnswer = 4 << 20

// Subscriptions asks for GET /dapr/subscribe.
func (a *http1) Subscriptions(ctx context.Context) ([]config.TopicSubscription, error) {
	return subscriptions(ctx, a, a.target.appID)
}

// Deliver posts the event.
func (a *http1) Deliver(ctx context.Context, e *TopicEvent) (TopicAnswer, error) {
	return deliver(ctx, a, e)
}

// DeliverBulk posts the events.
func (a *http1) DeliverBulk(ctx context.Context, e *BulkTopicEvent) ([]TopicAnswer, error) {
	return deliverBulk(ctx, a, e)
}

// Subscriptions asks for GET /dapr/subscribe.
func (a *h2c) Subscriptions(ctx context.Context) ([]config.TopicSubscription, error) {
	return subscriptions(ctx, a, a.target.appID)
}

// Deliver posts the event.
func (a *h2c) Deliver(ctx context.Context, e *TopicEvent) (TopicAnswer, error) {
	return deliver(ctx, a, e)
}

// DeliverBulk posts the events.
func (a *h2c) DeliverBulk(ctx context.Context, e *BulkTopicEvent) ([]TopicAnswer, error) {
	return deliverBulk(ctx, a, e)
}

// invoker is an HTTP application.
type invoker interface {
	Invoke(ctx context.Context, req *Request) (*Response, error)
}

// wanted is one entry of the list that an application gives.
type wanted struct {
	PubsubName string            `json:"pubsubname"`
	Topic      string            `json:"topic"`
	Metadata   map[string]string `json:"metadata"`
	Route      string            `json:"route"`
	Routes     struct {
		Rules []struct {
			Match string `json:"match"`
			Path  string `json:"path"`
		} `json:"rules"`
		Default string `json:"default"`
	} `json:"routes"`
	DeadLetterTopic string `json:"deadLetterTopic"`
	BulkSubscribe   struct {
		Enabled            bool `json:"enabled"`
		MaxMessagesCount   int  `json:"maxMessagesCount"`
		MaxAwaitDurationMs int  `json:"maxAwaitDurationMs"`
	} `json:"bulkSubscribe"`
}

func (w *wanted) subscription() config.TopicSubscription {
	s := config.TopicSubscription{PubSub: w.PubsubName, Topic: w.Topic, Metadata: w.Metadata, DeadLetterTopic: w.DeadLetterTopic,
		Bulk: config.BulkSubscribe{Enabled: w.BulkSubscribe.Enabled, MaxMessages: w.BulkSubscribe.MaxMessagesCount,
			MaxAwaitMilliseconds: w.BulkSubscribe.MaxAwaitDurationMs}}
	for _, rule := range w.Routes.Rules {
		s.Rules = append(s.Rules, config.TopicRule{Match: rule.Match, Path: rule.Path})
	}
	if path := w.Routes.Default; path != "" || w.Route != "" {
		if path == "" {
			path = w.Route
		}
		s.Rules = append(s.Rules, config.TopicRule{Path: path})
	}
	return s
}

// subscriptions asks an HTTP application for its topics; 404 means none.
func subscriptions(ctx context.Context, app invoker, appID string) ([]config.TopicSubscription, error) {
	res, err := app.Invoke(ctx, &Request{Verb: http.MethodGet, Method: "dapr/subscribe", Header: Header{{Name: "Dapr-App-Id", Value: appID}},
		ContentType: jsonType})
	if err != nil {
		return nil, fmt.Errorf("error getting topics from app: %w", err)
	}
	defer res.Close()
	switch res.Status {
	case http.StatusOK, http.StatusNoContent:
	case http.StatusNotFound:
		return nil, nil
	default:
		return nil, unusable{fmt.Errorf("app returned http status code %d from subscription endpoint", res.Status)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body.Reader(), maxConfiguration))
	if err != nil {
		return nil, fmt.Errorf("error getting topics from app: %w", err)
	}
	return parseSubscriptions(body)
}

func parseSubscriptions(body []byte) ([]config.TopicSubscription, error) {
	var list []wanted
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, unusable{fmt.Errorf("error getting topics from app: GET /dapr/subscribe: want a JSON array of {pubsubname, topic, route}: %w", err)}
	}
	all := make([]config.TopicSubscription, len(list))
	for i := range list {
		all[i] = list[i].subscription()
	}
	return all, nil
}

// deliver posts one event.
func deliver(ctx context.Context, app invoker, e *TopicEvent) (TopicAnswer, error) {
	res, err := post(ctx, app, e.Path, messageHeader(e.Metadata, e.PubSub, e.TraceParent, e.Baggage), cloudevent.ContentType, e.Body)
	if err != nil {
		return TopicAnswer{}, err
	}
	defer res.Close()
	if res.Status < 200 || res.Status > 299 {
		return refusal(res), nil
	}
	body, err := answerBody(res)
	if err != nil || len(body) == 0 {
		return TopicAnswer{Status: res.Status}, err
	}
	return judged(res.Status, saidStatus(body)), nil
}

// saidStatus is the status in an answer's body; "" for a body that is no object with one, which says nothing.
func saidStatus(body []byte) (status string) {
	s := jsontext.Scan(body)
	s.Members(func(name []byte) {
		if strings.EqualFold(jsontext.Decoded(name), "status") {
			status = s.Text()
		} else {
			s.Value()
		}
	})
	if !s.End() {
		return ""
	}
	return status
}

func post(ctx context.Context, app invoker, path string, header Header, contentType string, body []byte) (*Response, error) {
	method, query, _ := strings.Cut(strings.TrimPrefix(path, "/"), "?")
	return app.Invoke(ctx, &Request{Verb: http.MethodPost, Method: method, Query: query, Header: header, ContentType: contentType, Body: Body{Bytes: body},
		Untraced: true})
}

func answerBody(res *Response) ([]byte, error) {
	if res.Body.Stream == nil {
		return res.Body.Bytes, nil
	}
	return io.ReadAll(io.LimitReader(res.Body.Reader(), maxAnswer))
}

// refusal is an answer of no success: 404 means that the application does not want such messages.
func refusal(res *Response) TopicAnswer {
	answer := TopicAnswer{Verdict: Retry, Status: res.Status, Reason: fmt.Sprintf("status code %d", res.Status)}
	if body, _ := answerBody(res); len(body) > 0 {
		answer.Reason += ": " + cut(string(body))
	}
	if res.Status == http.StatusNotFound {
		answer.Verdict, answer.Unhandled = Drop, true
	}
	return answer
}

// judged reads the status in the body of a 2xx answer.
func judged(status int, word string) TopicAnswer {
	switch word {
	case "", "SUCCESS":
		return TopicAnswer{Status: status}
	case "RETRY":
		return TopicAnswer{Verdict: Retry, Status: status, Reason: "RETRY status returned from app"}
	case "DROP":
		return TopicAnswer{Verdict: Drop, Status: status, Reason: "DROP status returned from app"}
	}
	return TopicAnswer{Verdict: Retry, Status: status, Reason: fmt.Sprintf("unknown status %q returned from app: want SUCCESS, RETRY or DROP", cut(word))}
}

// messageHeader is the metadata of a message as headers; what is said otherwise is left out.
func messageHeader(metadata map[string]string, pubSub, parent, baggage string) Header {
	header := slices.DeleteFunc(eventHeader(metadata), func(f Field) bool {
		return strings.EqualFold(f.Name, "content-type") || strings.EqualFold(f.Name, "content-length") || strings.EqualFold(f.Name, "pubsubname")
	})
	header = append(header, Field{"Pubsubname", pubSub})
	if parent != "" {
		header = header.With(tracing.ParentHeader, parent)
	}
	if baggage != "" {
		header = header.Without(tracing.BaggageHeader).With(tracing.BaggageHeader, baggage)
	}
	return header
}

// deliverBulk posts several events in one envelope.
func deliverBulk(ctx context.Context, app invoker, e *BulkTopicEvent) ([]TopicAnswer, error) {
	res, err := post(ctx, app, e.Path, messageHeader(e.Metadata, e.PubSub, cmp.Or(e.TraceParent, tracing.ZeroParent), ""), jsonType, appendBulk(nil, e))
	if err != nil {
		return nil, err
	}
	defer res.Close()
	if res.Status < 200 || res.Status > 299 {
		answer := refusal(res)
		return sameForAll(answer, len(e.Entries)), nil
	}
	body, err := answerBody(res)
	if err != nil {
		return nil, err
	}
	var said struct {
		Statuses []struct {
			EntryID string `json:"entryId"`
			Status  string `json:"status"`
		} `json:"statuses"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return sameForAll(TopicAnswer{Verdict: Retry, Status: res.Status, Reason: "the answer has no statuses"}, len(e.Entries)), nil
	}
	words := make(map[string]string, len(said.Statuses))
	for _, s := range said.Statuses {
		words[s.EntryID] = s.Status
	}
	answers := make([]TopicAnswer, len(e.Entries))
	for i := range e.Entries {
		word, told := words[e.Entries[i].ID]
		if answers[i] = judged(res.Status, word); !told || word == "" {
			answers[i] = TopicAnswer{Verdict: Retry, Status: res.Status, Reason: "the answer has no status of this entry"}
		}
	}
	return answers, nil
}

func sameForAll(answer TopicAnswer, n int) []TopicAnswer {
	answers := make([]TopicAnswer, n)
	for i := range answers {
		answers[i] = answer
	}
	return answers
}

// appendBulk writes the envelope of a bulk delivery.
func appendBulk(b []byte, e *BulkTopicEvent) []byte {
	b = append(b, `{"entries":[`...)
	for i := range e.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, &e.Entries[i])
	}
	b = jsontext.AppendString(append(b, `],"id":`...), e.ID)
	b = jsontext.AppendMap(append(b, `,"metadata":`...), e.Metadata)
	b = jsontext.AppendString(append(b, `,"pubsubname":`...), e.PubSub)
	b = jsontext.AppendString(append(b, `,"topic":`...), e.Topic)
	return append(b, `,"type":"`+bulkType+`"}`...)
}

func appendEntry(b []byte, entry *BulkEntry) []byte {
	b = jsontext.AppendString(append(b, `{"entryId":`...), entry.ID)
	b = append(b, `,"event":`...)
	if entry.Raw {
		b = append(base64.StdEncoding.AppendEncode(append(b, '"'), entry.Data), '"')
	} else {
		b = append(b, entry.Data...)
	}
	b = jsontext.AppendMap(append(b, `,"metadata":`...), entry.Metadata)
	return append(jsontext.AppendString(append(b, `,"contentType":`...), entry.ContentType), '}')
}
