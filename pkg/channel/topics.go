package channel

import (
	"context"
	"errors"
	"strings"

	"github.com/daprd/daprd/pkg/config"
)

// Subscriber is the application as a receiver of messages.
type Subscriber interface {
	// Subscriptions are the topics that the application itself asks for (GET /dapr/subscribe or
	// ListTopicSubscriptions), once per start. An application that does not implement the call has none. An error that
	// is ErrUnusable is about what it answered; any other means that it may answer when it is asked again.
	Subscriptions(ctx context.Context) ([]config.TopicSubscription, error)
	// Deliver brings one message. The error is about reaching the application, which then has not judged the
	// message: Unreached and BrokenOff tell how far the message came. What the application said, an error status
	// included, is the answer.
	Deliver(ctx context.Context, event *TopicEvent) (TopicAnswer, error)
	// DeliverBulk brings several messages in one call and gives an answer for each, in their order.
	DeliverBulk(ctx context.Context, events *BulkTopicEvent) ([]TopicAnswer, error)
}

// TopicEvent is one message on its way to the application.
type TopicEvent struct {
	PubSub, Topic string
	// Path is that of the rule that matched.
	Path string
	// Body is the CloudEvent as JSON.
	Body []byte
	// TraceParent is the trace of the event, "" for none. TraceState is its state, which the application is not told but
	// in the event; Baggage is that of the publisher's call. Both are there only where spans are made.
	TraceParent, TraceState, Baggage string
	// Metadata is what the broker knows of the message; it goes along as headers.
	Metadata map[string]string
}

// BulkTopicEvent is several messages of one topic and one path.
type BulkTopicEvent struct {
	ID            string
	PubSub, Topic string
	Path          string
	Entries       []BulkEntry
	// TraceParent is the trace of the call, "" for none.
	TraceParent string
	Metadata    map[string]string
}

// BulkEntry is one message of several.
type BulkEntry struct {
	ID string
	// Data is a CloudEvent as JSON, or the message's own bytes where Raw says so.
	Data        []byte
	Raw         bool
	ContentType string
	Metadata    map[string]string
	// TraceParent is the trace of the event, "" for none; the application is told of it in the event alone.
	TraceParent string
}

// Verdict is what the application decided about a message.
type Verdict int

// The verdicts, with the numbers of the protocol's TopicEventResponseStatus.
const (
	Success Verdict = iota
	Retry
	Drop
)

// TopicAnswer is what the application said of a message.
type TopicAnswer struct {
	Verdict Verdict
	// Status is an HTTP status (100 and up) or a gRPC code, as in Response.
	Status int
	// Reason says why it was no success, for the log; the application's own words may be in it.
	Reason string
	// Unhandled: the application does not have such a call (404, UNIMPLEMENTED).
	Unhandled bool
}

// ErrUnusable is in errors about what the application answered when it was asked for its topics.
var ErrUnusable = errors.New("the application's answer cannot be used")

// unusable keeps the text of an error that is ErrUnusable.
type unusable struct{ error }

func (unusable) Is(target error) bool { return target == ErrUnusable }

// bulkType is the type of a bulk message.
const bulkType = "com.dapr.event.sent.bulk"

// cut bounds what is shown of an application's own words.
func cut(text string) string {
	const most = 256
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
